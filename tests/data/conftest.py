"""Folders that stand in for the user's, and the real files where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from deepscope.data import Dataset, fetch, find, load, locate

# Read before any test bends the environment.
REAL = os.environ.get("DEEPSCOPE_DATA", "")


class Folders(NamedTuple):
    own: Path
    cache: Path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """An empty DEEPSCOPE_DATA and an empty cache."""
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("DEEPSCOPE_DATA", str(own))
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DEEPSCOPE_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Folders(own, tmp_path / "home" / "data")


@pytest.fixture
def real_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], tuple[Path, ...]]:
    """Find a dataset's real files in DEEPSCOPE_DATA, or skip."""

    def paths(name: str) -> tuple[Path, ...]:
        if not REAL:
            pytest.skip("DEEPSCOPE_DATA is not set")
        monkeypatch.setenv("DEEPSCOPE_DATA", REAL)
        monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path))
        if why := locate(find(name)).why_not:
            pytest.skip(why)
        return fetch(name, offline=True)

    return paths


@pytest.fixture
def real(real_files: Callable[[str], tuple[Path, ...]]) -> Callable[[str], Dataset]:
    """Load a dataset from its real files, or skip."""

    def dataset(name: str) -> Dataset:
        real_files(name)
        return load(name, offline=True)

    return dataset


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail on any attempt to use the network."""

    def refuse(*_args: object, **_options: object) -> None:
        pytest.fail("the network was touched")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(f"socket.{name}", refuse)
