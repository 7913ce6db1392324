import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from torch import nn

from deepscope.core import Case, UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.studies.differential_equations import resnet_euler
from deepscope.studies.differential_equations._reference import (
    averaged_flow,
    closed_form,
    integrate,
    mean_flow,
    solve,
)
from deepscope.studies.differential_equations._residual_network import SCHEMES, ResidualNetwork
from deepscope.studies.differential_equations.resnet_euler import draw, judge, smooth_weights, trial

METHODS = list(SCHEMES)


def generator():
    return np.random.default_rng(7)


def run(seed=5):
    return SimpleNamespace(seed=seed)


def case(**fields):
    return Case(**{"width": 4, "finest": 8, "draws": 16, **fields})


def test_the_euler_network_is_a_stack_of_linear_layers_with_skips():
    weights = smooth_weights(generator(), 3)
    bias = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    network = ResidualNetwork(SCHEMES["euler"], lambda depths: torch.from_numpy(weights(depths.numpy())), bias, 5)
    y = expected = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for k in range(5):
        layer = nn.Linear(3, 3, dtype=torch.float64)
        layer.weight.data, layer.bias.data = torch.from_numpy(weights(k / 5)), bias
        expected = expected + torch.tanh(layer(expected)) / 5
    torch.testing.assert_close(network(y), expected, rtol=1e-14, atol=1e-14)
    assert {name for name, _ in network.named_parameters()} == {"weights", "bias"}


@pytest.mark.parametrize("method", METHODS)
def test_networks_side_by_side_are_those_networks(method):
    scheme = SCHEMES[method]
    stack = torch.from_numpy(generator().standard_normal((6, len(scheme.nodes), 3, 4, 4)))
    bias = torch.zeros(4, dtype=torch.float64)
    inputs = torch.from_numpy(generator().standard_normal((3, 4)))
    together = ResidualNetwork(scheme, lambda depths: stack, bias, 6)(inputs)
    for i in range(3):
        alone = ResidualNetwork(scheme, lambda depths, i=i: stack[:, :, i], bias, 6)(inputs[i])
        torch.testing.assert_close(together[i], alone, rtol=1e-13, atol=1e-13)


def test_layers_lie_at_the_nodes_of_the_method():
    asked = []

    def weights(depths):
        asked.append(depths)
        return torch.zeros(*depths.shape, 2, 2, dtype=torch.float64)

    ResidualNetwork(SCHEMES["rk4"], weights, torch.zeros(2, dtype=torch.float64), 2)
    np.testing.assert_allclose(asked[0], [[0, 0.25, 0.25, 0.5], [0.5, 0.75, 0.75, 1.0]])


def test_smooth_weights_have_variance_one_over_width_and_are_not_periodic():
    rng = generator()
    draws = np.array([smooth_weights(rng, 4)(np.array([0.0, 0.37, 1.0])) for _ in range(2000)])
    # Standard error of a variance of 32,000 Gaussian numbers: 0.8 %; four of them.
    np.testing.assert_allclose(draws.var(axis=(0, 2, 3)), 0.25, rtol=0.032)
    assert np.abs(draws[:, 0] - draws[:, 2]).mean() > 0.1
    one = smooth_weights(generator(), 4)
    np.testing.assert_allclose(one(0.37), one(np.array([0.1, 0.37]))[1], rtol=1e-14)


def test_the_reference_agrees_with_a_closed_form_and_with_an_implicit_method():
    matrix = generator().standard_normal((3, 3))
    start = np.array([1.0, 2.0, -1.0])
    np.testing.assert_allclose(solve(lambda t, y: matrix @ y, start), expm(matrix) @ start, rtol=1e-12)
    weights = smooth_weights(generator(), 3)

    def field(t, y):
        return np.tanh(weights(t) @ y)

    implicit = solve_ivp(field, (0, 1), start, method="Radau", rtol=1e-10, atol=1e-10).y[:, -1]
    np.testing.assert_allclose(solve(field, start), implicit, rtol=1e-8)


@pytest.mark.parametrize(("method", "degree"), [("euler", 0), ("rk2", 1), ("rk4", 3)])
def test_methods_integrate_polynomials_below_their_order_exactly(method, degree):
    got = integrate(method, lambda t, y: np.array([t**degree]), np.array([0.0]), 3)
    assert got[0] == pytest.approx(1 / (degree + 1), abs=1e-15)
    beyond = integrate(method, lambda t, y: np.array([t ** (degree + 1)]), np.array([0.0]), 3)
    assert abs(beyond[0] - 1 / (degree + 2)) > 1e-4


def test_two_steps_of_adams_bashforth_by_hand():
    # y′ = y from 1, h = ½: an Euler step to 3/2, then 3/2 + ½ (3/2 · 3/2 − ½ · 1).
    assert integrate("ab2", lambda t, y: y, np.array([1.0]), 2)[0] == pytest.approx(2.375)


@pytest.mark.parametrize("method", METHODS)
def test_closed_forms_are_the_iterates_and_have_the_order(method):
    matrix = generator().standard_normal((3, 3))
    start = np.array([1.0, 2.0, -1.0])
    iterate = integrate(method, lambda t, y: matrix @ y, start, 16)
    np.testing.assert_allclose(closed_form(method, matrix, start, 16), iterate, rtol=1e-12)
    coarse, fine = (np.linalg.norm(closed_form(method, matrix, start, n) - expm(matrix) @ start) for n in (128, 256))
    assert math.log2(coarse / fine) == pytest.approx(SCHEMES[method].order, abs=0.15)


def test_the_averaged_flow():
    bias, start = np.array([0.5, -1.0]), np.array([0.3, 0.7])
    np.testing.assert_allclose(averaged_flow(bias, start, 0.0), start + np.tanh(bias), rtol=1e-12)
    nodes, masses = np.polynomial.hermite_e.hermegauss(80)

    def field(t, y):
        return np.tanh(0.5 * np.linalg.norm(y) * nodes + bias[:, None]) @ (masses / masses.sum())

    expected = solve_ivp(field, (0, 1), start, rtol=1e-9, atol=1e-9).y[:, -1]
    np.testing.assert_allclose(averaged_flow(bias, start, 0.5), expected, rtol=1e-6)


def test_the_mean_flow_of_layers():
    layers = generator().standard_normal((5, 3, 3))
    bias, start = np.array([0.5, -1.0, 0.2]), np.array([0.3, 0.7, -0.4])
    one = solve(lambda t, y: np.tanh(layers[0] @ y + bias), start)
    np.testing.assert_allclose(mean_flow(layers[:1], bias, start), one, rtol=1e-12)

    def field(t, y):
        return sum(np.tanh(layer @ y + bias) for layer in layers) / 5

    expected = solve_ivp(field, (0, 1), start, rtol=1e-9, atol=1e-9).y[:, -1]
    np.testing.assert_allclose(mean_flow(layers, bias, start), expected, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_trial_of_smooth_weights_converges_at_the_order(method):
    found = trial(case(weights="smooth", method=method), run())
    assert list(found["blocks"]) == [4, 8, 16, 32, 64, 128, 256]
    assert math.log2(found["error"][-2] / found["error"][-1]) == pytest.approx(SCHEMES[method].order, abs=0.2)
    assert found["from_method"] < 1e-13
    assert trial(case(weights="constant", method=method), run())["from_closed_form"] < 1e-12


def test_a_wrong_network_is_far_from_its_method(monkeypatch):
    wrong = {**SCHEMES, "rk2": SCHEMES["euler"]}
    monkeypatch.setattr(resnet_euler, "SCHEMES", wrong)
    assert trial(case(weights="smooth", method="rk2"), run())["from_method"] > 1e-3
    assert trial(case(weights="constant", method="rk2"), run())["from_closed_form"] > 1e-3


def test_layers_in_random_order_approach_their_averaged_equation_only():
    found = trial(case(weights="shuffled", method="euler", draws=64), run())
    assert found["error"][-1] > 0.5 * found["error"][3]
    # Order ½ between 4 and 256 blocks is a factor of 8.
    assert 4 < found["averaged_error"][0] / found["averaged_error"][-1] < 16


def test_shuffled_networks_have_the_layers_of_the_smooth_one_each_once(monkeypatch):
    seen = []

    class Watched(ResidualNetwork):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            seen.append(self.weights.detach().numpy())

    monkeypatch.setattr(resnet_euler, "ResidualNetwork", Watched)
    trial(case(weights="smooth", method="euler", finest=4), run())
    ordered = [each[:, 0] for each in seen]
    seen.clear()
    trial(case(weights="shuffled", method="euler", finest=4, draws=3), run())
    for layers, networks in zip(ordered, seen, strict=True):
        assert networks.shape == (len(layers), 1, 3, 4, 4)
        for draw_ in range(3):
            np.testing.assert_array_equal(
                np.sort(networks[:, 0, draw_].reshape(len(layers), -1), axis=0),
                np.sort(layers.reshape(len(layers), -1), axis=0),
            )
            assert len(np.unique(networks[:, 0, draw_], axis=0)) == len(layers)
        assert len(layers) == 4 or not np.array_equal(networks[:, 0, 0], networks[:, 0, 1])


def test_the_control_fails_where_the_order_of_layers_does_not_matter(monkeypatch):
    """All K(t) equal: the shuffled network is then the smooth one, and Euler's method for the same flow."""
    matrix = generator().standard_normal((4, 4))
    monkeypatch.setattr(
        resnet_euler,
        "smooth_weights",
        lambda rng, width: lambda t: np.broadcast_to(matrix, (*np.shape(t), 4, 4)),
    )
    rows = []
    for seed in range(3):
        fields = case(weights="shuffled", method="euler", draws=2)
        rows.append({**fields, "seed": seed, **trial(fields, run(seed))})
    control = judge(pd.DataFrame(rows))[-1]
    assert control.control
    assert control.measured == pytest.approx(1, abs=0.1)
    assert control.holds is False


def test_independent_layers_approach_their_averaged_equation():
    found = trial(case(weights="independent", method="euler", draws=64), run())
    assert 5 < found["averaged_error"][0] / found["averaged_error"][-1] < 12


def test_no_network_at_all_is_refused():
    with pytest.raises(UsageError, match="has 2\\^1 blocks"):
        trial(case(weights="smooth", method="euler", finest=1), run())


def table(*, orders=None, control=0.0, averaged=0.5, independent=0.5, jitter=0.001, seeds=5, identity=1e-14):
    """What trials of a true claim return, with errors of given orders."""
    rng = generator()
    blocks = 2 ** np.arange(2, 11)
    rows = []
    for seed in range(seeds):

        def error(order):
            return rng.uniform(0.1, 1) * blocks ** -(order + jitter * rng.standard_normal())

        for method, scheme in SCHEMES.items():
            common = {"seed": seed, "method": method}
            order = (orders or {}).get(method, scheme.order)
            rows += [
                {**common, "weights": "smooth", "blocks": blocks, "error": error(order), "from_method": identity},
                {**common, "weights": "constant", "from_closed_form": 1e-14},
            ]
        last = {"seed": seed, "method": "euler", "blocks": blocks}
        rows += [
            {**last, "weights": "shuffled", "error": error(control), "averaged_error": error(averaged)},
            {**last, "weights": "independent", "averaged_error": error(independent)},
        ]
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(judge(trials), seeds=trials["seed"].nunique())


def test_a_true_claim_is_reproduced():
    found = verdict(table())
    assert found.outcome == "reproduced", found.reasons
    assert len(found.criteria) == 9
    assert sum(criterion.control for criterion in found.criteria) == 1


@pytest.mark.parametrize(
    "planted",
    [
        {"orders": {"euler": 0.0}},
        {"orders": {"rk2": 1.0}},
        {"orders": {"ab2": 1.0}},
        {"orders": {"rk4": 3.0}},
        {"identity": 1e-9},
        {"averaged": 0.0},
        {"averaged": 1.0},
        {"independent": 0.0},
        {"independent": 1.0},
        {"control": 1.0},
        {"control": 0.5},
    ],
    ids=lambda planted: "-".join(map(str, planted)) + "-" + "-".join(map(str, planted.values())).replace(" ", ""),
)
def test_planted_fakes_are_not_reproduced(planted):
    found = verdict(table(**planted))
    assert found.outcome == "not reproduced"
    assert len(found.reasons) == 1
    assert found.reasons[0].endswith("the control shows the effect") == ("control" in planted)


def test_noise_is_inconclusive():
    found = verdict(table(orders={"euler": 1.1}, jitter=0.1, seeds=3))
    assert found.outcome == "inconclusive"


def test_slopes_leave_out_coarse_steps_and_errors_of_the_reference():
    trials = table(jitter=0.0)
    for row in trials.index[(trials.weights == "smooth") & (trials.method == "rk4")]:
        error = trials.at[row, "error"].copy()
        error[:4] = 1e3
        error[-1] = 1e-3
        trials.at[row, "error"] = error
    assert verdict(trials).outcome == "reproduced"


@pytest.mark.parametrize("weights", ["smooth", "constant", "shuffled", "independent"])
def test_missing_cases_leave_it_open(weights):
    trials = table()
    rest = trials[trials["weights"] != weights].dropna(axis=1, how="all")
    assert verdict(rest).outcome == "inconclusive"
    assert draw(rest).axes


def test_nothing_at_all_is_drawn_and_judged():
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1).iloc[:1]):
        assert all(criterion.holds is None for criterion in judge(trials) if criterion.kind == "effect")
        assert draw(trials).axes


def test_the_figure_names_its_curves():
    svg = to_svg(draw(table()), "x")
    for name in ("Euler", "RK4", "from the smooth ODE", "from their average", "blocks, 1/h", "error at depth 1"):
        assert name in svg
