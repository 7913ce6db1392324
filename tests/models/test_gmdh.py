"""The group method of data handling: which polynomial it finds, and at which layer it stops."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from contract import overfits, squared_error
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import GMDH, QuadraticUnits, grow_gmdh


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Samples:
    """Samples of a quadratic polynomial of three of ten variables, 5 % of their variance noise.

    The polynomial is c₀ + c₁ a + c₂ b + c₃ ab + c₄ c + c₅ c², with coefficients of 1 to 2 in size: a unit of a and b,
    and a second of this and c, are the smallest network that is it. So the right number of layers is 2.
    """

    def __init__(self, seed: int) -> None:
        draws = generator(seed)
        self.relevant = torch.randperm(10, generator=draws)[:3]
        sizes = 1 + torch.rand(6, generator=draws, dtype=torch.float64)
        self.coefficients = sizes * torch.where(torch.rand(6, generator=draws) < 0.5, -1, 1)
        self.inputs = torch.randn(4500, 10, generator=draws, dtype=torch.float64)
        self.truth = self.polynomial(self.inputs)
        noise = torch.randn(4500, generator=draws, dtype=torch.float64)
        self.targets = self.truth + (0.05 * self.truth.var()).sqrt() * noise

    def polynomial(self, x: Tensor) -> Tensor:
        a, b, c = x[:, self.relevant].T
        return torch.stack([torch.ones_like(a), a, b, a * b, c, c.square()], 1) @ self.coefficients

    def grown(self, *, external: bool = True, **settings: float) -> tuple[GMDH, list[float]]:
        checking = slice(1000, 4000) if external else slice(1000)
        x, y = self.inputs, self.targets
        return grow_gmdh(x[:1000], y[:1000], x[checking], y[checking], **settings)


def recovered(seed: int) -> bool:
    """Whether the three variables and two layers are found, and growth ends there."""
    samples = Samples(seed)
    network, criteria = samples.grown()
    # On fresh samples, without their noise: 12 coefficients are fitted to 1,000 samples, six of them with the third
    # variable's part as noise, which is most of the variance at worst: of order 6/1000 of it.
    error = (network(samples.inputs[4000:])[:, 0] - samples.truth[4000:]).square().mean()
    assert error < 0.02 * samples.truth.var()
    alone = network.inputs_used() == sorted(samples.relevant.tolist())
    return alone and len(network.layers) == 2 and len(criteria) == 3


@pytest.mark.demonstrates("gmdh")
def test_a_quadratic_polynomial_is_recovered_and_growth_ends_at_its_layer() -> None:
    """Here in 20 runs; tests/verify/test_gmdh_recovery.py has as many as tell 90 % from less."""
    assert sum(recovered(seed) for seed in range(20)) >= 0.9 * 20


def test_without_an_external_criterion_growth_has_no_end() -> None:
    """On the samples that are fitted each layer can repeat the one before: its error cannot rise."""
    for seed in range(3):
        network, criteria = Samples(seed).grown(external=False, least_gain=0.0, most_layers=7)
        assert len(criteria) == 7
        assert (np.diff(criteria) <= 1e-12).all()
        assert len(network.inputs_used()) > 3


def test_a_polynomial_of_two_variables_is_found_exactly() -> None:
    x = torch.randn(60, 4, generator=generator(), dtype=torch.float64)
    weight = torch.tensor([0.5, -1.0, 2.0, 3.0, -0.7, 1.5], dtype=torch.float64)
    a, b = x[:, 1], x[:, 3]
    y = torch.stack([torch.ones_like(a), a, b, a * b, a**2, b**2], 1) @ weight
    network, criteria = grow_gmdh(x[:30], y[:30], x[30:], y[30:], most_layers=1)
    assert network.layers[0].pairs.tolist() == [[1, 3]]
    torch.testing.assert_close(network.layers[0].weight[0], weight, rtol=0, atol=1e-12)
    assert criteria[0] < 1e-24


def test_a_layer_is_the_best_of_all_pairs_fitted_one_by_one() -> None:
    """The twin: NumPy's least squares for each pair, of which the criterion is taken on the other samples."""
    x, y = (torch.randn(80, *shape, generator=generator(n), dtype=torch.float64) for n, shape in enumerate(((5,), ())))
    network, criteria = grow_gmdh(x[:50], y[:50], x[50:], y[50:], most_layers=1)

    def design(rows: slice, pair: tuple[int, int]) -> np.ndarray:
        a, b = x.numpy()[rows][:, pair].T
        return np.stack([np.ones_like(a), a, b, a * b, a**2, b**2], 1)

    found = {}
    for pair in combinations(range(5), 2):
        weight = np.linalg.lstsq(design(slice(50), pair), y[:50].numpy())[0]
        found[pair] = (((design(slice(50, 80), pair) @ weight - y[50:].numpy()) ** 2).mean(), weight)
    best = min(found, key=lambda pair: found[pair][0])
    assert criteria[0] == pytest.approx(found[best][0], rel=1e-12)
    assert network.layers[0].pairs.tolist() == [list(best)]
    np.testing.assert_allclose(network.layers[0].weight[0].detach(), found[best][1], rtol=0, atol=1e-12)


def test_what_is_left_after_pruning_has_the_criterion_of_what_was_grown() -> None:
    """Units are renumbered: a mistake there would show in the last layer's error."""
    for seed in range(3):
        samples = Samples(seed)
        network, criteria = samples.grown(least_gain=0.0, most_layers=4, width=6)
        checking = slice(1000, 4000)
        error = (network(samples.inputs[checking])[:, 0] - samples.targets[checking]).square().mean().item()
        assert error == pytest.approx(criteria[len(network.layers) - 1], rel=1e-9)
        assert all(len(layer.pairs) <= 6 for layer in network.layers)
        for layer, after in zip(network.layers[:-1], network.layers[1:], strict=True):
            assert {*range(10, 10 + len(layer.pairs))} <= {int(source) for source in after.pairs.flatten()}


def test_inputs_of_two_values_have_a_smallest_solution() -> None:
    """Their squares are the inputs again: the terms depend on one another."""
    x = torch.where(torch.randn(200, 3, generator=generator()) > 0, 1.0, 0.0)
    y = (x[:, 0] - x[:, 1]).square()
    network, criteria = grow_gmdh(x[:100], y[:100], x[100:], y[100:])
    assert criteria[0] < 1e-20
    torch.testing.assert_close(network(x)[:, 0], y, rtol=0, atol=1e-5)
    assert network.layers[0].weight.abs().amax() < 3


def test_it_computes_its_formula() -> None:
    """The twin takes unit after unit."""
    torch.manual_seed(0)
    pairs = (((0, 1), (2, 0)), ((3, 4), (1, 4), (0, 2)), ((5, 3),))
    network = GMDH(3, pairs).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    units: list[Tensor] = []
    for layer, each in zip(network.layers, pairs, strict=True):
        sources = [*x.T, *units]
        units = []
        for (first, second), w in zip(each, layer.weight, strict=True):
            a, b = sources[first], sources[second]
            units.append(w[0] + w[1] * a + w[2] * b + w[3] * a * b + w[4] * a**2 + w[5] * b**2)
    torch.testing.assert_close(network(x), torch.stack(units, 1), rtol=1e-12, atol=1e-12)
    assert sum(p.numel() for p in network.parameters()) == 6 * 6
    assert network.inputs_used() == [0, 1, 2]


def test_dtype_and_state() -> None:
    x = torch.randn(80, 4, generator=generator())
    network, _ = grow_gmdh(x[:40], x[:40, 0], x[40:], x[40:, 0])
    assert network(x).dtype == torch.float32
    pairs = [[(int(a), int(b)) for a, b in layer.pairs] for layer in network.layers]
    other = GMDH(4, pairs)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x), network(x))


def test_sixteen_samples_are_learnt() -> None:
    """By gradients, as any other network: there are 18 coefficients."""
    torch.manual_seed(0)
    network = GMDH(3, (((0, 1), (1, 2)), ((3, 4),)))
    x = torch.rand(16, 3) - 0.5
    y = (x[:, :1] * x[:, 1:2] + x[:, 2:]).detach()
    overfits(network, x, 2 * y, squared_error, steps=400, below=5e-3)


def test_nan_is_not_hidden() -> None:
    x = torch.zeros(3, 10)
    x[1, 0] = torch.nan
    assert GMDH()(x).isnan().all(1).tolist() == [False, True, False]


def test_bad_input_is_named() -> None:
    for pairs in ([], [(0, -1)], [(0, 1, 2)]):
        with pytest.raises(UsageError, match="two numbers of sources"):
            QuadraticUnits(pairs)
    with pytest.raises(UsageError, match="there is no layer"):
        GMDH(3, ())
    with pytest.raises(UsageError, match="layer 2 has the pairs"):
        GMDH(3, (((0, 1),), ((0, 4),)))
    for x in (torch.zeros(4, 9), torch.zeros(10), torch.zeros(4, 10, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"Give \[batch, 10\]"):
            GMDH()(x)
    x, y = torch.randn(20, 3), torch.randn(20)
    for wrong in (
        (x[:5], y[:5], x, y),
        (x, y, x[:, :2], y),
        (x, y, x, y[:5]),
        (x[:, :1], y, x[:, :1], y),
        (y, y, y, y),
    ):
        with pytest.raises(UsageError, match="with at least 2 features and 6 samples"):
            grow_gmdh(*wrong)
    for wrong in ((x, y, torch.nan * x, y), (x, torch.inf + y, x, y), (x.long(), y, x.long(), y)):
        with pytest.raises(UsageError, match="not finite"):
            grow_gmdh(*wrong)
    for setting in ({"width": 0}, {"most_layers": 0}, {"least_gain": 1.0}, {"least_gain": -0.1}):
        with pytest.raises(UsageError, match="at least 1 unit and layer"):
            grow_gmdh(x, y, x, y, **setting)
