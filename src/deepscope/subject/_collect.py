"""How the layers of a network represent the first samples of its data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deepscope.core import LeftOut, derive_seed
from deepscope.subject._batches import Batch, n_batches
from deepscope.subject._collecting import collecting
from deepscope.subject._samples import FirstSamples
from deepscope.subject._subject import Subject

#: What the representations of all layers may take together, in bytes.
_MEMORY = 2**29
#: Features of a layer that are kept however many layers there are, and the most of one.
_FEWEST, _MOST = 256, 4096


@dataclass(frozen=True, eq=False)
class Collected:
    """Representations of the same samples by all layers.

    Attributes
    ----------
    layers
        Name to [samples, features], on the model's device, in forward order.
    widths
        Name to how many features the layer puts out for a sample; more than were kept where it is wide.
    output
        [samples, …], what the network puts out; None where that is no tensor with a row per sample.
    targets
        Of each batch.
    n_samples
        Rows of each.
    n_batches
        Forward passes that were made.
    left_out
        What is not there, or not whole, and why.
    """

    layers: Mapping[str, Tensor] = field(repr=False)
    widths: Mapping[str, int]
    output: Tensor | None = field(repr=False)
    targets: tuple[Any, ...] = field(repr=False)
    n_samples: int
    n_batches: int
    left_out: tuple[LeftOut, ...]


def collect(subject: Subject, samples: int, *, layers: Collection[str] | None = None, seed: int = 0) -> Collected:
    """Collect how the layers represent the first samples of the data, in bounded memory.

    Parameters
    ----------
    subject
        Run inside its ``undisturbed()``, which is the caller's to enter.
    samples
        How many, n.
    layers
        Names of modules; all that the subject selects unless given.
    seed
        Seeds which features are kept of a layer that has too many: representations take 512 MiB together at most, or
        256 features each; and a layer at most 4,096 features. They are drawn at random without replacement, the same
        for all samples.

    Raises
    ------
    MeasurementError
        There is no data.

    Notes
    -----
    Cost: a forward pass of n samples.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU())
    >>> subject = Subject(model, data=[(torch.zeros(4, 3), None)] * 3)
    >>> with subject.undisturbed():
    ...     collected = collect(subject, 10)
    >>> {name: tuple(rows.shape) for name, rows in collected.layers.items()}
    {'0': (10, 8), '1': (10, 8)}
    """
    with collecting(subject, layers) as collector:
        store = RepresentationStore(samples, seed, len(collector.names))
        collector.reduce = store.part
        data = FirstSamples(subject, samples)
        for batch in data:
            store.add(collector.run(batch.inputs, batch.n_samples), collector.output, batch)
        more = data.is_cut or store.n_batches < (n_batches(subject.data) or 0)
    return store.collected(collector.left_out, more=more)


class RepresentationStore:
    """Rows of every layer, batch after batch, in bounded memory. See ``collect``, whose work it does.

    Parameters
    ----------
    samples
        How many there will be at most.
    seed
        Seeds which features are kept of a wide layer.
    n_layers
        How many layers there are.
    """

    def __init__(self, samples: int, seed: int, n_layers: int) -> None:
        self._most = min(_MOST, max(_FEWEST, _MEMORY // (4 * max(1, samples) * max(1, n_layers))))
        self._seed = seed
        self._kept: dict[str, Tensor] = {}
        self._parts: dict[str, list[Tensor]] = {}
        self._lost: dict[str, str] = {}
        self._widths: dict[str, int] = {}
        self._outputs: list[Any] = []
        self._batches: list[Batch] = []

    @property
    def n_batches(self) -> int:
        """How many batches were added."""
        return len(self._batches)

    @property
    def n_samples(self) -> int:
        """How many samples were added."""
        return sum(batch.n_samples for batch in self._batches)

    def part(self, name: str, rows: Tensor) -> Tensor:
        """Return the features that are kept, as a copy; none where there are not as many as before."""
        width = rows.shape[1]
        if self._widths.setdefault(name, width) != width:
            return rows[:, :0]
        if width <= self._most:
            return rows.clone(memory_format=torch.contiguous_format)
        if name not in self._kept:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, name))
            self._kept[name] = torch.randperm(width, generator=generator)[: self._most].sort().values.to(rows.device)
        return rows[:, self._kept[name]]

    def add(self, found: dict[str, Tensor], output: Any, batch: Batch) -> None:
        """Add what a batch has given."""
        for name in dict.fromkeys((*self._parts, *found)):
            parts = self._parts.setdefault(name, [])
            if name not in found or len(parts) != self.n_batches:
                self._lost.setdefault(name, "it does not run for every batch")
            elif found[name].shape[1] == 0:
                self._lost.setdefault(name, "its output has not the same length for every batch; give mask=")
            else:
                parts.append(found[name])
        for name in self._lost:
            self._parts[name].clear()
        self._outputs.append(output)
        self._batches.append(batch)

    def collected(self, left_out: tuple[LeftOut, ...], *, more: bool) -> Collected:
        """Put together what was added; ``more`` where the data has further samples."""
        n = self.n_samples
        notes = [*left_out, *(LeftOut(name, reason) for name, reason in self._lost.items())]
        for name, kept in self._kept.items():
            if name not in self._lost:
                notes.append(LeftOut(name, f"all but {len(kept):,} of its {self._widths[name]:,} features, by chance"))
        if more:
            notes.append(LeftOut("data", f"the samples after the first {n:,}"))
        return Collected(
            layers={name: torch.cat(parts) for name, parts in self._parts.items() if parts},
            widths={name: self._widths[name] for name, parts in self._parts.items() if parts},
            output=_joined_output(self._outputs, self._batches),
            targets=tuple(batch.targets for batch in self._batches),
            n_samples=n,
            n_batches=self.n_batches,
            left_out=tuple(notes),
        )


def _joined_output(outputs: list[Any], batches: list[Batch]) -> Tensor | None:
    alike = all(
        isinstance(each, Tensor)
        and each.ndim
        and len(each) == batch.n_samples
        and each.shape[1:] == outputs[0].shape[1:]
        for each, batch in zip(outputs, batches, strict=True)
    )
    return torch.cat(outputs) if alike else None
