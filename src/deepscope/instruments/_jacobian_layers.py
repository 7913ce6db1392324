"""How a layer turns small changes: by itself, and together with all before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from deepscope.core import derive_seed
from deepscope.instruments._jacobian_pass import Call, ForwardPass, Place
from deepscope.linalg import leading_singular_values

#: Up to so many rows or columns a Jacobian is written out; beyond, it is known by products with random vectors.
WRITTEN_OUT = 64
#: Calls behind a layer among which the one that takes its output is looked for.
_FOLLOWERS = 32
#: Calls of one layer that are measured, as of a cell that runs at every step.
_CALLS = 8
#: Products from which the largest singular value is known, at the latest.
MOST_PRODUCTS = 60
_TOLERANCE = 1e-4
#: Why a layer that samples use to a different extent, as an expert of a mixture, has no Jacobian from the input.
_VARIES = "its output has not the same size for all samples"


@dataclass
class LayerSums:
    """What is known of a layer's Jacobians, by sample.

    Attributes
    ----------
    chi
        ‖J‖_F² over the number of outputs, of the block from the layer's input to the next layer's.
    squares, squared, fourths
        Σσ², (Σσ²)² and Σσ⁴ of the Jacobian from the network's input to the layer's output, each without bias.
    largest
        Its largest singular value.
    outputs
        ‖h‖² of the layer's output.
    n_inputs, n_outputs
        Numbers per sample that the layer takes and gives.
    sizes
        Numbers that it gives, by those of the network's input.
    rank
        Most singular values that the Jacobian from the input can have.
    notes
        What is to be said.
    """

    kind: str
    calls: int = 0
    chi: list[Tensor] = field(default_factory=list)
    squares: list[Tensor] = field(default_factory=list)
    squared: list[Tensor] = field(default_factory=list)
    fourths: list[Tensor] = field(default_factory=list)
    largest: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    n_inputs: int = 0
    n_outputs: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    rank: int = 0
    notes: dict[str, None] = field(default_factory=dict)

    def sees_another(self, n_inputs: int, size: int) -> bool:
        """Whether samples of one size have outputs of several; what is known from the input is then forgotten."""
        if self.sizes.setdefault(n_inputs, size) != size:
            self.notes[_VARIES] = None
            for each in (self.squares, self.squared, self.fourths, self.largest, self.outputs):
                each.clear()
        return _VARIES in self.notes


class LayerMeter:
    """Measures layers over chunks of samples.

    Parameters
    ----------
    probes
        Random vectors where a Jacobian is not written out.
    spectra
        Whether to follow changes from the input, beside the blocks.
    seed
        For the random vectors: each layer, chunk and purpose has its own, whatever was drawn before.
    """

    def __init__(self, probes: int, *, spectra: bool, seed: int) -> None:
        self._probes, self._spectra, self._seed = probes, spectra, seed
        self._chunks = 0
        self._generator = torch.Generator()
        self.layers: dict[str, LayerSums] = {}
        #: ‖x‖² of every sample.
        self.sizes: list[Tensor] = []

    def see(self, passed: ForwardPass, selected: set[str]) -> None:
        """Add what one chunk's forward pass tells, which has kept its values."""
        self.sizes.append(_squares(passed))
        calls: dict[str, list[int]] = {}
        for index, call in enumerate(passed.calls):
            if call.name in selected:
                calls.setdefault(call.name, []).append(index)
        for name, indices in calls.items():
            last = passed.calls[indices[-1]]
            sums = self.layers.setdefault(name, LayerSums(type(last.module).__name__))
            sums.calls = max(sums.calls, len(indices))
            self._begin(name, "block")
            self._block(passed, indices, sums)
            self._begin(name, "input")
            self._from_input(passed, last, sums)
        self._chunks += 1

    def _begin(self, name: str, purpose: str) -> None:
        self._generator.manual_seed(derive_seed(self._seed, name, purpose, self._chunks))

    def _block(self, passed: ForwardPass, indices: Sequence[int], sums: LayerSums) -> None:
        chosen = indices if len(indices) <= _CALLS else [indices[i * len(indices) // _CALLS] for i in range(_CALLS)]
        found = [each for each in (self._chi(passed, index, sums) for index in chosen) if each is not None]
        if found:
            sums.chi.append(torch.stack(found).mean(0))

    def _chi(self, passed: ForwardPass, index: int, sums: LayerSums) -> Tensor | None:
        """Return ‖J‖_F² / outputs of every sample, [n], from a layer's input to where its output goes next."""
        inputs = passed.calls[index].inputs
        sums.n_inputs = sums.n_inputs or sum(each.size for each in inputs)
        if not any(each.edge is not None for each in inputs):
            if inputs:
                sums.notes["no change of the network's input reaches it"] = None
            return None
        followers = passed.calls[index + 1 :]
        for at in (*(each.inputs for each in followers[:_FOLLOWERS]), (passed.output,)):
            size = sum(each.size for each in at)
            if size == 0:
                continue
            first = passed.pull_back(at, self._signs(passed, size), inputs)
            if first is None:
                continue
            if size <= WRITTEN_OUT:
                rows = passed.rows_of(at, inputs)
                assert rows is not None
                return rows.square().sum((1, 2)) / size
            pulled = [first, *(self._pulled(passed, at, size, inputs) for _ in range(self._probes - 1))]
            return torch.stack([each.square().sum(1) for each in pulled]).mean(0) / size
        sums.notes["nothing behind it depends on its input"] = None
        return None

    def _from_input(self, passed: ForwardPass, call: Call, sums: LayerSums) -> None:
        at = call.output
        if sums.sees_another(passed.n_inputs, at.size if at is not None else 0):
            return
        if at is None:
            sums.notes[call.why_not] = None
            return
        sums.n_outputs = sums.n_outputs or at.size
        if not self._spectra:
            return
        sums.rank = sums.rank or min(at.size, passed.n_inputs)
        if at.edge is None:
            sums.notes["it does not depend on the network's input"] = None
            return
        try:
            found = self._spectrum(passed, at, sums)
        except RuntimeError as error:
            if "derivative" not in str(error) and "double" not in str(error):
                raise
            sums.notes["a function before it has no second derivative"] = None
            return
        if found is None:
            sums.notes["it does not depend on the network's input"] = None
            return
        assert at.value is not None
        for kept, values in zip((sums.squares, sums.squared, sums.fourths, sums.largest), found, strict=True):
            kept.append(values)
        sums.outputs.append(at.rows(at.value).square().sum(1))

    def _spectrum(self, passed: ForwardPass, at: Place, sums: LayerSums) -> tuple[Tensor, ...] | None:
        """Return Σσ², (Σσ²)², Σσ⁴ and the largest σ of every sample's Jacobian from the input to a place."""
        sources = passed.sources
        if at.size <= WRITTEN_OUT:
            rows = passed.rows_of([at], sources)
            return None if rows is None else _of_gram(rows @ rows.mT)
        push = passed.pushing(at, sources)
        if push is None:
            return None
        if passed.n_inputs <= WRITTEN_OUT:
            columns = torch.stack([push(unit) for unit in passed.units(passed.n_inputs)], 1)
            return _of_gram(columns @ columns.mT)
        squares, fourths = [], []
        for _ in range(max(2, self._probes)):
            pulled = self._pulled(passed, [at], at.size, sources)
            squares.append(pulled.square().sum(1))
            fourths.append(push(pulled).square().sum(1))
        found = leading_singular_values(
            push,
            lambda u: self._pull(passed, [at], u, sources),
            (passed.n, at.size, passed.n_inputs),
            generator=self._generator,
            tolerance=_TOLERANCE,
            max_basis=MOST_PRODUCTS,
            epsilon=torch.finfo(at.dtype).eps,
            device=at.device,
        )
        if not found.converged:
            sums.notes[f"its largest singular value is a lower bound after {found.n_products} products"] = None
        each = torch.stack(squares)
        # Products of different probes alone: a probe's own square is too large in the mean.
        squared = (each.sum(0).square() - each.square().sum(0)) / (len(each) * (len(each) - 1))
        return each.mean(0), squared, torch.stack(fourths).mean(0), found.values[:, 0]

    def _pulled(self, passed: ForwardPass, at: Sequence[Place], size: int, to: Sequence[Place]) -> Tensor:
        return self._pull(passed, at, self._signs(passed, size), to)

    def _pull(self, passed: ForwardPass, at: Sequence[Place], u: Tensor, to: Sequence[Place]) -> Tensor:
        made = passed.pull_back(at, u, to)
        assert made is not None
        return made

    def _signs(self, passed: ForwardPass, size: int) -> Tensor:
        signs = torch.randint(2, (passed.n, size), generator=self._generator, dtype=torch.int8)
        return signs.to(passed.output.device, torch.float64).mul_(2).sub_(1)


def _squares(passed: ForwardPass) -> Tensor:
    zero = torch.zeros(passed.n, dtype=torch.float64, device=passed.output.device)
    known = (each.rows(each.value).square().sum(1) for each in passed.sources if each.value is not None)
    return sum(known, zero)


def _of_gram(gram: Tensor) -> tuple[Tensor, ...]:
    values = torch.linalg.eigvalsh(gram).clamp_min(0.0)
    total = values.sum(1)
    return total, total.square(), values.square().sum(1), values[:, -1].sqrt()
