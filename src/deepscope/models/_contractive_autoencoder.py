"""Contractive autoencoders: codes that change little with the input."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._autoencoder import Autoencoder, check_batch, squared_distance
from deepscope.models._inputs import values
from deepscope.models._sizes import check_vectors


def encoder_jacobian(model: Autoencoder, x: Tensor) -> Tensor:
    """Return the code's derivative by the input, [batch, code, in_features], exactly: J = S_k W_k ⋯ S₁ W₁.

    Sᵢ is the diagonal matrix of the activations' slopes. It is itself differentiable. With widths d₀ … d_k it costs
    2 d_k (d₀ d₁ + ⋯ + d_{k−2} d_{k−1}) operations a sample, and memory of d_k numbers for each unit.

    Raises
    ------
    UsageError
        Inputs of another size or precision.

    Examples
    --------
    >>> encoder_jacobian(Autoencoder(6, (5,), 2), torch.zeros(3, 6)).shape
    torch.Size([3, 2, 6])
    """
    check_vectors(x, model.in_features, model)
    layers = _layers(model)
    activity, factors = x.flatten(1), []
    for linear, activation in zip(layers[::2], layers[1::2], strict=True):
        assert isinstance(linear, nn.Linear)
        activity, slope = _with_slope(activation, linear(activity))
        factors.append((linear.weight, slope))
    # From the code to the input: it has fewer values as a rule.
    weight, slope = factors.pop()
    jacobian = slope[:, :, None] * weight
    for weight, slope in reversed(factors):
        jacobian = (jacobian * slope[:, None]) @ weight
    return jacobian


def contractive_penalty(model: Autoencoder, x: Tensor) -> Tensor:
    """Return ‖∂h/∂x‖² (Frobenius) of the code h, in the mean over samples, exactly.

    For one layer it is Σⱼ sⱼ² Σᵢ Wⱼᵢ² with the slopes s, which costs as much as the code itself; for more,
    ``encoder_jacobian``. Source: ``rifai2011contractive``.

    Raises
    ------
    UsageError
        No samples; inputs of another size or precision.

    Examples
    --------
    >>> contractive_penalty(Autoencoder(6, (), 2), torch.zeros(3, 6)).shape
    torch.Size([])
    """
    check_vectors(x, model.in_features, model)
    check_batch(x, "contractive_penalty")
    linears = [layer for layer in _layers(model) if isinstance(layer, nn.Linear)]
    if len(linears) > 1:
        return encoder_jacobian(model, x).square().sum((1, 2)).mean()
    _, slope = _with_slope(model.code_activation, model.encoder(x))
    return (slope.square() @ linears[0].weight.square().sum(1)).mean()


def contractive_loss(model: Autoencoder, x: Tensor, *, weight: float = 0.1) -> Tensor:
    """Return ‖x̂ − x‖² + λ ‖∂h/∂x‖², in the mean over samples. Source: ``rifai2011contractive``.

    Parameters
    ----------
    model
        The autoencoder.
    x
        [batch, …].
    weight
        λ, at least 0.

    Raises
    ------
    UsageError
        As ``contractive_penalty``; a negative weight.

    Examples
    --------
    >>> contractive_loss(Autoencoder(6, (), 2), torch.zeros(3, 6)).shape
    torch.Size([])
    """
    if not weight >= 0:
        raise UsageError(f"weight is {weight!r}", where="contractive_loss", todo="Give a number of at least 0.")
    penalty = contractive_penalty(model, x)
    return squared_distance(model(x), x) + weight * penalty


def _layers(model: Autoencoder) -> list[nn.Module]:
    """Return the encoder's layers that compute something on flat samples, the code's activation last."""
    return [each for each in chain(model.encoder, [model.code_activation]) if not isinstance(each, nn.Flatten)]


def _with_slope(activation: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return φ(x) and φ′(x) of a function of each number of its own: its derivative in the direction of ones."""
    found = torch.func.jvp(activation, (x,), (torch.ones_like(x),))
    return found[0], found[1]


def contractive_autoencoder_1000() -> Autoencoder:
    """Return the autoencoder of images of 28 × 28 pixels with 1000 units; 1,569,784 parameters.

    The paper's decoder has the encoder's weights, transposed; here it has its own. Source: ``rifai2011contractive``.

    Examples
    --------
    >>> sum(p.numel() for p in contractive_autoencoder_1000().parameters())
    1569784
    """
    return Autoencoder(784, (), 1000, code_activation="sigmoid")


SPECIMENS = (
    Specimen(
        name="contractive-autoencoder",
        title="contractive autoencoder of handwritten digits",
        build=contractive_autoencoder_1000,
        inputs=values(1, 28, 28),
        parameters=1_569_784,
        formula="h = σ(W x + b), x̂ = σ(V h + c); training lowers ‖x̂ − x‖² + λ ‖∂h/∂x‖², where for one layer "
        "‖∂h/∂x‖² = Σⱼ (hⱼ (1 − hⱼ))² Σᵢ Wⱼᵢ².",
        source="rifai2011contractive",
        pinned_by="tests/models/test_contractive_autoencoder.py::test_the_penalty_is_the_norm_of_autograds_jacobian",
    ),
)
