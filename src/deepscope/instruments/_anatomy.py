"""Anatomy: every tensor of a network, and what is wrong with it at first sight."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deepscope.core import (
    Cost,
    Finding,
    Instrument,
    Known,
    LeftOut,
    Needs,
    PerWeight,
    Reading,
    Stopwatch,
    Track,
    first_line,
)
from deepscope.instruments._anatomy_findings import anatomy_findings
from deepscope.instruments._anatomy_tensor import TensorAnatomy
from deepscope.instruments._initialisation import (
    FEWEST_VALUES,
    FEWEST_VALUES_OTHERWISE,
    Initialiser,
    initialisers,
    looks_trained,
    recognise,
)
from deepscope.instruments._log_axis import on_log_axis
from deepscope.subject import Role, Subject, Weight, measure_alone, most_telling, split_ledger, without_fused_kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = [
    *("name", "role", "shape", "dtype", "count", "bytes", "nonfinite", "zeros", "norm", "rms", "max_abs"),
    *("init_ratio", "looks_untrained", "tied", "status"),
]
_CHUNK = 2**20


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Anatomy(Reading):
    """What a network is made of.

    Attributes
    ----------
    tensors
        One entry per parameter and buffer, in the order of the model or file; tied tensors once.
    flops
        Floating-point operations in the matrix products, convolutions and attention of one forward pass, per sample
        (a multiplication and an addition are two); None without data.
    flops_by_layer
        The same by module.
    partial
        Whether it is of a part of the network only.
    """

    tensors: tuple[TensorAnatomy, ...]
    flops: float | None = None
    flops_by_layer: Mapping[str, float]
    partial: bool = False

    @property
    def parameters(self) -> int:
        """Number of values in parameters (buffers apart)."""
        return sum(t.count for t in self.tensors if t.role != Role.BUFFER)

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters and buffers."""
        return sum(t.nbytes for t in self.tensors)

    @property
    def duplicates(self) -> tuple[tuple[str, ...], ...]:
        """Groups of matrices that hold the same values in different places."""
        groups: dict[str, list[str]] = {}
        for tensor in self.tensors:
            if tensor.digest:
                groups.setdefault(tensor.digest, []).append(tensor.name)
        return tuple(tuple(names) for names in groups.values() if len(names) > 1)

    def table(self) -> pd.DataFrame:
        """One row per tensor: name, role, shape, dtype, count, bytes, nonfinite, zeros, norm, rms, max_abs, …."""
        rows = [
            {
                "name": t.name,
                "role": t.role,
                "shape": t.shape,
                "dtype": t.dtype,
                "count": t.count,
                "bytes": t.nbytes,
                "nonfinite": t.nonfinite,
                "zeros": t.zeros,
                "norm": t.norm,
                "rms": t.rms,
                "max_abs": t.max_abs,
                "init_ratio": t.init_ratio,
                "looks_untrained": None if t.initialiser is None else bool(t.initialiser),
                "tied": ", ".join(t.tied),
                "status": t.status,
            }
            for t in self.tensors
        ]
        return pd.DataFrame(rows, columns=_COLUMNS)

    def findings(self) -> tuple[Finding, ...]:
        """Broken, empty, untrained, tied and duplicated tensors."""
        return anatomy_findings(self.tensors, self.duplicates, partial=self.partial)

    def summary(self) -> str:
        """Totals in one sentence."""
        dtypes = Counter[str]()
        for tensor in self.tensors:
            dtypes[tensor.dtype] += tensor.count
        kinds = ", ".join(dtype for dtype, _ in dtypes.most_common())
        work = f"; {self.flops:,.0f} FLOPs per sample forward" if self.flops is not None else ""
        return f"{self.parameters:,} parameters in {len(self.tensors)} tensors ({kinds}){work}."

    def glance(self) -> tuple[Track, ...]:
        """Size of the weights against their default initialisation: the farthest from 1 stands for its layer."""
        ratios = most_telling(
            ((tensor.name, tensor.init_ratio) for tensor in self.tensors if tensor.init_ratio),
            rank=lambda ratio: -abs(math.log(ratio)),
        )
        return (Track("weight size (× default initialisation)", ratios, scale="log"),) if ratios else ()

    def plot(self) -> Figure:
        """Values per tensor, and the size of the weights against their default initialisation."""
        from deepscope.figures import COLORS, layer_axis, new

        shown = [t for t in self.tensors if t.is_matrix and t.rms is not None]
        figure, (size, scale) = new(height=4.0, rows=2, cols=1, sharex=True)
        x = range(len(shown))
        size.vlines(x, 1, [t.count for t in shown], color=COLORS.muted, linewidth=1)
        size.plot(x, [t.count for t in shown], "o", color=COLORS.accent, markersize=3)
        size.set(yscale="log", ylabel="values")
        drawn = [(i, on_log_axis(t.init_ratio)) for i, t in enumerate(shown) if t.init_ratio]
        scale.axhline(1, color=COLORS.muted, linewidth=1)
        scale.plot([i for i, _ in drawn], [ratio for _, ratio in drawn], "o", color=COLORS.accent, markersize=3)
        ratios = [1.0, *(ratio for _, ratio in drawn)]
        # Less than a decade would have a single tick on a log axis, or none.
        scale.set(yscale="log" if max(ratios) >= 10 * min(ratios) else "linear", ylabel="rms / default init")
        layer_axis(scale, [t.name for t in shown])
        return figure


def anatomy(subject: Subject, *, generator: torch.Generator | None = None) -> Anatomy:
    """Look at every parameter and buffer.

    For each tensor: role, shape, dtype, number of values, bytes, non-finite values, exact zeros, norm, and its root
    mean square over the standard deviation of PyTorch's default initialisation for its layer. Where there is data,
    the floating-point operations of one forward pass. Tensors that cannot be measured (integers, no values) have a
    row without numbers, and an entry in the ledger.

    Parameters
    ----------
    subject
        A model, or a checkpoint alone.
    generator
        Not used: nothing here is random. Every instrument takes one.

    Returns
    -------
    Anatomy
        ``.table()`` has one row per tensor.

    Notes
    -----
    Cost: each tensor is read once, in chunks of 2²⁰ values in float64; one forward pass over one batch.

    Examples
    --------
    >>> reading = anatomy(Subject(nn.Linear(3, 2)))
    >>> reading.parameters, reading.nbytes
    (8, 32)
    """
    reading: Anatomy = measure_alone(subject, _step, _gather)
    return reading


def _step(weight: Weight, tensor: Tensor | None) -> list[TensorAnatomy]:
    return [_tensor_anatomy(weight, tensor)]


def _tensor_anatomy(weight: Weight, tensor: Tensor | None) -> TensorAnatomy:
    known: dict[str, Any] = {
        "name": weight.name,
        "role": str(weight.role),
        "shape": weight.shape,
        "dtype": weight.dtype,
        "count": weight.count,
        "nbytes": weight.nbytes,
        "tied": weight.tied,
    }
    if tensor is None:
        return TensorAnatomy(**known, status=weight.why_not_measured)
    seen = _scan(tensor)
    if seen.nonfinite:
        return TensorAnatomy(**known, status="holds non-finite values", nonfinite=seen.nonfinite, zeros=seen.zeros)
    rms = seen.norm / math.sqrt(weight.count)
    max_abs = max(seen.largest, -seen.smallest)
    default = next(iter(initialisers(weight)), None)
    matrix = tensor.ndim >= 2 and weight.role is not Role.BUFFER
    return TensorAnatomy(
        **known,
        status="ok",
        nonfinite=0,
        zeros=seen.zeros,
        norm=seen.norm,
        rms=rms,
        max_abs=max_abs,
        init_ratio=rms / default.std if default else None,
        # Rounding to a few levels leaves no distribution that an initialiser draws from.
        **(_history(tensor, weight, rms, max_abs) if default and max_abs and weight.quantised is None else {}),
        digest=_digest(tensor) if matrix and seen.smallest < seen.largest else "",
    )


def _history(tensor: Tensor, weight: Weight, rms: float, max_abs: float) -> dict[str, Any]:
    """Judge by the values whether a tensor is fresh or trained."""
    if weight.count < FEWEST_VALUES:
        return {}
    found: Initialiser | None = recognise(tensor, weight, rms, max_abs)
    if found is None:
        return {"initialiser": "", "trained": looks_trained(tensor, rms, max_abs)}
    if not found.is_default and weight.count < FEWEST_VALUES_OTHERWISE:
        return {}
    return {"initialiser": found.name, "initialiser_is_sharp": found.is_sharp}


@dataclass(frozen=True)
class _Scan:
    """What one pass over a tensor's values saw; all but the counts over finite values only."""

    nonfinite: int
    zeros: int
    norm: float
    smallest: float
    largest: float


def _scan(tensor: Tensor) -> _Scan:
    flat = tensor.flatten()
    nonfinite, zeros, norm, smallest, largest = 0, 0, 0.0, math.inf, -math.inf
    for start in range(0, flat.numel(), _CHUNK):
        values = flat[start : start + _CHUNK].double()
        finite = values.isfinite()
        zeros += int((values == 0).sum())
        if not finite.all():
            nonfinite += int((~finite).sum())
            values = values[finite]
        if values.numel():
            low, high = map(float, torch.aminmax(values))
            norm = math.hypot(norm, _norm(values, max(-low, high)))
            smallest, largest = min(smallest, low), max(largest, high)
    return _Scan(nonfinite, zeros, norm, smallest, largest)


def _norm(values: Tensor, max_abs: float) -> float:
    if 1e-100 < max_abs < 1e100:
        return math.sqrt(float(values @ values))
    # The squares of float64's own largest and smallest values are not float64 numbers.
    scaled = values / max_abs if max_abs > 0 else values
    return max_abs * math.sqrt(float(scaled @ scaled))


def _digest(tensor: Tensor) -> str:
    values = tensor.cpu().contiguous().view(torch.uint8).numpy()
    digest = hashlib.blake2b(values.data, digest_size=16)
    digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    return digest.hexdigest()


def _gather(subject: Subject, items: Sequence[Any], cost: Cost) -> Anatomy:
    tensors, left_out = split_ledger(items)
    left_out = (*(LeftOut(t.name, t.status) for t in tensors if t.nonfinite is None), *left_out)
    flops: float | None = None
    by_layer: dict[str, float] = {}
    if Needs.DATA in subject.offers:
        with Stopwatch() as watch:
            try:
                flops, by_layer = _count_flops(subject)
                watch.count(forward=1)
            except (Exception, SystemExit) as error:
                # The tensors have been measured all the same; what the model refuses is health's finding to make.
                left_out = (*left_out, LeftOut("FLOPs", f"the forward pass failed: {first_line(error)}"))
        cost += watch.cost
    return Anatomy(
        subject=subject.name,
        tensors=tuple(tensors),
        flops=flops,
        flops_by_layer=by_layer,
        # The root's name is empty and matches no pattern but one that matches everything.
        partial=not subject.selects(""),
        left_out=left_out,
        cost=cost,
    )


def _count_flops(subject: Subject) -> tuple[float, dict[str, float]]:
    counter = FlopCounterMode(display=False)
    with subject.undisturbed(), torch.no_grad(), without_fused_kernels(subject.model, products=True):
        batch = next(iter(subject.batches()))
        with counter:
            subject.predict(batch.inputs)
    total = counter.get_total_flops() / batch.n_samples
    root = type(subject.model).__name__
    by_layer = {
        name.removeprefix(f"{root}."): sum(counts.values()) / batch.n_samples
        for name, counts in counter.get_flop_counts().items()
        if name not in {"Global", root}
    }
    return total, by_layer


def _known_linear() -> Subject:
    model = nn.Linear(4, 4)
    with torch.no_grad():
        model.weight.copy_(2 * torch.eye(4))
        model.bias.zero_()
    return Subject(model, data=[(torch.ones(2, 4), torch.zeros(2, 4))])


def _known_nan() -> Subject:
    subject = _known_linear()
    assert isinstance(subject.model, nn.Linear)
    with torch.no_grad():
        subject.model.weight[0, 0] = math.nan
    return subject


def _known_zero() -> Subject:
    subject = _known_linear()
    assert isinstance(subject.model, nn.Linear)
    with torch.no_grad():
        subject.model.weight.zero_()
    return subject


ANATOMY = Instrument(
    name="anatomy",
    title="what the network is made of",
    measure=anatomy,
    reading=Anatomy,
    needs=Needs.WEIGHTS,
    formula=(
        "init_ratio = √(Σ w²/n) / s, with s the standard deviation of PyTorch's default initialisation: 1/√(3·fan_in) "
        "for linear and convolutional layers, 1/√(3·hidden) for recurrent ones, 1 for embeddings. A FLOP is one "
        "multiplication or one addition in a matrix product, a convolution or attention."
    ),
    how_to_read=(
        "Above, the number of values in each matrix; below, how large they are against a fresh layer of the same "
        "kind. A layer exactly on the line at 1 among others that have left it has probably not been trained."
    ),
    source="glorot2010understanding",
    per_weight=PerWeight(step=_step, gather=_gather, record=TensorAnatomy),
    pinned_by="tests/instruments/test_anatomy.py::test_every_number_against_a_closed_form",
    known=(
        Known(
            name="twice the identity",
            make=_known_linear,
            # Norm of 2·I₄ is 4; a 4×4 product of one vector is 2·16 operations.
            holds=lambda r: r.tensors[0].norm == 4.0 and r.tensors[0].zeros == 12 and r.flops == 32.0,
        ),
        Known(name="a NaN weight", make=_known_nan, holds=lambda r: r.tensors[0].nonfinite == 1, fault="weight"),
        Known(name="an all-zero matrix", make=_known_zero, holds=lambda r: r.tensors[0].zeros == 16, fault="weight"),
    ),
)
