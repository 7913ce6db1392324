"""The self-organising map: both rules against naive twins, order and density against theory."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from deepscope.core import UsageError, row
from deepscope.models import SelfOrganisingMap
from deepscope.models._self_organising_map import SPECIMENS

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and there is none")
SHAPES = pytest.mark.parametrize(("shape", "periodic"), [((7,), False), ((7,), True), ((3, 4), False), ((3, 4), True)])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def built(shape, features=2, **arguments):
    return SelfOrganisingMap(shape, features, dtype=torch.float64, generator=generator(), **arguments)


def lattice_distance(shape, periodic, first, second):
    """Distance of two units by their index, as one would count it."""
    places = list(itertools.product(*(range(length) for length in shape)))
    total = 0
    for a, b, length in zip(places[first], places[second], shape, strict=True):
        ways = [abs(a - b)] + ([length - abs(a - b)] if periodic else [])
        total += min(ways) ** 2
    return math.sqrt(total)


def near(shape, periodic, radius, best):
    distances = [lattice_distance(shape, periodic, best, unit) for unit in range(math.prod(shape))]
    if radius == 0:
        return np.array([float(distance == 0) for distance in distances])
    return np.exp(-(np.array(distances) ** 2) / (2 * radius**2))


@SHAPES
@pytest.mark.parametrize("radius", [0.0, 0.7, 2.0])
def test_neighbourhood_is_a_gaussian_of_the_lattice_distance(shape, periodic, radius):
    chart = built(shape, periodic=periodic)
    units = torch.arange(math.prod(shape))
    expected = np.stack([near(shape, periodic, radius, unit) for unit in range(len(units))])
    np.testing.assert_allclose(chart.neighbourhood(units, radius), expected, rtol=1e-14, atol=0)
    assert chart.neighbourhood(units[:6].reshape(2, 3), radius).shape == (2, 3, len(units))


@SHAPES
@pytest.mark.parametrize("radius", [0.0, 1.5])
def test_online_learning_is_the_rule_step_by_step(shape, periodic, radius):
    inputs = torch.rand(5, 2, generator=generator(1), dtype=torch.float64)
    chart = built(shape, periodic=periodic)
    weights = chart.weights.numpy().copy()
    settings = {"learning_rate_decay": 0.97, "radius_decay": 0.9, "least_radius": min(radius, 0.6)}
    chart.fit_online(inputs, steps=40, learning_rate=0.5, radius=radius, generator=generator(2), **settings)
    for step, drawn in enumerate(torch.randint(5, (40, 1), generator=generator(2))):
        x = inputs[drawn[0]].numpy()
        best = int(np.linalg.norm(x - weights, axis=1).argmin())
        rate, reach = 0.5 * 0.97**step, max(radius * 0.9**step, settings["least_radius"])
        weights += rate * near(shape, periodic, reach, best)[:, None] * (x - weights)
    # 40 steps that each round a number below 1 a few times, and contract errors.
    np.testing.assert_allclose(chart.weights, weights, rtol=0, atol=1e-13)


@SHAPES
@pytest.mark.parametrize("radius", [0.0, 1.5])
def test_batch_learning_is_the_weighted_mean(shape, periodic, radius):
    inputs = torch.rand(9, 2, generator=generator(1), dtype=torch.float64)
    chart = built(shape, periodic=periodic)
    weights = chart.weights.numpy().copy()
    chart.fit_batch(inputs, epochs=3, radius=radius, radius_decay=0.8, least_radius=min(radius, 1.0))
    for epoch in range(3):
        reach = max(radius * 0.8**epoch, min(radius, 1.0))
        best = [int(np.linalg.norm(x - weights, axis=1).argmin()) for x in inputs.numpy()]
        h = np.stack([near(shape, periodic, reach, unit) for unit in best])
        means = (h.T @ inputs.numpy()) / np.where(h.sum(0) > 0, h.sum(0), 1)[:, None]
        weights = np.where(h.sum(0)[:, None] > 0, means, weights)
    np.testing.assert_allclose(chart.weights, weights, rtol=0, atol=1e-13)


def test_with_radius_0_a_pass_is_one_of_k_means():
    from sklearn.cluster import KMeans

    inputs = torch.rand(200, 3, generator=generator(1), dtype=torch.float64)
    chart = built([6], 3)
    start = chart.weights.numpy().copy()
    chart.fit_batch(inputs, epochs=300, radius=0.0)
    k_means = KMeans(6, init=start, n_init=1, max_iter=300, tol=0).fit(inputs.numpy())
    np.testing.assert_allclose(chart.weights, k_means.cluster_centers_, rtol=0, atol=1e-12)


def test_a_unit_out_of_reach_stays():
    """Beyond 13 radii h is less than any normal float32: such numbers have quotients of few digits."""
    chain = SelfOrganisingMap([200], 1, generator=generator())
    chain.weights.copy_(torch.linspace(0, 1, 200).unsqueeze(-1))
    before = chain.weights.clone()
    chain.fit_batch(torch.full((1, 1), 0.3), epochs=1, radius=1.0)
    moved = (chain.weights != before).squeeze(-1).nonzero().squeeze(-1)
    best = round(0.3 * 199)
    # exp(−u²/2) ≥ 1.18e-38 up to u = 13.
    assert moved.min() >= best - 13
    assert moved.max() == best + 13
    torch.testing.assert_close(chain.weights[moved], torch.full((len(moved), 1), 0.3), rtol=1e-6, atol=0)


@pytest.mark.parametrize("rule", ["fit_online", "fit_batch"])
def test_maps_side_by_side_are_those_maps(rule):
    inputs = torch.rand(2, 3, 8, 2, generator=generator(1), dtype=torch.float64)
    together = built([5], batch_shape=[2, 3], periodic=True)
    start = together.weights.clone()
    online = {"learning_rate": 0.4, "steps": 30} if rule == "fit_online" else {"epochs": 4}
    # A generator that gives all maps the same draws cannot be had: one input per map makes draws irrelevant.
    inputs = inputs[..., :1, :] if rule == "fit_online" else inputs
    getattr(together, rule)(inputs, radius=1.2, radius_decay=0.9, **online)
    for i, j in itertools.product(range(2), range(3)):
        alone = built([5], periodic=True)
        alone.weights.copy_(start[i, j])
        getattr(alone, rule)(inputs[i, j], radius=1.2, radius_decay=0.9, **online)
        torch.testing.assert_close(together.weights[i, j], alone.weights, rtol=0, atol=1e-14)
        for error in ("quantisation_error", "topographic_error"):
            together_error = getattr(together, error)(inputs)
            assert together_error.shape == (2, 3)
            assert together_error[i, j].item() == pytest.approx(getattr(alone, error)(inputs[i, j]).item(), abs=1e-14)
        torch.testing.assert_close(together(inputs)[i, j], alone(inputs[i, j]))


def test_each_map_draws_inputs_of_its_own_and_all_of_them():
    inputs = torch.arange(12, dtype=torch.float64).reshape(2, 6, 1)
    chart = built([1], 1, batch_shape=[2])
    # With rate 1 a map of one unit stands on the input presented last.
    seen = [set(), set()]
    draws = generator(3)
    for _ in range(200):
        chart.fit_online(inputs, steps=1, learning_rate=1.0, radius=0.0, generator=draws)
        for i in range(2):
            seen[i].add(chart.weights[i].item())
    assert seen == [set(range(6)), set(range(6, 12))]


def test_errors_by_hand():
    chain = built([4], 1)
    chain.weights.copy_(torch.tensor([[0.0], [1.0], [2.0], [3.0]]))
    inputs = torch.tensor([[0.25], [1.5], [3.5]], dtype=torch.float64)
    assert chain(inputs[[0, 2]]).tolist() == [0, 3]
    assert chain.quantisation_error(inputs).item() == pytest.approx((0.25 + 0.5 + 0.5) / 3)
    assert chain.topographic_error(inputs).item() == 0
    chain.weights.copy_(torch.tensor([[0.0], [2.0], [1.0], [3.0]]))
    # 0.25 lies between units 0 and 2, 1.5 between 1 and 2, 3.5 beside 3 and then 1.
    assert chain.topographic_error(inputs).item() == pytest.approx(2 / 3)


def test_a_ring_closes_and_diagonal_units_of_a_grid_are_not_adjacent():
    inputs = torch.tensor([[0.0, 0.01]], dtype=torch.float64)
    for periodic, expected in ((False, 1), (True, 0)):
        ring = built([4], periodic=periodic)
        ring.weights.copy_(torch.tensor([[0.0, 0.0], [5.0, 0.0], [5.0, 5.0], [0.0, 1.0]]))
        assert ring.topographic_error(inputs).item() == expected
    grid = built([2, 2])
    grid.weights.copy_(torch.tensor([[0.0, 0.0], [5.0, 5.0], [6.0, 6.0], [0.0, 1.0]]))
    assert grid.topographic_error(inputs).item() == 1


def power_law():
    """Return the exponent α in (density of units) ∝ (density of inputs)^α on a chain, and what theory says.

    The inputs are quantiles of the density ∝ e^(−2x) on [0, 1], the radius is 3: passes then end, as no input changes
    its unit. Theory (``ritter1991asymptotic``) is for a step, h = 1 up to r neighbours away and 0 beyond:
    α = 2/3 − 1/(3r² + 3(r + 1)²). With the second moment of a step, v = r(r + 1)/3, that is (12 v + 1)/(18 v + 3);
    here v is the Gaussian's, σ². Units within five radii of the ends are left out, as the
    theory knows no ends.
    """
    radius, units, samples = 3.0, 60, 12_000
    levels = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples
    inputs = (-torch.log1p(-levels * (1 - math.exp(-2))) / 2).unsqueeze(-1)
    chain = built([units], 1)
    chain.weights.copy_(torch.linspace(0, 1, units, dtype=torch.float64).unsqueeze(-1))
    chain.fit_batch(inputs, epochs=300, radius=radius)
    before = chain.weights.clone()
    chain.fit_batch(inputs, epochs=1, radius=radius)
    assert torch.equal(before, chain.weights)
    places = chain.weights.squeeze(-1).numpy()
    inner = slice(round(5 * radius), -round(5 * radius))
    density = np.log(2 / (places[2:] - places[:-2]))
    found = np.polyfit(-2 * places[1:-1][inner], density[inner], 1)[0]
    return found, (12 * radius**2 + 1) / (18 * radius**2 + 3)


@pytest.mark.demonstrates("som")
def test_density_of_units_follows_the_power_law_and_neighbours_stay_neighbours():
    """The row's two numbers; a chain that starts evenly spaced has exponent 0."""
    found, theory = power_law()
    # Passes end when no input changes its unit: then each end of a unit's part of the line is off by one input at
    # most, 60/12,000 of its length. Over a range of 1 in the log density two such errors change the slope by 0.01.
    assert found == pytest.approx(theory, abs=0.01)
    assert found == pytest.approx(2 / 3, abs=0.02)
    inputs = torch.rand(2000, 2, generator=generator(1))
    chart = SelfOrganisingMap([10, 10], 2, generator=generator(2))
    assert chart.topographic_error(inputs).item() > 0.9
    shrinking = {"learning_rate_decay": 0.9995, "radius_decay": 0.9996, "least_radius": 1.0}
    chart.fit_online(inputs, steps=5000, learning_rate=0.5, radius=5.0, generator=generator(3), **shrinking)
    assert chart.topographic_error(inputs).item() < 0.05


def test_tiny_and_huge_radii_are_limits():
    chart = built([5])
    units = torch.arange(5)
    for radius in (1e-200, 0.019):
        assert torch.equal(chart.neighbourhood(units, radius), torch.eye(5, dtype=torch.float64))
    # Where the short cut for small radii ends, the exponential is 0 by itself.
    assert torch.equal(chart.neighbourhood(units, 0.0201), torch.eye(5, dtype=torch.float64))
    assert torch.equal(chart.neighbourhood(units, 1e200), torch.ones(5, 5, dtype=torch.float64))


def test_without_a_neighbourhood_there_is_no_order():
    inputs = torch.rand(2000, 2, generator=generator(1))
    chart = SelfOrganisingMap([10, 10], 2, generator=generator(2))
    chart.fit_online(inputs, steps=5000, learning_rate=0.5, radius=0.0, generator=generator(3))
    assert chart.topographic_error(inputs).item() > 0.9
    assert chart.quantisation_error(inputs).item() < 0.06


def test_draws_come_from_the_generator_alone():
    inputs = torch.rand(20, 2, generator=generator(1))
    charts = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed * 17)
        draws = generator(seed)
        chart = SelfOrganisingMap([8], 2, generator=draws)
        before = torch.random.get_rng_state()
        chart.fit_online(inputs, steps=50, learning_rate=0.5, radius=1.0, generator=draws)
        assert torch.equal(before, torch.random.get_rng_state())
        charts.append(chart.weights)
    assert torch.equal(charts[0], charts[1])
    assert not torch.equal(charts[0], charts[2])


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_CUDA)])
def test_device_dtype_and_state(device):
    chart = SelfOrganisingMap([3, 3], 2, device=device, dtype=torch.float32, generator=generator())
    inputs = torch.rand(30, 2, device=device)
    chart.fit_batch(inputs, epochs=2, radius=1.0)
    chart.fit_online(inputs, steps=5, learning_rate=0.1, radius=1.0)
    assert chart.weights.dtype == torch.float32
    assert chart.weights.device.type == chart(inputs).device.type == device
    again = SelfOrganisingMap([3, 3], 2)
    again.load_state_dict(chart.state_dict())
    assert torch.equal(again(inputs.cpu()), chart(inputs).cpu())
    assert not list(chart.parameters())


def test_wrong_arguments_are_named():
    chart = built([4], batch_shape=[2])
    good = torch.zeros(2, 5, 2, dtype=torch.float64)
    for wrong in ({"shape": []}, {"shape": [0]}, {"features": 0}, {"batch_shape": [0]}):
        with pytest.raises(UsageError, match="sizes of at least 1"):
            SelfOrganisingMap(**{"shape": [3], "features": 2, **wrong})
    for inputs in (good[0], good[..., :1], good[:, :0], good[:1]):
        with pytest.raises(UsageError, match=r"Give \[2, n, 2\]"):
            chart(inputs)
        with pytest.raises(UsageError, match=r"Give \[2, n, 2\]"):
            chart.fit_online(inputs, steps=1, learning_rate=0.1, radius=1.0)
    for rate, radius in ((-0.1, 1.0), (0.1, -1.0), (math.nan, 1.0), (math.inf, 1.0), (0.1, math.inf)):
        with pytest.raises(UsageError, match="at least 0"):
            chart.fit_online(good, steps=1, learning_rate=rate, radius=radius)
    for count in (5.5, -1, math.nan):
        with pytest.raises(UsageError, match=f"steps or epochs is {count}"):
            chart.fit_online(good, steps=count, learning_rate=0.1, radius=1.0)
        with pytest.raises(UsageError, match=f"steps or epochs is {count}"):
            chart.fit_batch(good, epochs=count, radius=1.0)
    for value in (math.nan, math.inf):
        with pytest.raises(UsageError, match="not finite"):
            chart.fit_online(torch.full_like(good, value), steps=1, learning_rate=0.1, radius=1.0)
    with pytest.raises(UsageError, match="the weights torch"):
        chart.fit_batch(good.float(), epochs=1, radius=1.0)
    with pytest.raises(UsageError, match="at least 0"):
        chart.fit_batch(good, epochs=1, radius=1.0, least_radius=-1.0)
    with pytest.raises(UsageError, match="one unit"):
        built([1]).topographic_error(good[0])


def test_the_specimen_is_what_it_says():
    (specimen,) = SPECIMENS
    assert isinstance(specimen.build(), SelfOrganisingMap)
    assert specimen.pinned_by.rpartition("::")[2] in globals()
    assert all(row(each) for each in specimen.rows)
