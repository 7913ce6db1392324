"""Watched trainings on real data: the promised share of time is kept, and a kill loses nothing that was seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import deepscope
from deepscope import data
from deepscope.lab import Watched, find_run, runs
from deepscope.models import LeNet
from deepscope.training import fit

pytestmark = pytest.mark.verify

KILLED = Path(__file__).with_name("watched_training.py")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def mnist() -> data.Dataset:
    found = data.locate(data.find("mnist"))
    if found.missing:
        pytest.skip(found.why_not)
    return data.load("mnist")


def trained(mnist: data.Dataset, watched: Any = None) -> tuple[dict[str, torch.Tensor], Any, float]:
    """Train LeNet-5 for an epoch of MNIST; return its weights, what was seen, and the seconds it took."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = LeNet(activation="relu")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    probe = [next(iter(mnist.train.batches(64)))]
    callbacks = [] if watched is None else [deepscope.watch(model, probe, mnist.loss, batch_size=64, **watched)]
    before = time.perf_counter()
    try:
        fit(model, mnist.train.epochs(64, seed=0), mnist.loss, optimizer=optimizer, epochs=1, callbacks=callbacks)
    finally:
        torch.set_num_threads(threads)
    seconds = time.perf_counter() - before
    return model.state_dict(), callbacks[0].result if callbacks else None, seconds


@pytest.mark.parametrize("overhead", [0.3, 1.0])
def test_the_promised_share_is_kept_on_mnist(mnist: data.Dataset, overhead: float) -> None:
    """No probe is begun that is not paid for: each measurement's row says when, and what all before it took."""
    _, result, seconds = trained(mnist, {"every": 20, "overhead": overhead})
    table, cost = result.table, result.record["cost"]
    assert [entry.name for entry in result.left_out] == []
    took, at = table["measuring_seconds"], table["training_seconds"]
    assert len(table) >= (2 if overhead < 1 else 4)
    for place in range(1, len(table)):
        # Before it began: all that had been spent, and as much again as the last one took, within the promise. What a
        # probe takes is less than the measurement, which is stored and drawn as well.
        expected = 0.9 * took[place - 1]
        assert took[:place].sum() + expected <= overhead * at[place], (place, table)
    surprise = max(took[0], *(took[1:].to_numpy() - 0.9 * took[:-1].to_numpy()))
    assert cost["measuring_seconds"] <= overhead * cost["training_seconds"] + surprise
    # Both together are the time that it really took, but for opening the run and drawing the figure.
    assert cost["measuring_seconds"] + cost["training_seconds"] <= seconds
    assert (table["step"] % 20 == 0).all()


def test_watching_changes_nothing_on_mnist(mnist: data.Dataset) -> None:
    plain, _, _ = trained(mnist)
    watched, result, _ = trained(mnist, {"every": 50, "overhead": 1.0})
    assert len(result.table) >= 3
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


def test_a_training_that_is_killed_leaves_a_readable_run(tmp_path: Path) -> None:
    for kill in range(6):
        process = subprocess.Popen([sys.executable, str(KILLED)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        # The script says each step that has been told to the watch.
        said = [process.stdout.readline() for _ in range(3 + 7 * kill)]
        time.sleep(0.003 * kill)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        steps = [int(line) for line in [*said, *rest.splitlines()] if line.strip()]
        run = find_run("last")
        assert (run.kind, run.finished) == ("watch", False)
        _, bad = run.points()
        assert bad == 0
        record = run.record()
        # Whatever had been told is there, but for the steps of a window that has not ended: every second step is due.
        last = record["steps"]
        assert last in (steps[-1] - steps[-1] % 2, steps[-1] + steps[-1] % 2, steps[-1] + 2)
        measured = [row["step"] for row in record["table"]]
        assert measured == list(range(0, measured[-1] + 1, 2))
        assert [row["step"] for row in record["training"]] == list(range(2, last + 1, 2))
        # The window of a step is written before its measurement.
        assert measured[-1] in (last, last - 2)
        Watched(record).save(tmp_path / "killed.html")
        assert "it has not ended" in (tmp_path / "killed.html").read_text()
        shown = subprocess.run(
            [sys.executable, "-m", "deepscope", "runs", "show", run.id, "--json"], capture_output=True, check=False
        )
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout) == record
    assert len(runs()[0]) == 6


def test_an_interrupt_from_the_keyboard_ends_it_as_without() -> None:
    process = subprocess.Popen(
        [sys.executable, str(KILLED)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    for _ in range(10):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    # Python's own way of ending by an interrupt.
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    run = find_run("last")
    assert run.finished
    assert run.record()["error"] == "KeyboardInterrupt"
