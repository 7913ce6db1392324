"""deepscope examine, as somebody types it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deepscope.core import Needs
from deepscope.instruments import INSTRUMENTS

MODELS = """
import torch
from torch import nn
from torch.nn import functional

def network():
    torch.manual_seed(0)
    print("the factory says hello")
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

def broken():
    raise KeyError("planted")

def exits():
    raise SystemExit(5)

def unseeded():
    return nn.Linear(20, 20)

class Leaving(nn.Linear):
    def forward(self, x):
        raise SystemExit(0)

def leaving():
    return Leaving(8, 8)

class Unlistable(nn.Linear):
    def named_parameters(self, *arguments, **options):
        raise RuntimeError("no parameters today")

def unlistable():
    return Unlistable(8, 8)

def number():
    return 5

def batches():
    return [(torch.randn(8, 1, 8, 8), torch.arange(8) % 10)]

def wrong_labels():
    return [(torch.randn(8, 1, 8, 8), torch.full((8,), 77))]

def loss(outputs, targets):
    return functional.cross_entropy(outputs, targets)
"""


@pytest.fixture
def here(deepscope: Callable) -> Path:
    name = f"models_{os.getpid()}_{torch.randint(10**9, ()).item()}"
    (Path.cwd() / f"{name}.py").write_text(MODELS)
    return Path(name)


@pytest.fixture
def checkpoint(deepscope: Callable) -> Path:
    torch.manual_seed(0)
    save_file({k: v.contiguous() for k, v in nn.Linear(40, 30).state_dict().items()}, "model.safetensors")
    return Path("model.safetensors")


def test_a_checkpoint(deepscope: Callable, checkpoint: Path) -> None:
    done = deepscope("examine", checkpoint)
    assert done.code == 0
    assert "weight" in done.out
    assert "Examining" in done.err
    (run,) = json.loads(deepscope("runs", "list", "--json").out)
    assert run["name"] == "model.safetensors"
    assert deepscope("runs", "list").out == f"{run['id']}  examination  {run['outcome']}\n"


def test_json_is_one_object_on_stdout_even_if_the_model_prints(deepscope: Callable, here: Path) -> None:
    done = deepscope("examine", f"{here}:network", "--data", "digits", "--json")
    record = json.loads(done.out)
    assert set(record["readings"]) == {each.name for each in INSTRUMENTS}
    assert record["command"].startswith("deepscope examine")
    assert done.code == 0


def test_data_and_loss_by_name_and_by_function(deepscope: Callable, here: Path) -> None:
    for data, loss in ((f"{here}:batches", "cross_entropy"), (f"{here}:batches", f"{here}:loss")):
        given = ("--data", data, "--loss", loss, "--instruments", "health")
        done = deepscope("examine", f"{here}:network", *given, "--json")
        assert "health" in json.loads(done.out)["readings"]


def test_weights_are_loaded_into_the_factory_s_model(deepscope: Callable, here: Path) -> None:
    state = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).state_dict()
    state["1.weight"].zero_()
    torch.save(state, "zero.pt")
    done = deepscope("examine", f"{here}:network", "--weights", "zero.pt", "--json", "--strict")
    assert done.code == 1
    assert [f["where"] for f in json.loads(done.out)["findings"] if f["severity"] == "problem"] == ["1.weight"]
    torch.save({"1.weight": torch.zeros(3, 3)}, "other.pt")
    done = deepscope("examine", f"{here}:network", "--weights", "other.pt")
    assert done.code == 2
    assert "does not fit Sequential" in done.err


def test_layers_and_instruments_choose(deepscope: Callable, here: Path) -> None:
    done = deepscope("examine", f"{here}:network", "--layers", "3*", "--instruments", "anatomy", "--json")
    record = json.loads(done.out)
    assert list(record["readings"]) == ["anatomy"]
    assert [row["name"] for row in record["readings"]["anatomy"]["table"]] == ["3.weight", "3.bias"]


def test_own_instrument_runs_like_ours(deepscope: Callable, checkpoint: Path) -> None:
    done = deepscope("examine", checkpoint, "--instruments", "deepscope.instruments:ANATOMY", "--json")
    assert list(json.loads(done.out)["readings"]) == ["anatomy"]


def test_strict_with_a_baseline_fails_on_new_problems_only(deepscope: Callable) -> None:
    linear = nn.Linear(40, 30)
    with torch.no_grad():
        linear.weight[0, 0] = torch.nan
    torch.save(linear.state_dict(), "old.pt")
    assert deepscope("examine", "old.pt", "--strict").code == 1
    Path("old.json").write_text(deepscope("examine", "old.pt", "--json").out)
    assert deepscope("examine", "old.pt", "--strict", "--baseline", "old.json").code == 0
    with torch.no_grad():
        linear.bias[0] = torch.inf
    torch.save(linear.state_dict(), "new.pt")
    assert deepscope("examine", "new.pt", "--strict", "--baseline", "old.json").code == 1
    with torch.no_grad():
        linear.bias.zero_()
        linear.weight.zero_()
    torch.save(linear.state_dict(), "worse.pt")
    # The same tensor, but another problem: all zero rather than NaN.
    assert deepscope("examine", "worse.pt", "--strict", "--baseline", "old.json").code == 1
    Path("bad.json").write_text("[]")
    assert deepscope("examine", "new.pt", "--strict", "--baseline", "bad.json").code == 2


def test_instrument_that_fails_is_partly_done(deepscope: Callable, here: Path) -> None:
    chosen = "anatomy,spectrum,health"
    data = ("--data", f"{here}:wrong_labels", "--loss", "cross_entropy")
    done = deepscope("examine", f"{here}:network", *data, "--instruments", chosen, "--json")
    assert done.code == 3
    record = json.loads(done.out)
    assert set(record["readings"]) == {"anatomy", "spectrum"}
    assert "77" in record["not_run"][0]["reason"]


def test_instrument_asked_for_but_impossible_is_partly_done(deepscope: Callable, checkpoint: Path) -> None:
    done = deepscope("examine", checkpoint, "--instruments", "health,anatomy")
    assert done.code == 3
    assert "health needs" in done.err


def test_report_as_page_and_as_data(deepscope: Callable, checkpoint: Path) -> None:
    assert deepscope("examine", checkpoint, "--out", "r.html").code == 0
    assert Path("r.html").read_text().count("<svg") >= 2
    assert deepscope("examine", checkpoint, "--out", "r.json").code == 0
    assert json.loads(Path("r.json").read_text())["schema"] == "deepscope.examination/1"
    assert sorted(p.name for p in Path().iterdir()) == ["model.safetensors", "r.html", "r.json"]


def test_runs_show_gives_the_same_again(deepscope: Callable, checkpoint: Path) -> None:
    record = json.loads(deepscope("examine", checkpoint, "--json").out)
    assert json.loads(deepscope("runs", "show", "last", "--json").out) == record
    assert deepscope("runs", "show", "--out", "again.html").code == 0
    assert Path("again.html").read_text().count("<svg") >= 2
    assert deepscope("runs", "show", "never").code == 2
    assert json.loads(deepscope("runs", "list", "--json").out)[0]["name"] == record["subject"]["name"]


def test_settings_come_from_flag_then_environment_then_file(
    deepscope: Callable, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def budget(*flags: str) -> str:
        return json.loads(deepscope("examine", checkpoint, "--json", *flags).out)["budget"]

    assert budget() == "standard"
    Path("deepscope.toml").write_text('[examine]\nbudget = "deep"\n')
    assert budget() == "deep"
    monkeypatch.setenv("DEEPSCOPE_EXAMINE_BUDGET", "quick")
    assert budget() == "quick"
    assert budget("--budget", "standard") == "standard"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["examine", "missing.safetensors"], "missing.safetensors"),
        (["examine", "{m}:nothing"], "nothing"),
        (["examine", "{m}:broken"], "planted"),
        (["examine", "{m}:exits"], "SystemExit"),
        (["examine", "{m}:number"], "int"),
        (["examine", "no_such_module:f"], "no_such_module"),
        (["examine", "{m}:network", "--instruments", "spectrm"], 'Did you mean "spectrum"'),
        (["examine", "{m}:network", "--instruments", ""], "no instrument"),
        (["examine", "{m}:network", "--data", "mnits"], 'Did you mean "mnist"'),
        (["examine", "{m}:network", "--data", "{m}:nothing"], "nothing"),
        (["examine", "{m}:network", "--loss", "cros_entropy"], 'Did you mean "cross_entropy"'),
        (["examine", "{m}:network", "--layers", "zzz"], "zzz"),
        (["examine", "{m}:network", "--layers", ""], "no layer or tensor matches"),
        (["examine", "{m}:network", "--device", "abacus"], "abacus"),
        (["examine", "{m}:network", "--budget", "huge"], "huge"),
        (["examine", "{m}:network", "--seed", "many"], "many"),
        (["examine", "{m}:network", "--out", "no/such/folder/r.html"], "cannot be written"),
        (["examine", "{m}:network", "--out", "r.doc"], "r.doc"),
        (["examine", "--data", "digits"], "demo"),
        (["examine", "--frobnicate"], "frobnicate"),
        (["frobnicate"], "frobnicate"),
        (["compare", "missing.pt", "missing.pt"], "missing.pt"),
        (["compare", "{m}:network", "missing.pt", "missing.pt"], "missing.pt"),
        (["compare", "{m}:network", "{m}:network", "{m}:network", "--data", "digits"], "compare two"),
        (["compare", "{m}:network", "{m}:network", "{m}:network", "--instruments", "anatomy"], "compare two"),
        (["data", "fetch", "mnits"], 'Did you mean "mnist"'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_clear_error(deepscope: Callable, here: Path, arguments: list[str], word: str) -> None:
    before = sorted(p.name for p in Path().iterdir() if not p.name.startswith("__"))
    done = deepscope(*(argument.replace("{m}", str(here)) for argument in arguments))
    assert done.code == 2
    assert word in done.err
    assert done.out == ""
    assert sorted(p.name for p in Path().iterdir() if not p.name.startswith("__")) == before


def test_a_full_disk_leaves_nothing_half_written(
    deepscope: Callable, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = deepscope("examine", checkpoint, "--out", "r.html", lines=4)
    assert done.code == 2
    assert "No space left" in done.err
    assert "The run was not stored" in done.err
    assert [p.name for p in Path().iterdir()] == ["model.safetensors"]
    assert list(Path("../home/runs").iterdir()) == []


def test_a_store_that_cannot_be_written_costs_only_the_store(
    deepscope: Callable, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("")
    monkeypatch.setenv("DEEPSCOPE_HOME", str(Path.cwd() / "file" / "home"))
    done = deepscope("examine", checkpoint, "--json")
    assert done.code == 3
    assert "DEEPSCOPE_HOME" in done.err
    assert json.loads(done.out)["readings"]


def test_compare(deepscope: Callable, checkpoint: Path) -> None:
    other = nn.Linear(40, 30)
    torch.save(other.state_dict(), "other.pt")
    done = deepscope("compare", checkpoint, "other.pt", "--json", "--out", "c.html")
    assert done.code == 0
    assert json.loads(done.out)["schema"] == "deepscope.comparison/1"
    assert Path("c.html").exists()
    assert deepscope("compare", checkpoint, "other.pt").code == 0


def test_compare_a_trajectory(deepscope: Callable, checkpoint: Path) -> None:
    torch.manual_seed(0)
    names = [f"step{step}.pt" for step in range(3)]
    for name in names:
        torch.save(nn.Linear(40, 30).state_dict(), name)
    done = deepscope("compare", *names, "--json", "--out", "t.html")
    assert done.code == 0
    record = json.loads(done.out)
    assert record["schema"] == "deepscope.trajectory/1"
    assert [row["step"] for row in record["table"]] == [0, 1, 2]
    assert record["command"] == "deepscope compare step0.pt step1.pt step2.pt --out t.html --json"
    assert Path("t.html").exists()
    done = deepscope("compare", *names, "--budget", "quick")
    assert done.code == 0
    assert "3 steps, step0.pt to step2.pt" in done.out


def test_doctor_and_data_list(deepscope: Callable) -> None:
    assert "torch" in deepscope("doctor").out
    assert json.loads(deepscope("doctor", "--json").out)["data"]["digits"] == "built in"
    assert "mnist" in deepscope("data", "list").out
    assert {row["name"] for row in json.loads(deepscope("data", "list", "--json").out)} >= {"digits", "mnist", "names"}


def test_offline_never_fetches(deepscope: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPSCOPE_DATA", raising=False)
    monkeypatch.setenv("DEEPSCOPE_OFFLINE", "")
    monkeypatch.setattr("socket.socket.connect", lambda *a: pytest.fail("opened a connection"))
    done = deepscope("data", "fetch", "names", "--offline")
    assert done.code == 2
    assert "names.txt" in done.err


def test_the_seed_reaches_the_factory_and_the_recorded_command_repeats_it(
    deepscope: Callable, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSCOPE_EXAMINE_BUDGET", "quick")

    def record(*words: str) -> dict:
        return json.loads(deepscope("examine", f"{here}:unseeded", "--json", *words).out)

    first, again, other = record("--seed", "3"), record("--seed", "3"), record("--seed", "4")
    assert first["readings"]["anatomy"]["table"] == again["readings"]["anatomy"]["table"]
    assert first["readings"]["anatomy"]["table"] != other["readings"]["anatomy"]["table"]
    assert first["command"] == f"deepscope examine {here}:unseeded --budget quick --json --seed 3"


def test_a_model_that_exits_costs_only_the_instruments_that_run_it(deepscope: Callable, here: Path) -> None:
    # A line for what is examined, and one for each instrument that runs the model.
    lines = 1 + sum(Needs.MODEL in each.needs for each in INSTRUMENTS)
    done = deepscope("examine", f"{here}:leaving", "--data", f"{here}:batches", "--json", lines=lines)
    assert done.code == 3
    assert set(json.loads(done.out)["readings"]) == {"anatomy", "spectrum"}


def test_a_fault_of_ours_is_said_and_not_thrown(deepscope: Callable, here: Path) -> None:
    done = deepscope("examine", f"{here}:unlistable")
    assert done.code == 2
    assert "RuntimeError: no parameters today" in done.err


def test_broken_settings_are_named(deepscope: Callable, checkpoint: Path) -> None:
    Path("deepscope.toml").write_text("x = [")
    done = deepscope("examine", checkpoint)
    assert done.code == 2
    assert str(Path.cwd() / "deepscope.toml") in done.err


def test_meta_is_no_device_to_measure_on(deepscope: Callable, here: Path) -> None:
    assert deepscope("examine", f"{here}:network", "--device", "meta").code == 2


def test_a_damaged_record_is_one_clear_error(deepscope: Callable, checkpoint: Path) -> None:
    deepscope("examine", checkpoint)
    [run] = Path("../home/runs").iterdir()
    for damage in ("[]", '{"subject": {}}', "{"):
        (run / "record.json").write_text(damage)
        done = deepscope("runs", "show")
        assert done.code == 2
        assert "record.json" in done.err


def test_compare_says_what_was_not_run(deepscope: Callable, checkpoint: Path) -> None:
    done = deepscope("compare", checkpoint, checkpoint, "--instruments", "anatomy,health", "--json")
    assert done.code == 3
    record = json.loads(done.out)
    assert record["failed"] == ["health"]
    assert [entry["name"] for entry in record["left_out"]] == ["health", "health"]
    assert "health needs" in done.err
