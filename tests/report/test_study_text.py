"""What a terminal shows of a study."""

import io
import re

import pytest
import study_records as runs
from rich.cells import cell_len
from rich.console import Console

from deepscope.core import row
from deepscope.report import study_list_text, study_show_text, study_text
from deepscope.studies import Heading

EULER = {
    "id": "resnet-euler", "claim": "A residual network is Euler's method.", "source": "he2015delving",
    "topics": ["differential_equations"], "rows": ["resnet-euler"], "path": "atlas/resnet_euler.py",
    "protocol": "Networks of\n    many depths.",
    "scales": {"full": {"cases": 40, "seeds": 20, "trials": 800}, "smoke": {"cases": 4, "seeds": 1, "trials": 4}},
}  # fmt: skip


def written(write, what, width=80, **settings):
    stream = io.StringIO()
    write(what, Console(file=stream, width=width, **settings))
    return stream.getvalue()


def shown(record, width=80, **settings):
    return written(study_text, record, width, **settings)


def flat(text):
    return " ".join(text.split())


def heading(path, **changes):
    fields = {key: EULER[key] for key in ("id", "claim", "source")} | {"topics": ("generalisation",), "rows": ()}
    fields |= {"protocol": "", "caption": ""}
    return Heading(**fields | {"path": path} | changes)


def columns(text):
    """The rows of the criteria's table that begin a criterion, cut where the headers stand."""
    lines = text.splitlines()
    head = next(line for line in lines if line.startswith("  criterion"))
    starts = [head.index(word) for word in ("95 % interval", "must be", "holds")]
    body = lines[lines.index(head) + 1 :]
    rows = [line for line in body[: body.index("")] if line[starts[-1] :] in ("yes", "no", "open")]
    return [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for line in rows]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("make", runs.RECORDS, ids=lambda make: make.__name__)
def test_every_line_fits(make, width):
    record = make()
    lines = shown(record, width).splitlines()
    # A command and a path are copied: they are not broken.
    whole = f"{record['command']}\n{record.get('path', '')}".split()
    assert max(cell_len(line) for line in lines if not set(line.split()) & set(whole)) <= width
    assert not [line for line in lines if line != line.rstrip()]


def test_what_is_copied_is_not_broken():
    command = "deepscope study run " + " ".join(f"--set field{index}={index}" for index in range(20))
    lines = shown(runs.reproduced() | {"command": command, "path": "/a/" + "b" * 200}, 40).splitlines()
    assert f"  {command}" in lines
    assert f"  /a/{'b' * 200}" in lines


def test_it_says_all_that_was_judged():
    record = runs.reproduced()
    text = flat(shown(record))
    assert text.startswith(f"resnet-euler: {record['claim']} He et al. (2015).")
    assert "Reproduced: 6 of 6 criteria hold (10 seeds, quick)." in text
    assert "360 trials of 36 cases and 10 seeds 33.1 s, 61.3 s of CPU, 412 MB of memory at the peak" in text
    assert "deepscope study run resnet-euler --scale quick" in text
    assert record["path"] in text
    assert "published: 1/2, by the central limit" in text
    assert text.count("control: order of a network with") == 1
    assert "it holds when the effect is not seen" in text


@pytest.mark.parametrize("width", [80, 120])
def test_numbers_stand_in_their_columns(width):
    rows = columns(shown(runs.inconclusive(), width))
    assert [row[-1] for row in rows] == ["yes", "open", "open", "yes"]
    assert [row[0] for row in rows] == ["[1.03, 4.43]", "–", "worst known", "[−0.045, 0.068]"]
    assert [row[1].split("  ")[0] for row in rows] == ["> 1", "> 0.95", "≥ 1", "0 ± 0.3"]


def test_published_values_have_a_column_where_there_is_room():
    wide, narrow = shown(runs.inconclusive(), 120), shown(runs.inconclusive(), 80)
    assert re.search(r"must be +published +holds", wide)
    assert "published: about 3" not in wide
    assert "published: about 3" in narrow
    assert "about 3" in wide


def test_a_narrow_terminal_gets_paragraphs():
    text = flat(shown(runs.inconclusive(), 50))
    assert "95 % interval" not in text
    assert "fitting and generalising: 2.73 [1.03, 4.43], must be > 1; holds: yes" in text
    assert "validation accuracy at the end: 0.96, must be > 0.95; holds: open" in text
    assert "control: delay when all data are seen: 0.012" in text


def test_failures_are_counted_and_the_first_named():
    text = flat(shown(runs.inconclusive()))
    assert "12 trials failed fraction=0.30 decay=1.0 seed=0; fraction=0.45 decay=1.0 seed=3 and 2 more: Mem" in text
    assert "and 6 more: the trial took more than 600 s" in text
    assert "more trial" not in text
    # A record lists fifty at most, and counts all of them.
    assert "… and 88 more trials" in flat(shown(runs.inconclusive() | {"failed": 100}))
    assert "failed" not in shown(runs.reproduced())


def test_many_errors_are_cut():
    failures = [{"case": f"width={index}", "seed": 0, "error": f"error {index}"} for index in range(9)]
    text = flat(shown(runs.reproduced() | {"failed": 9, "failures": failures}))
    assert "error 4 … and 4 more trials" in text
    assert "error 5" not in text


def test_a_modified_protocol_is_said_with_what_was_modified():
    assert "width=64, optimizer=adamw: not recorded as the study's verdict." in flat(shown(runs.inconclusive()))
    assert "\n  not recorded as" in shown(runs.reproduced() | {"modified": True})
    assert "not recorded" not in shown(runs.reproduced())


def test_what_was_reused_and_noted():
    text = flat(shown(runs.not_reproduced()))
    assert "550 trials of 22 cases and 25 seeds, 440 reused from earlier runs" in text
    assert "Notes One run could not be read" in text
    assert "Notes" not in shown(runs.reproduced())


def test_nothing_judged_and_nothing_measured():
    text = flat(shown(runs.bare()))
    assert "Criteria None was judged. Trials and cost 1 trial of 1 case and 1 seed" in text
    assert text.count("1 seed decides nothing") == 1
    assert "A control is" not in text
    assert shown(runs.nulls()).count("–") == 5


def test_smoke_judges_no_criterion():
    text = shown(runs.smoke())
    assert [row[-1] for row in columns(text)] == ["open"] * 5
    assert "Inconclusive: smoke judges nothing (3 seeds, smoke)." in text
    assert "the control shows the effect" not in text


def test_colour_only_where_it_is_wanted(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    settings = {"force_terminal": True, "color_system": "standard"}
    for make, code in ((runs.reproduced, "1;32"), (runs.not_reproduced, "1;31"), (runs.inconclusive, "1;33")):
        assert f"\x1b[{code}m" in shown(make(), **settings)
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(runs.not_reproduced(), **settings)
    assert not [code for code in ("31m", "32m", "33m") if code in text]
    assert "Not reproduced" in text


def test_texts_cannot_steer_the_terminal():
    text = shown(runs.hostile()) + written(study_list_text, [heading("x", id=runs.HOSTILE, claim=runs.HOSTILE)])
    hostile = dict.fromkeys(("id", "claim", "source", "protocol", "path", "target"), runs.HOSTILE)
    text += written(study_show_text, EULER | hostile | {"rows": [runs.HOSTILE], "topics": [runs.HOSTILE]})
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "␛[31mred" in text


def test_a_terminal_without_unicode():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    study_text(runs.inconclusive(), Console(file=stream, width=80))
    text = raw.getvalue().decode("ascii")
    assert re.search(r"must be .*\n.* > 1 +yes", text)
    assert re.search(r" >= 1 +open", text)
    assert "0 +/- 0.3" in text


def test_the_list_has_every_study_with_its_claim():
    other = heading("y", id="grokking", claim="Networks generalise late.")
    text = flat(written(study_list_text, [heading("x"), other]))
    assert "resnet-euler generalisation A residual network is Euler's method." in text
    assert "grokking generalisation Networks generalise late." in text
    assert "2 studies." in text
    assert "1 study." in written(study_list_text, [other])


def test_showing_a_study():
    text = written(study_show_text, EULER)
    assert flat(text).startswith("resnet-euler: A residual network is Euler's method. He et al. (2015). Delving")
    assert "\nhttps://" in text
    assert "topics: differential equations" in text
    assert f"shows: {row('resnet-euler')['name']} (resnet-euler)" in text
    assert "Networks of many depths." in text
    assert re.search(r"smoke +4 cases, 1 seed, 4 trials\n +full +40 cases, 20 seeds, 800 trials\n", text)
    assert "atlas/resnet_euler.py" in text
    assert "deepscope study run resnet-euler --scale full  # the largest protocol" in text


def test_a_users_own_study_is_run_by_its_file():
    text = written(study_show_text, EULER | {"target": "mine/euler.py", "rows": ["nobody-knows"], "source": "mine2026"})
    assert "deepscope study run mine/euler.py" in text
    assert "shows: nobody-knows" in text
    assert "mine2026" in text


def test_a_heading_alone_can_be_shown(tmp_path):
    text = written(study_show_text, heading(tmp_path / "euler.py"))
    assert "topics: generalisation" in text
    assert str(tmp_path / "euler.py") in text
    assert "Scales" not in text
    assert "Protocol" not in text
