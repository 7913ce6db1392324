"""Networks with random weights, and what is said beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from symmetry_networks import MeanOver, noise, seeded, subject_of
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from deepscope.instruments import symmetry
from deepscope.instruments._symmetry_random import randomised
from deepscope.instruments._symmetry_scores import Score, prediction_interval, symmetry_error
from deepscope.subject import Subject, seeded_generators


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_random_weights_come_from_each_modules_own_initialiser() -> None:
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.TransformerEncoderLayer(8, 2, 16), nn.LSTM(8, 4)
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0).add_(0.1)
        model[1].running_mean.add_(1.0)
    before = parameters_of(model)
    made, shuffled = randomised(model, 1)
    assert shuffled == ()
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert made[0].weight.abs().max() <= 1 / 3
    assert torch.equal(made[1].weight, torch.ones(4))
    assert made[1].running_mean.abs().max() == 0
    assert all(not torch.equal(value, before[name]) for name, value in made.named_parameters())
    again, _ = randomised(model, 1)
    other, _ = randomised(model, 2)
    assert torch.equal(again[0].weight, made[0].weight)
    assert not torch.equal(other[0].weight, made[0].weight)


def test_random_weights_are_the_same_in_every_dtype() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 4)))
    single, _ = randomised(model, 1)
    double, _ = randomised(seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 4))).double(), 1)
    for one, other in zip(single.parameters(), double.parameters(), strict=True):
        assert other.dtype == torch.float64
        assert torch.equal(one.double(), other)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.out.weight = self.embed.weight
        self.offset = nn.Parameter(torch.arange(4.0))
        self.ones = nn.Parameter(torch.ones(4))


def test_what_has_no_initialiser_is_shuffled_and_ties_stay() -> None:
    made, shuffled = randomised(seeded(Tied), 0)
    assert shuffled == ("offset",)
    assert made.out.weight is made.embed.weight
    assert sorted(made.offset.tolist()) == [0.0, 1.0, 2.0, 3.0]
    normed = seeded(lambda: weight_norm(nn.Linear(6, 5)))
    made, shuffled = randomised(normed, 5)
    assert shuffled == ("parametrizations.weight.original0", "parametrizations.weight.original1")
    assert not torch.equal(made.weight, normed.weight)

    class Asks(nn.Linear):
        def reset_parameters(self, gain: float | None = None) -> None:
            if hasattr(self, "made"):
                raise TypeError("needs a gain")
            self.made = True
            super().reset_parameters()

    _, shuffled = randomised(seeded(Asks, 3, 3), 5)
    assert shuffled == ("weight", "bias")


def test_one_more_network_lies_in_the_interval() -> None:
    rng = np.random.default_rng(0)
    draws = (1 + 0.3 * rng.normal(size=(4000, 5))) ** 2
    inside = [low <= last <= high for *four, last in draws.tolist() for low, high in [prediction_interval(four)]]
    # Exact for normal roots (all of these but 4 in 10,000 are positive); three standard errors of a share of 4,000.
    assert np.mean(inside) == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 4000))


def score_of(value: float, error: float = 0.0, bound: float = 1e-9) -> Score:
    """Of 64 samples, with this standard error."""
    return Score(value, bound, np.resize([-error, error], 64) * np.sqrt(63))


def test_an_error_is_judged_by_both_intervals() -> None:
    random = [score_of(value) for value in (0.2, 0.21, 0.19, 0.2)]
    assert symmetry_error(score_of(0.5, 0.01), random).against_baseline == "less"
    assert symmetry_error(score_of(0.1, 0.01), random).against_baseline == "more"
    assert symmetry_error(score_of(0.21, 0.01), random).against_baseline == ""
    # Far, but not known well enough.
    assert symmetry_error(score_of(0.5, 0.2), random).against_baseline == ""
    few = symmetry_error(score_of(0.5, 0.01), random[:2])
    assert few.baseline == pytest.approx(0.205)
    assert few.baseline_low is None
    assert few.against_baseline == ""
    assert symmetry_error(score_of(1e-10), random).is_exact
    assert not symmetry_error(Score(0.0, None, np.zeros(2)), random).is_exact


def test_the_interval_of_few_samples_is_students() -> None:
    for n in (4, 32):
        error = symmetry_error(Score(0.5, 1e-9, np.resize([-0.1, 0.1], n)), [])
        low, high = error.interval
        assert (high - low) / (2 * error.stderr) == pytest.approx(stats.t.ppf(0.975, n - 1), rel=1e-9)


def mirrored_convolution() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), MeanOver(2, 3), nn.Linear(6, 2))
    with torch.no_grad():
        weight = model[0].weight
        weight.copy_(weight + weight.flip(-1))
        weight.copy_(weight + weight.flip(-2))
    return model


def test_a_symmetry_of_the_weights_is_told_from_one_of_the_architecture() -> None:
    reading = symmetry(subject_of(mirrored_convolution, noise(32, 1, 8, 8)), "flips")
    (finding,) = reading.findings()
    assert finding.severity == "note"
    assert "its weights make it so, random ones do not" in finding.message
    assert reading.baseline > 0.01
    alone = symmetry(subject_of(mirrored_convolution, noise(32, 1, 8, 8)), "flips", networks=0)
    assert alone.baseline_status == "no networks were asked for"
    assert alone.findings()[0].message == "The network is invariant under flips to float accuracy."


class Unbiased(nn.Linear):
    """A linear layer whose biases begin at 0."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.zeros_(self.bias)


def trained(model: nn.Module) -> Subject:
    """Train it on a function that is neither odd nor homogeneous."""
    x = torch.randn(128, 6)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        functional.mse_loss(model(x), x[:, :3].sin() + 0.5).backward()
        optimiser.step()
    return Subject(model, [(x[:48], None)])


@pytest.mark.parametrize(("activation", "family"), [(nn.Tanh, "signs"), (nn.ReLU, "scalings")])
@pytest.mark.parametrize("normalised", [False, True])
def test_biases_that_began_at_zero_are_no_fault(activation: type[nn.Module], family: str, *, normalised: bool) -> None:
    """Not even running means that were 0: the symmetry was one of where training began."""
    with seeded_generators(0):
        norm = [nn.BatchNorm1d(24)] if normalised else []
        model = nn.Sequential(Unbiased(6, 24), *norm, activation(), Unbiased(24, 3))
        reading = symmetry(trained(model), family)
    found = reading.of(family)
    assert found.output.baseline_is_exact
    assert found.output.value > 1e-3
    assert found.own_constants > 1e-3
    (finding,) = reading.findings()
    assert finding.severity == "note"
    assert f"begins equivariant under {family}, because what begins constant" in finding.message


def test_nearly_and_hardly_symmetric_networks_are_told_from_random_ones() -> None:
    model = seeded(mirrored_convolution).double()
    with torch.no_grad():
        model[0].weight.add_(1e-3 * noise(6, 1, 3, 3))
    x = noise(32, 1, 8, 8)
    (finding,) = symmetry(Subject(model, [(x, None)]), "flips", networks=8).findings()
    assert "more invariant under flips than with random weights: it has learnt to be" in finding.message
    with torch.no_grad():
        # Edges that face one way less those that face the other: a mirror changes the sign.
        model[0].weight.zero_()
        model[0].weight[0], model[0].weight[1] = (torch.tensor([[s, 0.0, -s]]).expand(3, 3) for s in (1.0, -1.0))
        model[3].weight.zero_()
        model[3].weight[:, 0], model[3].weight[:, 1] = 1.0, -1.0
    (finding,) = symmetry(Subject(model, [(x, None)]), "flips", networks=8).findings()
    assert "less invariant under flips than with random weights" in finding.message
    assert finding.severity == "note"
    random = symmetry(subject_of(lambda: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2)), noise(32, 6)))
    assert random.findings() == ()


def test_a_network_that_cannot_be_copied_has_no_baseline() -> None:
    model = seeded(nn.Linear, 4, 2)
    model.lock = __import__("threading").Lock()
    reading = symmetry(Subject(model, [(noise(8, 4, dtype=torch.float32), None)]))
    assert reading.error is not None
    assert reading.baseline is None
    assert reading.baseline_status.startswith("the network cannot be copied")
    assert reading.table()["invariance_baseline"].isna().all()
    reading.plot()
