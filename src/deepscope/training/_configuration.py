"""What shapes a training run, in words: two runs can be told apart, and the difference named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.training._callback import Callback

Configuration = dict[str, str]


def describe_run(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[..., Any],
    *,
    schedule: Callable[[int], float] | None,
    callbacks: Sequence[Callback],
    seed: int,
    more: Mapping[str, object],
) -> Configuration:
    """Return everything that shapes a run as text by name; functions are told apart by their names alone.

    Neither the number of epochs (a run may be prolonged) nor the device (a run may move) is part of it.
    """
    entries: dict[str, object] = {"model": type(model).__name__}
    for name, parameter in model.named_parameters():
        entries[f"parameter {name}"] = f"{parameter.dtype} {list(parameter.shape)}".removeprefix("torch.")
    entries["optimizer"] = type(optimizer).__name__
    for index, group in enumerate(optimizer.param_groups):
        for name, value in group.items():
            entries[f"optimizer {name} of group {index}"] = len(value) if name == "params" else _plain(value)
    entries |= {"loss": _described(loss), "schedule": _described(schedule), "seed": seed}
    for index, callback in enumerate(callbacks):
        entries[f"callback {index}"] = type(callback).__name__
        entries |= {f"callback {index}: {name}": value for name, value in callback.configuration().items()}
    return {name: str(value) for name, value in (entries | dict(more)).items()}


def differences(here: Configuration, there: Configuration) -> list[str]:
    """Name what differs between two configurations, one sentence each.

    >>> differences({"seed": "0", "loss": "mse"}, {"seed": "1", "loss": "mse"})
    ['seed is 0 here and 1 in the checkpoint']
    """
    names = dict.fromkeys([*here, *there])
    absent = "absent"
    return [
        f"{name} is {here.get(name, absent)} here and {there.get(name, absent)} in the checkpoint"
        for name in names
        if here.get(name) != there.get(name)
    ]


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, Tensor) else value


def _described(function: object) -> str:
    if isinstance(function, partial):
        arguments = [*map(repr, function.args), *(f"{key}={value!r}" for key, value in function.keywords.items())]
        return f"{_described(function.func).lstrip('_')}({', '.join(arguments)})"
    if isinstance(function, nn.Module):
        return repr(function)
    name = getattr(function, "__qualname__", None)
    return str(name) if name is not None else str(function) if function is None else type(function).__name__
