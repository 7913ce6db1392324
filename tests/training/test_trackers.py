from __future__ import annotations

import random
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import MeasurementError, UsageError
from deepscope.training import (
    Callback,
    Checkpoint,
    Evaluate,
    Mirror,
    MLflow,
    TensorBoard,
    Tracker,
    WandB,
    cosine,
    fit,
    mirror_trial,
    tracker,
)
from deepscope.training._guarded import Guarded

X = torch.randn(23, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
STEPS_PER_EPOCH = 3


class Remembering(Tracker):
    """Keeps what it is told: runs as (name, parameters, [(step, numbers)], closed)."""

    def __init__(self) -> None:
        self.runs: list[SimpleNamespace] = []

    def open(self, name, parameters) -> None:
        self.runs.append(SimpleNamespace(name=name, parameters=dict(parameters), points=[], closed=0))

    def log(self, numbers, step) -> None:
        self.runs[-1].points.append((step, dict(numbers)))

    def close(self) -> None:
        self.runs[-1].closed += 1


class Failing(Tracker):
    """Counts what it is asked, and fails at one of its methods."""

    def __init__(self, fails_at: str, after: int = 0) -> None:
        self.fails_at, self.after, self.calls = fails_at, after, []

    def _called(self, method: str) -> None:
        self.calls.append(method)
        if method == self.fails_at and self.calls.count(method) > self.after:
            raise ConnectionError("the server is gone\nand more")

    def open(self, name, parameters) -> None:
        self._called("open")

    def log(self, numbers, step) -> None:
        self._called("log")

    def close(self) -> None:
        self._called("close")


class Drawing(Tracker):
    """Draws from every global generator."""

    def _draw(self) -> None:
        random.random()
        np.random.standard_normal()  # noqa: NPY002
        torch.rand(1)

    def open(self, name, parameters) -> None:
        self._draw()

    def log(self, numbers, step) -> None:
        self._draw()

    def close(self) -> None:
        self._draw()


class StopAt(Callback):
    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_step(self, state) -> None:
        if state.step == self.step:
            raise InterruptedError


def train(*callbacks: Callback, epochs: int = 3, checkpoint: Checkpoint | None = None):
    """Train with a dropout, which draws from torch's global generator."""
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
    return fit(
        model,
        lambda epoch: [(X[part], Y[part]) for part in torch.randperm(len(X)).split(8)],
        functional.cross_entropy,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        epochs=epochs,
        schedule=cosine(9),
        callbacks=callbacks,
        checkpoint=checkpoint,
    )


def expected(history, every: int) -> list[tuple[int, dict[str, float]]]:
    """What a tracker should be told, written out step by step."""
    points = []
    for step in range(len(history.loss)):
        if step % every == 0:
            points.append((step, {"loss": history.loss[step], "lr_factor": history.lr_factor[step]}))
        if (step + 1) % STEPS_PER_EPOCH == 0:
            record = history.epochs[step // STEPS_PER_EPOCH]
            names = ("loss", "test_loss", "test_accuracy")
            points.append((step + 1, {f"epoch/{name}": record[name] for name in names if name in record}))
    return points


@pytest.mark.parametrize("every", [1, 2, 4, 100])
def test_steps_and_epochs_are_mirrored(every: int) -> None:
    remembering = Remembering()
    history = train(
        Evaluate([(X, Y)], functional.cross_entropy),
        Mirror(remembering, every_steps=every, name="mine", parameters={"width": 16}),
    )
    (run,) = remembering.runs
    assert (run.name, run.closed) == ("mine", 1)
    assert run.parameters == {"model": "Sequential", "optimizer": "SGD", "width": 16}
    assert run.points == expected(history, every)


def test_runs_without_a_name_are_told_apart() -> None:
    remembering = Remembering()
    mirror = Mirror(remembering)
    train(mirror)
    train(mirror)
    first, second = remembering.runs
    assert first.name != second.name
    assert first.name.startswith("Sequential 2")
    assert first.points == second.points
    assert (first.closed, second.closed) == (1, 1)


def test_a_resumed_training_is_a_run_of_its_own_that_shows_every_point_once(tmp_path: Path) -> None:
    remembering = Remembering()
    checkpoint = Checkpoint(tmp_path / "c", every_steps=2)
    with pytest.raises(InterruptedError):
        train(StopAt(5), Mirror(remembering, every_steps=2), checkpoint=checkpoint)
    history = train(StopAt(None), Mirror(remembering, every_steps=2), checkpoint=checkpoint)
    first, second = remembering.runs
    assert second.points == expected(history, 2)
    # Step 4 was made, but the callback that stopped the training comes before the mirror.
    assert first.points == expected(history, 2)[: len(first.points)]
    assert [step for step, _ in first.points] == [0, 2, 3]


def test_a_training_that_is_already_at_its_end_is_not_mirrored_again(tmp_path: Path) -> None:
    remembering = Remembering()
    checkpoint = Checkpoint(tmp_path / "c")
    train(Mirror(remembering), checkpoint=checkpoint)
    train(Mirror(remembering), checkpoint=checkpoint)
    assert len(remembering.runs) == 1
    history = train(Mirror(remembering), checkpoint=checkpoint, epochs=4)
    assert remembering.runs[1].points == expected(history, 10)


def test_mirroring_changes_nothing_in_the_training() -> None:
    plain, mirrored = train(), train(Mirror(Drawing(), every_steps=1))
    assert mirrored.loss == plain.loss
    assert mirrored.epochs == plain.epochs


@pytest.mark.parametrize(
    ("fails_at", "after", "calls"),
    [
        ("open", 0, ["open"]),
        ("log", 0, ["open", "log"]),
        ("log", 4, ["open", *["log"] * 5]),
        ("close", 0, ["open", *["log"] * 12, "close"]),
    ],
)
def test_a_tracker_that_fails_is_said_once_and_left_alone(fails_at: str, after: int, calls: list[str]) -> None:
    failing, plain = Failing(fails_at, after), train()
    with pytest.warns(
        UserWarning, match="Failing failed.*ConnectionError: the server is gone\\); nothing more"
    ) as said:
        history = train(Mirror(failing, every_steps=1))
    assert len(said) == 1
    assert failing.calls == calls
    assert history.loss == plain.loss


def test_an_interruption_passes_through() -> None:
    class Interrupted(Remembering):
        def log(self, numbers, step) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Mirror(Interrupted()))


def test_a_run_left_open_by_a_training_that_failed_is_closed_by_the_next() -> None:
    remembering = Remembering()
    mirror = Mirror(remembering)
    with pytest.raises(InterruptedError):
        train(mirror, StopAt(2))
    assert [run.closed for run in remembering.runs] == [0]
    train(mirror)
    assert [run.closed for run in remembering.runs] == [1, 1]


def test_a_run_left_open_is_closed_when_the_process_ends() -> None:
    """In a process of its own: a training that diverges is where the last numbers count."""
    code = """if True:
    from deepscope.training._guarded import Guarded, Tracker

    class Printing(Tracker):
        def open(self, name, parameters): print("open", name)
        def log(self, numbers, step): print("log")
        def close(self): print("close")

    guarded = Guarded(Printing())
    guarded.open("a", {})
    guarded.close()
    guarded.open("b", {})
    guarded.log({}, 0)
    raise SystemExit(1)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.split("\n") == ["open a", "close", "open b", "log", "close", ""]


def test_what_was_mirrored_before_a_divergence_is_kept() -> None:
    remembering = Remembering()
    model = nn.Linear(4, 2)
    with pytest.raises(MeasurementError):
        fit(
            model,
            lambda epoch: [(X if epoch == 0 else X / 0, Y)],
            functional.cross_entropy,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            epochs=2,
            callbacks=[Mirror(remembering, every_steps=1)],
        )
    assert [step for step, _ in remembering.runs[0].points] == [0, 1]


@pytest.mark.parametrize("every", [0, -1])
def test_a_senseless_interval_is_refused(every: int) -> None:
    with pytest.raises(UsageError, match="every_steps"):
        Mirror(Remembering(), every_steps=every)


def test_a_trial_is_a_run_with_numbers_and_curves() -> None:
    remembering = Remembering()
    values = {
        "error": 0.25,
        "steps": 3,
        "found": True,
        "never": None,
        "word": "text",
        "curve": np.array([1.0, np.nan, 3.0]),
        "short": np.array([5, 6], dtype=np.int32),
        "matrix": np.ones((2, 2)),
        "names": np.array(["a"]),
    }
    mirror_trial(remembering, "a-study", {"width": 8, "noise": 0.5}, 3, values)
    (run,) = remembering.runs
    assert run.name == "a-study/width=8 noise=0.5/seed=3"
    assert run.parameters == {"width": 8, "noise": 0.5, "seed": 3, "study": "a-study"}
    assert run.closed == 1
    assert run.points[:2] == [(0, {"error": 0.25, "steps": 3.0, "found": 1.0}), (0, {"curve": 1.0, "short": 5.0})]
    assert [step for step, _ in run.points] == [0, 0, 1, 2]
    assert np.isnan(run.points[2][1]["curve"])
    assert run.points[2][1]["short"] == 6.0
    assert run.points[3] == (2, {"curve": 3.0})
    assert all(type(number) is float for _, numbers in run.points for number in numbers.values())


def test_a_trial_that_cannot_be_shown_is_closed_and_said_to_the_caller() -> None:
    failing = Failing("log")
    with pytest.raises(ConnectionError):
        mirror_trial(failing, "a", {}, 0, {"x": 1.0})
    assert failing.calls == ["open", "log", "close"]


# The libraries themselves are tried in tests/verify/test_trackers.py; here they are stood in for.


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    found = {}
    for name in ("mlflow", "wandb", "torch.utils.tensorboard"):
        found[name] = ModuleType(name)
        found[name].__file__ = f"{name}.py"
        monkeypatch.setitem(sys.modules, name, found[name])
    return found


@pytest.mark.parametrize(
    ("text", "kind", "holds"),
    [
        ("tensorboard", TensorBoard, {"_folder": Path("runs")}),
        ("tensorboard:some/where", TensorBoard, {"_folder": Path("some/where")}),
        ("mlflow", MLflow, {"_uri": None, "_experiment": "deepscope"}),
        ("mlflow:sqlite:///a.db", MLflow, {"_uri": "sqlite:///a.db"}),
        ("wandb", WandB, {"_project": "deepscope"}),
        ("wandb:mine", WandB, {"_project": "mine"}),
    ],
)
def test_a_text_names_a_tracker(libraries, text: str, kind: type[Tracker], holds: dict[str, object]) -> None:
    made = tracker(text)
    assert type(made) is kind
    assert {name: getattr(made, name) for name in holds} == holds


def test_an_unknown_tracker_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match='unknown tracker: tensorbord\nDid you mean "tensorboard"'):
        tracker("tensorbord:folder")


@pytest.mark.parametrize(
    ("text", "module", "package"),
    [
        ("tensorboard", "torch.utils.tensorboard", "tensorboard"),
        ("mlflow", "mlflow", "mlflow"),
        ("wandb", "wandb", "wandb"),
    ],
)
def test_a_missing_library_is_one_clear_error(monkeypatch, text: str, module: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=f"cannot be imported .*: {package}\n.*pip install {package}$"):
        tracker(text)


def test_a_folder_of_wandbs_runs_is_not_taken_for_the_library(monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UsageError, match=r"only a folder.*: wandb\n.*pip install wandb"):
        tracker("wandb")
    sys.modules.pop("wandb", None)


def test_every_name_has_a_folder_of_its_own_within_tensorboards(libraries, tmp_path: Path) -> None:
    made = []
    libraries["torch.utils.tensorboard"].SummaryWriter = lambda folder, **options: (
        made.append((Path(folder), options)) or SimpleNamespace(add_text=lambda *_: None)
    )
    names = ["s/width=3 noise=0.5/seed=0", "../../x", "/x", "a\nb", "a_b", "α", "β", "x" * 300, "x" * 301, "a./b"]
    for name in names:
        TensorBoard(tmp_path).open(name, {})
    folders = [folder for folder, _ in made]
    assert folders[0] == tmp_path / "s" / "width=3 noise=0.5" / "seed=0"
    assert len(set(folders)) == len(names)
    for folder in folders:
        assert folder.resolve().is_relative_to(tmp_path)
        folder.mkdir(parents=True)
    assert all(options["purge_step"] == 0 for _, options in made)


class FakeClient:
    """What of MLflow's client is used, with its limit."""

    def __init__(self, uri: str | None) -> None:
        self.uri, self.batches, self.experiments, self.ended = uri, [], {}, []

    def get_experiment_by_name(self, name):
        number = self.experiments.get(name)
        return None if number is None else SimpleNamespace(experiment_id=number)

    def create_experiment(self, name) -> str:
        self.experiments[name] = "7"
        return "7"

    def create_run(self, experiment, run_name):
        assert experiment == "7"
        return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

    def log_batch(self, run_id, metrics=(), params=()) -> None:
        assert len(metrics) <= 1000
        self.batches.append((list(metrics), list(params)))

    def set_terminated(self, run_id) -> None:
        self.ended.append(run_id)


@pytest.fixture
def mlflow(libraries) -> ModuleType:
    library = libraries["mlflow"]
    library.MlflowClient = FakeClient
    library.MlflowException = LookupError
    library.entities = SimpleNamespace(
        Metric=lambda key, value, time, step: (key, value, step), Param=lambda key, value: (key, value)
    )
    return library


def test_mlflow_is_sent_numbers_once_a_second(mlflow, monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr("deepscope.training._trackers.time.monotonic", lambda: now[0])
    shown = MLflow("somewhere")
    shown.open("r", {"width": 8})
    shown.log({"a": 1, "b": True}, 0)
    now[0] += 1.1
    shown.log({"a": 2.0}, 1)
    shown.log({"a": 3.0}, 2)
    client = shown._client
    assert client.uri == "somewhere"
    assert client.batches == [([], [("width", "8")]), ([("a", 1.0, 0), ("b", 1.0, 0), ("a", 2.0, 1)], [])]
    assert client.ended == []
    shown.close()
    assert client.batches[2:] == [([("a", 3.0, 2)], [])]
    assert client.ended == ["r"]


def test_mlflow_gets_no_more_at_once_than_it_takes(mlflow, monkeypatch) -> None:
    monkeypatch.setattr("deepscope.training._trackers.time.monotonic", lambda: 0.0)
    shown = MLflow()
    shown.open("r", {})
    for step in range(3):
        shown.log({str(name): 0.0 for name in range(900)}, step)
    shown.close()
    sent = [(name, step) for metrics, _ in shown._client.batches for name, _, step in metrics]
    assert sent == [(str(name), step) for step in range(3) for name in range(900)]


def test_an_experiment_that_another_process_makes_meanwhile_is_used(mlflow, monkeypatch) -> None:
    def create(self, name) -> str:
        self.experiments[name] = "7"
        raise LookupError("there is one")

    monkeypatch.setattr(FakeClient, "create_experiment", create)
    shown = MLflow()
    shown.open("r", {})
    assert shown._id == "r"
    shown.close()


def test_an_experiment_that_cannot_be_made_is_an_error(mlflow, monkeypatch) -> None:
    def create(self, name) -> str:
        raise LookupError("read only")

    monkeypatch.setattr(FakeClient, "create_experiment", create)
    with pytest.raises(LookupError, match="read only"):
        MLflow().open("r", {})


def test_wandb_is_opened_beside_other_runs_and_prints_nothing(libraries) -> None:
    said = []
    run = SimpleNamespace(log=lambda numbers, step: said.append((numbers, step)), finish=lambda: said.append("end"))
    libraries["wandb"].Settings = lambda **settings: settings
    libraries["wandb"].init = lambda **options: said.append(options) or run
    shown = WandB("mine")
    shown.open("a", {"width": 8})
    shown.log({"x": 1.0}, 4)
    shown.close()
    assert said[0] == {
        "project": "mine",
        "name": "a",
        "config": {"width": 8},
        "reinit": "create_new",
        "settings": {"console": "off", "silent": True},
    }
    assert said[1:] == [({"x": 1.0}, 4), "end"]


@pytest.mark.parametrize(("length", "kept"), [(128, 128), (129, 128), (1000, 128)])
def test_wandb_gets_no_longer_name_than_it_takes(libraries, length: int, kept: int) -> None:
    said = []
    libraries["wandb"].Settings = lambda **settings: settings
    libraries["wandb"].init = lambda **options: said.append(options["name"])
    name = "a" * (length - 6) + "seed=0"
    WandB().open(name, {})
    assert len(said[0]) == kept
    assert said[0].endswith("seed=0")
    assert (said[0] == name) == (length == kept)


def test_a_guarded_tracker_is_silent_after_its_warning() -> None:
    failing = Failing("open")
    guarded = Guarded(failing)
    with pytest.warns(UserWarning, match="the server is gone"):
        guarded.open("a", {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guarded.log({}, 0)
        guarded.close()
        guarded.open("b", {})
    assert failing.calls == ["open"]


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow", "wandb"])
def test_a_run_left_open_is_ended_when_the_next_is_opened(libraries, mlflow, tmp_path: Path, kind: str) -> None:
    ended: list[str] = []
    libraries["wandb"].Settings = dict
    libraries["wandb"].init = lambda *, name, **_: SimpleNamespace(finish=lambda: ended.append(name))
    libraries["torch.utils.tensorboard"].SummaryWriter = lambda folder, **_: SimpleNamespace(
        add_text=lambda *_: None, close=lambda: ended.append(Path(folder).name)
    )
    mlflow.MlflowClient = lambda uri: SimpleNamespace(
        get_experiment_by_name=lambda name: SimpleNamespace(experiment_id="7"),
        create_run=lambda experiment, run_name: SimpleNamespace(info=SimpleNamespace(run_id=run_name)),
        log_batch=lambda *_, **__: None,
        set_terminated=ended.append,
    )
    shown = tracker(f"tensorboard:{tmp_path}" if kind == "tensorboard" else kind)
    shown.close()
    shown.open("a", {})
    shown.open("b", {})
    assert ended == ["a"]
    shown.close()
    shown.close()
    assert ended == ["a", "b"]
