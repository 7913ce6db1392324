"""Studies: one claim of the literature, the trials that test it, the criteria that judge it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from deepscope.core.criterion import Criterion
from deepscope.core.errors import UsageError, nearest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Value = bool | int | float | str
Returned = Mapping[str, Any]
#: ``smoke`` runs everything and judges nothing; ``quick`` gives a verdict; ``full`` is the largest.
SCALES = ("smoke", "quick", "full")
#: Columns of a study's table that are not fields of a case.
RESERVED = ("seed",)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Case(Mapping[str, Value]):
    """One condition of a study: named plain values, read as attributes or by name; it cannot be changed.

    >>> case = Case(width=64, noise=0.5)
    >>> case.width, case["noise"], str(case)
    (64, 0.5, 'width=64 noise=0.5')
    """

    __slots__ = ("_fields",)
    _fields: dict[str, Value]

    def __init__(self, **fields: Value) -> None:
        for name, value in fields.items():
            if not _NAME.fullmatch(name) or name.startswith("_") or name in RESERVED or hasattr(Case, name):
                raise UsageError("a case cannot have a field of this name", where=name, todo="Choose another name.")
            if type(value) not in (bool, int, float, str) or (isinstance(value, float) and not math.isfinite(value)):
                raise UsageError(
                    f"a case's value is {value!r}",
                    where=name,
                    todo="Use numbers that are finite, text, True or False.",
                )
        object.__setattr__(self, "_fields", dict(fields))

    def __getitem__(self, name: str) -> Value:
        return self._fields[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(f"the case has no field {name!r}; it has {', '.join(self._fields)}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a case cannot be changed ({name})")

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and self.key == other.key

    def __reduce__(self) -> tuple[Any, ...]:
        return (_case, (self._fields,))

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self._fields.items())

    def __repr__(self) -> str:
        return f"Case({', '.join(f'{name}={value!r}' for name, value in self._fields.items())})"

    @property
    def key(self) -> tuple[tuple[str, str, Value], ...]:
        """Names, types and values, sorted: 1, 1.0 and True are three values."""
        return tuple(sorted((name, type(value).__name__, value) for name, value in self._fields.items()))

    def replace(self, **changes: Value) -> Case:
        """Return a case with some fields changed or added."""
        return Case(**{**self._fields, **changes})


def _case(fields: Mapping[str, Value]) -> Case:
    return Case(**fields)


@dataclass(frozen=True, init=False)
class Grid:
    """Cases and seeds: every combination of the values given, each with every seed. Grids add up.

    Parameters
    ----------
    seeds
        How many, from 0, or which.
    **axes
        Values of each field: one, or several.

    Raises
    ------
    UsageError
        No seed, a negative seed, an axis without values.

    Examples
    --------
    >>> grid = Grid(seeds=3, width=[32, 64], noise=0.1) + Grid(seeds=3, width=128, noise=0.0)
    >>> [str(case) for case in grid.cases], len(list(grid.trials()))
    (['width=32 noise=0.1', 'width=64 noise=0.1', 'width=128 noise=0.0'], 9)
    """

    parts: tuple[tuple[Case, tuple[int, ...]], ...]

    def __init__(self, *, seeds: int | Iterable[int] = 1, **axes: Value | Iterable[Value]) -> None:
        chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(dict.fromkeys(seeds))
        if not chosen or any(not isinstance(seed, int) or seed < 0 for seed in chosen):
            raise UsageError(f"the seeds are {seeds!r}", where="Grid", todo="Give a number of seeds of at least 1.")
        values = {name: _values(name, axis) for name, axis in axes.items()}
        cases = [Case(**dict(zip(values, point, strict=True))) for point in itertools.product(*values.values())]
        object.__setattr__(self, "parts", tuple((case, chosen) for case in dict.fromkeys(cases)))

    def __add__(self, other: Grid) -> Grid:
        seeds: dict[Case, tuple[int, ...]] = {}
        for case, its in (*self.parts, *other.parts):
            seeds[case] = tuple(dict.fromkeys((*seeds.get(case, ()), *its)))
        return _grid(seeds.items())

    @property
    def cases(self) -> tuple[Case, ...]:
        """Every case once, in the order given."""
        return tuple(case for case, _ in self.parts)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed that some case is run with, ascending."""
        return tuple(sorted({seed for _, seeds in self.parts for seed in seeds}))

    def trials(self) -> Iterator[tuple[Case, int]]:
        """Every case with every one of its seeds, case by case."""
        return ((case, seed) for case, seeds in self.parts for seed in seeds)

    def with_defaults(self, defaults: Mapping[str, Value]) -> Grid:
        """Return the grid whose cases have every field, the default where a case does not say."""
        return _grid((Case(**{**defaults, **case}), seeds) for case, seeds in self.parts)

    def bent(self, settings: Mapping[str, Value], seeds: int | None) -> Grid:
        """Return the grid with fields fixed in every case, and with so many seeds: its own first, then further ones."""
        found: dict[Case, tuple[int, ...]] = {}
        for case, its in self.parts:
            more = itertools.chain(its, itertools.count(max(its) + 1))
            chosen = its if seeds is None else tuple(itertools.islice(more, seeds))
            changed = case.replace(**settings)
            found[changed] = tuple(dict.fromkeys((*found.get(changed, ()), *chosen)))
        return _grid(found.items())


def _grid(parts: Iterable[tuple[Case, tuple[int, ...]]]) -> Grid:
    grid = object.__new__(Grid)
    object.__setattr__(grid, "parts", tuple(parts))
    return grid


def _values(name: str, axis: Value | Iterable[Value]) -> list[Value]:
    values = [axis] if isinstance(axis, (bool, int, float, str)) else list(axis)
    if not values:
        raise UsageError("an axis has no values", where=name, todo="Give at least one.")
    return values


class TrialRun(Protocol):
    """What a trial is handed besides its case. It is the trial's only source of randomness.

    Python's, NumPy's and torch's global generators are seeded for the trial as well, and put back after it: a module
    initialised the usual way has the same weights each time.
    """

    @property
    def seed(self) -> int:
        """The trial's seed."""

    @property
    def device(self) -> Any:
        """The ``torch.device`` to compute on."""

    @property
    def generator(self) -> Any:
        """A ``torch.Generator`` on the CPU, seeded for this trial; the same in all cases of one seed."""

    @property
    def checkpoint(self) -> Path:
        """A file for a trial of more than a minute: what is written there is found again after a crash.

        As in ``training.Checkpoint(run.checkpoint, every_steps=500)``. It is removed when the trial is finished.
        """

    def shared(self, make: Callable[..., Mapping[str, Any]], **key: Value) -> Mapping[str, Any]:
        """Return ``make(**key)``, a step that several trials need: made once, then read from the store.

        ``make`` is a function of a module; it returns named arrays, tensors, numbers and text, and draws only from
        generators that it seeds itself from ``key``. What it returns comes back as NumPy arrays and plain scalars.
        """

    def progress(self, done: float) -> None:
        """Say which part of the trial is done, 0 to 1."""

    def log(self, message: str) -> None:
        """Keep a line of text with the trial's record."""


Trial = Callable[[Case, TrialRun], Returned]
Judge = Callable[["pd.DataFrame"], Sequence[Criterion]]
Draw = Callable[["pd.DataFrame"], "Figure"]


@dataclass(frozen=True, kw_only=True)
class Study:
    """One claim, and how it is put to the test.

    Attributes
    ----------
    claim
        What the literature says, as one sentence that can be true or false.
    source
        Key of its reference.
    topics
        What it is about; the first is its folder.
    rows
        Rows of the map that it demonstrates.
    trial
        ``trial(case, run)``: one case, one seed. Pure; returns named numbers (None where there is none, such as the
        step of something that never happened), text, and curves (arrays).
    judge
        ``judge(trials)``: the criteria, with at least one control. Pure. ``trials`` has one row per finished trial: the
        fields of the case, ``seed``, what the trial returned. Trials may be missing.
    draw
        ``draw(trials)``: the figure that shows it, from the same table.
    scales
        ``"smoke"``, ``"quick"`` and ``"full"``.
    defaults
        Fields that all cases share unless they say otherwise. A field added later with its default leaves the identity
        of earlier trials as it was.
    caption
        How to read the figure, in one or two sentences: what points, bars, bands and lines are.
    protocol
        What is done, in a few sentences for a reader who knows the field.
    timeout
        Wall-clock seconds after which a trial is stopped.

    Raises
    ------
    UsageError
        A part is missing or is not what it should be.
    """

    claim: str
    source: str
    topics: tuple[str, ...]
    rows: tuple[str, ...] = ()
    trial: Trial
    judge: Judge
    draw: Draw
    scales: Mapping[str, Grid]
    defaults: Mapping[str, Value] = field(default_factory=dict)
    protocol: str = ""
    caption: str = ""
    timeout: float = 3600.0

    def __post_init__(self) -> None:
        for name in ("claim", "source"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise UsageError("a study needs this as text", where=name, todo=f"Give Study(…, {name}=…).")
        for name in ("topics", "rows"):
            if isinstance(getattr(self, name), str):
                raise UsageError("is text, not a tuple of texts", where=name, todo=f'Write {name}=("…",).')
        if not self.topics:
            raise UsageError("a study needs a topic", where="topics", todo='Write topics=("…",).')
        for name in ("trial", "judge", "draw"):
            if not callable(getattr(self, name)):
                raise UsageError("a study needs this as a function", where=name, todo=f"Give Study(…, {name}=…).")
        if not self.scales or any(not isinstance(grid, Grid) for grid in self.scales.values()):
            raise UsageError("scales map names to Grids", where="scales", todo='Write {"quick": Grid(seeds=5, …), …}.')
        for name in self.scales:
            if name not in SCALES:
                raise UsageError("unknown scale", where=name, todo=nearest(name, SCALES))
        if not self.timeout > 0:
            raise UsageError(f"the time-out is {self.timeout} seconds", where="timeout", todo="Give one above 0.")
        Case(**self.defaults)

    def grid(self, scale: str) -> Grid:
        """Return the cases and seeds of a scale, every case with every field.

        Raises
        ------
        UsageError
            The study has no such scale.
        """
        if scale not in self.scales:
            raise UsageError("unknown scale", where=scale, todo=nearest(scale, self.scales))
        return self.scales[scale].with_defaults(self.defaults)


def per_seed(trials: pd.DataFrame, column: str, **case: Value) -> pd.Series[Any]:
    """Return one column of the trials of one case, by seed: what ``Criterion.effect`` takes.

    Differences and ratios of two such series pair their seeds.

    Parameters
    ----------
    trials
        What ``judge`` is given.
    column
        A number that the trials returned.
    **case
        Fields that pick the case out.

    Returns
    -------
    pandas.Series
        Indexed by seed, ascending; empty where no such trial is finished.

    Raises
    ------
    UsageError
        The fields leave more than one trial per seed.
    """
    import pandas as pd

    if trials.empty or column not in trials:
        return pd.Series([], index=pd.Index([], dtype=int, name="seed"), dtype=float, name=column)
    chosen = trials
    for name, value in case.items():
        # A field that no finished trial has picks none.
        chosen = chosen[chosen[name] == value] if name in chosen else chosen.iloc[:0]
    if chosen["seed"].duplicated().any():
        raise UsageError(
            "these fields leave several trials of one seed",
            where=" ".join(f"{name}={value}" for name, value in case.items()) or column,
            todo="Name more fields of the case.",
        )
    found = chosen.set_index("seed")[column].sort_index()
    return found.astype(float) if found.dtype != object or found.map(_is_number).all() else found


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, (int, float))
