"""Lines in weight space: losses against twins and convexity, a trial against a written-out loop, planted fakes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import Case, UsageError, Verdict, derive_seed
from deepscope.data import Samples, load
from deepscope.figures import to_svg
from deepscope.studies.loss_landscape import _line_trials
from deepscope.studies.loss_landscape._line_cases import CONVEX, WIDTHS, conditions, trainings
from deepscope.studies.loss_landscape._line_losses import losses_along
from deepscope.studies.loss_landscape._line_measures import barrier, mean_loss, measured, rise
from deepscope.studies.loss_landscape._line_networks import perceptron, reordered, weights_of
from deepscope.studies.loss_landscape._line_trials import standardised
from deepscope.studies.loss_landscape.linear_interpolation import STUDY
from deepscope.subject import seeded_generators


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def samples(n=120, seed=0):
    return standardised(load("digits"), n, generator(seed))


def pair(depth=2, *, batch_norm=False, seed=0):
    drawn = generator(seed)
    return [perceptron(64, depth, 16, 10, batch_norm=batch_norm, generator=drawn) for _ in range(2)]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_losses_along_a_line_equal_those_of_networks_with_these_weights(batch_norm):
    (model, other), data = pair(batch_norm=batch_norm), samples()
    start, end = weights_of(model), weights_of(other)
    before = [value.clone() for value in model.state_dict().values()]
    found = losses_along(model, start, end, data, 5)
    for share, loss in zip((0, 0.25, 0.5, 0.75, 1), found, strict=True):
        h = data.inputs.flatten(1).double()
        w = {name: (1 - share) * value.double() + share * end[name].double() for name, value in start.items()}
        for layer in (1, 2):
            h = h @ w[f"hidden{layer}.weight"].T + w[f"hidden{layer}.bias"]
            if batch_norm:
                h = (h - h.mean(0)) / (h.var(0, correction=0) + 1e-5).sqrt()
                h = w[f"norm{layer}.weight"] * h + w[f"norm{layer}.bias"]
            h = h.clamp(min=0)
        log_p = torch.log_softmax(h @ w["output.weight"].T + w["output.bias"], dim=1)
        # float32 sums of some tens of terms.
        assert loss == pytest.approx(-log_p[torch.arange(len(data)), data.targets].mean().item(), rel=1e-5)
    assert all(torch.equal(*both) for both in zip(before, model.state_dict().values(), strict=True))


def test_both_ends_are_met_exactly():
    (model, other), data = pair(), samples()
    found = losses_along(model, weights_of(model), weights_of(other), data, 3)
    assert found[0] == functional.cross_entropy(model(data.inputs), data.targets).item()
    assert found[-1] == functional.cross_entropy(other(data.inputs), data.targets).item()


def test_a_convex_loss_has_no_barrier_and_a_network_has_one():
    data = samples()
    for depth, least, most in ((0, 0.0, 1e-6), (2, 0.1, math.inf)):
        for seed in range(3):
            model, other = pair(depth, seed=seed)
            # The same labels are learned by both, else the chord itself is high.
            for each in (model, other):
                optimizer = torch.optim.Adam(each.parameters(), lr=0.01)
                for _ in range(60):
                    optimizer.zero_grad()
                    functional.cross_entropy(each(data.inputs), data.targets).backward()
                    optimizer.step()
            assert least <= barrier(losses_along(model, weights_of(other), weights_of(model), data, 21)) <= most


def test_what_is_read_off_a_line():
    t = np.linspace(0, 1, 101)
    # 2 − 3t + 2.5t² falls to its minimum of 1.1 at 0.6, and rises to 1.5: a rise of 0.4 on 2.
    assert rise(2 - 3 * t + 2.5 * t**2) == pytest.approx(0.2, abs=1e-12)
    assert barrier(2 - 3 * t + 2.5 * t**2) == pytest.approx(0, abs=1e-12)
    assert barrier(1 + t + 4 * t * (1 - t)) == pytest.approx(1, abs=1e-12)
    # The trapezoidal rule is off by h²/12 · f′(1) − f′(0), 5 · 10⁻⁴/12 here.
    assert mean_loss(2 - 3 * t + 2.5 * t**2) == pytest.approx(2 - 1.5 + 2.5 / 3, abs=5e-5)
    assert rise(np.exp(-t)) == 0
    # The rise counts from the lowest point before it, not from the start or the end.
    assert rise([4.0, 1.0, 3.0, 0.0, 1.0]) == 0.5


@pytest.mark.parametrize("depth", [1, 10])
def test_layers_keep_the_mean_square(depth):
    model = perceptron(512, depth, 1024, 512, generator=generator())
    x = torch.randn(64, 512, generator=generator(1))
    # One realisation: each of up to 11 layers is off by some 2/√1024 of its mean square.
    assert model(x).square().mean().item() == pytest.approx(1, abs=0.5)
    assert all(not value.any() for name, value in model.named_parameters() if name.endswith("bias"))
    assert model.hidden1.weight.std().item() == pytest.approx(1 / 512**0.5, rel=0.01)
    assert model.output.weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.01)


def test_softmax_regression_is_one_layer():
    model = perceptron(64, 0, 1, 10, generator=generator())
    assert [type(layer) for layer in model] == [nn.Flatten, nn.Linear]
    assert model.output.weight.std().item() == pytest.approx(1 / 8, rel=0.15)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("depth", [1, 3])
def test_reordered_units_are_the_same_function_at_another_point(depth, batch_norm):
    model, _ = pair(depth, batch_norm=batch_norm)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(2)))
    weights, data = weights_of(model), samples()
    found = reordered(weights, generator(3))
    assert list(found) == list(weights)
    for name, value in found.items():
        torch.testing.assert_close(value.flatten().sort().values, weights[name].flatten().sort().values, rtol=0, atol=0)
        assert torch.equal(value, weights[name]) == (name == "output.bias")
    before, after = (torch.func.functional_call(model, each, (data.inputs,)) for each in (weights, found))
    torch.testing.assert_close(after, before)
    assert torch.equal(weights["hidden1.weight"], model.hidden1.weight)


def test_the_detour_of_a_half_circle_is_its_radius():
    path = _line_trials._Path({"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([5.0])})
    for angle in np.linspace(math.pi, 0, 9)[1:]:
        path.visited.append(torch.tensor([5 + 2 * math.cos(angle), 4 + 2 * math.sin(angle), 5.0]))
    assert (path.norm, path.length) == (pytest.approx(50**0.5), pytest.approx(4))
    assert path.farthest() == pytest.approx(2, abs=1e-5)


class Run:
    """What a trial is handed, as the lab does it."""

    device = torch.device("cpu")

    def __init__(self, seed=1000):
        self.seed = seed

    @property
    def generator(self):
        return generator(derive_seed(self.seed, "trial"))

    def progress(self, done):
        self.done = done


SMALL = Case(**STUDY.defaults).replace(
    n_train=100, batch_size=32, epochs=4, points=5, depth=2, width=16, batch_norm=False, rate="small"
)


def run_trial(seed=1000, **changed):
    with seeded_generators(derive_seed(seed, "trial")):
        return STUDY.trial(SMALL.replace(**changed), Run(seed))


@pytest.mark.parametrize(("optimizer", "learning_rate"), [("sgd", 0.05), ("adam", 0.01)])
def test_a_trial_equals_a_loop_written_out(optimizer, learning_rate):
    found = run_trial(optimizer=optimizer, learning_rate=learning_rate)
    drawn = Run().generator
    data = standardised(load("digits"), 100, drawn)
    model, partner, *unrelated = (perceptron(64, 2, 16, 10, generator=drawn) for _ in range(5))
    starts = [weights_of(each) for each in (model, partner)]

    def train(network, seed):
        order, step, visited = data.epochs(32, seed=seed), 0, []
        first, second = ([torch.zeros_like(each) for each in network.parameters()] for _ in range(2))
        for epoch in range(4):
            for x, y in order(epoch):
                rate = learning_rate * (1 + math.cos(math.pi * step / 16)) / 2
                gradients = torch.autograd.grad(functional.cross_entropy(network(x), y), list(network.parameters()))
                step += 1
                with torch.no_grad():
                    for weight, gradient, m, v in zip(network.parameters(), gradients, first, second, strict=True):
                        if optimizer == "sgd":
                            m.mul_(0.9).add_(gradient)
                            weight.sub_(rate * m)
                        else:
                            m.mul_(0.9).add_(0.1 * gradient)
                            v.mul_(0.999).add_(0.001 * gradient**2)
                            scale = (v / (1 - 0.999**step)).sqrt() + 1e-8
                            weight.sub_(rate * m / (1 - 0.9**step) / scale)
            visited.append(torch.cat([each.detach().flatten() for each in network.parameters()]))
        return visited

    visited = train(model, derive_seed(1000, "network"))
    train(partner, derive_seed(1000, "partner"))
    end = weights_of(model)
    # Float32 rounding, grown over 16 steps.
    close = {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(found["own"], losses_along(model, starts[0], end, data, 5), **close)
    np.testing.assert_allclose(found["other"], losses_along(model, weights_of(partner), end, data, 5), **close)
    lines = [losses_along(model, weights_of(each), end, data, 5) for each in unrelated]
    np.testing.assert_allclose(found["unrelated"], lines, **close)
    permuted = losses_along(model, reordered(starts[0], drawn), end, data, 5)
    np.testing.assert_allclose(found["permuted"], permuted, **close)
    start = torch.cat([each.flatten() for each in starts[0].values()])
    length = (visited[-1] - start).norm()
    assert found["travelled"] == pytest.approx((length / start.norm()).item(), rel=1e-3)
    along = [((each - start) @ (visited[-1] - start) / length).item() for each in visited]
    away = [((each - start).square().sum().item() - a * a) ** 0.5 for each, a in zip(visited[:-1], along, strict=False)]
    assert found["detour"] == pytest.approx(max(away) / length.item(), rel=1e-3)


def test_lines_meet_where_they_should():
    found = run_trial(optimizer="adam", learning_rate=0.01)
    ends = [found["own"][-1], found["permuted"][-1], found["other"][-1], *found["unrelated"][:, -1]]
    assert len(set(ends)) == 1
    assert found["permuted"][0] == pytest.approx(found["own"][0], rel=1e-5)
    assert len({found["own"][0], *found["unrelated"][:, 0]}) == 4
    assert found["other"][0] < found["own"][0] > found["own"][-1]
    assert run_trial(optimizer="adam", learning_rate=0.01, batch_norm=True)["other"] is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"optimizer": "adm"}, 'unknown optimizer.*Did you mean "adam"'),
        ({"depth": -1}, "hidden layers is -1"),
        ({"width": 0}, "widths"),
        ({"points": 1}, "a line of 1 points"),
        ({"n_train": 5000}, "5000 training images"),
        ({"n_train": 0}, "0 training images"),
    ],
)
def test_what_cannot_be_run_is_refused(changed, said):
    with pytest.raises(UsageError, match=f"(?s){said}"):
        run_trial(**{"optimizer": "sgd", "learning_rate": 0.1, **changed})


def test_images_are_drawn_once_and_standardised():
    data = samples(1438)
    assert isinstance(data, Samples)
    assert torch.equal(data.targets.bincount(), load("digits").train.targets.bincount())
    assert data.inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert data.inputs.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_every_condition_is_run_at_every_scale():
    wanted = {tuple(sorted(CONVEX.items()))} | {
        tuple(sorted(case.items()))
        for depth in WIDTHS
        for batch_norm in (False, True)
        for case in trainings(depth, batch_norm=batch_norm).values()
    }
    for scale in STUDY.scales:
        cases = STUDY.grid(scale).cases
        assert {tuple(sorted((name, case[name]) for name in CONVEX)) for case in cases} == wanted
        assert len(cases) == len(wanted) == 17
    assert conditions(range(3, 5), n_train=10).seeds == (3, 4)


T = np.linspace(0, 1, 26)
FALL, PLATEAU, HILL = 2.7 * (1 - T) ** 2 + 0.01, 2.7 * (1 - T**4) + 0.01, 4 * T * (1 - T) + 0.01


def table(seeds=5, without=None, **changes):
    """Return the trials of a study that reproduces, but for the changes: curves by ``depth_optimizer_rate``."""
    rng, rows = np.random.default_rng(0), []
    plain = {"own": FALL, "unrelated": np.array([PLATEAU] * 3), "permuted": PLATEAU, "other": HILL}
    convex = {"own": FALL, "unrelated": np.array([FALL] * 3), "permuted": FALL, "other": FALL[-1] + 0 * T}
    for seed in range(seeds):
        for case in conditions(1).cases:
            key = f"{case.depth}_{case.optimizer}_{case.rate}" + ("_norm" if case.batch_norm else "")
            if key == without:
                continue
            curves = (plain if case.depth else convex) | ({"other": None} if case.batch_norm else {})
            # Each trial has a size of its own.
            size = 1 + 0.05 * rng.standard_normal()
            curves = {name: curve if curve is None else size * curve for name, curve in curves.items()}
            rows.append({**STUDY.defaults, **case, "seed": seed, **curves, **changes.get(key, {})})
    return pd.DataFrame(rows)


def verdict(trials):
    criteria = STUDY.judge(trials)
    return criteria, Verdict.of(criteria, seeds=trials["seed"].nunique()).outcome


def wrong(trials):
    """Return the names of the criteria that do not hold."""
    return [criterion.name for criterion in STUDY.judge(trials) if not criterion.holds]


def test_what_is_planted_is_reproduced():
    criteria, outcome = verdict(table())
    assert outcome == "reproduced"
    assert len(criteria) == 18
    assert [criterion.control for criterion in criteria].count(True) == 2


@pytest.mark.parametrize("key", ["2_sgd_small", "2_adam_large", "10_sgd_large", "10_adam_small"])
def test_a_bump_on_one_own_line_is_caught(key):
    bump = FALL + 0.2 * np.exp(-(((T - 0.8) / 0.05) ** 2))
    depth, optimizer, rate = key.split("_")
    _, outcome = verdict(table(**{key: {"own": bump}}))
    assert outcome == "not reproduced"
    (name,) = wrong(table(**{key: {"own": bump}}))
    label = {"sgd": "SGD", "adam": "Adam"}[optimizer]
    assert name.startswith(f"{depth} hidden layers, {label}, {rate} rate: largest rise")


def test_a_bump_in_one_seed_of_eight_leaves_it_open():
    trials = table(seeds=8)
    (row,) = trials.index[
        (trials["seed"] == 3) & (trials["depth"] == 2) & (trials["optimizer"] == "sgd") & (trials["rate"] == "small")
        & ~trials["batch_norm"]
    ]  # fmt: skip
    trials.at[row, "own"] = FALL + 0.5 * np.exp(-(((T - 0.8) / 0.05) ** 2))
    assert verdict(trials)[1] == "inconclusive"


def fake(depth, **curves):
    return table(
        **{f"{depth}_{optimizer}_{rate}": curves for optimizer in ("sgd", "adam") for rate in ("small", "large")}
    )


@pytest.mark.parametrize("depth", [2, 10])
def test_a_network_that_is_not_trained_is_monotone_and_fails(depth):
    flat = np.full(26, 2.7)
    trials = fake(depth, own=flat, other=flat, unrelated=np.array([flat] * 3), permuted=flat)
    assert verdict(trials)[1] == "not reproduced"
    assert [name.split(": ")[1][:13] for name in wrong(trials)] == [
        "training loss",
        "rise above th",
        *["mean loss on "] * 2,
    ]


@pytest.mark.parametrize("depth", [2, 10])
def test_a_convex_network_is_monotone_and_fails_also_where_one_training_is(depth):
    flat = np.full(26, 0.01)
    for trials in (fake(depth, other=flat), table(**{f"{depth}_sgd_large": {"other": flat}})):
        assert verdict(trials)[1] == "not reproduced"
        assert wrong(trials) == [
            f"{depth} hidden layers: rise above the chord between two solutions, nats (least of the trainings)"
        ]


@pytest.mark.parametrize(("column", "start"), [("unrelated", "unrelated"), ("permuted", "the own initial weights")])
def test_a_solution_that_forgot_its_start_fails(column, start):
    trials = table(**{"10_adam_large": {column: np.array([FALL] * 3) if column == "unrelated" else FALL}})
    assert verdict(trials)[1] == "not reproduced"
    (name,) = wrong(trials)
    assert name.startswith(f"10 hidden layers: mean loss on the line from {start}")


def test_the_other_solution_must_be_trained_too():
    trials = table(**{"2_adam_small": {"other": HILL + 0.06 * (1 - T)}})
    assert wrong(trials) == ["2 hidden layers: training loss of a solution, the worst"]


def test_controls_that_show_the_effect_fail():
    for changes in ({"other": HILL}, {"unrelated": np.array([PLATEAU] * 3)}):
        trials = table(**{"0_sgd_large": changes})
        assert verdict(trials)[1] == "not reproduced"
        (name,) = wrong(trials)
        assert name.startswith("softmax regression")


def test_batch_norm_is_not_judged():
    bump = FALL + 1.0 * (T > 0.5)
    changed = {f"{depth}_{optimizer}_large_norm": {"own": bump} for depth in (2, 10) for optimizer in ("sgd", "adam")}
    assert verdict(table(**changed))[1] == "reproduced"


@pytest.mark.parametrize("missing", ["0_sgd_large", "2_sgd_small", "2_adam_large", "10_sgd_large", "10_adam_small"])
def test_missing_conditions_leave_it_open(missing):
    assert verdict(table(without=missing))[1] == "inconclusive"


def test_several_lines_count_with_their_mean():
    trials = table(**{"2_sgd_small": {"unrelated": np.array([FALL, PLATEAU, PLATEAU])}})
    found = measured(trials, "unrelated", mean_loss, trainings(2)["SGD, small rate"])
    assert found.tolist() == pytest.approx([(mean_loss(FALL) + 2 * mean_loss(PLATEAU)) / 3] * 5)
    assert measured(trials, "other", barrier, trainings(2, batch_norm=True)["SGD, small rate"]).isna().all()


def test_the_figure_names_its_curves():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in ("own start", "unrelated start", "another solution", "10 layers, batch norm", "barrier", "softmax"):
        assert name in svg
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1).iloc[:1], table(seeds=1, without="10_sgd_small")):
        assert STUDY.draw(trials).axes
