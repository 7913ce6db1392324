"""What the curves of a watched training are said to mean: planted, and not seen where there is nothing."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from watch_points import end, left_out, measurements, record, window, windows


def said(*points: Any, **head: Any) -> list[tuple[str, str]]:
    return [(each["severity"], each["message"]) for each in record(*points, **head)["findings"]]


def evidence(*points: Any, **head: Any) -> str:
    (finding,) = record(*points, **head)["findings"]
    return str(finding["evidence"])


def test_a_training_of_which_nothing_is_known_says_nothing() -> None:
    assert said() == []
    assert said(left_out("curvature", "it failed"), end(0, trained=0, spent=0)) == []
    assert said(*measurements(probe_loss=[2.0, 1.0, 0.5], sharpness=[3.0, 3.1, 3.2]), end(300)) == []


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        # Rising to the threshold and staying: the edge.
        ([0.2, 0.5, 0.8, 0.95, 1.02, 1.05, 1.01], "From step 300 on, sharpness hovers at the edge of stability."),
        ([1.0, 1.1, 1.0], "From step 0 on, sharpness hovers at the edge of stability."),
        ([0.2, 0.9, 2.0, 3.0, 4.0], "From step 100 on, sharpness stays above the edge of stability."),
        # Rising, but not so far; or only just there.
        ([0.2, 0.4, 0.6, 0.8], "The loss becomes sharper as the network trains."),
        ([0.2, 0.4, 0.6, 0.95], "The loss becomes sharper as the network trains."),
        # There once, and gone.
        ([0.6, 0.95, 0.5, 0.4, 0.3], ""),
        ([0.6, 0.7, 0.8], ""),
        ([0.8, 0.4, 0.2], ""),
    ],
)
def test_the_edge_of_stability(ratios: list[float], words: str) -> None:
    points = measurements(sharpness=[20 * ratio for ratio in ratios], stability_threshold=[20.0] * len(ratios))
    assert said(*points) == ([("note", words)] if words else [])


def test_without_a_threshold_there_is_no_edge() -> None:
    found = said(*measurements(sharpness=[4.0, 19.0, 20.0, 21.0]))
    assert found == [("note", "The loss becomes sharper as the network trains.")]
    assert said(*measurements(sharpness=[19.0, None, 20.0, 21.0])) == []


def test_the_threshold_is_that_of_each_step() -> None:
    # The learning rate falls as sharpness does.
    points = measurements(sharpness=[8.0, 20.0, 41.0, 81.0, 120.0], stability_threshold=[20.0, 20, 40, 80, 120])
    assert "1.01 times 2/η in the median of 4 measurements; 0.4 times at step 0" in evidence(*points)


def noisy(count: int, seed: int, spread: float) -> list[float]:
    """Losses that fall as a training's do, log-normal as those of single batches late in a training."""
    draw = random.Random(seed)
    return [math.exp(draw.gauss(0, spread) - 3 * place / count) for place in range(count)]


@pytest.mark.parametrize("length", [1, 10, 100])
@pytest.mark.parametrize("seed", range(20))
def test_the_noise_of_batches_is_no_jump(length: int, seed: int) -> None:
    # Single batches differ by a factor of two (one standard deviation); a window's mean by as much less.
    losses = noisy(2000 // length, seed, 0.7 / math.sqrt(length))
    assert said(*windows(losses, length)) == []


@pytest.mark.parametrize("length", [1, 10, 100])
def test_a_jump_of_the_loss_is_seen(length: int) -> None:
    losses = noisy(2000 // length, 0, 0.7 / math.sqrt(length))
    place = 1200 // length
    for inside in range(place, place + max(1, 30 // length)):
        losses[inside] += 5.0
    ((severity, message),) = said(*windows(losses, length))
    assert severity == "warning"
    first, last = (int(word.rstrip(".").replace(",", "")) for word in message.split() if word[0].isdigit())
    assert first <= 1200 + length
    assert last >= 1200
    assert last - first < 2 * max(length, 30)


def test_a_rise_within_the_first_steps_is_no_jump() -> None:
    assert said(*windows([1.0, 3.0, 2.0, 1.0, 0.5])) == []


def test_losses_that_are_not_finite() -> None:
    points = [window(100, 2.0), window(200, None, nonfinite=100), window(300, 3.0, nonfinite=2)]
    assert said(*points) == [("problem", "The training loss is not finite.")]
    assert evidence(*points) == "102 losses up to step 300, the first in the steps up to 200"


@pytest.mark.parametrize(
    ("shares", "expected"),
    [([0.02, 0.2, 0.45], True), ([0.4, 0.42, 0.45], False), ([0.0, 0.1, 0.25], False), ([0.5], False)],
)
def test_dying_units(shares: list[float], expected: bool) -> None:
    assert bool(said(*measurements(dead_fraction=shares))) is expected


@pytest.mark.parametrize(
    ("scales", "word"),
    [
        ([1.0, 1.0, 1000.0, 900.0, 700.0], "mostly noise"),
        ([1e6, 1e6, 5.0, 4.0, 6.0], "far larger"),
        ([64.0] * 5, ""),
        ([600.0] * 5, ""),
        ([1.0, None, None, 5000.0, 5000.0], ""),
        ([-5.0] * 5, ""),
    ],
)
def test_the_noise_scale_beside_the_batch_size(scales: list[float | None], word: str) -> None:
    points = measurements(noise_scale=scales)
    found = said(*points)
    assert bool(found) == bool(word)
    assert not found or word in found[0][1]
    assert said(*points, batch_size=None) == []


@pytest.mark.parametrize(
    ("drifts", "losses", "expected"),
    [
        ([0.0, 0.001, 0.005], [2.0, 1.0, 0.5], True),
        ([0.0, 0.2, 0.4], [2.0, 1.0, 0.5], False),
        ([0.0, 0.001, 0.005], [2.0, 1.9, 1.8], False),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], False),
        ([0.0, 0.005], [2.0, 0.5], False),
    ],
)
def test_a_kernel_that_does_not_move(drifts: list[float], losses: list[float], expected: bool) -> None:
    assert bool(said(*measurements(kernel_drift=drifts, probe_loss=losses))) is expected


def test_a_promise_that_could_not_be_kept_is_said() -> None:
    assert said(*measurements(probe_loss=[1.0]), end(50, trained=5.0, spent=0.25)) == []
    points = [*measurements(probe_loss=[1.0]), end(50, trained=5.0, spent=0.5)]
    assert said(*points) == [("note", "The training ended before its measurements were paid for.")]
    assert evidence(*points) == "0.5 s of measuring beside 5 s of training, of which 0.05 was promised; 1 measurements"


def test_the_worst_comes_first() -> None:
    points = [
        *measurements(sharpness=[1.0, 2.0, 4.0], dead_fraction=[0.0, 0.5, 0.9]), window(300, 1.0, nonfinite=1),
    ]  # fmt: skip
    assert [severity for severity, _ in said(*points)] == ["problem", "warning", "note"]
