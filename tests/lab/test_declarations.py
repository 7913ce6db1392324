"""Instruments and specimens as their files declare them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepscope.core import DeepscopeError
from deepscope.lab import _declarations
from deepscope.lab._declarations import check_keys, instruments, specimens
from deepscope.lab._pinned import pin
from deepscope.lab._repository import repository

DECLARED = {
    f"{kind} {each['name']}": each for kind, found in (("i", instruments()), ("s", specimens())) for each in found
}


def test_what_is_listed_is_what_there_is() -> None:
    from deepscope.instruments import INSTRUMENTS

    listed = {each["name"]: each for each in instruments()}
    assert set(listed) == {each.name for each in INSTRUMENTS}
    for each in INSTRUMENTS:
        for name in ("title", "formula", "how_to_read", "source", "rows", "pinned_by"):
            assert listed[each.name][name] == getattr(each, name)


@pytest.mark.parametrize("name", DECLARED)
def test_its_test_exists_and_demonstrates_every_row_that_it_names(name: str) -> None:
    found = pin(repository(), DECLARED[name]["pinned_by"])
    assert not found.fault
    assert set(DECLARED[name]["rows"]) <= set(found.rows)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for part in ("instruments", "models", "training"):
        (tmp_path / part).mkdir()
    monkeypatch.setattr(_declarations, "_SOURCE", tmp_path)
    return tmp_path


SPECIMEN = """\
SPECIMENS = (
    Specimen(name="{name}", title="t", build=f, formula="y = x", source="{source}", rows=({row}), pinned_by="t.py::t"),
)
"""


def specimen(path: Path, name: str = "a", source: str = "power2022grokking", row: str = '"relu",') -> None:
    path.write_text(SPECIMEN.format(name=name, source=source, row=row))


def test_the_family_is_the_file_or_training(house: Path) -> None:
    specimen(house / "models" / "_graph_network.py", "a")
    specimen(house / "training" / "_sam.py", "b")
    assert [(each["name"], each["family"], each["rows"]) for each in specimens()] == [
        ("a", "graph network", ("relu",)),
        ("b", "training", ("relu",)),
    ]


def test_two_of_one_name_are_refused(house: Path) -> None:
    specimen(house / "models" / "_one.py")
    specimen(house / "training" / "_two.py")
    with pytest.raises(DeepscopeError, match="two specimens have one name: a"):
        specimens()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"row": '"reluu",'}, r"unknown row of the map: reluu, in .*_one.py\nDid you mean \"relu\"\? Known: 640 names"),
        ({"source": "power2023grokking"}, r"unknown reference: power2023grokking, in .*_one.py\nDid you mean"),
    ],
)
def test_what_does_not_exist_is_named_with_its_file(house: Path, wrong: dict[str, str], said: str) -> None:
    specimen(house / "models" / "_one.py", **wrong)
    with pytest.raises(DeepscopeError, match=f"(?s){said}"):
        specimens()
    with pytest.raises(DeepscopeError, match="unknown row"):
        check_keys(house, "power2022grokking", ["nothing"])


def test_what_is_not_plain_or_not_python_is_refused(house: Path) -> None:
    path = house / "instruments" / "_one.py"
    path.write_text('ONE = Instrument(name="a", title=TITLE)\n')
    with pytest.raises(DeepscopeError, match=r"the instrument's title is not plain text: .*_one.py"):
        instruments()
    path.write_text("ONE = Instrument(\n")
    with pytest.raises(DeepscopeError, match=r"a file cannot be read \(.*_one.py"):
        instruments()
