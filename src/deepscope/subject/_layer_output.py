"""What counts as a layer, and what it puts out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.subject._activation_function import Activation
from deepscope.subject._subject import Subject

_CHANNELS_FIRST = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._LPPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.Upsample,
    nn.PixelShuffle,
)
_UNITS_LAST = (
    nn.Linear,
    nn.Bilinear,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
#: Hold parameters for another module and compute nothing.
PARAMETER_CONTAINERS = (nn.ParameterList, nn.ParameterDict)
_PASS_THROUGH = (
    nn.modules.dropout._DropoutNd,
    nn.Identity,
    nn.Sequential,
    nn.ModuleList,
    nn.ModuleDict,
    *PARAMETER_CONTAINERS,
)


@dataclass(frozen=True, eq=False)
class LayerOutput:
    """What a layer has just put out.

    Attributes
    ----------
    name
        The layer, as ``named_modules`` has it; ``""`` for the model itself.
    site
        Where in the forward pass: the name, or ``name#2`` … where a layer without parameters is used again behind
        another layer. A layer with parameters has one site, however often it runs.
    module
        The layer.
    tensor
        Its output, attached to the graph; the first tensor of a tuple.
    units_dim
        The dimension along which its units lie; None where each value is a sample of one unit.
    activation
        The activation function that made the tensor, or None.
    open
        Boolean, of the tensor's shape: where a rectifier let its input through; None for other functions.
    functional
        Whether the tensor is not the layer's own output but what a function called in a forward (``F.relu``) made of
        it; ``part`` counts such calls from one output on.
    real
        Boolean over the leading dimensions other than the units': False where a position is padding; None where no
        mask is given or it does not fit.
    """

    name: str
    site: str
    module: nn.Module
    tensor: Tensor = field(repr=False)
    units_dim: int | None
    activation: Activation | None = None
    open: Tensor | None = field(default=None, repr=False)
    functional: bool = False
    part: int = 0
    real: Tensor | None = field(default=None, repr=False)

    def by_unit(self, values: Tensor) -> Tensor:
        """Bring values of the output's shape to [positions, units], without padding and gradients."""
        values = values.detach()
        values = values.unsqueeze(-1) if self.units_dim is None else values.movedim(self.units_dim, -1)
        if self.real is not None:
            values = values[self.real]
        return values.reshape(-1, values.shape[-1])


def is_opaque(module: nn.Module) -> bool:
    """Whether a module computes by itself, without calling further modules; attention does."""
    children = [
        name
        for name, child in module.named_children()
        if name != "parametrizations" and not isinstance(child, PARAMETER_CONTAINERS)
    ]
    return not children or isinstance(module, nn.MultiheadAttention)


def is_layer(name: str, module: nn.Module) -> bool:
    """Whether a module counts as a layer: without children, or inside the network with parameters of its own.

    Containers and the network itself, dropout, identity, what computes a parametrised weight, and TorchScript, which
    takes no hooks, do not.
    """
    if isinstance(module, (*_PASS_THROUGH, torch.jit.ScriptModule)) or "parametrizations" in name.split("."):
        return False
    return is_opaque(module) or (name != "" and any(True for _ in own_parameters(module)))


def own_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Iterate over a module's own parameters, those in its parameter lists and dictionaries included."""
    yield from module.named_parameters(recurse=False)
    for name, child in module.named_children():
        if isinstance(child, PARAMETER_CONTAINERS):
            yield from child.named_parameters(prefix=name)


@dataclass
class Source:
    """The layer from whose output a tensor came; without that output, which is not to live on for it."""

    name: str
    site: str
    module: nn.Module
    units_dim: int | None
    ndim: int
    order: int
    parts: int = 0

    def units_dim_of(self, tensor: Tensor) -> int | None:
        """Return the dimension of the units of what was made of that output."""
        return self.units_dim if self.ndim == tensor.ndim else plain_units_dim(tensor.ndim)


def selected_layers(subject: Subject) -> Iterator[str]:
    """Name the layers that a subject selects, by their name or that of one of their own parameters."""
    for name, module in subject.model.named_modules() if subject.model is not None else ():
        own = (f"{name}.{parameter}".lstrip(".") for parameter, _ in own_parameters(module))
        if subject.selects(name) or any(subject.selects(each) for each in own):
            yield name


def units_dim_of(module: nn.Module, ndim: int, latest: Mapping[int, int | None]) -> int | None:
    """Return the dimension of a layer's units; elementwise layers inherit it from the latest output of that ndim."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return ndim - module.weight.ndim + 1
    if isinstance(module, _CHANNELS_FIRST) and ndim >= 2:
        return 1
    if isinstance(module, _UNITS_LAST):
        return ndim - 1
    return latest[ndim] if ndim in latest else plain_units_dim(ndim)


def plain_units_dim(ndim: int) -> int | None:
    """Return the dimension along which units lie where nothing else is known."""
    return None if ndim == 1 else 1 if ndim >= 4 else ndim - 1


def why_not_measured(tensor: Tensor | None) -> str:
    """Say why an output cannot be measured; empty where it can."""
    if tensor is None:
        return "its output holds no tensor"
    if not tensor.is_floating_point():
        return f"its output is {str(tensor.dtype).removeprefix('torch.')}, not floating-point"
    if tensor.is_nested or tensor.layout is not torch.strided:
        return "its output is a nested or sparse tensor"
    if tensor.ndim == 0:
        return "its output is a single number"
    return "" if tensor.numel() else "its output is empty"


def first_tensor(value: Any) -> Tensor | None:
    """Return the first tensor in nested tuples, lists and mappings."""
    return next((each for each in flat((value,)) if isinstance(each, Tensor)), None)


def flat(values: Any) -> Iterator[Any]:
    """Iterate over what nested tuples, lists and mappings hold."""
    for each in values:
        if isinstance(each, (tuple, list)):
            yield from flat(each)
        elif isinstance(each, Mapping):
            yield from flat(each.values())
        else:
            yield each
