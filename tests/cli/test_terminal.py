"""How long work is told about, on a terminal and where nobody watches."""

from __future__ import annotations

import io
import sys

import pytest

from deepscope import _terminal
from deepscope._terminal import progress


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_terminal.time, "monotonic", clock)
    return clock


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_off_a_terminal_a_line_is_written_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(in_words=True) as tell:
        for second in range(100):
            clock.now = 1000.0 + second
            tell(f"{second} of 100 trials, about {100 - second} s left", second / 100)
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["0", "30", "60", "90"]


def test_lines_are_counted_from_the_last_one(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(in_words=True) as tell:
        for second in (0, 50, 60, 79, 80):
            clock.now = 1000.0 + second
            tell(f"after {second}", 0.5)
    assert capsys.readouterr().err.splitlines() == ["after 0", "after 50", "after 80"]


def test_work_that_says_no_time_left_is_told_by_its_share(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as tell:
        for second in range(100):
            clock.now = 1000.0 + second
            tell(f"{second}", second / 100)
    assert capsys.readouterr().err == "0\n30, 30% done\n60, 60% done\n90, 90% done\n"


@pytest.mark.parametrize(("in_words", "columns"), [(True, 2), (False, 3)], ids=["in words", "estimated"])
def test_on_a_terminal_the_announcement_stays_and_a_bar_follows(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, in_words: bool, columns: int
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress(in_words=in_words) as tell:
        tell("6 trials to run", 0.0)
        for second in range(60):
            clock.now = 1000.0 + second
            tell(f"{second} of 6 trials, about 3 s left", 0.5)
    shown = screen.getvalue()
    assert shown.count("6 trials to run") == 1
    # A bar is drawn again in its own line; only the announcement, and the bar's place at the end, take another.
    assert "59 of 6 trials, about 3 s left" in shown
    assert shown.count("\n") == 2, shown
    with _terminal.progress_bar(estimate=not in_words) as bar:
        assert len(bar.columns) == columns


def test_a_hostile_name_cannot_move_the_cursor(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress(in_words=True) as tell:
        tell("start", 0.0)
        tell("evil\x1b[2Jname", 0.5)
    assert "\x1b[2J" not in screen.getvalue()
