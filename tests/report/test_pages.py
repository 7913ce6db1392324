"""What a page's text says, without a browser."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from deepscope.report import comparison_page, examination_page

VOID = {"meta", "link", "input", "br", "path", "circle", "rect", "use"}
RECORDS = ("examined", "comparison", "itself", "lenet", "hostile", "empty")
OMITTED = {"tr", "td", "th"}  # whose end tags tables leave out


class Outline(HTMLParser):
    """Collects what the tests ask for, and checks that tags close."""

    def __init__(self):
        super().__init__()
        self.stack, self.tags, self.ids, self.links, self.scripts = [], [], [], [], []
        self.headings, self.text, self.bad = [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if attributes.get("href", "").startswith("#") and tag == "a":
            self.links.append(attributes["href"][1:])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        while self.stack and self.stack[-1] in OMITTED and self.stack[-1] != tag:
            self.stack.pop()
        if not self.stack or self.stack.pop() != tag:
            self.bad.append(tag)

    def handle_data(self, data):
        if self.stack and self.stack[-1] == "script":
            self.scripts.append(data)
        self.text.append(data)


def outline(page):
    made = Outline()
    made.feed(page)
    assert not made.bad
    assert not made.stack
    return made


@pytest.fixture(params=[*RECORDS, "without_findings", "empty_comparison"])
def page(request, builders):
    if request.param == "empty_comparison":
        none = {"weights": [], "findings_gone": [], "findings_new": [], "tables": {}}
        return comparison_page(builders["comparison"]() | none)
    if request.param == "without_findings":
        return examination_page(builders["lenet"]() | {"findings": []}, {})
    return builders["page_of"](request.param)


def test_is_whole_and_its_links_lead_somewhere(page):
    made = outline(page)
    assert len(made.ids) == len(set(made.ids))
    assert set(made.links) <= set(made.ids)
    assert made.headings[0] == 1
    assert made.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(made.headings))


def test_fetches_nothing(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src 'none'" in policy
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    for tag, attributes in outline(page).tags:
        assert tag not in ("iframe", "object", "embed", "base", "form", "img")
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            value = attributes.get(name) or ""
            if tag == "a" and attributes.get("rel") == "noreferrer":
                continue  # the address of a reference: followed when somebody clicks it, never fetched
            assert value.startswith(("#", "data:,")) or not value, (tag, name, value)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_hostile_names_stay_text(builders):
    record = builders["hostile"]()
    page = examination_page(record, builders["drawings"](record))
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    made = outline(page)
    assert sum(tag == "script" for tag, _ in made.tags) == sum("use strict" in each for each in made.scripts) + sum(
        each.lstrip().startswith("{") for each in made.scripts
    )
    assert all("alert" not in attributes for _, attributes in made.tags)
    assert "<script>alert(1)</script >\"'&" in "".join(made.text)
    # A browser ends a script at "</script" however it goes on, and lets "<!--" swallow the end tag.
    data = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert data
    assert not [each for each in data if "<" in each or not json.loads(each)]


def test_everything_a_record_says_is_on_the_page(builders):
    record = builders["lenet"]()
    text = " ".join("".join(outline(examination_page(record, {})).text).replace("\u00a0", " ").split())
    for found in record["findings"]:
        assert found["message"] in text
        assert found["evidence"] in text
        assert found["action"] in text
    for reading in record["readings"].values():
        assert reading["summary"] in text
        assert reading["how_to_read"] in text
        assert " ".join(reading["formula"].split()) in text
        assert all(row["name"] in text for row in reading["table"])
        assert all(each["reason"] in text for each in reading["left_out"])
    assert record["command"] in text
    assert record["not_run"][0]["reason"] in text
    assert "torch 2.13.0" in text
    assert "Martin & Mahoney (2021)" in text
    assert "412 MB of memory" in text


def test_findings_come_worst_first(builders):
    record = builders["lenet"]()
    record["findings"].reverse()
    page = examination_page(record, {})
    assert re.findall(r'<li class="finding (\w+)"', page) == ["problem"] * 2 + ["warning"] * 3 + ["note"]


def test_zero_findings_and_nothing_measured_are_told_apart(builders):
    assert "Nothing stands out" in examination_page(builders["lenet"]() | {"findings": []}, {})
    page = examination_page(builders["empty"](), {})
    assert "No instrument could be run" in page
    assert "Nothing stands out" not in page


def test_a_finding_links_to_no_column_where_there_is_no_glance(builders):
    record = builders["lenet"]()
    for reading in record["readings"].values():
        reading["glance"] = []
    made = outline(examination_page(record, {}))
    assert "glance" not in made.ids
    assert set(made.links) <= set(made.ids)


def test_figures_have_a_name_that_says_what_is_seen(builders):
    record = builders["lenet"]()
    page = examination_page(record, builders["drawings"](record))
    drawings = [attributes for tag, attributes in outline(page).tags if attributes.get("role") == "img"]
    shown = [track for reading in record["readings"].values() for track in reading["glance"]]
    assert len(drawings) == 3 + len(shown)
    assert all(len(attributes["aria-label"]) > 30 for attributes in drawings)


def test_a_thousand_layers_stay_under_5_megabytes(builders):
    record = builders["thousand"]()
    assert sum(len(reading["table"]) for reading in record["readings"].values()) == 5000
    drawings = builders["drawings"](record)
    page = examination_page(record, drawings)
    assert len(page.encode()) <= 5_000_000
    made = outline(page)
    assert set(made.links) <= set(made.ids)
    # Every row is there, for the script; without it, those that tell the most.
    data = [json.loads(each) for each in made.scripts if each.startswith('{"columns"')]
    assert sorted(each["size"] for each in data) == [1000, 1000, 1000, 3000]
    assert all(column.count("\n") == each["size"] - 1 for each in data for column in each["columns"])
    assert page.count("<tr>") <= 4 * 201 + 1


def test_a_cell_with_a_line_break_keeps_its_row(builders):
    record = builders["thousand"]()
    for row in record["readings"]["health"]["table"]:
        row["formula"] = "a\nb"
    data = [json.loads(each) for each in outline(examination_page(record, {})).scripts if each.startswith('{"columns"')]
    assert all(column.count("\n") == each["size"] - 1 for each in data for column in each["columns"])


def rows_of(page, anchor):
    """The cells of a table without its header."""
    body = re.search(rf'<table id="{anchor}".*?<tbody>(.*?)</tbody>', page, re.DOTALL)[1]
    return [re.split("<t[hd][^>]*>", row)[1:] for row in body.strip().split("\n")]


def test_a_comparison_shows_both_sides(builders):
    record = builders["comparison"]()
    page = builders["page_of"]("comparison")
    text = " ".join("".join(outline(page).text).replace("\u00a0", " ").split())
    assert "before against after: 4 of 13 tensors differ, 2 cannot be compared; new: 2 problems" in text
    assert "only in after (b)" in text
    assert "deepscope compare before.pt after.pt" in text
    for found in (*record["findings_new"], *record["findings_gone"]):
        assert found["message"] in text
    statuses = {cells[0]: cells[-1] for cells in rows_of(page, "table-weights")}
    assert statuses == {each["name"]: each["status"] for each in record["weights"]}


def test_both_sides_carry_their_intervals(builders):
    page = builders["page_of"]("comparison")
    section = {name: f"rows-table-of-{index}" for index, name in enumerate(builders["comparison"]()["tables"])}
    cells = next(row for row in rows_of(page, section["spectrum"]) if row[0] == "fc3.weight")
    assert len([each for each in cells if re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", each)]) == 2
    assert "alpha stderr" not in page
    assert "alpha low" not in page


def test_a_network_compared_with_itself_has_changed_nowhere(builders):
    page = builders["page_of"]("itself")
    text = " ".join("".join(outline(page).text).split())
    assert "before against before: no tensor differs, 1 of 13 cannot be compared" in text
    changes = [cells[2] for cells in rows_of(page, "table-weights")]
    assert changes == ["0"] * 12 + ["–"]


def test_a_real_examination_is_on_its_page(builders):
    record, page = builders["examined"](), builders["page_of"]("examined")
    text = " ".join("".join(outline(page).text).replace("\u00a0", " ").split())
    assert "before, 26,078 parameters: 1 problem, in layer relu2" in text
    for index, reading in enumerate(record["readings"].values()):
        assert " ".join(reading["summary"].split()) in text
        assert [cells[0] for cells in rows_of(page, f"table-reading-{index}")] == [
            row["name"] for row in reading["table"]
        ]
    marks = [attributes for tag, attributes in outline(page).tags if "mark" in attributes.get("class", "").split()]
    assert [(mark["class"], "relu2" in mark["aria-label"]) for mark in marks] == [("mark problem", True)]


def test_pages_are_made_without_torch():
    code = (
        "import sys, deepscope.report; assert 'torch' not in sys.modules;"
        "assert not [name for name in sys.modules if name.startswith('deepscope.instruments')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
