"""Which matrices a tensor is made of."""

from __future__ import annotations

from torch import Tensor

from deepscope.subject import Role, Weight


def why_no_spectrum(weight: Weight, max_side: int | None) -> str:
    """Say why a tensor has no spectrum; empty where it has one."""
    if weight.why_not_measured:
        return weight.why_not_measured
    if len(weight.shape) < 2:
        return "a vector has no spectrum" if weight.shape else "a number has no spectrum"
    if weight.role is Role.BUFFER:
        return "a buffer is not a weight matrix"
    if weight.role in (Role.BIAS, Role.NORM):
        return f"a {'bias' if weight.role is Role.BIAS else 'normalisation'} does not map features to features"
    _, rows, cols = matrix_shape(weight)
    if len(weight.shape) > 2 and weight.role is not Role.CONVOLUTION and weight.count == max(weight.shape):
        return f"a vector in {len(weight.shape)} dimensions has no spectrum"
    if max_side is not None and min(rows, cols) > max_side:
        return f"its smaller side, {min(rows, cols):,}, is above the {max_side:,} of this budget; use a larger one"
    return ""


def matrices_of(weight: Weight, tensor: Tensor) -> Tensor:
    """Return the matrices of a tensor, [n_matrices, rows, cols]."""
    if len(weight.shape) > 2 and weight.role is Role.CONVOLUTION:
        # Contiguous per position, so that each product runs at full speed.
        return tensor.reshape(*tensor.shape[:2], -1).permute(2, 0, 1).contiguous()
    return tensor.reshape(matrix_shape(weight))


def matrix_shape(weight: Weight) -> tuple[int, int, int]:
    """Return n_matrices, rows and cols."""
    shape = weight.shape
    rows, cols = shape[:2] if weight.role is Role.CONVOLUTION else shape[-2:]
    return weight.count // (rows * cols), rows, cols
