"""A checkpoint larger than what measuring it may take: each tensor read once, memory by the largest, over processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from same_readings import check_same_readings
from tensor_meter import BOTH, Metered

from deepscope import examine
from deepscope.lab._choose_executor import choose_executor
from deepscope.lab._tensor_pass import measure_tensors
from deepscope.subject import Subject

pytestmark = pytest.mark.verify

SHARDS, TENSORS = 5, 200
#: 10.5 MB each in float32, 2.1 GB in all; of few rows, so that eigenvalues take a minute and not ten.
SHAPE = (256, 10_240)
#: Matrices of the checkpoint whose examination is killed: some ten seconds of work, of which two are not kept.
SLOW = 60


def write_shards(folder: Path, shards: int, tensors: int, shape: tuple[int, int]) -> int:
    """Write a checkpoint in several files with its index, and return the bytes of its tensors."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    places, total = {}, 0
    for shard in range(shards):
        name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        numbers = range(shard * tensors // shards, (shard + 1) * tensors // shards)
        held = {f"h.{number}.weight": rng.standard_normal(shape, dtype=np.float32) for number in numbers}
        save_file(held, folder / name)
        places |= dict.fromkeys(held, name)
        total += sum(each.nbytes for each in held.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return total


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    folder = tmp_path_factory.mktemp("large") / "checkpoint"
    yield folder, write_shards(folder, SHARDS, TENSORS, SHAPE)
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts what the Linux kernel counts")
def test_two_workers_read_each_tensor_once_and_hold_the_largest(large: tuple[Path, int]) -> None:
    folder, total = large
    assert total > 2e9
    steps = {
        "spectrum": partial(BOTH[0].per_weight.step, seed=0),
        "meter": BOTH[1].per_weight.step,
    }
    results = measure_tensors(
        Subject.from_checkpoint(folder), steps, choose_executor("pool", 2, None), None, lambda *_: None
    )
    assert [result.lost or result.errors for result in results] == [{}] * TENSORS
    by_process: dict[int, list[Metered]] = defaultdict(list)
    for result in results:
        (metered,) = result.records["meter"]
        by_process[metered.pid].append(metered)
    assert len(by_process) == 2
    limit = 3 * 8 * SHAPE[0] * SHAPE[1] + 100e6
    for its in by_process.values():
        its.sort(key=lambda each: each.bytes_read)
        assert 1024 * max(each.extra_kilobytes for each in its) <= limit
        # Counted from the first tensor, whose process has imported what it needs; handles and headers are small.
        read = its[-1].bytes_read - its[0].bytes_read
        held = sum(each.nbytes for each in its[1:])
        assert held <= read <= 1.01 * held
        assert len(its) >= TENSORS // 4


def examined(path: Path, home: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deepscope", "examine", str(path), "--instruments", "anatomy,spectrum", "--json"]
    environment = {**os.environ, "DEEPSCOPE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def numbers(out: str) -> dict[str, Any]:
    """What must not depend on how the examination went."""
    record = json.loads(out)
    assert record["failed"] == []
    return {name: {**reading, "cost": None} for name, reading in record["readings"].items()} | {
        "findings": record["findings"]
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "checkpoint"
    write_shards(folder, 2, SLOW, (700, 900))
    return folder


def test_killed_examinations_go_on_and_end_alike(small: Path, tmp_path: Path) -> None:
    whole, _ = examined(small, tmp_path / "one").communicate()
    home = tmp_path / "two"
    grown = [0]
    for options in ((), ("--workers", "2"), (), ("--workers", "2")):
        process = examined(small, home, *options)
        while lines(home) <= grown[-1] and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        grown.append(lines(home))
    # Each got further, none to the end: the kills were of use, and nothing that was stored was lost.
    assert grown == sorted(set(grown))
    assert grown[-1] < SLOW
    out, err = examined(small, home, "--workers", "2").communicate()
    assert f"{grown[-1]} tensors were measured before" in err
    assert numbers(out) == numbers(whole)
    assert list((home / "tensors").iterdir()) == []


def lines(home: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (home / "tensors").glob("*.jsonl"))


def test_an_interrupt_says_how_to_go_on(small: Path, tmp_path: Path) -> None:
    process = examined(small, tmp_path, "--workers", "2")
    while not lines(tmp_path):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert "tensors that were measured are kept: the same command goes on" in err


def test_a_cluster_gives_the_same_numbers(small: Path) -> None:
    ray = pytest.importorskip("ray")
    here = examine(small, instruments=["anatomy", "spectrum"])
    try:
        there = examine(small, instruments=["anatomy", "spectrum"], executor="ray")
    finally:
        ray.shutdown()
    assert there.not_run == ()
    check_same_readings(here, there)
