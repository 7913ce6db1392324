"""Dropout: its parts against closed forms and naive twins, its criteria against planted fakes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from deepscope.core import UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.models import LSTMCell
from deepscope.studies.regularisation._dropout_figure import gain
from deepscope.studies.regularisation._dropout_images import dropped_perceptron
from deepscope.studies.regularisation._dropout_regression import SCALES, _data, distance, regression
from deepscope.studies.regularisation._dropout_sequences import ARMS
from deepscope.studies.regularisation._dropped_lstm import DroppedLSTM
from deepscope.studies.regularisation._lag_source import LagSource
from deepscope.studies.regularisation.dropout import STUDY

SMOKE = {case.part: case for case in reversed(STUDY.grid("smoke").cases)}


class Run:
    device = torch.device("cpu")

    def __init__(self, seed=1000):
        self.seed = seed


def test_regression_with_dropped_inputs_is_the_adaptive_ridge():
    # Entries scatter by 1/√(60 · 4,000) = 0.2 %, and the solution by some ten times that at most.
    found = regression(n_samples=60, n_masks=4000, rate=0.5, seed=3)
    assert found["adaptive"] < 0.03
    assert min(found["least_squares"], found["identity"]) > 0.1
    # Another rate has another penalty: p/(1 − p) = 1/4.
    assert regression(n_samples=60, n_masks=4000, rate=0.2, seed=3)["adaptive"] < 0.03
    x, y = (each.numpy() for each in _data(60, torch.Generator().manual_seed(3)))
    diagonal = (x**2).sum(0)
    wanted = np.linalg.solve(x.T @ x + np.diag(diagonal), x.T @ y) * np.sqrt(diagonal / 60)
    np.testing.assert_allclose(found["adaptive_coefficients"], wanted, rtol=1e-9)
    np.testing.assert_allclose(
        found["least_squares_coefficients"], np.linalg.lstsq(x, y)[0] * np.sqrt(diagonal / 60), rtol=1e-6
    )


def test_the_best_identity_ridge_is_no_worse_than_any():
    found = regression(n_samples=40, n_masks=500, rate=0.5, seed=0)
    x, y = _data(40, torch.Generator().manual_seed(0))
    diagonal = (x.T @ x).diagonal()
    dropped = torch.from_numpy(found["dropped"]) / (diagonal / 40).sqrt()
    for penalty in (0.1, 3.0, 30.0, 300.0, 3000.0):
        ridge = torch.linalg.solve(x.T @ x + penalty * torch.eye(len(SCALES)), x.T @ y)
        # Between two of 200 penalties, a factor of 1.1 apart, the distance changes by less than that.
        assert distance(ridge, dropped, diagonal) > found["identity"] / 1.1


def test_features_have_their_scales_and_share_a_part():
    x, _ = _data(20_000, torch.Generator().manual_seed(0))
    # 20,000 samples: standard errors of 0.5 and 0.7 %.
    np.testing.assert_allclose(x.std(0) / torch.tensor(SCALES), 1.0, atol=0.03)
    assert torch.corrcoef(x.T)[0, 1].item() == pytest.approx(0.5, abs=0.03)


def test_the_source_has_its_entropy():
    source = LagSource(8, 5, 0.2)
    hit, miss = 0.8 + 0.2 / 8, 0.2 / 8
    assert source.entropy == pytest.approx(-hit * math.log(hit) - 7 * miss * math.log(miss))
    drawn = source.sequences(4000, 25, torch.Generator().manual_seed(0))
    hits = (drawn[:, 5:] == (drawn[:, :-5] + 1) % 8).double().mean().item()
    # 80,000 symbols: a standard error of 0.0013; the surprise's is 0.005.
    assert hits == pytest.approx(hit, abs=0.006)
    assert source.surprise(drawn) == pytest.approx(source.entropy, abs=0.02)
    assert torch.bincount(drawn.flatten(), minlength=8).double().std() / drawn.numel() < 0.01
    # Without noise all follows from the first symbols, and nothing is left to learn.
    assert LagSource(4, 2, 0.0).entropy == 0
    exact = LagSource(4, 2, 0.0).sequences(1, 6, torch.Generator().manual_seed(0))[0]
    assert torch.equal(exact[2:], (exact[:-2] + 1) % 4)


def test_a_model_that_knows_the_source_has_its_surprise_and_one_that_guesses_log_k():
    source = LagSource(4, 2, 0.4)
    drawn = source.sequences(50, 9, torch.Generator().manual_seed(0))
    # The symbol at t + 1 follows from that at t − 1.
    expected = torch.zeros(50, 9, dtype=torch.int64)
    expected[:, 1:] = (drawn[:, :-1] + 1) % 4
    hit = 0.6 + 0.1
    logits = torch.where(functional.one_hot(expected, 4).bool(), math.log(hit), math.log(0.1))
    assert source.cross_entropy(logits, drawn).item() == pytest.approx(source.surprise(drawn), rel=1e-6)
    assert source.cross_entropy(0 * logits, drawn).item() == pytest.approx(math.log(4), rel=1e-6)


def test_the_lstm_without_dropout_is_the_cell():
    torch.manual_seed(0)
    x = torch.randn(3, 6, 4)
    model = DroppedLSTM(4, vertical=0.4, recurrent=0.4).eval()
    cell = LSTMCell(4, 4)
    cell.load_state_dict(model.cell.state_dict())
    torch.testing.assert_close(model(x), cell(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(DroppedLSTM(4).train()(x).shape, x.shape)


def test_dropout_acts_where_it_is_said_to():
    torch.manual_seed(0)
    x = torch.ones(1, 2, 500)
    vertical, recurrent = DroppedLSTM(500, vertical=0.4), DroppedLSTM(500, recurrent=0.4)
    out = vertical(x)[0]
    # 500 draws: a standard error of 0.022. Each step has a mask of its own.
    assert ((out == 0).double().mean(1) - 0.4).abs().max() < 0.1
    assert not torch.equal(out[0] == 0, out[1] == 0)
    # The first step has no state to drop; the second has; none of its outputs is dropped.
    first, second = recurrent(x)[0], recurrent(x)[0]
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=0)
    assert not torch.allclose(first[1], second[1])
    assert (second == 0).sum() == 0


def test_a_perceptron_drops_its_hidden_units_alone():
    model = dropped_perceptron(4, 1000, 3, 0.5)
    seen = {}
    for name in ("dropout1", "dropout2", "activation1"):
        model.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    torch.manual_seed(0)
    model(torch.randn(20, 4))
    kept = seen["activation1"] > 0
    # 10,000 draws: a standard error of 0.5 %.
    assert (seen["dropout1"][kept] == 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    model.eval()(torch.randn(20, 4))
    assert torch.equal(seen["dropout1"], seen["activation1"])


def test_arms_of_a_seed_differ_in_nothing_but_dropout():
    case = SMOKE["images"].replace(steps=5)
    first, again = (STUDY.trial(case.replace(rate=0.0), Run()) for _ in range(2))
    assert first == again
    assert STUDY.trial(case.replace(rate=0.5), Run()) != first
    tiny = STUDY.trial(case.replace(rate=1e-9), Run())
    assert tiny["train_loss"] == pytest.approx(first["train_loss"], rel=1e-5)
    with pytest.raises(UsageError, match="training images are asked for"):
        STUDY.trial(case.replace(n_train=10**6), Run())


def test_the_network_of_the_least_validation_loss_is_tested():
    found = STUDY.trial(SMOKE["sequences"].replace(arm="none", steps=40), Run())
    assert found["at_steps"] == [10, 20, 30, 40]
    assert found["stopped"] == found["at_steps"][int(np.argmin(found["curve"]))]
    shorter = STUDY.trial(SMOKE["sequences"].replace(arm="none", steps=found["stopped"]), Run())
    assert found["cross_entropy"] == pytest.approx(shorter["cross_entropy"], rel=1e-6)
    with pytest.raises(UsageError, match="unknown arm"):
        STUDY.trial(SMOKE["sequences"].replace(arm="both"), Run())
    with pytest.raises(UsageError, match="unknown part"):
        STUDY.trial(SMOKE["sequences"].replace(part="image"), Run())


def test_seeds_that_were_explored_are_never_judged():
    for scale in ("quick", "full"):
        assert set(STUDY.grid(scale).seeds) <= set(range(20, 1000))


def table(seeds=6, without=None, **changes):
    """Return the trials of a study that reproduces, but for the changes, by part and arm."""
    rng, rows = np.random.default_rng(0), []
    gains = {"100": (100, 256, 1.0), "300": (300, 256, 1.0), "1000": (1000, 256, 0.5), "narrow": (300, 8, -20.0)}
    for seed in range(20, 20 + seeds):
        planted = {}
        for name, (n_train, width, points) in gains.items():
            base = 0.8 + 0.02 * rng.standard_normal()
            own = changes.get(f"images_{name}", points) + 0.2 * rng.standard_normal()
            for rate, accuracy in ((0.0, base), (0.5, base + own / 100)):
                planted[f"images_{name}_{rate}"] = {
                    "part": "images", "n_train": n_train, "width": width, "rate": rate, "test_accuracy": accuracy
                }  # fmt: skip
        coefficients = rng.standard_normal(10)
        planted["regression"] = {
            "part": "regression", "rate": 0.5, "adaptive": 2e-3, "least_squares": 1.9, "identity": 0.7,
            "dropped": coefficients, "adaptive_coefficients": coefficients,
            "least_squares_coefficients": 2 * coefficients, "identity_coefficients": 0.5 * coefficients,
        }  # fmt: skip
        for arm, loss in zip(ARMS, (1.8, 1.7, 1.75), strict=True):
            loss += 0.01 * rng.standard_normal()
            planted[f"sequences_{arm}"] = {
                "part": "sequences", "arm": arm, "rate": 0.4, "cross_entropy": loss, "excess": loss - 0.8,
                "entropy": 0.804, "at_steps": [10, 20], "curve": [2.0, loss],
            }  # fmt: skip
        rows += [
            {"seed": seed, **numbers, **(changes.get(name) or {})}
            for name, numbers in planted.items()
            if name != without
        ]
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique()).outcome


def test_what_is_planted_is_reproduced():
    assert verdict(table()) == "reproduced"
    assert [each.control for each in STUDY.judge(table())] == [False] * 5 + [True] * 6
    assert gain(table(), 100, 256).mean() == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(
    ("changes", "criterion"),
    [
        ({"images_100": -1.0}, "100 images: test accuracy"),
        ({"images_300": -1.0}, "300 images: test accuracy with"),
        ({"regression": {"adaptive": 0.02}}, "adaptive ridge"),
        ({"sequences_vertical": {"cross_entropy": 1.9}}, "no dropout minus vertical"),
        ({"sequences_recurrent": {"cross_entropy": 1.6}}, "recurrent minus vertical"),
        ({"sequences_none": {"excess": -0.1}}, "LSTM, none: test cross-entropy minus that of the source"),
        ({"images_narrow": 1.0}, "width 8"),
        ({"regression": {"least_squares": 0.05}}, "least squares"),
        ({"regression": {"identity": 0.05}}, "best ridge"),
    ],
)
def test_each_criterion_fails_where_it_should(changes, criterion):
    trials = table(**changes)
    assert verdict(trials) == "not reproduced"
    failed = [each.name for each in STUDY.judge(trials) if each.holds is False]
    assert any(criterion in name for name in failed), failed


def test_dropout_that_does_nothing_fails():
    same = {f"sequences_{arm}": {"cross_entropy": 1.8} for arm in ARMS}
    trials = table(
        regression={"adaptive": 0.5, "least_squares": 0.0, "identity": 0.0}, **same,
        images_100=0.0, images_300=0.0, images_narrow=0.0,
    )  # fmt: skip
    assert verdict(trials) == "not reproduced"
    # All that holds is that no network is better than its source.
    assert all("that of the source" in each.name for each in STUDY.judge(trials) if each.holds)


@pytest.mark.parametrize("missing", ["images_100_0.5", "images_narrow_0.0", "regression", "sequences_vertical"])
def test_missing_trials_leave_it_open(missing):
    assert verdict(table(without=missing)) == "inconclusive"


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table(seeds=3)), "x")
    for name in ("vertical", "recurrent", "source", "adaptive ridge", "no penalty", "training images", "width 8"):
        assert name in svg
