"""What counts as demonstrated, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from deepscope.core import DeepscopeError, rows
from deepscope.lab._coverage import coverage_of, evidence_by_row


def evidence(claims: dict[str, str], **found: Any) -> dict[str, list[str]]:
    given = {"studies": (), "instruments": (), "specimens": (), **found}
    return evidence_by_row({key: {"claim": claim} for key, claim in claims.items()}, **given)


def study(rows: list[str], *, verdict: str | None = "reproduced", stale: str = "") -> dict[str, Any]:
    return {"id": "s", "rows": rows, "stale": stale, "record": verdict and {"verdict": verdict}}


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        (study(["x"]), True),
        (study(["x"], verdict="not reproduced"), True),
        (study(["x"], verdict="inconclusive"), False),
        (study(["x"], verdict=None), False),
        (study(["x"], stale="its code has changed since"), False),
        (study(["y"]), False),
    ],
)
def test_a_study_counts_with_a_fresh_decided_verdict(found: dict[str, Any], counts: bool) -> None:
    assert evidence({"x": "it is so", "y": "it is"}, studies=[found])["x"] == (["study:s"] if counts else [])


@pytest.mark.parametrize("kind", ["instrument", "specimen"])
def test_what_is_pinned_counts_for_rows_that_it_names_and_that_its_test_demonstrates(kind: str) -> None:
    claims = {"both": "a", "named": "b", "tested": "c"}
    entry = {"name": "n", "rows": ["both", "named"], "demonstrates": ["both", "tested"]}
    assert evidence(claims, **{f"{kind}s": [entry]}) == {"both": [f"{kind}:n"], "named": [], "tested": []}


CLAIMS = {
    "x": "it is so",
    "y": "so is this",
    "one": "see x",
    "two": "see x, y",
    "slash": "see x/y",
    "both": "see x and y",
    "chain": "see one",
    "more": "see x; and 2 + 2 = 4",
    "loop": "see pool",
    "pool": "see loop",
    "none": "we see x",
}


def test_a_row_that_refers_to_others_counts_with_all_of_them() -> None:
    found = evidence(CLAIMS, studies=[study(["x"])])
    assert {key for key, its in found.items() if its} == {"x", "one", "chain"}
    assert (found["one"], found["chain"]) == (["row:x"], ["row:one"])
    found = evidence(CLAIMS, studies=[study(["x", "y"])])
    assert {key for key, its in found.items() if its} == {"x", "y", "one", "two", "slash", "both", "chain"}
    assert found["two"] == ["row:x", "row:y"]


def test_a_claim_that_goes_on_must_be_demonstrated_itself_as_well() -> None:
    assert evidence(CLAIMS, studies=[study(["more"])])["more"] == []
    assert evidence(CLAIMS, studies=[study(["more", "x"])])["more"] == ["study:s", "row:x"]


def test_a_row_that_only_refers_may_be_demonstrated_itself() -> None:
    assert evidence(CLAIMS, studies=[study(["one"])])["one"] == ["study:s"]


def test_a_reference_to_no_row_is_an_error() -> None:
    with pytest.raises(DeepscopeError, match=r"refers to a row that does not exist: y: see xx"):
        evidence({"x": "a", "y": "see xx"})


def test_every_row_of_the_map_can_be_read() -> None:
    found = evidence_by_row(rows(), (), (), ())
    assert set(found) == set(rows())
    assert not any(found.values())


def test_counts_by_group() -> None:
    given = [
        {"id": "a", "group": "one", "evidence": ["study:s"]},
        {"id": "b", "group": "one", "evidence": []},
        {"id": "c", "group": "two", "evidence": []},
    ]
    assert coverage_of(given) == {
        "rows": 3,
        "demonstrated": 1,
        "by_group": {"one": {"rows": 2, "demonstrated": 1}, "two": {"rows": 1, "demonstrated": 0}},
        "by_row": {"a": ["study:s"], "b": [], "c": []},
    }
