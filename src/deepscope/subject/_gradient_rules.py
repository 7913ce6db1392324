"""How a layer's per-sample gradients follow from its inputs and the gradients of its outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.linalg import DenseGradients, Factor, OuterGradients, ScatteredGradients

#: ``rule(module, inputs, gradients)``: own parameter's name and factor, for each. ``inputs`` is [n, …], ``gradients``
#: [k, n, …] of the output's shape behind k.
Rule = Callable[[Any, Tensor, Tensor], Iterator[tuple[str, Factor]]]


class RowsError(ValueError):
    """A layer saw something else than a row, or as many for each, of the samples."""


def rule_of(module: nn.Module) -> Rule | None:
    """Return the rule for a module's own parameters, or None where there is none."""
    return next((rule for kind, rule in _RULES if isinstance(module, kind)), None)


def by_sample(module: nn.Module, inputs: Tensor, gradients: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Bring what a layer saw to a row per sample, where samples and positions were laid out in one dimension.

    Raises
    ------
    RowsError
        It cannot be: the layer saw something else than n samples.
    """
    length = gradients.shape[1] if gradients.ndim > 1 else 0
    if inputs.ndim and len(inputs) == length == n:
        return inputs, gradients
    if not (isinstance(module, _BY_POSITION) and inputs.ndim and length and len(inputs) == length and length % n == 0):
        raise RowsError(f"a layer saw {list(inputs.shape)}, not {n} samples")
    m = length // n
    return inputs.reshape(n, m, *inputs.shape[1:]), gradients.reshape(-1, n, m, *gradients.shape[2:])


def _linear(module: nn.Linear, inputs: Tensor, gradients: Tensor) -> Iterator[tuple[str, Factor]]:
    return linear_factors(inputs, gradients, weight="weight", bias=None if module.bias is None else "bias")


def linear_factors(inputs: Tensor, gradients: Tensor, *, weight: str, bias: str | None) -> Iterator[tuple[str, Factor]]:
    """Give the gradients of a linear map's weight, and of its bias where it has one, under the names given."""
    left, right = sides(inputs, gradients)
    if bias is not None:
        yield bias, bias_factor(left)
    yield weight, OuterGradients(left, right)


def sides(inputs: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Lay out what a linear map saw and got back as the sides of ``OuterGradients``, over all positions of a sample."""
    k, n, features = gradients.shape[0], gradients.shape[1], gradients.shape[-1]
    left = gradients.reshape(k, n, -1, features).transpose(0, 1).unsqueeze(2)
    return left, inputs.reshape(n, 1, -1, inputs.shape[-1])


def bias_factor(left: Tensor) -> Factor:
    """Return the gradients of what is added at every position."""
    if left.shape[3] == 1:
        # The very same left sides, so that their products need be had only once.
        return OuterGradients(left, left.new_ones(len(left), 1, 1, 1))
    return DenseGradients(left.sum((2, 3)))


def _convolution(module: Any, inputs: Tensor, gradients: Tensor) -> Iterator[tuple[str, Factor]]:
    k, n, groups = gradients.shape[0], gradients.shape[1], module.groups
    left = gradients.reshape(k, n, groups, module.out_channels // groups, -1).permute(1, 0, 2, 4, 3)
    if module.bias is not None:
        yield "bias", DenseGradients(gradients.flatten(3).sum(3).transpose(0, 1))
    yield "weight", OuterGradients(left, _unfolded(module, inputs))


def _unfolded(module: Any, inputs: Tensor) -> Tensor:
    """Lay out what each position of a convolution's output sees: [n, groups, positions, channels · kernel]."""
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = functional.pad(inputs, module._reversed_padding_repeated_twice, mode=mode)
    dims = len(module.kernel_size)
    for dim, (size, stride, dilation) in enumerate(
        zip(module.kernel_size, module.stride, module.dilation, strict=True), start=2
    ):
        padded = padded.unfold(dim, dilation * (size - 1) + 1, stride)[..., ::dilation]
    n, channels, *rest = padded.shape
    positions, kernel = math.prod(rest[:dims]), math.prod(rest[dims:])
    windows = padded.reshape(n, module.groups, channels // module.groups, positions, kernel)
    return windows.transpose(2, 3).flatten(3)


def _embedding(module: nn.Embedding, inputs: Tensor, gradients: Tensor) -> Iterator[tuple[str, Factor]]:
    k, n = gradients.shape[:2]
    index = inputs.reshape(n, -1)
    values = gradients.reshape(k, n, -1, module.embedding_dim).transpose(0, 1)
    if module.padding_idx is not None:
        values = values * (index != module.padding_idx)[:, None, :, None]
    yield "weight", ScatteredGradients(index, values, module.num_embeddings)


def _layer_norm(module: Any, inputs: Tensor, gradients: Tensor) -> Iterator[tuple[str, Factor]]:
    shape = list(module.normalized_shape)
    plain = functional.rms_norm if isinstance(module, nn.RMSNorm) else functional.layer_norm
    normed = plain(inputs, shape, eps=module.eps)
    k, n = gradients.shape[:2]
    per_position = (k, n, -1, math.prod(shape))
    yield from _affine(module, normed.reshape(per_position[1:]), gradients.reshape(per_position), over=2)


def _channel_norm(module: Any, inputs: Tensor, gradients: Tensor) -> Iterator[tuple[str, Factor]]:
    if isinstance(module, nn.GroupNorm):
        normed = functional.group_norm(inputs, module.num_groups, eps=module.eps)
    elif isinstance(module, nn.modules.instancenorm._InstanceNorm):
        normed = functional.instance_norm(inputs, eps=module.eps)
    else:
        normed = functional.batch_norm(inputs, module.running_mean, module.running_var, eps=module.eps)
    k, n, channels = gradients.shape[:3]
    per_position = (k, n, channels, -1)
    yield from _affine(module, normed.reshape(per_position[1:]), gradients.reshape(per_position), over=3)


def _affine(module: Any, normed: Tensor, gradients: Tensor, *, over: int) -> Iterator[tuple[str, Factor]]:
    yield "weight", DenseGradients((gradients * normed).sum(over).transpose(0, 1))
    if getattr(module, "bias", None) is not None:
        yield "bias", DenseGradients(gradients.sum(over).transpose(0, 1))


def _prelu(module: nn.PReLU, inputs: Tensor, gradients: Tensor) -> Iterator[tuple[str, Factor]]:
    k, n = gradients.shape[:2]
    below = gradients * inputs.clamp(max=0)
    # One slope for all, or one per channel, which is the dimension behind the samples'.
    by_channel = below.reshape(k, n, module.num_parameters, -1) if inputs.ndim > 1 else below.reshape(k, n, 1, 1)
    yield "weight", DenseGradients(by_channel.sum(3).transpose(0, 1))


def widened(tensor: Tensor) -> Tensor:
    """Return a floating-point tensor in at least float32, in which half precision's sums are taken."""
    half = tensor.is_floating_point() and tensor.dtype.itemsize < 4
    return tensor.to(torch.float32) if half else tensor


#: Layers that do the same at every position, or to every sequence, so that these need not be told from samples.
_BY_POSITION = (
    nn.Linear, nn.Embedding, nn.LayerNorm, nn.RMSNorm, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention,
)  # fmt: skip
_RULES: tuple[tuple[Any, Rule], ...] = (
    (nn.Linear, _linear),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    (nn.Embedding, _embedding),
    ((nn.LayerNorm, nn.RMSNorm), _layer_norm),
    ((nn.GroupNorm, nn.modules.batchnorm._NormBase), _channel_norm),
    (nn.PReLU, _prelu),
)
