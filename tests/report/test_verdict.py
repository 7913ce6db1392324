"""One sentence for a run of a study."""

import pytest
import study_records as runs

from deepscope.report import verdict_sentence
from deepscope.report._verdict import other_reasons


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (runs.reproduced, "Reproduced: 6 of 6 criteria hold (10 seeds, quick)."),
        (
            runs.not_reproduced,
            'Not reproduced: "log ratio of the test error far beyond the threshold to its minimum below it" fails, and '
            "1 more reason (25 seeds, full).",
        ),
        (
            runs.inconclusive,
            'Inconclusive under a modified protocol: "validation accuracy at the end": 3 of 5 seeds have no value, and '
            "2 more reasons (5 seeds, quick).",
        ),
        (runs.smoke, "Inconclusive: smoke judges nothing (3 seeds, smoke)."),
        (runs.bare, "Inconclusive: 1 seed decides nothing; at least 3 do (1 seed, smoke)."),
    ],
    ids=["reproduced", "not_reproduced", "inconclusive", "smoke", "bare"],
)
def test_the_sentence(make, said):
    assert verdict_sentence(make()) == said


def test_a_modified_protocol_is_said_whatever_the_verdict():
    for make in (runs.reproduced, runs.not_reproduced, runs.bare):
        assert "modified" not in verdict_sentence(make())
        assert " under a modified protocol: " in verdict_sentence(make() | {"modified": True})


def test_a_control_that_shows_the_effect_is_not_called_a_failure():
    record = runs.not_reproduced()
    record |= {"reasons": record["reasons"][1:]}
    said = 'Not reproduced: "log ratio of the peak with a ridge of 0.1": the control shows the effect (25 seeds, full).'
    assert verdict_sentence(record) == said


def test_a_name_may_begin_with_another_and_hold_a_colon():
    criteria = [{"name": name, "holds": name == "slope"} for name in ("slope", "slope: tanh", "slope: tanh: late")]
    for name in ("slope", "slope: tanh", "slope: tanh: late"):
        record = runs.not_reproduced() | {"criteria": criteria, "reasons": [f"{name}: fails"]}
        assert verdict_sentence(record) == f'Not reproduced: "{name}" fails (25 seeds, full).'


def test_names_cannot_steer_the_sentence():
    said = verdict_sentence(runs.hostile())
    assert "\x1b" not in said
    assert "\u202e" not in said
    # What is written from right to left is kept from turning the words beside it.
    assert said.count("\u2068") == said.count("\u2069") == 1


def test_reasons_that_neither_the_sentence_nor_a_criterion_tells():
    assert other_reasons(runs.inconclusive()) == ["12 trials failed"]
    assert other_reasons(runs.not_reproduced()) == []
    assert other_reasons(runs.reproduced() | {"reasons": ["one", "another"]}) == ["another"]
