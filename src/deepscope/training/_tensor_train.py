"""Tensor-train layers: a linear layer whose matrix is a product of small cores."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.training._factorised import joined, require_rank, weight_of
from deepscope.training._optimizer_arguments import require


class TensorTrainLinear(nn.Module):
    """A linear layer, [..., features] → [..., outputs], whose matrix is a tensor train.

    With the features counted by (j₁ … j_d), j_k < n_k, and the outputs by (i₁ … i_d), i_k < m_k, the last running
    fastest, and cores G_k, [r_{k−1}, m_k, n_k, r_k] with r₀ = r_d = 1::

        W(i₁ … i_d; j₁ … j_d) = G₁[i₁, j₁] G₂[i₂, j₂] ⋯ G_d[i_d, j_d]

    a product of matrices r_{k−1} × r_k. The forward pass contracts one core after the other and never makes W. Source:
    ``novikov2015tensorizing``. The cores are drawn from normal distributions such that W's entries have the variance
    2/(features + outputs); the bias is 0.

    Parameters
    ----------
    in_modes, out_modes
        n and m, as many of each, at least two; their products are the numbers of features and outputs.
    ranks
        r₁ … r_{d−1}, or one number for all of them, where the full rank is lower that. Each is at most what its
        neighbours can use: r_k ≤ r_{k−1} m_k n_k and r_k ≤ m_{k+1} n_{k+1} r_{k+1}, which is never above the full
        rank min(Π_{l≤k} m_l n_l, Π_{l>k} m_l n_l).
    bias
        Whether a bias is added.

    Raises
    ------
    UsageError
        A mode or rank is out of range, or an input has another number of features or precision.

    Notes
    -----
    Parameters: Σ r_{k−1} m_k n_k r_k + outputs. Forward pass: of the order of d·r²·max(m)·max(features, outputs)
    operations a sample, with intermediate results of r·max(features, outputs) numbers.

    Examples
    --------
    >>> layer = TensorTrainLinear([4, 8, 8], [4, 4, 8], ranks=3)
    >>> layer(torch.zeros(2, 256)).shape, sum(each.numel() for each in layer.parameters()), 256 * 128 + 128
    (torch.Size([2, 128]), 656, 32896)
    """

    def __init__(
        self, in_modes: Sequence[int], out_modes: Sequence[int], ranks: int | Sequence[int], *, bias: bool = True
    ) -> None:
        super().__init__()
        _require_modes(in_modes, out_modes)
        self.in_modes, self.out_modes = tuple(in_modes), tuple(out_modes)
        self.in_features, self.out_features = math.prod(in_modes), math.prod(out_modes)
        self.ranks = (1, *_checked_ranks(ranks, self.in_modes, self.out_modes), 1)
        self.cores = nn.ParameterList(
            torch.empty(self.ranks[k], m, n, self.ranks[k + 1])
            for k, (m, n) in enumerate(zip(self.out_modes, self.in_modes, strict=True))
        )
        self.bias = nn.Parameter(torch.empty(self.out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the cores anew, from the global generator."""
        # An entry of W is a sum of Π r_k products of d independent numbers of variance s².
        variance = 2 / (self.in_features + self.out_features) / math.prod(self.ranks)
        for core in self.cores:
            nn.init.normal_(core, std=variance ** (0.5 / len(self.cores)))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @classmethod
    def from_linear(
        cls,
        layer: nn.Linear,
        in_modes: Sequence[int],
        out_modes: Sequence[int],
        *,
        ranks: int | Sequence[int] | None = None,
        accuracy: float | None = None,
    ) -> TensorTrainLinear:
        """Return an approximation of a linear layer by TT-SVD (``oseledets2011tensor``, algorithm 1).

        The unfoldings are truncated one after the other, and what they drop is orthogonal: ‖W − W̃‖² is the sum of the
        squared singular values dropped, at most d − 1 times that of the best of these ranks. With ``accuracy`` ε each
        may drop ε‖W‖/√(d − 1), so that ‖W − W̃‖ ≤ ε‖W‖, with the lowest ranks that do.

        Parameters
        ----------
        layer
            Left as it is.
        in_modes, out_modes
            As of the class; their products must be the layer's features and outputs.
        ranks, accuracy
            One of them: ranks as of the class, or ε from 0 to below 1.

        Returns
        -------
        TensorTrainLinear
            Of the layer's precision and device.

        Raises
        ------
        UsageError
            The layer is of another kind, or an argument is out of range or does not fit it.
        MeasurementError
            A weight is not finite.

        Notes
        -----
        Costs d − 1 singular-value decompositions in float64.

        Examples
        --------
        >>> layer = nn.Linear(6, 4)
        >>> full = TensorTrainLinear.from_linear(layer, [2, 3], [2, 2], accuracy=0.0)
        >>> full.ranks, torch.allclose(full.matrix(), layer.weight, atol=1e-6)
        ((1, 4, 1), True)
        """
        where = "TensorTrainLinear.from_linear"
        weight = weight_of(layer, (nn.Linear,), where=where)
        _require_modes(in_modes, out_modes)
        sizes = [math.prod(out_modes), math.prod(in_modes)]
        require(
            sizes == list(weight.shape),
            "the product of out_modes and of in_modes",
            sizes,
            f"as {list(weight.shape)}",
            where=where,
        )
        if (ranks is None) == (accuracy is None):
            raise UsageError(
                "neither ranks nor accuracy is given" if ranks is None else "both ranks and accuracy are given",
                where=where,
                todo="Give one of them.",
            )
        wanted = None if ranks is None else _checked_ranks(ranks, in_modes, out_modes)
        if accuracy is not None:
            require(0 <= accuracy < 1, "accuracy", accuracy, "from 0 to below 1", where=where)
        cores, _ = tensor_train_svd(_interleaved(weight, out_modes, in_modes), ranks=wanted, accuracy=accuracy)
        with torch.random.fork_rng(devices=[]):
            found = cls(in_modes, out_modes, [core.shape[-1] for core in cores[:-1]], bias=layer.bias is not None)
        found.to(layer.weight)
        with torch.no_grad():
            for own, core, m, n in zip(found.cores, cores, out_modes, in_modes, strict=True):
                own.copy_(core.view(len(core), m, n, core.shape[-1]))
            if found.bias is not None:
                found.bias.copy_(layer.bias)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., features] to [..., outputs]."""
        dtype = self.cores[0].dtype
        cast = torch.is_autocast_enabled(x.device.type) and x.is_floating_point()
        if x.ndim < 1 or x.shape[-1] != self.in_features or not (x.dtype == dtype or cast):
            raise UsageError(
                f"the input is {x.dtype} of shape {list(x.shape)}",
                where="TensorTrainLinear",
                todo=f"Give [..., {self.in_features}] of {dtype}.",
            )
        # [batch and outputs so far, rank, feature to contract, features after it].
        state = x.reshape(-1, 1, self.in_modes[0], self.in_features // self.in_modes[0])
        after = self.in_features
        for core, n in zip(self.cores, self.in_modes, strict=True):
            after //= n
            state = torch.einsum("prnq,rmns->pmsq", state.reshape(-1, len(core), n, after), core)
            state = state.flatten(0, 1)
        outputs = state.reshape(*x.shape[:-1], self.out_features)
        return outputs if self.bias is None else outputs + self.bias

    def matrix(self) -> Tensor:
        """Return W, [outputs, features]."""
        tensor: Tensor = self.cores[0].new_ones(1, 1)
        for core in self.cores:
            tensor = torch.tensordot(tensor, core.flatten(1, 2), dims=1)
        d = len(self.cores)
        pairs = [size for pair in zip(self.out_modes, self.in_modes, strict=True) for size in pair]
        order = [*range(0, 2 * d, 2), *range(1, 2 * d, 2)]
        return tensor.reshape(pairs).permute(order).reshape(self.out_features, self.in_features)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"in_modes={self.in_modes}, out_modes={self.out_modes}, ranks={self.ranks[1:-1]}"


def tensor_train_svd(
    tensor: Tensor, *, ranks: Sequence[int] | None = None, accuracy: float | None = None
) -> tuple[list[Tensor], float]:
    """Return cores [r_{k−1}, n_k, r_k] of a tensor [n₁, …, n_d], and ‖A − Ã‖; of these ranks, or to this accuracy."""
    d = tensor.ndim
    allowed = (accuracy or 0.0) * float(torch.linalg.vector_norm(tensor)) / math.sqrt(max(1, d - 1))
    cores, errors, rank = [], [0.0], 1
    rest = tensor
    for k, size in enumerate(tensor.shape[:-1]):
        U, values, Vt = torch.linalg.svd(rest.reshape(rank * size, -1), full_matrices=False)
        # tails[r] is what rank r drops.
        tails = torch.cat([values.square().flip(0).cumsum(0).flip(0).sqrt(), values.new_zeros(1)])
        rank_after = ranks[k] if ranks is not None else max(1, int((tails > allowed).sum()))
        errors.append(float(tails[rank_after]))
        cores.append(U[:, :rank_after].reshape(rank, size, rank_after))
        rest, rank = values[:rank_after, None] * Vt[:rank_after], rank_after
    cores.append(rest.reshape(rank, -1, 1))
    return cores, joined(errors)


def _interleaved(weight: Tensor, out_modes: Sequence[int], in_modes: Sequence[int]) -> Tensor:
    """Return W as a tensor [m₁n₁, …, m_d n_d]."""
    d = len(in_modes)
    order = [axis for k in range(d) for axis in (k, d + k)]
    sizes = [m * n for m, n in zip(out_modes, in_modes, strict=True)]
    return weight.reshape(*out_modes, *in_modes).permute(order).reshape(sizes)


def _require_modes(in_modes: Sequence[int], out_modes: Sequence[int]) -> None:
    for name, modes in (("in_modes", in_modes), ("out_modes", out_modes)):
        whole = all(isinstance(each, int) and not isinstance(each, bool) and each >= 1 for each in modes)
        require(
            len(modes) >= 2 and whole,
            name,
            list(modes),
            "as two or more whole numbers, each 1 or more",
            where="TensorTrainLinear",
        )
    require(
        len(in_modes) == len(out_modes),
        "out_modes",
        list(out_modes),
        f"as {len(in_modes)} numbers, as many as in_modes",
        where="TensorTrainLinear",
    )


def _checked_ranks(ranks: int | Sequence[int], in_modes: Sequence[int], out_modes: Sequence[int]) -> list[int]:
    where = "TensorTrainLinear"
    sizes = [m * n for m, n in zip(out_modes, in_modes, strict=True)]
    d = len(sizes)
    full = [min(math.prod(sizes[: k + 1]), math.prod(sizes[k + 1 :])) for k in range(d - 1)]
    if not isinstance(ranks, Sequence):
        require_rank("ranks", ranks, max(full), where=where)
        return [min(ranks, each) for each in full]
    given = list(ranks)
    require(len(given) == d - 1, "ranks", given, f"as {d - 1} numbers, one between each two modes", where=where)
    for k, (rank, each) in enumerate(zip(given, full, strict=True)):
        require_rank(f"ranks[{k}]", rank, each, where=where)
    padded = [1, *given, 1]
    for k in range(1, d):
        usable = min(padded[k - 1] * sizes[k - 1], sizes[k] * padded[k + 1])
        require(
            padded[k] <= usable,
            f"ranks[{k - 1}]",
            padded[k],
            f"up to {usable}: its neighbours use no more",
            where=where,
        )
    return given


SPECIMENS = (
    Specimen(
        name="tensor-train",
        title="a linear layer whose matrix is a product of small cores",
        build=TensorTrainLinear,
        formula="W(i₁…i_d; j₁…j_d) = G₁[i₁, j₁]⋯G_d[i_d, j_d]; TT-SVD: ‖W − W̃‖² is the sum of the dropped σ².",
        source="novikov2015tensorizing",
        pinned_by="tests/training/test_tensor_train.py::test_the_error_is_that_of_the_dropped_singular_values",
    ),
)
