"""The identity of a study: what makes its recorded verdict stale, and what does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deepscope.core import UsageError
from deepscope.lab._closure import Walk
from deepscope.lab._followed import JUDGING_PARTS, Modules
from deepscope.lab._identity import study_code

STUDY = '''\
"""What is claimed."""
from deepscope import Criterion, Grid, Study, per_seed
from beside import drawn, limit, measured

WIDTHS = [1, 2]


def trial(case, run):
    # a comment
    return measured(case.width, run.seed)


def judge(trials):
    return [Criterion.effect("gain", per_seed(trials, "gain"), above=limit())]


def draw(trials):
    return drawn(trials)


STUDY = Study(
    claim="A gain.",
    source="belkin2019reconciling",
    topics=("testing",),
    rows=("grokking",),
    protocol="Done.",
    caption="Points.",
    trial=trial,
    judge=judge,
    draw=draw,
    scales={"quick": Grid(seeds=3, width=WIDTHS)},
    defaults={"depth": 2},
    timeout=5,
)
'''
BESIDE = """\
from far import unit

def measured(width, seed): return {"gain": width}
def limit(): return unit()
def drawn(trials): return None
def unused(): return 0
"""
FAR = "def unit(): return 1\n"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "study.py").write_text(STUDY)
    (tmp_path / "beside.py").write_text(BESIDE)
    (tmp_path / "far.py").write_text(FAR)
    return tmp_path / "study.py"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


CHANGES = [
    ("study.py", "case.width", "case.depth"),
    ("study.py", 'per_seed(trials, "gain")', 'per_seed(trials, "loss")'),
    ("study.py", "drawn(trials)", "drawn(None)"),
    ("study.py", '"A gain."', '"A loss."'),
    ("study.py", '("grokking",)', '("grokking", "relu")'),
    ("study.py", "seeds=3", "seeds=4"),
    ("study.py", "WIDTHS = [1, 2]", "WIDTHS = [1, 3]"),
    ("study.py", '"depth": 2', '"depth": 3'),
    ("beside.py", '"gain": width', '"gain": seed'),
    ("beside.py", "return None", "return 1"),
    ("far.py", "return 1", "return 2"),
]
SAME = [
    ("study.py", "# a comment", "# another"),
    ("study.py", '"""What is claimed."""', ""),
    ("study.py", '"Done."', '"Carefully done."'),
    ("study.py", '"Points."', '"Dots."'),
    ("study.py", '("testing",)', '("testing", "more")'),
    ("study.py", "timeout=5", "timeout=6"),
    ("study.py", "belkin2019reconciling", "power2022grokking"),
    ("beside.py", "return 0", "return 5"),
]


@pytest.mark.parametrize(("file", "old", "new", "changed"), [(*c, True) for c in CHANGES] + [(*s, False) for s in SAME])
def test_an_edit(study: Path, file: str, old: str, new: str, changed: bool) -> None:
    before = study_code("study", study).identity
    edit(study.parent / file, old, new)
    assert (study_code("study", study).identity != before) == changed


@pytest.mark.parametrize("name", ["deepscope.core.criterion:interval", "deepscope.core.study:per_seed"])
def test_how_criteria_decide_counts_for_a_study_but_not_for_its_trials(study: Path, name: str) -> None:
    assert name in Walk(Modules("study", study, JUDGING_PARTS), ["judge"]).result()
    assert name not in Walk(Modules("study", study), ["judge"]).result()


def test_how_figures_look_counts_for_a_study(study: Path) -> None:
    edit(study.parent / "beside.py", "return None", "return figures.new()")
    edit(study.parent / "beside.py", "from far", "from deepscope import figures\nfrom far")
    found = Walk(Modules("study", study, JUDGING_PARTS), ["draw"]).result()
    assert any(label.startswith("deepscope.figures") for label in found)


def test_the_files_of_a_study_are_its_own_and_those_beside_it_that_it_uses(study: Path) -> None:
    (study.parent / "other.py").write_text("x = 1\n")
    assert [path.name for path in study_code("study", study).files] == ["study.py", "beside.py", "far.py"]


def test_a_file_without_a_study_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.py"
    path.write_text("x = 1\n")
    with pytest.raises(UsageError, match="holds no study"):
        study_code("none", path)


def test_it_is_found_without_importing_the_study(study: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from deepscope.lab._identity import study_code\n"
        f"study_code('study', Path({str(study)!r})); sys.exit('torch' in sys.modules or 'study' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
