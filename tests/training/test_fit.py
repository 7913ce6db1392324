from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import DataError, MeasurementError, UsageError, derive_seed
from deepscope.subject import Subject
from deepscope.training import Callback, Evaluate, GradientClipping, cosine, evaluate, fit

X = torch.randn(23, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def shuffled(epoch: int):
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(epoch))
    for chosen in order.split(8):
        yield X[chosen], Y[chosen]


def network() -> nn.Sequential:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))


def sgd(model: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def test_fit_equals_a_loop_written_out() -> None:
    model = network()
    history = fit(model, shuffled, functional.cross_entropy, optimizer=sgd(model), epochs=3, schedule=cosine(9), seed=5)

    twin = network().train()
    optimizer, schedule, losses = sgd(twin), cosine(9), []
    torch.manual_seed(derive_seed(5, "training"))
    for epoch in range(3):
        for inputs, targets in shuffled(epoch):
            optimizer.param_groups[0]["lr"] = 0.1 * schedule(len(losses))
            optimizer.zero_grad()
            loss = functional.cross_entropy(twin(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert history.loss == losses
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_it_learns_and_the_epochs_are_recorded() -> None:
    model = network()
    test = [(X, Y)]
    callbacks = [Evaluate(test, functional.cross_entropy), Evaluate(test, name="other")]
    history = fit(model, shuffled, functional.cross_entropy, optimizer=sgd(model), epochs=30, callbacks=callbacks)
    assert history.curve("test_accuracy")[-1] >= 0.95
    result = evaluate(model, test, functional.cross_entropy)
    assert (history.curve("test_loss")[-1], history.curve("other_accuracy")[-1]) == (result.loss, result.accuracy)
    assert list(history.table()["epoch"]) == list(range(30))
    assert history.curve("steps") == [3 * (epoch + 1) for epoch in range(30)]
    with pytest.raises(UsageError, match="other_loss"):
        history.curve("other_loss")


def test_mean_loss_of_an_epoch_weighs_uneven_batches() -> None:
    model = network()
    history = fit(model, shuffled, functional.cross_entropy, optimizer=sgd(model), epochs=2)
    a, b, c = history.loss[3:]
    assert history.count[3:] == [8.0, 8.0, 7.0]
    assert history.curve("loss")[1] == pytest.approx((8 * a + 8 * b + 7 * c) / 23, rel=1e-15)


def test_the_history_holds_the_factor_of_the_schedule() -> None:
    model = network()
    schedule = cosine(6)
    history = fit(model, shuffled, functional.cross_entropy, optimizer=sgd(model), epochs=2, schedule=schedule)
    assert history.lr_factor == [schedule(step) for step in range(6)]


@pytest.mark.parametrize(
    ("targets", "n"), [(None, 23), ((None, Y), 23), ({"labels": Y[:9]}, 9), (Y, 23), (torch.tensor(1.0), 1)]
)
def test_a_step_counts_the_samples_that_an_examination_counts(targets, n) -> None:
    model = network()
    history = fit(model, lambda epoch: [(X, targets)], lambda y, _: y.square().mean(), optimizer=sgd(model), epochs=1)
    (batch,) = Subject(model, data=[(X, targets)]).batches()
    assert history.count == [n] == [batch.count]


def test_an_evaluation_does_not_change_the_training() -> None:
    plain, evaluated = network(), network()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=5, shuffle=True)
    fit(plain, shuffled, functional.cross_entropy, optimizer=sgd(plain), epochs=2)
    fit(evaluated, shuffled, functional.cross_entropy, optimizer=sgd(evaluated), epochs=2, callbacks=[Evaluate(loader)])
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), evaluated.parameters(), strict=True))


def test_same_seed_same_result_and_the_callers_generators_are_untouched() -> None:
    def run(seed: int) -> list[float]:
        model = network()
        torch.manual_seed(99)
        random.seed(99)
        np.random.seed(99)  # noqa: NPY002
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        history = fit(model, shuffled, functional.cross_entropy, optimizer=sgd(model), epochs=2, seed=seed)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
        assert np.random.get_state()[1].tolist() == before[2]  # noqa: NPY002
        return history.loss

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_mode_and_learning_rate_are_left_as_they_were() -> None:
    model = network().eval()
    model[0].train()
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.25))
    fit(model, shuffled, functional.cross_entropy, optimizer=optimizer, epochs=1, schedule=cosine(3))
    assert [module.training for module in model] == [True, False, False, False]
    assert float(optimizer.param_groups[0]["lr"]) == 0.25


class TwoInputs(nn.Module):
    def __init__(self, as_object: bool = False) -> None:
        super().__init__()
        self.linear, self.as_object = nn.Linear(4, 2), as_object

    def forward(self, a: torch.Tensor, b: torch.Tensor):
        logits = self.linear(a + b)
        return SimpleNamespace(logits=logits) if self.as_object else logits


@pytest.mark.parametrize(
    ("inputs", "as_object"), [((X, X), False), ({"a": X, "b": X}, False), ({"b": X, "a": X}, True), ([X, X], True)]
)
def test_inputs_may_be_tuples_and_mappings_and_outputs_objects(inputs, as_object: bool) -> None:
    torch.manual_seed(0)
    model = TwoInputs(as_object)
    expected = functional.cross_entropy(model.linear(2 * X), Y).item()
    history = fit(model, lambda epoch: [(inputs, Y)], functional.cross_entropy, optimizer=sgd(model), epochs=1)
    assert history.loss == [expected]


def test_count_decides_what_an_epoch_averages_over() -> None:
    targets = Y.clone()
    targets[:7] = -100
    batches = [(X[:8], targets[:8]), (X[8:], targets[8:])]
    model = nn.Linear(4, 2)
    optimizer = sgd(model, lr=0.0)
    history = fit(
        model,
        lambda epoch: batches,
        functional.cross_entropy,
        optimizer=optimizer,
        epochs=1,
        count=lambda targets: (targets != -100).sum(),
    )
    assert history.count == [1.0, 15.0]
    # 16 float32 losses of order 1, averaged in two ways.
    assert history.curve("loss")[0] == pytest.approx(functional.cross_entropy(model(X), targets).item(), rel=1e-6)


def test_clipping_bounds_each_update() -> None:
    def largest_update(callbacks: list[Callback]) -> float:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        fit(
            model,
            lambda epoch: [(100 * X, Y)],
            functional.cross_entropy,
            optimizer=optimizer,
            epochs=1,
            callbacks=callbacks,
        )
        return (torch.cat([p.detach().flatten() for p in model.parameters()]) - before).norm().item()

    assert largest_update([]) > 1
    # The update is lr × gradient; float32 over 114 parameters of order 1 rounds far below 1e-5.
    assert largest_update([GradientClipping(0.5)]) == pytest.approx(0.5, abs=1e-5)
    with pytest.raises(UsageError, match="norm"):
        GradientClipping(0.0)


class Recorder(Callback):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_start(self, state) -> None:
        self.seen.append("start")

    def on_gradients(self, state) -> None:
        assert state.model.linear.weight.grad is not None
        self.seen.append(f"gradients {state.step}")

    def on_step(self, state) -> None:
        self.seen.append(f"step {state.step}")

    def on_epoch_end(self, state) -> None:
        self.seen.append(f"epoch {state.epoch}")

    def on_end(self, state) -> None:
        self.seen.append("end")


def test_callbacks_are_called_in_order() -> None:
    model, recorder = TwoInputs(), Recorder()
    fit(
        model,
        lambda epoch: [((X, X), Y)],
        functional.cross_entropy,
        optimizer=sgd(model),
        epochs=2,
        callbacks=[recorder],
    )
    assert recorder.seen == [
        *("start", "gradients 0", "step 1", "epoch 0", "gradients 1", "step 2", "epoch 1", "end"),
    ]


class EndAfter(Callback):
    def __init__(self, hook: str, step: int) -> None:
        self.hook, self.step = hook, step

    def on_step(self, state) -> None:
        state.stop = state.stop or (self.hook, self.step) == ("step", state.step)

    def on_epoch_end(self, state) -> None:
        state.stop = state.stop or (self.hook, self.step) == ("epoch", state.step)


@pytest.mark.parametrize(("hook", "step", "epochs"), [("step", 5, [3, 5]), ("step", 6, [3, 6]), ("epoch", 6, [3, 6])])
def test_a_callback_can_end_the_run(hook: str, step: int, epochs: list[int]) -> None:
    model, recorder = network(), Recorder()
    recorder.on_gradients = lambda state: None
    callbacks = [EndAfter(hook, step), recorder]
    history = fit(model, shuffled, functional.cross_entropy, optimizer=sgd(model), epochs=4, callbacks=callbacks)
    twin = network()
    whole = fit(twin, shuffled, functional.cross_entropy, optimizer=sgd(twin), epochs=4).loss
    assert history.loss == whole[:step]
    assert history.curve("steps") == epochs
    counts = [8.0, 8.0, 7.0, 8.0, 8.0, 7.0][3:step]
    last = sum(loss * count for loss, count in zip(whole[3:step], counts, strict=True)) / sum(counts)
    assert history.curve("loss")[1] == pytest.approx(last, rel=1e-15)
    assert recorder.seen[-3:] == [f"step {step}", "epoch 1", "end"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_and_says_where(bad: float) -> None:
    model = network()

    def data(epoch: int):
        yield X, Y
        yield (X * bad if epoch == 1 else X), Y

    optimizer = sgd(model)
    with pytest.raises(MeasurementError, match=r"loss is (nan|inf).*\n?.*step 3, epoch 1"):
        fit(model, data, functional.cross_entropy, optimizer=optimizer, epochs=3)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_a_weight_that_is_not_finite_after_the_last_step_is_found() -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=float("inf"))
    with pytest.raises(MeasurementError, match="weight is no longer finite"):
        fit(model, lambda epoch: [(X, Y)], functional.cross_entropy, optimizer=optimizer, epochs=1)


def test_wrong_arguments_are_named() -> None:
    model, other = network(), network()
    good = {"optimizer": sgd(model), "epochs": 1}
    with pytest.raises(UsageError, match="none of the model's parameters"):
        fit(model, shuffled, functional.cross_entropy, optimizer=sgd(other), epochs=1)
    with pytest.raises(UsageError, match="LBFGS"):
        fit(model, shuffled, functional.cross_entropy, optimizer=torch.optim.LBFGS(model.parameters()), epochs=1)
    with pytest.raises(UsageError, match="epochs"):
        fit(model, shuffled, functional.cross_entropy, optimizer=sgd(model), epochs=-1)
    for wrong in ([(X, Y)], [(X, Y)].__iter__(), None):
        with pytest.raises(UsageError, match=r"data must be a function.*\n?.*lambda epoch: batches") as raised:
            fit(model, wrong, functional.cross_entropy, **good)
        assert type(wrong).__name__ in raised.value.what
    with pytest.raises(DataError, match="no batches"):
        fit(model, lambda epoch: [], functional.cross_entropy, **good)
    with pytest.raises(DataError, match="not a pair"):
        fit(model, lambda epoch: [X], functional.cross_entropy, **good)
    with pytest.raises(DataError, match="0 terms"):
        fit(model, lambda epoch: [(X, Y)], functional.cross_entropy, count=lambda targets: 0, **good)
    with pytest.raises(MeasurementError, match="not a scalar"):
        fit(model, shuffled, lambda outputs, targets: outputs, **good)
    once = iter([(X, Y)])
    with pytest.raises(DataError, match=r"epoch 1"):
        fit(model, lambda epoch: once, functional.cross_entropy, optimizer=sgd(model), epochs=2)
