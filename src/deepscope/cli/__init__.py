"""The command line. Thin: every verb calls one function of the house; heavy imports happen inside the verbs."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from tomllib import TOMLDecodeError

from cyclopts import App
from cyclopts.config import Env, Toml

from deepscope import __version__
from deepscope._terminal import console, forget_stdout, open_streams, say
from deepscope.cli._atlas import atlas_app
from deepscope.cli._data import data_app
from deepscope.cli._doctor import doctor
from deepscope.cli._examine import compare, examine
from deepscope.cli._models import models_app
from deepscope.cli._options import DONE, INTERRUPTED, USAGE
from deepscope.cli._reading import reading
from deepscope.cli._runs import runs_app
from deepscope.cli._study import study_app

__all__ = ["app", "run"]

SETTINGS = "deepscope.toml"

app = App(
    name="deepscope",
    help_format="plaintext",
    help="An observatory for deep learning: measure any trained network, and see what the numbers mean.",
    version=f"deepscope {__version__}",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    config=[Env("DEEPSCOPE_"), Toml(SETTINGS, search_parents=True, must_exist=False)],
)
for verb in (examine, compare, study_app, atlas_app, models_app, reading, runs_app, data_app, doctor):
    app.command(verb)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every error is a message, never a traceback."""
    open_streams()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = app(arguments, exit_on_error=False, print_error=False, console=console())
    except KeyboardInterrupt:
        say("Interrupted; nothing half-written.")
        return INTERRUPTED
    except BrokenPipeError:
        # Only lists and help print outside show(); a reader who has seen enough of them is no error.
        code = DONE
    except Exception as error:
        if os.environ.get("DEEPSCOPE_DEBUG"):
            raise
        say(_explained(error))
        return USAGE
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        forget_stdout()
    return code if isinstance(code, int) else DONE


def _explained(error: Exception) -> str:
    """Say in at most three lines what happened, where, and what to do next."""
    from cyclopts import CycloptsError

    from deepscope.core import DeepscopeError, one_line

    if isinstance(error, DeepscopeError):
        return str(error)
    if isinstance(error.__cause__ or error, (TOMLDecodeError, UnicodeDecodeError)):
        found = [folder / SETTINGS for folder in (Path.cwd(), *Path.cwd().parents) if (folder / SETTINGS).exists()]
        where = found[0] if found else SETTINGS
        return f"The settings cannot be read ({one_line(error)}): {where}\nMend it, or move it away."
    if isinstance(error, CycloptsError):
        return f"{' '.join(str(error).split())}\nSee deepscope --help."
    if isinstance(error, (OSError, MemoryError)):
        return one_line(error)
    return f"{one_line(error)}\nThis is a fault of deepscope: please report it, with what DEEPSCOPE_DEBUG=1 prints."
