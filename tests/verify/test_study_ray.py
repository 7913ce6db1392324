"""Trials on a Ray cluster: the same numbers, also when a node is killed."""

from __future__ import annotations

import runpy
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paused_study import paused_study

from deepscope.core import UsageError
from deepscope.lab import StudyRun, run_study
from deepscope.lab._trial_log import read_trials
from deepscope.lab._trial_record import fingerprint

pytestmark = pytest.mark.verify

ray = pytest.importorskip("ray")
STUDIES = Path(__file__).parents[1] / "lab" / "studies"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "cluster"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def found(result: StudyRun) -> tuple[Any, ...]:
    records, bad = read_trials(result.path / "trials.jsonl")
    assert bad == 0
    prints = sorted((each.identity, fingerprint(each)) for each in records)
    assert len({identity for identity, _ in prints}) == len(prints) == result.record["trials"]
    return result.verdict.outcome, result.record["criteria"], result.record["failed"], prints, result.figure


def test_a_cluster_gives_the_numbers_of_one_process_also_when_a_node_is_killed(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    killed = []

    def kill_a_node() -> None:
        home = tmp_path / "cluster"
        while not any(log.stat().st_size for log in home.glob("runs/*/trials.jsonl")):
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)
        killed.append(time.monotonic())

    killer = threading.Thread(target=kill_a_node)
    killer.start()
    study = paused_study(tmp_path)
    on_cluster = run_study(study, scale="full", executor="ray", address=cluster.address)
    ended = time.monotonic()
    killer.join()
    assert killed[0] < ended
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "inline"))
    inline = run_study(study, scale="full", executor="inline")
    assert found(on_cluster) == found(inline)
    assert on_cluster.record["failed"] == 0


def test_whatever_one_trial_does_on_a_cluster_the_others_finish(cluster: Any) -> None:
    result = run_study(STUDIES / "faults.py", executor="ray", address=cluster.address, timeout=2.0, memory_bytes=2**30)
    planted = runpy.run_path(str(STUDIES / "faults.py"))
    assert set(result.trials["fault"]) == set(planted["FINISH"])
    assert len(result.trials) == 2 * len(planted["FINISH"])
    errors = {failure["case"].removeprefix("fault="): failure["error"] for failure in result.record["failures"]}
    assert set(errors) == set(planted["FAIL"])
    said = {**planted["FAIL"], "dies": "its worker died twice", "leaves": "its worker died twice"}
    for fault, error in errors.items():
        assert said[fault] in error


def test_a_cluster_that_does_not_answer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="no Ray cluster answers"):
        run_study(STUDIES / "short.py", scale="smoke", executor="ray", address="127.0.0.1:1")
