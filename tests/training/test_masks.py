from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from deepscope.core import UsageError
from deepscope.training import (
    SAM,
    Callback,
    Checkpoint,
    GradualPruning,
    KeepMasks,
    adan,
    cubic_sparsity,
    fit,
    lion,
    magnitudes,
    muon,
    pruning_masks,
    shuffled_masks,
    with_closure,
)

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1),
    "lion": lambda parameters: lion(parameters, lr=0.01, weight_decay=0.1),
    "adan": lambda parameters: adan(parameters, lr=0.01, weight_decay=0.1),
}


def data(epoch: int):
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(epoch))
    return [(X[chosen], Y[chosen]) for chosen in order.split(8)]


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


class Violations(Callback):
    """Count the forward passes, gradients and steps in which a pruned weight is not 0."""

    def __init__(self, model: nn.Module, masks) -> None:
        self.masks, self.found, self.looks = masks, 0, 0
        model.register_forward_pre_hook(lambda module, inputs: self.look(module, gradients=False))

    def look(self, model: nn.Module, *, gradients: bool) -> None:
        self.looks += 1
        masks = self.masks() if callable(self.masks) else self.masks
        for name, mask in masks.items():
            parameter = model.get_parameter(name)
            values = parameter.grad if gradients else parameter.detach()
            self.found += int((values[~mask] != 0).sum())

    def on_gradients(self, state) -> None:
        self.look(state.model, gradients=True)

    def on_step(self, state) -> None:
        self.look(state.model, gradients=False)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_mask_is_never_violated(name: str) -> None:
    model = network()
    masks = pruning_masks(magnitudes(model), 0.6)
    violations = Violations(model, masks)
    optimizer = OPTIMIZERS[name](model.parameters())
    fit(model, data, cross_entropy, optimizer=optimizer, epochs=3, callbacks=[KeepMasks(masks), violations])
    assert violations.looks == 3 * 9
    assert violations.found == 0
    # No state of the optimiser holds anything of what is pruned.
    for weight, mask in ((model.get_parameter(each), masks[each]) for each in masks):
        for value in optimizer.state[weight].values():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                assert not bool(value[~mask].any())
    assert all(bool(model.get_parameter(each)[mask].all()) for each, mask in masks.items())


def test_without_it_the_same_look_finds_violations() -> None:
    model = network()
    masks = pruning_masks(magnitudes(model), 0.6)
    violations = Violations(model, masks)
    fit(model, data, cross_entropy, optimizer=OPTIMIZERS["sgd"](model.parameters()), epochs=1, callbacks=[violations])
    assert violations.found > 100


def test_updates_that_mix_weights_are_undone() -> None:
    model = network()
    masks = pruning_masks(magnitudes(model), 0.6, scope="layer")
    violations = Violations(model, masks)
    wrapped, closure = with_closure(model, data, cross_entropy)
    optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.1, closure=closure, lr=0.1, momentum=0.9)
    fit(model, wrapped, cross_entropy, optimizer=optimizer, epochs=2, callbacks=[KeepMasks(masks), violations])
    assert violations.found == 0
    # Muon's orthogonal update of a masked momentum is not masked.
    model = network()
    weights = [model[0].weight, model[2].weight]
    violations = Violations(model, masks)
    fit(model, data, cross_entropy, optimizer=muon(weights, lr=0.1), epochs=2, callbacks=[KeepMasks(masks), violations])
    assert violations.found == 0


def test_it_trains_the_masked_network_as_if_the_rest_were_not_there() -> None:
    model, twin = network().double(), network().double()
    masks = pruning_masks(magnitudes(model), 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    fit(
        model,
        lambda epoch: [(X.double(), Y)],
        cross_entropy,
        optimizer=optimizer,
        epochs=20,
        callbacks=[KeepMasks(masks)],
    )
    # The twin keeps the weights and multiplies by the mask in the forward pass.
    velocity = {name: torch.zeros_like(each) for name, each in twin.named_parameters()}
    values = {name: each.detach().clone() for name, each in twin.named_parameters()}
    for _ in range(20):
        leaves = {name: each.clone().requires_grad_() for name, each in values.items()}
        masked = {name: each * masks[name] if name in masks else each for name, each in leaves.items()}
        loss = cross_entropy(torch.func.functional_call(twin, masked, (X.double(),)), Y)
        for name, gradient in zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True):
            velocity[name] = 0.9 * velocity[name] + gradient + 0.01 * values[name]
            values[name] = values[name] - 0.1 * velocity[name]
    for name, each in model.named_parameters():
        expected = values[name] * masks[name] if name in masks else values[name]
        # Twenty steps with roundings of 1e-16.
        assert torch.allclose(each, expected, rtol=0, atol=1e-12)


class Stop(Callback):
    """End the run as a crash would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, state) -> None:
        if state.step == self.step:
            raise KeyboardInterrupt


def callbacks(kind: str, model: nn.Module) -> list[Callback]:
    if kind == "kept":
        return [KeepMasks(pruning_masks(magnitudes(model), 0.5))]
    # Scores that are drawn: a resumed run draws them no more often, or its dropout would be another.
    scores = random_scores if kind == "drawn" else magnitudes
    return [GradualPruning(cubic_sparsity(0.8, every=2, prunings=4, start=1), scores=scores)]


def random_scores(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: torch.rand_like(each) for name, each in magnitudes(model).items()}


@pytest.mark.parametrize("kind", ["kept", "gradual", "drawn"])
def test_an_interrupted_run_goes_on_bit_for_bit(kind: str, tmp_path: Path) -> None:
    def run(checkpoint: Checkpoint | None, stop: int):
        model = nn.Sequential(*network(), nn.Dropout(0.2))
        optimizer = OPTIMIZERS["adamw"](model.parameters())
        given = [*callbacks(kind, model), Stop(stop)]
        try:
            fit(model, data, cross_entropy, optimizer=optimizer, epochs=4, callbacks=given, checkpoint=checkpoint)
        except KeyboardInterrupt:
            return None
        return model.state_dict(), given[0].masks

    weights, masks = run(None, 99)
    checkpoint = Checkpoint(tmp_path / "run.ckpt", every_steps=1)
    for stop in (2, 6, 9):
        assert run(checkpoint, stop) is None
    resumed, resumed_masks = run(checkpoint, 99)
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    assert masks.keys() == resumed_masks.keys() == {"0.weight", "2.weight"}
    assert all(torch.equal(masks[name], resumed_masks[name]) for name in masks)


def test_a_checkpoint_of_other_masks_is_refused(tmp_path: Path) -> None:
    model = network()
    masks = pruning_masks(magnitudes(model), 0.5)
    more = pruning_masks(magnitudes(model), 0.6)
    elsewhere = shuffled_masks(masks, generator=torch.Generator().manual_seed(0))

    def run(given) -> None:
        optimizer = OPTIMIZERS["sgd"](model.parameters())
        checkpoint = Checkpoint(tmp_path / "run.ckpt")
        fit(
            model,
            data,
            cross_entropy,
            optimizer=optimizer,
            epochs=1,
            callbacks=[KeepMasks(given)],
            checkpoint=checkpoint,
        )

    run(masks)
    run(masks)
    with pytest.raises(UsageError, match="remaining is"):
        run(more)
    with pytest.raises(UsageError, match="masks is"):
        run(elsewhere)


def test_masks_that_do_not_fit_are_named() -> None:
    model = network()
    run = {"optimizer": OPTIMIZERS["sgd"](model.parameters()), "epochs": 1}
    for masks, word in (
        ({"9.weight": torch.ones(8, 6, dtype=torch.bool)}, "no such parameter"),
        ({"0.weight": torch.ones(8, 6)}, "boolean"),
        ({"0.weight": torch.ones(6, 8, dtype=torch.bool)}, r"\[8, 6\]"),
        ({}, "no weights to prune"),
    ):
        with pytest.raises(UsageError, match=word):
            fit(model, data, cross_entropy, callbacks=[KeepMasks(masks)], **run)


def test_a_network_of_stacked_members_keeps_the_mask_of_each() -> None:
    class Stacked(nn.Module):
        """Three linear maps as one parameter."""

        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(torch.randn(3, 2, 6, generator=torch.Generator().manual_seed(0)))

        def forward(self, x):
            return torch.einsum("soi,bi->sbo", self.weights, x)

    model = Stacked()
    each = [pruning_masks({"weights": member.abs()}, 0.5)["weights"] for member in model.weights.detach()]
    fit(
        model,
        data,
        lambda outputs, targets: cross_entropy(outputs.flatten(0, 1), targets.repeat(3)),
        optimizer=OPTIMIZERS["sgd"](model.parameters()),
        epochs=1,
        callbacks=[KeepMasks({"weights": torch.stack(each)})],
    )
    assert (model.weights != 0).sum((1, 2)).tolist() == [6, 6, 6]
