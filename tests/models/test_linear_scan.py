from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from deepscope.core import UsageError
from deepscope.models import linear_scan


def loop(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """The naive twin: the recurrence, written down."""
    states, state = [], initial
    for t in range(drive.shape[1]):
        state = decay[:, t] * state + drive[:, t]
        states.append(state)
    return torch.stack(states, 1)


def problem(batch: int, time: int, *state: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(time)
    decay = torch.rand(batch, time, *state, generator=generator, dtype=dtype)
    drive = torch.randn(batch, time, *state, generator=generator, dtype=dtype)
    return decay, drive, torch.randn(batch, *state, generator=generator, dtype=dtype)


# Below, at and above whole chunks of 16 steps; states below and above 1,024 numbers.
@pytest.mark.parametrize("time", [1, 2, 15, 16, 17, 32, 50, 128])
@pytest.mark.parametrize("state", [(), (3,), (4, 5), (20, 30)])
def test_it_is_the_loop(time: int, state: tuple[int, ...]) -> None:
    given = problem(2, time, *state)
    # Sums of terms that shrink geometrically: about ten count, each with a relative error of 1e-16.
    torch.testing.assert_close(linear_scan(*given), loop(*given), rtol=0, atol=1e-13)


@pytest.mark.parametrize("time", [1, 2, 15, 16, 17, 50])
@pytest.mark.parametrize("state", [(), (3,), (20, 30)])
def test_its_gradients_and_theirs_are_the_loops(time: int, state: tuple[int, ...]) -> None:
    """A gradient is a scan from the end, and its gradient one from the start again."""
    given = [each.requires_grad_() for each in problem(2, time, *state)]
    found = []
    for scan in (linear_scan, loop):
        states = scan(*given)
        first = torch.autograd.grad(states.sin().sum(), given, create_graph=True)
        second = torch.autograd.grad(sum(each.sin().sum() for each in first), given)
        found.append([*first, *second])
    # Gradients of the second order are sums of as many terms as there are pairs of steps that still see each other.
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-11)


def test_complex_numbers_are_scanned_as_well() -> None:
    decay, drive, initial = problem(2, 40, 3)
    decay = torch.polar(decay, 9 * decay)
    given = decay, drive + 1j * drive.flip(1), initial + 0j
    torch.testing.assert_close(linear_scan(*given), loop(*given), rtol=0, atol=1e-13)


@pytest.mark.parametrize("time", [1, 5, 33])
def test_its_derivatives_of_first_and_second_order_are_those_of_finite_differences(time: int) -> None:
    given = tuple(each.requires_grad_() for each in problem(1, time, 2))
    assert gradcheck(linear_scan, given, check_forward_ad=True, check_batched_grad=True)
    if time < 33:
        assert gradgradcheck(linear_scan, given)


def test_its_complex_derivatives_are_those_of_finite_differences() -> None:
    decay, drive, initial = problem(1, 4, 2)
    given = tuple(each.requires_grad_() for each in (torch.polar(decay, 9 * decay), drive + 0.5j, initial + 0.5j))
    assert gradcheck(linear_scan, given, check_forward_ad=True)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_under_vmap_it_is_one_scan_per_element(missing: int) -> None:
    problems = [problem(2, 20 + 0 * seed, 3) for seed in range(3)]
    stacked = [torch.stack([(1 + seed) / 4 * each for seed in range(3)], 1) for each in problems[0]]
    dims: list[int | None] = [1, 1, 1]
    dims[missing], stacked[missing] = None, problems[0][missing]
    together = torch.func.vmap(linear_scan, in_dims=tuple(dims))(*stacked)
    for index in range(3):
        alone = [each if dim is None else each[:, index] for each, dim in zip(stacked, dims, strict=True)]
        torch.testing.assert_close(together[index], linear_scan(*alone), rtol=0, atol=1e-13)


def test_nothing_overflows_where_the_recurrence_does_not() -> None:
    # Its decays multiply to 1e-38^200; a scan by cumulative sums of their logarithms divides by that and gets NaN.
    decay = torch.full((1, 200, 2), 1e-38)
    decay[:, ::7] = 0
    drive = torch.full((1, 200, 2), 1e30)
    torch.testing.assert_close(linear_scan(decay, drive, torch.zeros(1, 2)), drive)
    by_logarithms = decay.log().cumsum(1)
    assert not (by_logarithms.exp() * (drive * (-by_logarithms).exp()).cumsum(1)).isfinite().all()


def test_a_nan_stays_from_its_step_on() -> None:
    decay, drive, initial = problem(1, 50, 3)
    drive[:, 20] = torch.nan
    nan = linear_scan(decay, drive, initial).isnan()
    assert nan[:, 20:].all()
    assert not nan[:, :20].any()


@pytest.mark.parametrize(
    "shapes",
    [((1, 3, 2), (1, 4, 2), (1, 2)), ((1, 3, 2), (1, 3, 2), (2, 2)), ((1, 0, 2), (1, 0, 2), (1, 2)), ((3,), (3,), ())],
)
def test_shapes_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(UsageError, match="shapes"):
        linear_scan(*(torch.ones(shape) for shape in shapes))
