"""A watched training as a picture, a page and text."""

from __future__ import annotations

import io
import re

import matplotlib.axes
import pytest
from rich.cells import cell_len
from rich.console import Console
from watch_points import end, left_out, measurements, record, window, windows

from deepscope.report import watch_figure, watch_page, watch_sentence, watch_text

CURVES = {
    "probe_loss": [2.0, 1.0, 0.5, 0.25],
    "sharpness": [5.0, 12.0, 19.5, 20.5],
    "sharpness_residual": [0.1, 0.2, 0.3, 0.4],
    "stability_threshold": [20.0] * 4,
    "noise_scale": [10.0, 100.0, 500.0, None],
    "noise_scale_low": [5.0, 50.0, 250.0, None],
    "noise_scale_high": [20.0, 200.0, None, None],
    "kernel_drift": [0.0, 0.2, 0.3, 0.35],
    "dead_fraction": [0.0, 0.1, 0.2, 0.2],
    "saturated_fraction": [0.0, 0.0, 0.0, 0.1],
}
WHOLE = record(*measurements(**CURVES), *windows([1.8, 0.9, 0.4]), end(350))


def panels(*points: object, **head: object) -> dict[str, matplotlib.axes.Axes]:
    return {ax.get_ylabel(): ax for ax in watch_figure(record(*points, **head)).axes}


def names(ax: matplotlib.axes.Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_a_panel_for_each_quantity_and_a_name_at_each_curve() -> None:
    axes = {ax.get_ylabel(): ax for ax in watch_figure(WHOLE).axes}
    assert {label: sorted(names(ax)) for label, ax in axes.items()} == {
        "loss": ["probe", "training"],
        "sharpness λ_max": ["2/η", "λ_max"],
        "gradient\nnoise scale": ["batch size", "noise scale"],
        "kernel drift": ["1 − alignment"],
        "share of units": ["dead", "saturated"],
    }
    threshold = next(line for line in axes["sharpness λ_max"].lines if line.get_linestyle() == "--")
    assert list(threshold.get_ydata()) == [20.0] * 4
    assert axes["gradient\nnoise scale"].get_yscale() == "log"
    assert axes["sharpness λ_max"].get_yscale() == "linear"
    assert all(ax.get_xlim() == (0, 350) for ax in axes.values())
    assert [ax.get_xlabel() for ax in axes.values()] == ["", "", "", "", "step"]


def test_intervals_are_drawn() -> None:
    axes = {ax.get_ylabel(): ax for ax in watch_figure(WHOLE).axes}
    ends = [line.get_ydata()[:2].tolist() for line in axes["sharpness λ_max"].lines if len(line.get_xdata()) == 12]
    assert ends == [[4.9, 5.1]]
    # Where one end is not known the point stands alone.
    spans = [line.get_ydata() for line in axes["gradient\nnoise scale"].lines if len(line.get_xdata()) == 6]
    assert [span[:2].tolist() + span[3:5].tolist() for span in spans] == [[5.0, 20.0, 50.0, 200.0]]


def test_what_was_not_measured_has_no_panel() -> None:
    assert list(panels(*measurements(probe_loss=[2.0, 1.0]))) == ["loss"]
    assert list(panels(*windows([2.0, 1.0]))) == ["loss"]
    assert list(panels(*measurements(stability_threshold=[20.0], sharpness=[None], kernel_drift=[0.0]))) == [
        "kernel drift"
    ]


def test_without_a_threshold_or_batch_size_there_is_no_line() -> None:
    axes = panels(*measurements(sharpness=[5.0, 6.0], noise_scale=[5.0, 6.0]), batch_size=None, stability="")
    assert [names(ax) for ax in axes.values()] == [["λ_max"], ["noise scale"]]
    assert all(line.get_linestyle() != "--" for ax in axes.values() for line in ax.lines)


def test_a_line_far_away_does_not_hide_how_the_others_move() -> None:
    ax = panels(*measurements(sharpness=[5.0, 6.0, 7.0], stability_threshold=[100.0, 1e4, 1e6]))["sharpness λ_max"]
    low, high = ax.get_ylim()
    assert 0 <= low < 5
    assert 100 <= high < 200
    heights = [text.xy[1] for text in ax.texts]
    assert all(0 <= height <= 1 for height in heights)
    assert abs(heights[0] - heights[1]) > 0.15


@pytest.mark.parametrize("values", [[20.0, 20.1], [0.0, 0.0], [1e-3, 1e3], [-1.0, 2.0]])
def test_names_keep_a_distance_and_stay_in_the_panel(values: list[float]) -> None:
    points = measurements(dead_fraction=[values[0]] * 2, saturated_fraction=[values[1]] * 2)
    ax = panels(*points)["share of units"]
    heights = sorted(text.xy[1] for text in ax.texts)
    assert heights[1] - heights[0] > 0.16
    assert heights[0] >= -1e-9
    assert heights[1] <= 1 + 1e-9


def test_a_training_of_which_nothing_is_known_is_drawn_all_the_same() -> None:
    assert len(watch_figure(record()).axes) == 1
    page = watch_page(record(left_out("loss", "it failed")))
    assert "<svg" not in page.split("<main")[1].split("</main>")[0].replace('class="shape"', "")
    assert "it failed" in page


def test_the_page_says_it_all() -> None:
    page = watch_page(WHOLE)
    assert "LeNet, 61,706 parameters, trained for 350 steps, measured 4 times: training loss 1.8 → 0.4" in page
    assert "sharpness hovers at the edge of stability" not in page
    assert "The loss becomes sharper as the network trains." in page
    assert "tends to rise until it comes to 2/η" in page
    for words in (">2/η</text>", ">λ_max</text>", ">batch size</text>", ">step</text>"):
        assert words in page
    assert "kernel drift (1 − alignment)" in page
    assert re.search(r"4\.0 s of measuring beside 1 min 40 s of training, 4\s%; promised: 5\s%", page)
    assert "0123abc" in page
    assert "at multiples of 100 steps" in page


def test_hostile_names_reach_neither_page_nor_terminal() -> None:
    evil = "<script>a$b$c\x1b[31m"
    hostile = record(
        *measurements(**{evil: [1.0, 2.0], "probe_loss": [2.0, 1.0]}),
        left_out(evil, evil),
        end(200, error=evil),
        subject={"name": evil, "kind": "model", "parameters": 3},
        stability=evil,
        optimizer=evil,
        probes=[evil],
    )
    page = watch_page(hostile)
    assert "<script>a$" not in page
    assert "\x1b" not in page
    stream = io.StringIO()
    watch_text(hostile, Console(file=stream, width=100, no_color=True))
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("width", [40, 100])
def test_text_fits_and_shows_rows_of_the_whole_training(width: int) -> None:
    many = record(*measurements(probe_loss=[1 / (1 + place) for place in range(300)]), end(30000))
    stream = io.StringIO()
    watch_text(many, Console(file=stream, width=width, no_color=True))
    lines = stream.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    steps = [int(found[1].replace(",", "")) for line in lines if (found := re.match(r" +([\d,]+) +[\d–]", line))]
    assert {0, 29900} <= set(steps)
    assert "24 of 300 measurements" in " ".join(stream.getvalue().split())


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "trained for 0 steps, never measured; it has not ended"),
        ([window(7, 1.0), end(7)], "trained for 7 steps, never measured"),
        ([*measurements(probe_loss=[1.0]), end(1)], "trained for 1 step, measured once"),
        ([end(3, error="ValueError: no")], "trained for 3 steps, never measured; ended by ValueError: no"),
    ],
)
def test_the_sentence(points: list[dict[str, object]], words: str) -> None:
    assert watch_sentence(record(*points)) == f"LeNet, 61,706 parameters, {words}"
