"""HiPPO and state spaces: projections against closed forms, solutions against scipy's systems, planted fakes."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from scipy.signal import StateSpace, lsim
from scipy.special import eval_legendre
from torch import nn

from deepscope.core import Case, UsageError, Verdict
from deepscope.data import Samples
from deepscope.figures import to_svg
from deepscope.models import LSSL, LSTM, S4D, legendre_basis
from deepscope.studies.state_space import _online_projection, _three_views
from deepscope.studies.state_space._digit_rows import (
    RATES,
    RowNetwork,
    _groups,
    accuracy,
    at_other_rate,
    read_at_other_rates,
)
from deepscope.studies.state_space._linear_memories import (
    antisymmetric_system,
    gaussian_system,
    last_state,
    legs_states,
)
from deepscope.studies.state_space._recall import RIDGE, compare_memories, error_of, recall
from deepscope.studies.state_space._signals import (
    draw_signals,
    held_projection,
    middles,
    projection,
    quadrature,
    signals_at,
)
from deepscope.studies.state_space._three_views import MODELS, at_rate, compare_views, continuous, difference, solve
from deepscope.studies.state_space.hippo_ssm import FEW, MANY, STUDY, draw, judge, trial

DOUBLE = torch.float64


def generator(seed=1000):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=1000):
    return torch.randn(*shape, generator=generator(seed), dtype=DOUBLE)


def run(seed=1000, folder="."):
    torch.manual_seed(seed)
    return SimpleNamespace(
        seed=seed, device=torch.device("cpu"), generator=generator(seed), checkpoint=Path(folder) / "checkpoint"
    )


def case(part, **fields):
    return Case(**{**STUDY.defaults, "part": part, **fields})


def test_signals_are_of_mean_square_one_and_their_projection_is_the_integral():
    amplitudes = draw_signals(10, 4000, generator())
    nodes, weights = quadrature()
    power = (weights[:, None] * signals_at(amplitudes, nodes).square()).sum(0)
    # ∫ sin² = ½: a mean of 20 squares over 20, with deviation √(2/20) = 0.32, over 4,000 signals: 0.005; five of them.
    assert power.mean().item() == pytest.approx(1, abs=0.025)
    one = draw_signals(3, 1, generator())
    for n in range(4):
        wanted, _ = quad(
            lambda x, n=n: (
                math.sqrt(2 * n + 1)
                * eval_legendre(n, 2 * x - 1)
                * signals_at(one, torch.tensor([x], dtype=DOUBLE)).item()
            ),
            0,
            1,
            epsabs=1e-12,
        )
        assert projection(one, 4)[0, n].item() == pytest.approx(wanted, abs=1e-11)


def test_the_projection_of_a_step_function_is_that_by_quadrature_in_each_step():
    values, n = normal(30, 3), 12
    nodes, weights = np.polynomial.legendre.leggauss(n)
    points = (torch.arange(30)[:, None] + torch.from_numpy(nodes + 1) / 2) / 30
    wanted = torch.einsum("tc,q,tqn->cn", values, torch.from_numpy(weights) / 2, legendre_basis(n, points)) / 30
    torch.testing.assert_close(held_projection(values, n), wanted, rtol=0, atol=1e-14)


def test_the_memory_is_the_projection_online_and_a_wrong_one_is_caught(monkeypatch):
    fields = {"memory_size": 24, "cycles": 4, "length": 800, "held_length": 40}
    found = trial(case("projection", **fields), run())
    # 40 steps with matrices of norm n², in float64.
    assert found["held"] < 1e-12
    assert found["slower"] < 1e-12
    assert found["window"] > 0.5
    assert found["lengths"] == [100, 200, 400, 800]
    slope = np.polyfit(np.log(found["lengths"]), np.log(found["errors"]), 1)[0]
    assert -1.1 < slope < -0.7
    # Four cycles take some 4π coefficients: with 24 the best polynomial is exact, what is left are the coefficients'.
    assert found["least"] < 1e-3
    assert found["reconstruction"] == pytest.approx(found["errors"][-1], rel=1)
    # Planted: a memory that has seen one step less than it should.
    monkeypatch.setattr(
        _online_projection,
        "legs_states",
        lambda values, n, method, times: legs_states(values.roll(1, 0), n, method, times),
    )
    assert trial(case("projection", **fields), run())["held"] > 0.01


def test_parts_of_the_reconstruction_are_orthogonal():
    """Pythagoras: what the coefficients miss adds to what no polynomial of the degree reaches."""
    amplitudes = draw_signals(10, 5, generator())
    exact = projection(amplitudes, 16)
    off = exact + 0.01 * normal(5, 16)
    nodes, weights = quadrature()
    power = (weights[:, None] * signals_at(amplitudes, nodes).square()).sum()
    least, found = (_online_projection._distance(amplitudes, each) for each in (exact, off))
    assert found**2 - least**2 == pytest.approx(((off - exact).square().sum() / power).item(), rel=1e-9)
    assert least**2 == pytest.approx((1 - exact.square().sum() / power).item(), rel=1e-9)


def test_last_states_are_those_of_a_simulated_system():
    A, B = gaussian_system(6, generator())
    assert torch.linalg.eigvals(A).real.max().item() == pytest.approx(-0.1, abs=1e-12)
    t = np.linspace(0, 1, 2001)
    signal = np.sin(5 * t)
    _, _, states = lsim(StateSpace(3 * A.numpy(), 3 * B.numpy()[:, None], np.eye(6), np.zeros((6, 1))), signal, t)
    values = torch.sin(5 * middles(2000))[:, None]
    # The rule reads each value at the middle of its step: second order, (3/2000)² times curvatures of some 10.
    np.testing.assert_allclose(last_state(3 * A, 3 * B, 1 / 2000, values)[0].numpy(), states[-1], atol=1e-4)
    turning, _ = antisymmetric_system(6, generator())
    assert torch.equal(turning, -turning.T)


def test_recall_is_ridge_regression_on_the_other_signals():
    states, values = normal(40, 6), normal(9, 40, seed=1001)
    found = recall(states, values, 10)
    seen = states[:30].numpy()
    penalty = RIDGE * np.mean(np.sum(seen**2, 0))
    # Twin: ordinary least squares with rows √penalty I added.
    rows = np.vstack([seen, math.sqrt(penalty) * np.eye(6)])
    wanted = np.linalg.lstsq(rows, np.vstack([values[:, :30].T.numpy(), np.zeros((6, 9))]), rcond=None)[0]
    np.testing.assert_allclose(found.numpy(), (states[30:].numpy() @ wanted).T, atol=1e-11)
    assert error_of(torch.zeros(9, 10, dtype=DOUBLE), values) == pytest.approx(1)
    assert error_of(values[:, 30:], values) == 0


def test_what_a_memory_cannot_hold_is_not_recalled():
    small = {"memory_size": 16, "cycles": 3, "recall_length": 200}
    found = compare_memories(case("memory", **small), run())
    assert found["legs"] < 1e-3
    assert found["legt"] < 1e-3
    assert min(found["gaussian"]) > 10 * found["legs"]
    assert min(found["identity"]) > 0.8
    # 16 of 60 numbers: no more than 16/60 of the variance; eight signals scatter by some percent.
    assert found["fast"] > 0.95 * math.sqrt(1 - 16 / 60)
    assert len(found["signal"]) == len(found["recalled_legs"]) == 200


@pytest.mark.parametrize("model", MODELS)
def test_the_views_agree_and_the_size_of_a_step_matters(model):
    found = compare_views(case("views", model=model, state_size=8, views_length=40), run())
    assert found["recurrent"] < 1e-12
    if model == "s4":
        assert found["continuous"] is found["halved"] is found["unscaled"] is None
        return
    # Runge–Kutta to 1e-12 of the state in each of 32 steps.
    assert found["continuous"] < 1e-9
    assert found["halved"] < 1e-12
    assert found["unscaled"] > 0.1


@pytest.mark.parametrize("fake", ["kernel", "step"])
def test_another_kernel_and_another_step_are_caught(monkeypatch, fake):
    class Fake(S4D):
        def kernel(self, length):
            return 1.001 * super().kernel(length) if fake == "kernel" else super().kernel(length)

        def system(self):
            logarithm, B, C = super().system()
            return logarithm, B * (1.001 if fake == "step" else 1.0), C

    monkeypatch.setitem(_three_views.MODELS, "s4d", lambda features, n, length: Fake(features, n))
    found = compare_views(case("views", model="s4d", state_size=8, views_length=40), run())
    # A wrong B̄ is the same for convolution and recurrence: only the differential equation tells.
    assert (found["recurrent"] > 1e-4) == (fake == "kernel")
    assert found["continuous"] > 1e-4


def test_the_differential_equation_is_solved_from_the_parameters():
    model = LSSL(2, 5, method="zoh").double()
    A, B, C = (each[1].detach().numpy() for each in continuous(model))
    x = normal(1, 12, 2)
    step = model.log_step[1].exp().item()
    system = StateSpace(A, B[:, None], C[None], np.zeros((1, 1)))
    _, _, states = lsim(
        system, np.append(x[0, :, 1].numpy(), 0.0), step * np.arange(13), interp=False
    )  # a zero-order hold
    found = solve(model, x)[0, :, 1].numpy()
    np.testing.assert_allclose(found, states[1:] @ C, atol=1e-10)


def test_another_rate_changes_all_steps_of_a_copy():
    model = nn.Sequential(S4D(3, 4), nn.ModuleList([S4D(3, 4)]), nn.Linear(3, 3))
    before = [parameter.clone() for parameter in model.parameters()]
    other = at_rate(model, 2.0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
    for name, parameter in other.named_parameters():
        shift = math.log(2) if name.endswith("log_step") else 0.0
        torch.testing.assert_close(parameter + shift, model.get_parameter(name), rtol=0, atol=1e-6)
    assert difference(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 4.0])) == 0.25


def test_networks_learn_and_are_tested_at_all_rates(tmp_path):
    small = {
        "data": "digits", "n_train": 64, "n_test": 50, "width": 6, "lstm_width": 5, "s4d_states": 4, "batch_size": 16,
    }  # fmt: skip
    for network, readout in (("s4d", "mean"), ("lstm", "last")):
        folder = tmp_path / network
        found = read_at_other_rates(case("digits", network=network, readout=readout, **small), run(folder=folder))
        for name in ("accuracy", *RATES):
            assert 0 <= found[name] <= 1
        assert (found["unscaled_half"] is None) == (network == "lstm")
    assert found["parameters"] == sum(p.numel() for p in RowNetwork("lstm", "last", 8, 6, 4, 10).parameters()) - (
        sum(p.numel() for p in LSTM(8, 6, num_layers=2).parameters())
        - sum(p.numel() for p in LSTM(8, 5, num_layers=2).parameters())
        + 10
    )


def test_the_readout_and_the_slow_parameters_are_as_said():
    mean, last = (RowNetwork("s4d", readout, 8, 6, 4, 3) for readout in ("mean", "last"))
    last.load_state_dict(mean.state_dict())
    x = torch.randn(2, 7, 8, generator=generator())
    outputs = mean.body(x)
    torch.testing.assert_close(mean(x), mean.output(outputs.mean(1)))
    torch.testing.assert_close(last(x), last.output(outputs[:, -1]))
    fast, slow = _groups(mean, 0.01)
    assert (fast["lr"], slow["lr"]) == (0.01, pytest.approx(0.001))
    # Two layers of Δ, Re A, Im A and B.
    assert len(slow["params"]) == 8
    assert len(fast["params"]) + 8 == len(list(mean.parameters()))
    assert len(_groups(RowNetwork("lstm", "last", 8, 6, 4, 3), 0.01)) == 1


def test_rows_at_other_rates():
    x = torch.arange(6.0).reshape(1, 3, 2)
    assert at_other_rate(x, 0.5).tolist() == [[[0.0, 1.0], [4.0, 5.0]]]
    doubled = at_other_rate(x, 2.0)
    assert doubled.shape == (1, 6, 2)
    torch.testing.assert_close(doubled[0, 1:-1, 0], torch.tensor([0.5, 1.5, 2.5, 3.5]))
    assert accuracy(nn.Identity(), Samples(torch.eye(3), torch.tensor([0, 1, 1]))) == pytest.approx(2 / 3)


def healthy(seeds=(0, 1, 2, 3), **planted):
    """Return trials as theory has them, but for what is planted."""
    told = {
        "scale": 1.0, "slope": -1.0, "best": 1.0, "many": 0.003, "held": 1e-13, "slower": 1e-13, "window": 1.5,
        "legs": 4e-7, "gaussian": 0.7, "identity": 0.97, "fast": 0.85, "recurrent": 1e-14, "continuous": 1e-12,
        "halved": 1e-14, "unscaled": 1.5, "base": 0.95, "s4d": 0.945, "lstm": 0.75, "pooled": 0.8, "as_trained": 0.4,
        **planted,
    }  # fmt: skip
    lengths, rows = np.array([1250, 2500, 5000, 10000]), []
    curve = np.linspace(-1, 1, 20)
    for seed in seeds:
        wobble = 1 + 1e-3 * seed
        for n in (FEW, MANY):
            # Planted at one size alone: the worst counts.
            slope, scale = (told["slope"], told["scale"]) if n == MANY else (-1.0, 1.0)
            rows.append(
                {
                    "part": "projection", "memory_size": n, "seed": seed, "lengths": lengths,
                    "errors": 0.005 * scale * (lengths / 10000.0) ** slope, "least": 0.57,
                    "reconstruction": 0.57 * told["best"] if n == FEW else told["many"],
                    "held": told["held"] if n == MANY else 1e-14, "slower": told["slower"], "window": told["window"],
                }
            )  # fmt: skip
        rows.append(
            {
                "part": "memory", "memory_size": MANY, "seed": seed, "legs": told["legs"], "legt": 4e-7,
                "fast": told["fast"] * wobble, "signal": curve,
                **{name: [0.99, told[name] * wobble] for name in ("gaussian", "identity")},
                "antisymmetric": [0.9, 1e-5],
                **{f"recalled_{name}": curve for name in ("legs", "gaussian", "identity")},
            }
        )  # fmt: skip
        for model in MODELS:
            held = model != "s4"
            rows.append(
                {
                    "part": "views", "model": model, "seed": seed, "recurrent": 1e-14 if held else told["recurrent"],
                    **{name: told[name] if held else None for name in ("continuous", "halved", "unscaled")},
                }
            )  # fmt: skip
        for network, readout, name in (("s4d", "mean", "s4d"), ("lstm", "last", "lstm"), ("lstm", "mean", "pooled")):
            rows.append(
                {
                    "part": "digits", "network": network, "readout": readout, "seed": seed,
                    "accuracy": (told["base"] if name == "pooled" else 0.95) * wobble, "half": told[name] * wobble,
                    "double": {"s4d": 0.95, "lstm": 0.6, "pooled": told["pooled"] - 0.1}[name] * wobble,
                    "unscaled_half": told["as_trained"] if name == "s4d" else None,
                    "unscaled_double": 0.4 if name == "s4d" else None,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_what_theory_says_is_reproduced():
    criteria = judge(healthy())
    assert Verdict.of(criteria, seeds=4).outcome == "reproduced"
    assert sum(criterion.control for criterion in criteria) == 5


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        ({"scale": 10.0}, "worst error of the coefficients"),
        ({"slope": -0.3}, "slope of log error"),
        ({"best": 1.05}, "over that of the best polynomial"),
        ({"many": 0.3}, "64 over 16"),
        ({"held": 1e-6}, "after each quarter"),
        ({"slower": 1e-3}, "zero-order hold: change"),
        ({"window": 0.0}, "LegT"),
        ({"gaussian": 1e-6}, "best Gaussian A"),
        ({"identity": 0.1}, "A = −I"),
        ({"fast": 1e-6}, "more parameters than it has numbers"),
        ({"recurrent": 1e-6}, "convolution and recurrence"),
        ({"continuous": 1e-3}, "differential equation"),
        ({"halved": 1e-3}, "twice in half steps"),
        ({"unscaled": 1e-14}, "twice in whole steps"),
        ({"base": 0.82, "pooled": 0.7}, "least accuracy"),
        ({"s4d": 0.90}, "larger change of S4D"),
        ({"s4d": 0.999}, "larger change of S4D"),
        ({"lstm": 0.93}, "smaller drop of the LSTM"),
        ({"pooled": 0.94}, "read out as S4D is"),
        ({"as_trained": 0.94}, "Δ as trained"),
    ],
)
def test_planted_fakes_are_caught(planted, name):
    failed = [criterion.name for criterion in judge(healthy(**planted)) if criterion.holds is False]
    assert len(failed) == 1
    assert name in failed[0]


def test_a_memory_and_networks_that_do_nothing_reproduce_nothing():
    nothing = healthy(
        scale=200.0, slope=0.0, best=1.75, many=1.0, held=1.0, slower=0.0, window=0.0, legs=1.0, gaussian=1.0,
        identity=1.0, fast=1.0,
    )  # fmt: skip
    failed = {criterion.name for criterion in judge(nothing) if criterion.holds is False}
    assert sum("LegS" in name for name in failed) == 6
    untrained = healthy()
    chosen = untrained["part"] == "digits"
    untrained.loc[chosen, ["accuracy", "half", "double", "unscaled_half", "unscaled_double"]] = 0.1
    failed = [criterion.name for criterion in judge(untrained) if criterion.holds is False]
    assert len(failed) == 4
    assert not any("larger change" in name for name in failed)


def test_missing_trials_leave_it_open():
    trials = healthy()
    assert Verdict.of(judge(trials[trials["seed"] < 2]), seeds=2).outcome == "inconclusive"
    lacking = trials[(trials["readout"] != "last") | (trials["seed"] != 0)]
    (criterion,) = [each for each in judge(lacking) if "smaller drop of the LSTM" in each.name]
    assert criterion.holds is True
    assert criterion.seeds == 3
    assert all(each.holds is None for each in judge(trials.iloc[:0]))
    broken = trials.copy()
    broken.at[broken.index[(broken["part"] == "digits")][0], "half"] = None
    assert Verdict.of(judge(broken), seeds=4).outcome == "inconclusive"


def test_the_figure_draws_from_what_there_is():
    trials = healthy()
    svg = to_svg(draw(trials))
    for name in ("16 coefficients", "HiPPO-LegT", "antisymmetric", "grey: the signal", "LSTM, mean", "Δ as trained"):
        assert name in svg
    for part in ("projection", "memory", "views", "digits"):
        assert to_svg(draw(trials[trials["part"] == part]))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"part": "memories"}, "unknown part"),
        ({"part": "views", "model": "s5"}, "unknown model"),
        ({"part": "projection", "length": 4}, "length"),
        ({"part": "memory", "signals": 0}, "signals"),
        ({"part": "digits", "network": "gru"}, "unknown network"),
        ({"part": "digits", "readout": "first"}, "unknown readout"),
        ({"part": "digits", "data": "digits", "n_train": 10**6}, "images are asked for"),
    ],
)
def test_bad_cases_are_refused(fields, match):
    with pytest.raises(UsageError, match=match):
        trial(Case(**{**STUDY.defaults, **fields}), run())
