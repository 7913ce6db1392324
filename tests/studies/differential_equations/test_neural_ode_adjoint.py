"""Gradients through equations: the reference against closed forms, bytes counted, planted fakes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepscope.core import Case, UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.models import ODEBlock
from deepscope.studies.differential_equations import _adjoint_gradients as adjoint
from deepscope.studies.differential_equations._neural_ode_training import reversal_loss
from deepscope.studies.differential_equations._ode_fields import Lorenz, LotkaVolterra, equation
from deepscope.studies.differential_equations._sensitivities import sensitivities
from deepscope.studies.differential_equations.neural_ode_adjoint import STUDY

SMALL = Case(**STUDY.defaults, experiment="gradient").replace(
    part=0.1, n_tolerances=3, doublings=2, places=3, steps=3, observations=4, iterations=2
)


class Run:
    """What a trial is handed, as the lab does it."""

    device = torch.device("cpu")

    def __init__(self, seed=1000):
        self.seed, self.done, self.messages = seed, [], []

    def progress(self, done):
        self.done.append(done)

    def log(self, message):
        self.messages.append(message)


class Linear(nn.Module):
    """z′ = a z, in one dimension."""

    def __init__(self, rate):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor([rate], dtype=torch.float64))

    def forward(self, t, z):
        return self.rate * z


def test_the_reference_is_the_closed_form_of_a_linear_equation():
    start = torch.tensor([[2.0]], dtype=torch.float64)
    last, derivatives = sensitivities(Linear(-0.7), start, 1.5)
    grown = math.exp(-0.7 * 1.5)
    # z = 2 exp(at): by a it is 1.5 z, by the start exp(at). The solver's tolerance is 1e-12.
    assert last.tolist() == pytest.approx([2 * grown], abs=1e-11)
    assert derivatives.tolist()[0] == pytest.approx([1.5 * 2 * grown, grown], abs=1e-11)


@pytest.mark.parametrize("name", ["lotka-volterra", "lorenz", "perceptron"])
def test_the_reference_is_that_of_differences(name):
    field, start, _ = equation(name, 1000)
    last, derivatives = sensitivities(field, start, 0.2)
    assert derivatives.shape == (start.shape[1], sum(each.numel() for each in field.parameters()) + start.shape[1])
    first, step = next(iter(field.parameters())), 1e-5

    @torch.no_grad()
    def moved(change):
        first.view(-1)[0] += change
        end = ODEBlock(field, times=(0.0, 0.2), rtol=1e-11, atol=1e-11)(start)[0]
        first.view(-1)[0] -= change
        return end

    found = (moved(step) - moved(-step)) / (2 * step)
    # Central differences: h² = 1e-10 times a third derivative, and 1e-10 of the solver over h; values are up to 30.
    torch.testing.assert_close(derivatives[:, 0], found, rtol=0, atol=3e-5)
    torch.testing.assert_close(last, moved(0.0), rtol=0, atol=1e-8)


def test_equations_are_their_formulas_and_drawn_by_their_seed():
    z = torch.tensor([[1.5, 0.5]], dtype=torch.float64)
    field = LotkaVolterra(torch.tensor([1.5, 1.0, 3.0, 2.0], dtype=torch.float64))
    torch.testing.assert_close(field(torch.tensor(0.0), z)[0].tolist(), [1.5 * 1.5 - 0.75, 2 * 0.75 - 1.5])
    field = Lorenz(torch.tensor([10.0, 28.0, 2.0]))
    assert field(torch.tensor(0.0), torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[10.0, 23.0, -4.0]]
    first, again, other = (equation("lorenz", seed) for seed in (1, 1, 2))
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])
    with pytest.raises(UsageError, match="unknown equation"):
        equation("lorentz", 0)


@pytest.mark.parametrize("name", ["lotka-volterra", "perceptron"])
def test_a_gradient_is_right_and_one_of_another_target_is_not(name):
    found = STUDY.trial(SMALL.replace(equation=name), Run())
    assert found["at_tolerances"] == pytest.approx([1e-6, 1e-7, 1e-8])
    assert found["error"] == found["adjoint"][-1] < 1e-6
    assert max(found["through_steps"]) < 1e-4
    assert found["cosine"] > 0.9999
    field, start, _ = equation(name, 1000)
    targets = torch.zeros(2, 2, dtype=torch.float64)
    targets[1] = 5
    pair = [adjoint.gradient(field, start, target, (0.0, 0.5), 1e-6, adjoint=True) for target in targets]
    assert adjoint.cosine(*pair) < 0.99


def test_a_wrong_adjoint_is_found_out(monkeypatch):
    right = adjoint.gradient
    monkeypatch.setattr(adjoint, "gradient", lambda *args, **kwargs: 1.001 * right(*args, **kwargs))
    found = STUDY.trial(SMALL.replace(equation="perceptron"), Run())
    assert found["adjoint"] == pytest.approx([1e-3] * 3, rel=0.01)


def test_a_solver_that_does_not_arrive_backwards_counts_as_no_gradient(monkeypatch):
    found = STUDY.trial(SMALL.replace(experiment="chaos"), Run())
    assert min(found.values()) > 0.9999
    monkeypatch.setattr(adjoint, "MOST_STEPS", 1)
    run = Run()
    assert STUDY.trial(SMALL.replace(experiment="chaos"), run)["integrated"] == 0
    assert "integrated" in run.messages[0]


def test_bytes_are_those_of_the_tensors_kept():
    x = torch.ones(5, dtype=torch.float64, requires_grad=True)
    # exp keeps its result alone; a square its argument.
    assert adjoint.kept_bytes(torch.exp, x) == 40
    assert adjoint.kept_bytes(lambda y: (y**2).exp(), x) == 80


def test_memory_of_the_adjoint_does_not_grow_and_that_of_steps_does():
    found = STUDY.trial(SMALL.replace(experiment="memory"), Run())
    assert found["at_steps"] == [16, 32, 64]
    assert len(set(found["adjoint_bytes"])) == 1
    assert np.diff(np.log2(found["through_bytes"])) == pytest.approx([1, 1], abs=0.01)


def test_the_loss_of_the_line_is_over_its_variance():
    x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]

    class Stretch(nn.Module):
        def __init__(self, rate):
            super().__init__()
            self.rate = rate

        def forward(self, t, z):
            return self.rate * z

    # Nothing done: 4. Contracted to a point: 1, the least of what keeps the order.
    assert reversal_loss(ODEBlock(Stretch(0.0)), x).item() == pytest.approx(4)
    assert reversal_loss(ODEBlock(Stretch(-9.0)), x).item() == pytest.approx((1 + math.exp(-9)) ** 2, abs=1e-4)


def test_lines_are_trained_and_rates_are_fitted():
    run = Run()
    found = STUDY.trial(SMALL.replace(experiment="reverse", steps=12), run)
    assert found["before"] == pytest.approx(found["curve"][0], rel=1e-2)
    assert found["loss"] < found["before"]
    assert len(found["evaluations"]) == 12
    assert run.done[-1] == 1
    found = STUDY.trial(SMALL.replace(experiment="fit", part=0.4, noise=0.0, iterations=15), Run())
    assert found["error_before"] == pytest.approx(0.5)
    # Without noise what is left is the tolerance of 1e-5 in fitting, and what L-BFGS has not done.
    assert found["error"] < 0.02
    assert np.shape(found["data"]) == (5, 2)
    assert np.shape(found["before"]) == np.shape(found["after"]) == (41, 2)
    np.testing.assert_allclose(found["after"][::10], found["data"], rtol=0.05)


def test_an_unknown_experiment_is_refused():
    with pytest.raises(UsageError, match="unknown experiment"):
        STUDY.trial(SMALL.replace(experiment="gradients"), Run())


def table(seeds=5, without=None, **changes):
    """Return the trials of a study that reproduces, but for the changes, by condition."""
    rng, rows = np.random.default_rng(0), []
    tolerances = [10.0**-power for power in range(3, 9)]
    errors = [30 * tolerance for tolerance in tolerances]
    planted = {
        "lotka": {"experiment": "gradient", "equation": "lotka-volterra", "adjoint": errors, "error": 3e-7},
        "perceptron": {
            **{"experiment": "gradient", "equation": "perceptron", "adjoint": errors, "error": 1e-8},
            "cosine": 0.99999,
        },
        "chaos": {"experiment": "chaos", "integrated": 0.2, "stored": 0.99999},
        "memory": {"experiment": "memory", "adjoint_bytes": [90, 90, 90], "through_bytes": [100, 200, 400]},
        "line": {"experiment": "reverse", "augment": 0, "loss": 1.001, "curve": [4.0, 1.001]},
        "augmented": {"experiment": "reverse", "augment": 1, "loss": 0.001, "curve": [4.0, 0.001]},
        "fit": {"experiment": "fit", "error": 0.01, "error_before": 0.5},
    }
    points = [[0.5, 1.0], [1.0, 0.5]]
    for seed in range(seeds):
        for key, numbers in planted.items():
            if key != without:
                row = {"seed": seed, "at_tolerances": tolerances, "at_steps": [16, 32, 64], **numbers}
                row |= {"data": points, "before": points, "after": points} | changes.get(key, {})
                noise = 1 + 1e-6 * rng.random()
                rows.append({name: value * noise if isinstance(value, float) else value for name, value in row.items()})
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique()).outcome


def wrong(trials):
    return [criterion.name for criterion in STUDY.judge(trials) if not criterion.holds]


def test_what_is_planted_is_reproduced():
    assert verdict(table()) == "reproduced"
    assert [criterion.control for criterion in STUDY.judge(table())] == [False] * 10 + [True] * 3


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"lotka": {"error": 1e-3}}, "Lotka–Volterra: error"),
        ({"perceptron": {"error": 1.0}}, "perceptron: error"),
        ({"lotka": {"adjoint": [0.3] * 6}}, "Lotka–Volterra: slope"),
        ({"perceptron": {"cosine": 0.1}}, "perceptron: cosine"),
        ({"memory": {"adjoint_bytes": [90, 90, 98]}}, "adjoint: bytes kept"),
        ({"memory": {"through_bytes": [90, 90, 90]}}, "through the steps"),
        ({"line": {"loss": 0.9}}, "x ↦ −x on the line: loss over the variance of x, least"),
        ({"line": {"loss": 4.0}}, "x ↦ −x on the line: loss over the variance of x"),
        ({"augmented": {"loss": 1.0}}, "x ↦ −x with one more dimension"),
        ({"fit": {"error": 0.5}}, "fit: largest"),
        ({"chaos": {"integrated": 0.9999}}, "Lorenz, state integrated backwards"),
        ({"chaos": {"stored": 0.5}}, "Lorenz, state stored"),
        ({"fit": {"error_before": 0.01}}, "fit, without training"),
    ],
)
def test_each_criterion_catches_what_lacks_the_effect(changes, failing):
    trials = table(**changes)
    assert verdict(trials) == "not reproduced"
    assert [name.startswith(failing) for name in wrong(trials)] == [True]


@pytest.mark.parametrize("without", ["lotka", "perceptron", "chaos", "memory", "line", "augmented", "fit"])
def test_missing_conditions_leave_it_open(without):
    assert verdict(table(without=without)) == "inconclusive"


def test_no_seed_was_explored():
    for scale in ("quick", "full"):
        assert max(STUDY.grid(scale).seeds) < 1000


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in ("Lotka–Volterra", "through the steps", "one more dimension", "predators"):
        assert name in svg
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1).iloc[:1]):
        assert STUDY.draw(trials).axes
