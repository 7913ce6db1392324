"""What the command line says, and where: streams that may be closed, a terminal, a pipe whose reader has left."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.table import Table

#: Between two lines about long work where no bar can be shown.
_SECONDS_BETWEEN_LINES = 30.0


def open_streams() -> None:
    """Give closed streams somewhere to go, and let a terminal that cannot show α show a question mark."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - open for as long as the process lives
        elif hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")


def forget_stdout() -> None:
    """Send what Python would still flush at exit nowhere: its reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def user_code() -> Iterator[None]:
    """Keep what a user's model prints, in Python or below it, off standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def say(text: str, *, transient: bool = False) -> None:
    """Write to standard error; what is transient only where somebody watches."""
    if transient and not sys.stderr.isatty():
        return
    # Work is not stopped because nobody reads its messages.
    with suppress(BrokenPipeError):
        print(printable(text), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Make control characters of a hostile name visible."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def console(*, stderr: bool = False) -> Console:
    """Return standard output (or error) as a terminal that leaves a broken pipe to the caller."""
    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            # rich would exit with 1; a reader who has seen enough is no error.
            raise BrokenPipeError

    return Terminal(stderr=stderr, highlight=False)


def print_table(table: Table) -> None:
    """Print a table; in a pipe, each row on one line, whatever its length."""
    terminal = console()
    if not terminal.is_terminal:
        terminal.width = 1000
    terminal.print(table)


@contextmanager
def progress(*, in_words: bool = False) -> Iterator[Callable[[str, float], None]]:
    """Announce the cost in one line; then show how much is done, where there is no terminal in a line now and then.

    Parameters
    ----------
    in_words
        What is told says itself how much time is left: the bar needs no estimate of its own.
    """
    started: list[TaskID] = []
    said_at = 0.0

    def tell(what: str, done: float) -> None:
        nonlocal said_at
        first, now = not started, time.monotonic()
        if first:
            started.append(bar.add_task("", total=1.0))
        if first or (bar.disable and now - said_at >= _SECONDS_BETWEEN_LINES):
            say(what if first or in_words else f"{what}, {done:.0%} done")
            said_at = now
        else:
            bar.update(started[0], completed=done, description=printable(what))

    with progress_bar(estimate=not in_words) as bar:
        yield tell


def progress_bar(*, estimate: bool = True) -> Progress:
    """Return a progress bar on standard error, with an estimate of the time left; nothing where nobody watches."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        BarColumn(bar_width=24),
        *([TimeRemainingColumn()] if estimate else []),
        TextColumn("{task.description}", markup=False),
        console=console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
