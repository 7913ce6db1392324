"""A first layer is linear in its weights, so that its outputs at all points of a plane come from three products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.instruments._parameter_points import Affine
from deepscope.instruments._parameter_space import ParameterSpace, Tensors
from deepscope.subject import Batch, Subject

#: Adding up three outputs costs as much as making one with some tens of products each; below, nothing is won.
_FEWEST_PRODUCTS = 64


class LinearHead:
    r"""The first layer of a network, where that is linear and sees the inputs themselves.

    Its output is :math:`x(W + \sum_j c_j D_j) + b = xW + b + \sum_j c_j\, xD_j`: one product per direction and chunk of
    data serves all points.

    Parameters
    ----------
    name, layer
        A linear layer or convolution.
    """

    def __init__(self, name: str, layer: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) -> None:
        self.name, self.layer = name, layer
        #: Names of the tensors that need not be made for a point, because only the layer itself reads them.
        self.moved = frozenset({f"{name}.weight", f"{name}.bias"})

    def products(self, subject: Subject, points: Affine, fixed: Tensors, batch: Batch) -> HeadOutputs:
        """Run the layer at the origin and along every direction, on what it is fed of a batch."""
        inputs = self._fed(subject, batch)
        (weight, own_weight), (bias, own_bias) = (
            (f"{self.name}.{leaf}", getattr(self.layer, leaf)) for leaf in ("weight", "bias")
        )
        tensors = {**fixed, **points.origin}
        with torch.no_grad():
            at_origin = self._run(inputs, tensors.get(weight, own_weight), tensors.get(bias, own_bias))
            along = [self._along(inputs, direction) for direction in points.directions]
        return HeadOutputs(at_origin, along)

    def fits(self, points: Affine) -> bool:
        """Whether a bias moves only where the weight does."""
        weight, bias = f"{self.name}.weight", f"{self.name}.bias"
        return all(weight in each or bias not in each for each in points.directions)

    def nbytes(self, inputs: Tensor) -> int:
        """Bytes that its outputs take at most: at the origin, along two directions, and their sum."""
        outputs, products = len(self.layer.weight), self.layer.weight.shape[1]
        return 4 * inputs.nbytes // products * outputs

    def _fed(self, subject: Subject, batch: Batch) -> Tensor:
        fed: list[Tensor] = []

        def stop(module: nn.Module, given: tuple[Any, ...]) -> None:
            del module
            fed.append(given[0])
            raise _Seen

        handle = self.layer.register_forward_pre_hook(stop)
        try:
            with torch.no_grad(), suppress(_Seen):
                subject.predict(batch.inputs)
        finally:
            handle.remove()
        return fed[0]

    def _along(self, inputs: Tensor, direction: Tensors) -> Tensor | None:
        weight = direction.get(f"{self.name}.weight")
        return None if weight is None else self._run(inputs, weight, direction.get(f"{self.name}.bias"))

    def _run(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            return nn.functional.linear(inputs, weight, bias)
        found: Tensor = self.layer._conv_forward(inputs, weight, bias)
        return found

    @contextmanager
    def replaced(self) -> Iterator[list[Tensor]]:
        """Let the layer return what is put into the list instead of running."""
        given: list[Tensor] = []

        def forward(inputs: Tensor) -> Tensor:
            del inputs
            # Code after it may work in place, as ReLU(inplace=True) does.
            return given[0]

        # An attribute of the instance stands before the class's method; `undisturbed` would put it back as well.
        self.layer.forward = forward  # type: ignore[method-assign, assignment]
        try:
            yield given
        finally:
            del self.layer.forward


class _Seen(Exception):  # noqa: N818 - it tells of no error
    """The first layer has been reached; nothing behind it need run."""


class HeadOutputs:
    """A first layer's outputs for one chunk of data, from which those at every point are added up."""

    def __init__(self, at_origin: Tensor, along: list[Tensor | None]) -> None:
        self._at_origin, self._along = at_origin, along
        self._shared = at_origin
        self._shared_for: tuple[float, ...] = ()

    def at(self, coefficients: Any) -> Tensor:
        """Return the outputs at one point, in memory of their own."""
        *before, last = (float(each) for each in coefficients)
        if tuple(before) != self._shared_for:
            self._shared = self._sum(self._at_origin, before)
            self._shared_for = tuple(before)
        direction = self._along[-1]
        return self._shared.clone() if direction is None else torch.add(self._shared, direction, alpha=last)

    def _sum(self, total: Tensor, factors: list[float]) -> Tensor:
        for factor, direction in zip(factors, self._along[:-1], strict=True):
            if direction is not None:
                total = torch.add(total, direction, alpha=factor)
        return total


def find_linear_head(subject: Subject, space: ParameterSpace, batch: Batch) -> LinearHead | None:
    """Return the layer that is fed the batch's inputs themselves, where there is exactly one use of exactly one.

    The layer must be ``nn.Linear`` or ``nn.Conv``, called once, without hooks, its weight under one name only, and fed
    a view of the inputs that nothing has written to: then its input depends on no parameter.
    """
    assert subject.model is not None
    inputs = batch.inputs
    # Cast inputs would not run through the network itself.
    if not isinstance(inputs, Tensor) or space.dtype is not None:
        return None
    calls: dict[str, list[bool]] = {}
    handles = [
        layer.register_forward_pre_hook(_Watch(calls, name, inputs, inputs._version))
        for name, layer in subject.model.named_modules()
        if _is_linear(layer)
    ]
    try:
        with torch.no_grad():
            subject.predict(inputs)
    finally:
        for handle in handles:
            handle.remove()
    found = [name for name, fed in calls.items() if fed == [True]]
    if len(found) != 1:
        return None
    tied = {name for weight in subject.weights() if weight.tied for name in (weight.name, *weight.tied)}
    if {f"{found[0]}.weight", f"{found[0]}.bias"} & tied:
        return None
    return LinearHead(found[0], subject.model.get_submodule(found[0]))  # type: ignore[arg-type]


class _Watch:
    """Notes for one layer whether each call saw the inputs themselves."""

    def __init__(self, calls: dict[str, list[bool]], name: str, inputs: Tensor, version: int) -> None:
        self._calls, self._name, self._inputs, self._version = calls, name, inputs, version

    def __call__(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        seen = given[0] if given and isinstance(given[0], Tensor) else None
        same = (
            seen is not None
            and seen.numel() == self._inputs.numel()
            and seen.data_ptr() == self._inputs.data_ptr()
            and self._inputs._version == self._version
        )
        self._calls.setdefault(self._name, []).append(same)


def _is_linear(layer: nn.Module) -> bool:
    if type(layer) not in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
        return False
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks)
    return not any(hooks) and layer.weight[0].numel() >= _FEWEST_PRODUCTS  # type: ignore[index]
