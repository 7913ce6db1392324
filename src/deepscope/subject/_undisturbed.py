"""Leave a network exactly as it was."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from deepscope.core import MeasurementError
from deepscope.subject._generators import seeded_generators

#: Containers in which a module keeps its parameters, buffers, submodules and hooks, and its author whatever else.
_CONTAINERS = (dict, OrderedDict, list, set)
_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


@contextmanager
def undisturbed(model: nn.Module | None, *, training: bool = False, seed: int = 0) -> Iterator[None]:
    """Run a measurement so that nothing it touches stays changed, also after an exception.

    Inside, the model is in evaluation mode (``training=True``: training mode), its gradients are None, and every
    random generator (Python, NumPy, torch on CPU and CUDA) starts from ``seed``. Afterwards modes, gradients,
    ``requires_grad``, hooks, buffers, generators and what modules hold as plain attributes are what they were. Buffers
    are copied and restored; parameters are not copied but proved untouched by their version counters and addresses
    (values written through ``parameter.data`` escape both).

    Raises
    ------
    MeasurementError
        The measurement, or the model's own forward pass, has changed a parameter.
    """
    kept = _Kept(model) if model is not None else None
    with seeded_generators(seed):
        try:
            if model is not None:
                model.train(training)
                for parameter in model.parameters():
                    parameter.grad = None
            yield
        finally:
            if kept is not None:
                kept.restore()
    if kept is not None:
        kept.prove_parameters_untouched()


class _Kept:
    """What a model was before: everything that can be put back, and the version of what must not change."""

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        self.modes = [(module, module.training) for module in modules]
        # All attributes, not the known ones alone: a forward pass that makes a larger buffer also notes its size.
        self.attributes = [(module, dict(vars(module))) for module in modules]
        self.containers = [
            (container, copy.copy(container))
            for module in modules
            for container in vars(module).values()
            if type(container) in _CONTAINERS
        ]
        self.buffers = [(buffer, _version(buffer), buffer.detach().clone()) for buffer in model.buffers()]
        self.parameters = [
            (name, parameter, parameter.grad, parameter.requires_grad, _version(parameter))
            for name, parameter in model.named_parameters()
        ]
        self.tensor_hooks = [
            (parameter, name, hooks, copy.copy(hooks))
            for parameter in model.parameters()
            for name in _TENSOR_HOOKS
            for hooks in [getattr(parameter, name)]
        ]

    def restore(self) -> None:
        for module, attributes in self.attributes:
            for name in vars(module).keys() - attributes.keys():
                del vars(module)[name]
            vars(module).update(attributes)
        for container, contents in self.containers:
            container.clear()
            container.extend(contents) if isinstance(container, list) else container.update(contents)
        for module, mode in self.modes:
            module.training = mode
        for buffer, version, values in self.buffers:
            _restore_values(buffer, version, values)
        for _, parameter, gradient, requires_grad, _ in self.parameters:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
        for parameter, name, hooks, contents in self.tensor_hooks:
            current = getattr(parameter, name)
            if current is not hooks:
                # torch keeps calling what is in the container that it was given, also after the attribute is reset.
                current.clear()
                setattr(parameter, name, hooks)
            if hooks is not None:
                hooks.clear()
                hooks.update(contents)

    def prove_parameters_untouched(self) -> None:
        changed = [name for name, parameter, _, _, version in self.parameters if _version(parameter) != version]
        if changed:
            raise MeasurementError(
                "parameters were changed during a measurement",
                where=", ".join(changed[:5]),
                todo="Look for what writes into weights: the model's forward pass, or an instrument of your own.",
            )


def _restore_values(buffer: Tensor, version: tuple[int, int] | None, values: Tensor) -> None:
    # Writing where nothing changed would break a graph that the caller still wants to go back through.
    if _version(buffer) == version and _same_bytes(buffer, values):
        return
    if buffer.shape != values.shape or buffer.dtype != values.dtype:
        buffer.data = values
        return
    with torch.inference_mode(buffer.is_inference()), torch.no_grad():
        buffer.copy_(values)


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    if one.layout is not torch.strided or one.is_quantized or one.is_meta:
        return True
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    bytes_of = [tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)]
    return torch.equal(*bytes_of)


def _version(tensor: Tensor) -> tuple[int, int] | None:
    # Inference tensors keep no version; torch itself refuses to change them in place outside inference mode.
    return None if tensor.is_inference() else (tensor._version, tensor.data_ptr())
