"""Run the command line in this process, with its own store and folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from deepscope.cli import run

STUDY = """
from deepscope import Criterion, Grid, Study, per_seed

EFFECT = {effect}
{top}

def trial(case, run):
    {trial}
    return {{"gain": case.effect + 0.01 * run.seed}}

def judge(trials):
    return [
        Criterion.effect("gain", per_seed(trials, "gain", effect=EFFECT), above=0.5),
        Criterion.effect("gain of nothing", per_seed(trials, "gain", effect=0.0), within=0.4, control=True),
    ]

def draw(trials):
    from deepscope.figures import new

    figure, axes = new()
    axes.plot(trials["seed"], trials["gain"], "o")
    return figure

STUDY = Study(
    claim="An effect is there.",
    source="belkin2019reconciling",
    topics=("testing",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={{"smoke": Grid(seeds=1, effect=[EFFECT, 0.0]), "quick": Grid(seeds=3, effect=[EFFECT, 0.0])}},
    defaults={{"width": 8}},
    protocol="Nothing is done, three times.",
)
"""


@dataclass(frozen=True)
class Done:
    """What a call of the command line left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def deepscope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(*arguments: object, lines: int = 3) -> Done:
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr("sys.argv", ["deepscope", *words])
        capsys.readouterr()
        code = run(words)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert len(captured.err.splitlines()) <= lines, captured.err
        return Done(code, captured.out, captured.err)

    return call


@pytest.fixture
def study(deepscope: Callable[..., Done]) -> Callable[..., Path]:
    """Write the file of a study into the folder the command line runs in: 1.0 is reproduced, 0.5 open, 0.1 not."""

    def write(name: str = "gain.py", effect: float = 1.0, trial: str = "", top: str = "") -> Path:
        path = Path(name)
        path.write_text(STUDY.format(effect=effect, trial=trial, top=top))
        return path

    return write
