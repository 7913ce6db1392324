"""watch: the training is what it is without, and what was seen of it is kept."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from torch import nn
from watched import LOSS, Clock, Own, batches, network, same, train, watching

import deepscope
from deepscope.core import MeasurementError, UsageError
from deepscope.lab import find_run, runs
from deepscope.lab._watch import PROBES
from deepscope.subject import Subject
from deepscope.training import Checkpoint, fit


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))


def every_probe(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    return deepscope.watch(model, batches(7, count=8), LOSS, every=2, overhead=1e9, optimizer=optimizer)


def test_a_watched_training_is_bit_for_bit_the_same() -> None:
    made: list[Any] = []

    def watch(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        made.append(every_probe(model, optimizer))
        return made[0]

    assert same(train(watch), train())
    # It was worth the proof: every probe has measured, at every due step.
    result = made[0].result
    assert list(result.table["step"]) == [0, 2, 4, 6]
    assert set(result.table["status"]) == {"ok"}
    assert [entry.name for entry in result.left_out] == ["stability threshold"]
    for name in ("probe_loss", "gradient_norm", "weight_norm", "dead_fraction", "noise_scale", "sharpness"):
        assert result.table[name].notna().all(), name
    assert result.table["distance_from_start"][0] == result.table["kernel_drift"][0] == 0
    assert (result.table["distance_from_start"][1:] > 0).all()


def test_that_the_comparison_sees_what_it_must() -> None:
    def draws(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        class Draws:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *error: object) -> None:
                return

            def step(self, loss: torch.Tensor) -> None:
                model(torch.zeros(2, 6))

        return Draws()

    found, expected = train(draws), train()
    differing = [name for name in found if not same(found[name], expected[name])]
    assert {"buffers", "parameters", "generators", "losses"} <= set(differing)


def fails(subject: Subject, generator: torch.Generator) -> NoReturn:
    raise RuntimeError("no such luck")


def exits(subject: Subject, generator: torch.Generator) -> NoReturn:
    raise SystemExit(3)


def writes(subject: Subject, generator: torch.Generator) -> dict[str, float]:
    with torch.no_grad():
        for parameter in subject.model.parameters():
            parameter.add_(1)
    return {"mine": 1.0}


def writes_unseen(subject: Subject, generator: torch.Generator) -> dict[str, float]:
    for parameter in subject.model.parameters():
        parameter.data.mul_(1.5)
    return {"mine": 1.0}


def disturbs_and_fails(subject: Subject, generator: torch.Generator) -> NoReturn:
    model = subject.model
    random.random(), np.random.random(), torch.rand(3)  # noqa: NPY002
    model.train()
    for inputs, targets in batches(9, count=3):
        LOSS(model(inputs), targets).backward()
    model.register_forward_hook(lambda *seen: seen[2] * 2)
    model[4].bias.requires_grad_(True)
    model[0].weight.data = torch.zeros(8, 6)
    raise MemoryError


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        (fails, "RuntimeError: no such luck"),
        (exits, "SystemExit: 3"),
        (writes, "parameters were changed during a measurement"),
        (disturbs_and_fails, "MemoryError"),
        (lambda subject, generator: 3.5, "it gives no numbers by name but a float"),
        (lambda subject, generator: {"x": [1.0]}, "TypeError"),
        (lambda subject, generator: {"step": 1.0}, "a number that is called step, as another is"),
        (lambda subject, generator: {"probe_loss": 1.0}, "a number that is called probe_loss, as another is"),
    ],
)
def test_a_probe_that_fails_is_dropped_and_the_training_goes_on(do: Callable[..., Any], reason: str) -> None:
    made: list[Any] = []

    def watch(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        made.append(watching(model, [PROBES["loss"](), Own(do, "bad"), PROBES["weights"]()]))
        return made[0]

    with pytest.warns(UserWarning, match="bad is not measured any more"):
        found = train(watch)
    assert same(found, train())
    result = made[0].result
    assert reason in dict(result.left_out)["bad"]
    assert list(result.table["step"]) == [0, 2, 4, 6]
    assert result.table[["probe_loss", "weight_norm"]].notna().all().all()
    assert "mine" not in result.table


def test_parameters_that_are_written_behind_torchs_back_are_put_back_too() -> None:
    assert same(train(lambda model, optimizer: watching(model, [Own(writes_unseen)])), train())


def test_what_storing_and_drawing_draw_at_random_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepscope.lab import _training_watch

    def drawing(kind: Any, name: str) -> None:
        original = getattr(kind, name)

        def draws(*arguments: Any) -> Any:
            random.random(), np.random.random(), torch.rand(3)  # noqa: NPY002
            return original(*arguments)

        monkeypatch.setattr(kind, name, draws)

    drawing(_training_watch.PointLog, "append")
    drawing(_training_watch.LiveLine, "clear")
    drawing(_training_watch, "watch_figure")
    drawing(_training_watch, "open_run")
    assert same(train(lambda model, optimizer: watching(model, [PROBES["weights"]()])), train())


def test_a_probe_that_fails_later_has_its_numbers_up_to_there() -> None:
    calls: list[int] = []

    def twice(subject: Subject, generator: torch.Generator) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 3:
            raise ValueError("enough")
        return {"mine": float(len(calls))}

    made: list[Any] = []

    def watch(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        made.append(watching(model, [Own(twice), PROBES["weights"]()]))
        return made[0]

    with pytest.warns(UserWarning, match="enough"):
        train(watch)
    table = made[0].result.table
    assert table["mine"].tolist()[:2] == [1.0, 2.0]
    assert table["mine"][2:].isna().all()
    assert len(calls) == 3
    assert dict(made[0].result.left_out)["own"] == "from step 4 on: ValueError: enough"


def test_an_interrupt_in_a_measurement_ends_the_training_as_it_would_without() -> None:
    calls: list[int] = []

    def interrupted(subject: Subject, generator: torch.Generator) -> dict[str, float]:
        calls.append(1)
        torch.rand(5)
        if len(calls) == 3:
            subject.model[0].weight.data.zero_()
            raise KeyboardInterrupt
        return {"mine": 1.0}

    found = train(lambda model, optimizer: watching(model, [Own(interrupted)]))
    expected = train(steps=4)
    assert found.pop("interrupted")
    # The fourth step's own numbers are taken after it, which the interrupt has come before.
    for seen in (found, expected):
        seen["losses"], seen["drawn"] = seen["losses"][:3], seen["drawn"][:3]
        del seen["generators"]
    assert same(found, expected)
    run = find_run("last")
    assert run.finished
    assert run.record()["error"] == "KeyboardInterrupt"
    assert [row["step"] for row in run.record()["table"]] == [0, 2]
    assert "ended by KeyboardInterrupt" in run.outcome


def test_an_interrupt_in_the_first_measurement_leaves_no_run_open() -> None:
    def interrupted(subject: Subject, generator: torch.Generator) -> NoReturn:
        raise KeyboardInterrupt

    assert train(lambda model, optimizer: watching(model, [Own(interrupted)]))["interrupted"]
    assert find_run("last").record()["error"] == "KeyboardInterrupt"
    assert not (find_run("last").path / "writer.lock").exists()


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        # M + E ≤ T / 10 at multiples of 10, with a step a second: 2 + 2 ≤ 4, 4 + 2 ≤ 6 …
        ([2, 2, 2, 2, 2, 2], [0, 40, 60, 80, 100]),
        # The third takes 5: 4 + 5 is what was spent, and 5 is what the next is expected to take: 14.
        ([2, 2, 5, 1, 1, 1], [0, 40, 60, 140, 150]),
        # Nothing ever pays for the first.
        ([100, 1], [0]),
        # What costs nothing is measured whenever it is due.
        ([0] * 20, [*range(0, 160, 10)]),
    ],
)
def test_what_is_measured_when(costs: list[float], expected: list[int]) -> None:
    clock, left = Clock(), iter(costs)

    def takes(subject: Subject, generator: torch.Generator) -> dict[str, float]:
        clock.now += next(left)
        return {"mine": 0.0}

    steps = expected[-1] + 9 if len(expected) > 1 else 999
    with watching(nn.Linear(6, 3), [Own(takes)], clock=clock, overhead=0.1, every=10) as watched:
        for _ in range(steps):
            clock.now += 1
            watched.step(1.0)
    result = watched.result
    assert list(result.table["step"]) == expected
    assert result.record["cost"] == {"training_seconds": steps, "measuring_seconds": sum(costs[: len(expected)])}
    assert list(result.table["training_seconds"]) == expected
    assert list(result.table["measuring_seconds"]) == costs[: len(expected)]


def test_a_dropped_probe_is_not_expected_to_cost_anything() -> None:
    clock = Clock()

    def dear(subject: Subject, generator: torch.Generator) -> NoReturn:
        clock.now += 5
        raise RuntimeError

    def cheap(subject: Subject, generator: torch.Generator) -> dict[str, float]:
        clock.now += 1
        return {"mine": 0.0}

    watched = watching(nn.Linear(6, 3), [Own(dear, "dear"), Own(cheap)], clock=clock, overhead=0.1, every=10)
    with pytest.warns(UserWarning, match="dear"):
        watched.__enter__()
    for _ in range(75):
        clock.now += 1
        watched.step()
    watched.__exit__(None, None, None)
    # 6 seconds were spent, and 1 is expected: paid for after 70.
    assert list(watched.result.table["step"]) == [0, 70]


def test_each_probe_draws_the_same_at_every_step_and_its_own() -> None:
    drawn: dict[str, list[float]] = {"a": [], "b": []}

    def draws(name: str) -> Own:
        def draw(subject: Subject, generator: torch.Generator) -> dict[str, float]:
            drawn[name].append(torch.rand((), generator=generator).item() + torch.rand(()).item())
            return {name: 0.0}

        return Own(draw, name)

    train(lambda model, optimizer: watching(model, [draws("a"), draws("b")]))
    assert len(set(drawn["a"])) == len(set(drawn["b"])) == 1
    assert drawn["a"][0] != drawn["b"][0]


def test_a_number_that_is_none_has_a_status() -> None:
    values = iter([1.0, float("nan"), None, "the weather", float("inf")])
    with watching(nn.Linear(6, 3), [Own(lambda subject, generator: {"mine": next(values)})], every=1) as watched:
        for _ in range(4):
            watched.step()
    said = ["ok", "mine: nan", "mine: not known", "mine: the weather", "mine: inf"]
    assert watched.result.table["status"].tolist() == said
    assert watched.result.table["mine"].isna().tolist() == [False, True, True, True, True]
    assert [row["mine"] for row in watched.result.record["table"]] == [1.0, None, None, None, None]


def data(epoch: int) -> list[Any]:
    return batches(100 + epoch, count=4)


def fitted(*callbacks: Any, model: nn.Module | None = None, **options: Any) -> Any:
    model = model or network()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.5)
    return fit(model, data, LOSS, optimizer=optimizer, epochs=3, callbacks=callbacks, **options), model, optimizer


def test_as_a_callback_it_changes_nothing_and_knows_the_optimizer() -> None:
    model = network()
    watched = deepscope.watch(model, batches(7), LOSS, every=3, overhead=1e9, probes=["loss", "weights"])
    history, model, optimizer = fitted(watched, model=model)
    plain, other, its = fitted()
    assert history == plain
    assert same(model.state_dict(), other.state_dict())
    assert same(optimizer.state_dict()["state"], its.state_dict()["state"])
    table = watched.result.table
    assert list(table["step"]) == [0, 3, 6, 9, 12]
    assert set(table["learning_rate"]) == {0.1}
    # (2 + 2·0.5) / 0.1, in double precision.
    assert table["stability_threshold"].tolist() == pytest.approx([30.0] * 5, rel=1e-15)
    assert watched.result.left_out == ()
    means = [sum(history.loss[end - 3 : end]) / 3 for end in (3, 6, 9, 12)]
    assert watched.result.training["training_loss"].tolist() == pytest.approx(means, rel=1e-15)
    assert table["training_loss"][1:].tolist() == watched.result.training["training_loss"].tolist()
    assert find_run("last").finished


def test_a_resumed_training_is_watched_from_where_it_goes_on(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.ckpt", every_steps=1)

    class StoppedError(Exception):
        pass

    def stops(subject: Subject, generator: torch.Generator) -> dict[str, float]:
        return {}

    model = network()
    first = watching(model, [Own(stops)], every=2)
    count = 0

    def short(epoch: int) -> Any:
        nonlocal count
        for batch in data(epoch):
            count += 1
            if count == 7:
                raise StoppedError
            yield batch

    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.5)
    with pytest.raises(StoppedError):
        fit(model, short, LOSS, optimizer=optimizer, epochs=3, callbacks=[first], checkpoint=checkpoint)
    assert not find_run("last").finished
    model = network()
    again = watching(model, [PROBES["weights"]()], every=2)
    _, model, _ = fitted(again, model=model, checkpoint=checkpoint)
    assert list(again.result.table["step"]) == [6, 8, 10, 12]
    assert again.result.table["distance_from_start"][0] == 0
    assert same(model.state_dict(), fitted()[1].state_dict())
    entered = watching(network(), [], every=2)
    with pytest.raises(UsageError, match="before the training was resumed"), entered:
        fitted(entered, model=entered._subject.model, checkpoint=checkpoint)


def test_entered_and_as_a_callback_too() -> None:
    model = network()
    with watching(model, [PROBES["weights"]()], every=6) as watched:
        fitted(watched, model=model)
        assert not find_run("last").finished
    assert list(watched.result.table["step"]) == [0, 6, 12]
    assert find_run("last").finished


def test_what_is_stored_is_what_was_seen_also_while_it_goes_on() -> None:
    with watching(network(), [PROBES["weights"]()], every=2) as watched:
        for step in range(5):
            watched.step(1.0 + step)
        half = find_run("last")
        assert (half.kind, half.name, half.outcome) == ("watch", "Sequential", "not finished")
        assert half.record() == watched.result.record
        assert half.record()["ended"] is False
        assert half.record()["steps"] == 4
    run = find_run("last")
    assert run.record() == watched.result.record
    assert run.path == watched.path
    assert run.record()["ended"] is True
    assert run.record()["steps"] == 5
    assert run.record()["training"][-1] == {
        "step": 5, "training_loss": 5.0, "training_loss_largest": 5.0, "nonfinite_losses": 0,
    }  # fmt: skip
    assert set(run.figures()) == {"watch"}


@pytest.mark.parametrize("loss", [2.0, 2, np.float32(2), torch.tensor(2.0), torch.tensor([2.0], requires_grad=True)])
def test_a_loss_is_any_one_number(loss: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with watching(nn.Linear(6, 3), [], every=1) as watched:
            watched.step(loss)
    assert watched.result.training["training_loss"].tolist() == [2.0]


@pytest.mark.parametrize("loss", [torch.zeros(2), "much", [1.0]])
def test_what_is_no_number_is_refused(loss: Any) -> None:
    with (
        pytest.raises(UsageError, match="the loss of a step is one number"),
        watching(nn.Linear(6, 3), [], every=1) as watched,
    ):
        watched.step(loss)


def test_a_full_disk_does_not_stop_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepscope.lab import _line_log, _store

    def full(*arguments: object, **options: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    def watch(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        made = watching(model, [PROBES["weights"]()])
        monkeypatch.setattr(_line_log, "_write_whole", full)
        original = _store.write_atomically
        monkeypatch.setattr(
            _store,
            "write_atomically",
            lambda path, *rest, **options: (full if path.name == "record.json" else original)(path, *rest, **options),
        )
        return made

    with pytest.warns(UserWarning, match="could not be stored whole .*No space left"):
        found = train(watch)
    assert same(found, train())


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"data": None}, MeasurementError, "watch needs data"),
        ({"loss": None}, MeasurementError, "watch needs a loss"),
        ({"every": 0}, UsageError, "every"),
        ({"batch_size": 0}, UsageError, "batch_size"),
        ({"overhead": 0.0}, UsageError, "overhead"),
        ({"overhead": float("inf")}, UsageError, "overhead"),
        ({"overhead": float("nan")}, UsageError, "overhead"),
        ({"probes": ["los"]}, UsageError, 'Did you mean "loss"'),
        ({"probes": ["loss", "loss"]}, UsageError, "two probes have one name"),
        ({"probes": [object()]}, UsageError, "a probe is a name or has a name"),
        ({"data": iter(batches(0))}, UsageError, "only once"),
    ],
)
def test_wrong_input_is_said_before_the_training(options: dict[str, Any], error: type, words: str) -> None:
    given = {"data": batches(0), "loss": LOSS, **options}
    with pytest.raises(error, match=words):
        deepscope.watch(network(), **given)
    assert runs() == ([], [])


def test_wrong_use_is_said() -> None:
    watched = watching(network(), [])
    for use in (lambda: watched.step(1.0), lambda: watched.result):
        with pytest.raises(UsageError, match="watched"):
            use()
    assert watched.path is None
    with watched:
        pass
    with pytest.raises(UsageError, match="nothing is watched"):
        watched.step(1.0)
    with pytest.raises(UsageError, match="has been used"), watched:
        pass
    with pytest.raises(UsageError, match="another network is watched"):
        fitted(watching(network(), []))


def test_a_subject_says_how_its_network_is_fed() -> None:
    model = nn.Linear(6, 3)
    subject = Subject(
        model, [({"x": x}, y) for x, y in batches(0)], LOSS, forward=lambda net, inputs: net(inputs["x"]), name="mine"
    )
    with deepscope.watch(subject, every=1, overhead=1e9, probes=["loss"]) as watched:
        watched.step()
    assert watched.result.table["probe_loss"].notna().all()
    assert watched.result.record["subject"]["name"] == "mine"
    assert watched.result.training.empty
