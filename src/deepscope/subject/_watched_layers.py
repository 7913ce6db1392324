"""What watching layers from outside takes: that each of them is called, and a name for each place of use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from deepscope.subject._kernels import without_fused_kernels


@contextmanager
def every_layer_called(model: nn.Module | None, *, products: bool = False) -> Iterator[None]:
    """Run a model so that each of its layers is called: without the kernels that hide them, and not as compiled code.

    Parameters
    ----------
    model, products
        As ``without_fused_kernels`` takes them.

    Examples
    --------
    >>> with every_layer_called(nn.Linear(2, 2)):
    ...     torch.backends.mha.get_fastpath_enabled()
    False
    """
    with ExitStack() as stack:
        stack.enter_context(without_fused_kernels(model, products=products))
        if "torch._dynamo" in sys.modules:
            # Compiled code calls neither hooks that came after it nor functions that a mode could see.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


class Sites:
    """Names of the places where modules are used: a module's own, or ``name#2`` … behind another layer.

    A module with parameters has one place, however often it runs; one without them has one for each layer with
    parameters that ran before it.
    """

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._uses: dict[str, int] = {}
        self._behind = ""

    def begin(self) -> None:
        """Begin a forward pass; places keep their names."""
        self._behind = ""

    def of(self, name: str, module: nn.Module) -> str:
        """Return the place of the module that is being called."""
        if any(True for _ in module.parameters()):
            self._behind = name
            return name
        key = (name, self._behind)
        if key not in self._names:
            self._uses[name] = self._uses.get(name, 0) + 1
            self._names[key] = name if self._uses[name] == 1 else f"{name}#{self._uses[name]}"
        return self._names[key]
