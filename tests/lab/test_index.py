"""The index: it speeds up, and is never believed against the files."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from deepscope.lab import _index, _runs, find_run, open_run, runs, runs_folder


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home of α & 'others'?#%20"))


def store(*names: str) -> None:
    for name in names:
        with open_run("study", name, {}) as run:
            run.close(f"{name} is done", {}, {})


def index() -> Path:
    return runs_folder() / _index.NAME


def directly() -> object:
    """List without the index: it is put aside for the moment."""
    aside = index().rename(index().with_suffix(".aside")) if index().exists() else None
    try:
        return runs()
    finally:
        if index().exists():
            index().unlink()
        if aside is not None:
            aside.rename(index())


def head_of(place: int) -> Path:
    return runs()[0][place].path / "run.json"


def add() -> None:
    store("another")


def remove() -> None:
    path = head_of(1).parent
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


def edit() -> None:
    said = json.loads(head_of(1).read_text())
    head_of(1).write_text(json.dumps({**said, "outcome": "something else altogether"}))


def replace_with_one_of_the_same_size_and_date() -> None:
    file = head_of(1)
    before = file.stat()
    other = file.with_name("other")
    other.write_text(file.read_text().replace("b is done", "b is gone"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def damage() -> None:
    head_of(1).write_text("{")


def empty() -> None:
    head_of(1).write_text("")


def newer() -> None:
    head_of(1).write_text(json.dumps({"layout": 99}))


def not_text() -> None:
    said = json.loads(head_of(1).read_text())
    head_of(1).write_text(json.dumps({**said, "outcome": 3}))


def lose() -> None:
    head_of(1).unlink()


def rename() -> None:
    path = head_of(1).parent
    path.rename(path.with_name("renamed"))


def stray() -> None:
    (runs_folder() / "a file").touch()
    (runs_folder() / ".hidden").mkdir()


def strange_text() -> None:
    said = json.loads(head_of(1).read_text())
    head_of(1).write_text(json.dumps({**said, "outcome": "\ud800 is no Unicode"}))


CHANGES = [
    add, remove, edit, replace_with_one_of_the_same_size_and_date, damage, empty, newer, not_text, lose, rename, stray,
    strange_text,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_index_says_what_the_files_say_after_every_change(change: Callable[[], None]) -> None:
    store("a", "b", "c")
    before = runs()
    change()
    after = directly()
    assert runs() == after
    assert runs() == after
    assert (after == before) == (change is stray)


def test_only_what_changed_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store("a", "b", "c")
    opened: list[str] = []
    real = _runs.read_head
    monkeypatch.setattr(_runs, "read_head", lambda path: opened.append(path.name) or real(path))
    listed, _ = runs()
    assert len(opened) == 3
    assert runs()[0] == listed
    assert len(opened) == 3
    edit()
    runs()
    assert opened[3:] == [listed[1].id]


def test_the_index_itself_is_used_and_not_only_written() -> None:
    store("a")
    runs()
    with sqlite3.connect(index()) as cache:
        cache.execute("UPDATE heads SET outcome = 'from the index'")
    cache.close()
    assert find_run("last").outcome == "from the index"


def missing() -> None:
    index().unlink()


def no_database() -> None:
    index().write_bytes(b"this is no database, however long it may be" * 100)


def truncated() -> None:
    index().write_bytes(index().read_bytes()[:5000])


def no_bytes() -> None:
    index().write_bytes(b"")


def of_another_version() -> None:
    with sqlite3.connect(index()) as cache:
        cache.execute("PRAGMA user_version = 99")
        cache.execute("UPDATE heads SET outcome = 'wrong'")
    cache.close()


def of_another_form() -> None:
    with sqlite3.connect(index()) as cache:
        cache.execute("ALTER TABLE heads RENAME TO tails")
    cache.close()


def a_link_to_nothing() -> None:
    index().unlink()
    index().symlink_to("nowhere")


def a_link_to_itself() -> None:
    index().unlink()
    index().symlink_to(index().name)


FAULTS = [
    missing, no_database, truncated, no_bytes, of_another_version, of_another_form, a_link_to_nothing,
    a_link_to_itself,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_an_index_that_cannot_be_used_is_done_without_and_made_anew(fault: Callable[[], None]) -> None:
    store(*"abcdefgh" * 8)
    expected = runs()
    fault()
    assert runs() == expected
    assert runs() == expected
    assert len(_index.load(runs_folder())) == 64


def test_an_index_that_others_hold_locked_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    store("a", "b")
    expected = runs()
    opened: list[str] = []
    real = _runs.read_head
    monkeypatch.setattr(_runs, "read_head", lambda path: opened.append(path.name) or real(path))
    holder = sqlite3.connect(index(), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert runs() == expected
        assert opened == []
        store("c")
        assert [run.name for run in runs()[0]] == ["c", "b", "a"]
    finally:
        holder.close()
    assert [run.name for run in runs()[0]] == ["c", "b", "a"]
    assert len(opened) == 1


def test_a_store_that_cannot_be_written_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    store("a", "b")

    def read_only(*arguments: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(_index, "write_atomically", read_only)
    assert [run.name for run in runs()[0]] == ["b", "a"]
    assert not index().exists()


def test_listing_an_empty_or_missing_store_writes_nothing() -> None:
    assert runs() == ([], [])
    assert not runs_folder().exists()
    runs_folder().mkdir(parents=True)
    assert runs() == ([], [])
    assert list(runs_folder().iterdir()) == []


def test_the_index_is_as_readable_as_other_files() -> None:
    store("a")
    runs()
    assert stat.S_IMODE(index().stat().st_mode) == stat.S_IMODE((runs()[0][0].path / "run.json").stat().st_mode)
