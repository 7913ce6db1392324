import pytest

from deepscope.report import comparison_sentence, sentence


@pytest.fixture
def said(builders):
    def say(*findings, **more):
        found = [builders["finding"](severity, "health", where, "…") for severity, where in findings]
        made = builders["lenet"]()
        return sentence(made | {"findings": found} | more)

    return say


def test_where_most_of_them_are(said):
    found = [
        ("problem", "conv2"),
        ("warning", "fc1.weight"),
        ("problem", "relu2"),
        ("warning", "fc3"),
        ("note", "conv1"),
    ]
    text = "LeNet, 61,706 parameters: 2 problems, 2 warnings, most of them in layers conv2–fc1"
    assert said(*found) == text


def test_one_and_all(said):
    assert said(("problem", "fc1.weight")) == "LeNet, 61,706 parameters: 1 problem, in layer fc1"
    assert said(("problem", "fc1"), ("warning", "fc1")).endswith("1 warning, all of them in layer fc1")


def test_a_place_is_named_only_where_it_says_something(said):
    assert said(("warning", ""), ("warning", "")) == "LeNet, 61,706 parameters: 2 warnings"
    assert said(("warning", "conv1"), ("warning", "fc3")) == "LeNet, 61,706 parameters: 2 warnings"


def test_nothing_found(said):
    assert said() == "LeNet, 61,706 parameters: no problems, no warnings"
    assert said(("note", "fc1")) == "LeNet, 61,706 parameters: no problems, no warnings (1 note)"


def test_failures_are_told(said, builders):
    assert said(failed=["health", "spectrum"]).endswith("no problems, no warnings; health and spectrum failed")
    assert sentence(builders["empty"]()).endswith("nothing could be measured; anatomy failed")


def compared(*statuses, left_out=()):
    rows = [{"name": f"t{place}", "status": status} for place, status in enumerate(statuses)]
    sides = {"a": {"name": "a"}, "b": {"name": "b"}}
    return comparison_sentence(sides | {"weights": rows, "left_out": left_out}).removeprefix("a against b: ")


def test_only_what_is_equal_is_called_equal():
    quiet = "; no problem or warning comes or goes"
    other = [{"name": "x", "reason": "only in b (b)"}]
    assert compared() == f"no tensors in common{quiet}"
    assert compared("equal", "all zero") == f"all tensors are equal{quiet}"
    assert compared("equal", left_out=other) == f"all tensors in common are equal{quiet}"
    assert compared("equal", "non-finite values") == f"no tensor differs, 1 of 2 cannot be compared{quiet}"
    assert compared("non-finite values") == f"no tensor can be compared{quiet}"
    assert compared("ok", "equal") == f"1 of 2 tensors differ{quiet}"
    assert compared("ok", "all zero in one", "shapes differ: [2] and [3]") == f"3 of 3 tensors differ{quiet}"
    assert compared("ok", "why not") == f"1 of 2 tensors differ, 1 cannot be compared{quiet}"


def test_a_name_from_right_to_left_does_not_turn_the_sentence(builders):
    made = builders["lenet"]()
    made["subject"]["name"] = "שלום"
    assert sentence(made).startswith("\u2068שלום\u2069, 61,706 parameters: 2 problems")
