"""What a file declares, read without running it."""

from pathlib import Path

import pytest

from deepscope.core import declared

TEXT = """
raise RuntimeError("never run")
ONE = Thing(name="one", size=3, made=lambda: 1, words=("a", "b" "c"), **more)
SEVERAL: tuple = (Thing(name="two"), Other(name="no"), Thing(name=f"{ONE}"))
def inside():
    hidden = Thing(name="hidden")
"""


def test_plain_fields_of_every_declaration_at_the_top(tmp_path: Path) -> None:
    path = tmp_path / "things.py"
    path.write_text(TEXT)
    assert declared(path, "Thing") == ({"name": "one", "size": 3, "words": ("a", "bc")}, {"name": "two"}, {})
    assert declared(path, "Missing") == ()


def test_what_is_not_python_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "things.py"
    path.write_text("ONE = Thing(")
    with pytest.raises(SyntaxError):
        declared(path, "Thing")
