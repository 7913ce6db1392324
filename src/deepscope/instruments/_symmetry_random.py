"""The same network with random weights."""

from __future__ import annotations

import copy
from contextlib import suppress

import torch
from torch import Tensor, nn

from deepscope.subject import seeded_generators


def randomised(model: nn.Module, seed: int, *, own_constants: bool = False) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a copy of a network with new random weights, and which parameters were shuffled to get them.

    Every module with parameters of its own that has ``reset_parameters`` (attention: ``_reset_parameters``) is reset
    by it. A parameter that is the same after that, since nothing says how it was initialised, has its entries put into
    a random order.

    Parameters
    ----------
    model
        It is not touched.
    seed
        Seeds all draws, which are made in single precision on the CPU: the same for every dtype and device.
    own_constants
        Give what begins constant — biases of 0, scales of 1, running means — the network's own values, in a random
        order. A symmetry that is gone then is not one of the architecture, but of where training begins.

    Raises
    ------
    Exception
        Whatever copying the network raises.

    Examples
    --------
    >>> again, shuffled = randomised(nn.Linear(3, 2), seed=0)
    >>> tuple(again.weight.shape), shuffled
    ((2, 3), ())
    """
    made = copy.deepcopy(model)
    homes = [(parameter, parameter.dtype, parameter.device) for parameter in made.parameters()]
    with torch.no_grad(), seeded_generators(seed):
        for parameter, dtype, _ in homes:
            parameter.data = parameter.data.to("cpu", torch.float32 if dtype.is_floating_point else dtype)
        before = {name: parameter.clone() for name, parameter in made.named_parameters()}
        buffers = {name: buffer.clone() for name, buffer in made.named_buffers() if buffer.is_floating_point()}
        for module in made.modules():
            _reset(module)
        shuffled = []
        for name, parameter in made.named_parameters():
            if torch.equal(parameter, before[name]) and not _is_constant(parameter):
                parameter.copy_(_shuffled(parameter))
                shuffled.append(name)
        if own_constants:
            after = {**dict(made.named_parameters()), **dict(made.named_buffers())}
            for name, own in {**before, **buffers}.items():
                if _is_constant(after[name]):
                    after[name].copy_(_shuffled(own))
        for parameter, dtype, device in homes:
            parameter.data = parameter.data.to(device, dtype)
    return made, tuple(shuffled)


def _reset(module: nn.Module) -> None:
    if not any(True for _ in module.parameters(recurse=False)):
        return
    for name in ("reset_parameters", "_reset_parameters"):
        reset = getattr(module, name, None)
        if callable(reset):
            # One that wants arguments, or fails half-way, is as good as none: what it left alone is shuffled.
            with suppress(Exception):
                reset()
            return


def _shuffled(tensor: Tensor) -> Tensor:
    return tensor.flatten()[torch.randperm(tensor.numel()).to(tensor.device)].reshape(tensor.shape)


def _is_constant(tensor: Tensor) -> bool:
    return tensor.numel() < 2 or bool((tensor == tensor.flatten()[0]).all())
