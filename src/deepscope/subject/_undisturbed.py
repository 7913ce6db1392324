"""Leave a network exactly as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
)


@contextmanager
def undisturbed(model: nn.Module | None, *, training: bool = False, seed: int = 0) -> Iterator[None]:
    """Run a measurement so that nothing it touches stays changed, also after an exception.

    Inside, the model is in evaluation mode (``training=True``: training mode), its gradients are None, and every
    random generator (Python, NumPy, torch on CPU and CUDA) starts from ``seed``. Afterwards modes, gradients,
    ``requires_grad``, hooks, buffers and generators are what they were. Buffers are copied and restored; parameters
    are not copied but proved untouched by their version counters.

    Raises
    ------
    RuntimeError
        The measurement, or the model's own forward pass, has changed a parameter.
    """
    generators = _generators()
    kept = _Kept(model) if model is not None else None
    try:
        _seed_all(seed)
        if model is not None:
            model.train(training)
            for parameter in model.parameters():
                parameter.grad = None
        yield
    finally:
        _restore_generators(generators)
        if kept is not None:
            kept.restore()
    if kept is not None:
        kept.prove_parameters_untouched()


class _Kept:
    """What a model was before: everything that can be put back, and the version of what must not change."""

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        self.modes = [(module, module.training) for module in modules]
        self.hooks = [(module, name, dict(getattr(module, name))) for module in modules for name in _HOOKS]
        self.buffers = [
            (module, name, buffer, buffer._version if _versioned(buffer) else None, buffer.detach().clone())
            for module in modules
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]
        self.parameters = [
            (name, parameter, parameter.grad, parameter.requires_grad, _version(parameter))
            for name, parameter in model.named_parameters()
        ]

    def restore(self) -> None:
        for module, mode in self.modes:
            module.training = mode
        for module, name, hooks in self.hooks:
            current = getattr(module, name)
            current.clear()
            current.update(hooks)
        for module, name, buffer, version, copy in self.buffers:
            if version is None or buffer._version != version:
                with torch.no_grad():
                    buffer.copy_(copy)
            module._buffers[name] = buffer
        for _, parameter, gradient, requires_grad, _ in self.parameters:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient

    def prove_parameters_untouched(self) -> None:
        changed = [name for name, parameter, _, _, version in self.parameters if _version(parameter) != version]
        if changed:
            raise RuntimeError(f"parameters were changed during a measurement: {', '.join(changed[:5])}")


def _versioned(tensor: Tensor) -> bool:
    return not tensor.is_inference()


def _version(tensor: Tensor) -> tuple[int, int] | None:
    # Inference tensors keep no version; torch itself refuses to change them in place outside inference mode.
    return (tensor._version, tensor.data_ptr()) if _versioned(tensor) else None


def _generators() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda  # noqa: NPY002


def _restore_generators(states: tuple[Any, ...]) -> None:
    python, numpy, cpu, cuda = states
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
