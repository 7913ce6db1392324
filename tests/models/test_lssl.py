from __future__ import annotations

import math

import pytest
import torch
from contract import overfits, squared_error
from recurrences import numbers
from state_spaces import direct, holds, is_refused_where_it_must_be
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import LSSL, S4D, convolve, discretise
from deepscope.models._state_space import krylov


def small(**options: str) -> LSSL:
    torch.manual_seed(0)
    return LSSL(3, 8, **options).double()  # type: ignore[arg-type]


def finer(model: LSSL, rate: float) -> LSSL:
    """The layer for signals that are sampled so many times as densely."""
    other = LSSL(model.input_size, model.state_size, method=model.method).double()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        other.log_step -= math.log(rate)
    return other


@pytest.mark.demonstrates("lssl")
def test_recurrence_and_convolution_agree_and_a_step_is_a_sampling_rate() -> None:
    # Recurrent and convolutional outputs agree over 1,000 steps. In float32 the entries of Ā are rounded, by 6e-8: of
    # a state that lasts 1/Δ, up to 1,000 steps, that changes as many times as much; on average over features, 1e-5.
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        torch.manual_seed(0)
        model = LSSL(4, 64).to(dtype)
        x = numbers(2, 1_000, 4, dtype=dtype)
        by_convolution = model(x) - model.D * x
        A, B = discretise(model.A.double(), model.B.double(), model.log_step.double().exp())
        state, outputs = torch.zeros(2, 4, 64, dtype=torch.float64), []
        for each in x.double().unbind(1):
            state = torch.einsum("hmn,bhn->bhm", A, state) + B * each[..., None]
            outputs.append((model.C * state).sum(-1))
        recurrent = torch.stack(outputs, 1)
        difference = (by_convolution - recurrent).norm() / recurrent.norm()
        assert difference.item() < tolerance
        assert ((model.scan(x)[0] - model.D * x - recurrent).norm() / recurrent.norm()).item() < tolerance

    # A step r times as small is a sampling rate r times as high. By the zero-order hold that is an identity for what is
    # constant between the coarse samples; by the bilinear rule it holds up to its error of second order.
    exact, x = small(method="zoh"), numbers(2, 60, 3)
    for rate in (2, 5):
        repeated, kept = x.repeat_interleave(rate, 1), exact(x) - exact.D * x
        fine = (finer(exact, rate)(repeated) - exact.D * repeated)[:, rate - 1 :: rate]
        torch.testing.assert_close(fine, kept, rtol=0, atol=1e-10)
        unchanged = (exact(repeated) - exact.D * repeated)[:, rate - 1 :: rate]
        assert ((unchanged - kept).norm() / kept.norm()).item() > 0.1

    # A smooth signal, sampled twice as densely: what the bilinear rule reads of each is off by O(Δ²) (Δ = 0.02).
    coarse, time = small(method="bilinear"), torch.arange(1, 401, dtype=torch.float64)
    with torch.no_grad():
        coarse.log_step.fill_(math.log(0.02))
    read = sampled(coarse, time, 1)
    for rate in (2, 4):
        assert (sampled(finer(coarse, rate), time, rate) - read).abs().max().item() < 2e-3
        assert (sampled(coarse, time, rate) - read).abs().max().item() > 0.02


def sampled(model: LSSL, time: Tensor, rate: int) -> Tensor:
    """Outputs at the coarse times for a sine that is read at the middle of each step."""
    fine = (torch.arange(1, rate * len(time) + 1, dtype=torch.float64) - 0.5) / rate
    signal = torch.sin(2 * math.pi * fine / 200) ** 2
    outputs = model(signal[None, :, None].repeat(1, 1, 3)) - model.D * signal[None, :, None]
    return outputs[:, rate - 1 :: rate]


@pytest.mark.parametrize("method", ["forward", "backward", "bilinear", "zoh"])
def test_its_three_views_agree(method: str) -> None:
    model = small(method=method)
    with torch.no_grad():
        model.log_step.fill_(math.log(0.05))
    holds(model, (*discretise(model.A, model.B, model.log_step.exp(), method), model.C))


def test_the_convolution_is_its_sum() -> None:
    x, kernel = numbers(2, 11, 3), numbers(3, 11, seed=1)
    torch.testing.assert_close(convolve(x, kernel), direct(x, kernel), rtol=0, atol=1e-13)
    torch.testing.assert_close(convolve(x[:, :1], kernel), x[:, :1] * kernel[:, 0], rtol=0, atol=1e-13)


def test_powers_by_doubling_are_powers() -> None:
    A, B = numbers(2, 4, 4) / 2, numbers(2, 4, seed=1)
    for length in (1, 2, 3, 8, 11):
        expected = torch.stack([(torch.linalg.matrix_power(A, k) @ B[..., None])[..., 0] for k in range(length)], -1)
        torch.testing.assert_close(krylov(A, B, length), expected, rtol=1e-12, atol=1e-12)


def test_it_learns_sixteen_samples_by_heart() -> None:
    torch.manual_seed(0)
    model = LSSL(4, 16, smallest_step=0.05, largest_step=0.2)
    x = numbers(16, 3, 4, dtype=torch.float32)
    with torch.no_grad():
        targets = 3 * LSSL(4, 16, smallest_step=0.05, largest_step=0.2)(x)
    overfits(model, x, targets, squared_error, steps=300, rate=3e-2)


def test_steps_begin_log_uniform_between_the_two_that_are_given() -> None:
    bounds = {"smallest_step": 1e-3, "largest_step": 0.1}
    for model in (LSSL(2000, 2, **bounds), S4D(2000, 2, **bounds)):
        logarithms = model.log_step / math.log(10)
        # The least and the largest of 2,000 uniform draws are within 1 % of the ends, but for e^−20.
        assert -3 - 1e-5 <= logarithms.min() < -2.98
        assert -1.02 < logarithms.max() <= -1 + 1e-5
        # A mean of 2,000 draws of deviation 2/√12: five standard errors.
        assert logarithms.mean().item() == pytest.approx(-2, abs=5 * 2 / 12**0.5 / 2000**0.5)


def test_bad_input_is_refused() -> None:
    is_refused_where_it_must_be(small())
    for make in (
        lambda: LSSL(0),
        lambda: LSSL(3, 0),
        lambda: LSSL(3, 4, method="midpoint"),
        lambda: LSSL(3, 4, smallest_step=0.0),
        lambda: LSSL(3, 4, smallest_step=0.2, largest_step=0.1),
        lambda: convolve(torch.zeros(1, 5, 3), torch.zeros(1, 5)),
        lambda: convolve(torch.zeros(1, 5, 3), torch.zeros(2, 5)),
        lambda: convolve(torch.zeros(1, 0, 3), torch.zeros(3, 5)),
    ):
        with pytest.raises(UsageError):
            make()
