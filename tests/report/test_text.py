"""What a terminal shows."""

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from deepscope.report import comparison_text, examination_text
from deepscope.report._screen import clipped, clipped_behind


def shown(record, width=80, **settings):
    stream = io.StringIO()
    write = comparison_text if "weights" in record else examination_text
    write(record, Console(file=stream, width=width, **settings))
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("name", ["examined", "comparison", "itself", "lenet", "thousand", "hostile", "empty"])
def test_every_line_fits(builders, name, width):
    text = shown(builders[name](), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_it_says_the_findings_in_words_worst_first(builders):
    text = " ".join(shown(builders["lenet"]()).split())
    assert text.startswith("LeNet, 61,706 parameters: 2 problems, 3 warnings")
    places = [text.index(words) for words in ("▲ problem relu3", "▲ problem fc2.weight", "● warning fc1.weight")]
    assert places == sorted(places)
    assert "Lower the learning rate" in text
    assert "needs a loss, and none was given" in text
    assert "412 MB of memory" in text


def test_marks_stand_in_their_layers_column(builders):
    lines = shown(builders["lenet"](), 80).splitlines()
    marks = next(line for line in lines if line.strip().startswith("findings"))
    gradient = next(line for line in lines if line.strip().startswith("gradient norm"))
    start = min(gradient.index(block) for block in "▁▂▃▄▅▆▇█" if block in gradient)
    drawn = gradient[start : start + 17 : 2]
    assert len(drawn) == 9
    assert all(each in "▁▂▃▄▅▆▇█" for each in drawn)
    # relu3 is the sixth layer: the first of the two problems.
    assert marks[start + 2 * 5] == "▲"
    assert marks[start + 2 * 2] == "●"


def test_long_tables_are_cut_and_say_so(builders):
    text = shown(builders["thousand"](), 80)
    assert "… and 2,992 more rows" in text
    assert "see --out report.html" in text
    assert "and 96 more" in text
    assert len(text.splitlines()) < 120


def test_colour_only_where_it_is_wanted(builders, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    settings = {"force_terminal": True, "color_system": "standard"}
    assert "\x1b[1;31m" in shown(builders["lenet"](), **settings)
    monkeypatch.setenv("NO_COLOR", "1")
    coloured = ("\x1b[1;31m", "\x1b[31m", "\x1b[33m", "\x1b[36m")
    text = shown(builders["lenet"](), **settings)
    assert not [code for code in coloured if code in text]
    assert "▲ problem" in text


def test_names_cannot_steer_the_terminal(builders):
    text = shown(builders["hostile"]())
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "␛[31mred" in text


def test_a_terminal_without_unicode(builders):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    examination_text(builders["lenet"](), Console(file=stream, width=80))
    text = raw.getvalue().decode("ascii")
    assert "! problem" in text
    assert re.search(r"\d \+/- \d", text)


def test_markup_in_names_is_no_markup(builders):
    record = builders["lenet"]()
    record["findings"][0]["message"] = "[bold]x[/bold] :smile:"
    assert "[bold]x[/bold] :smile:" in shown(record)


def part(text, heading):
    """The lines of a part, without its heading."""
    return text.split(f"\n{heading}\n")[1].split("\n\n")[0].splitlines()


def test_a_real_examination_in_a_terminal(builders):
    text = shown(builders["examined"](), 100)
    assert text.startswith("before, 26,078 parameters: 1 problem, in layer relu2\n")
    assert "▲ problem  relu2  health" in text
    names = [line.split()[0] for line in part(text, "spectrum: eigenvalues of the weight matrices")[-6:-1]]
    assert names == ["name", "conv1.weight", "fc1.weight", "fc2.weight", "fc3.weight"]


def test_a_comparison_shows_what_changed_and_how_much(builders):
    text = shown(builders["comparison"](), 120)
    assert text.startswith("before against after: 4 of 13 tensors differ, 2 cannot be compared; new: 2 problems")
    rows = [re.split(" {2,}", line.strip()) for line in part(text, "Weights that changed most")]
    assert rows[0][:3] == ["name", "status", "relative change"]
    assert [row[:3] for row in rows[1:5]] == [
        ["fc1.bias", "all zero in one", "–"],
        ["fc3.weight", "shapes differ: [10, 60] and [12, 60]", "–"],
        ["fc3.bias", "shapes differ: [10] and [12]", "–"],
        ["fc1.weight", "ok", "0.5"],
    ]
    anatomy = [line.split()[0] for line in part(text, "anatomy: a, b and the change")[1:-1]]
    assert anatomy == ["fc1.weight", "fc1.bias", "fc2.weight", "fc3.weight", "fc3.bias"]
    assert part(text, "Left out") == [
        "  fc4.weight, fc4.bias: only in after (b)",
        "  fc2.weight: non-finite values",
        "  norm1.num_batches_tracked: int64 is not a floating-point type that is measured",
    ]


def test_a_network_compared_with_itself_shows_no_number(builders):
    text = shown(builders["itself"](), 120)
    assert "Weights that changed most" not in text
    for instrument in ("anatomy", "spectrum"):
        assert part(text, f"{instrument}: a, b and the change") == ["  No number differs."]


def test_names_lose_their_beginning_and_sentences_their_end():
    assert clipped("encoder.layer.11.query", 9) == "…11.query"
    assert clipped_behind("shapes differ: [2]", 7) == "shapes…"
    assert clipped_behind("short", 7) == "short"
