"""What a chain of windows sees and how much it returns, against torch on random chains."""

from __future__ import annotations

import pytest
import torch

from deepscope.core import UsageError
from deepscope.models import Window, output_size, receptive_field


def test_by_hand() -> None:
    # AlexNet's first layers: 55 places after the convolution, 27 after the pooling.
    windows = [Window(kernel_size=11, stride=4, padding=2), Window(kernel_size=3, stride=2)]
    assert [output_size(224, windows[:n]) for n in (0, 1, 2)] == [224, 55, 27]
    assert [receptive_field(windows[:n]) for n in (0, 1, 2)] == [1, 11, 19]


def test_a_window_that_does_not_fit_is_refused() -> None:
    assert output_size(3, [Window(kernel_size=3)]) == 1
    assert output_size(1, [Window(kernel_size=3, padding=1)]) == 1
    with pytest.raises(UsageError, match="window of 2 with dilation 3 does not fit into 3 values"):
        output_size(5, [Window(kernel_size=3), Window(kernel_size=2, dilation=3)])
    for wrong in ({"kernel_size": 0}, {"stride": 0}, {"dilation": 0}, {"padding": -1}, {"kernel_size": 2.0}):
        with pytest.raises(UsageError, match=f"{next(iter(wrong))} is"):
            Window(**{"kernel_size": 3, **wrong})
    with pytest.raises(RuntimeError):
        torch.conv1d(torch.zeros(1, 1, 3), torch.zeros(1, 1, 2), dilation=3)
