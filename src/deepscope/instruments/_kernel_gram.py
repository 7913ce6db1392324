"""The Gram matrix of a network's output gradients, from chunks of samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deepscope.core import MeasurementError
from deepscope.linalg import DenseGradients, Factors, factor_gram, joined_factors, squared_norms
from deepscope.subject import PerSampleGradients, SampleGradients, Subject, in_chunks, joined, n_batches, take_samples

#: Rows of the Jacobian, samples times outputs, for which one backward pass is made: what stays in a processor's cache.
_ROWS = 512
#: Bytes of factors that one block of samples may take; two blocks are held at once.
BLOCK_BYTES = 2**30
#: Most outputs per sample, each of which is a direction of its own.
MOST_OUTPUTS = 4096
#: Most values of a Gram matrix: 2 GiB in single precision.
MOST_VALUES = 2**29

#: Makes k vectors of random signs for so many outputs, [k, c].
Signs = Callable[[int], Tensor]


@dataclass(frozen=True, eq=False)
class Piece:
    """Samples that can go through the network together."""

    inputs: Any
    n: int

    def take(self, samples: slice) -> Piece:
        """Return some of them."""
        part = take_samples(self.inputs, self.n, samples)
        return Piece(part, len(range(*samples.indices(self.n))))


@dataclass
class TangentGram:
    """The Gram matrix of the outputs' gradients.

    Attributes
    ----------
    gram
        [c, n, c, n], or [n, n] summed over outputs.
    outputs
        [n, c], what the network put out.
    traces
        Σ ‖∂f/∂θ‖² over samples and outputs, by parameter; 0 for one on which no output depends.
    by_direction
        [k], the same over all parameters, of each output or direction.
    forward, backward
        Passes over chunks that were made.
    """

    gram: Tensor
    outputs: Tensor
    traces: dict[str, float]
    by_direction: Tensor
    forward: int = 0
    backward: int = 0


@dataclass(frozen=True, eq=False)
class _Block:
    """The factors of a block of samples, by parameter."""

    start: int
    stop: int
    factors: dict[str, Factors]
    outputs: Tensor


@dataclass(frozen=True, eq=False)
class Samples:
    """The first samples of the data.

    Attributes
    ----------
    pieces
        Put together where batches fit together.
    targets
        As the data gave them, by batch.
    n
        How many.
    more
        Whether the data has further ones.
    """

    pieces: tuple[Piece, ...]
    targets: list[Any]
    n: int
    more: bool


def samples_of(subject: Subject, samples: int) -> Samples:
    """Read the first samples of the data."""
    seen, cut = 0, False
    inputs, targets, lengths = [], [], []
    for batch in subject.batches(samples):
        kept = min(batch.n_samples, samples - seen)
        cut = kept < batch.n_samples
        inputs.append(take_samples(batch.inputs, batch.n_samples, slice(0, kept)))
        targets.append(take_samples(batch.targets, batch.n_samples, slice(0, kept)))
        lengths.append(kept)
        seen += kept
    whole = joined(inputs, lengths)
    pieces = [Piece(whole, seen)] if whole is not None else [Piece(*each) for each in zip(inputs, lengths, strict=True)]
    further = n_batches(subject.data)
    return Samples(tuple(pieces), targets, seen, cut or (further is not None and further > len(lengths)))


def tangent_gram(
    gradients: PerSampleGradients, pieces: Sequence[Piece], *, trace: bool, signs: Signs | None = None
) -> TangentGram:
    """Compute the Gram matrix block by block of samples; what does not fit into memory is computed anew.

    With ``signs`` the outputs are replaced by their products with k random vectors, the same for all samples, and the
    kernel is the mean over these: that summed over outputs, in expectation.

    Raises
    ------
    MeasurementError
        The number of outputs changes from batch to batch or is too large, or a gradient is not finite.
    """
    made = _Gram(gradients, trace=trace, signs=signs)
    blocks = made.blocks(pieces)
    for index, piece in enumerate(blocks):
        mine = made.pass_over(piece, made.starts[index])
        made.add(mine, mine)
        for later in range(index + 1, len(blocks)):
            made.add(mine, made.pass_over(blocks[later], made.starts[later]))
    return made.result()


class _Gram:
    """What has been computed of a Gram matrix."""

    def __init__(self, gradients: PerSampleGradients, *, trace: bool, signs: Signs | None) -> None:
        self.gradients, self.trace, self.signs = gradients, trace, signs
        self.directions: Tensor | None = None
        self.starts: list[int] = []
        self.n = self.c = self.k = 0
        self.traces = dict.fromkeys(gradients.parameters, 0.0)
        self.gram: Tensor | None = None
        self.outputs: list[Tensor] = []
        self.passes = 0

    @property
    def drawn(self) -> int:
        """Directions over which the kernel is a mean; 1 where it is the sum over outputs."""
        return 1 if self.directions is None else len(self.directions)

    def blocks(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Cut pieces into blocks whose factors fit into memory, as the first samples tell."""
        first = pieces[0].take(slice(0, 1))
        if self.signs is not None:
            outputs = self.gradients.subject.predict(first.inputs)
            n_outputs = outputs.numel() if isinstance(outputs, Tensor) else 0
            self.directions = self.signs(n_outputs).to(outputs.dtype) if n_outputs else None
        probe = self._gradients_of(first)
        assert probe.outputs is not None
        self.c = probe.outputs.shape[1]
        self.k = self.c if self.directions is None else len(self.directions)
        if self.k > MOST_OUTPUTS:
            raise MeasurementError(
                f"each sample has {self.c:,} outputs, more than {MOST_OUTPUTS:,}",
                where=self.gradients.subject.name,
                todo='Give outputs="trace" and directions=64, or forward=… that returns fewer outputs per sample.',
            )
        n = sum(piece.n for piece in pieces)
        size = n**2 * (1 if self.trace else self.k**2)
        if size > MOST_VALUES:
            raise MeasurementError(
                f"the kernel of {n:,} samples and {self.c:,} outputs has {size:,} values",
                where=self.gradients.subject.name,
                todo="Give fewer samples." if self.trace else 'Give fewer samples, or outputs="trace".',
            )
        step = max(1, BLOCK_BYTES // max(1, probe.nbytes))
        cut = [piece.take(slice(start, start + step)) for piece in pieces for start in range(0, piece.n, step)]
        for piece in cut:
            self.starts.append(self.n)
            self.n += piece.n
        self.by_direction = torch.zeros(self.k, dtype=torch.float64)
        return cut

    def pass_over(self, piece: Piece, start: int) -> _Block:
        """Return the factors of a block."""
        step = max(1, _ROWS // self.k)
        parts = list(in_chunks(piece.n, step, lambda samples: self._of(piece.take(samples))))
        self.passes += len(parts)
        factors = _joined([each for each, _ in parts], [len(outputs) for _, outputs in parts])
        return _Block(start, start + piece.n, factors, torch.cat([outputs for _, outputs in parts]))

    def _of(self, piece: Piece) -> tuple[dict[str, Factors], Tensor]:
        found = self._gradients_of(piece)
        assert found.outputs is not None
        if found.outputs.shape[1] != self.c:
            raise MeasurementError(
                f"the number of outputs per sample changes from {self.c} to {found.outputs.shape[1]}",
                where=self.gradients.subject.name,
                todo="Give batches of one shape, or forward=… that returns as many outputs for each.",
            )
        return dict(found.factors), found.outputs

    def _gradients_of(self, piece: Piece) -> SampleGradients:
        if self.directions is None:
            return self.gradients.of_outputs(piece.inputs, piece.n)
        everywhere = self.directions[:, None].expand(-1, piece.n, -1)
        return self.gradients.of_outputs(piece.inputs, piece.n, everywhere)

    def add(self, one: _Block, other: _Block) -> None:
        """Add the products of two blocks, in both places where they stand."""
        if one is other:
            self.outputs.append(one.outputs)
            for name, factors in one.factors.items():
                norms = squared_norms(factors).sum(0, dtype=torch.float64).cpu() / self.drawn
                self.traces[name] += float(norms.sum())
                self.by_direction += norms
        common = [name for name in one.factors if name in other.factors]
        theirs = None if one is other else [other.factors[name] for name in common]
        tile = factor_gram([one.factors[name] for name in common], theirs, trace=self.trace) if common else None
        if tile is not None and self.drawn > 1:
            tile /= self.drawn
        if self.gram is None:
            shape = (self.n, self.n) if self.trace else (self.k, self.n, self.k, self.n)
            if tile is not None and tile.shape == shape:
                self.gram = tile
                return
            dtype = torch.promote_types(one.outputs.dtype, torch.float32)
            self.gram = torch.zeros(shape, dtype=dtype, device=one.outputs.device)
        if tile is None:
            return
        rows, columns = slice(one.start, one.stop), slice(other.start, other.stop)
        if self.trace:
            self.gram[rows, columns] = tile
            self.gram[columns, rows] = tile.T
        else:
            self.gram[:, rows, :, columns] = tile
            self.gram[:, columns, :, rows] = tile.permute(2, 3, 0, 1)

    def result(self) -> TangentGram:
        assert self.gram is not None
        outputs = torch.cat(self.outputs)
        _refuse_nonfinite(self.gram, outputs, self.gradients.subject, trace=self.trace)
        return TangentGram(self.gram, outputs, self.traces, self.by_direction, self.passes + 1, self.k * self.passes)


def _joined(parts: Sequence[dict[str, Factors]], sizes: Sequence[int]) -> dict[str, Factors]:
    everywhere = [name for name in parts[0] if all(name in each for each in parts)]
    whole = joined_factors([[each[name] for name in everywhere] for each in parts])
    made = dict(zip(everywhere, whole, strict=True))
    for name in {name for each in parts for name in each} - made.keys():
        # Not every sample's path through the network touches this parameter.
        written = [
            torch.stack([factor.dense() for factor in each[name]]).sum(0) if name in each else None for each in parts
        ]
        some = next(each for each in written if each is not None)
        rows = [some.new_zeros(n, *some.shape[1:]) if w is None else w for w, n in zip(written, sizes, strict=True)]
        made[name] = (DenseGradients(torch.cat(rows)),)
    return made


def _refuse_nonfinite(gram: Tensor, outputs: Tensor, subject: Subject, *, trace: bool) -> None:
    diagonal = gram.diagonal() if trace else gram.diagonal(dim1=1, dim2=3).diagonal(dim1=0, dim2=1).sum(1)
    bad = ~(torch.isfinite(diagonal) & torch.isfinite(outputs).all(1))
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise MeasurementError(
            f"the outputs or their gradients are not finite at {int(bad.sum())} of {len(bad)} samples, first at sample "
            f"{first}",
            where=subject.name,
            todo="Look at that sample, and at anatomy's and health's findings first.",
        )
