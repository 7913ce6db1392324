"""Sparse autoencoders: each unit of the code is active for few samples."""

from __future__ import annotations

from torch import Tensor

from deepscope.core import Specimen, UsageError
from deepscope.models._autoencoder import Autoencoder, check_batch, squared_distance
from deepscope.models._inputs import values


def sparsity_penalty(code: Tensor, sparsity: float) -> Tensor:
    """Return Σⱼ KL(ρ ‖ ρ̂ⱼ) with ρ̂ⱼ the mean activity of unit j: 0 where every mean is ρ.

    KL(ρ ‖ ρ̂) = ρ ln(ρ/ρ̂) + (1 − ρ) ln((1 − ρ)/(1 − ρ̂)), of two coins. A unit that is always 0 or always 1 makes it
    infinite. Source: ``ng2011sparse``.

    Parameters
    ----------
    code
        Activities between 0 and 1, [batch, units].
    sparsity
        ρ, between 0 and 1.

    Raises
    ------
    UsageError
        Another ρ; no samples; activities outside [0, 1].

    Examples
    --------
    >>> import torch
    >>> sparsity_penalty(torch.tensor([[0.0], [0.2]]), 0.1).item()
    0.0
    """
    _check_sparsity(sparsity, "sparsity_penalty")
    check_batch(code, "sparsity_penalty")
    low, high = float(code.detach().min()), float(code.detach().max())
    if low < 0 or high > 1:
        raise UsageError(
            f"the code runs from {low:.3g} to {high:.3g}",
            where="sparsity_penalty",
            todo='Give activities from 0 to 1: an Autoencoder with code_activation="sigmoid".',
        )
    mean = code.mean(0)
    on, off = sparsity * (sparsity / mean).log(), (1 - sparsity) * ((1 - sparsity) / (1 - mean)).log()
    return (on + off).sum()


def sparse_loss(model: Autoencoder, x: Tensor, *, sparsity: float = 0.05, weight: float = 3.0) -> Tensor:
    """Return ½ ‖x̂ − x‖² in the mean over samples, plus β Σⱼ KL(ρ ‖ ρ̂ⱼ).

    The notes' third term, weight decay, is left to the optimiser. The means ρ̂ⱼ are the batch's: a batch much smaller
    than 1/ρ says little about them. Source: ``ng2011sparse``.

    Parameters
    ----------
    model
        An autoencoder with activities between 0 and 1 as its code.
    x
        [batch, …].
    sparsity
        ρ, the mean activity to have.
    weight
        β, at least 0.

    Raises
    ------
    UsageError
        As ``sparsity_penalty``; a negative weight.

    Examples
    --------
    >>> import torch
    >>> sparse_loss(sparse_autoencoder_64(), torch.zeros(5, 64)).shape
    torch.Size([])
    """
    if not weight >= 0:
        raise UsageError(f"weight is {weight!r}", where="sparse_loss", todo="Give a number of at least 0.")
    code = model.encode(check_batch(x, "sparse_loss"))
    return squared_distance(model.decode(code), x) / 2 + weight * sparsity_penalty(code, sparsity)


def _check_sparsity(sparsity: float, where: str) -> None:
    if not 0 < sparsity < 1:
        raise UsageError(f"sparsity is {sparsity!r}", where=where, todo="Give a mean activity between 0 and 1.")


def sparse_autoencoder_64() -> Autoencoder:
    """Return the autoencoder of image patches of 8 × 8 pixels with 25 units; 3,289 parameters.

    Source: ``ng2011sparse``.

    Examples
    --------
    >>> sum(p.numel() for p in sparse_autoencoder_64().parameters())
    3289
    """
    return Autoencoder(64, (), 25, code_activation="sigmoid")


SPECIMENS = (
    Specimen(
        name="sparse-autoencoder",
        title="sparse autoencoder of image patches",
        build=sparse_autoencoder_64,
        inputs=values(64),
        parameters=3_289,
        formula="h = σ(W x + b), x̂ = σ(V h + c); training lowers ½ ‖x̂ − x‖² + β Σⱼ KL(ρ ‖ ρ̂ⱼ), where ρ̂ⱼ is the mean "
        "activity of unit j and KL that of two coins.",
        source="ng2011sparse",
        pinned_by="tests/models/test_sparse_autoencoder.py::test_training_brings_mean_activities_to_the_sparsity",
    ),
)
