"""Criteria in words and drawn."""

import math
import re

import pytest
import study_records as runs
from hypothesis import example, given
from hypothesis import strategies as st

from deepscope.core import Criterion
from deepscope.report._criteria import criteria_views
from deepscope.report._interval import WIDE

NUMBERS = st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > 1e-9)


def view(values, **threshold):
    return criteria_views([Criterion.effect("it", dict(enumerate(values)), **threshold).to_dict()])[0]


def read(text):
    return float(text.replace("−", "-").replace(",", ""))


def places(path):
    return [float(each) for each in re.findall(r"[MH]([-\d.e+]+)", path)]


def criterion(measured, low, high, side="above", threshold=0.0, target=0.0, **more):
    return {
        "name": "it", "kind": "effect", "measured": measured, "low": low, "high": high, "side": side,
        "threshold": threshold, "target": target, "published": None, "holds": None, "control": False, "seeds": 5,
        "note": "",
    } | more  # fmt: skip


def test_numbers_have_the_digits_that_their_interval_supports():
    said = view([2.81, 2.93, 2.77, 2.85], above=1)
    assert (said.measured, said.interval, said.must_be, said.holds) == ("2.840", "[2.731, 2.949]", "> 1", "yes")
    assert view([281.2, 402.1, 377.3], above=1).measured == "354"


@pytest.mark.parametrize(
    ("threshold", "said"),
    [
        ({"above": 3}, "> 3"),
        ({"below": 1e-10}, "< 1e−10"),
        ({"within": 0.1, "target": 1}, "1 ± 0.1"),
        ({"within": 0.25}, "0 ± 0.25"),
        ({"within": 0, "target": 7}, "= 7"),
        ({"within": math.log(1.2), "target": math.log(5)}, "1.61 ± 0.182"),
        ({"above": -12345}, "> −12,345"),
    ],
)
def test_what_it_must_be(threshold, said):
    assert view([1, 2, 3], **threshold).must_be == said


@pytest.mark.parametrize("threshold", [12345, 1234567, 0.9973, 0.9999999, 0.95, 2**-6, 1e-12, -1.00001, 0])
def test_a_threshold_that_was_chosen_is_told_as_it_is(threshold):
    for values in ([1, 2, 3], [threshold] * 3):
        assert read(view(values, above=threshold).must_be[2:]) == threshold
        assert read(view(values, within=0.5, target=threshold).must_be.split()[0]) == threshold


@pytest.mark.parametrize(
    ("threshold", "said"),
    [(math.log(5), "1.61"), (math.log(0.9), "−0.105"), (1 / 3, "0.333"), (0.1 + 0.2, "0.3"), (2**-53, "1.11e−16")],
)
def test_a_threshold_that_was_computed_is_told_with_three_digits(threshold, said):
    assert view([1, 2, 3], above=threshold).must_be == f"> {said}"


def test_a_computed_threshold_is_not_rounded_over_what_was_measured():
    # log 5 = 1.60944: a low end of 1.6097 lies above it, but not above 1.61.
    said = criteria_views([criterion(1.7, 1.6097, 1.79, threshold=math.log(5))])[0]
    assert (said.must_be, said.interval) == ("> 1.609", "[1.610, 1.790]")
    # The threshold itself is told as the threshold is.
    said = criteria_views([criterion(1.7, math.log(5), 1.79, threshold=math.log(5))])[0]
    assert (said.must_be, said.interval) == ("> 1.61", "[1.61, 1.790]")


def test_an_effect_must_pass_its_threshold_and_an_exact_one_may_reach_it():
    for side, effect, exact in (("above", ">", "≥"), ("below", "<", "≤")):
        assert view([1, 2, 3], **{side: 2}).must_be == f"{effect} 2"
        assert criteria_views([Criterion.exact("it", {0: 1.0}, **{side: 2}).to_dict()])[0].must_be == f"{exact} 2"


def test_an_exact_one_has_a_worst_case_instead_of_an_interval():
    said = criteria_views([Criterion.exact("it", {0: 1e-12, 1: 3e-12, 2: 0.0}, below=1e-10).to_dict()])[0]
    assert (said.measured, said.interval, said.holds, said.drawing.interval[:1]) == ("3e−12", "worst case", "yes", "M")


def test_what_is_missing_may_be_worse():
    values = {0: 1.0, 1: math.nan, 2: 1.0, 3: 1.0}
    said = criteria_views([Criterion.exact("it", values, above=1.0).to_dict()])[0]
    assert (said.measured, said.interval, said.holds) == ("1", "worst known", "open")
    assert said.note == "1 of 4 values are missing"
    assert view([1.1, 1.2, 1.3, None], above=0.5).note == "1 of 4 seeds have no value"
    assert view([1.1, 1.2, 1.3, None], above=1.1).note == (
        "1 of 4 seeds have no value; the interval lies across the threshold"
    )


def test_no_value_is_no_zero():
    for said in criteria_views(runs.nulls()["criteria"])[:2]:
        assert (said.measured, said.interval, said.holds) == ("–", "–", "open")
        assert (said.drawing.dot, said.drawing.interval) == ("", "")
        assert said.drawing.limits
        assert said.note


def test_why_it_does_not_hold_is_said_where_the_numbers_do_not_say_it():
    assert view([0.5, 1.0, 1.5], above=0.9).note == "the interval lies across the threshold"
    assert view([0.5, 1.0, 1.5], within=0.9).note == "the interval lies across the threshold"
    for side in ("above", "below"):
        said = view([0.0, 0.0, 0.0], **{side: 0})
        assert (said.holds, said.note) == ("open", "the interval touches the threshold")
    two = criteria_views([Criterion.exact("it", {0: 2.0, 1: 2.0}, below=1.0).to_dict()])[0]
    assert (two.holds, two.note) == ("open", "2 seeds decide nothing; at least 3 do")
    assert view([3.0, 3.1, 3.2], below=1).note == ""
    assert view([3.0, 3.1, 3.2], below=1, control=True).note == "the control shows the effect"
    assert view([3.0, 3.1, 3.2], above=1, control=True).note == ""
    assert view([3.0, 3.1, 3.2, None], below=1, control=True).note == (
        "1 of 4 seeds have no value; the control shows the effect"
    )


def test_rounding_never_carries_an_end_over_the_threshold():
    low = criteria_views([criterion(1.4, 0.996, 1.8, threshold=1.0)])[0].interval
    assert low == "[0.9960, 1.80]"
    above = criteria_views([criterion(*[1.00000000001] * 3, "below", 1.0)])[0]
    assert read(above.measured) > 1
    assert criteria_views([criterion(math.log(2), math.log(2), 3.0, threshold=math.log(2))])[0].interval == (
        "[0.693, 3.00]"
    )


def test_where_nothing_is_judged_all_is_open():
    made = runs.smoke()["criteria"]
    assert {each.holds for each in criteria_views(made)} == {"yes", "no", "open"}
    assert {(each.holds, each.note) for each in criteria_views(made, judged=False)} == {("open", "")}


# Thresholds as somebody chooses them, and as they are computed.
LIMITS = NUMBERS | st.integers(-99999, 99999).map(lambda value: value / 1000)


@given(
    NUMBERS, st.floats(0, 1e3), LIMITS, st.sampled_from(["above", "below", "within"]), st.floats(1e-3, 1e3),
    st.sampled_from([None, 0.0, 1e-12, 1e-7, 1e-3, -1e-12, -1e-7, -1e-3]),
)  # fmt: skip
@example(100000.22265625, 2**-24, 100000.22265625, "above", 1.0, None)  # twelve digits do not tell it
def test_what_is_read_lies_on_the_side_on_which_it_is(middle, half, target, side, width, near):
    threshold = width if side == "within" else target
    least = target - width if side == "within" else target
    low = middle - half if near is None else least * (1 + near)
    ends = (low, low + half, low + 2 * half)
    said = criteria_views([criterion(ends[1], ends[0], ends[2], side, threshold, target)])[0]
    shown = [*map(read, said.interval[1:-1].split(", ")), read(said.measured)]
    if side == "within":
        told, margin = map(read, said.must_be.split(" ± "))
        limits = [(target - width, told - margin), (target + width, told + margin)]
    else:
        limits = [(target, read(said.must_be[2:]))]
    # Both ends of a range are a sum, which is not exact.
    slack = 1e-12 * (abs(target) + width) if side == "within" else 0
    for value, text in zip((ends[0], ends[2], ends[1]), shown, strict=True):
        for limit, read_limit in limits:
            assert text >= read_limit - slack if value >= limit else text < read_limit
            assert text <= read_limit + slack if value <= limit else text > read_limit


@given(NUMBERS, st.floats(0, 1e6), NUMBERS, st.sampled_from(["above", "below", "within"]), st.floats(0, 1e6))
def test_the_drawing_says_what_the_numbers_say(middle, half, target, side, width):
    threshold = width if side == "within" else target
    drawn = criteria_views([criterion(middle, middle - half, middle + half, side, threshold, target)])[0].drawing
    left, right = drawn.range[0], drawn.range[0] + drawn.range[1]
    low, high = places(drawn.interval)
    dot = places(drawn.dot)[0]
    assert 0 <= low <= dot <= high <= WIDE
    # The scale is linear; places have four digits.
    assert high - dot == pytest.approx(dot - low, abs=0.05)
    assert 0 <= left <= right <= WIDE
    least = {"above": target, "below": -math.inf, "within": target - width}[side]
    most = {"above": math.inf, "below": target, "within": target + width}[side]
    # Places are written with four digits: a tenth of a unit of the hundred at most.
    assert dot >= left - 0.1 if middle >= least else dot <= left + 0.1
    assert dot <= right + 0.1 if middle <= most else dot >= right - 0.1
    assert len(places(drawn.limits)) == (2 if side == "within" else 1)


def test_limits_stand_below_each_other():
    drawn = [criteria_views([criterion(value, value - 1, value + 1)])[0].drawing for value in (3.0, 400.0, -7.0)]
    assert len({each.limits for each in drawn}) == 1
    assert len({each.dot for each in drawn}) == 3
    above, below, within = (
        criteria_views([criterion(3.0, 2.0, 4.0, side, 1.0)])[0].drawing.range for side in ("above", "below", "within")
    )
    # Most of the room is where the interval must be; what must lie in a range is seen to do so on both sides.
    assert above == (WIDE - above[1], 68)
    assert below == (0, 68)
    assert within[0] == WIDE - within[0] - within[1] > 30


@pytest.mark.parametrize(
    ("published", "drawn"), [("4", True), ("−0.11", True), ("1,200", True), ("about 3", False), (None, False)]
)
def test_a_published_number_is_drawn(published, drawn):
    said = criteria_views([criterion(3.0, 2.0, 4.0, published=published)])[0]
    assert said.published == (published or "")
    assert bool(said.drawing.published) == drawn


def test_a_published_number_stands_where_it_would_be_measured():
    said = criteria_views([criterion(3.0, 2.0, 4.0, published="3")])[0]
    assert places(said.drawing.published) == places(said.drawing.dot)


def test_numbers_at_the_end_of_what_a_computer_knows():
    for value in (1e308, -1e308):
        drawn = criteria_views([criterion(value, -1e308, 1e308, "within", 1e-300, -value)])[0].drawing
        assert all(0 <= place <= WIDE for place in places(drawn.interval + drawn.dot + drawn.limits))
