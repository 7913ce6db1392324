"""Antisymmetric networks: flows against closed forms and SciPy, layers against loops, planted fakes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import solve_ivp
from torch.nn import functional

from deepscope.core import Case, UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.models import AntisymmetricLayer
from deepscope.studies.differential_equations import _antisymmetric_digits as digits
from deepscope.studies.differential_equations import _antisymmetric_flows as flows
from deepscope.studies.differential_equations.antisymmetric import STUDY

SMALL = Case(**STUDY.defaults, experiment="tanh", generator="antisymmetric").replace(
    width=6, draws=4, time=1.0, euler_time=4.0, units=6, depth=2, n_train=64, epochs=1, repeats=2
)


class Run:
    """What a trial is handed, as the lab does it."""

    def __init__(self, seed=1000):
        self.seed = seed


def weights(width=6, draws=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(draws, width, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kind", list(flows.GENERATORS))
def test_generators_have_the_norm_of_free_weights_and_their_symmetry(kind):
    k = weights()
    matrix = flows.generators(k, kind)
    torch.testing.assert_close(matrix.flatten(1).norm(dim=1), k.flatten(1).norm(dim=1))
    assert torch.equal(matrix, -matrix.mT) == (kind == "antisymmetric")
    assert bool((torch.linalg.eigvals(matrix).real <= 1e-12).all()) == (kind != "free")


@pytest.mark.parametrize("experiment", ["linear", "tanh"])
@pytest.mark.parametrize("kind", list(flows.GENERATORS))
def test_flows_are_those_of_the_matrix_exponential_and_of_scipy(experiment, kind):
    case = SMALL.replace(experiment=experiment, generator=kind)
    found = STUDY.trial(case, Run())
    k, start, direction = flows.draw_start(case, 1000)
    ratios, changes = [], []
    starts, directions = start[..., 0].numpy(), direction[..., 0].numpy()
    for a, y, d in zip(flows.generators(k, kind).numpy(), starts, directions, strict=True):
        field = (lambda t, z, a=a: a @ z) if experiment == "linear" else (lambda t, z, a=a: np.tanh(a @ z))
        ends = [
            solve_ivp(field, (0, 1), z, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
            for z in (y, y + 1e-6 * d / np.linalg.norm(d))
        ]
        ratios.append(np.linalg.norm(ends[0]) / np.linalg.norm(y))
        changes.append(np.linalg.norm(ends[1] - ends[0]) / 1e-6)
    # Runge–Kutta's error is about (|A| h)⁵/120 a step, with |A| ≤ 4 below 2e-6 in all. torch takes the lower median.
    assert found["growth"] == pytest.approx(sorted(ratios)[1], abs=2e-6)
    assert found["departure"] == pytest.approx([abs(ratio - 1) for ratio in ratios], abs=2e-6)
    # SciPy's 1e-12 over the perturbation of 1e-6, and the curvature of tanh.
    assert found["perturbation"] == pytest.approx(sorted(changes)[1], abs=1e-4)
    assert found["times"] == pytest.approx([part / 20 for part in range(21)])
    assert found["norms"][0] == 1


def test_runge_kutta_is_of_order_four():
    a = flows.generators(weights(draws=1), "antisymmetric")
    y = torch.ones(1, 6, 1, dtype=torch.float64)
    exact = torch.matrix_exp(a) @ y
    errors = [(flows.runge_kutta(lambda z: a @ z, y, 1.0, h) - exact).norm().item() for h in (0.02, 0.01)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.1)


def test_only_antisymmetric_weights_keep_what_theory_says():
    found = {kind: STUDY.trial(SMALL.replace(generator=kind), Run()) for kind in flows.GENERATORS}
    # Rounding, by the condition of the root of tanh′; and Runge–Kutta's own error.
    assert max(found["antisymmetric"]["real_parts"]) < 1e-13
    assert max(found["antisymmetric"]["singular_values"]) < 1e-13
    assert max(found["antisymmetric"]["energy"]) < 1e-7
    for kind in ("free", "dissipative"):
        assert min(found[kind]["real_parts"]) > 0.05
        assert min(found[kind]["singular_values"]) > 1e-3
        assert min(found[kind]["energy"]) > 1e-3


def test_the_energy_is_its_formula_and_bears_large_numbers():
    a, y = weights(), torch.randn(4, 6, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(flows.energy(a, y), (a @ y).cosh().log().sum((1, 2)))
    assert flows.energy(a, 1e4 * y).isfinite().all()


def test_layers_are_eulers_steps_and_grow_as_eulers_method_does(monkeypatch):
    case = SMALL.replace(experiment="euler")
    found = STUDY.trial(case, Run())
    k, start, _ = flows.draw_start(case, 1000)
    matrix = flows.generators(k, "antisymmetric")
    frequency = torch.linalg.eigvals(matrix).imag.max().item()
    for diffusion, column in ((0.0, "growth"), (1.1 * 0.1 * frequency**2, "diffused_growth")):
        y, shift = start, diffusion / 2 * torch.eye(6, dtype=torch.float64)
        for _ in range(40):
            y = y + 0.1 * torch.tanh((matrix - shift) @ y)
        assert found[column] == pytest.approx((y.norm(dim=1) / start.norm(dim=1)).median().item(), rel=1e-12)
    # Ten steps, each with a few roundings.
    assert max(found["identity"]) < 1e-13
    # What is not antisymmetric grows otherwise.
    monkeypatch.setattr(flows, "generators", lambda k, kind: k)
    assert max(STUDY.trial(case, Run())["identity"]) > 1e-3


@pytest.mark.parametrize("kind", ["antisymmetric", "free", "dissipative", "none"])
def test_networks_compute_their_formulas_with_the_same_weights(kind):
    model = digits.network(SMALL.replace(generator=kind), 3)
    layers = list(digits.network(SMALL, 3).layers)
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    y = functional.linear(x, model.input.weight, model.input.bias)
    for layer in layers if kind != "none" else []:
        w = layer.weight
        matrix = {
            "antisymmetric": (w - w.T) / 2,
            "free": w / math.sqrt(2),
            "dissipative": -w @ w.T / math.sqrt(8),
        }[kind] - 0.05 * torch.eye(6)
        y = y + 0.3 * torch.tanh(y @ matrix.T + layer.bias)
    torch.testing.assert_close(model(x), functional.linear(y, model.output.weight, model.output.bias))
    assert len(list(model.parameters())) == (8 if kind != "none" else 4)


def test_matrices_of_networks_have_one_norm_at_the_start():
    w = AntisymmetricLayer(256).weight.detach()
    for kind, factor in digits.FACTORS.items():
        matrix = factor * flows.GENERATORS[kind](w)
        # A mean over 256² entries; that of −KKᵀ has one of 1 + 1/(2n), squared.
        assert matrix.norm().item() == pytest.approx(math.sqrt(256), rel=0.02)


def test_images_are_standardised_and_noise_has_its_deviation():
    train, test = digits.images(500)
    assert train.inputs.shape == (500, 64)
    assert train.inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert train.inputs.std().item() == pytest.approx(1, abs=1e-4)
    found = digits.noisy(test, 0.5, 3, torch.Generator().manual_seed(0))
    noise = found.inputs - test.inputs.repeat(3, 1)
    # 69,000 numbers: the deviation's error is 0.5/√(2 · 69,000) = 0.0013.
    assert noise.std().item() == pytest.approx(0.5, abs=0.006)
    assert torch.equal(found.targets[359:718], test.targets)
    # None of it is the same for two copies of an image.
    assert not torch.allclose(noise[0], noise[359])


def test_a_trial_on_digits_names_what_its_network_names():
    found = STUDY.trial(SMALL.replace(experiment="digits", learning_rate=0.05, epochs=3), Run())
    assert found["accuracy"] == [found["clean"], found["noisy"], found["noisiest"]]
    assert found["train_accuracy"] > 0.2
    again = STUDY.trial(SMALL.replace(experiment="digits", learning_rate=0.05, epochs=3), Run())
    assert found == again


def test_what_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="unknown experiment"):
        STUDY.trial(SMALL.replace(experiment="relu"), Run())
    with pytest.raises(UsageError, match="unknown generator"):
        STUDY.trial(SMALL.replace(generator="fre"), Run())
    with pytest.raises(UsageError, match="unknown generator"):
        digits.network(SMALL.replace(generator="fre"), 0)


PLANTED = {
    "linear antisymmetric": {"growth": 1.0},
    "linear free": {"growth": 3000.0},
    "linear dissipative": {"growth": 0.37},
    "tanh antisymmetric": {"growth": 1.1},
    "tanh free": {"growth": 7.0, "real_parts": 0.5},
    "tanh dissipative": {"growth": 0.37},
    "euler antisymmetric": {"growth": 3.0, "diffused_growth": 0.01},
    "digits antisymmetric": {"clean": 0.98, "noisy": 0.95, "noisiest": 0.80},
    "digits free": {"clean": 0.98, "noisy": 0.90, "noisiest": 0.74},
    "digits dissipative": {"clean": 0.95, "noisy": 0.92, "noisiest": 0.78},
}


def table(seeds=5, without=None, **changes):
    """Return the trials of a study that reproduces, but for the changes, by experiment and generator."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for key, numbers in PLANTED.items():
            experiment, generator = key.split()
            if key == without:
                continue
            row = {"seed": seed, "experiment": experiment, "generator": generator}
            exact = dict.fromkeys(("singular_values", "real_parts", "energy", "departure", "identity"), 1e-12)
            numbers = numbers | changes.get(key.replace(" ", "_"), {})
            row |= {name: value * (1 - 0.002 * rng.random()) for name, value in numbers.items()}
            row |= {name: [numbers.get(name, value)] * 3 for name, value in exact.items()}
            row["times"], row["norms"] = [0.0, 1.0], [1.0, row.get("growth", 1.0)]
            row["diffused_norms"] = [1.0, 0.01]
            row["accuracy"] = [row.get(name, 0.5) for name in ("clean", "noisy", "noisiest")]
            rows.append(row)
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique()).outcome


def wrong(trials):
    return [criterion.name for criterion in STUDY.judge(trials) if not criterion.holds]


def test_what_is_planted_is_reproduced():
    assert verdict(table()) == "reproduced"
    assert [criterion.control for criterion in STUDY.judge(table())] == [False] * 13 + [True] * 3


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"linear_antisymmetric": {"singular_values": 1e-8}}, "midpoint rule"),
        ({"tanh_antisymmetric": {"real_parts": 1e-3}}, "Jacobian of tanh(A y): largest real part"),
        ({"tanh_antisymmetric": {"energy": 1e-3}}, "y′ = tanh(A y): largest relative change of Σ ln cosh"),
        ({"linear_antisymmetric": {"departure": 1e-3}}, "y′ = A y: largest relative change"),
        ({"linear_free": {"growth": 1.0}}, "y′ = A y, free"),
        ({"linear_dissipative": {"growth": 1.0}}, "y′ = A y, dissipative"),
        ({"tanh_antisymmetric": {"growth": 0.3}}, "y′ = tanh(A y), antisymmetric: log growth"),
        ({"tanh_free": {"growth": 1.0}}, "y′ = tanh(A y), free over antisymmetric"),
        ({"euler_antisymmetric": {"growth": 1.0}}, "antisymmetric layers without diffusion"),
        ({"euler_antisymmetric": {"diffused_growth": 3.0}}, "antisymmetric layers with diffusion"),
        ({"euler_antisymmetric": {"identity": 1e-3}}, "layers without σ and diffusion"),
        ({"tanh_free": {"growth": 7.0, "real_parts": 0.0}}, "Jacobian of tanh(A y), free"),
        ({"digits_free": {"noisy": 0.95}}, "digits, noise 0.5"),
        ({"digits_free": {"noisiest": 0.80}}, "digits, noise 1"),
        ({"digits_dissipative": {"clean": 0.98}}, "digits, no noise: share named, antisymmetric minus dissipative"),
    ],
)
def test_each_criterion_catches_what_lacks_the_effect(changes, failing):
    trials = table(**changes)
    assert verdict(trials) == "not reproduced"
    assert [name.startswith(failing) for name in wrong(trials)] == [True]


def test_networks_that_pay_for_robustness_without_noise_fail():
    trials = table(digits_antisymmetric={"clean": 0.93})
    assert verdict(trials) == "not reproduced"
    assert all("no noise" in name for name in wrong(trials))


@pytest.mark.parametrize("without", [key for key in PLANTED if key != "tanh dissipative"])
def test_missing_conditions_leave_it_open(without):
    assert verdict(table(without=without)) == "inconclusive"


def test_what_is_judged_is_run_at_quick_and_full():
    for scale in ("quick", "full"):
        grid = STUDY.grid(scale)
        assert set(PLANTED) <= {f"{case.experiment} {case.generator}" for case in grid.cases}
        # Seeds from 1000 on were explored.
        assert max(grid.seeds) < 1000


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in ("antisymmetric", "free", "dissipative", "no diffusion", "deviation of the noise"):
        assert name in svg
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1).iloc[:1]):
        assert STUDY.draw(trials).axes
