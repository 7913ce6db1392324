"""Variational dropout: what is drawn has the distribution of drawn weights, with less noise in the gradient."""

from __future__ import annotations

import pytest
import torch
from scipy.integrate import quad
from scipy.special import dawsn
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from deepscope.core import UsageError
from deepscope.data import load
from deepscope.training import VariationalLinear, fit


def layer(in_features: int, out_features: int, log_variance: float = -1.0) -> VariationalLinear:
    torch.manual_seed(0)
    made = VariationalLinear(in_features, out_features).double()
    with torch.no_grad():
        made.log_variance.copy_(log_variance + torch.randn(out_features, in_features).double())
        made.bias.normal_()
    return made


def test_outputs_have_the_mean_and_variance_of_drawn_weights() -> None:
    """The closed form, and a twin that draws all weights anew for each sample."""
    made, n = layer(4, 3), 40_000
    x = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    variances = made.log_variance.exp()
    mean, variance = made.weight @ x + made.bias, variances @ x.square()
    drawn = made.weight + variances.sqrt() * torch.randn(n, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        for y in (made(x.expand(n, 4)), drawn @ x + made.bias):
            # Five standard deviations of the mean and of the variance of n normal numbers.
            assert ((y.mean(0) - mean).abs() < 5 * (variance / n).sqrt()).all()
            assert ((y.var(0) - variance).abs() < 5 * variance * (2 / n) ** 0.5).all()
            # Weights are drawn for each sample and output: samples and outputs are independent.
            assert abs(torch.corrcoef(y.T)[0, 1]) < 5 / n**0.5
            assert abs(torch.corrcoef(torch.stack([y[:-1, 0], y[1:, 0]]))[0, 1]) < 5 / n**0.5
    assert torch.equal(made.eval()(x), mean)


def test_gradients_have_less_noise_than_with_weights_drawn_for_the_batch() -> None:
    """Of L = ½ mean (yₙ − tₙ)² the gradient's noise is C ε with weights drawn once, C = mean xₙ xₙᵀ and ε ~ N(0, Σ).

    Its variance is then tr(C Σ C), and mean(‖xₙ‖² xₙᵀ Σ xₙ)/M where each of the M samples has a draw of its own.
    """
    made, m, repeats = layer(3, 1), 64, 1000
    x = torch.rand(m, 3, dtype=torch.float64)
    targets = torch.zeros(m, 1, dtype=torch.float64)
    variances = made.log_variance.detach().exp()[0]

    def gradient(y: Tensor) -> Tensor:
        return torch.autograd.grad((y - targets).square().mean() / 2, made.weight)[0][0]

    local = torch.stack([gradient(made(x)) for _ in range(repeats)])
    noise = torch.randn(repeats, 1, 3, dtype=torch.float64)
    shared = torch.stack([gradient(x @ (made.weight + variances.sqrt() * each).T + made.bias) for each in noise])
    c = x.T @ x / m
    exact_shared = torch.trace(c @ variances.diag() @ c)
    exact_local = (x.square().sum(1) * (x.square() @ variances)).mean() / m
    # The variance of the sum of normal numbers, over 1000 draws: at most √(2/1000) of it, five times.
    for found, exact in ((local, exact_local), (shared, exact_shared)):
        assert abs(found.var(0).sum() / exact - 1) < 5 * (2 / repeats) ** 0.5
    assert local.var(0).sum() < shared.var(0).sum() / (m / 4)


@pytest.mark.parametrize("log_alpha", [-9.0, -4.0, -2.5, -1.0, 0.0, 1.0, 3.0, 8.0])
def test_the_divergence_is_within_a_hundredth_of_the_exact_one(log_alpha: float) -> None:
    """d/dμ E log|ε + μ| = √2 F(μ/√2), F Dawson's integral: and the divergence its integral to 1/√α."""
    made = VariationalLinear(1, 1).double()
    with torch.no_grad():
        made.weight.fill_(0.7)
        made.log_variance.copy_(made.weight.square().log() + log_alpha)
    exact = quad(lambda t: 2**0.5 * dawsn(t / 2**0.5), 0, torch.tensor(-log_alpha / 2).exp().item(), limit=200)[0]
    torch.testing.assert_close(made.log_alpha().item(), log_alpha, rtol=0, atol=1e-12)
    # The fit's error is 0.0094 at most.
    assert abs(made.divergence().item() - exact) < 0.01


def test_in_training_a_weight_without_use_becomes_noise() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 2)
    y = 2 * x[:, :1] + 0.1 * torch.randn(200, 1)
    made = VariationalLinear(2, 1, log_variance=-6.0)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        # Negative log-likelihood with noise of variance 0.01, and the divergence over the number of samples.
        return mse_loss(outputs, targets) / 0.02 + made.divergence() / len(x)

    optimizer = torch.optim.Adam(made.parameters(), lr=0.05)
    fit(made, lambda epoch: [(x, y)], loss, optimizer=optimizer, epochs=300)
    used, unused = made.log_alpha()[0].tolist()
    # exp(3) is where the source leaves weights out; of the other the noise is that of an estimate from 200 samples.
    assert unused > 3
    assert used < -3
    assert abs(made.weight[0, 0].item() - 2) < 0.1


def test_most_weights_of_a_network_for_digits_become_noise_at_no_loss() -> None:
    """Weights whose log α is above 3 are left out, as the second source does: more than four fifths of all."""
    digits = load("digits")
    train, test = digits.train, digits.test
    torch.manual_seed(0)
    layers = VariationalLinear(64, 64, log_variance=-8.0), VariationalLinear(64, 10, log_variance=-8.0)
    model = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1])
    n, epochs, steps = len(train), 150, 0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        # The divergence comes in over the first third, or the weights are noise before they have learnt.
        nonlocal steps
        steps += 1
        share = min(1.0, 3 * steps / (epochs * 10))
        return cross_entropy(outputs, targets) + share * sum(each.divergence() for each in layers) / n

    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    fit(model, train.epochs(-(-n // 10), seed=0), loss, optimizer=optimizer, epochs=epochs)
    model.eval()
    with torch.no_grad():
        before = (model(test.inputs).argmax(1) == test.targets).double().mean().item()
        noise = [each.log_alpha() > 3 for each in layers]
        assert torch.cat([each.flatten() for each in noise]).double().mean() > 0.8
        for each, left_out in zip(layers, noise, strict=True):
            each.weight[left_out] = 0
        after = (model(test.inputs).argmax(1) == test.targets).double().mean().item()
    # What one of ten classes would score is 0.1; a network without noise has 0.97.
    assert before > 0.93
    assert abs(after - before) < 0.005


def test_an_input_of_zeros_has_finite_gradients() -> None:
    made = VariationalLinear(3, 2)
    made(torch.zeros(4, 3)).sum().backward()
    assert all(each.grad.isfinite().all() for each in made.parameters() if each.grad is not None)
    assert VariationalLinear(3, 2)(torch.full((1, 3), torch.nan)).isnan().all()
    # And no noise; of float16 the smallest number's root is 0.008.
    for dtype in (torch.float32, torch.float16):
        assert not VariationalLinear(3, 2).to(dtype)(torch.zeros(4, 3, dtype=dtype)).any()


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="in_features is 0"):
        VariationalLinear(0, 2)
    with pytest.raises(UsageError, match=r"out_features is 2\.5"):
        VariationalLinear(2, 2.5)
    for x in (torch.zeros(4, 2), torch.zeros(4, 3, dtype=torch.int64), torch.tensor(1.0)):
        with pytest.raises(UsageError, match=r"Give \[…, 3\] of floating-point numbers"):
            VariationalLinear(3, 2)(x)
