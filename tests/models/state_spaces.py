"""What every linear state space model must do, called by the tests of each with a small one of it."""

from __future__ import annotations

import torch
from recurrences import numbers, reads_step_by_step, refuses_what_does_not_fit, scans_in_sight, sees_no_later_step
from torch import Tensor

from deepscope.models import DiagonalStateSpace, StateSpace, convolve


def recurrence(A: Tensor, B: Tensor, C: Tensor, x: Tensor) -> Tensor:
    """The naive twin: s ← Ā s + B̄ x, y = C s, one step after another, for dense systems [H, N, N]."""
    state, outputs = torch.zeros(len(x), *B.shape, dtype=A.dtype), []
    for each in x.unbind(1):
        state = torch.einsum("hmn,bhn->bhm", A, state) + B * each[..., None]
        outputs.append((C * state).sum(-1).real)
    return torch.stack(outputs, 1)


def dense(model: DiagonalStateSpace) -> tuple[Tensor, Tensor, Tensor]:
    """Both of each pair, as a dense system."""
    logarithm, B, C = model.system()
    A, B, C = (torch.cat((each, each.conj()), 1) for each in (logarithm.exp(), B, C))
    return torch.diag_embed(A), B, C


def direct(x: Tensor, kernel: Tensor) -> Tensor:
    """The naive twin of the convolution: its sum."""
    terms = range(x.shape[1])
    return torch.stack([sum(kernel[:, k] * x[:, t - k] for k in range(t + 1)) for t in terms], 1)  # type: ignore[misc]


def holds(model: StateSpace, system: tuple[Tensor, Tensor, Tensor]) -> None:
    """Convolution, scan and recurrence agree, with the naive recurrence of the given system."""
    model = model.double()
    x = numbers(2, 150, model.input_size)
    expected = recurrence(*system, x) + model.D * x
    # Sums of a hundred terms of order 1 in float64.
    for outputs in (model(x), model.scan(x)[0], direct(x, model.kernel(150)) + model.D * x):
        torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-10)
    assert sees_no_later_step(model, steps=150, atol=1e-12)
    mixed = convolve(x, model.kernel(150).flip(1))
    assert (mixed - expected).abs().max() > 0.1
    scans_in_sight(model)
    reads_step_by_step(model, steps=9, atol=1e-10)


def is_refused_where_it_must_be(model: StateSpace) -> None:
    refuses_what_does_not_fit(model, at_once=True)
    spoilt = numbers(2, 5, model.input_size)
    spoilt[0, 2] = torch.nan
    for outputs in (model(spoilt), model.scan(spoilt)[0]):
        assert outputs[0, 2:].isnan().all()
