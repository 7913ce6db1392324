"""The information bottleneck: measures against closed forms and naive twins, the criteria against planted fakes."""

from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepscope.core import Case, UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.linalg import binned, binned_information
from deepscope.models import MLP
from deepscope.studies.learning_dynamics import _bottleneck_training
from deepscope.studies.learning_dynamics._boolean_sphere import boolean_patterns, icosahedron
from deepscope.studies.learning_dynamics._bottleneck_training import final_phase
from deepscope.studies.learning_dynamics._hidden_layers import activations, jacobians, network, ranks
from deepscope.studies.learning_dynamics._layer_information import compression, entropy, information_of
from deepscope.studies.learning_dynamics._snapshots import Snapshots
from deepscope.studies.learning_dynamics.information_bottleneck import ARMS, STUDY


def generator(seed: int = 1000) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run(seed: int = 1000) -> Any:
    return SimpleNamespace(seed=seed, generator=generator(seed), log=lambda line: None, progress=lambda done: None)


def case(arm: str, **changes: Any) -> Case:
    return Case(**{**STUDY.defaults, "arm": arm, **changes})


def test_the_corners_of_an_icosahedron_have_five_neighbours_each() -> None:
    points = icosahedron()
    near = (points @ points.T - 5**-0.5).abs() < 1e-12
    assert near.sum(dim=1).tolist() == [5] * 12
    assert points.sum(dim=0).abs().max() < 1e-12


def test_the_rule_is_symmetric_and_no_count_of_bits() -> None:
    patterns, classes = boolean_patterns()
    numbers = {tuple(pattern): int(each) for pattern, each in zip(patterns.tolist(), classes, strict=True)}
    assert len(numbers) == 4096
    # Rotations of the icosahedron are the even permutations of coordinates, with signs: all of these map it to itself.
    points = icosahedron()
    for turned in (points[:, [1, 2, 0]], points * torch.tensor([1.0, -1.0, -1.0]), -points):
        order = (torch.cdist(turned, points) < 1e-9).double().argmax(dim=1)
        assert sorted(order.tolist()) == list(range(12))
        assert all(
            numbers[tuple(pattern)] == int(each)
            for pattern, each in zip(patterns[:, order].tolist(), classes, strict=True)
        )
    on = (patterns > 0).sum(dim=1)
    best = max(float(((on > least).long() == classes).double().mean()) for least in range(13))
    assert best < 0.95


@pytest.mark.parametrize("counts", [[1] * 8, [8], [3, 5], [1, 2, 4, 8]])
def test_entropy_is_that_of_the_shares(counts: list[int]) -> None:
    codes = np.repeat(np.arange(len(counts)), counts)
    shares = np.array(counts) / sum(counts)
    assert entropy(codes) == pytest.approx(float(-(shares * np.log2(shares)).sum()), abs=1e-12)


def test_information_is_that_of_the_instrument_and_of_a_naive_count() -> None:
    patterns, classes = boolean_patterns()
    model = network((12, 6, 3, 2), "tanh", generator())
    layers = activations(model, patterns)
    found = information_of([layers, [0.1 * each for each in layers]], classes)
    for place, layer in enumerate(layers):
        codes = binned(layer, 30, (-1.0, 1.0))
        both = binned_information(codes, classes.numpy(), permutations=19)
        assert found["label"][0, place] == pytest.approx(both.bits, abs=1e-12)
        with_input = binned_information(np.arange(4096), codes, permutations=19)
        assert found["bins_30"][0, place] == pytest.approx(with_input.bits, abs=1e-12)
        cells = Counter(tuple(int(min((value + 1) * 15, 29)) for value in row) for row in layer.tolist())
        naive = -sum(n / 4096 * math.log2(n / 4096) for n in cells.values())
        # A value on an edge of a bin, within rounding, may fall to either side: 1/4096 of all at most.
        assert found["bins_30"][0, place] == pytest.approx(naive, abs=12 / 4096)
    # Without bins, and with bins drawn anew, a change of scale changes nothing; with fixed ones it does.
    for name in ("exact", "redrawn"):
        np.testing.assert_allclose(found[name][0], found[name][1], atol=0.02)
    assert (found["bins_30"][1] < found["bins_30"][0] - 1).all()


def test_bins_of_relu_reach_to_the_largest_activation_of_the_run() -> None:
    """One unit with the values 0 … 255: 30 bins over 0 … 255 give log₂ 30 almost, over 0 … 255·8 four bins."""
    values = torch.arange(256, dtype=torch.float64)[:, None]
    labels = torch.zeros(256, dtype=torch.long)
    alone = information_of([[values]], labels)
    grown = information_of([[values], [8 * values]], labels)
    assert alone["bins_30"][0, 0] == pytest.approx(math.log2(30), abs=0.01)
    # 256 values in bins of 68: shares of 68, 68, 68 and 52.
    shares = np.array([68, 68, 68, 52]) / 256
    assert grown["bins_30"][0, 0] == pytest.approx(float(-(shares * np.log2(shares)).sum()), abs=1e-12)
    assert compression(grown["bins_30"]) == 0.0
    assert grown["redrawn"][0, 0] == alone["bins_30"][0, 0]
    assert compression(information_of([[8 * values], [values]], labels)["bins_30"]) > 2


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_jacobians_are_those_of_autograd(activation: str) -> None:
    model = network((5, 7, 4, 3, 2), activation, generator())
    inputs = torch.randn(3, 5, generator=generator(), dtype=torch.float64)
    found = jacobians(model, inputs)
    parts = list(model)
    ends = [place for place, layer in enumerate(parts) if isinstance(layer, (nn.Tanh, nn.ReLU))]
    assert len(found) == len(ends) == 3
    for mine, end in zip(found, ends, strict=True):
        part = nn.Sequential(*parts[: end + 1])
        for row, point in zip(mine, inputs, strict=True):
            theirs: Any = torch.autograd.functional.jacobian(lambda x, part=part: part(x[None])[0], point)  # type: ignore[no-untyped-call]
            torch.testing.assert_close(row, theirs, atol=1e-12, rtol=0)


def test_ranks_of_a_projection_and_of_one_that_fades() -> None:
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator(), dtype=torch.float64))[0]
    projection = basis[:, :4] @ basis[:, :4].T
    assert ranks(projection[None]) == pytest.approx({"participation": 4.0, "energy": 4.0, "count": 4.0})
    # σ = 1, ½, 0.005: (1.505)²/1.250025, 1.250025²/1.0625…, two above 1 %.
    faded = torch.diag(torch.tensor([1.0, 0.5, 0.005], dtype=torch.float64))[None]
    expected = {"participation": 1.505**2 / 1.250025, "energy": 1.250025**2 / (1.0625 + 0.005**4), "count": 2.0}
    assert ranks(faded) == pytest.approx(expected)
    assert ranks(torch.zeros(2, 3, 4)) == {"participation": 0.0, "energy": 0.0, "count": 0.0}


def test_fresh_weights_are_as_said() -> None:
    for activation, gain in (("tanh", 1.0), ("relu", 2.0)):
        model = network((300, 300, 300, 2), activation, generator())
        for layer, expected in ((model.hidden2, gain / 300), (model.output, 1 / 300)):
            assert isinstance(layer, nn.Linear)
            # The variance of n entries is known to √(2/n): 5 of these, n = 90,000 and 600.
            n = layer.weight.numel()
            assert float(layer.weight.detach().var()) == pytest.approx(expected, rel=5 * (2 / n) ** 0.5)
            assert not layer.bias.any()


def test_the_final_phase_begins_where_the_network_fits() -> None:
    bits = np.array([[9.0, 5.0], [8.0, 4.0], [6.0, 5.0]])
    rank = np.array([[4.0, 2.0], [2.0, 2.0], [2.0, 1.0]])
    found = final_phase(np.array([0.5, 0.95, 1.0]), bits, rank)
    assert found == {"final_bits": -0.5, "final_log_rank": pytest.approx(math.log(3 / 4))}
    assert final_phase(np.array([0.5, 0.6, 0.7]), bits, rank) == {"final_bits": None, "final_log_rank": None}


def test_a_dead_network_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[MLP] = []

    def first_is_dead(*arguments: Any) -> MLP:
        drawn.append(network(*arguments))
        if len(drawn) == 1:
            with torch.no_grad():
                drawn[0].hidden3.bias.fill_(-100.0)  # type: ignore[union-attr, operator]
        return drawn[-1]

    monkeypatch.setattr(_bottleneck_training, "network", first_is_dead)
    monkeypatch.setattr(_bottleneck_training, "COLLAPSED", 0.0)
    small = case("relu", epochs=2, snapshots=2, probes=8)
    found = _bottleneck_training.bottleneck_trial(small, run())
    assert (len(drawn), found["drawn_anew"]) == (2, 1)
    assert found["epoch"].tolist() == [0, 1, 2]
    drawn.clear()
    only = _bottleneck_training.bottleneck_trial(small.replace(draws=1), run())
    # It was seen to be dead before the first epoch.
    assert (len(drawn), only["epoch"].tolist()) == (1, [0])


def test_snapshots_are_taken_when_they_are_due() -> None:
    seen = Snapshots([0, 2], lambda model: "look", hopeless=lambda look: True)
    state: Any = SimpleNamespace(model=MLP(2, [], 2), epoch=0, stop=False)
    seen.on_epoch_end(state)
    assert (seen.seen, state.stop) == ([], False)
    state.epoch = 1
    seen.on_epoch_end(state)
    assert (seen.seen, state.stop) == (["look"], True)


def test_weights_scaled_like_trained_ones_are_another_network_only_by_their_scale() -> None:
    """With a learning rate of 0 nothing is scaled, and nothing falls."""
    still = STUDY.trial(case("weight decay", epochs=1, snapshots=1, points=4, images=64, learning_rate=0.0), run())
    assert still["log_fall"] == 0.0
    assert abs(still["log_rescaled"]) < 1e-12


def test_unknown_arms_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown arm"):
        STUDY.trial(case("thanh"), run())


CLAIMED: dict[str, dict[str, float]] = {
    "tanh": {
        "compression_bins_30": 3.6, "compression_bins_1000": 2.0, "test_accuracy": 0.994, "final_bits": -2.8,
        "final_log_rank": -0.35, "lowest_exact": 12.0, "train_accuracy": 1.0,
    },
    "relu": {
        "compression_bins_30": 0.01, "compression_redrawn": 2.6, "test_accuracy": 0.995, "train_accuracy": 1.0,
    },
    "no decay": {"log_participation": 2.67, "log_fall": -0.84, "train_accuracy": 1.0},
    "weight decay": {"log_participation": 1.72, "log_fall": -1.79, "log_rescaled": 0.12, "train_accuracy": 1.0},
    "random labels": {"log_participation": 2.83, "log_fall": -0.68, "train_accuracy": 1.0},
}  # fmt: skip
EXACT = ("train_accuracy", "lowest_exact")


def planted(seeds: int = 5, **changes: float) -> Verdict:
    """Judge what the claim predicts, with some numbers of an arm changed: ``arm__column=value``."""
    rng = np.random.default_rng(0)
    rows = []
    for arm, columns in CLAIMED.items():
        own = {
            name.split("__")[1]: value
            for name, value in changes.items()
            if name.split("__")[0] == arm.replace(" ", "_")
        }
        rows += [
            {
                "arm": arm,
                "seed": seed,
                **{
                    name: value + (0 if name in EXACT else 0.003 * rng.normal())
                    for name, value in {**columns, **own}.items()
                },
            }
            for seed in range(seeds)
        ]
    return Verdict.of(STUDY.judge(pd.DataFrame(rows)), seeds=seeds)


def test_what_the_claim_predicts_is_reproduced() -> None:
    assert planted().outcome == "reproduced"


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"tanh__compression_bins_30": 0.0, "tanh__compression_bins_1000": 0.0}, 2),
        ({"tanh__compression_bins_30": 0.1}, 3),
        ({"tanh__compression_bins_1000": 3.8}, 1),
        ({"relu__compression_bins_30": 3.6}, 2),
        ({"relu__compression_bins_30": 0.15}, 1),
        ({"relu__compression_redrawn": 0.01}, 1),
        ({"relu__test_accuracy": 0.9}, 1),
        ({"tanh__final_bits": 0.0}, 1),
        ({"tanh__final_log_rank": 0.0}, 1),
        ({"weight_decay__log_participation": 2.67}, 1),
        ({"tanh__lowest_exact": 11.99}, 1),
        ({"no_decay__log_fall": -0.1}, 1),
        ({"random_labels__log_fall": 0.0}, 1),
        ({"weight_decay__log_rescaled": -0.9}, 1),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_planted_fakes_are_not_reproduced(changes: dict[str, float], failing: int) -> None:
    found = planted(**changes)
    assert found.outcome == "not reproduced"
    assert sum(each.holds is False for each in found.criteria) == failing


@pytest.mark.parametrize("arm", list(CLAIMED))
def test_networks_that_have_not_learned_are_not_judged(arm: str) -> None:
    """A network that has collapsed would pass: its bits and its rank fall."""
    assert planted(**{f"{arm.replace(' ', '_')}__train_accuracy": 0.5}).outcome == "inconclusive"


def test_the_figure_names_what_it_shows() -> None:
    (small,) = [dict(STUDY.grid("smoke").cases[0])]
    rows = [{**small, "arm": arm, "seed": 0, **STUDY.trial(Case(**{**small, "arm": arm}), run())} for arm in ARMS]
    svg = to_svg(STUDY.draw(pd.DataFrame(rows)), "x")
    for text in (
        "tanh",
        "ReLU",
        "range redrawn",
        "range fixed",
        "no bins",
        "local rank",
        "weight decay",
        "last hidden",
    ):
        assert text in svg
