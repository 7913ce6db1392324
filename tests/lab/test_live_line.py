"""The line on a terminal: there while somebody watches, and nowhere else."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from watched import Own, watching

from deepscope.lab._live_line import LiveLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(text: str) -> str:
    """Return what a line of a terminal shows after a text that only returns to its start and clears it."""
    return text.rsplit("\x1b[2K", 1)[-1].strip("\r")


def test_it_writes_over_itself_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "20")
    line = LiveLine()
    line.clear()
    assert terminal.getvalue() == ""
    line.show("first and long")
    line.show("second, far too long for the terminal")
    assert screen(terminal.getvalue()) == "second, far too lon"
    assert "\n" not in terminal.getvalue()
    assert not line.due
    line.clear()
    assert screen(terminal.getvalue()) == ""


class Broken(Terminal):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, io.StringIO(), Broken(), closed()])
def test_without_a_terminal_nothing_is_written_or_raised(monkeypatch: pytest.MonkeyPatch, stream: object) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    line = LiveLine()
    line.show("something")
    line.clear()
    assert not isinstance(stream, Terminal) or isinstance(stream, Broken)
    if isinstance(stream, io.StringIO) and not stream.closed:
        assert stream.getvalue() == ""


def test_what_a_watched_training_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torch import nn

    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path))
    monkeypatch.setattr(LiveLine, "_BETWEEN", 0.0)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    numbers = {"sharpness": 12.345, "noise_scale": 678.9}
    clock = type("Turning", (), {"now": 0.0, "__call__": lambda self: self.now})()

    def measure(subject: object, generator: object) -> dict[str, float]:
        clock.now += 0.5
        return numbers

    with watching(nn.Linear(6, 3), [Own(measure)], every=2, clock=clock, overhead=0.1) as watched:
        for _ in range(4):
            clock.now += 5.0
            watched.step(0.25)
        assert screen(terminal.getvalue()) == "step 4  loss 0.25  λ_max 12.3  noise scale 679  overhead 7.5 %"
    assert screen(terminal.getvalue()) == ""
