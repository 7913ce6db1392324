"""Files at hand, and files that are fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepscope.core import DataError
from deepscope.data._download import Progress, download
from deepscope.data._folders import home, is_offline, own_folder
from deepscope.data._source import RemoteFile, Source


@dataclass(frozen=True)
class Location:
    """Where the files of a dataset lie on this machine.

    Attributes
    ----------
    source
        The dataset.
    paths
        The path of each of its files, in their order; None for a file that is not here.
    searched
        The folders that were looked in, in this order.
    """

    source: Source
    paths: tuple[Path | None, ...]
    searched: tuple[Path, ...]

    @property
    def missing(self) -> tuple[RemoteFile, ...]:
        """The files that are not here."""
        return tuple(file for file, path in zip(self.source.files, self.paths, strict=True) if path is None)

    @property
    def why_not(self) -> str:
        """Why the dataset cannot be loaded without the network; ``""`` where it can."""
        if not self.missing:
            return ""
        names = ", ".join(file.path for file in self.missing)
        return f"no {names} in {' or '.join(map(str, self.searched))}"


def locate(source: Source) -> Location:
    """Look for a dataset's files, without reading them: first in ``DEEPSCOPE_DATA``, then in the cache."""
    folders = _folders()
    return Location(source, tuple(_first(file, folders) for file in source.files), folders)


def obtain(source: Source, *, offline: bool | None = None, progress: Progress | None = None) -> tuple[Path, ...]:
    """Return the paths of a dataset's files, each one proved; fetch into the cache what is missing there or broken.

    Raises
    ------
    DataError
        A file is missing and the network is closed; a file in ``DEEPSCOPE_DATA`` is not the right one; a file
        cannot be fetched, or what came is not the right one.
    """
    location = locate(source)
    closed = is_offline(offline)
    if location.missing and closed:
        raise DataError(
            f"{source.name} is not on this machine, and the network is closed (offline)",
            where=location.why_not,
            todo=f'Set DEEPSCOPE_DATA to a folder that has it, or run "deepscope data fetch {source.name}" online.',
        )
    return tuple(
        _obtain_file(file, path, closed, progress) for file, path in zip(source.files, location.paths, strict=True)
    )


def _obtain_file(file: RemoteFile, path: Path | None, closed: bool, progress: Progress | None) -> Path:
    if path is not None:
        try:
            file.prove(path)
        except DataError:
            own = own_folder()
            # What the user's own folder holds is never overwritten; a broken file of the cache is fetched again.
            if closed or (own is not None and path == own / file.path):
                raise
        else:
            return path
    target = home() / file.path
    download(file, target, scratch=home(), progress=progress)
    return target


def _first(file: RemoteFile, folders: tuple[Path, ...]) -> Path | None:
    return next((path for folder in folders if (path := folder / file.path).is_file()), None)


def _folders() -> tuple[Path, ...]:
    own = own_folder()
    return (home(),) if own is None else (own, home())
