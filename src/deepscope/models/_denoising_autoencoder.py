"""Denoising autoencoders: samples are reproduced from corrupted ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._autoencoder import Autoencoder, check_batch, squared_distance
from deepscope.models._draws import standard_normal, uniform
from deepscope.models._inputs import values

Corruption = Callable[[Tensor, torch.Generator | None], Tensor]


def gaussian_noise(deviation: float) -> Corruption:
    """Return the corruption x̃ = x + σ ε, ε standard normal, a function of x and a generator.

    Raises
    ------
    UsageError
        σ is not above 0.

    Examples
    --------
    >>> gaussian_noise(0.5)(torch.zeros(5, 2), torch.Generator().manual_seed(0)).shape
    torch.Size([5, 2])
    """
    if not deviation > 0:
        raise UsageError(f"deviation is {deviation!r}", where="gaussian_noise", todo="Give a number above 0.")

    def corrupt(x: Tensor, generator: torch.Generator | None) -> Tensor:
        return x + deviation * standard_normal(x.shape, x, generator)

    return corrupt


def masking_noise(fraction: float) -> Corruption:
    """Return the corruption that sets each value to 0 with this probability, a function of x and a generator.

    The paper sets a fixed number of each sample's values to 0, so many in the mean.

    Raises
    ------
    UsageError
        A fraction outside [0, 1).

    Examples
    --------
    >>> masking_noise(0.25)(torch.ones(1, 4), torch.Generator().manual_seed(0)).tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """
    _check_fraction(fraction, "masking_noise")

    def corrupt(x: Tensor, generator: torch.Generator | None) -> Tensor:
        hidden = uniform(x.shape, x, generator) < fraction
        return x.masked_fill(hidden, 0)

    return corrupt


def salt_and_pepper(fraction: float) -> Corruption:
    """Return the corruption that sets each value with this probability to 0 or 1, as a fair coin says.

    Raises
    ------
    UsageError
        A fraction outside [0, 1).

    Examples
    --------
    >>> salt_and_pepper(0.5)(torch.full((1, 4), 0.5), torch.Generator().manual_seed(0)).tolist()
    [[1.0, 0.5, 0.0, 0.0]]
    """
    _check_fraction(fraction, "salt_and_pepper")

    def corrupt(x: Tensor, generator: torch.Generator | None) -> Tensor:
        draws = uniform(x.shape, x, generator)
        return torch.where(draws < fraction, (draws >= fraction / 2).to(x), x)

    return corrupt


def denoising_loss(
    model: nn.Module, x: Tensor, *, corruption: Corruption, generator: torch.Generator | None = None
) -> Tensor:
    """Return ‖r(x̃) − x‖², summed over a sample's values, in the mean over samples; x̃ is the corrupted x.

    With Gaussian noise of deviation σ its minimum over all functions is r(x) = x + σ² ∇ ln p̃(x), where p̃ is the density
    of x̃; for a small σ, r(x) − x tells the score of the data themselves (``alain2014what``).
    Source: ``vincent2008extracting``.

    Parameters
    ----------
    model
        r, which maps [batch, …] to [batch, features].
    x
        [batch, …].
    corruption
        Maps x and the generator to x̃: ``gaussian_noise``, ``masking_noise``, ``salt_and_pepper``, or your own.
    generator
        Draws the corruption; torch's own unless given.

    Raises
    ------
    UsageError
        No samples.

    Examples
    --------
    >>> denoising_loss(nn.Flatten(), torch.ones(5, 4), corruption=masking_noise(0.0)).item()
    0.0
    """
    return squared_distance(model(corruption(check_batch(x, "denoising_loss"), generator)), x)


def _check_fraction(fraction: float, where: str) -> None:
    if not 0 <= fraction < 1:
        raise UsageError(f"fraction is {fraction!r}", where=where, todo="Give a fraction of at least 0, below 1.")


def denoising_autoencoder_1000() -> Autoencoder:
    """Return the autoencoder of images of 28 × 28 pixels with 1000 units; 1,569,784 parameters.

    The paper's decoder has the encoder's weights, transposed; here it has its own. Source: ``vincent2008extracting``.

    Examples
    --------
    >>> sum(p.numel() for p in denoising_autoencoder_1000().parameters())
    1569784
    """
    return Autoencoder(784, (), 1000, code_activation="sigmoid")


SPECIMENS = (
    Specimen(
        name="denoising-autoencoder",
        title="denoising autoencoder of handwritten digits",
        build=denoising_autoencoder_1000,
        inputs=values(1, 28, 28),
        parameters=1_569_784,
        formula="r(x) = σ(V σ(W x + b) + c); training lowers ‖r(x̃) − x‖² with x̃ a corrupted x. With Gaussian noise of "
        "variance σ², r(x) − x becomes σ² times the score of x̃.",
        source="vincent2008extracting",
        pinned_by="tests/models/test_denoising_autoencoder.py::test_its_residual_is_the_score_of_a_gaussian",
    ),
)
