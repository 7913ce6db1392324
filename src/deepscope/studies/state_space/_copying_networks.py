"""Networks whose state spaces see the past by what they read, or only by how long ago it was."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import Case, UsageError, nearest
from deepscope.models import H3, LanguageModel, Mamba, MambaMixer, SelectiveSSM, ShiftSSM
from deepscope.studies.state_space._copying_tasks import Task
from deepscope.subject import seeded_generators

#: What a selective state space reads from its input.
SELECTED = ("step", "B", "C")
ARMS = ("selective", "frozen", "kernel", "h3")


def build_network(case: Case, task: Task, seed: int) -> LanguageModel:
    """Return an untrained network for a task: ``case.layers`` blocks of ``case.width`` times ``case.wide`` channels.

    *Selective* ones are ``Mamba``, whose blocks multiply by a gate where ``case.gated``. In *frozen* ones Δ, B and C
    are parameters, the same at all steps. In *kernel* ones the state space is a causal convolution with a free kernel
    as long as the sequences: every linear state space that does not change in time is one of these. *h3* is ``H3``,
    whose state spaces do not change in time and stand between multiplications. All of a seed draw from one generator.

    Raises
    ------
    UsageError
        An unknown arm, and what the models refuse.
    """
    if case.arm not in ARMS:
        raise UsageError("unknown arm", where=str(case.arm), todo=nearest(str(case.arm), ARMS))
    width = case.width * case.wide
    with seeded_generators(seed):
        if case.arm == "h3":
            return LanguageModel(task.vocabulary, width, H3(width, case.layers, state_size=case.state_size))
        body = Mamba(
            width,
            case.layers,
            state_size=case.state_size,
            selective=case.arm == "selective",
            gated=case.gated,
        )
        if case.arm == "kernel":
            for mixer in body.modules():
                if isinstance(mixer, MambaMixer):
                    mixer.state_space = free_kernel(mixer.state_space.input_size, task.length)  # type: ignore[assignment]
        return LanguageModel(task.vocabulary, width, body)


def free_kernel(channels: int, length: int) -> ShiftSSM:
    """Return y = K ∗ x + D x with a kernel of each channel, all of whose entries are parameters; D begins as 1.

    It is the state space that remembers its last inputs, of which B holds each as it is: K_l = C_l.

    Examples
    --------
    >>> model = free_kernel(8, 20)
    >>> torch.equal(model.kernel(20).round(decimals=4), model.C.round(decimals=4)), model.B.requires_grad
    (True, False)
    """
    found = ShiftSSM(channels, length)
    found.B.requires_grad_(False)
    nn.init.ones_(found.D)
    return found


@contextmanager
def unselected(model: nn.Module, parts: Iterable[str] = SELECTED) -> Iterator[None]:
    """Hold Δ, B or C of all selective state spaces at their means over the sequences and steps of each call.

    With all three, each state space is linear and invariant in time while the context lasts. Of Δ it is the mean
    before the softplus that is held.

    Parameters
    ----------
    model
        As it was, afterwards.
    parts
        Of ``SELECTED``.
    """
    chosen = set(parts)

    def hold(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        owner = owners[module]
        pieces = torch.split(output, [owner.step_rank, owner.state_size, owner.state_size], -1)
        means = [
            piece.mean((0, 1), keepdim=True).expand_as(piece) if name in chosen else piece
            for name, piece in zip(SELECTED, pieces, strict=True)
        ]
        return torch.cat(means, -1)

    owners: dict[nn.Module, SelectiveSSM] = {each.selection: each for each in _selective(model)}
    hooks = [selection.register_forward_hook(hold) for selection in owners]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def step_sizes(model: nn.Module, tokens: Tensor) -> list[Tensor]:
    """Return Δ of each selective state space from below, [batch, time, channels]; of other networks an empty list."""
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        found.append(nn.functional.softplus(output))

    hooks = [each.step_size.register_forward_hook(keep) for each in _selective(model)]
    try:
        model(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _selective(model: nn.Module) -> list[SelectiveSSM]:
    return [each for each in model.modules() if isinstance(each, SelectiveSSM) and each.selective]


@torch.no_grad()
def scan_error(model: nn.Module, tokens: Tensor, dtype: torch.dtype) -> float:
    """Return how far the scans of a network's selective state spaces are from one step after another.

    Each is asked on what reaches it in a call of the network: the largest difference over its largest output; the
    worst of them is returned.

    Parameters
    ----------
    model
        It stays as it is.
    tokens
        [batch, time].
    dtype
        In which both are computed.
    """
    twin = copy.deepcopy(model).to(dtype)
    inputs: dict[SelectiveSSM, Tensor] = {}

    def keep(module: SelectiveSSM, arguments: Any, output: Tensor) -> None:
        inputs[module] = arguments[0]

    for each in _selective(twin):
        each.register_forward_hook(keep)
    twin(tokens)
    return max(_scan_error(space, x) for space, x in inputs.items())


def _scan_error(space: SelectiveSSM, x: Tensor) -> float:
    scanned: Tensor = space(x)
    state: Tensor | tuple[Tensor, ...] = space.initial_state(len(x))
    outputs = []
    for each in x.unbind(1):
        output, state = space.step(each, state)
        outputs.append(output)
    error: Tensor = (torch.stack(outputs, 1) - scanned).abs().max() / scanned.abs().max()
    return error.item()
