"""Steps that several trials share: made once, read from the store, keyed by code and arguments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deepscope.core import MeasurementError, UsageError
from deepscope.lab._shared import shared

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    CALLS.clear()
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make(width: int = 1, name: str = "") -> dict[str, object]:
    CALLS.append(f"{width}{name}")
    return {"weights": torch.randn(width, 2), "mask": np.array([True, False]), "steps": 3, "loss": 0.5, "none": None}


def make_nonsense() -> object:
    return [1, 2]


def test_it_is_made_once_and_comes_back_as_arrays_and_scalars() -> None:
    first, again = shared(make, width=3), shared(make, width=3)
    assert CALLS == ["3"]
    assert isinstance(first["weights"], np.ndarray)
    assert first["weights"].shape == (3, 2)
    assert (first["steps"], first["loss"], first["none"]) == (3, 0.5, None)
    assert list(first) == list(again) == ["weights", "mask", "steps", "loss", "none"]
    assert np.array_equal(first["weights"], again["weights"])
    assert first["mask"].dtype == bool


def test_other_arguments_make_another() -> None:
    kept = [shared(make, width=1), shared(make, width=2), shared(make, width=1, name="a")]
    assert CALLS == ["1", "2", "1a"]
    assert not np.array_equal(kept[0]["weights"], kept[2]["weights"])


def test_what_it_draws_depends_on_nothing_but_its_key(own_home: Path) -> None:
    torch.manual_seed(1)
    first = shared(make, width=4)["weights"]
    for file in (own_home / "shared").glob("*.npz"):
        file.unlink()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert np.array_equal(shared(make, width=4)["weights"], first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "directory"])
def test_a_damaged_file_is_made_again(own_home: Path, damage: str) -> None:
    first = shared(make, width=5)["weights"]
    (file,) = (own_home / "shared").glob("*.npz")
    content = bytearray(file.read_bytes())
    # In the directory at a zip file's end, a flag that says "encrypted".
    flag = content.rindex(b"PK\x01\x02") + 8
    content[flag] ^= 1
    damaged = {"cut": content[:-30], "garbage": b"garbage", "empty": b"", "directory": content}[damage]
    file.write_bytes(damaged)
    assert np.array_equal(shared(make, width=5)["weights"], first)
    assert CALLS == ["5", "5"]


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(MeasurementError, match="not named values"):
        shared(make_nonsense)
    with pytest.raises(UsageError, match="cannot be part of a shared step's key"):
        shared(make, width=np.int64(3))


STEP = """
import os, sys, time
from pathlib import Path
def make(width):
    with open(os.environ["COUNTED"], "a") as file:
        file.write("made\\n")
    time.sleep(0.5)
    return {"width": width}
"""


def test_processes_that_ask_at_once_wait_for_one(tmp_path: Path, own_home: Path) -> None:
    (tmp_path / "step.py").write_text(STEP)
    code = "from step import make; from deepscope.lab._shared import shared; print(shared(make, width=7)['width'])"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "COUNTED": str(tmp_path / "counted"), "PYTHONPATH": str(tmp_path)},
        )
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in both] == ["7", "7"]
    assert (tmp_path / "counted").read_text() == "made\n"


def test_an_edited_step_is_made_again(tmp_path: Path) -> None:
    code = "from step import make; from deepscope.lab._shared import shared; print(shared(make, width=7)['width'])"
    found = []
    for text in (STEP, STEP.replace('"width": width', '"width": width + 1')):
        (tmp_path / "step.py").write_text(text)
        environment = {**os.environ, "COUNTED": str(tmp_path / "c"), "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-B", "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found.append(done.stdout.strip())
    assert found == ["7", "8"]
