"""What a pruned or factorised network costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from deepscope.core import UsageError
from deepscope.subject import call, n_samples, undisturbed, without_fused_kernels
from deepscope.training._masks import PRUNED_LAYERS


@dataclass(frozen=True, kw_only=True)
class NetworkCost:
    """Numbers that a network holds and operations that a sample takes.

    Attributes
    ----------
    parameters, nonzero_parameters
        All, and those that are not 0; what is shared counts once.
    flops, nonzero_flops
        Floating-point operations of the forward pass of one sample in products of matrices and convolutions, two for
        each multiplication with its addition; and without those of linear and convolutional layers by weights that
        are 0. Weights that other layers multiply by count as if none were.
    """

    parameters: int
    nonzero_parameters: int
    flops: float
    nonzero_flops: float


def network_cost(model: nn.Module, inputs: Any) -> NetworkCost:
    """Count a network's parameters and the work of a sample, those of 0 apart.

    Parameters
    ----------
    model
        Run in evaluation mode and left as it was. A masked weight of movement pruning counts as what it is used as.
    inputs
        One batch: a tensor, a tuple or a mapping, as ``fit`` takes them.

    Returns
    -------
    NetworkCost
        Compression is ``before.parameters / after.nonzero_parameters``. A dense kernel takes the time of ``flops``,
        whatever is 0.

    Raises
    ------
    UsageError
        The inputs hold no sample.

    Notes
    -----
    Costs one forward pass.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 2))
    >>> with torch.no_grad():
    ...     _ = model[0].weight[:, :15].fill_(0.0), model[0].bias.fill_(1.0), model[2].bias.fill_(1.0)
    >>> network_cost(model, torch.zeros(8, 20))
    NetworkCost(parameters=232, nonzero_parameters=82, flops=440.0, nonzero_flops=140.0)
    """
    n = n_samples(inputs)
    if not n:
        raise UsageError("the inputs hold no sample", where="inputs of network_cost", todo="Give a batch.")
    saved = 0.0

    def without_zeros(layer: Any, given: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
        nonlocal saved
        transposed = getattr(layer, "transposed", False)
        if transposed:
            moved, channels = given[0] if given else named["input"], layer.in_channels
        else:
            moved, channels = output, _n_outputs(layer)
        saved += 2.0 * (moved.numel() // channels) * int((layer.weight == 0).sum())

    counter = FlopCounterMode(display=False)
    with undisturbed(model), torch.no_grad(), without_fused_kernels(model, products=True):
        hooks = [
            layer.register_forward_hook(without_zeros, with_kwargs=True)
            for layer in model.modules()
            if isinstance(layer, PRUNED_LAYERS)
        ]
        try:
            with counter:
                call(model, inputs)
        finally:
            for hook in hooks:
                hook.remove()
        weights = {id(each): each for each in _used_weights(model)}.values()
        held, nonzero = sum(each.numel() for each in weights), sum(int((each != 0).sum()) for each in weights)
    flops = counter.get_total_flops()
    return NetworkCost(parameters=held, nonzero_parameters=nonzero, flops=flops / n, nonzero_flops=(flops - saved) / n)


def _used_weights(model: nn.Module) -> Iterator[Tensor]:
    """Give the parameters, and in place of what parametrizations hold what they make of it."""
    for name, module in model.named_modules():
        if "parametrizations" in name.split("."):
            continue
        yield from module.parameters(recurse=False)
        if parametrize.is_parametrized(module):
            for leaf in module.parametrizations:
                yield getattr(module, leaf)


def _n_outputs(layer: Any) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)
