"""What the page of a study says, without a browser."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import study_records as runs

from deepscope.core import row
from deepscope.report import study_page
from deepscope.report._findings import reference

VOID = {"meta", "link", "br", "path", "circle", "rect", "use"}


class Outline(HTMLParser):
    """The page's tags, text and rows of criteria; every tag must close."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.stack, self.words, self.cells = [], [], [], []
        self.feed(page)
        assert not self.stack

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("th", "td"):
            self.cells[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if "style" in self.stack or "script" in self.stack:
            return
        self.words.append(data)
        if "td" in self.stack or "th" in self.stack:
            self.cells[-1][-1] += data

    @property
    def text(self):
        return " ".join("".join(self.words).replace("\u00a0", " ").split())

    @property
    def rows(self):
        return [[" ".join(cell.replace("\u00a0", " ").split()) for cell in row] for row in self.cells[1:]]

    def ids(self):
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]


@pytest.fixture(params=runs.RECORDS, ids=lambda make: make.__name__)
def page(request):
    return runs.page_of(request.param)


def test_is_whole_and_its_links_lead_somewhere(page):
    made = Outline(page)
    ids = made.ids()
    assert len(ids) == len(set(ids))
    links = [each["href"][1:] for tag, each in made.tags if tag == "a" and each["href"].startswith("#")]
    assert len(links) >= 4
    assert set(links) <= set(ids)
    levels = [int(tag[1]) for tag, _ in made.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_fetches_nothing(page):
    assert "default-src 'none'" in re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    for tag, attributes in Outline(page).tags:
        assert tag not in ("iframe", "object", "embed", "base", "form", "img")
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            value = attributes.get(name) or ""
            if tag == "a" and name == "href" and attributes.get("rel") == "noreferrer":
                assert value.startswith("https://")  # the source's address: followed when somebody clicks it
                continue
            assert value.startswith(("#", "data:,")) or not value, (tag, name, value)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_hostile_texts_stay_text():
    page = runs.page_of(runs.hostile)
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    made = Outline(page)
    assert sum(tag == "script" for tag, _ in made.tags) == 1
    assert not [name for _, attributes in made.tags for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script >\"'&" in made.text


def test_everything_a_record_says_is_on_the_page():
    record = runs.not_reproduced() | {"path": "/somewhere/on/this/machine"}
    page = study_page(record, runs.figure())
    text = Outline(page).text
    for key in ("claim", "protocol", "command", "code", "commit", "date", "study"):
        assert record[key] in text, key
    assert "Not reproduced:" in text
    assert record["notes"][0] in text
    assert "550 trials of 22 cases and 25 seeds, 440 reused from earlier runs" in text
    assert "28 min 30 s, 52 min 0 s of CPU, 1.91 GB of memory at the peak" in text
    assert "pool, 2 workers" in text
    assert "torch 2.13.0" in text
    assert "an ordinary processor, 2 cores" in text
    assert reference(record["source"]) in text
    assert f"{row('double-descent-belkin')['name']} (double-descent-belkin)" in text
    assert '<dt>topic</dt><dd dir="auto">generalisation</dd>' in page
    assert "A control is a condition in which the effect must be absent" in text
    # A page is given to others: what this machine's folders are called is not on it.
    assert record["path"] not in page


def test_each_criterion_has_its_row():
    rows = Outline(runs.page_of(runs.reproduced)).rows
    assert [row[2:] for row in rows] == [
        ["3.13e−15 worst case", "≤ 1e−12", "–", "yes"],
        ["1.0038 [0.9983, 1.0094]", "1 ± 0.1", "1", "yes"],
        ["2.0267 [2.0125, 2.0410]", "2 ± 0.1", "2", "yes"],
        ["3.929 [3.863, 3.996]", "4 ± 0.2", "4", "yes"],
        ["0.024 [−0.038, 0.087]", "< 0.2", "–", "yes"],
        ["0.510 [0.474, 0.546]", "0.5 ± 0.1", "1/2, by the central limit", "yes"],
    ]
    assert [row[0].endswith(" control") for row in rows] == [False, False, False, False, True, False]


def test_why_a_criterion_does_not_hold_is_in_its_row():
    rows = Outline(runs.page_of(runs.inconclusive)).rows
    assert [row[-1] for row in rows] == ["yes", "open", "open", "yes"]
    assert "3 of 5 seeds have no value; 2 seeds decide nothing; at least 3 do" in rows[1][0]
    assert rows[1][2] == "0.96"
    assert "the control shows the effect" in Outline(runs.page_of(runs.not_reproduced)).rows[2][0]


def test_smoke_judges_no_criterion():
    made = Outline(runs.page_of(runs.smoke))
    assert [row[-1] for row in made.rows] == ["open"] * 5
    assert "Inconclusive: smoke judges nothing (3 seeds, smoke)." in made.text
    assert "the control shows the effect" not in made.text
    assert "the interval" not in " ".join(row[0] for row in made.rows)


def test_failures_are_gathered_by_error():
    made = Outline(runs.page_of(runs.inconclusive))
    assert "failures" in made.ids()
    assert "12 trials failed; what they would have shown" in made.text
    assert made.text.count("MemoryError: 2.0 GiB were not enough") == 1
    assert all(each["case"] in made.text for each in runs.inconclusive()["failures"])
    assert "more are in the run's folder" not in made.text
    many = Outline(study_page(runs.inconclusive() | {"failed": 100}, {}))
    assert "88 more are in the run's folder" in many.text
    assert "failures" not in Outline(runs.page_of(runs.reproduced)).ids()


def test_a_modified_protocol_is_said_with_what_was_modified():
    text = Outline(runs.page_of(runs.inconclusive)).text
    assert "Inconclusive under a modified protocol" in text
    assert "are not the study's own: width=64, optimizer=adamw. What it says is not recorded" in text
    only_seeds = Outline(study_page(runs.reproduced() | {"modified": True}, {})).text
    assert "are not the study's own. What it says is not recorded" in only_seeds
    assert "odified" not in Outline(runs.page_of(runs.reproduced)).text


def test_the_verdict_is_a_word_and_a_colour():
    for make, name, word in (
        (runs.reproduced, "reproduced", "Reproduced"),
        (runs.not_reproduced, "not-reproduced", "Not reproduced"),
        (runs.inconclusive, "inconclusive", "Inconclusive under a modified protocol"),
    ):
        assert f'<span class="verdict {name}">{word}</span>: ' in runs.page_of(make)


def test_without_a_figure_or_anything_judged():
    made = Outline(runs.page_of(runs.bare))
    assert "figure" not in made.ids()
    assert "No criterion was judged." in made.text
    assert "The study does not describe its protocol." in made.text
    assert "Cost Not recorded." in made.text
    assert "A control is" not in made.text
    assert "Dot: measured" not in made.text


def test_nothing_measured_is_drawn_without_dots():
    page = runs.page_of(runs.nulls)
    assert page.count('class="limit"') == 3
    # Of the third there is a value, but no interval.
    assert page.count('class="dots out"') == 1
    assert 'class="interval"' not in page


def test_a_figure_has_a_name_that_says_what_is_seen():
    made = Outline(runs.page_of(runs.reproduced))
    drawings = [attributes for _, attributes in made.tags if attributes.get("role") == "img"]
    assert len(drawings) == 1
    assert runs.reproduced()["claim"] in drawings[0]["aria-label"]
    assert "6 of 6 criteria hold" in drawings[0]["aria-label"]
    assert "test error" in made.text


def test_a_figure_says_how_to_read_it():
    page = runs.page_of(runs.reproduced)
    assert page.count("<figcaption") == 1
    assert "Points are means over the seeds, bars their 95 % intervals." in Outline(page).text
    without = runs.reproduced()
    del without["caption"]  # a record of an earlier version
    for record, figures in ((runs.reproduced() | {"caption": ""}, runs.figure()), (runs.reproduced(), {})):
        assert "<figcaption" not in study_page(record, figures)
    assert "<figcaption" not in study_page(without, runs.figure())
    assert runs.page_of(runs.hostile).count("<figcaption") == 1


def test_what_makes_a_criterion_open_is_said():
    text = Outline(runs.page_of(runs.reproduced)).text
    assert "An interval that touches a limit which it must pass (> or <) is open" in text
    assert "a criterion that would hold but lacks values" in text
    assert "within the margin, or on the side of no effect" in text


def test_forty_criteria_are_all_there():
    made = Outline(runs.page_of(runs.forty))
    assert len(made.rows) == 40
    assert "Dot: measured" in made.text
    assert "Dashed" not in made.text
    assert "Dashed: the published value" in Outline(runs.page_of(runs.reproduced)).text
    assert made.text.count("holds when the effect is not seen") == 1


def test_pages_and_texts_are_made_without_torch():
    code = (
        "import sys, deepscope.report as report; report.study_text; report.study_list_text; report.study_page;"
        "from deepscope.studies import catalog;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
