"""What every model that reads step by step must do, called by the tests of each with a small one of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from deepscope.core import UsageError
from deepscope.models._recurrence import Recurrence, State


def by_steps(model: Recurrence, x: Tensor) -> tuple[Tensor, State]:
    state, outputs = model.initial_state(len(x)), []
    for each in x.unbind(1):
        output, state = model.step(each, state)
        outputs.append(output)
    return torch.stack(outputs, 1), state


def parts(state: State) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else state


def agrees_with_its_steps(model: Recurrence, x: Tensor, *, atol: float) -> None:
    """Outputs and last state by ``forward``, by ``scan``, in two halves and step by step are the same."""
    outputs, last = by_steps(model, x)
    scanned, state = model.scan(x)
    half = x.shape[1] // 2
    first, between = model.scan(x[:, :half])
    second, end = model.scan(x[:, half:], between)
    for each in (model(x), scanned, torch.cat((first, second), 1), torch.cat((first, model(x[:, half:], between)), 1)):
        torch.testing.assert_close(each, outputs, rtol=0, atol=atol)
    for states in (state, end):
        for one, other in zip(parts(states), parts(last), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=atol)


def is_causal(model: Recurrence, x: Tensor, *, atol: float) -> bool:
    """Whether no output depends on a later input."""
    changed = x.clone()
    half = x.shape[1] // 2
    changed[:, half:] += 1
    return bool((model(x) - model(changed))[:, :half].abs().max() <= atol)


def refuses_bad_input(model: Recurrence) -> None:
    """Wrong shapes, dtypes and states are refused; one step works; a NaN is not hidden."""
    good = torch.randn(2, 3, model.input_size, generator=torch.Generator().manual_seed(0)).to(model_dtype(model))
    name = type(model).__name__
    for bad in (good[0], good[..., :-1], good[:, :0], torch.ones(good.shape, dtype=torch.int64)):
        with pytest.raises(UsageError, match=rf"the input is.*{name}"):
            model(bad)
        with pytest.raises(UsageError, match="the input is"):
            model.scan(bad)
    other = model.initial_state(5)
    if parts(other):
        with pytest.raises(UsageError, match=rf"state.*{name}"):
            model.scan(good, other)
        with pytest.raises(UsageError, match="state"):
            model(good, other)
    assert model(good[:, :1]).shape[1] == 1
    spoilt = good.clone()
    spoilt[0, 1] = torch.nan
    outputs = model(spoilt)
    # What has a state must not forget it either.
    assert outputs[0, 1 : 3 if parts(other) else 2].isnan().any(-1).all()
    assert outputs[1].isfinite().all()


def model_dtype(model: Recurrence) -> torch.dtype:
    return next((each.dtype for each in (*model.parameters(), *model.buffers())), torch.float32)


class Sizes(TorchDispatchMode):
    """Notes the size of the largest tensor that is written while it is active; views of others count as little."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.largest = max(self.largest, made.untyped_storage().nbytes() // made.element_size())
        return made


@torch.no_grad()
def largest_tensor(call: Callable[[], object]) -> int:
    """Return how many numbers the largest tensor holds that a call writes."""
    with Sizes() as sizes:
        call()
    return sizes.largest
