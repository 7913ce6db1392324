from __future__ import annotations

import pytest
import torch
from recurrences import (
    learns_16_sequences,
    numbers,
    reads_step_by_step,
    refuses_what_does_not_fit,
    scans_in_sight,
    sees_no_later_step,
)
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import EchoStateNetwork


def network(units: int = 400, seed: int = 0, **settings: float) -> EchoStateNetwork:
    return EchoStateNetwork(1, units, 1, generator=torch.Generator().manual_seed(seed), **settings).double()


def mackey_glass(steps: int, delay: int = 17, substeps: int = 10) -> Tensor:
    """ẋ = 0.2 x(t − 17) / (1 + x(t − 17)¹⁰) − 0.1 x by Runge–Kutta of order 4, one value a unit of time."""
    h, back = 1 / substeps, delay * substeps
    path = [1.2] * (back + 1)

    def slope(x: float, past: float) -> float:
        return 0.2 * past / (1 + past**10) - 0.1 * x

    for _ in range(steps * substeps):
        x, before, after = path[-1], path[-1 - back], path[-back]
        between = (before + after) / 2
        a = slope(x, before)
        b = slope(x + h / 2 * a, between)
        c = slope(x + h / 2 * b, between)
        d = slope(x + h * c, after)
        path.append(x + h / 6 * (a + 2 * b + 2 * c + d))
    return torch.tensor(path[-steps * substeps :: substeps], dtype=torch.float64)


def distances(model: EchoStateNetwork, x: Tensor) -> Tensor:
    """How far two states that began apart are from one another, [time]."""
    starts = numbers(2, model.hidden_size, seed=5).tanh()
    one, other = model.echoes(x.expand(2, -1, -1), starts)
    return (one - other).norm(dim=-1)


@pytest.mark.demonstrates("esn")
def test_states_forget_where_they_began_and_it_runs_on_as_mackey_glass() -> None:
    signal = torch.tanh(mackey_glass(5000)[1000:] - 1)[None, :, None]
    for seed in range(3):
        model = network(seed=seed)
        # Spectral radius 0.9, under the signal and at rest: what is left of a difference is rounding.
        assert distances(model, signal[:, :500])[-1] < 1e-12
        assert distances(model, torch.zeros(1, 1000, 1, dtype=torch.float64))[-1] < 1e-12
        # Planted: far above 1 the network at rest does not forget.
        assert distances(network(seed=seed, spectral_radius=2.0), torch.zeros_like(signal[:, :1000]))[-1] > 1e-2

        # It is fitted to say the next value, then fed with what it says for 84 steps from each of 16 starts.
        model.fit(signal[:, :2500], signal[:, 1:2501], washout=100, ridge=1e-12)
        starts = range(2800, 3600, 50)
        outputs, state = model.scan(torch.cat([signal[:, start - 200 : start] for start in starts]))
        x = outputs[:, -1]
        for _ in range(83):
            x, state = model.step(x, state)
        truth = torch.stack([signal[0, start + 83] for start in starts])
        error = (x - truth).square().mean().sqrt() / signal.std()
        # A hundredth of the signal's spread; the best linear guess from the present value alone, without a network, is
        # off by more than half of it.
        assert error < 1e-2
        assert _without_a_network(signal, list(starts)) > 0.5


def _without_a_network(signal: Tensor, starts: list[int]) -> float:
    past, following = signal[0, :-84, 0], signal[0, 84:, 0]
    slope = torch.cov(torch.stack([past, following]))[0, 1] / past.var()
    said = following.mean() + slope * (signal[0, [start - 1 for start in starts], 0] - past.mean())
    truth = signal[0, [start + 83 for start in starts], 0]
    return float((said - truth).square().mean().sqrt() / signal.std())


@pytest.mark.parametrize("leak", [1.0, 0.3])
def test_states_contract_at_least_by_the_largest_singular_value(leak: float) -> None:
    model = network(60, leak=leak)
    model.weight_hh *= 0.9 / torch.linalg.matrix_norm(model.weight_hh, 2)
    apart = distances(model, numbers(1, 50, 1))
    # tanh has slope at most 1: ‖Δhₜ‖ ≤ (1 − a + a σ) ‖Δhₜ₋₁‖, but for rounding.
    assert (apart[1:] <= (1 - leak + leak * 0.9) * apart[:-1] + 1e-15).all()


def test_it_computes_its_formula_and_the_reservoir_has_its_radius() -> None:
    model = EchoStateNetwork(
        2, 30, 3, spectral_radius=0.7, leak=0.4, generator=torch.Generator().manual_seed(0)
    ).double()
    # Scaled in float64, kept in float32.
    assert abs(float(torch.linalg.eigvals(model.weight_hh).abs().max()) - 0.7) < 1e-5
    x, h = numbers(6, 2), torch.zeros(30, dtype=torch.float64)
    outputs = model(x[None])
    for t in range(6):
        h = 0.6 * h + 0.4 * torch.tanh(model.weight_ih @ x[t] + model.weight_hh @ h + model.bias)
        expected = model.readout.weight @ torch.cat([h, x[t]]) + model.readout.bias
        torch.testing.assert_close(outputs[0, t], expected, rtol=0, atol=1e-13)
    assert sum(each.numel() for each in model.parameters()) == 3 * (30 + 2 + 1)
    twin = EchoStateNetwork(2, 30, 3, spectral_radius=0.7, leak=0.4).double()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(x[None]), outputs)


def test_weights_of_inputs_and_biases_are_drawn_within_their_bounds() -> None:
    model = network(2000, input_scale=0.5, bias_scale=3.0)
    for drawn, bound in ((model.weight_ih, 0.5), (model.bias, 3.0)):
        # The least and the largest of 2,000 uniform draws are within a hundredth of the bounds, but for e^−10 each.
        assert -bound <= drawn.min() < -0.98 * bound
        assert 0.98 * bound < drawn.max() <= bound


def test_a_fit_is_where_the_gradient_of_its_loss_is_zero() -> None:
    model = network(20)
    x, targets = numbers(3, 40, 1), numbers(3, 40, 1, seed=1)
    model.fit(x, targets, washout=10, ridge=1e-3)
    loss = (model(x) - targets)[:, 10:].square().sum() + 1e-3 * 90 * model.readout.weight.square().sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    # Sums of 90 terms of order 1; without the penalty the gradient would be of order 0.1.
    assert all(each.abs().max() < 1e-10 for each in gradients)


def test_it_reads_step_by_step() -> None:
    model = EchoStateNetwork(3, 20, 2, generator=torch.Generator().manual_seed(0))
    reads_step_by_step(model)
    scans_in_sight(model)
    assert sees_no_later_step(model)
    refuses_what_does_not_fit(model)


def test_its_readout_learns_16_sequences() -> None:
    torch.manual_seed(0)
    body = EchoStateNetwork(2, 60, 24, generator=torch.Generator().manual_seed(0))
    before = body.weight_hh.clone()
    learns_16_sequences(body, 24)
    assert torch.equal(body.weight_hh, before)


def test_what_does_not_fit_is_refused() -> None:
    for wrong in ({"leak": 0.0}, {"leak": 1.5}, {"spectral_radius": -1.0}, {"degree": 0.0}, {"leak": float("nan")}):
        with pytest.raises(UsageError, match="Give a radius of at least 0"):
            network(10, **wrong)
    for name in ("input_scale", "bias_scale"):
        with pytest.raises(UsageError, match=f"{name}.* nan"):
            network(10, **{name: float("nan")})
    with pytest.raises(UsageError, match="hidden_size is 0"):
        network(0)
    with pytest.raises(UsageError, match="eigenvalues"):
        network(1, degree=1e-9)
    model = network(10)
    x = numbers(2, 6, 1)
    with pytest.raises(UsageError, match=r"targets are \[2, 5, 1\]"):
        model.fit(x, x[:, 1:])
    with pytest.raises(UsageError, match="washout is 6"):
        model.fit(x, x, washout=6)
    with pytest.raises(UsageError, match="ridge -1"):
        model.fit(x, x, ridge=-1.0)
    with pytest.raises(UsageError, match="not finite"):
        model.fit(x, x / 0)
