"""The identity of a trial: everything that can change what it returns, as one hash."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deepscope.core import UsageError, Value
from deepscope.lab._closure import Walk
from deepscope.lab._followed import JUDGING_PARTS, Modules
from deepscope.lab._syntax import content

# Fields of a study that say what it does, and change nothing that it does.
_EXPLAINS = frozenset({"caption", "protocol", "source", "timeout", "topics"})
# Counts up when what is hashed changes its meaning: stored trials are then run again.
_VERSION = 1
_TODO = "Define a function with def, at the top of a .py file."


def code_of(function: Callable[..., Any], texts: Iterable[str] = ()) -> str:
    """Return a hash of everything in code that can change what a function returns.

    What that is, ``closure`` says. Comments, docstrings, annotations, formatting and the order of definitions make no
    difference.

    Parameters
    ----------
    function
        Defined at the top of a file: a study's ``trial``, or what makes a shared step.
    texts
        Text that the function is given and in which it may find the name of a dataset: the text values of its case.

    Returns
    -------
    str
        20 hexadecimal digits.

    Raises
    ------
    UsageError
        The function is not defined at the top of a file, or a file that it needs cannot be read.
    """
    return _hash(closure(function, texts))


def closure(function: Callable[..., Any], texts: Iterable[str] = ()) -> dict[str, str]:
    """Return what ``code_of`` hashes: every definition that a function leads to, by module and name.

    Followed are names, imports and attributes of modules, through deepscope's ``linalg``, ``subject``, ``data``,
    ``models``, ``training``, ``instruments`` and ``studies``, and through a user's modules: those in the folder of the
    function's file, and those that Python finds elsewhere but where packages are installed. Not seen are files that the
    function reads, environment variables, and code that is found by a text made when it runs, unless it is in the same
    module.

    Parameters
    ----------
    function, texts
        As in ``code_of``.

    Returns
    -------
    dict
        ``"module:name"`` to a hash of that definition, ``"module:import name"`` to what the name stands for.

    Raises
    ------
    UsageError
        As in ``code_of``.
    """
    name, module, path = _home(function)
    modules = Modules(module, path)
    if name not in modules.root.by_name:
        raise UsageError(f"the file has no definition of {name} at its top", where=str(path), todo=_TODO)
    return Walk(modules, [name], texts).result()


class StudyCode(NamedTuple):
    """The code that can change what a study finds: its hash, and the files of the study itself."""

    identity: str
    files: tuple[Path, ...]


def study_code(module: str, path: Path) -> StudyCode:
    """Find everything in code that can change what a study finds, or how its figure shows it.

    That is what ``closure`` says of its trial, ``judge`` and ``draw``, and its claim, rows, scales and defaults,
    followed through ``core`` and ``figures`` as well: how criteria decide, and how figures look. How
    the claim is explained (protocol, caption, topics, source) makes no difference. Nothing is imported.

    Parameters
    ----------
    module
        The dotted name under which the study's file is imported.
    path
        The file.

    Returns
    -------
    StudyCode
        ``identity``, 20 hexadecimal digits; ``files``, the study's own first, then those in its folder that it uses.

    Raises
    ------
    UsageError
        The file holds no study, or a file that it needs cannot be read.
    """
    modules = Modules(module, path, JUDGING_PARTS)
    study = modules.root.study
    if study is None:
        raise UsageError("the file holds no study", where=str(path), todo="Write STUDY = Study(…) in it.")
    keywords = [each for each in study.keywords if each.arg not in _EXPLAINS]
    said = content(ast.Expr(ast.Call(study.func, study.args, keywords)))
    found = Walk(modules, sorted({chain[0] for chain in said.chains}), said.texts).result()
    sources = [modules.find(name) for name in sorted({label.partition(":")[0] for label in found})]
    beside = [source.path for source in sources if source and source.path and source.path.parent == path.parent]
    return StudyCode(_hash([said.digest, found]), (path, *(each for each in beside if each != path)))


def trial_identity(study: str, code: str, case: Mapping[str, Value], defaults: Mapping[str, Value], seed: int) -> str:
    """Return the identity of one trial: 20 hexadecimal digits.

    Fields that have their default value are left out, so that a field added later leaves earlier trials as they were.
    1, 1.0 and True are three values, and floats count to the last bit.

    Parameters
    ----------
    study
        Its id.
    code
        What ``code_of`` says of its trial.
    case, defaults, seed
        The condition, the study's defaults, and the seed.
    """
    changed = {
        name: value for name, value in case.items() if name not in defaults or _exact(value) != _exact(defaults[name])
    }
    return _hash([_VERSION, study, code, changed, seed])


def _hash(value: object) -> str:
    return hashlib.sha256(_exact(value).encode()).hexdigest()[:20]


def _exact(value: object) -> str:
    # JSON writes 1, 1.0 and true differently, and floats so that they are read back to the last bit.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _home(function: Callable[..., Any]) -> tuple[str, str, Path]:
    """Return a function's name, its module's name and its file."""
    inner = inspect.unwrap(function)
    name = getattr(inner, "__qualname__", type(inner).__name__)
    module = sys.modules.get(getattr(inner, "__module__", None) or "")
    path = Path(getattr(module, "__file__", None) or "")
    kind = ""
    if isinstance(inner, functools.partial):
        kind = "a partial function"
    elif "<lambda>" in name:
        kind = "a lambda"
    elif "<locals>" in name:
        kind = "a function inside another"
    elif "." in name:
        kind = "a method"
    elif module is None or path.suffix != ".py":
        kind = "what is typed at a prompt or in a notebook, or compiled,"
    if kind or module is None:
        raise UsageError(f"{kind} cannot be told from its earlier versions", where=name, todo=_TODO)
    specification = getattr(module, "__spec__", None)
    return name, specification.name if specification else module.__name__, path
