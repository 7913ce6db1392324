import re

import pytest

from deepscope.report._findings import entries, grouped
from deepscope.report._glance import LINKED_MARKS, glance
from deepscope.report._scale import EDGE, TALL, Scale


def track(values, **more):
    return {"label": "α", "values": values, "low": {}, "high": {}, "band": None, "scale": "linear"} | more


def points(path):
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]


def test_values_stand_in_their_layers_column_at_their_height():
    made = glance("abc", [track({"a": 1.0, "c": 3.0, "elsewhere": 9.0})], [])
    # Column i is 10 wide; the smallest value stands at the bottom, the largest on top.
    assert points(made.rows[0].inside) == [(5, TALL - EDGE), (25, EDGE)]
    assert made.rows[0].texts == ("1", "–", "3")
    assert (made.rows[0].bottom, made.rows[0].top) == ("1", "3")


def test_what_lies_outside_the_band_is_drawn_otherwise():
    made = glance("abc", [track({"a": 1.0, "b": 3.0, "c": 9.0}, band=[2, 6])], [])
    row = made.rows[0]
    assert [x for x, _ in points(row.inside)] == [15]
    assert [x for x, _ in points(row.outside)] == [5, 25]
    assert "2 outside 2–6" in row.alternative
    upper, height = row.shade
    # 6 of 1–9 stands at 5/8 of the drawn height from below, 2 at 1/8.
    assert upper == pytest.approx(EDGE + (TALL - 2 * EDGE) * 3 / 8, abs=0.01)
    assert height == pytest.approx((TALL - 2 * EDGE) / 2, abs=0.01)


def test_a_logarithmic_row():
    made = glance("abc", [track({"a": 1e-4, "b": 1e-2, "c": 1.0}, scale="log")], [])
    assert [y for _, y in points(made.rows[0].inside)] == [TALL - EDGE, TALL / 2, EDGE]
    zero = glance("ab", [track({"a": 0.0, "b": 1.0}, scale="log")], [])
    assert points(zero.rows[0].inside)[0][1] == TALL - EDGE


def test_intervals_are_drawn_and_said():
    made = glance("ab", [track({"a": 2.0, "b": 4.0}, low={"a": 1.8}, high={"a": 2.2})], [])
    assert len(points(made.rows[0].intervals)) == 1
    assert made.rows[0].texts[0] == "2.00 [1.80, 2.20]"


def test_a_huge_interval_does_not_flatten_the_values():
    scale = Scale.over({"a": 1.0, "b": 2.0}, {"a": -1e9}, {"a": 1e9}, None, log=False)
    assert (scale.low, scale.high) == (1.0, 2.0)


def test_equal_values_stand_in_the_middle():
    assert float(Scale.over({"a": 3.0}, {}, {}, None, log=False).y(3.0)) == TALL / 2
    assert float(Scale.over({"a": 3.0}, {}, {}, None, log=True).y(3.0)) == TALL / 2
    assert float(Scale.over({"a": -3.0}, {}, {}, None, log=False).y(-3.0)) == TALL / 2


def test_the_axis_of_equal_values_begins_at_zero():
    made = glance("abc", [track({"a": 3.0, "b": 3.0}), track({"a": 0.0, "c": 0.0}), track({"b": -2.0})], [])
    assert [(row.top, row.bottom) for row in made.rows] == [("6", "0"), ("1", "0"), ("0", "−4")]
    assert made.rows[1].inside == f"M5 {TALL - EDGE:g}h0M25 {TALL - EDGE:g}h0"


def finding(severity, where):
    return {"severity": severity, "instrument": "health", "where": where, "message": f"{where} is 12 % off"}


def test_the_worst_finding_of_a_layer_is_marked_and_links_to_it():
    listed = entries([finding("warning", "b.weight"), finding("problem", "b"), finding("note", "a")], ["a", "b"], {})
    made = glance(["a", "b"], [track({"a": 1.0, "b": 2.0})], listed)
    assert [(mark.severity, mark.left, mark.anchor) for mark in made.marks] == [("problem", "75", listed[0].anchor)]
    assert listed[0].column == "layer-1"


def test_many_layers_have_lanes_instead_of_marks():
    layers = [f"l{index}" for index in range(LINKED_MARKS + 1)]
    listed = entries([finding("warning", "l3"), finding("problem", "l4.weight")], layers, {})
    made = glance(layers, [track(dict.fromkeys(layers, 1.0))], listed)
    assert made.marks == ()
    assert dict(made.lanes) == {"problem": "M45 0V10", "warning": "M35 0V10"}


def test_names_below_are_thinned_and_share_what_they_begin_with():
    made = glance([f"encoder.layer.{i}.out" for i in range(1000)], [track({"encoder.layer.0.out": 1.0})], [])
    assert len(made.ticks) <= 34
    assert made.common == "encoder.layer."
    assert made.ticks[0].name == "0.out"
    assert sum(tick.rank == 0 for tick in made.ticks) <= 12


def test_nothing_to_draw():
    assert glance([], [], []) is None
    assert glance(["a"], [track({})], []) is None


def test_alike_findings_are_folded_and_none_is_lost():
    found = [finding("warning", f"fc{index}.weight") for index in range(5)] + [finding("problem", "x")]
    groups = grouped(entries(found, [f"fc{index}" for index in range(5)], {}))
    assert [(group.first.where, len(group.more)) for group in groups] == [("x", 0), ("fc0.weight", 4)]
    few = grouped(entries(found[:3], [], {}))
    assert [len(group.more) for group in few] == [0, 0, 0]
