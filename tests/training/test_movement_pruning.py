from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from deepscope.core import UsageError
from deepscope.training import (
    Callback,
    Checkpoint,
    KeepMasks,
    MovementPruning,
    add_movement_masks,
    cubic_sparsity,
    fit,
    fix_movement_masks,
    movement_masks,
    one_shot_sparsity,
)

X = torch.randn(20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.stack([X[:, 1] - 2 * X[:, 3], 0.5 * X[:, 0]], 1)


def data(epoch: int):
    return [(X[:10], Y[:10]), (X[10:], Y[10:])]


def test_it_follows_the_recursion_of_the_paper() -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 2, bias=False, dtype=torch.float64)
    w, s = model.weight.detach().clone(), torch.zeros(2, 5, dtype=torch.float64)
    add_movement_masks(model)
    schedule = cubic_sparsity(0.7, start=2, every=1, prunings=6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, data, mse_loss, optimizer=optimizer, epochs=8, callbacks=[MovementPruning(schedule)])

    gone, came_back = set(), set()
    for step in range(16):
        inputs, targets = data(0)[step % 2]
        share = 0.0 if step < 2 else 0.7 * (1 - (1 - min(6, step - 2) / 6) ** 3)
        order = sorted(range(10), key=lambda place: (s.flatten()[place].item(), place))
        pruned = order[: math.floor(share * 10 + 1e-9)]
        came_back |= gone - set(pruned)
        gone = set(pruned)
        mask = torch.ones(10, dtype=torch.float64)
        mask[pruned] = 0
        mask = mask.view(2, 5)
        errors = inputs @ (w * mask).T - targets
        # The mean over 20 numbers.
        gradient = 2 * errors.T @ inputs / 20
        w, s = w - 0.1 * gradient * mask, s - 0.1 * gradient * w
    weight, scores = model.parametrizations.weight.original, model.parametrizations.weight[0].scores
    # Sixteen steps with roundings of 1e-16.
    assert torch.allclose(weight, w, rtol=0, atol=1e-10)
    assert torch.allclose(scores, s, rtol=0, atol=1e-10)
    assert len(gone) == 7
    assert came_back


def test_the_gradients_are_straight_through() -> None:
    model = nn.Linear(4, 3, dtype=torch.float64)
    mask = add_movement_masks(model)["weight"]
    with torch.no_grad():
        mask.scores.copy_(torch.randn(3, 4, generator=torch.Generator().manual_seed(1)))
    mask.n_pruned.fill_(5)
    used = model.weight
    (used**3).sum().backward()
    kept, original = mask.mask(), model.parametrizations.weight.original
    gradient = 3 * used.detach() ** 2
    assert kept.sum() == 7
    assert torch.equal(used, original * kept)
    assert torch.equal(original.grad, gradient * kept)
    assert torch.equal(mask.scores.grad, gradient * original)
    # A gradient of what is pruned that is not 0, so that it may come back.
    nn.functional.linear(torch.ones(1, 4, dtype=torch.float64), model.weight).sum().backward()
    assert bool((mask.scores.grad[~kept] != 0).all())


def test_what_moves_to_0_goes_and_not_what_is_small() -> None:
    # The optimum is (0.1, 0): the small weight grows to it, and the large one falls.
    for movement, expected in ((True, [True, False]), (False, [False, True])):
        model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[0.01, 1.0]]))
        x = torch.eye(2, dtype=torch.float64)
        scores = add_movement_masks(model)["weight"].scores if movement else None
        fit(
            model,
            lambda epoch, x=x: [(x, torch.tensor([[0.1], [0.0]], dtype=torch.float64))],
            mse_loss,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
            epochs=10,
            callbacks=[MovementPruning(one_shot_sparsity(0.5, start=10))] if movement else [],
        )
        kept = movement_masks(model)["weight"] if movement else model.weight.abs() == model.weight.abs().max()
        assert kept.flatten().tolist() == expected
        assert scores is None or scores[0, 0] > 0 > scores[0, 1]


def test_fixed_masks_leave_an_ordinary_network_that_computes_the_same() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 2, 2), nn.Flatten(), nn.Linear(8, 2)).double()
    plain = copy.deepcopy(model)
    masks = add_movement_masks(model)
    assert list(masks) == ["0.weight", "2.weight"]
    assert torch.equal(model(X[:, None]), plain(X[:, None]))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    fit(
        model,
        lambda epoch: [(X[:, None], Y)],
        mse_loss,
        optimizer=optimizer,
        epochs=5,
        callbacks=[MovementPruning(one_shot_sparsity(0.5))],
    )
    outputs = model(X[:, None])
    kept = fix_movement_masks(model)
    assert [int(each.sum()) for each in kept.values()] == [2, 8]
    assert torch.equal(model(X[:, None]), outputs)
    assert model.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(plain(X[:, None]), outputs)
    assert bool((model[2].weight[~kept["2.weight"]] == 0).all())
    # Trained on with the mask.
    fit(
        model,
        lambda epoch: [(X[:, None], Y)],
        mse_loss,
        optimizer=torch.optim.Adam(model.parameters()),
        epochs=2,
        callbacks=[KeepMasks(kept)],
    )
    assert bool((model[2].weight[~kept["2.weight"]] == 0).all())


class Stop(Callback):
    """End the run as a crash would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, state) -> None:
        if state.step == self.step:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def run(checkpoint: Checkpoint | None, stop: int):
        torch.manual_seed(0)
        model = nn.Linear(5, 2, dtype=torch.float64)
        add_movement_masks(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        callbacks = [MovementPruning(cubic_sparsity(0.7, every=1, prunings=6)), Stop(stop)]
        try:
            fit(model, data, mse_loss, optimizer=optimizer, epochs=5, callbacks=callbacks, checkpoint=checkpoint)
        except KeyboardInterrupt:
            return None
        return model.state_dict()

    undisturbed = run(None, 99)
    checkpoint = Checkpoint(tmp_path / "run.ckpt", every_steps=1)
    assert run(checkpoint, 3) is None
    assert run(checkpoint, 7) is None
    resumed = run(checkpoint, 99)
    assert undisturbed.keys() == resumed.keys()
    assert all(torch.equal(undisturbed[name], resumed[name]) for name in resumed)
    assert resumed["parametrizations.weight.0.n_pruned"] == 7


def test_what_is_missing_is_named() -> None:
    model = nn.Linear(5, 2, dtype=torch.float64)
    run = {"optimizer": torch.optim.SGD(model.parameters(), lr=0.1), "epochs": 1}
    with pytest.raises(UsageError, match="add_movement_masks"):
        fit(model, data, mse_loss, callbacks=[MovementPruning(one_shot_sparsity(0.5))], **run)
    with pytest.raises(UsageError, match="no parameter has scores"):
        movement_masks(model)
    with pytest.raises(UsageError, match="no such parameter"):
        add_movement_masks(model, ["weigth"])
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    with pytest.raises(UsageError, match=r"0\.weight and 1\.weight"):
        add_movement_masks(tied)
    add_movement_masks(model)
    with pytest.raises(UsageError, match="made from others"):
        add_movement_masks(model)
    run["optimizer"] = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(UsageError, match="sparsity is -1"):
        fit(model, data, mse_loss, callbacks=[MovementPruning(lambda step: -1.0)], **run)
