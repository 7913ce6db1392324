"""What a study will run: its cases and seeds, as they stand in its file or as a reader has bent them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepscope.core import Case, Study, UsageError, Value, nearest
from deepscope.lab._identity import code_of, trial_identity
from deepscope.lab._task import StudyReference
from deepscope.studies import catalog, study_id

#: Trials that a protocol with another number of seeds may have: their plan is held in memory, and stays readable.
MOST_TRIALS = 100_000


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a protocol, and its identity."""

    case: Case
    seed: int
    identity: str
    code: str


@dataclass(frozen=True)
class Protocol:
    """A study at a scale.

    Attributes
    ----------
    reference, study, scale
        What is run.
    settings
        Fields that a reader has fixed.
    modified
        Whether its trials are others than the study's file says.
    trials
        Case by case, each with all its seeds.
    code
        Hash of what in code can change a trial's result.
    """

    reference: StudyReference
    study: Study
    scale: str
    settings: Mapping[str, Value]
    modified: bool
    trials: tuple[PlannedTrial, ...]
    code: str


def find_study(study: Study | str | Path) -> tuple[StudyReference, Study]:
    """Return a study, and how another process finds it.

    Parameters
    ----------
    study
        An id of the atlas, the path of a ``.py`` file, or a ``Study`` that stands in a file.

    Raises
    ------
    UsageError
        No such study or file, or a ``Study`` that was made in no file.
    DeepscopeError
        The file does not import.
    """
    if isinstance(study, Study):
        return _reference(_source_file(study)), study
    if isinstance(study, Path) or study.endswith(".py"):
        reference = _reference(Path(study).expanduser().resolve())
    else:
        reference = StudyReference(study)
    return reference, reference.load()


def _reference(path: Path) -> StudyReference:
    """Return where the study in a file is found.

    Raises
    ------
    UsageError
        It has the name of a study of the atlas: their results would stand under one name.
    """
    atlas = {heading.id: heading.path for heading in catalog()}
    name = study_id(path)
    if name in atlas and path != atlas[name].resolve():
        raise UsageError(
            "a study of the atlas has this name", where=str(path), todo="Rename the file; its name is the study's."
        )
    return StudyReference(name, None if name in atlas else path)


def _is_as_written(study: Study, reference: StudyReference) -> bool:
    """Whether a study is the one that its file holds, and not one that was put together from its parts."""
    written = reference.load()

    def parts(each: Study) -> list[object]:
        functions = [getattr(function, "__code__", function) for function in (each.trial, each.judge, each.draw)]
        return [*functions, each.claim, each.source, each.rows, each.defaults, each.scales]

    return parts(study) == parts(written)


def protocol_of(
    study: Study | str | Path, *, scale: str, settings: Mapping[str, Value] | None = None, seeds: int | None = None
) -> Protocol:
    """Work out a study's trials.

    Parameters
    ----------
    study
        As in ``find_study``.
    scale
        ``"smoke"``, ``"quick"`` or ``"full"``.
    settings
        Fields to fix in every case; text is read as the field's own kind of value.
    seeds
        Number of seeds, instead of the study's; at most so many that there are ``MOST_TRIALS`` trials.

    Raises
    ------
    UsageError
        Unknown study, scale or field, a value that does not fit, fewer seeds than 1 or too many.
    """
    reference, found = find_study(study)
    grid = found.grid(scale)
    fixed = {name: _value(name, value, grid.cases) for name, value in (settings or {}).items()}
    _check_seeds(seeds, len(grid.cases))
    bent = grid.bent(fixed, seeds)
    codes: dict[tuple[str, ...], str] = {}
    planned = []
    for case, seed in bent.trials():
        texts = tuple(sorted(value for value in case.values() if isinstance(value, str)))
        if texts not in codes:
            codes[texts] = code_of(found.trial, texts=texts)
        code = codes[texts]
        planned.append(PlannedTrial(case, seed, trial_identity(reference.id, code, case, found.defaults, seed), code))
    return Protocol(
        reference=reference,
        study=found,
        scale=scale,
        settings=fixed,
        modified=set(bent.trials()) != set(grid.trials())
        or (isinstance(study, Study) and not _is_as_written(found, reference)),
        trials=tuple(planned),
        code=code_of(found.trial),
    )


def _check_seeds(seeds: int | None, cases: int) -> None:
    if seeds is not None and seeds < 1:
        raise UsageError(f"{seeds} seeds", where="seeds", todo="Give at least 1; at least 3 give a verdict.")
    if seeds is not None and seeds * cases > MOST_TRIALS:
        raise UsageError(
            f"{seeds:,} seeds of {cases:,} cases are more than {MOST_TRIALS:,} trials",
            where="seeds",
            todo=f"Give at most {MOST_TRIALS // cases:,}.",
        )


def parse_settings(texts: Iterable[str]) -> dict[str, str]:
    """Read ``name=value`` settings.

    Raises
    ------
    UsageError
        One of them is not of this form, or names a field again.

    Examples
    --------
    >>> parse_settings(["width=512", "activation=tanh"])
    {'width': '512', 'activation': 'tanh'}
    """
    settings: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError("a setting is name=value", where=text, todo="Write it as: --set width=512")
        if name.strip() in settings:
            raise UsageError("a field is set twice", where=text, todo="Give each field one value.")
        settings[name.strip()] = value.strip()
    return settings


def _source_file(study: Study) -> Path:
    try:
        found = inspect.getsourcefile(study.trial)
    except TypeError:
        # A partial function, or an object that can be called.
        found = None
    if found is None or not Path(found).is_file():
        raise UsageError(
            "the study stands in no file",
            where=study.claim,
            todo="Write it into a .py file: workers import it from there.",
        )
    return Path(found).resolve()


def _value(name: str, value: Value, cases: Iterable[Case]) -> Value:
    """Return a setting as the kind of value that the field has in the study."""
    fields = {field: kept for case in cases for field, kept in case.items()}
    if name not in fields:
        raise UsageError("the study has no such field", where=name, todo=nearest(name, fields))
    kinds = {type(case[name]) for case in cases if name in case}
    if not isinstance(value, str):
        # A whole number given where the study has fractions is one of them.
        return float(value) if kinds == {float} and type(value) is int else value
    read = {"true": True, "false": False}.get(value.lower())
    if bool in kinds and read is not None:
        return read
    for kind in (int, float, str):
        if kind in kinds:
            try:
                return kind(value)
            except ValueError:
                continue
    example = next(case[name] for case in cases if name in case)
    raise UsageError(f"{value!r} does not fit", where=name, todo=f"Give a value like {example!r}.")


def fitting(record_case: Mapping[str, Value], case: Case) -> bool:
    """Whether a stored trial was made with the values that the case has now.

    Defaults are no part of an identity: one that has been changed since must not bring back what the old one gave.
    """
    return all(name in case and _same(case[name], value) for name, value in record_case.items())


def _same(a: Value, b: Value) -> bool:
    return type(a) is type(b) and a == b
