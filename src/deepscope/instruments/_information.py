"""How much of the inputs and of the labels the layers of a network hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import entropy
from torch import Tensor

from deepscope.core import DoesNotApplyError, Instrument, LeftOut, Needs, Stopwatch, UsageError, derive_seed
from deepscope.instruments._affordable import FEWEST as FEWEST_SAMPLES
from deepscope.instruments._affordable import Keywords
from deepscope.instruments._information_known import KNOWN
from deepscope.instruments._information_layer import (
    RENYI_SAMPLES,
    LayerInformation,
    Settings,
    layer_information,
    neighbour_information,
)
from deepscope.instruments._information_rank import local_ranks
from deepscope.instruments._information_reading import Information
from deepscope.instruments._information_variables import (
    MOST_FEATURES,
    Variable,
    first_of_copies,
    inputs_of,
    variable_of,
)
from deepscope.instruments._labels import labels_of
from deepscope.linalg import FEWEST_PERMUTATIONS
from deepscope.subject import FirstSamples, Subject, collect, forward_work

__all__ = ["INFORMATION", "Information", "LayerInformation", "information"]

#: Samples at which Jacobians are measured.
_RANK_SAMPLES = 64
#: All distances between samples are held at once.
_MOST_SAMPLES = 4096


def information(
    subject: Subject,
    samples: int = 1000,
    *,
    bins: int = 30,
    neighbours: int = 3,
    permutations: int = 99,
    directions: int = 32,
    generator: torch.Generator | None = None,
) -> Information:
    """Measure what each layer's output T holds about the labels Y and the inputs X, and its local rank.

    I(T; Y) and I(X; T) in bits, by three estimators that err in different ways: counting of bins, nearest neighbours
    (``kraskov2004estimating``; with classes ``ross2014mutual``) and the matrix-based Rényi information
    (``giraldo2015measures``), each beside what it gives for samples in random order. The local rank is the mean over
    samples of the participation ratio (Σσ²)²/Σσ⁴ of ∂T/∂x (after ``patel2024learning``).

    Parameters
    ----------
    subject
        A model with data. Targets are classes or numbers; samples without a label (−100) are left out.
    samples
        How many, n, the first of the data; at most 4,096.
    bins
        Equal bins for every feature, over the range of the layer's own values.
    neighbours
        Which neighbour tells the density, k.
    permutations
        Random orders behind each null, at least 19.
    directions
        Random directions of the inputs along which Jacobians are measured, at least 2; all where there are fewer.
    generator
        Its initial seed seeds orders, directions, and what is random in the model's evaluation mode.

    Returns
    -------
    Information
        With the columns ``name, kind, features``, ``labels_`` and ``inputs_`` with ``binned, ksg, renyi``, each with
        the 95 % quantile of its null in ``…_null``, ``inputs_truth, local_rank, local_rank_low, local_rank_high,
        least, greatest, status``. See ``LayerInformation`` and ``InformationEstimate``.

    Raises
    ------
    UsageError
        An argument is out of range.
    DoesNotApplyError
        No layer puts out a row for each sample.
    MeasurementError
        There is no model or no data.

    Notes
    -----
    A layer of a network is a function of its inputs. Where these are continuous and it is not piecewise constant,
    I(X; T) is infinite (``amjad2020learning``), and what estimators give is their own: counting gives the entropy of
    bins, up to log₂ n, and the same for inputs in any order (``saxe2018information``, ``goldfeld2019estimating``);
    neighbours give at most log₂(n/k), growing by a bit as n doubles; the Rényi information depends on the width of its
    kernel. The column ``inputs_truth`` says so. I(T; Y) of classes is at most H(Y), and each estimator's null says how
    much of a number is chance: counting finds all of H(Y) in any labels once no two samples share their bins.
    Neighbours are unbiased there, and too low where there are many dimensions. Biases, and when estimates saturate or
    are beyond reach, are stated and measured with the functions of ``deepscope.linalg``.

    Both over a training make the information plane of ``shwartzziv2017opening``. The local rank takes a sample's output
    to depend on that sample alone, as it does in evaluation mode unless the network mixes samples. Random directions of
    continuous inputs measure it without bias but for some 1/k².

    Copies of a sample with continuous inputs are left out: to neighbours they would be a point of infinite density.
    Cost: n forward passes of a sample, and 64 forward passes with a derivative for each direction; for each layer
    some 10·n²·(d_x + d_T) operations for distances, 40·n² for each permutation, and eigenvalues of 256 × 256 matrices.
    Memory: the collected layers (at most 512 MiB), four matrices of n² distances.

    Examples
    --------
    >>> y = torch.arange(200) % 2
    >>> x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) + 9.0 * y[:, None]
    >>> found = information(Subject(torch.nn.Linear(3, 2), data=[(x, y)]))
    >>> found.layers[0].labels_ksg.status, found.layers[0].inputs_truth
    ('saturated: it tells all 2 labels of 200 samples apart', 'infinite for continuous inputs')
    """
    subject.require(Needs.MODEL | Needs.DATA, "information")
    _check(samples, bins, neighbours, permutations, directions)
    seed = generator.initial_seed() if generator is not None else 0
    settings = Settings(bins, neighbours, permutations, seed)
    stopwatch = Stopwatch()
    with stopwatch, subject.undisturbed(seed=seed):
        collected = collect(subject, samples, seed=seed)
        if not collected.layers:
            raise DoesNotApplyError(
                "no layer puts out a row for each sample",
                where=subject.name,
                todo="Give a model of torch.nn modules whose outputs have a row per sample.",
            )
        ranks = local_ranks(subject, min(samples, _RANK_SAMPLES), collected.widths, directions, seed)
        stopwatch.count(forward=collected.n_batches + ranks.passes)
        inputs = inputs_of([(batch.inputs, batch.n_samples) for batch in FirstSamples(subject, samples)], seed)
    with stopwatch:
        read = labels_of(collected.targets, collected.n_samples)
        inputs = inputs.taken(read.rows)
        first = first_of_copies(inputs, read)
        inputs, labels = inputs.taken(first), variable_of(read, first)
        kept = read.rows[first]
        rows = torch.from_numpy(kept)
        kinds = _kinds(subject)
        layers = tuple(
            layer_information(
                name,
                kinds.get(name.split("#")[0], ""),
                T.cpu()[rows],
                collected.widths[name],
                inputs,
                labels,
                _taken(ranks.by_layer.get(name), kept),
                settings,
            )
            for name, T in collected.layers.items()
        )
        output = _output(collected.output, rows, seed)
        given = None if inputs.points is None else torch.from_numpy(inputs.points)
    copies = len(read.rows) - len(kept)
    return Information(
        subject=subject.name,
        left_out=(
            *collected.left_out,
            *read.left_out,
            *_left_out(inputs, copies, len(kept)),
            *subject.left_out,
        ),
        cost=stopwatch.cost,
        layers=layers,
        data=neighbour_information(given, labels, settings, "data"),
        output=neighbour_information(output, labels, settings, "output"),
        output_constant=output is not None and len(output) > 1 and bool((output[:1] == output).all()),
        partial=not subject.selects(""),
        n_samples=len(kept),
        bins=bins,
        neighbours=neighbours,
        permutations=permutations,
        n_rank_samples=ranks.n_samples if not ranks.why else 0,
        n_directions=ranks.n_directions if not ranks.why else 0,
        exact_rank=ranks.exact and not ranks.why,
        labels_entropy=_entropy(labels),
        labels_status=labels.why or "ok",
        inputs_status=inputs.why or "ok",
        rank_status=ranks.why or "ok",
    )


def _check(samples: int, bins: int, neighbours: int, permutations: int, directions: int) -> None:
    for name, value, least, most in (
        ("samples", samples, 1, _MOST_SAMPLES),
        ("bins", bins, 1, None),
        ("neighbours", neighbours, 1, None),
        ("permutations", permutations, FEWEST_PERMUTATIONS, None),
        ("directions", directions, 2, None),
    ):
        if value < least or (most is not None and value > most):
            allowed = f"at least {least}" + (f" and at most {most:,}" if most is not None else "")
            raise UsageError(f"{name} must be {allowed}, not {value:,}", where="information")


def _kinds(subject: Subject) -> dict[str, str]:
    return {name: type(module).__name__ for name, module in subject.model.named_modules()} if subject.model else {}


def _entropy(labels: Variable) -> float | None:
    if labels.codes is None or labels.why:
        return None
    shares = np.bincount(labels.codes) / len(labels.codes)
    return float(np.asarray(entropy(shares, base=2)))


def _taken(ranks: NDArray[np.float64] | None, kept: NDArray[np.intp]) -> NDArray[np.float64] | None:
    return None if ranks is None else ranks[kept[kept < len(ranks)]]


def _output(output: Tensor | None, rows: Tensor, seed: int) -> Tensor | None:
    """Return what the network puts out, [samples, values], no more of them than of a layer."""
    if output is None or not output.is_floating_point():
        return None
    every = output.flatten(1) if output.ndim > 1 else output[:, None]
    if every.shape[1] > MOST_FEATURES:
        generator = torch.Generator().manual_seed(derive_seed(seed, "output features"))
        every = every[:, torch.randperm(every.shape[1], generator=generator)[:MOST_FEATURES].to(every.device)]
    return every.cpu()[rows].double()


def _left_out(inputs: Variable, copies: int, n: int) -> Iterator[LeftOut]:
    if copies:
        yield LeftOut("data", f"{copies:,} samples that are copies of others")
    if inputs.points is not None and inputs.n_features > MOST_FEATURES:
        yield LeftOut("inputs", f"all but {MOST_FEATURES:,} of their {inputs.n_features:,} values, by chance")
    if n > RENYI_SAMPLES:
        yield LeftOut("Rényi information", f"all but {RENYI_SAMPLES} of {n:,} samples, by chance")


def _fit(subject: Subject, effort: Keywords, operations: float) -> Keywords:
    """Take as many samples as the operations allow, counted as what a core does in the time that steps take."""
    with subject.undisturbed():
        widths = collect(subject, 1).widths
        first = next(iter(FirstSamples(subject, 1)))
    inputs = inputs_of([(first.inputs, 1)], 0)
    wide = min(inputs.n_features, MOST_FEATURES)
    forward = forward_work(subject).operations
    orders = effort["permutations"] + 30

    def total(n: int) -> float:
        # Differences and comparisons run at a tenth of the speed of products, and distances are needed several times.
        distances = 40.0 * float(n) ** 2 * sum(min(width, MOST_FEATURES) + wide for width in widths.values())
        # Sorting and counting of neighbours, and eigenvalues, at their speed beside products': measured.
        nulls: float = orders * (500.0 * float(n) ** 2 + 6.0 * float(min(n, RENYI_SAMPLES)) ** 3) * len(widths)
        passes: float = forward * (n + 3 * _RANK_SAMPLES * effort["directions"])
        return passes + distances + nulls

    low, high = FEWEST_SAMPLES, effort["samples"]
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if total(middle) <= operations else (low, middle - 1)
    return {**effort, "samples": low}


def _expected_cost(subject: Subject, *, samples: int = 1000, permutations: int = 99, **_: Any) -> str:
    del subject
    return f"forward passes over up to {samples:,} samples, and {permutations} random orders for each layer"


INFORMATION = Instrument(
    name="information",
    title="Information in layers",
    measure=information,
    reading=Information,
    needs=Needs.MODEL | Needs.DATA,
    formula=(
        "I(T; Y) and I(X; T) in bits, T a layer's output, over the first n samples less copies. Bins: the plug-in "
        "Σ p̂(a, b) log₂ (p̂(a, b) / p̂(a)p̂(b)) of rows of 30 equal bins over the layer's range; for continuous inputs it "
        "is the entropy of those rows. Neighbours, k = 3: (ψ(k) + ψ(n) − ⟨ψ(n_x + 1) + ψ(n_y + 1)⟩) / ln 2; with "
        "classes (ψ(n) + ⟨ψ(k) − ψ(n_i) − ψ(m_i)⟩) / ln 2. Rényi, α = 1.01, 256 samples by chance: S(A) + S(B) − "
        "S(A ∘ B), S = log₂ Σ λ^α / (1 − α), kernels as wide as the median distance times n^(−1/(d + 4)). Intervals: "
        "1.96 standard errors, from halves of the samples; null: the 95 % quantile over random orders. Local rank: the "
        "mean over 64 samples of (Σσ²)² / Σσ⁴, σ the singular values of ∂T/∂x, with Student's interval; along 32 "
        "random directions where inputs have more values. A problem where the network puts out the same for all "
        "samples; notes where from a layer to the last no estimator beats its null about the labels although the "
        "inputs do, by three standard errors, and where the output keeps less than half: a network not yet "
        "trained does so."
    ),
    how_to_read=(
        "A point above its short line is more than chance: above, what a layer holds about the labels; in the middle, "
        "about the inputs, where bins and neighbours soon show how many samples there are, as the truth is infinite "
        "for continuous inputs. Below, along how many directions of the input the layer moves: it falls where a "
        "network compresses."
    ),
    source="saxe2018information",
    expected_cost=_expected_cost,
    fit=_fit,
    efforts={
        "quick": {"samples": 256, "permutations": 39, "directions": 16},
        "standard": {"samples": 1000, "permutations": 39, "directions": 32},
        "deep": {"samples": 2000, "permutations": 199, "directions": 64},
    },
    pinned_by="tests/instruments/test_information.py::test_layers_of_a_network_whose_information_is_known",
    known=KNOWN,
)
