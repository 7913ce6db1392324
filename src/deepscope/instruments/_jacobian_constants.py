"""Lipschitz constants of single layers, certified: no input makes a layer stretch a change by more."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.linalg import convolution_norm

#: Beyond this smaller side a matrix's norm is bounded by powers of its Gram matrix instead of computed.
_EXACT_SIDE = 4096
#: Squarings of the Gram matrix: the bound is off by at most rank^(2^−9), 2 % at a rank of 16,384.
_SQUARINGS = 8
#: sup |f′| of smooth activations, rounded up: GELU's at √2, SiLU's at 2.3994, Mish's at 1.4907.
_GELU, _GELU_TANH, _SILU, _MISH = 1.12890415, 1.12899988, 1.09983938, 1.08849976


@dataclass(frozen=True)
class Constant:
    """A Lipschitz constant in the Euclidean norm.

    Attributes
    ----------
    value
        None where there is none, or none is known.
    reason
        Why there is none, or what is to be said about it; empty otherwise.
    """

    value: float | None
    reason: str = ""


def lipschitz_constant(module: nn.Module, x: Tensor | None) -> Constant:
    """Return a layer's Lipschitz constant in evaluation mode, for inputs of the shape of x, [1, …].

    Exact for linear layers, elementwise functions and batch normalisation; for convolutions the norm of the periodic
    one that they are a part of; for pooling and resizing √(‖A‖₁ ‖A‖_∞) of the matrix. Dot-product attention has none
    (``kim2021lipschitz``).
    """
    if any(isinstance(each, nn.MultiheadAttention) for each in module.modules()):
        return Constant(None, "dot-product attention has no finite Lipschitz constant")
    for kinds, rule in _RULES:
        kind = next((each for each in kinds if isinstance(module, each)), None)
        # A forward of its own may do anything.
        if kind is not None and type(module).forward is kind.forward:
            return rule(module, x)
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return Constant(None, "gates multiply: a gated recurrent layer is not certified")
    return Constant(None, f"no constant is known for {type(module).__name__}")


def _linear(module: Any, x: Tensor | None) -> Constant:
    del x
    return Constant(matrix_norm(module.weight))


def matrix_norm(weight: Tensor) -> float:
    """Return the spectral norm of a matrix, or an upper bound on it where it is very large."""
    A = weight.detach().double()
    A = A if A.shape[0] <= A.shape[1] else A.T
    gram = A @ A.T
    if len(gram) <= _EXACT_SIDE:
        return math.sqrt(max(float(torch.linalg.eigvalsh(gram)[-1]), 0.0))
    # ‖G‖ ≤ ‖G^(2^k)‖_F^(2^−k), brought to unit size at every squaring.
    logarithm, power = 0.0, 1.0
    for _ in range(_SQUARINGS):
        size = float(torch.linalg.matrix_norm(gram))
        if size == 0:
            return 0.0
        logarithm += math.log(size) / power
        gram, power = (gram / size) @ (gram / size), 2 * power
    return math.exp((logarithm + math.log(float(torch.linalg.matrix_norm(gram))) / power) / 2)


def _convolution(module: Any, x: Tensor | None) -> Constant:
    taps = module.weight.shape[2:]
    if x is None:
        return Constant(None, "its input is not known")
    if module.padding == "same":
        pads = [d * (k - 1) for k, d in zip(taps, module.dilation, strict=True)]
    elif module.padding == "valid":
        pads = [0] * len(taps)
    else:
        pads = [2 * p for p in module.padding]
    sizes = list(x.shape[-len(taps) :])
    # An input is read again where the padding repeats it; zeros repeat nothing.
    repeats, circular = 1.0, False
    if module.padding_mode != "zeros" and any(pads):
        # Periodic padding by the kernel's reach is the periodic convolution itself.
        circular = module.padding_mode == "circular" and all(
            pad == d * (k - 1) for pad, k, d in zip(pads, taps, module.dilation, strict=True)
        )
        if not circular:
            repeats = _repeats(sizes, module)
    grid = sizes if circular else [n + pad for n, pad in zip(sizes, pads, strict=True)]
    bound, margin = convolution_norm(
        module.weight, grid, stride=module.stride, dilation=module.dilation, groups=module.groups, circular=circular
    )
    note = f"at most {margin - 1:.1%} above that of the periodic convolution" if margin > 1 else ""
    return Constant(bound * repeats, note)


def _repeats(sizes: Sequence[int], module: Any) -> float:
    """Return the norm of a padding that repeats inputs: the root of how often one is repeated at most."""
    total = 1.0
    pads = module._reversed_padding_repeated_twice
    for dim, n in enumerate(reversed(list(sizes))):
        line = torch.arange(n, dtype=torch.float64)[None, None]
        padded = functional.pad(line, (pads[2 * dim], pads[2 * dim + 1]), mode=module.padding_mode)
        total *= math.sqrt(int(torch.bincount(padded.flatten().long()).max()))
    return total


def _transposed(module: Any, x: Tensor | None) -> Constant:
    if x is None:
        return Constant(None, "its input is not known")
    taps = module.weight.shape[2:]
    # The adjoint of the convolution with the same kernel, on a grid that holds all that it puts out.
    grid = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(x.shape[-len(taps) :], module.stride, module.dilation, taps, strict=True)
    ]
    bound, margin = convolution_norm(
        module.weight, grid, stride=module.stride, dilation=module.dilation, groups=module.groups
    )
    return Constant(bound, f"at most {margin - 1:.1%} above that of the periodic convolution" if margin > 1 else "")


def _batch_norm(module: Any, x: Tensor | None) -> Constant:
    del x
    if module.running_var is None:
        return Constant(None, "normalisation by the batch ties samples together")
    scale = 1 / (module.running_var.double() + module.eps).sqrt()
    scale = scale if module.weight is None else scale * module.weight.double().abs()
    return Constant(float(scale.max()))


def _recurrent(module: Any, x: Tensor | None) -> Constant:
    """Σ_j ‖W_hh‖^j over the steps that an input acts on, times ‖W_ih‖: the norm of a Toeplitz matrix of such taps."""
    if x is None:
        return Constant(None, "its input is not known")
    steps = x.shape[0] if x.ndim == 2 or not module.batch_first else x.shape[1]
    so_far, total = 1.0, 0.0
    for layer in range(module.num_layers):
        ways = ("", "_reverse") if module.bidirectional else ("",)
        squares = 0.0
        for way in ways:
            again = matrix_norm(getattr(module, f"weight_hh_l{layer}{way}"))
            taps = steps if again == 1 else (again**steps - 1) / (again - 1)
            squares += (matrix_norm(getattr(module, f"weight_ih_l{layer}{way}")) * taps) ** 2
        so_far *= math.sqrt(squares)
        # What is handed on may be the last states of all layers.
        total += so_far**2
    return Constant(math.sqrt(total))


def _normalisation(module: Any, x: Tensor | None) -> Constant:
    """Centring and scaling stretch by 1/√(variance + ε): at most, near constant inputs, by 1/√ε."""
    del x
    if isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats:
        return _batch_norm(module, None)
    eps = module.eps if module.eps is not None else torch.finfo(torch.float32).eps
    if eps <= 0:
        return Constant(None, "normalisation without ε has no finite constant near constant inputs")
    weight = getattr(module, "weight", None)
    largest = 1.0 if weight is None else float(weight.detach().double().abs().max())
    return Constant(largest / math.sqrt(eps), "reached only near constant inputs: 1/√ε")


def _linear_map(module: Any, x: Tensor | None) -> Constant:
    """√(‖A‖₁ ‖A‖_∞) of a linear map whose entries are not negative: its largest column and row sums."""
    if x is None:
        return Constant(None, "its input is not known")
    with torch.enable_grad():
        ones = torch.ones(x.shape, dtype=torch.float64, device=x.device, requires_grad=True)
        rows = module(ones)
        (columns,) = torch.autograd.grad(rows.sum(), ones)
    return Constant(math.sqrt(float(rows.detach().max()) * float(columns.max())))


def _max_pool(module: Any, x: Tensor | None) -> Constant:
    """Every output is one of the inputs, and an input is the largest of so many windows at most."""
    dims = 1 if isinstance(module, nn.MaxPool1d) else 2 if isinstance(module, nn.MaxPool2d) else 3
    del x
    sizes, strides, dilations = (
        (each,) * dims if isinstance(each, int) else tuple(each)
        for each in (module.kernel_size, module.stride, module.dilation)
    )
    windows = [-(-k * math.gcd(s, d) // s) for k, s, d in zip(sizes, strides, dilations, strict=True)]
    return Constant(math.sqrt(math.prod(windows)))


def _adaptive_max_pool(module: Any, x: Tensor | None) -> Constant:
    if x is None:
        return Constant(None, "its input is not known")
    dims = 1 if isinstance(module, nn.AdaptiveMaxPool1d) else 2 if isinstance(module, nn.AdaptiveMaxPool2d) else 3
    asked = module.output_size
    outputs = (asked,) * dims if isinstance(asked, int) else tuple(asked)
    total = 1
    for n, m in zip(x.shape[-dims:], outputs, strict=True):
        size = n if m is None else m
        starts = [i * n // size for i in range(size)]
        ends = [-(-(i + 1) * n // size) for i in range(size)]
        total *= max(sum(a <= i < b for a, b in zip(starts, ends, strict=True)) for i in range(n))
    return Constant(math.sqrt(total))


def _log_softmax(module: Any, x: Tensor | None) -> Constant:
    if x is None:
        return Constant(None, "its input is not known")
    dim = module.dim if module.dim is not None else -1
    # I − 1pᵀ for weights p: a convex combination of I − 1e_kᵀ, each of norm √n.
    return Constant(math.sqrt(x.shape[dim]))


def _fixed(value: float) -> Callable[[Any, Tensor | None], Constant]:
    return lambda module, x: Constant(value)


def _none(reason: str) -> Callable[[Any, Tensor | None], Constant]:
    return lambda module, x: Constant(None, reason)


def _of_slopes(*names: str) -> Callable[[Any, Tensor | None], Constant]:
    """Return the rule of a function of slope 1 on one side and the named attribute's on the other."""

    def rule(module: Any, x: Tensor | None) -> Constant:
        del x
        slopes = [float(torch.as_tensor(getattr(module, name)).detach().abs().max()) for name in names]
        return Constant(max(1.0, *slopes))

    return rule


def _rrelu(module: Any, x: Tensor | None) -> Constant:
    del x
    return Constant(max(1.0, abs(module.lower + module.upper) / 2))


_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
_RULES: tuple[tuple[tuple[type[nn.Module], ...], Callable[[Any, Tensor | None], Constant]], ...] = (
    ((nn.Linear,), _linear),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _transposed),
    ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    ((nn.LayerNorm, nn.RMSNorm, nn.GroupNorm), _normalisation),
    ((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _normalisation),
    ((*_POOLS, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.PixelShuffle, nn.PixelUnshuffle), _linear_map),
    ((nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReplicationPad1d, nn.ReplicationPad2d), _linear_map),
    ((nn.CircularPad1d, nn.CircularPad2d), _linear_map),
    ((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _max_pool),
    ((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), _adaptive_max_pool),
    ((nn.RNN,), _recurrent),
    ((nn.Identity, nn.Flatten, nn.Unflatten), _fixed(1.0)),
    ((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout), _fixed(1.0)),
    ((nn.ReLU, nn.ReLU6, nn.Tanh, nn.Hardtanh, nn.Softsign, nn.Softshrink, nn.Tanhshrink), _fixed(1.0)),
    ((nn.Softplus, nn.LogSigmoid), _fixed(1.0)),
    ((nn.Sigmoid,), _fixed(0.25)),
    # torch's own sixth, rounded up.
    ((nn.Hardsigmoid,), _fixed(0.1666666717)),
    ((nn.Hardswish,), _fixed(1.5)),
    ((nn.GELU,), lambda module, x: Constant(_GELU if module.approximate == "none" else _GELU_TANH)),
    ((nn.SiLU,), _fixed(_SILU)),
    ((nn.Mish,), _fixed(_MISH)),
    # λα, rounded up.
    ((nn.SELU,), _fixed(1.75809935)),
    ((nn.CELU,), _fixed(1.0)),
    ((nn.ELU,), _of_slopes("alpha")),
    ((nn.LeakyReLU,), _of_slopes("negative_slope")),
    ((nn.PReLU,), _of_slopes("weight")),
    ((nn.RReLU,), _rrelu),
    # diag(p) − ppᵀ: at most ½.
    ((nn.Softmax, nn.Softmin, nn.Softmax2d), _fixed(0.5)),
    ((nn.LogSoftmax,), _log_softmax),
    ((nn.Hardshrink, nn.Threshold), _none("it jumps")),
    ((nn.Embedding, nn.EmbeddingBag), _none("it takes whole numbers")),
    ((nn.GLU, nn.Bilinear), _none("a product of two of its inputs has no finite Lipschitz constant")),
)
