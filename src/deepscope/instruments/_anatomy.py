"""Anatomy: every tensor of a network, and what is wrong with it at first sight."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
_MOSTLY_ZERO = 0.5
_MULTIPLIES = (Role.LINEAR, Role.CONVOLUTION, Role.ATTENTION, Role.RECURRENT, Role.EMBEDDING)
_ADDED = re.compile(
    r"(^|_)(wpe|pos|position|positional|positions)(_|$)|(^|_)pos_?emb|position_emb|positional_emb|token_type|segment_emb"
    r"|^(cls|dist|reg|register|mask|class)_tokens?$|class_embedding|rel(ative)?_(pos|position|attention_bias)"
    r"|relative_attention_bias|bias"
)
_ADAPTER_B = re.compile(r"(^|[./_])lora_(embedding_)?B([./]|$)")
_GAIN = re.compile(r"(\.original0|[._]weight_g|_g)$")


@dataclass(frozen=True)
class TensorAnatomy:
    """One parameter or buffer.

    Attributes
    ----------
    nonfinite, zeros
        How many values are NaN or infinite, and exactly zero; None where the dtype is not measured.
    norm, rms, max_abs
        Euclidean norm, root mean square and largest magnitude of the values; None unless all are finite.
    init_ratio
        ``rms`` over the standard deviation of PyTorch's default initialisation for this layer.
    initialiser
        The initialiser that the values cannot be told from, ``""`` where they can, None where there are too few or all
        are zero.
    initialiser_is_sharp
        Whether it is uniform, so that the least training would show; training that moves values of a normal one by
        less than some 30 % does not.
    trained
        Whether the values are shown not to be independent draws of one size; False says nothing.
    digest
        Hash of the values of a matrix, by which duplicates are found; ``""`` where all values are equal.
    status
        ``"ok"``, or why there are no numbers.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    count: int
    nbytes: int
    tied: tuple[str, ...]
    status: str
    nonfinite: int | None = None
    zeros: int | None = None
    norm: float | None = None
    rms: float | None = None
    max_abs: float | None = None
    init_ratio: float | None = None
    initialiser: str | None = None
    initialiser_is_sharp: bool = False
    trained: bool = False
    digest: str = ""

    @property
    def is_matrix(self) -> bool:
        """Whether it is a weight of two or more dimensions."""
        return len(self.shape) >= 2 and self.role != Role.BUFFER


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
        found = [
            *(finding for tensor in self.tensors for finding in _faults(tensor)),
            *_untrained(self),
            *_tied(self.tensors),
            *_duplicated(self.duplicates),
        ]
        return tuple(sorted(found, key=lambda finding: finding.rank))

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


def _step(weight: Weight, tensor: Tensor | None) -> TensorAnatomy:
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
        **(_history(tensor, weight, rms, max_abs) if default and max_abs else {}),
        digest=_digest(tensor) if matrix and seen.smallest < seen.largest else "",
    )


def _history(tensor: Tensor, weight: Weight, rms: float, max_abs: float) -> dict[str, Any]:
    """What the values say of fresh or trained."""
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


def _faults(tensor: TensorAnatomy) -> Iterator[Finding]:
    if tensor.nonfinite:
        yield Finding(
            "problem",
            "anatomy",
            tensor.name,
            f"{tensor.name} holds values that are NaN or infinite: every output that depends on it is lost.",
            evidence=f"{tensor.nonfinite:,} of {tensor.count:,} values",
            action="Go back to a checkpoint before it; lower the learning rate or clip gradients.",
        )
    elif tensor.zeros == tensor.count > 0:
        yield from _all_zero(tensor)
    elif tensor.is_matrix and tensor.zeros is not None and tensor.zeros > _MOSTLY_ZERO * tensor.count:
        yield Finding(
            "note",
            "anatomy",
            tensor.name,
            f"{tensor.name} is sparse: {100 * tensor.zeros / tensor.count:.0f} % of its values are exactly zero.",
            evidence=f"{tensor.zeros:,} of {tensor.count:,} values are 0",
            action="Expected after pruning; store it as sparse if so.",
        )


def _all_zero(tensor: TensorAnatomy) -> Iterator[Finding]:
    if tensor.role == Role.NORM and tensor.name.endswith("weight"):
        severity, effect = "warning", "scales everything by zero: the branch it ends passes nothing"
        action = "Expected only in a fresh network with zero-initialised residual branches."
    elif not tensor.is_matrix:
        return
    elif _ADAPTER_B.search(tensor.name):
        severity, effect = "warning", "is all zero: the adapter does nothing yet"
        action = "Expected before the adapter's training; otherwise check that it was trained and loaded."
    elif _GAIN.search(tensor.name):
        severity, effect = "problem", "is all zero: the weight that it scales is zero, and nothing passes through it"
        action = "Check that it was loaded and trained."
    elif tensor.role in _MULTIPLIES and not _is_added(tensor.name):
        severity, effect = "problem", "is all zero: nothing passes through it"
        action = "Check that it was loaded and trained; a zero-initialised layer should have moved."
    else:
        severity, effect = "note", "is all zero: it adds nothing"
        action = "Expected of a fresh or unused token, position or bias; otherwise check that it was trained."
    count = "its only value is" if tensor.count == 1 else f"all {tensor.count:,} values are"
    yield Finding(
        severity,  # type: ignore[arg-type]
        "anatomy",
        tensor.name,
        f"{tensor.name} {effect}.",
        evidence=f"{count} exactly 0",
        action=action,
    )


def _is_added(name: str) -> bool:
    """Whether a tensor is added to a signal (positions, class and mask tokens, types), going by its name."""
    *layers, last = name.split(".")
    return bool(_ADDED.search(last.lower()) or (layers and last == "weight" and _ADDED.search(layers[-1].lower())))


def _untrained(anatomy: Anatomy) -> Iterator[Finding]:
    judged = [t for t in anatomy.tensors if t.initialiser is not None]
    fresh = [t for t in judged if t.initialiser]
    trained = [t for t in judged if t.trained]
    if not fresh:
        return
    if len(trained) < len(fresh):
        whole = "chosen part" if anatomy.partial else "whole network"
        yield Finding(
            "note",
            "anatomy",
            "",
            f"The {whole} looks untrained: no matrix can be told from a fresh initialisation."
            if len(fresh) == len(judged)
            else f"{len(fresh)} of {len(judged)} matrices look untrained: they cannot be told from a fresh "
            "initialisation.",
            evidence=f"{len(fresh)} of {len(judged)} matrices match the distribution of an initialiser"
            + (f"; {len(trained)} are shown to be trained" if len(fresh) < len(judged) else ""),
            source="glorot2010understanding",
            action="Expected before training; otherwise check that the trained weights were loaded.",
        )
        return
    for tensor in fresh:
        yield Finding(
            "warning" if tensor.initialiser_is_sharp else "note",
            "anatomy",
            tensor.name,
            f"{tensor.name} still looks untrained, while other layers do not."
            if tensor.initialiser_is_sharp
            else f"{tensor.name} may be untrained, while other layers are not: it looks like normal noise of an "
            "initialiser's size, in which training that moved the values by less than some 30 % does not show.",
            evidence=(
                f"its {tensor.count:,} values cannot be told from {tensor.initialiser} initialisation "
                f"(size, largest value, distribution and largest singular value)"
            ),
            source="glorot2010understanding",
            action="Check that it is not frozen, that the optimiser has it, and that its weights were loaded.",
        )


def _tied(tensors: Sequence[TensorAnatomy]) -> Iterator[Finding]:
    for tensor in tensors:
        if tensor.tied:
            others = ", ".join(tensor.tied)
            yield Finding(
                "note",
                "anatomy",
                tensor.name,
                f"{tensor.name} and {others} are tied: one tensor under {len(tensor.tied) + 1} names.",
                evidence="the same memory",
                source="press2017using",
                action="Nothing, if meant; it is measured once.",
            )


def _duplicated(groups: Sequence[Sequence[str]]) -> Iterator[Finding]:
    for first, *others in groups:
        yield Finding(
            "note",
            "anatomy",
            first,
            f"{first} and {', '.join(others)} hold exactly the same values.",
            evidence="equal bytes in separate memory",
            source="press2017using",
            action="Tied weights saved twice look like this; two layers trained apart never do.",
        )


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
    per_weight=PerWeight(step=_step, gather=_gather),
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
