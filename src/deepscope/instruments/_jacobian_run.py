"""One measurement of Jacobians, over pieces of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import LeftOut, derive_seed
from deepscope.instruments._jacobian_bound import Bounds, certified_bounds
from deepscope.instruments._jacobian_constants import Constant, lipschitz_constant
from deepscope.instruments._jacobian_layers import MOST_PRODUCTS, LayerMeter
from deepscope.instruments._jacobian_outputs import STEPS, OutputSpectrum, climb, output_spectrum
from deepscope.instruments._jacobian_pass import Call, ForwardPass
from deepscope.instruments._jacobian_recurrent import RecurrentExponents, exponents_of
from deepscope.instruments._jacobian_trace import CHUNK, CHUNK_BYTES, Layout, Tracer, samples_mixed
from deepscope.instruments._kernel_gram import Piece
from deepscope.subject import Subject, in_chunks, joined, own_parameters, selected_layers, take_samples, tensors_in


@dataclass(frozen=True, eq=False)
class _Seen:
    """A piece of the data that has been run."""

    piece: Piece
    layout: Layout
    start: int


class JacobianRun:
    """What has been seen so far.

    Attributes
    ----------
    names
        Layers that ran and are selected, in forward order, with whether they have weight matrices.
    constants
        Lipschitz constants of all layers by themselves.
    recurrent
        Lyapunov exponents.
    n_inputs, n_outputs
        Of the first sample.
    embedded
        Whether derivatives are by the embeddings' outputs.
    """

    def __init__(
        self,
        subject: Subject,
        meter: LayerMeter,
        *,
        top: int | None,
        layer_samples: int,
        climbs: int,
        sequences: int,
        seed: int,
    ) -> None:
        self.subject, self.meter = subject, meter
        self._climbs, self._sequences = climbs, sequences
        self._top, self._seed, self._left = top, seed, layer_samples
        self._generator = torch.Generator().manual_seed(derive_seed(seed, "outputs"))
        self._selected = set(selected_layers(subject))
        self.names: dict[str, bool] = {}
        self.constants: dict[str, Constant] = {}
        self.recurrent: list[RecurrentExponents] = []
        self.left_out: list[LeftOut] = []
        self.n_inputs = self.n_outputs = self.forward = self.backward = 0
        self.embedded = False
        self._spectra: list[OutputSpectrum] = []
        self._seen: list[_Seen] = []

    def see(self, tracer: Tracer, piece: Piece) -> None:
        """Run samples that can go through the network together, in chunks that fit into memory."""
        layout = tracer.layout(piece.inputs, piece.n)
        first = not self._seen
        if layout.together:
            self._check_apart(tracer.run(piece.take(slice(0, 2)).inputs, 2, layout))
        self._seen.append(_Seen(piece, layout, sum(each.piece.n for each in self._seen)))
        probe = tracer.run(piece.take(slice(0, 1)).inputs, 1, layout, values=True)
        if first:
            self.n_inputs, self.n_outputs = probe.n_inputs, probe.output.size
            self.embedded = any(isinstance(each.module, (nn.Embedding, nn.EmbeddingBag)) for each in probe.calls) and (
                not any(part.is_floating_point() for part in tensors_in(piece.inputs))
            )
        self._note(probe.calls)
        widest = max((each.output.size for each in probe.calls if each.output is not None), default=0)
        written = self.n_inputs * min(self.n_outputs, 4 * MOST_PRODUCTS)
        basis = MOST_PRODUCTS * self.n_inputs + 8 * widest
        for n, numbers, run in (
            (piece.n, layout.numbers + 3 * written, self._outputs),
            (min(self._left, piece.n), 3 * layout.numbers + basis, self._layers),
        ):
            step = max(1, min(CHUNK, CHUNK_BYTES // (8 * numbers))) if layout.together else 1
            for _ in in_chunks(n, step, partial(run, tracer, piece, layout)):
                pass
        self._left -= min(self._left, piece.n)
        if first:
            self._follow(tracer, piece, layout)
        self.forward += 5 if layout.together else 2

    def _check_apart(self, both: ForwardPass) -> None:
        """Check that the outputs of one sample do not depend on another; by derivatives, which no rounding blurs."""
        cotangents = torch.ones(2, both.output.size, dtype=torch.float64, device=both.output.device)
        cotangents[1] = 0
        pulled = both.pull_back([both.output], cotangents, both.sources)
        if pulled is not None and bool(pulled[1].any()):
            raise samples_mixed(self.subject)

    def _outputs(self, tracer: Tracer, piece: Piece, layout: Layout, samples: slice) -> None:
        part = piece.take(samples)
        found = output_spectrum(tracer.run(part.inputs, part.n, layout), self._top, self._generator)
        self._spectra.append(found)
        self.forward += 1
        self.backward += found.passes

    def _layers(self, tracer: Tracer, piece: Piece, layout: Layout, samples: slice) -> None:
        part = piece.take(samples)
        passed = tracer.run(part.inputs, part.n, layout, values=True)
        self._note(passed.calls)
        self.meter.see(passed, self._selected)
        self.forward += 1

    def _note(self, calls: tuple[Call, ...]) -> None:
        for call in calls:
            if call.name in self._selected and call.name not in self.names:
                self.names[call.name] = any(each.ndim >= 2 for _, each in own_parameters(call.module))
            if call.name not in self.constants:
                given = call.inputs[0] if call.inputs else None
                x = given.value if given is not None else None
                self.constants[call.name] = lipschitz_constant(call.module, x)

    def _follow(self, tracer: Tracer, piece: Piece, layout: Layout) -> None:
        """Follow the recurrent layers along the first sequences."""
        assert self.subject.model is not None
        if not any(isinstance(each, (nn.RNNBase, nn.RNNCellBase)) for each in self.subject.model.modules()):
            return
        if not self._sequences:
            self.left_out.append(LeftOut("Lyapunov exponents", "no sequence was to be followed"))
            return
        part = piece.take(slice(0, min(piece.n, self._sequences) if layout.together else 1))
        passed = tracer.run(part.inputs, part.n, layout)
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "recurrent"))
        chosen = [each for each in passed.calls if each.name in self._selected]
        for found in exponents_of(chosen, generator):
            if isinstance(found, LeftOut):
                self.left_out.append(found)
            else:
                self.recurrent.append(found)

    @property
    def input_size(self) -> float:
        """Root mean square length of the inputs of the samples on which layers were measured."""
        return math.sqrt(float(torch.cat(self.meter.sizes).mean()))

    def spectrum(self) -> OutputSpectrum:
        """Return the singular values of all samples; where their number varies, as many as all have."""
        k = min(each.values.shape[1] for each in self._spectra)
        more = max(each.values.shape[1] for each in self._spectra)
        if more > k:
            self.left_out.append(LeftOut("singular values", f"those after the first {k:,}, which not all samples have"))
        return OutputSpectrum(
            torch.cat([each.values[:, :k] for each in self._spectra]),
            torch.cat([each.errors[:, :k] for each in self._spectra]),
            torch.cat([each.squares for each in self._spectra]),
            torch.cat([each.squares_stderr for each in self._spectra]),
            self.backward,
        )

    def climbed(self, tracer: Tracer, radius: float) -> tuple[float | None, str]:
        """Return the largest singular value met near the samples with the largest, or None and why not."""
        if not self._climbs:
            return None, "none were looked for"
        largest = torch.cat([each.values[:, 0] for each in self._spectra])
        if not radius > 0 or not bool(largest.any()):
            return None, "the inputs or the Jacobian are zero"
        # Stable, so that equal ones are taken in the order of the data.
        chosen = largest.argsort(descending=True, stable=True)[: self._climbs].tolist()
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "nearby"))
        best: list[float] = []
        try:
            for seen in self._seen:
                mine = [i - seen.start for i in chosen if seen.start <= i < seen.start + seen.piece.n]
                parts = [take_samples(seen.piece.inputs, seen.piece.n, slice(i, i + 1)) for i in mine]
                whole = joined(parts, [1] * len(parts)) if parts and seen.layout.together else None
                groups = [(whole, len(parts))] if whole is not None else [(part, 1) for part in parts]
                for inputs, n in groups:
                    run = partial(_shifted, tracer, inputs, n, seen.layout)
                    best.append(float(climb(run, radius, generator).max()))
                    self.forward += STEPS
        except RuntimeError as error:
            if "derivative" not in str(error) and "double" not in str(error):
                raise
            return None, "a function has no second derivative"
        return max(best), ""

    def bounds(self) -> Bounds:
        """Certify what can be; outside the trace, whose hooks the symbols of ``torch.fx`` must not meet."""
        piece = self._seen[0].piece.take(slice(0, 1))
        return certified_bounds(self.subject, piece.inputs, self.constants, embedded=self.embedded)


def _shifted(tracer: Tracer, inputs: Any, n: int, layout: Layout, shift: Tensor | None) -> ForwardPass:
    return tracer.run(inputs, n, layout, shift)
