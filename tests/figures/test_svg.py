import re
from xml.etree import ElementTree

import pytest

from deepscope import figures


def drawn(names=("conv1", "fc<1>&"), points=2, log=False):
    figure, ax = figures.new()
    figures.band(ax, 1, 2)
    figures.interval(ax, range(points), [1.5] * points, [1.2] * points, [1.9] * points)
    figures.layer_axis(ax, list(names))
    if log:
        ax.set_yscale("log")
        ax.set_ylim(1e-4, 1e2)
    return figure


def test_is_well_formed_and_as_wide_as_its_place():
    root = ElementTree.fromstring(figures.to_svg(drawn()))
    assert root.tag.endswith("svg")
    assert root.get("width") == "100%"
    assert root.get("height") is None
    assert root.get("viewBox")


def test_text_stays_text():
    svg = figures.to_svg(drawn())
    texts = ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")]
    assert "conv1" in texts
    assert "fc<1>&" in texts
    assert "DejaVu" not in svg


def test_a_name_too_long_is_kept_whole_as_a_tooltip():
    long = "encoder.layer.11.attention.self.<query>"
    root = ElementTree.fromstring(figures.to_svg(drawn((long, "b"))))
    assert long in [node.text for node in root.iter() if node.tag.endswith("title")]


@pytest.mark.parametrize("name", ["fc\x1b[31m", "a\nb", "\u202eabc", "层", "$a$ $b"])
def test_any_name_gives_readable_svg(name, recwarn):
    ElementTree.fromstring(figures.to_svg(drawn((name, "b"))))
    assert not recwarn.list


def test_the_same_figure_gives_the_same_text():
    def crowded():
        figure, axes = figures.new(height=2.6, rows=2, sharex=True)
        values = [2 + place * 0.61 % 3 for place in range(40)]
        figures.interval(axes[0], range(40), values, values, values)
        figures.layer_axis(axes[1], [f"encoder.layer.{index}.attention.output.dense" for index in range(40)])
        return figure

    # Two rows with long names are a layout that moves with every drawing, unless it is settled.
    figure = crowded()
    assert figures.to_svg(figure) == figures.to_svg(figure) == figures.to_svg(crowded())


def test_nothing_tells_when_or_with_what_it_was_made():
    svg = figures.to_svg(drawn())
    assert "metadata" not in svg
    assert "<style" not in svg  # it would reach the whole page


def test_ids_begin_with_the_prefix_and_every_reference_finds_its_target():
    one, other = figures.to_svg(drawn(), prefix="one"), figures.to_svg(drawn(), prefix='an "other"')
    ids = re.findall(r' id="([^"]*)"', one)
    assert ids
    assert all(each.startswith("one-") for each in ids)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]*)\)", one)) | set(re.findall(r'href="#([^"]*)"', one)) == set(ids)
    assert not set(ids) & set(re.findall(r' id="([^"]*)"', other))
    ElementTree.fromstring(other)


def test_palette_colours_become_variables_with_themselves_as_fallback():
    svg = figures.to_svg(drawn())
    assert f"var(--accent, {figures.COLORS.accent})" in svg
    bare = re.sub(r"var\(--\w+, #[0-9a-f]{6}\)", "", svg)
    assert figures.COLORS.accent not in bare
    assert figures.COLORS.ink not in bare


def test_a_thousand_points_stay_small():
    svg = figures.to_svg(drawn([f"layer{index}" for index in range(1000)], points=1000))
    # A mark is about 50 characters of its own, an interval 40; its look is written once.
    assert len(svg) < 130_000
    assert len(re.findall("<use", svg)) >= 1000
    ElementTree.fromstring(svg)


def test_powers_on_a_logarithmic_axis_are_set_as_powers():
    root = ElementTree.fromstring(figures.to_svg(drawn(log=True)))
    text = "".join(root.itertext())
    assert "$" not in text
    assert "mathdefault" not in text
