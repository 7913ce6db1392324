"""deepscope study list|show|new, as somebody types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deepscope.studies import catalog


def test_the_atlas_is_listed(deepscope: Callable) -> None:
    listed = json.loads(deepscope("study", "list", "--json").out)
    assert [study["id"] for study in listed] == [heading.id for heading in catalog()]
    assert "vanishing-gradient" in [study["id"] for study in listed]
    assert all(list(study) == ["id", "claim", "topics", "rows", "source"] for study in listed)
    shown = deepscope("study", "list")
    assert shown.code == 0
    assert all(study["id"] in shown.out for study in listed)


def test_a_study_of_the_atlas_is_shown(deepscope: Callable) -> None:
    study = json.loads(deepscope("study", "show", "vanishing-gradient", "--json").out)
    (listed,) = [each for each in json.loads(deepscope("study", "list", "--json").out) if each["id"] == study["id"]]
    assert listed.items() <= study.items()
    assert set(study["scales"]) == {"smoke", "quick", "full"}
    assert Path(study["path"]).is_file()
    shown = deepscope("study", "show", "vanishing-gradient")
    assert shown.code == 0
    assert "deepscope study run vanishing-gradient" in shown.out


def test_a_study_of_one_s_own_is_shown(deepscope: Callable, study: Callable) -> None:
    path = study(top="print('importing')")
    done = deepscope("study", "show", path, "--json")
    assert json.loads(done.out) == {
        "id": "gain",
        "claim": "An effect is there.",
        "source": "belkin2019reconciling",
        "topics": ["testing"],
        "rows": [],
        "protocol": "Nothing is done, three times.",
        "defaults": {"width": 8},
        "scales": {
            "smoke": {"cases": 2, "seeds": 1, "trials": 2},
            "quick": {"cases": 2, "seeds": 3, "trials": 6},
        },
        "timeout": 3600.0,
        "path": str(path.resolve()),
    }
    shown = deepscope("study", "show", path)
    assert "deepscope study run gain.py" in shown.out
    assert "importing" not in shown.out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["show"], "show"),
        (["show", "vanishing-gradent"], 'Did you mean "vanishing-gradient"'),
        (["show", "missing.py"], "missing.py"),
        (["show", "broken.py"], "broken.py, line 2"),
        (["new"], "new"),
        (["new", "my claim"], "my claim"),
        (["new", "../claim"], "../claim"),
        (["new", "broken"], "broken.py"),
        (["nwe", "claim"], "nwe"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_clear_error(deepscope: Callable, arguments: list[str], word: str) -> None:
    Path("broken.py").write_text("x = 1\nx = 1 / 0\n")
    done = deepscope("study", *arguments)
    assert done.code == 2
    assert word in done.err
    assert done.out == ""
    assert Path("broken.py").read_text() == "x = 1\nx = 1 / 0\n"
    assert [path.name for path in Path().iterdir() if path.suffix] == ["broken.py"]


def test_a_new_study_runs_as_it_is(deepscope: Callable) -> None:
    done = deepscope("study", "new", "my-claim")
    assert done.code == 0
    path, command = Path("my_claim.py"), done.out.splitlines()[-1]
    assert command == "deepscope study run my_claim.py"
    assert path.is_file()
    record = json.loads(deepscope(*command.split()[1:], "--executor", "inline", "--json").out)
    assert (record["study"], record["failed"], record["verdict"]) == ("my-claim", 0, "reproduced")
    again = deepscope("study", "new", "my-claim")
    assert again.code == 2
    assert "my_claim.py" in again.err


def test_a_new_study_is_not_written_where_nothing_can_be(deepscope: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = deepscope("study", "new", "my-claim")
    assert done.code == 2
    assert "No space left" in done.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("", "study runs examine compare data doctor"),
        ("study", "list show run new"),
        ("runs", "list show compare export gc"),
        (
            "study run",
            "--scale smoke quick full --executor inline pool ray --address --workers --fresh --dry-run --set "
            "name=value --seeds --timeout --memory GiB --device --mirror tensorboard --out --json --offline 0: 1: 3:",
        ),
        ("runs export", "--csv --parquet last"),
        ("runs gc", "--dry-run --json"),
    ],
    ids=lambda value: value if not value.startswith("-") else "",
)
def test_help_names_everything_once(deepscope: Callable, verb: str, words: str) -> None:
    done = deepscope(*verb.split(), "--help")
    assert done.code == 0
    assert [word for word in words.split() if word not in done.out] == []
    # No flag has a twin that switches it off again.
    assert "--no-" not in done.out
    assert "--empty-" not in done.out
