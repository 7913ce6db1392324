"""The repository that deepscope's source stands in: where its records and its tests are."""

from __future__ import annotations

from pathlib import Path

from deepscope.core import UsageError

_SOURCE = Path(__file__).parents[1]


def repository() -> Path:
    """Return the root of the repository that this deepscope is run from.

    Raises
    ------
    UsageError
        deepscope was installed without it.
    """
    root = _SOURCE.parents[1]
    if not (root / "pyproject.toml").is_file() or not (root / "tests").is_dir():
        raise UsageError(
            "the atlas needs deepscope's repository",
            where=str(_SOURCE),
            todo="Clone the repository and install it with: pip install --editable .",
        )
    return root


def records_folder() -> Path:
    """Return the folder of recorded verdicts, the repository's ``atlas/``; it may not exist yet.

    Raises
    ------
    UsageError
        As ``repository``.
    """
    return repository() / "atlas"


def in_repository(path: Path) -> str:
    """Return a file's path from the root of the repository, or all of it where it lies elsewhere."""
    root = _SOURCE.parents[1]
    return path.relative_to(root).as_posix() if root in path.parents else str(path)
