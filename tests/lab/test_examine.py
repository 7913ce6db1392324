"""examine: what runs, what does not, and that one failure is only its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import deepscope
from deepscope import Subject
from deepscope.core import DoesNotApplyError, Needs, UsageError
from deepscope.instruments import ANATOMY, INSTRUMENTS, SPECTRUM
from deepscope.lab import _target as target

NEEDING_DATA = tuple(each.name for each in INSTRUMENTS if Needs.DATA in each.needs)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 5))


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.randn(10, 20), torch.arange(10) % 5) for _ in range(2)]


def test_a_model_with_data_gets_every_instrument() -> None:
    examination = deepscope.examine(network(), data=batches(), loss=functional.cross_entropy)
    assert list(examination.readings) == [each.name for each in INSTRUMENTS]
    assert examination.not_run == ()
    assert examination.failed == ()


def test_what_does_not_apply_is_no_failure_unless_it_was_asked_for() -> None:
    def measure(subject: Subject, **_: object) -> None:
        raise DoesNotApplyError("there are no such things in this network", where=subject.name, todo="Look elsewhere.")

    odd = replace(ANATOMY, name="odd", measure=measure, per_weight=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, "INSTRUMENTS", (ANATOMY, odd))
        everything = deepscope.examine(network())
    assert [each.name for each in everything.not_run] == ["odd"]
    assert everything.failed == ()
    assert deepscope.examine(network(), instruments=[ANATOMY, odd]).failed == ("odd",)


def test_without_data_instruments_that_need_it_are_not_run_and_say_why() -> None:
    examination = deepscope.examine(network())
    assert list(examination.readings) == ["anatomy", "spectrum"]
    assert tuple(name for name, _ in examination.not_run) == NEEDING_DATA
    assert all("needs data" in reason for _, reason in examination.not_run)
    assert examination.failed == ()


@pytest.mark.parametrize(
    ("data", "loss", "word"),
    [
        ([(torch.randn(4, 7), torch.zeros(4).long())], functional.cross_entropy, "mat1"),
        ([(torch.randn(4, 20), torch.full((4,), 99))], functional.cross_entropy, "99"),
        ([(torch.full((4, 20), torch.nan), torch.zeros(4).long())], functional.cross_entropy, "hold NaN"),
        ([(torch.randn(4, 20), torch.zeros(4).long())], lambda out, t: out.sum() * torch.nan, "the loss is nan"),
        ([torch.randn(4, 20)], functional.cross_entropy, "pair"),
        ([], functional.cross_entropy, "no samples"),
        ([(torch.randn(4, 20), torch.zeros(4).long())], lambda out, t: out, "scalar"),
    ],
    ids=["shape", "label out of range", "NaN inputs", "NaN loss", "no pair", "empty", "no scalar"],
)
def test_bad_data_costs_only_the_instruments_that_need_it(data: list, loss: object, word: str) -> None:
    examination = deepscope.examine(network(), data=data, loss=loss)
    assert set(examination.readings) >= {"anatomy", "spectrum"}
    # What needs no loss may do without one.
    assert set(NEEDING_DATA) >= set(examination.failed) >= {"health", "noise"}
    for name in ("health", "noise"):
        assert word in dict(examination.not_run)[name]


def test_an_instrument_that_raises_costs_only_itself() -> None:
    def broken(*arguments: object, **effort: object) -> None:
        raise ZeroDivisionError("planted")

    bad_step = replace(ANATOMY, name="broken-step", per_weight=replace(ANATOMY.per_weight, step=broken))
    bad_gather = replace(ANATOMY, name="broken-gather", per_weight=replace(ANATOMY.per_weight, gather=broken))
    bad_measure = replace(ANATOMY, name="broken-measure", per_weight=None, measure=broken)
    examination = deepscope.examine(network(), instruments=[bad_step, bad_gather, bad_measure, SPECTRUM])
    assert list(examination.readings) == ["spectrum"]
    assert set(examination.failed) == {"broken-step", "broken-gather", "broken-measure"}
    assert all(reason == "ZeroDivisionError: planted" for _, reason in examination.not_run)


def test_each_tensor_is_read_once_for_all_instruments(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepscope.subject import ModuleWeight

    read: list[str] = []
    original = ModuleWeight.read
    monkeypatch.setattr(ModuleWeight, "read", lambda self: (read.append(self.name), original(self))[1])
    model = network()
    deepscope.examine(model)
    assert sorted(read) == sorted(name for name, _ in model.named_parameters())


def test_names_are_checked_before_anything_runs() -> None:
    with pytest.raises(UsageError, match='Did you mean "spectrum"'):
        deepscope.examine(network(), instruments=["spectrm"])
    with pytest.raises(UsageError, match="Known: deep, quick, standard"):
        deepscope.examine(network(), budget="huge")
    with pytest.raises(UsageError, match="cannot examine a int"):
        deepscope.examine(3)


def test_the_record_is_plain_json_with_the_promised_parts() -> None:
    record = deepscope.examine(network(), data=batches(), loss=functional.cross_entropy).to_dict()
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again == record
    assert record["schema"] == "deepscope.examination/1"
    assert {"schema", "subject", "readings", "findings", "not_run", "cost"} <= record.keys()
    for reading in record["readings"].values():
        assert {"table", "left_out"} <= reading.keys()
        assert all("name" in row for row in reading["table"])
    assert record["cost"]["forward_passes"] > 0


def test_the_seed_decides_everything() -> None:
    subject = Subject(network(), batches(), functional.cross_entropy)
    one, other = (deepscope.examine(subject, seed=3) for _ in range(2))
    assert one.readings == other.readings


def test_findings_come_worst_first() -> None:
    model = network()
    with torch.no_grad():
        model[4].weight.zero_()
        model[0].weight[0, 0] = torch.nan
    findings = deepscope.examine(model).findings
    assert [finding.where for finding in findings[:2]] == ["0.weight", "4.weight"]
    assert [finding.rank for finding in findings] == sorted(finding.rank for finding in findings)


def test_save_as_page_and_as_data(tmp_path: Path) -> None:
    examination = deepscope.examine(network())
    assert "<html" in examination.save(tmp_path / "report.html").read_text()
    assert json.loads(examination.save(tmp_path / "report.json").read_text()) == examination.to_dict()
    with pytest.raises(UsageError, match=r"\.html or \.json"):
        examination.save(tmp_path / "report.doc")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_shows_itself_in_a_terminal_and_a_notebook() -> None:
    examination = deepscope.examine(network())
    assert "Sequential" in str(examination)
    assert "iframe" in examination._repr_html_()
    assert "Sequential" in repr(examination)


def test_a_figure_that_cannot_be_drawn_does_not_lose_the_report(tmp_path: Path) -> None:
    class Undrawable(ANATOMY.reading):  # type: ignore[name-defined,misc]
        def plot(self) -> None:
            raise ZeroDivisionError("planted")

    examination = deepscope.examine(network(), instruments=["anatomy"])
    reading = examination.readings["anatomy"]
    changed = Undrawable(**{name: getattr(reading, name) for name in reading.__dataclass_fields__})
    broken = replace(examination, readings={"anatomy": changed})
    assert "could not be drawn" in broken.save(tmp_path / "r.html").read_text()


def test_layers_are_in_forward_order() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(8, 5), nn.Linear(20, 8)
            self.scale = nn.Parameter(torch.ones(3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x).relu())

    with_data = deepscope.examine(Backwards(), data=batches(), loss=functional.cross_entropy)
    assert with_data.to_dict()["subject"]["layers"] == ["scale", "first", "last"]
    without = deepscope.examine(Backwards())
    assert without.to_dict()["subject"]["layers"] == ["scale", "last", "first"]


def test_a_bfloat16_checkpoint_with_tied_and_integer_tensors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shared = torch.randn(40, 30).bfloat16()
    torch.save(
        {"a.weight": shared, "b.weight": shared, "ids": torch.arange(5), "c.weight": shared[:0]}, tmp_path / "m.pt"
    )
    examination = deepscope.examine(tmp_path / "m.pt")
    spectra = examination.readings["spectrum"]
    assert list(spectra.table()["name"]) == ["a.weight"]
    assert spectra.table()["alpha"].notna().all()
    assert {"b.weight", "ids", "c.weight"} <= {name for name, _ in spectra.left_out}
    assert examination.problems == ()


def test_the_first_examination_of_a_process_moves_no_generator() -> None:
    program = (
        "import random, numpy, torch, deepscope\n"
        "def state(): return random.getstate(), str(numpy.random.get_state()), torch.get_rng_state().tolist()\n"
        "model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout())\n"
        "before = state()\n"
        "deepscope.examine(model, data=[(torch.ones(4, 4), torch.zeros(4).long())], loss='cross_entropy')\n"
        "assert state() == before"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_git_commit_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert deepscope.examine(nn.Linear(2, 2), instruments=["anatomy"]).to_dict()["commit"] == ""
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "file").write_text("one")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    clean = deepscope.examine(nn.Linear(2, 2), instruments=["anatomy"]).commit
    assert len(clean) == 40
    (tmp_path / "file").write_text("two")
    assert deepscope.examine(nn.Linear(2, 2), instruments=["anatomy"]).commit == f"{clean}+"
