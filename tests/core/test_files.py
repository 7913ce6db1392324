"""Files are there whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from deepscope.core import write_atomically


def names(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(("content", "bytes_"), [("é\n", b"\xc3\xa9\n"), (b"\x00\r\n", b"\x00\r\n"), ("", b"")])
def test_the_content_is_written_as_it_is(tmp_path, content, bytes_):
    assert write_atomically(tmp_path / "a", content) == tmp_path / "a"
    assert (tmp_path / "a").read_bytes() == bytes_
    assert names(tmp_path) == ["a"]


def full_disk(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(*_args, **_kwargs):
    raise KeyboardInterrupt


@pytest.mark.parametrize("failure", [full_disk, interrupted])
@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (Path, "chmod"), (Path, "replace")])
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_failure_at_any_step_leaves_what_was_there(tmp_path, monkeypatch, failure, owner, step, before):
    target = tmp_path / "report.html"
    if before is not None:
        target.write_bytes(before)
    monkeypatch.setattr(owner, step, failure)
    with pytest.raises((OSError, KeyboardInterrupt)) as caught:
        write_atomically(target, "new" * 100_000)
    monkeypatch.undo()
    if failure is full_disk:
        assert caught.value.errno == errno.ENOSPC
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if before is None else [before])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_disk_that_is_full_while_writing_leaves_nothing(tmp_path, monkeypatch):
    real = os.fdopen

    def onto_a_full_disk(handle, mode):
        os.close(handle)
        return real(os.open("/dev/full", os.O_WRONLY), mode)

    monkeypatch.setattr(os, "fdopen", onto_a_full_disk)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write_atomically(tmp_path / "a", "x" * 100_000)
    assert names(tmp_path) == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_it_has_the_mode_of_an_ordinary_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a", "x")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


def test_a_missing_folder_or_a_folder_in_its_place_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no" / "a", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path / "folder", "x")
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("name", ["x" * 250, "é" * 125])
def test_a_name_as_long_as_the_system_allows(tmp_path, name):
    write_atomically(tmp_path / name, "x")
    assert names(tmp_path) == [name]
