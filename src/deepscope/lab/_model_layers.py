"""What a reference model is made of: its layers, their outputs, parameters and work."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deepscope.core import Specimen
from deepscope.subject import seeded_generators, tensors_in, without_fused_kernels

#: A model with more parameters is given no values: its layers compute shapes alone.
_LARGE = 3_000_000


def model_layers(path: str, name: str) -> dict[str, Any]:
    """Run one sample through a model that a file of ``deepscope.models`` declares; through a large one only its shape.

    Parameters
    ----------
    path
        The file.
    name
        Its specimen.

    Returns
    -------
    dict
        ``input`` and ``output``: shapes of one sample, of several tensors that of the first. ``flops``: floating-point
        operations in the matrix products, convolutions and attention of its forward pass; a multiplication and an
        addition are two. ``layers``: the modules that were called, each behind the module that holds it: ``name``;
        ``depth``, how many of the list hold it; ``holds``, how many of the list it holds; ``kind``, its class;
        ``output``, the shape for one sample, None where it returns no tensor; ``calls``; ``parameters``, all in it;
        ``own_parameters``, those outside of its children; ``tied``, how many of them an earlier module holds as well;
        ``flops``.
    """
    specimen = _specimen(path, name)
    assert specimen.inputs is not None
    large = (specimen.parameters or 0) > _LARGE
    with seeded_generators(0), torch.device("meta" if large else "cpu"):
        model = specimen.build().eval()
        sample = specimen.inputs(1, None)
    calls: dict[str, list[Any]] = {}
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(without_fused_kernels(model, products=True))
        for key, module in model.named_modules():
            calls[key] = []
            stack.callback(module.register_forward_hook(partial(_record, calls[key])).remove)
        counter = stack.enter_context(FlopCounterMode(display=False))
        output = model(**sample) if isinstance(sample, Mapping) else model(sample)
    called = [key for key, shapes in calls.items() if key and shapes]
    root, owners = type(model).__name__, _owners(model)
    work = {
        key.removeprefix(root).removeprefix("."): sum(by_operation.values())
        for key, by_operation in counter.get_flop_counts().items()
        if key != "Global"
    }
    return {
        "input": _shape(sample),
        "output": _shape(output),
        "flops": counter.get_total_flops(),
        "layers": [
            {
                **_place(key, called),
                **_layer(module, calls[key]),
                "tied": _tied(key, module, owners),
                "flops": work.get(key, 0),
            }
            for key, module in model.named_modules()
            if key in called
        ],
    }


def _specimen(path: str, name: str) -> Specimen:
    module = importlib.import_module(f"deepscope.models.{Path(path).stem}")
    specimens: tuple[Specimen, ...] = module.SPECIMENS
    return next(each for each in specimens if each.name == name)


def _record(calls: list[Any], module: nn.Module, arguments: Any, output: Any) -> None:
    calls.append(_shape(output))


def _shape(output: Any) -> list[int] | None:
    first: Tensor | None = next(iter(tensors_in(output)), None)
    return None if first is None else list(first.shape[1:])


def _place(key: str, called: list[str]) -> dict[str, Any]:
    return {
        "name": key,
        "depth": sum(key.startswith(f"{other}.") for other in called),
        "holds": sum(other.startswith(f"{key}.") for other in called),
    }


def _layer(module: nn.Module, calls: list[Any]) -> dict[str, Any]:
    return {
        "kind": type(module).__name__,
        "output": calls[0],
        "calls": len(calls),
        "parameters": _count(module.parameters()),
        "own_parameters": _count(module.parameters(recurse=False)),
    }


def _owners(model: nn.Module) -> dict[nn.Parameter, str]:
    """Return the first module that holds each parameter."""
    owners: dict[nn.Parameter, str] = {}
    for key, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(parameter, key)
    return owners


def _tied(key: str, module: nn.Module, owners: dict[nn.Parameter, str]) -> int:
    earlier = (each for each in module.parameters() if not f"{owners[each]}.".startswith(f"{key}."))
    return _count(earlier)


def _count(parameters: Iterator[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
