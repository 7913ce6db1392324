"""Denoising diffusion: with the exact score it makes the distributions that theory says."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from contract import overfits, squared_error
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models import DDPM, NoiseMLP, Objective, TimeEmbedding, UNet, cosine_betas, diffusion_loss, linear_betas
from deepscope.training import fit


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class GaussianScore(nn.Module):
    """The noise to expect in xₜ when x₀ ~ N(m, diag v): √(1 − ᾱ) (xₜ − √ᾱ m)/(ᾱ v + 1 − ᾱ)."""

    def __init__(self, mean: Tensor, variance: Tensor, betas: Tensor) -> None:
        super().__init__()
        self.mean, self.variance = mean, variance
        self.left = torch.cat([torch.ones(1).double(), (1 - betas).cumprod(0)])
        self.unused = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        left = self.left[times][:, None]
        return (1 - left).sqrt() * (x - left.sqrt() * self.mean) / (left * self.variance + 1 - left)


MEAN, VARIANCE = torch.tensor([2.0, -1.0, 0.0]).double(), torch.tensor([0.25, 4.0, 1.0]).double()


def theory(betas: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Return mean and variance of the samples: the paper's update is linear, and is followed from N(0, 1) down."""
    left = torch.cat([torch.ones(1).double(), (1 - betas).cumprod(0)])
    mean, variance = torch.zeros(3).double(), torch.ones(3).double()
    for time in range(len(betas), 0, -1):
        beta, alpha, bar, before = betas[time - 1], 1 - betas[time - 1], left[time], left[time - 1]
        # xₜ₋₁ = (xₜ − β/√(1 − ᾱ) ε̂)/√α + σ z with ε̂ = √(1 − ᾱ)(xₜ − √ᾱ m)/(ᾱ v + 1 − ᾱ).
        pull = beta / (bar * VARIANCE + 1 - bar)
        factor = (1 - pull) / alpha.sqrt()
        mean = factor * mean + pull * bar.sqrt() * MEAN / alpha.sqrt()
        noise = beta if kind == "beta" else beta * (1 - before) / (1 - bar)
        variance = factor.square() * variance + (noise if time > 1 else 0)
    return mean, variance


@pytest.mark.parametrize("kind", ["beta", "posterior"])
@pytest.mark.parametrize("betas", [linear_betas(20, first=0.01, last=0.5), cosine_betas(10)], ids=["linear", "cosine"])
def test_with_the_exact_score_samples_have_the_moments_of_the_theory(betas: Tensor, kind: str) -> None:
    model, n = DDPM(GaussianScore(MEAN, VARIANCE, betas), betas, variance=kind), 20_000
    x = model.sample([n, 3], generator=seeded())
    mean, variance = theory(betas, kind)
    # Five standard errors of the mean and of the variance of Gaussian samples.
    assert ((x.mean(0) - mean).abs() < 5 * (variance / n).sqrt()).all()
    assert ((x.var(0) / variance - 1).abs() < 5 * (2 / n) ** 0.5).all()
    # So few steps are not exact, and the theory says by how much.
    assert (variance - VARIANCE).abs().max() > 10 * 5 * (2 / n) ** 0.5 * variance.min()


def test_the_error_of_the_theory_falls_with_the_steps() -> None:
    errors = []
    for steps in (50, 100, 200, 1000):
        # The same noise in all, divided among more steps.
        betas = 1 - (1 - linear_betas(steps, first=1e-4, last=0.02)) ** (1000 / steps)
        mean, variance = theory(betas, "posterior")
        errors.append(float((variance - VARIANCE).abs().max() + (mean - MEAN).abs().max()))
    # A discretisation of first order, up to what is left of the data in x_T.
    assert 1.5 < errors[0] / errors[1] < 2.5
    assert 1.5 < errors[1] / errors[2] < 2.5
    assert errors[3] < 0.05


def test_a_step_back_is_the_papers() -> None:
    betas = linear_betas(10, first=0.01, last=0.3)
    torch.manual_seed(0)
    model = DDPM(NoiseMLP(3, (8,)).double(), betas)
    x, times = torch.randn(10, 3, dtype=torch.float64), torch.arange(1, 11)
    with torch.no_grad():
        noise = model(x, times)
        mean, variance = model.reverse(x, times)
        bar = (1 - betas).cumprod(0)
        paper = (x - (betas / (1 - bar).sqrt())[:, None] * noise) / (1 - betas).sqrt()[:, None]
        torch.testing.assert_close(mean, paper, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(variance.flatten(), betas, rtol=0, atol=0)
        smaller = DDPM(model.predictor, betas, variance="posterior").reverse(x, times)[1].flatten()
    before = torch.cat([torch.ones(1).double(), bar[:-1]])
    torch.testing.assert_close(smaller, betas * (1 - before) / (1 - bar), rtol=1e-10, atol=1e-15)


def test_one_step_works() -> None:
    """T = 1: a denoiser of one noise level, which for a single point knows the noise; its sample is the point."""
    betas, point = torch.tensor([0.9], dtype=torch.float64), torch.tensor([[1.5, -0.5]], dtype=torch.float64)
    exact = DDPM(GaussianScore(point[0], torch.zeros(2).double(), betas), betas)
    assert float(diffusion_loss(exact, point.expand(50, 2), generator=seeded())) < 1e-20
    torch.testing.assert_close(exact.sample([5, 2], generator=seeded()), point.expand(5, 2), rtol=0, atol=1e-12)
    model = DDPM(NoiseMLP(2, (8,)), linear_betas(1))
    assert model.sample([3, 2], generator=seeded()).isfinite().all()
    assert diffusion_loss(model, torch.zeros(4, 2)).isfinite()


def test_the_loss_is_the_error_of_the_noise() -> None:
    betas = linear_betas(10, first=0.01, last=0.3)
    torch.manual_seed(0)
    model, x = DDPM(NoiseMLP(3, (8,)).double(), betas), torch.randn(5, 3, dtype=torch.float64)
    generator = seeded()
    times = torch.randint(1, 11, (5,), generator=generator)
    noise = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    bar = (1 - betas).cumprod(0)[times - 1][:, None]
    error = model.predictor(bar.sqrt() * x + (1 - bar).sqrt() * noise, times) - noise
    torch.testing.assert_close(diffusion_loss(model, x, generator=seeded()), error.square().sum() / 15)
    model.predictor.network.output.weight.data.zero_()
    model.predictor.network.output.bias.data.zero_()
    nothing = diffusion_loss(model, x.repeat(4000, 1), generator=seeded())
    # Squares of 60,000 standard normal numbers: five standard errors.
    assert abs(float(nothing.detach()) - 1) < 5 * (2 / 60_000) ** 0.5


def least_loss(x: Tensor, betas: Tensor, draws: int) -> float:
    """Return the loss of the best of all functions on these points, over drawn times and noise."""
    generator, bars = seeded(5), (1 - betas).cumprod(0)
    times = torch.randint(len(betas), (draws,), generator=generator)
    bar = bars[times][:, None]
    noise = torch.randn(draws, x.shape[1], dtype=x.dtype, generator=generator)
    there = bar.sqrt() * x[torch.randint(len(x), (draws,), generator=generator)] + (1 - bar).sqrt() * noise
    # Given xₜ each point has a posterior weight, and with it its own noise.
    noises = (there[:, None] - bar.sqrt()[:, None] * x) / (1 - bar).sqrt()[:, None]
    weights = (-noises.square().sum(2) / 2).softmax(1)
    return float(((weights[:, :, None] * noises).sum(1) - noise).square().mean())


def test_it_overfits_sixteen_samples_to_the_least_loss() -> None:
    x = 2 * torch.randn(16, 2, generator=seeded())
    betas = linear_betas(6, first=0.2, last=0.6)
    torch.manual_seed(0)
    model = DDPM(NoiseMLP(2, (64, 64)), betas)
    many = x.repeat(1024, 1)
    with torch.no_grad():
        before = float(diffusion_loss(model, many, generator=seeded(3)))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    batch = x.repeat(16, 1)
    fit(
        Objective(model, diffusion_loss),
        lambda epoch: [(batch, batch)] * 100,
        Objective.value,
        optimizer=optimizer,
        epochs=8,
    )
    with torch.no_grad():
        after = float(diffusion_loss(model, many, generator=seeded(3)))
    least = least_loss(x.double(), betas, 16_384)
    assert before > 0.9
    assert least < 0.5
    # Both are means of 32,768 squared errors, known to 0.005 each: three standard errors of their difference below;
    # above, a tenth of what was to be learnt.
    assert least - 0.02 < after < least + 0.1 * (before - least)


def test_the_network_of_images_overfits_sixteen_samples() -> None:
    torch.manual_seed(0)
    model = UNet(1, 8, (1, 2), blocks=1, attention=(1,), groups=4, dropout=0.0)
    x, targets = (torch.randn(16, 1, 4, 4, generator=seeded(seed)) for seed in (0, 1))
    times = torch.arange(1, 17)

    class AtTimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            return self.model(x, times)

    overfits(AtTimes(), x, targets, squared_error, steps=400, below=3e-2)


def test_the_network_of_images_drops_numbers_in_training_alone() -> None:
    torch.manual_seed(0)
    model, x, times = UNet(1, 8, (1, 2), blocks=1, groups=4, dropout=0.3), torch.randn(2, 1, 4, 4), torch.tensor([1, 2])
    for each in model.parameters():
        each.data += 0.1 * torch.randn(each.shape, generator=seeded(2))
    assert not torch.equal(model(x, times), model(x, times))
    model.eval()
    assert torch.equal(model(x, times), model(x, times))
    # One in each residual block: two on the way down, two in the middle, four on the way up.
    assert [each.p for each in model.modules() if isinstance(each, nn.Dropout)] == [0.3] * 8


def test_a_perceptron_has_its_activation() -> None:
    model = NoiseMLP(2, (8, 4), activation="tanh")
    assert sum(isinstance(each, nn.Tanh) for each in model.network) == 2


def test_samples_are_of_the_precision_asked_for() -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor, times: Tensor) -> Tensor:
            return torch.zeros_like(x)

    for dtype in (torch.float32, torch.float64):
        # A predictor need not have parameters.
        assert DDPM(Nothing(), linear_betas(3)).sample([2, 3], like=torch.zeros(1, dtype=dtype)).dtype == dtype


def test_embedded_times_are_the_papers() -> None:
    found = TimeEmbedding(6)(torch.tensor([3, 700]))
    for row, time in zip(found.tolist(), (3, 700), strict=True):
        angles = [time * 10_000 ** (-i / 2) for i in range(3)]
        # Angles up to 700 in single precision.
        assert row == pytest.approx([*map(math.sin, angles), *map(math.cos, angles)], abs=1e-4)


def unet() -> UNet:
    """A small one whose last layers, which begin at 0, are stirred."""
    torch.manual_seed(0)
    model = UNet(2, 8, (1, 2), blocks=1, attention=(1,), groups=4).double().eval()
    for each in model.parameters():
        each.data += 0.1 * torch.randn(each.shape, generator=seeded(2)).double()
    return model


@torch.no_grad()
def test_the_network_of_images_computes_its_formula() -> None:
    """Against the layers called in the paper's order, with attention written out."""
    model, x, times = unet(), torch.randn(3, 2, 4, 6, generator=seeded()).double(), torch.tensor([1, 5, 900])
    f = nn.functional
    w = dict(model.named_parameters())

    def conv(name: str, h: Tensor, **given: int) -> Tensor:
        size = w[f"{name}.weight"].shape[-1]
        return f.conv2d(h, w[f"{name}.weight"], w[f"{name}.bias"], padding=size // 2, **given)

    def linear(name: str, h: Tensor) -> Tensor:
        return h @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name: str, h: Tensor) -> Tensor:
        grouped = h.reshape(len(h), 4, -1)
        centred = grouped - grouped.mean(2, keepdim=True)
        scaled = (centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()).reshape(h.shape)
        return scaled * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]

    def swish(h: Tensor) -> Tensor:
        return h / (1 + (-h).exp())

    def block(name: str, h: Tensor, time: Tensor) -> Tensor:
        inner = conv(f"{name}.convolution1", swish(norm(f"{name}.normalisation1", h)))
        inner = inner + linear(f"{name}.time.linear", swish(time))[:, :, None, None]
        inner = conv(f"{name}.convolution2", swish(norm(f"{name}.normalisation2", inner)))
        return inner + (conv(f"{name}.shortcut", h) if f"{name}.shortcut.weight" in w else h)

    def attention(name: str, h: Tensor) -> Tensor:
        out = torch.zeros_like(h)
        pixels = norm(f"{name}.normalisation", h).flatten(2).mT
        for n in range(len(h)):
            q, k, v = (linear(f"{name}.{of}", pixels[n]) for of in ("query", "key", "value"))
            scores = (q @ k.T / q.shape[1] ** 0.5).exp()
            mixed = linear(f"{name}.output", scores / scores.sum(1, keepdim=True) @ v)
            out[n] = mixed.T.reshape(h.shape[1:])
        return h + out

    time = linear("time.linear2", swish(linear("time.linear1", TimeEmbedding(8).double()(times))))
    h0 = conv("stem", x)
    h1 = block("down.0.0", h0, time)
    h2 = conv("down.1", h1, stride=2)
    h3 = attention("down.2.1", block("down.2.0", h2, time))
    h = block("middle.2", attention("middle.1", block("middle.0", h3, time)), time)
    h = attention("up.0.1", block("up.0.0", torch.cat([h, h3], 1), time))
    h = attention("up.1.1", block("up.1.0", torch.cat([h, h2], 1), time))
    h = conv("up.2.convolution", h.repeat_interleave(2, 2).repeat_interleave(2, 3))
    h = block("up.3.0", torch.cat([h, h1], 1), time)
    h = block("up.4.0", torch.cat([h, h0], 1), time)
    naive = conv("output", swish(norm("normalisation", h)))
    found = model(x, times)
    assert found.shape == x.shape
    torch.testing.assert_close(found, naive, rtol=1e-10, atol=1e-10)
    assert (found[0] - model(x, times + 50)[0]).abs().max() > 1e-3


def test_an_untrained_network_of_images_expects_no_noise() -> None:
    model = DDPM(UNet(1, 8, (1, 2), blocks=1, groups=4), linear_betas(3))
    assert not model(torch.randn(2, 1, 4, 4), torch.tensor([1, 3])).any()
    assert model.sample([2, 1, 4, 4], generator=seeded()).isfinite().all()


def test_samples_are_repeated_by_their_seed() -> None:
    torch.manual_seed(0)
    model = DDPM(NoiseMLP(3, (8,)), linear_betas(5))
    first = model.sample([4, 3], generator=seeded())
    assert torch.equal(first, model.sample([4, 3], generator=seeded()))
    assert not torch.equal(first, model.sample([4, 3], generator=seeded(1)))
    assert model.double().sample([4, 3], generator=seeded()).dtype == torch.float64
    spoilt = torch.zeros(2, 3, dtype=torch.float64)
    spoilt[0, 0] = torch.nan
    assert diffusion_loss(model, spoilt).isnan()


def test_bad_input_is_refused() -> None:
    model, x = DDPM(NoiseMLP(3, (8,)), linear_betas(5)), torch.zeros(2, 3)
    for times in (torch.tensor([0, 1]), torch.tensor([1, 6])):
        with pytest.raises(UsageError, match=r"times is \[2\] of int64, from . to .: DDPM"):
            model(x, times)
    for times in (torch.tensor([1]), torch.tensor([1.0, 2.0]), torch.tensor(3), torch.ones(2, 1, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"times is .*: DDPM"):
            model(x, times)
        # A network alone knows nothing of the number of steps.
        with pytest.raises(UsageError, match=r"times is .*: NoiseMLP"):
            model.predictor(x, times)
        with pytest.raises(UsageError, match=r"times is .*: UNet"):
            UNet(1, 8, (1, 2), blocks=1, groups=4)(torch.zeros(2, 1, 4, 4), times)
    with pytest.raises(UsageError, match="3"):
        model(torch.zeros(2, 4), torch.tensor([1, 2]))
    with pytest.raises(UsageError, match="betas"):
        DDPM(NoiseMLP(3), torch.tensor([0.1, 1.0]))
    with pytest.raises(UsageError, match="posterior"):
        DDPM(NoiseMLP(3), variance="posteriour")
    for shape in ([], [0, 3]):
        with pytest.raises(UsageError, match="shape"):
            model.sample(shape)
    with pytest.raises(UsageError, match="x is"):
        diffusion_loss(model, x[:0])
    for given in ({"features": 0}, {"features": 3, "hidden": (0,)}, {"features": 3, "embedding": 2}):
        with pytest.raises(UsageError, match=r"features|hidden|width"):
            NoiseMLP(**given)
    for given, name in (
        ({"in_channels": 0}, "in_channels"),
        ({"width": 40}, "groups"),
        ({"multipliers": ()}, "multipliers"),
        ({"multipliers": (1, 0)}, "multipliers"),
        ({"attention": (4,)}, "attention"),
        ({"blocks": 0}, "blocks"),
        ({"dropout": 1.0}, "dropout"),
    ):
        with pytest.raises(UsageError, match=name):
            UNet(**{"width": 32, "multipliers": (1,), "attention": (), **given})
    small = UNet(1, 8, (1, 2), blocks=1, groups=4)
    for images in (torch.zeros(2, 1, 5, 4), torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 0, 4)):
        with pytest.raises(UsageError, match=r"channels|multiples"):
            small(images, torch.tensor([1, 2]))


def test_a_loss_of_its_settings_is_an_objective() -> None:
    loss = partial(diffusion_loss, generator=seeded())
    objective = Objective(DDPM(NoiseMLP(2, (4,)), linear_betas(3)), loss)
    assert objective(torch.zeros(4, 2)).shape == ()
