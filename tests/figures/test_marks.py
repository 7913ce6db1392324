import math

import numpy as np
import pytest

from deepscope import figures


@pytest.fixture
def ax():
    return figures.new()[1]


def labels(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def test_few_layers_are_all_named(ax):
    figures.layer_axis(ax, ["conv1", "conv2", "fc"])
    assert labels(ax) == ["conv1", "conv2", "fc"]
    assert list(ax.get_xticks()) == [0, 1, 2]
    assert ax.get_xlim() == (-0.5, 2.5)


def test_a_thousand_layers_are_thinned_to_what_fits(ax):
    figures.layer_axis(ax, [f"encoder.layer.{index}.attention.output.dense" for index in range(1000)])
    # The axes are about 5.6 inches wide, a slanted label takes 0.17: 32 of them.
    assert 15 <= len(labels(ax)) <= 33
    assert all(len(label) <= 24 for label in labels(ax))
    # Shortened names keep their end, which tells them apart.
    assert all(label.endswith("output.dense") for label in labels(ax))
    assert ax.get_xlim() == (-0.5, 999.5)


@pytest.mark.parametrize("place", [0, 1])
def test_axes_that_share_x_are_named_once(place):
    figure, axes = figures.new(rows=2, sharex=True)
    figures.layer_axis(axes[place], ["conv1", "conv2"])
    assert [axis.get_xlim() for axis in axes] == [(-0.5, 1.5)] * 2
    assert list(axes[1].get_xticks()) == [0, 1]
    svg = figures.to_svg(figure)
    assert (svg.count("conv1"), svg.count("conv2")) == ((2, 2) if place else (1, 1))


def test_no_layers_at_all(ax):
    figures.layer_axis(ax, [])
    assert labels(ax) == []


def test_interval_draws_one_path_for_all_intervals_and_one_for_all_points(ax):
    figures.interval(ax, [0, 1, 2], [1, 2, 3], [0.5, 1.5, 2.5], [1.5, 2.5, 3.5], label="α")
    ends, points = ax.lines
    across, along = ends.get_data()
    np.testing.assert_array_equal(across, [0, 0, np.nan, 1, 1, np.nan, 2, 2, np.nan])
    np.testing.assert_array_equal(along, [0.5, 1.5, np.nan, 1.5, 2.5, np.nan, 2.5, 3.5, np.nan])
    np.testing.assert_array_equal(points.get_ydata(), [1, 2, 3])
    assert points.get_label() == "α"


def test_interval_leaves_out_what_is_missing(ax):
    figures.interval(ax, [0, 1, 2], [1, None, 3], [0.5, 1.5, None], [1.5, 2.5, math.inf])
    ends, points = ax.lines
    np.testing.assert_array_equal(ends.get_xdata(), [0, 0, np.nan])
    np.testing.assert_array_equal(points.get_xdata(), [0, 2])


def test_interval_of_one_number(ax):
    figures.interval(ax, 4, 1.0, 0.5, 2.0, color="#123456")
    assert [line.get_color() for line in ax.lines] == ["#123456", "#123456"]


def test_band_and_label(ax):
    figures.band(ax, 2, 6)
    figures.direct_label(ax, 0, 1, "a$b$c")
    assert (ax.patches[0].get_y(), ax.patches[0].get_height()) == (2, 4)
    assert [text.get_text() for text in ax.texts] == ["a$b$c"]
    assert not ax.texts[0].get_parse_math()
