"""One pass that says what a network's inputs and layers look like."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from deepscope.core import LeftOut
from deepscope.instruments._chunks import split
from deepscope.instruments._refusal import refusal
from deepscope.instruments._symmetry_layout import InputLayout, layout_of, main_tensor
from deepscope.instruments._symmetry_strides import Strides, StrideTracker
from deepscope.instruments._symmetry_transformation import LayerPlace
from deepscope.subject import (
    Batch,
    FirstSamples,
    LayerOutput,
    Subject,
    Watch,
    is_opaque,
    n_batches,
    part_of,
    tensors_in,
    watch_layers,
)

#: The key of the network's own output, which no layer's name is.
OUTPUT = "\0output"
#: Samples of a chunk at most, and bytes that the outputs of its layers may take.
_CHUNK, _MEMORY = 64, 2**28


@dataclass(frozen=True, eq=False)
class Site:
    """One layer's output, or the network's.

    Attributes
    ----------
    key
        Where in the forward pass; a layer that is used again is another site.
    module
        Its name and class.
    place
        Where its positions lie.
    units_dim
        Along which dimension its units lie.
    shape
        Of one sample.
    depth
        How many outputs of layers came before it, itself included.
    eps
        Of its dtype.
    """

    key: str
    module: str
    kind: str
    place: LayerPlace
    units_dim: int | None
    shape: tuple[int, ...]
    depth: int
    eps: float

    @property
    def is_output(self) -> bool:
        """Whether it is the network's own output."""
        return self.key == OUTPUT


@dataclass(frozen=True, eq=False)
class Probe:
    """What a first pass has seen.

    Attributes
    ----------
    layout
        What the inputs are.
    sites
        Layers' outputs in forward order, and then the network's.
    chunks
        The samples, a part at a time.
    left_out
        What is not measured, and why.
    """

    layout: InputLayout
    sites: tuple[Site, ...]
    chunks: tuple[Batch, ...] = field(repr=False)
    left_out: tuple[LeftOut, ...]

    @property
    def n_samples(self) -> int:
        """How many samples are run."""
        return sum(chunk.n_samples for chunk in self.chunks)


def is_row(output: LayerOutput) -> bool:
    """Whether an output is a layer's own, of a layer that holds no others."""
    return not output.functional and is_opaque(output.module)


def probe(subject: Subject, max_samples: int | None) -> Probe:
    """Run a few samples, and say what there is.

    Raises
    ------
    MeasurementError
        The model refuses the data, or no input has a row per sample.
    """
    data = FirstSamples(subject, max_samples)
    batches = [batch for batch in data if batch.n_samples]
    first = batches[0]
    seen, may_split = _first_pass(subject, first)
    main = main_tensor(first.inputs, first.n_samples)
    units_dims: dict[int, int | None] = {}
    for output in seen.outputs.values():
        units_dims.setdefault(output.ndim, output.units_dim)
    layout = layout_of(subject, first.inputs, first.n_samples, units_dims)
    sites, notes = _sites(seen, layout, main.ndim)
    each = sum(4 * torch.Size(site.shape).numel() for site in sites)
    size = min(_CHUNK, max(1, _MEMORY // max(1, each)))
    alike = [batch for batch in batches if _shape(batch) == layout.shape]
    if len(alike) < len(batches):
        lost = sum(batch.n_samples for batch in batches) - sum(batch.n_samples for batch in alike)
        notes.append(LeftOut("data", f"{lost:,} samples of another shape than the first"))
    if data.is_cut or len(batches) < (n_batches(subject.data) or 0):
        notes.append(LeftOut("data", f"the samples after the first {sum(batch.n_samples for batch in batches):,}"))
    chunks = tuple(part for batch in alike for part in (split(subject, batch, size) if may_split else [batch]))
    return Probe(layout, tuple(sites), chunks, tuple(notes))


@dataclass
class _Seen:
    outputs: dict[str, _Output] = field(default_factory=dict)
    repeated: dict[str, str] = field(default_factory=dict)
    n: int = 0
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class _Output:
    module: str
    kind: str
    units_dim: int | None
    shape: tuple[int, ...]
    dtype: torch.dtype
    strides: Strides | None

    @property
    def ndim(self) -> int:
        return len(self.shape)


def _first_pass(subject: Subject, batch: Batch) -> tuple[_Seen, bool]:
    """Run a few samples of the batch, or all of it where the network takes whole batches only; say whether it may."""
    few = min(batch.n_samples, 4)
    try:
        return _seen(subject, part_of(subject, batch, slice(0, few))), True
    except Exception as error:
        if few == batch.n_samples:
            raise refusal(error, 0, subject, ran=False) from error
    try:
        return _seen(subject, batch), False
    except Exception as error:
        raise refusal(error, 0, subject, ran=False) from error


def _seen(subject: Subject, batch: Batch) -> _Seen:
    main = main_tensor(batch.inputs, batch.n_samples)
    n_positions = max(0, main.ndim - 2) if main.is_floating_point() or main.ndim > 3 else min(1, main.ndim - 1)
    tracker = StrideTracker(batch.inputs, n_positions)
    seen = _Seen(n=batch.n_samples)

    def observe(output: LayerOutput) -> None:
        if not is_row(output):
            return
        if output.site in seen.outputs:
            seen.repeated[output.site] = output.name
            del seen.outputs[output.site]
        seen.outputs[output.site] = _described(output, output.tensor, tracker)

    with watch_layers(subject, observe) as watch, torch.no_grad():
        with watch.forward(batch.inputs), tracker:
            made = subject.predict(batch.inputs)
        whole = next(tensors_in(made), None)
        if whole is not None and whole.is_floating_point() and whole.ndim and len(whole) == batch.n_samples:
            seen.outputs[OUTPUT] = _described(_last(watch, seen), whole, tracker)
        seen.left_out = watch.left_out
    return seen


def _last(watch: Watch, seen: _Seen) -> LayerOutput | _Output | None:
    return watch.output or next(reversed(seen.outputs.values()), None)


def _described(output: LayerOutput | _Output | None, tensor: Tensor, tracker: StrideTracker) -> _Output:
    kind = type(output.module).__name__ if isinstance(output, LayerOutput) else ""
    name = output.name if isinstance(output, LayerOutput) else ""
    units_dim = output.units_dim if output is not None else None
    return _Output(name, kind, units_dim, tuple(tensor.shape), tensor.dtype, tracker.of(tensor))


def _sites(seen: _Seen, layout: InputLayout, ndim: int) -> tuple[list[Site], list[LeftOut]]:
    sites: list[Site] = []
    notes = list(seen.left_out)
    for key, output in seen.outputs.items():
        if output.shape[0] != seen.n:
            notes.append(LeftOut(key, f"its output, {list(output.shape)}, has no row for each of {seen.n} samples"))
            continue
        positions = _positions(layout, output, ndim)
        fits = output.strides is not None and len(output.strides) == len(positions)
        place = LayerPlace("" if key == OUTPUT else output.module, positions, output.strides if fits else None)
        eps = torch.finfo(output.dtype).eps
        sites.append(
            Site(key, output.module, output.kind, place, output.units_dim, output.shape[1:], len(sites) + 1, eps)
        )
        if key in seen.repeated:
            notes.append(LeftOut(key, "called several times in a pass: its last output is taken"))
    return sites, notes


def _positions(layout: InputLayout, output: _Output, ndim: int) -> tuple[int, ...]:
    """Return the dimensions of an output's positions: those beside samples and units, if it has as many as inputs."""
    wanted = len(layout.positions) + 2
    if not layout.positions or output.ndim != wanted or output.units_dim is None:
        return ()
    return tuple(dim for dim in range(1, output.ndim) if dim != output.units_dim)


def _shape(batch: Batch) -> tuple[int, ...]:
    return tuple(main_tensor(batch.inputs, batch.n_samples).shape[1:])
