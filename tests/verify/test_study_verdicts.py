"""Every study, run at quick, gives the verdict that the repository records and the README states.

All of them anew would take longer than ``make verify`` may, and longer with each study: each day has its turn of them,
and every study is in one. ``make verdicts`` runs all.
"""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path

import pytest

from deepscope.lab import records_folder, run_study
from deepscope.lab._atlas_records import read_records
from deepscope.studies import catalog

pytestmark = pytest.mark.verify

README = Path(__file__).parents[2] / "README.md"
LINE = r"^\| `([a-z0-9-]+)` \| (.*) \| (reproduced|not reproduced|inconclusive) \|$"
RECORDS = {name: found.record for name, found in read_records(records_folder()).items()}
#: The first twelve were promised in forty minutes together.
TWELVE = (
    *("deep-bsde", "double-descent-rff", "f-principle", "grokking", "mp-null", "perceptron", "random-labels"),
    *("resnet-euler", "saxe-dynamics", "som-tsp", "tropical-regions", "vanishing-gradient"),
)
#: A study takes ten CPU-minutes at most; those that take more say in their files why they need 564 networks, and eight
#: seeds of 60 networks each.
LONGEST, LONGER = 600, {"alpha-hat-quality": 900, "edge-of-chaos": 900}
#: CPU-seconds of the studies of one turn.
TURN = 400


def turns(costs: dict[str, float]) -> list[list[str]]:
    """Share the studies out: each, the costliest first, into the first turn that has room for it."""
    shared: list[list[str]] = []
    for name in sorted(costs, key=lambda name: (-costs[name], name)):
        room = (turn for turn in shared if sum(costs[each] for each in turn) + costs[name] <= TURN)
        turn = next(room, None)
        if turn is None:
            shared.append(turn := [])
        turn.append(name)
    return shared


def today() -> list[str]:
    if os.environ.get("STUDIES") == "all":
        return sorted(RECORDS)
    shared = turns({name: record["cost"]["cpu_seconds"] for name, record in RECORDS.items()})
    return sorted(shared[datetime.datetime.now(datetime.UTC).toordinal() % len(shared)])


def test_each_study_has_its_turn_and_no_turn_is_long() -> None:
    costs = {name: record["cost"]["cpu_seconds"] for name, record in RECORDS.items()}
    shared = turns(costs)
    assert sorted(name for turn in shared for name in turn) == sorted(RECORDS)
    assert all(len(turn) == 1 or sum(costs[name] for name in turn) <= TURN for turn in shared)
    # Any two turns together would be too long: there are no more than need be, but for a factor of two.
    assert len(shared) <= 2 * sum(costs.values()) / TURN + 1


def test_the_readme_states_the_recorded_claims_and_verdicts() -> None:
    table = re.findall(LINE, README.read_text(), re.M)
    assert table == [(name, record["claim"], record["verdict"]) for name, record in sorted(RECORDS.items())]


def test_every_study_is_recorded_and_takes_no_more_than_its_share_of_cpu() -> None:
    assert set(RECORDS) == {heading.id for heading in catalog()}
    assert {record["scale"] for record in RECORDS.values()} == {"quick"}
    costs = {name: record["cost"]["cpu_seconds"] for name, record in RECORDS.items()}
    assert sum(costs[name] for name in TWELVE) < 40 * 60
    assert {name for name, cost in costs.items() if cost > LONGER.get(name, LONGEST)} == set()


@pytest.mark.parametrize("study", today())
def test_the_verdict_is_as_recorded(study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path))
    record = run_study(study).record
    assert record["failed"] == 0
    # A criterion that is close to its threshold may come out otherwise on another processor; a verdict may not.
    assert record["verdict"] == RECORDS[study]["verdict"]
    assert [each["name"] for each in record["criteria"]] == [each["name"] for each in RECORDS[study]["criteria"]]
