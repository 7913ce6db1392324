"""MPS Born machine: a distribution whose amplitudes are products of matrices, normalised and sampled exactly."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._binary import MOST_UNITS, bits
from deepscope.models._matrix_product import bond_dimensions, canonical, decomposed
from deepscope.models._sizes import check_shape, positive


class BornMachine(nn.Module):
    """Matrix-product-state Born machine: P(x) = |Ψ(x)|² / Z with Ψ(x) = A¹(x_1) A²(x_2) … Aᴺ(x_N), for bits x.

    Maps samples [batch, N] to log P(x), [batch]: numbers between bits are taken as weights of Aⁱ(0) and Aⁱ(1), 1 − x_i
    and x_i. Bond k between sites k and k + 1 has D_k = min(D, 2ᵏ, 2^(N−k)) dimensions, and as many are enough for
    any distribution when D = 2^⌊N/2⌋; the tensors have 2 Σ_k D_k D_k+1 numbers. Z = Σ_x |Ψ(x)|² takes O(N D³)
    operations in place of 2ᴺ: tensors can always be made isometries but one, the centre, without a change of Ψ, and Z
    is then the squared norm of that one. A sample's likelihood costs 4 N D² operations, a draw of one as much.
    ``fit_born_machine`` trains two neighbours at a time, as the paper does; losses of what is returned train all at
    once. Tensors begin as a product state of equal amplitudes and noise of standard deviation 0.1 / √D, in canonical
    form with the centre in front and Z = 1. Source: ``han2018unsupervised``.

    Parameters
    ----------
    sites
        Number of bits, N, at least 2.
    bond_dimension
        D.
    dtype
        Of the tensors; complex ones can have any state, and samples from any local bases. torch's default one unless
        given.
    generator
        Draws the noise. torch's global one unless given.

    Raises
    ------
    UsageError
        Sizes too small; when called: samples of another shape, or not of real numbers; bases of another shape.

    Examples
    --------
    >>> machine = BornMachine(6, 4, generator=torch.Generator().manual_seed(0))
    >>> machine(torch.zeros(3, 6)).shape, sum(p.numel() for p in machine.parameters())
    (torch.Size([3]), 104)
    >>> machine.sample(2, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        sites: int = 16,
        bond_dimension: int = 32,
        *,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.sites = positive(sites, "sites", self)
        self.bond_dimension = positive(bond_dimension, "bond_dimension", self)
        if sites < 2:
            raise UsageError("sites is 1", where="BornMachine", todo="Give at least 2: a bond joins two.")
        bonds = bond_dimensions(sites, bond_dimension)
        tensors = []
        for left, right in pairwise(bonds):
            noise = torch.randn(left, 2, right, dtype=dtype, generator=generator) * 0.1 / math.sqrt(bond_dimension)
            noise[0, :, 0] += math.sqrt(0.5)
            tensors.append(noise)
        self.tensors = nn.ParameterList(nn.Parameter(each) for each in canonical(tensors, 0))

    @classmethod
    def from_amplitudes(cls, amplitudes: Tensor, *, bond_dimension: int | None = None) -> Self:
        """Return the machine of given amplitudes, [2ᴺ] in the order of the numbers that x writes, its first bit ahead.

        By one singular value decomposition after another. It is exact when D is at least the number of singular values
        of each cut, as it is unless given; else the smallest are left out.

        Raises
        ------
        UsageError
            Amplitudes that are not 2ᴺ finite numbers, not all 0, for N of at least 2; D below 1.
        """
        sites = amplitudes.numel().bit_length() - 1
        fits = amplitudes.ndim == 1 and sites >= 2 and amplitudes.numel() == 2**sites
        numbers = amplitudes.is_floating_point() or amplitudes.is_complex()
        if not fits or not numbers or not amplitudes.isfinite().all() or not amplitudes.any():
            raise UsageError(
                f"the amplitudes are {list(amplitudes.shape)} of {str(amplitudes.dtype).removeprefix('torch.')}",
                where="BornMachine",
                todo="Give a vector of 4, 8, 16 … finite floating-point or complex numbers, not all 0.",
            )
        most = 2 ** (sites // 2) if bond_dimension is None else bond_dimension
        # Its own generator: what it draws is overwritten.
        machine = cls(sites, most, dtype=amplitudes.dtype, generator=torch.Generator()).to(amplitudes.device)
        with torch.no_grad():
            found = decomposed(amplitudes / torch.linalg.vector_norm(amplitudes), most)
            for tensor, value in zip(machine.tensors, found, strict=True):
                tensor.copy_(value)
        return machine

    def forward(self, x: Tensor, bases: Tensor | None = None) -> Tensor:
        """Return log P(x) of each sample, [batch]; −∞ where P(x) is 0.

        Parameters
        ----------
        x
            [batch, N].
        bases
            [batch, N, 2, 2]: x_i is what a measurement of site i in the basis of the rows of this unitary matrix found,
            ⟨b|s⟩ in row b and column s. The basis of bits unless given.
        """
        return 2 * self._log_amplitude(self.features(x, bases)) - self.log_norm()

    def features(self, x: Tensor, bases: Tensor | None = None) -> Tensor:
        """Return the factors of Aⁱ(0) and Aⁱ(1) of each sample, [batch, N, 2]."""
        check_shape(x, (self.sites,), self)
        found = torch.stack([1 - x, x], -1).to(self.tensors[0].dtype)
        return found if bases is None else torch.einsum("nib,nibs->nis", found, self._checked(bases, len(x)))

    def log_norm(self) -> Tensor:
        """Return log Z, by contraction of the tensors with themselves from site to site."""
        environment = torch.ones_like(self.tensors[0][:1, 0, :1])
        log_scale = environment.real.sum() - 1
        for tensor in self.tensors:
            environment = torch.einsum("lm,lsr,msq->rq", environment, tensor, tensor.conj())
            scale = environment.detach().abs().amax()
            environment, log_scale = environment / scale, log_scale + scale.log()
        return log_scale + environment.abs().log().squeeze()

    def amplitudes(self) -> Tensor:
        """Return Ψ(x) / √Z of all x, [2ᴺ], in the order of ``from_amplitudes``."""
        if self.sites > MOST_UNITS:
            raise UsageError(
                f"the machine has {self.sites} sites",
                where="BornMachine",
                todo=f"Ask for all amplitudes of at most {MOST_UNITS}; forward gives those of samples.",
            )
        tensors = self._canonical(0)
        found = tensors[0].flatten(0, 1)
        for tensor in tensors[1:]:
            found = torch.tensordot(found, tensor, 1).flatten(0, 1)
        return found.squeeze(1)

    @torch.no_grad()
    def schmidt_values(self, bond: int) -> Tensor:
        """Return the singular values of Ψ / √Z cut between sites ``bond`` and ``bond`` + 1, counted from 1: [D_bond].

        They descend, and their squares sum to 1. Those above 0 are the least dimension that the bond needs.
        """
        if not isinstance(bond, int) or not 1 <= bond < self.sites:
            raise UsageError(f"bond is {bond!r}", where="BornMachine", todo=f"Give 1 to {self.sites - 1}.")
        values: Tensor = torch.linalg.svdvals(self._canonical(bond - 1)[bond - 1].flatten(0, 1))
        return values

    @torch.no_grad()
    def sample(self, n: int, *, bases: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw independent samples of P, [n, N]: site after site, each from its distribution given those before.

        Parameters
        ----------
        n
            How many.
        bases
            As in ``forward``, [n, N, 2, 2].
        generator
            torch's global one unless given.
        """
        positive(n, "n", self)
        tensors = self._canonical(0)
        if bases is not None:
            bases = self._checked(bases, n)
        # Right of the centre all are isometries: what follows a site adds up to 1, and need not be summed.
        given, found = torch.ones_like(tensors[0][0, :1, :1]).expand(n, 1), []
        for site, tensor in enumerate(tensors):
            ways = torch.tensordot(given, tensor, 1)
            if bases is not None:
                ways = bases[:, site] @ ways
            weights = ways.abs().square().sum(-1)
            bit = torch.bernoulli(weights[:, 1] / weights.sum(1), generator=generator)
            chosen = ways[torch.arange(n, device=bit.device), bit.long()]
            given = chosen / torch.linalg.vector_norm(chosen, dim=1, keepdim=True)
            found.append(bit)
        return torch.stack(found, 1)

    def _canonical(self, centre: int) -> list[Tensor]:
        return canonical(list(self.tensors), centre)

    def _log_amplitude(self, features: Tensor) -> Tensor:
        """Return log |Ψ| of each sample, [batch]; factors are taken out on the way, lest numbers leave their range."""
        product, log_scale = torch.ones_like(features[:, 0, :1]), torch.zeros_like(features[:, 0, 0].real)
        for site, tensor in enumerate(self.tensors):
            ways = torch.tensordot(product, tensor, 1)
            product = (ways * features[:, site, :, None]).sum(1)
            scale = product.detach().abs().amax(1)
            scale = torch.where(scale == 0, 1, scale)
            product, log_scale = product / scale[:, None], log_scale + scale.log()
        return log_scale + product.abs().log().squeeze(1)

    def _checked(self, bases: Tensor, batch: int) -> Tensor:
        own = self.tensors[0].dtype
        if bases.shape != (batch, self.sites, 2, 2) or (bases.is_complex() and not own.is_complex):
            raise UsageError(
                f"bases are {list(bases.shape)} of {str(bases.dtype).removeprefix('torch.')}",
                where="BornMachine",
                todo=f"Give a unitary matrix for each site, [{batch}, {self.sites}, 2, 2]; complex ones to a complex "
                "machine only.",
            )
        one = torch.eye(2, dtype=bases.dtype, device=bases.device)
        # Not a number is refused as well.
        if not bool(((bases @ bases.mH - one).abs() < 1e-3).all()):
            raise UsageError("some bases are not unitary", where="BornMachine", todo="Give orthonormal rows.")
        return bases.to(own)


SPECIMENS = (
    Specimen(
        name="mps-born-machine",
        title="matrix-product-state Born machine",
        build=BornMachine,
        inputs=bits(16),
        parameters=15_016,
        formula="P(x) = |A¹(x_1) A²(x_2) … Aᴺ(x_N)|² / Z of bits x, with matrices A of at most D rows and columns; Z, "
        "the sum of the numerators of all x, is the squared norm of one tensor when the others are isometries.",
        source="han2018unsupervised",
        rows=("born-machine-mps", "repo-mps-born"),
        pinned_by="tests/models/test_born_machine_training.py::test_bars_and_stripes_are_learnt_to_their_entropy",
    ),
)
