"""Errors that say what happened, where, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Names that take more characters than this are counted, not listed.
_SHOWN = 400


class DeepscopeError(Exception):
    """Something deepscope can explain.

    Parameters
    ----------
    what
        What happened, in one sentence.
    where
        The file, layer, dataset or argument concerned.
    todo
        What to do next, in one sentence.

    Examples
    --------
    >>> print(DeepscopeError("no weights found", where="model/", todo="Give a .safetensors file."))
    no weights found: model/
    Give a .safetensors file.
    """

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.todo = what, where, todo

    def __str__(self) -> str:
        first = f"{self.what}: {self.where}" if self.where else self.what
        return f"{first}\n{self.todo}" if self.todo else first

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders by pickle, which by default forgets keyword arguments.
        return (_rebuild, (type(self), self.what, self.where, self.todo))


def _rebuild(kind: type[DeepscopeError], what: str, where: str, todo: str) -> DeepscopeError:
    return kind(what, where=where, todo=todo)


class TargetError(DeepscopeError):
    """What was to be examined cannot be read."""


class UsageError(DeepscopeError):
    """The call itself is wrong: an unknown name, an argument out of range."""


class DataError(DeepscopeError):
    """A dataset is not there, not complete, or not what it should be."""


class MeasurementError(DeepscopeError):
    """An instrument cannot measure this subject, or not with this data."""


class DoesNotApplyError(MeasurementError):
    """What an instrument measures does not exist here (linear regions of a smooth network), or needs an extra.

    An examination of everything passes over it and says so; it has not failed.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant, and what the others are where they can be taken in.

    >>> nearest("spectrm", ["anatomy", "spectrum"])
    'Did you mean "spectrum"? Known: anatomy, spectrum.'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f'Did you mean "{close[0]}"? ' if close else ""
    listed = ", ".join(names)
    return f"{guess}Known: {listed if len(listed) <= _SHOWN else f'{len(names)} names'}."


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message, or its type where it has none.

    >>> first_line(ValueError("the first\nthe second")), first_line(KeyError())
    ('the first', 'KeyError')
    """
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)


def one_line(error: BaseException) -> str:
    """Return an error's type and the first line of its message.

    >>> one_line(ValueError("no such thing")), one_line(KeyError())
    ('ValueError: no such thing', 'KeyError')
    """
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line}"
