from __future__ import annotations

import pytest
import torch

from deepscope.core import UsageError
from deepscope.data import tinyshakespeare


def test_every_character_of_a_part_is_a_target_once(tmp_path):
    text = "".join(chr(97 + i % 7) for i in range(200))
    (tmp_path / "input.txt").write_text(text)
    data = tinyshakespeare.load((tmp_path / "input.txt",), context=10)
    # 180 characters: 17 windows and 9 targets too few for another; 20 characters: one window.
    assert (len(data.train), len(data.test)) == (17, 1)

    def spell(tokens: torch.Tensor) -> str:
        return "".join(data.classes[token] for token in tokens.flatten().tolist())

    assert spell(data.train.inputs) == text[:170]
    assert spell(data.train.targets) == text[1:171]
    assert spell(data.test.inputs) == text[180:190]
    assert spell(data.test.targets) == text[181:191]
    assert data.count(data.test.targets) == 10


@pytest.mark.parametrize("context", [0, 20])
def test_a_context_that_fits_no_window_is_refused(tmp_path, context):
    (tmp_path / "input.txt").write_text("ab" * 100)
    with pytest.raises(UsageError, match="from 1 to 19"):
        tinyshakespeare.load((tmp_path / "input.txt",), context=context)


def test_the_longest_context_gives_one_test_window(tmp_path):
    (tmp_path / "input.txt").write_text("ab" * 100)
    assert len(tinyshakespeare.load((tmp_path / "input.txt",), context=19).test) == 1


def test_the_real_text(real):
    data = real("tinyshakespeare")
    assert len(data.classes) == 65
    assert data.train.inputs.shape == (1_115_394 * 9 // 10 // 128, 128)
    assert torch.equal(data.train.inputs[:, 1:], data.train.targets[:, :-1])
    assert "".join(data.classes[token] for token in data.train.inputs[0, :14]) == "First Citizen:"
