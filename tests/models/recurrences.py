"""What every model that reads a sequence step by step must pass, called by the tests of each with a small one of it."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from contract import overfits
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._recurrence import Recurrence, State, tensors


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def by_steps(model: Recurrence, x: Tensor) -> tuple[Tensor, State]:
    """The naive twin of every scan: one step after another."""
    state, outputs = model.initial_state(len(x)), []
    for each in x.unbind(1):
        output, state = model.step(each, state)
        outputs.append(output)
    return torch.stack(outputs, 1), state


def reads_step_by_step(model: Recurrence, *, steps: int = 7, atol: float = 1e-12, rounding: float = 1e-4) -> None:
    """A call, one scan, single steps, and scans or calls that go on from the first half agree; so do dtypes.

    ``model`` is in evaluation mode. All are the same sums in another order: 1e-12 is thousands of units in the last
    place of numbers of order 1. ``rounding`` is for float32, carried along the steps.
    """
    model = model.double()
    x, half = numbers(3, steps, model.input_size), steps // 2
    expected, end = by_steps(model, x)
    assert expected.shape[:2] == (3, steps)
    for dtype, tolerance in ((torch.float64, atol), (torch.float32, rounding)):
        model, x = deepcopy(model).to(dtype), x.to(dtype)
        outputs, last = model.scan(x)
        first, middle = model.scan(x[:, :half])
        second, final = model.scan(x[:, half:], middle)
        called = torch.cat([first, model(x[:, half:], middle)], 1)
        for found in (outputs, model(x), torch.cat([first, second], 1), called, by_steps(model, x)[0]):
            assert found.dtype == dtype
            torch.testing.assert_close(found, expected.to(dtype), rtol=0, atol=tolerance)
        for states in (last, final):
            for one, other in zip(tensors(states), tensors(end), strict=True):
                torch.testing.assert_close(one, other.to(one.dtype), rtol=0, atol=tolerance)
    assert model(x[:, :1]).shape == expected[:, :1].shape
    assert model(x[:0]).shape == (0, *expected.shape[1:])


def scans_in_sight(model: Recurrence) -> None:
    """Hooks see a scan, and what they see is what it returns; they see no layer less where a state is used."""
    model = model.double()
    x, state = numbers(2, 4, model.input_size), model.initial_state(2)
    seen: list[tuple[nn.Module, object]] = []
    hooks = [
        each.register_forward_hook(lambda module, _inputs, output: seen.append((module, output)))
        for each in model.modules()
    ]
    layers = []
    for call in (lambda: model(x), lambda: model(x, state), lambda: model.scan(x)[0], lambda: model.scan(x, state)[0]):
        seen.clear()
        outputs = call()
        assert [found for module, found in seen if module is model] == [outputs]
        assert seen[-1][1] is outputs
        layers.append({module for module, _ in seen})
    for hook in hooks:
        hook.remove()
    assert layers[0] == layers[1] == layers[2] == layers[3]
    assert {each for each in model.modules() if isinstance(each, Recurrence)} <= layers[0]


def sees_no_later_step(model: Recurrence, *, steps: int = 6, atol: float = 0.0) -> bool:
    """Whether outputs do not depend on later inputs, and do depend on the present one.

    A Fourier transform of the whole sequence leaves rounding errors of later inputs, below ``atol``.
    """
    model = model.double()
    x, t = numbers(2, steps, model.input_size), steps // 2
    changed = x.clone()
    changed[:, t] += 1
    change = (model(x) - model(changed)).abs()
    return bool(change[:, :t].max() <= atol) and bool(change[:, t].max() > atol)


def refuses_what_does_not_fit(model: Recurrence, *, at_once: bool = False) -> None:
    """Wrong inputs and states are named; numbers that are none come out as such from their step on.

    Where steps are computed ``at_once``, by a Fourier transform or a product with a matrix that is 0 above its
    diagonal, they come out of earlier ones too. A model that has a state does not forget them.
    """
    model = model.double()
    x = numbers(2, 4, model.input_size)
    name = type(model).__name__
    for wrong in (x[:, :0], x[0], x[..., None], x[..., 1:], torch.cat([x, x], -1), x.long(), x.bool()):
        for call in (model, model.scan):
            with pytest.raises(UsageError, match=rf"{name}\nGive \[batch, time, {model.input_size}\] of float"):
                call(wrong)
    own = tensors(model.initial_state(2))
    for state in ((*own, x), *(tensors(model.initial_state(batch)) for batch in (1, 3) if own), *_reshaped(own)):
        for call in (model, model.scan):
            with pytest.raises(UsageError, match=rf"state.*\n?.*{name}\nGive a state of this model and batch size"):
                call(x, state)
    x[0, 2] = torch.nan
    for outputs in (model(x), model.scan(x)[0], by_steps(model, x)[0]):
        assert at_once or outputs[0, :2].isfinite().all()
        assert outputs[0, 2 : 4 if own else 3].flatten(1).isnan().any(-1).all()
        assert outputs[1].isfinite().all()


def _reshaped(state: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
    """States of which one tensor each has one dimension more."""
    return [tuple(part[..., None] if part is each else part for part in state) for each in state]


def learns_16_sequences(body: nn.Module, width: int, *, steps: int = 300, rate: float = 2e-2) -> None:
    """Sixteen random sequences of 6 pairs, each with a random number to be said at its end."""
    model = nn.Sequential(body, nn.Linear(width, 1)).float()
    x, targets = numbers(16, 6, 2).float(), numbers(16, 1, seed=1).float()
    overfits(model, x, targets, lambda y, t: (y[:, -1] - t).square().mean(), steps=steps, rate=rate)
