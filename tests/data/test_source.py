from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from deepscope.core import DataError
from deepscope.data import RemoteFile

CONTENT = b"the right bytes"
SHA = hashlib.sha256(CONTENT).hexdigest()


def remote(**changes) -> RemoteFile:
    return RemoteFile(**{"path": "set/file.bin", "url": "http://127.0.0.1/file.bin", "sha256": SHA} | changes)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "file.bin"
    path.write_bytes(content)
    return path


def test_the_right_file_has_no_fault(tmp_path):
    assert remote().fault(write(tmp_path, CONTENT)) == ""


def test_a_wrong_file_is_told_with_both_checksums(tmp_path):
    fault = remote().fault(write(tmp_path, b"other"))
    assert SHA in fault
    assert hashlib.sha256(b"other").hexdigest() in fault


@pytest.mark.parametrize("level", [0, 9])
def test_gzipped_files_are_judged_by_what_is_in_them(tmp_path, level):
    assert remote(gzipped=True).fault(write(tmp_path, gzip.compress(CONTENT, level, mtime=0))) == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT, "not a gzip file"),
        (gzip.compress(CONTENT, mtime=0)[:-9], "broken or incomplete"),
        (gzip.compress(b"other", mtime=0), "of the unpacked bytes is"),
        (gzip.compress(CONTENT, mtime=0)[:10] + b"\xff" * 20, "broken or incomplete"),
    ],
)
def test_damaged_gzip_files_are_found(tmp_path, content, message):
    assert message in remote(gzipped=True).fault(write(tmp_path, content))


def test_another_file_is_right_where_the_judge_finds_nothing(tmp_path):
    path = write(tmp_path, b"other")
    assert remote(judge=lambda _: "").fault(path) == ""
    assert remote(judge=lambda _: "it has 3 rows").fault(path).endswith("and it has 3 rows")


def test_the_judge_is_not_asked_about_the_known_file(tmp_path):
    assert remote(judge=lambda _: pytest.fail("asked")).fault(write(tmp_path, CONTENT)) == ""


def test_proof_is_remembered_until_the_file_changes(tmp_path):
    path = write(tmp_path, CONTENT)
    asked = []
    file = remote(sha256="0" * 64, judge=lambda _: asked.append(1) or "")
    file.prove(path)
    file.prove(path)
    assert len(asked) == 1
    os.utime(path, ns=(1, 1))
    file.prove(path)
    assert len(asked) == 2


def test_a_fault_is_not_remembered(tmp_path):
    path = write(tmp_path, b"other")
    os.utime(path, ns=(1, 1))
    verdicts = iter(["bad", ""])
    file = remote(judge=lambda _: next(verdicts))
    with pytest.raises(DataError, match="bad"):
        file.prove(path)
    file.prove(path)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        remote().prove(tmp_path / "gone")
    assert "cannot be read" in remote().fault(tmp_path / "gone")
