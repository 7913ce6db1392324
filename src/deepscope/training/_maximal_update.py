"""Maximal-update parametrisation (µP): the learning rate that is best at one width is best at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.training._optimizer_arguments import checked_parameters, require_rate
from deepscope.training._width_factors import Rule, WidthFactors, width_factors


def maximal_update(
    network: nn.Module,
    base: nn.Module,
    *,
    lr: float,
    optimizer: Rule = "adam",
    weight_decay: float = 0.0,
    fan_in_axes: Mapping[str, int | None] | None = None,
) -> list[dict[str, Any]]:
    """Rescale a network's initial weights to µP, and return its parameters in groups with their learning rates.

    Axes whose length is not the base's are those of the width. With m the length over that of the base, of the axis
    that is summed over (fan-in) and of the other (fan-out), and 1 where they are equal, a tensor has by its kind

    ============================  ===================  ========================  ==============
    kind (which axes grow)        initial deviation    rate, SGD                 rate, Adam
    ============================  ===================  ========================  ==============
    input, bias, gain (fan-out)   the base's           η m_out                   η
    hidden (both)                 the base's / √m_in   η m_out / m_in            η / m_in
    output (fan-in)               the base's / m_in    η / m_in                  η / m_in
    fixed (neither)               the base's           η                         η
    ============================  ===================  ========================  ==============

    This is Table 3 of ``yang2022tensor``, relative to the base, of the parametrisation of ``yang2021feature``: Tables 8
    and 9 are the same with factors in the forward pass, which this one needs none of. In it every activation moves as
    far in a step at any width, and as far as it can without blowing up. A network as wide as its base keeps its weights
    and one rate, bit for bit.

    Parameters
    ----------
    network
        Just initialised; changed in place.
    base
        The same network at the width at which rates are tuned, just initialised the same way; only looked at. On the
        meta device it costs no memory, and the initial deviations cannot be checked.
    lr
        η, that of the base.
    optimizer
        ``"adam"`` for all that divide by the gradient's size (AdamW, RMSprop, Lion), ``"sgd"`` for momentum.
    weight_decay
        λ, decoupled as AdamW's; a group has λη divided by its rate, so that all weights decay alike at any width.
    fan_in_axes
        Parameter's name to the axis that is summed over, or None where none is (embeddings of positions): for
        parameters of modules that are not torch's linear, convolutional, recurrent, attention or embedding layers.

    Returns
    -------
    list
        One group for each learning rate, for torch's optimisers: ``torch.optim.Adam(groups)``. Frozen parameters are
        rescaled and in none.

    Raises
    ------
    UsageError
        The base is another network; the optimiser is unknown; a rate is negative; a tensor grows along three axes or
        its fan-in cannot be known; one that is shared would have two scales; none is trained; an initial deviation does
        not change with the width as torch's does (1/√fan-in, biases as well; constant for embeddings and gains), as
        after a second call.

    Notes
    -----
    Initial deviations are checked from the tensors' root mean squares: the fault is more than 3 standard errors and
    half way to a tensor of another rule. What the shapes do not tell is left to the network: attention must divide
    q·k by d in place of √d where the heads' size d grows (not where their number does), and Adam's ε must be below the
    gradients, which fall as the inverse of the width. Costs a pass over the weights.

    Examples
    --------
    >>> def build(width):
    ...     return nn.Sequential(nn.Linear(64, width), nn.Linear(width, width), nn.Linear(width, 10))
    >>> groups = maximal_update(build(256), build(64), lr=0.01)
    >>> [(group["lr"], [list(each.shape) for each in group["params"]]) for group in groups]
    [(0.01, [[256, 64], [256], [256], [10]]), (0.0025, [[256, 256], [10, 256]])]
    >>> optimizer = torch.optim.Adam(groups)
    """
    require_rate("lr", lr, where="maximal_update")
    require_rate("weight_decay", weight_decay, where="maximal_update")
    factors = width_factors(network, base, optimizer=optimizer, fan_in_axes=fan_in_axes)
    checked_parameters(network.parameters(), where="maximal_update")
    own, its = dict(network.named_parameters()), dict(base.named_parameters())
    groups: dict[float, dict[str, Any]] = {}
    for name, each in factors.items():
        if own[name].requires_grad:
            decay = {"weight_decay": weight_decay / each.rate} if weight_decay else {}
            groups.setdefault(each.rate, {"params": [], "lr": lr * each.rate, **decay})["params"].append(own[name])
    for name, each in factors.items():
        _check_initial(name, own[name], its[name], each)
    with torch.no_grad():
        for name, each in factors.items():
            own[name].mul_(each.initial)
    return list(groups.values())


def _check_initial(name: str, tensor: Tensor, base: Tensor, factors: WidthFactors) -> None:
    """Refuse a tensor whose size against the base's is not what torch's initialisation gives."""
    growth = max(abs(math.log(each)) for each in (factors.fan_in, factors.fan_out, factors.drawn))
    if growth == 0 or base.is_meta or tensor.is_meta:
        return
    size, its = (float(each.detach().double().square().mean().sqrt()) for each in (tensor, base))
    if size == its == 0:
        return
    expected = 1 / math.sqrt(factors.drawn)
    error = math.sqrt(1 / (2 * tensor.numel()) + 1 / (2 * base.numel()))
    if size and its and abs(math.log(size / its / expected)) <= growth / 4 + 3 * error:
        return
    raise UsageError(
        f"the root mean square is {size:.3g}, and {its:.3g} in the base: not {expected:.3g} times as much, as after "
        "torch's initialisation",
        where=f"{name} of maximal_update",
        todo="Initialise both alike, in proportion to 1/√fan-in (biases too, or with 0), and call this once.",
    )


SPECIMENS = (
    Specimen(
        name="maximal-update",
        title="maximal-update parametrisation (µP)",
        build=maximal_update,
        formula=(
            "With fan-in and fan-out m_in and m_out times the base's: initial deviation over the base's 1 (input, "
            "bias), 1/√m_in (hidden), 1/m_in (output); rate over the base's m_out/m_in for SGD, 1/m_in for Adam."
        ),
        source="yang2022tensor",
        pinned_by="tests/training/test_maximal_update.py::test_it_is_table_3_of_the_paper",
    ),
)
