"""How a Born machine is trained: two neighbouring tensors at a time, merged, moved and split again."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models._binary import check_bits
from deepscope.models._born_machine import BornMachine
from deepscope.models._matrix_product import canonical, split
from deepscope.models._sizes import positive


@torch.no_grad()
def fit_born_machine(
    machine: BornMachine,
    samples: Tensor,
    *,
    sweeps: int,
    learning_rate: float,
    descents: int = 1,
    cutoff: float = 0.0,
    bases: Tensor | None = None,
) -> Tensor:
    """Train a Born machine on all samples at once, by sweeps over its bonds, and return how it fared.

    At each bond the two tensors beside it, of which one is the centre, are merged to M; Z is then |M|², and M moves
    down the gradient of the negative log-likelihood 𝓛, M ← M − η ∂𝓛/∂M with ∂𝓛/∂M = 2 M / Z − 2 ⟨(Ψ′(x) / Ψ(x))*⟩,
    and is scaled to Z = 1. Singular values of M beyond the bond's dimension are left out when it is split: by this the
    bonds find their dimensions, and 𝓛 may rise. A sweep goes from the first bond to the last and back. Canonical form
    is kept throughout, with the centre in front at the end.

    Parameters
    ----------
    machine
        Its tensors change.
    samples
        [n, N] of zeros and ones. 𝓛 counts equal ones as often as they are given.
    sweeps
        Number of sweeps.
    learning_rate
        η. No step is longer than 1, the norm of M, lest a sample of probability near 0 throw it far away.
    descents
        Steps at each bond and turn.
    cutoff
        Singular values below this share of the greatest are left out too.
    bases
        Local bases of the samples, [n, N, 2, 2], as ``BornMachine.forward`` has them.

    Returns
    -------
    Tensor
        𝓛 after each sweep, in nats, [sweeps].

    Raises
    ------
    UsageError
        Samples of another shape or precision, or not of zeros and ones; a number below 1; a rate that is not above 0,
        a cutoff that is not in [0, 1); bases of another shape; a sample of probability 0, which has no gradient.

    Notes
    -----
    Cost of a sweep: 2N (D³ · O(1) + descents · 16 n D²) operations. Source: ``han2018unsupervised``.

    Examples
    --------
    >>> machine = BornMachine(4, 4, generator=torch.Generator().manual_seed(0))
    >>> ghz = torch.tensor([[0.0] * 4, [1.0] * 4])
    >>> float(fit_born_machine(machine, ghz, sweeps=40, learning_rate=0.1)[-1])  # log 2
    0.69...
    """
    check_bits(samples, machine.sites, "samples", machine)
    positive(sweeps, "sweeps", machine), positive(descents, "descents", machine)
    if not 0 < learning_rate < math.inf or not 0 <= cutoff < 1:
        raise UsageError(
            f"learning_rate is {learning_rate}, cutoff {cutoff}",
            where="fit_born_machine",
            todo="Give a finite rate above 0, and a cutoff of at least 0 and below 1.",
        )
    features = machine.features(samples, bases)
    tensors = canonical(list(machine.tensors), 0)
    ones = torch.ones_like(features[:, 0, :1])
    lefts, rights = [ones] * machine.sites, [ones] * machine.sites
    for site in range(machine.sites - 1, 0, -1):
        rights[site - 1] = _direction(_outer(features[:, site], rights[site]) @ tensors[site].flatten(1).mT)
    losses = []
    there = range(machine.sites - 1)
    for _ in range(sweeps):
        for site, to_right in [*((each, True) for each in there), *((each, False) for each in reversed(there))]:
            left = _outer(lefts[site], features[:, site])
            right = _outer(features[:, site + 1], rights[site + 1])
            merged = torch.tensordot(tensors[site], tensors[site + 1], 1)
            for _ in range(descents):
                gradient = merged_gradient(merged, left, right)
                norm = torch.linalg.vector_norm(gradient)
                merged = merged - gradient * torch.clamp(1 / norm, max=learning_rate)
                merged = merged / torch.linalg.vector_norm(merged)
            bond = tensors[site].shape[2]
            pair = split(merged, bond=bond, cutoff=cutoff, to_right=to_right)
            tensors[site : site + 2] = pair
            if to_right:
                lefts[site + 1] = _direction(left @ pair[0].flatten(0, 1))
            else:
                rights[site] = _direction(right @ pair[1].flatten(1).mT)
        for parameter, tensor in zip(machine.tensors, tensors, strict=True):
            parameter.copy_(tensor)
        losses.append(-machine(samples, bases).mean())
    return torch.stack(losses)


def merged_gradient(merged: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return the gradient of the mean negative log-likelihood with respect to a merged tensor of norm 1.

    Of a complex one it is that of steepest ascent, as autograd has it.

    Parameters
    ----------
    merged
        M, [l, 2, 2, r].
    left, right
        What M's first two and last two dimensions are multiplied by to give Ψ of each sample, [n, 2 l] and [n, 2 r];
        factors of a sample do not matter.
    """
    matrix = merged.flatten(2).flatten(0, 1)
    amplitudes = ((left @ matrix) * right).sum(1)
    if not bool((amplitudes.abs() > 0).all()):
        raise UsageError(
            "a sample has probability 0, where the likelihood has no gradient",
            where="fit_born_machine",
            todo="Give a smaller learning_rate or cutoff, or begin at another machine.",
        )
    pull = (left / amplitudes[:, None]).mT @ right / len(left)
    gradient: Tensor = 2 * (matrix - pull.conj()).reshape(merged.shape)
    return gradient


def _outer(first: Tensor, second: Tensor) -> Tensor:
    """Return the products of all pairs of each sample's numbers, [n, first · second]."""
    return (first[:, :, None] * second[:, None]).flatten(1)


def _direction(vectors: Tensor) -> Tensor:
    """Return each vector without its length, which would leave the numbers' range along many sites."""
    directions: Tensor = vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return directions
