"""What one trial does to its process is not felt by the next, nor by the caller."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from deepscope.lab import run_study
from deepscope.lab._limits import same_conditions

CHANGES: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "threads": (lambda: torch.set_num_threads(2), torch.get_num_threads),
    "dtype": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "device": (lambda: torch.set_default_device("meta"), torch.get_default_device),
    "precision": (lambda: torch.set_float32_matmul_precision("medium"), torch.get_float32_matmul_precision),
    "denormals": (lambda: torch.set_flush_denormal(True), lambda: bool(np.float32(1e-39) * np.float32(0.5))),
    "cudnn": (lambda: setattr(torch.backends.cudnn, "benchmark", True), lambda: torch.backends.cudnn.benchmark),
    "mkldnn": (lambda: setattr(torch.backends.mkldnn, "enabled", False), lambda: torch.backends.mkldnn.enabled),
    "environment": (lambda: os.environ.update(DEEPSCOPE_TEST="1"), lambda: os.environ.get("DEEPSCOPE_TEST")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_trial_sets_is_put_back_and_what_the_caller_set_is_not_felt(name: str) -> None:
    change, get = CHANGES[name]
    with same_conditions():
        fresh = get()
    with same_conditions():
        before = get()
        change()
        assert get() != before
        with same_conditions():
            assert get() == fresh or name in ("environment",)
        # The caller of the inner trial has its own setting again.
        assert get() != before
    with same_conditions():
        assert get() == fresh


def test_mkl_computes_with_one_thread_again() -> None:
    """Its threads are not those of OpenMP that torch reports, and a product's sums depend on them."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(*shape, generator=generator) for shape in ((1, 256), (256, 8)))
    with same_conditions():
        before = left @ right
        torch.set_num_threads(2)
        with same_conditions():
            within = left @ right
    with same_conditions():
        after = left @ right
    assert torch.equal(before, within)
    assert torch.equal(before, after)


STUDY = """
import torch
from deepscope import Criterion, Grid, Study, per_seed

def trial(case, run):
    found = {"small": float(bool(torch.tensor([1e-39]) * 0.5 > 0)), "text": float(hash("text") % 1000)}
    if case.kind == "a":
        torch.set_flush_denormal(True)
        torch.set_default_device("meta")
    return found

def judge(trials):
    x = per_seed(trials, "small", kind="b")
    return [Criterion.effect("x", x, above=0.5), Criterion.effect("nothing", x - 1, within=0.5, control=True)]

def draw(trials):
    from deepscope.figures import new

    return new()[0]

STUDY = Study(
    claim="Small numbers are there.", source="belkin2019reconciling", topics=("testing",), trial=trial, judge=judge,
    draw=draw, scales={"quick": Grid(seeds=3, kind=["a", "b"])},
)
"""


def test_trials_give_the_same_numbers_whatever_ran_before_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaks.py").write_text(STUDY)
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))
    for workers in (1, 2):
        result = run_study(tmp_path / "leaks.py", executor="pool", workers=workers, fresh=True)
        assert result.record["failed"] == 0
        assert set(result.trials["small"]) == {1.0}
        # Every worker hashes text alike: a trial that goes through a set of words does it in one order.
        expected = subprocess.run(
            [sys.executable, "-c", "print(float(hash('text') % 1000))"],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert set(result.trials["text"]) == {float(expected.stdout)}
