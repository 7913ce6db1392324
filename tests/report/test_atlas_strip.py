"""Criteria at a glance."""

import re

import pytest

from deepscope.report._atlas_strip import strip


def criterion(holds, control=False):
    return {"holds": holds, "control": control}


def places(path, pitch=15):
    """In which boxes a path begins a mark."""
    return [int(float(x) // pitch) for x in re.findall(r"M([\d.]+)", path)]


def test_each_mark_stands_at_its_place():
    made = strip([criterion(True), criterion(False), criterion(None), criterion(True, control=True)])
    assert made.width == 60
    assert places(made.holds) == [0, 3]
    assert places(made.fails) == [1]
    assert places(made.undecided) == [2]
    assert places(made.controls) == [3]


@pytest.mark.parametrize(
    ("criteria", "words"),
    [
        ([], "no criteria"),
        ([criterion(True)], "1 criterion: 1 holds"),
        ([criterion(False), criterion(False, control=True)], "2 criteria, 1 control among them: 2 fail"),
        (
            [criterion(None), criterion(True, control=True), criterion(True, control=True), criterion(False)],
            "4 criteria, 2 controls among them: 2 hold, 1 fails, 1 is open",
        ),
    ],
)
def test_it_is_said_in_words(criteria, words):
    assert strip(criteria).words == words


def test_where_nothing_is_judged_all_are_open():
    made = strip([criterion(True), criterion(False)], judged=False)
    assert made.holds == made.fails == ""
    assert places(made.undecided) == [0, 1]
    assert made.words == "2 criteria: 2 are open"
