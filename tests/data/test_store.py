from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from deepscope.core import DataError, UsageError
from deepscope.data import Dataset, RemoteFile, Samples, Source, fetch, home, load, locate, verify
from deepscope.data._folders import is_offline

A, B = b"first file", b"second file"


def _load(paths: tuple[Path, ...], *, scale: int = 1) -> Dataset:
    samples = Samples(torch.full((2, 1), float(scale)), torch.zeros(2))
    return Dataset("fake", samples, samples, classes=tuple(map(str, paths)), loss=functional.mse_loss)


def _file(name: str, content: bytes) -> RemoteFile:
    # Port 9 of this machine: nothing answers there.
    sha256 = hashlib.sha256(content).hexdigest()
    return RemoteFile(path=f"fake/{name}", url=f"http://127.0.0.1:9/{name}", sha256=sha256)


FAKE = Source(name="fake", title="a fake", licence="none", load=_load, files=(_file("a", A), _file("b", B)))


@pytest.fixture(autouse=True)
def only_the_fake(monkeypatch):
    monkeypatch.setattr("deepscope.data._catalog.catalog", lambda: (FAKE,))


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / "fake" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_own_folder_comes_before_the_cache_file_by_file(folders, no_network):
    own, _, cached = put(folders.own, "a", A), put(folders.cache, "a", A), put(folders.cache, "b", B)
    assert locate(FAKE).paths == (own, cached)
    assert locate(FAKE).why_not == ""
    fake = load("fake")
    assert fake.classes == (str(own), str(cached))
    assert (fake.train.name, fake.test.batches().name) == ("fake (train)", "fake (test)")


def test_the_cache_alone_is_enough(folders, no_network, monkeypatch):
    monkeypatch.delenv("DEEPSCOPE_DATA")
    paths = (put(folders.cache, "a", A), put(folders.cache, "b", B))
    assert fetch("fake") == paths
    assert locate(FAKE).searched == (folders.cache,)


def test_what_is_missing_is_named_with_where_it_was_looked_for(folders):
    put(folders.own, "a", A)
    location = locate(FAKE)
    assert [file.path for file in location.missing] == ["fake/b"]
    assert location.why_not == f"no fake/b in {folders.own} or {folders.cache}"


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_offline_never_opens_a_socket_and_says_what_to_do(folders, no_network, monkeypatch, way):
    if way == "environment":
        monkeypatch.setenv("DEEPSCOPE_OFFLINE", "1")
    with pytest.raises(DataError) as caught:
        load("fake", offline=True if way == "argument" else None)
    text = str(caught.value)
    assert str(folders.own) in text
    assert str(folders.cache) in text
    assert "DEEPSCOPE_DATA" in text
    assert text.count("\n") <= 2


def test_online_without_an_answer_is_a_data_error_that_leaves_nothing(folders):
    with pytest.raises(DataError, match="fake/a could not be fetched"):
        load("fake", offline=False)
    assert list(folders.cache.rglob("*")) == []


def test_a_corrupt_file_in_the_own_folder_is_refused_and_kept(folders, no_network):
    bad = put(folders.own, "a", b"changed")
    put(folders.own, "b", B)
    put(folders.cache, "a", A)
    with pytest.raises(DataError) as caught:
        load("fake")
    text = str(caught.value)
    assert str(bad) in text
    assert hashlib.sha256(A).hexdigest() in text
    assert hashlib.sha256(b"changed").hexdigest() in text
    assert bad.read_bytes() == b"changed"


def test_a_corrupt_file_is_kept_also_where_the_own_folder_is_the_cache(folders, no_network, monkeypatch):
    monkeypatch.setenv("DEEPSCOPE_DATA", str(folders.cache))
    put(folders.cache, "a", b"changed")
    put(folders.cache, "b", B)
    with pytest.raises(DataError, match="not what it should be"):
        load("fake")


def test_a_corrupt_file_in_the_cache_is_refused_offline(folders, no_network):
    put(folders.cache, "a", b"changed")
    put(folders.cache, "b", B)
    with pytest.raises(DataError, match="not what it should be"):
        load("fake", offline=True)


def test_verify_tells_right_wrong_and_missing_apart(folders, no_network):
    put(folders.own, "a", A)
    right, missing = verify("fake")
    assert (right.status, right.path, right.detail) == ("right", folders.own / "fake" / "a", "")
    assert (missing.file, missing.status, missing.path) == ("fake/b", "missing", None)
    assert str(folders.cache) in missing.detail
    put(folders.own, "b", b"changed")
    wrong = verify("fake")[1]
    assert wrong.status == "wrong"
    assert FAKE.files[1].sha256 in wrong.detail


def test_unknown_names_and_options_get_a_suggestion(folders):
    with pytest.raises(UsageError, match='Did you mean "fake"'):
        load("fakes")
    put(folders.own, "a", A)
    put(folders.own, "b", B)
    assert load("fake", scale=3).train.inputs.unique().tolist() == [3]
    with pytest.raises(UsageError, match='Did you mean "scale"'):
        load("fake", scael=3)


def test_home_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path))
    assert home() == tmp_path / "data"
    monkeypatch.setenv("DEEPSCOPE_HOME", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert home().name == "data"
    assert home().parent.name == "deepscope"


@pytest.mark.parametrize(
    ("argument", "variable", "closed"),
    [(None, "", False), (None, "0", False), (None, "no", False), (None, "1", True), (None, "True", True),
     (True, "0", True), (False, "1", False)],
)  # fmt: skip
def test_the_argument_comes_before_the_environment(monkeypatch, argument, variable, closed):
    monkeypatch.setenv("DEEPSCOPE_OFFLINE", variable)
    assert is_offline(argument) is closed
