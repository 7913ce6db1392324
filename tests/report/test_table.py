import random

from deepscope.report._table import _HEADERS, header, table


def cells(made, key):
    return next(column for column in made.columns if column.key == key).cells


def test_the_name_comes_first_and_errors_join_their_value():
    made = table([{"alpha": 2.8371, "alpha_stderr": 0.1234, "name": "fc"}, {"name": "gone", "alpha": None}])
    assert [column.key for column in made.columns] == ["name", "alpha"]
    assert cells(made, "alpha") == ("2.84 ± 0.12", "–")
    assert made.columns[1].numeric


def test_intervals_join_their_value():
    made = table([{"name": "a", "rate": 1.0, "rate_low": 0.5, "rate_high": 2.0}])
    assert cells(made, "rate") == ("1 [0.5, 2]",)


def test_cells_are_written_for_people():
    made = table([{"name": "a", "shape": [64, 3], "bytes": 246824, "trained": True, "tied": [], "share": 0.25}])
    assert [column.cells[0] for column in made.columns] == ["a", "64 × 3", "247 kB", "yes", "–", "0.25"]
    assert [column.numeric for column in made.columns] == [False, False, True, False, False, True]


def test_headers_have_units():
    assert header("wall_seconds") == "wall (s)"
    assert header("alpha_change") == "tail exponent α, b − a"


def test_a_long_table_shows_rows_with_findings_and_then_the_most_unusual():
    draw = random.Random(0)
    rows = [{"name": f"layer{index}.weight", "norm": draw.gauss(0, 1)} for index in range(1000)]
    rows[700]["norm"] = 99.0
    found = [{"severity": "warning", "where": "layer3"}, {"severity": "note", "where": "layer5.weight"}]
    assert table(rows, found, limit=2).telling == (3, 5)
    assert table(rows, found, limit=3).telling == (3, 5, 700)
    made = table(rows, found)
    assert len(made.telling) == 200
    assert list(made.telling) == sorted(made.telling)
    assert not made.whole
    assert made.size == len(made.columns[0].cells) == 1000


def test_an_empty_table():
    made = table([])
    assert (made.size, made.columns, made.telling) == (0, (), ())


def test_both_sides_of_a_comparison_join_their_errors():
    row = {"name": "a", "x_a": 1.0, "x_b": 2.0, "x_change": 1.0}
    row |= {"x_stderr_a": 0.1, "x_stderr_b": 0.2, "x_stderr_change": 0.1}
    made = table([row])
    assert [(column.key, column.cells[0]) for column in made.columns[1:]] == [
        ("x_a", "1.00 ± 0.10"),
        ("x_b", "2.00 ± 0.20"),
        ("x_change", "1"),
    ]


def test_half_an_interval_stays_a_column():
    assert [column.key for column in table([{"name": "a", "rate": 1.0, "rate_low": 0.5}]).columns] == [
        "name",
        "rate",
        "rate_low",
    ]


def test_bytes_are_bytes_on_both_sides():
    assert cells(table([{"name": "a", "bytes_a": 4000.0, "bytes_change": -2000.0}]), "bytes_a") == ("4 kB",)


def test_every_header_is_of_a_column_that_exists(builders):
    readings = builders["examined"]()["readings"].values()
    known = {key for reading in readings for row in reading["table"] for key in row}
    known |= {key for row in builders["comparison"]()["weights"] for key in row}
    known |= {"kernel_drift", "sharpness", "sharpness_residual", "distance_from_start", "weight_norm"}
    assert set(_HEADERS) <= known


def test_an_interval_stands_in_place_of_a_standard_error_where_it_was_measured():
    row = {"name": "fc", "alpha": 2.5, "alpha_stderr": 0.1, "alpha_low": 2.25, "alpha_high": 3.0}
    (_, column) = table([row]).columns
    assert (column.header, column.cells) == ("tail exponent α [95 % interval]", ("2.5 [2.25, 3]",))
    (_, column) = table([{**row, "alpha_low": None, "alpha_high": None}]).columns
    assert "±" in column.cells[0]
    (_, column) = table([{**row, "alpha_low": None, "alpha_high": None, "alpha_stderr": None}]).columns
    assert (column.header, column.cells) == ("tail exponent α", ("2.5",))
