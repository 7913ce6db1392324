import pytest

from deepscope.report._change import changed_numbers, most_changed, not_compared, verdict

REAL = {
    "conv1.weight": "equal", "conv1.bias": "equal", "norm1.weight": "equal", "norm1.bias": "equal",
    "fc1.weight": "differs", "fc1.bias": "differs", "fc2.weight": "unknown", "fc2.bias": "equal",
    "fc3.weight": "differs", "fc3.bias": "differs", "norm1.running_mean": "equal", "norm1.running_var": "equal",
    "norm1.num_batches_tracked": "unknown",
}  # fmt: skip


def test_what_really_happened_to_each_tensor(builders):
    assert {row["name"]: verdict(row) for row in builders["comparison"]()["weights"]} == REAL


def test_against_itself_no_tensor_differs(builders):
    verdicts = {row["name"]: verdict(row) for row in builders["itself"]()["weights"]}
    assert verdicts == dict.fromkeys(REAL, "equal") | {"norm1.num_batches_tracked": "unknown"}


def test_changes_without_a_number_come_first_then_the_largest():
    rows = [
        {"name": name, "status": status, "relative_change": change}
        for name, status, change in [
            ("small", "ok", 0.1), ("same", "equal", 0.0), ("large", "ok", 3.0), ("shape", "shapes differ: …", None),
            ("nan", "non-finite values", None),
        ]
    ]  # fmt: skip
    assert [row["name"] for row in most_changed(rows)] == ["shape", "large", "small"]
    assert not_compared(rows) == [{"name": "nan", "reason": "non-finite values"}]
    assert "status" not in most_changed(rows[:3])[0]


def sides(name, x, y):
    def change(a, b):
        return None if a is None or b is None else b - a

    values = {"x": x, "y": y}
    return {"name": name} | {
        f"{each}_{side}": number
        for each, (a, b) in values.items()
        for side, number in (("a", a), ("b", b), ("change", change(a, b)))
    }


@pytest.mark.parametrize(
    ("rows", "names", "quantities"),
    [
        ([], [], []),
        ([sides("same", (1, 1), (2, 2))], [], []),
        ([sides("same", (1, 1), (2, 2)), sides("moved", (1, 1), (2, 3))], ["moved"], ["y"]),
        ([sides("lost", (1, None), (2, 2))], ["lost"], ["x"]),
        ([sides("only in a", (1, None), (2, None)), sides("moved", (1, 2), (2, 2))], ["moved"], ["x"]),
    ],
)
def test_numbers_that_are_the_same_on_both_sides_are_left_out(rows, names, quantities):
    made = changed_numbers(rows)
    assert [row["name"] for row in made] == names
    keys = ["name", *(f"{each}_{side}" for each in quantities for side in ("a", "b", "change"))]
    assert all(list(row) == keys for row in made)
