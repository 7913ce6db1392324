"""What every model that reads a sequence step by step must pass."""

from __future__ import annotations

import pytest
import torch
from contract import overfits
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._recurrence import Recurrence, State, tensors


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def reads_step_by_step(model: Recurrence, *, atol: float = 1e-12) -> None:
    """One scan, a call, single steps, and two scans of which the second goes on from the first, agree; so do dtypes.

    ``model`` is in evaluation mode. All are the same sums in another order: 1e-12 is thousands of units in the last
    place of numbers of order 1.
    """
    model = model.double()
    x = numbers(3, 7, model.input_size)
    outputs, last = model.scan(x)
    assert outputs.shape[:2] == (3, 7)
    torch.testing.assert_close(model(x), outputs, rtol=0, atol=atol)
    first, middle = model.scan(x[:, :4])
    second, end = model.scan(x[:, 4:], middle)
    torch.testing.assert_close(torch.cat([first, second], 1), outputs, rtol=0, atol=atol)
    torch.testing.assert_close(model(x[:, 4:], middle), second, rtol=0, atol=atol)
    state: State = model.initial_state(3)
    for t in range(7):
        output, state = model.step(x[:, t], state)
        torch.testing.assert_close(output, outputs[:, t], rtol=0, atol=atol)
    for one, other, stepped in zip(tensors(last), tensors(end), tensors(state), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=atol)
        torch.testing.assert_close(one, stepped, rtol=0, atol=atol)
    assert model(x[:, :1]).shape == outputs[:, :1].shape
    assert model(x[:0]).shape == (0, *outputs.shape[1:])
    single = model.float()(x.float())
    assert single.dtype == torch.float32
    # Rounding errors of float32, carried along 7 steps.
    torch.testing.assert_close(single.double(), outputs, rtol=0, atol=1e-4)


def sees_no_later_step(model: Recurrence) -> bool:
    """Whether outputs do not depend on later inputs, and do depend on the present one."""
    model = model.double()
    x = numbers(2, 6, model.input_size)
    changed = x.clone()
    changed[:, 3] += 1
    before, after = model(x), model(changed)
    return torch.equal(before[:, :3], after[:, :3]) and not torch.equal(before[:, 3], after[:, 3])


def refuses_what_does_not_fit(model: Recurrence, *, in_chunks: bool = False) -> None:
    """Wrong inputs and states are named; numbers that are none come out as such from their step on.

    Where steps are computed together as a product of matrices (``in_chunks``), with a mask of zeros, they come out of
    earlier ones too.
    """
    model = model.double()
    x = numbers(2, 4, model.input_size)
    name = type(model).__name__
    for wrong in (x[:, :0], x[0], x[..., None], torch.cat([x, x], -1), x.long(), x.bool()):
        with pytest.raises(UsageError, match=rf"{name}\nGive \[batch, time, {model.input_size}\] of floating"):
            model(wrong)
        with pytest.raises(UsageError, match=rf"{name}\nGive \[batch, time, {model.input_size}\] of floating"):
            model.scan(wrong)
    for batch in (1, 3):
        with pytest.raises(UsageError, match="Give a state of this model and batch size"):
            model(x, model.initial_state(batch))
    more = (*tensors(model.initial_state(2)), x)
    with pytest.raises(UsageError, match="Give a state of this model and batch size"):
        model.scan(x, more)
    x[0, 2] = torch.nan
    outputs = model(x)
    assert in_chunks or outputs[0, :2].isfinite().all()
    assert outputs[0, 2:].flatten(1).isnan().any(-1).all()
    assert outputs[1].isfinite().all()


def learns_16_sequences(body: nn.Module, width: int, *, steps: int = 300, rate: float = 2e-2) -> None:
    """Sixteen random sequences of 6 pairs, each with a random number to be said at its end."""
    model = nn.Sequential(body, nn.Linear(width, 1)).float()
    x, targets = numbers(16, 6, 2).float(), numbers(16, 1, seed=1).float()
    overfits(model, x, targets, lambda y, t: (y[:, -1] - t).square().mean(), steps=steps, rate=rate)


def scans_in_sight(model: Recurrence) -> None:
    """Hooks see a scan, and what they see is what it returns."""
    model = model.double()
    seen: list[Tensor] = []
    handle = model.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    outputs, _ = model.scan(numbers(2, 4, model.input_size))
    handle.remove()
    assert len(seen) == 1
    assert seen[0] is outputs
