from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Exponential, Normal

from deepscope.core import MeasurementError, UsageError
from deepscope.training import cross_entropy_method, rare_event

STANDARD = Normal(torch.zeros(10, dtype=torch.float64), torch.ones(10, dtype=torch.float64))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(size: int, generator: torch.Generator) -> Tensor:
    """Weights between vertices whose largest cut is that between the first half and the second.

    Between the halves every weight is 1, within them U(0, 1). A cut that moves k vertices of one half of m and l of the
    other across loses mk + ml − 2kl of the first and gains at most k(m − k) + l(m − l) < mk + ml − 2kl of the second.
    """
    half = size // 2
    weights = torch.ones(size, size, dtype=torch.float64)
    for part in (slice(0, half), slice(half, size)):
        drawn = torch.rand(half, half, generator=generator, dtype=torch.float64).triu(1)
        weights[part, part] = drawn + drawn.T
    return weights


def cut(weights: Tensor, sides: Tensor) -> Tensor:
    return ((sides @ weights) * (1 - sides)).sum(dim=1)


@pytest.mark.demonstrates("cem")
def test_an_event_of_probability_1e_9_is_measured_and_a_maximum_cut_of_40_vertices_is_found() -> None:
    # The sum of 10 standard normal numbers over √10 is one: P(≥ 6) = erfc(6/√2)/2 = 9.87e-10.
    exact = math.erfc(6 / math.sqrt(2)) / 2

    def score(x: Tensor) -> Tensor:
        return x.sum(dim=1) / math.sqrt(10)

    found = rare_event(score, 6.0, STANDARD, final_samples=40_000, generator=seeded(0))
    assert found.status == "ok"
    # A best-tilted sample has the relative deviation √(e³⁶·Q(12)/Q(6)² − 1) = 2.6: 0.013 for 40,000.
    assert found.relative_error == pytest.approx(2.63 / 200, rel=0.2)
    assert found.relative_error < 0.05
    assert abs(found.probability / exact - 1) < 4 * found.relative_error
    assert len(found.levels) < 20
    crude = torch.randn(60_000, 10, generator=seeded(0), dtype=torch.float64)
    assert not (score(crude) >= 6).any()

    solved = 0
    for seed in range(10):
        weights = planted(40, seeded(seed))
        best = cut(weights, torch.tensor([[1.0] * 20 + [0.0] * 20], dtype=torch.float64)).item()
        search = cross_entropy_method(
            lambda sides, weights=weights: cut(weights, sides),
            Bernoulli(torch.full((40,), 0.5, dtype=torch.float64)),
            samples=1000,
            elite=0.1,
            generator=seeded(100 + seed),
        )
        assert search.score <= best + 1e-9
        solved += search.score > best - 1e-9
    assert solved >= 8


def test_the_planted_cut_is_the_largest() -> None:
    weights = planted(10, seeded(3))
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=10)), dtype=torch.float64)
    cuts = cut(weights, every)
    first_half = torch.tensor([1.0] * 5 + [0.0] * 5, dtype=torch.float64)
    assert set(map(tuple, every[cuts > cuts.max() - 1e-9].tolist())) == {
        tuple(first_half.tolist()),
        tuple((1 - first_half).tolist()),
    }


def test_a_normal_distribution_contracts_at_the_rate_of_the_closed_form() -> None:
    share, components = 0.2, 400
    start = Normal(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    unit = Normal(torch.tensor(0.0), torch.tensor(1.0))
    q = unit.icdf(torch.tensor((1 + share) / 2))
    kept = (1 - 2 * q * unit.log_prob(q).exp() / share).item()
    rates = []
    for seed in range(components):
        search = cross_entropy_method(
            lambda x: -x[:, 0].square(),
            start,
            samples=1000,
            elite=share,
            smoothing=1.0,
            max_steps=1,
            generator=seeded(seed),
        )
        assert search.status == "not converged"
        rates.append(search.distribution.stddev.item() ** 2)
    rates = torch.tensor(rates)
    # The variance of 200 elite samples is too small by 1/200 (its mean is fitted too); the mean of 400 such has an
    # error of their deviation over 20.
    assert rates.mean().item() * 200 / 199 == pytest.approx(kept, abs=4 * rates.std().item() / 20)
    assert kept < 0.03


def test_a_linear_score_moves_the_mean_by_the_truncated_normals() -> None:
    start = Normal(torch.full((1,), 2.0, dtype=torch.float64), torch.full((1,), 3.0, dtype=torch.float64))
    search = cross_entropy_method(
        lambda x: x[:, 0], start, samples=100_000, elite=0.1, smoothing=0.5, max_steps=1, generator=seeded(0)
    )
    unit = Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    z = unit.icdf(torch.tensor(0.9, dtype=torch.float64))
    hazard = unit.log_prob(z).exp() / 0.1
    deviation = (1 - hazard * (hazard - z)).sqrt()
    # 10,000 elite samples: 0.01 of the deviation, 3·0.4, in each of mean and deviation; smoothing halves it.
    assert search.distribution.mean.item() == pytest.approx((2 + 2 + 3 * hazard.item()) / 2, abs=5 * 0.01 * 1.2 / 2)
    assert search.distribution.stddev.item() == pytest.approx((3 + 3 * deviation.item()) / 2, abs=5 * 0.01 * 1.2 / 2)
    assert search.levels[0] == pytest.approx(2 + 3 * z.item(), abs=0.1)


def test_a_sum_of_exponential_numbers_has_erlangs_tail() -> None:
    found = rare_event(
        lambda x: x.sum(dim=1), 30.0, Exponential(torch.ones(3, dtype=torch.float64)), generator=seeded(1)
    )
    exact = math.exp(-30) * sum(30**k / math.factorial(k) for k in range(3))
    assert found.relative_error < 0.1
    assert abs(found.probability / exact - 1) < 4 * found.relative_error


def test_many_heads_have_the_binomial_tail() -> None:
    found = rare_event(
        lambda x: x.sum(dim=1), 18.0, Bernoulli(torch.full((20,), 0.3, dtype=torch.float64)), generator=seeded(2)
    )
    exact = sum(math.comb(20, k) * 0.3**k * 0.7 ** (20 - k) for k in (18, 19, 20))
    assert found.relative_error < 0.1
    assert abs(found.probability / exact - 1) < 4 * found.relative_error


def test_a_frequent_event_takes_one_step_and_an_impossible_one_has_no_estimate() -> None:
    often = rare_event(lambda x: x[:, 0], 0.0, STANDARD, generator=seeded(0))
    assert often.levels == (0.0,)
    assert often.probability == pytest.approx(0.5, abs=4 * 0.5 * often.relative_error)
    never = rare_event(lambda x: x[:, 0].clamp(max=1.0), 2.0, STANDARD, max_steps=5, generator=seeded(0))
    assert (never.status, never.probability, never.relative_error) == ("the level was not reached", None, None)


def test_a_probability_below_what_float32_holds_is_measured() -> None:
    standard = Normal(torch.zeros(1), torch.ones(1))
    found = rare_event(lambda x: x[:, 0], 16.0, standard, generator=seeded(0))
    exact = math.erfc(16 / math.sqrt(2)) / 2
    assert exact < 1e-57
    assert found.relative_error < 0.1
    assert abs(found.probability / exact - 1) < 4 * found.relative_error
    # Of many components the weights of all samples are below it. What they find is poor, and is no estimate.
    wide = Normal(torch.zeros(2000), torch.ones(2000))
    found = rare_event(lambda x: x.sum(dim=1) / math.sqrt(2000), 12.0, wide, samples=300, generator=seeded(0))
    assert (found.status, found.probability) == ("no final sample reached the level", None)
    assert found.distribution.mean.isfinite().all()


def test_samples_that_are_not_allowed_are_never_of_the_elite() -> None:
    start = Normal(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    settings = {"samples": 200, "elite": 0.1, "smoothing": 1.0, "max_steps": 1}

    def score(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 2, -x[:, 0], -math.inf)

    found = cross_entropy_method(score, start, generator=seeded(0), **settings)
    drawn = torch.randn(200, 1, generator=seeded(0), dtype=torch.float64)
    allowed = drawn[drawn > 2]
    assert 2 <= len(allowed) < 20
    assert found.levels == (-math.inf,)
    assert found.distribution.mean.item() == pytest.approx(allowed.mean().item(), abs=1e-14)
    assert found.best.item() == allowed.min().item()
    never = cross_entropy_method(lambda x: torch.full((len(x),), -math.inf), start, generator=seeded(0), **settings)
    assert (never.status, never.best, never.score) == ("no sample was allowed", None, -math.inf)
    assert never.distribution is start


def test_one_allowed_sample_says_nothing_of_the_spread() -> None:
    start = Normal(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    largest = torch.randn(200, 1, generator=seeded(0), dtype=torch.float64).max().item()

    def score(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] >= largest, 1.0, -math.inf)

    found = cross_entropy_method(score, start, smoothing=1.0, max_steps=1, generator=seeded(0))
    assert (found.status, found.score, found.best.item()) == ("not converged", 1.0, largest)
    assert found.distribution is start


def test_it_has_closed_in_where_every_bit_has() -> None:
    def score(x: Tensor) -> Tensor:
        return x[:, 0] + 10 * x[:, 1]

    start = Bernoulli(torch.full((2,), 0.5, dtype=torch.float64))
    # The second bit is found in the first step, of which half of the elite has the first as well.
    found = cross_entropy_method(score, start, elite=0.4, smoothing=1.0, max_steps=1, generator=seeded(0))
    assert found.status == "not converged"
    assert found.distribution.mean[1] == 1.0
    found = cross_entropy_method(score, start, elite=0.4, smoothing=1.0, generator=seeded(0))
    assert (found.status, found.best.tolist()) == ("ok", [1.0, 1.0])


def test_the_elite_is_the_share_as_its_decimals_say() -> None:
    # 0.07 · 100 is 7.000000000000001 in floating point.
    start = Normal(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    settings = {"samples": 100, "elite": 0.07, "max_steps": 1}
    found = cross_entropy_method(lambda x: x[:, 0], start, generator=seeded(0), **settings)
    drawn = torch.randn(100, 1, generator=seeded(0), dtype=torch.float64)
    assert found.levels == (drawn.flatten().sort(descending=True).values[6].item(),)
    for elite, least in ((0.1, 11), (0.5, 3), (0.6, 2)):
        with pytest.raises(UsageError, match=f"as {least} or more"):
            cross_entropy_method(lambda x: x[:, 0], start, samples=least - 1, elite=elite, generator=seeded(0))
        cross_entropy_method(lambda x: x[:, 0], start, samples=least, elite=elite, max_steps=1, generator=seeded(0))


def test_the_same_state_gives_the_same_and_leaves_the_global_generator() -> None:
    state = torch.get_rng_state()
    one, other = (
        cross_entropy_method(lambda x: -x.square().sum(dim=1), STANDARD, generator=seeded(5)) for _ in range(2)
    )
    assert torch.equal(one.best, other.best)
    assert one.levels == other.levels
    assert one.status == "ok"
    assert torch.equal(torch.get_rng_state(), state)


def test_wrong_arguments_are_named() -> None:
    def score(x: Tensor) -> Tensor:
        return x[:, 0]

    for name, value in {"elite": 1.0, "samples": 10, "smoothing": 0.0, "max_steps": 0, "tolerance": 0.0}.items():
        with pytest.raises(UsageError, match=name):
            cross_entropy_method(score, STANDARD, generator=seeded(0), **{name: value})
    for name, value in {"elite": 0.0, "samples": 5, "final_samples": 1, "max_steps": 0}.items():
        with pytest.raises(UsageError, match=name):
            rare_event(score, 1.0, STANDARD, generator=seeded(0), **{name: value})
    with pytest.raises(UsageError, match="level"):
        rare_event(score, math.inf, STANDARD, generator=seeded(0))
    for start in (Exponential(torch.ones(2)), Normal(0.0, 1.0), torch.zeros(2)):
        with pytest.raises(UsageError, match=r"Normal or Bernoulli of parameters \[d\]"):
            cross_entropy_method(score, start, generator=seeded(0))
    with pytest.raises(MeasurementError, match="NaN"):
        cross_entropy_method(lambda x: x[:, 0] * math.nan, STANDARD, generator=seeded(0))
    with pytest.raises(MeasurementError, match=r"\[200, 10\]"):
        cross_entropy_method(lambda x: x, STANDARD, generator=seeded(0))
