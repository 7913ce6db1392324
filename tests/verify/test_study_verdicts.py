"""Every study's verdict at quick is the one that the README states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deepscope.lab import run_study
from deepscope.studies import catalog

pytestmark = pytest.mark.verify

README = Path(__file__).parents[2] / "README.md"
STATED = dict(
    re.findall(r"^\| `([a-z-]+)` \| .* \| (reproduced|not reproduced|inconclusive) \|$", README.read_text(), re.M)
)


def test_the_readme_states_a_verdict_for_every_study() -> None:
    assert set(STATED) == {heading.id for heading in catalog()}


@pytest.mark.parametrize("study", sorted(STATED))
def test_the_verdict_is_as_stated(study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path))
    record = run_study(study).record
    assert (record["verdict"], record["failed"]) == (STATED[study], 0)
