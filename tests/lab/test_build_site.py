"""Writing the site: all of it, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepscope.core import UsageError
from deepscope.lab import _build_atlas, build_site, check_empty

PAGES = {"index.html": "gallery", "map.html": "map", "studies/one.html": "α", "instruments/two.html": "two"}


@pytest.fixture(autouse=True)
def pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_build_atlas, "atlas_site", lambda _: iter(PAGES.items()))


def written(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_empty_or_not_there(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "site"
    if there:
        out.mkdir()
    assert build_site({}, out) == out / "index.html"
    assert written(out) == PAGES
    assert {path.name for path in out.iterdir()} == {"index.html", "map.html", "studies", "instruments"}
    assert {path.name for path in tmp_path.iterdir()} == {"site"}


def test_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    build_site({}, Path())
    assert written(tmp_path) == PAGES


def not_empty(out: Path) -> None:
    out.mkdir()
    (out / ".kept").touch()


def a_file(out: Path) -> None:
    out.touch()


def not_writable(out: Path) -> None:
    out.mkdir()


def without_a_place(out: Path) -> None:
    out.parent.rmdir()


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (not_empty, "the folder is not empty"),
        (a_file, "this cannot be a folder"),
        (without_a_place, "this cannot be a folder"),
        (not_writable, "the folder is not writable"),
    ],
)
def test_what_is_refused_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Any, said: str
) -> None:
    out = tmp_path / "place" / "site"
    out.parent.mkdir()
    prepare(out)
    if prepare is not_writable:
        # Root, who runs tests in containers, may write everywhere.
        monkeypatch.setattr(os, "access", lambda *_: False)
    before = sorted(tmp_path.rglob("*"))
    for refuse in (lambda: check_empty(out), lambda: build_site({}, out)):
        with pytest.raises(UsageError, match=said) as caught:
            refuse()
        assert caught.value.where == str(out)
        assert caught.value.todo
    assert sorted(tmp_path.rglob("*")) == before


def broken(error: BaseException) -> Iterator[tuple[str, str]]:
    yield "index.html", "gallery"
    yield "studies/one.html", "one"
    raise error


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("x"), OSError(28, "No space left on device")])
def test_nothing_is_left_of_what_did_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, there: bool
) -> None:
    monkeypatch.setattr(_build_atlas, "atlas_site", lambda _: broken(error))
    out = tmp_path / "site"
    if there:
        out.mkdir()
    expected = UsageError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        build_site({}, out)
    assert list(tmp_path.rglob("*")) == ([out] if there else [])


def test_nothing_is_left_where_the_last_page_cannot_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "index.html":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(UsageError, match="Input/output error"):
        build_site({}, tmp_path / "site")
    assert list(tmp_path.iterdir()) == []
