"""Verdicts: planted fakes must be caught."""

from __future__ import annotations

import pytest

from deepscope.core import Criterion, UsageError, Verdict

HOLDS = Criterion.effect("gain", {0: 1.1, 1: 0.9, 2: 1.0}, above=0.5)
FAILS = Criterion.effect("removed", {0: 0.1, 1: -0.1, 2: 0.0}, above=0.5)
OPEN = Criterion.effect("vague", {0: 2.0, 1: -1.0, 2: 0.6}, above=0.5)
CONTROL = Criterion.effect("nothing", {0: 0.1, 1: -0.1, 2: 0.0}, within=0.5, control=True)
SHOWS = Criterion.effect("nothing", {0: 1.1, 1: 0.9, 2: 1.0}, within=0.5, control=True)
VAGUE_CONTROL = Criterion.effect("nothing", {0: 2.0, 1: -1.0, 2: 0.6}, within=0.5, control=True)


@pytest.mark.parametrize(
    ("criteria", "outcome", "reason"),
    [
        ([HOLDS, CONTROL], "reproduced", None),
        ([FAILS, CONTROL], "not reproduced", "removed: fails"),
        ([HOLDS, FAILS, CONTROL], "not reproduced", "removed: fails"),
        ([OPEN, FAILS, CONTROL], "not reproduced", "removed: fails"),
        ([OPEN, CONTROL], "inconclusive", "vague: the interval lies across, or touches, the threshold"),
        ([HOLDS, SHOWS], "not reproduced", "nothing: the control shows the effect"),
        ([HOLDS, VAGUE_CONTROL], "inconclusive", "nothing: the interval lies across, or touches, the threshold"),
        ([HOLDS], "inconclusive", "no control was judged"),
        ([CONTROL], "inconclusive", "no criterion of the claim itself was judged"),
        ([], "inconclusive", "no control was judged"),
    ],
)
def test_the_criteria_make_the_verdict(criteria: list[Criterion], outcome: str, reason: str | None) -> None:
    verdict = Verdict.of(criteria, seeds=3)
    assert verdict.outcome == outcome
    assert verdict.reasons == () if reason is None else reason in verdict.reasons


@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_few_seeds_decide_nothing_whatever_the_criteria_say(seeds: int) -> None:
    exact = Criterion.exact("identity", {0: 0.0}, within=1.0)
    wrong = Criterion.exact("wrong", {0: 9.0}, within=1.0)
    for criteria in ([exact, CONTROL], [wrong, CONTROL], [HOLDS, CONTROL]):
        assert Verdict.of(criteria, seeds=seeds).outcome == "inconclusive"


def test_what_failed_trials_would_have_shown_is_unknown() -> None:
    assert Verdict.of([HOLDS, CONTROL], seeds=3, failed=1).outcome == "inconclusive"
    assert Verdict.of([FAILS, CONTROL], seeds=3, failed=1).outcome == "not reproduced"


def test_two_criteria_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="two criteria have one name"):
        Verdict.of([HOLDS, HOLDS, CONTROL], seeds=3)


def test_a_verdict_is_plain_json() -> None:
    said = Verdict.of([HOLDS, CONTROL], seeds=3).to_dict()
    assert said["verdict"] == "reproduced"
    first = said["criteria"][0]
    assert {"name", "kind", "measured", "low", "high", "threshold", "published", "holds", "control"} <= set(first)
    assert (first["holds"], first["control"], said["criteria"][1]["control"]) == (True, False, True)
