"""Options that mean the same in every verb, exit codes, and the command that does it again."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter

DONE, PROBLEM, USAGE, PARTLY, INTERRUPTED = 0, 1, 2, 3, 130

Out = Annotated[Path | None, Parameter(help="Write the report here: a page (.html) or data (.json).")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON on standard output.")]
Seed = Annotated[int, Parameter(help="Every random choice derives from it.")]
Device = Annotated[str | None, Parameter(help='Where to run the model: "cpu", "cuda", "cuda:1" ….')]
Offline = Annotated[bool, Parameter(negative="", help="Never touch the network.")]


def split(text: str) -> list[str]:
    """Return the parts of a comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def go_offline(offline: bool) -> None:
    """Forbid the network to this process and to those it starts."""
    if offline:
        os.environ["DEEPSCOPE_OFFLINE"] = "1"


def command_of(words: str, verb: Callable[..., int], given: Mapping[str, Any]) -> str:
    """Return the command that does this again, settings from the environment or a file included.

    Parameters
    ----------
    words
        How the verb is typed: ``"study run"``.
    verb
        Its function.
    given
        The value of each of its parameters.
    """
    command = ["deepscope", *words.split()]
    hints = get_type_hints(verb, include_extras=True)
    for name, parameter in inspect.signature(verb).parameters.items():
        value = given[name]
        if value == parameter.default:
            continue
        values = value if isinstance(value, tuple) else (value,)
        flag = _flag(name, hints[name]) if parameter.kind is parameter.KEYWORD_ONLY else None
        for each in values:
            command += [word for word in (flag, None if each is True else str(each)) if word is not None]
    return shlex.join(command)


def _flag(name: str, hint: Any) -> str:
    named = next((each.name for each in getattr(hint, "__metadata__", ()) if each.name), ())
    return str(named[0]) if named else f"--{name.replace('_', '-')}"
