"""Every reference can be cited, and every citation is a reference."""

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

import deepscope
from deepscope.core import UsageError, cite

ENTRIES = json.loads((files("deepscope.core") / "references.json").read_text(encoding="utf-8"))
KEY = re.compile(r"[a-z]+(?:19|20)\d\d[a-z]+")


def keys_in_source():
    for path in Path(deepscope.__path__[0]).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for quoted in re.findall(r"""["']([a-z0-9]+)["']""", text):
            if KEY.fullmatch(quoted):
                yield quoted
        yield from re.findall(r"""source=["']([^"'{}]+)["']""", text)


def keys_in_docstrings():
    for folder in (Path(deepscope.__path__[0]), Path(__file__).parents[1]):
        for path in folder.rglob("*.py"):
            # Docstrings cite as ``key``.
            found = re.findall(r"``([a-z0-9]+)``", path.read_text(encoding="utf-8"))
            yield from (key for key in found if KEY.fullmatch(key))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["id"])
def test_every_reference_is_one_line_with_author_year_title_and_place(entry):
    line = cite(entry["id"])
    assert "\n" not in line
    assert "?." not in line
    assert entry["title"] in line
    assert KEY.fullmatch(entry["id"])
    year = str(entry["issued"]["date-parts"][0][0])
    # The key repeats the year and the first author, so that a mistaken key is seen.
    assert f"({year})" in line
    assert re.search(r"\d{4}", entry["id"])[0] == year
    first = entry["author"][0].get("family") or entry["author"][0]["literal"]
    assert line.startswith(first)
    assert entry.get("container-title") or entry.get("publisher") or entry.get("URL")


def test_keys_are_unique():
    keys = [entry["id"] for entry in ENTRIES]
    assert len(keys) == len(set(keys))


def test_every_key_in_the_source_is_a_reference():
    keys = {*keys_in_source(), *keys_in_docstrings()}
    assert "glorot2010understanding" in keys
    for key in sorted(keys):
        cite(key)


def test_every_reference_is_cited():
    assert {*keys_in_source(), *keys_in_docstrings()} >= {entry["id"] for entry in ENTRIES}


def test_an_unknown_key_says_which_was_meant():
    with pytest.raises(UsageError, match=r"(?s)unknown reference: martin2021implict.*martin2021implicit"):
        cite("martin2021implict")
