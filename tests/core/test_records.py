"""Findings, costs, needs: the small records."""

import pytest

from deepscope.core import SEVERITIES, Cost, Finding, Needs, Stopwatch, home


def test_a_finding_has_one_of_three_severities_worst_first():
    assert [Finding(severity, "x", "", "m").rank for severity in SEVERITIES] == [0, 1, 2]
    assert SEVERITIES == ("problem", "warning", "note")
    with pytest.raises(ValueError, match="severity"):
        Finding("error", "x", "", "m")


def test_costs_add_up():
    assert Cost(1.0, 2.0, 3, 4) + Cost(0.5, 0.5, 1, 1) == Cost(1.5, 2.5, 4, 5)


def test_a_stopwatch_adds_up_and_stops_on_an_error(monkeypatch):
    ticks = iter([1.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    watch = Stopwatch()
    with watch:
        pass
    with pytest.raises(KeyError), watch:
        raise KeyError
    watch.count(forward=2)
    watch.count(backward=1)
    assert watch.cost.wall_seconds == 4.0
    assert (watch.cost.forward_passes, watch.cost.backward_passes) == (2, 1)


def test_needs_are_flags():
    assert Needs.DATA in Needs.DATA | Needs.LOSS
    assert not (Needs.LOSS & ~(Needs.DATA | Needs.LOSS))


def test_home_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("DEEPSCOPE_HOME")
    assert home().name == "deepscope"
