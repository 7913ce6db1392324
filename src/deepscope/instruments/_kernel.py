"""The empirical neural tangent kernel of a network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import torch

from deepscope.core import Instrument, LeftOut, Needs, Stopwatch, UsageError, derive_seed, nearest
from deepscope.instruments._affordable import Keywords, affordable
from deepscope.instruments._kernel_gram import Samples, TangentGram, samples_of, tangent_gram
from deepscope.instruments._kernel_known import KNOWN
from deepscope.instruments._kernel_reading import Kernel, KernelDrift, LayerKernel
from deepscope.instruments._kernel_regression import regress
from deepscope.instruments._labels import Labels, labels_of
from deepscope.linalg import kernel_alignment
from deepscope.subject import PerSampleGradients, Subject, forward_work, layer_of, main_output, per_sample_gradients

__all__ = ["KERNEL", "Kernel", "KernelDrift", "kernel"]

OUTPUTS = ("full", "trace")
#: More outputs than these are not measured one by one in an examination, but in so many random directions.
_MANY_OUTPUTS, _DIRECTIONS = 256, 64


def kernel(
    subject: Subject,
    samples: int = 256,
    outputs: str = "full",
    *,
    directions: int | None = None,
    generator: torch.Generator | None = None,
) -> Kernel:
    """Measure the empirical neural tangent kernel over the first samples of the data.

    K[i, j, a, b] = ⟨∂f_a(x_i)/∂θ, ∂f_b(x_j)/∂θ⟩ over all trainable parameters θ of the chosen part: by how much a
    small step of gradient descent that raises output b of sample j raises output a of sample i. No Jacobian is made:
    for a linear layer with inputs A and output gradients G its part is (A Aᵀ) ∘ (G Gᵀ), for a convolution likewise
    with unfolded inputs, for embeddings and normalisation by their own rules, summed over repeated calls and tied
    layers with all cross terms (``novak2022fast``); each rule is proved on two samples first, and what has none is
    computed from Jacobian rows.

    Parameters
    ----------
    subject
        A model with data, whose outputs are one tensor with a row per sample; labels are compared with where the
        targets are classes or numbers.
    samples
        How many samples, n, the first of the data.
    outputs
        ``"full"``: all c × c products of outputs; ``"trace"``: summed over a = b.
    directions
        Estimate the kernel summed over outputs from so many random directions of outputs, where all of them are too
        many: k products of the outputs with random signs, the same for every sample, over √k. Its expectation is the
        kernel; an entry scatters by at most √(2/k) of ‖J_i‖·‖J_j‖, J the Jacobians, and much less where many outputs
        share in it. Exact, from every output, unless given.
    generator
        Its initial seed seeds the directions, what is random in the model's evaluation mode, and the permutations of
        labels.

    Returns
    -------
    Kernel
        With the columns ``name, kind, parameters, share, status``; ``gram`` of shape [n, n, c, c] or [n, n].

    Raises
    ------
    UsageError
        ``samples`` or ``directions`` are too few, ``outputs`` is unknown, or directions are asked of the full kernel.
    MeasurementError
        There is no model, no data or nothing to train; the outputs are not one tensor with a row per sample, are too
        many, not finite, random, or dependent on the other samples of a batch.

    Notes
    -----
    The model runs in evaluation mode. Half precision is widened to float32 once gradients are known. The spectrum, the
    alignment with the labels and the regression are of the kernel summed over outputs, [n, n]; ``eigenvalues`` and
    ``effective_rank`` of the matrix as asked for.
    Cost: a forward pass and c backward passes (one per direction), without weight gradients, then n²·c multiplications
    per unit of a linear layer and half of n²·c² per weight of a convolution. Memory: the result, and two blocks of
    samples' layer inputs and output gradients of at most 1 GiB each; if n samples take more, passes are repeated.
    Sources: ``jacot2018neural``, ``novak2022fast``, ``cortes2012algorithms``.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> kernel(Subject(torch.nn.Linear(2, 1), data=[(x, None)]), outputs="trace").gram.tolist()
    [[2.0, 1.0], [1.0, 5.0]]
    """
    subject.require(Needs.MODEL | Needs.DATA, "kernel")
    if samples < 1:
        raise UsageError(f"samples must be at least 1, not {samples}", where="kernel")
    if outputs not in OUTPUTS:
        raise UsageError("unknown outputs", where=outputs, todo=nearest(outputs, OUTPUTS))
    if directions is not None and (outputs != "trace" or directions < 2):
        raise UsageError(
            "random directions estimate the kernel summed over outputs, and its error from two of them on",
            where=f"outputs={outputs!r}, directions={directions}",
            todo='Give outputs="trace" and more directions, or leave directions out.',
        )
    seed = generator.initial_seed() if generator is not None else 0
    signs = partial(_signs, k=directions, seed=seed, device=subject.device) if directions is not None else None
    stopwatch = Stopwatch()
    alone = copy(subject)
    alone.forward = lambda _, inputs: main_output(subject.predict(inputs))
    with stopwatch, subject.undisturbed(seed=seed), per_sample_gradients(alone) as gradients:
        chosen = samples_of(subject, samples)
        found = tangent_gram(gradients, chosen.pieces, trace=outputs == "trace", signs=signs)
        stopwatch.count(forward=found.forward, backward=found.backward)
    with stopwatch:
        labels = labels_of(chosen.targets, *found.outputs.shape)
        made = _reading(found, labels, outputs, directions, seed)
    return Kernel(
        subject=subject.name,
        left_out=(*_left_out(subject, gradients, chosen, directions), *labels.left_out),
        cost=stopwatch.cost,
        layers=_layers(subject, gradients, found.traces),
        **made,
    )


def _signs(c: int, *, k: int, seed: int, device: torch.device) -> torch.Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, "directions"))
    return (torch.randint(0, 2, (k, c), generator=generator, dtype=torch.int8) * 2 - 1).to(device)


def _reading(found: TangentGram, labels: Labels, outputs: str, directions: int | None, seed: int) -> dict[str, Any]:
    """Draw from a Gram matrix everything that a reading holds of it."""
    n, c = found.outputs.shape
    full = outputs == "full"
    gram = (found.gram.permute(1, 3, 0, 2) if full else found.gram).contiguous().cpu().numpy()
    summed = np.einsum("ijaa->ij", gram, dtype=np.float64) if full else gram.astype(np.float64)
    # Products in single precision are symmetric but for their rounding.
    summed = (summed + summed.T) / 2
    values, vectors = np.linalg.eigh(summed)
    trace = float(np.trace(summed))
    alignment = regression = None
    shares = np.zeros(0)
    if not labels.why:
        rng = np.random.default_rng(seed)
        # A sample without a label is taken to have the mean one.
        centred = np.zeros((n, labels.values.shape[1]))
        centred[labels.rows] = labels.values - labels.values.mean(axis=0)
        shares = np.sum((vectors.T @ centred) ** 2, axis=1)[::-1] / np.sum(centred**2)
        labelled = summed[np.ix_(labels.rows, labels.rows)]
        alignment = kernel_alignment(labelled, labels.values @ labels.values.T, rng=rng)
        regression = regress(labelled, found.outputs.double().cpu().numpy()[labels.rows], labels)
    return {
        "outputs": outputs,
        "gram": gram,
        "n_samples": n,
        "n_outputs": c,
        "n_directions": directions,
        "trace": trace,
        "trace_stderr": _scatter(found.by_direction) if directions is not None else 0.0,
        "spectrum": np.ascontiguousarray(values[::-1]),
        "label_shares": np.ascontiguousarray(shares),
        "constant_share": float(summed.sum() / (n * trace)) if trace > 0 else None,
        "label_alignment": alignment,
        "regression": regression,
        "labels_status": labels.why or "ok",
    }


def _scatter(by_direction: torch.Tensor) -> float:
    """Return the standard error of a sum of k alike and independent numbers."""
    return float(by_direction.std()) * math.sqrt(len(by_direction))


def _layers(subject: Subject, gradients: PerSampleGradients, traces: Mapping[str, float]) -> tuple[LayerKernel, ...]:
    total = sum(traces.values())
    groups: dict[str, list[str]] = {}
    for name in gradients.parameters:
        groups.setdefault(layer_of(name), []).append(name)
    return tuple(
        LayerKernel(
            name=layer,
            kind=_kind(subject, layer),
            parameters=sum(gradients.parameters[name].numel() for name in names),
            share=sum(traces[name] for name in names) / total if total > 0 else None,
            status="; ".join(dict.fromkeys(gradients.written_out[n] for n in names if n in gradients.written_out))
            or "ok",
        )
        for layer, names in groups.items()
    )


def _kind(subject: Subject, layer: str) -> str:
    modules = dict(subject.model.named_modules()) if subject.model is not None else {}
    return type(modules.get(layer, subject.model)).__name__


def _left_out(
    subject: Subject, gradients: PerSampleGradients, chosen: Samples, directions: int | None
) -> Iterator[LeftOut]:
    model = subject.model
    assert model is not None
    for name, parameter in model.named_parameters():
        if name not in gradients.parameters and subject.selects(name):
            frozen = not parameter.requires_grad
            yield LeftOut(name, "frozen (requires_grad=False)" if frozen else "not floating-point")
    yield from subject.left_out
    if directions is not None:
        yield LeftOut("outputs", f"estimated from {directions:,} random directions of the outputs")
    if chosen.more:
        yield LeftOut("data", f"the samples after the first {chosen.n}")


def _fit(subject: Subject, effort: Keywords, operations: float) -> Keywords:
    work = forward_work(subject)
    exact = work.outputs <= _MANY_OUTPUTS
    k = work.outputs if exact else _DIRECTIONS
    # A backward pass without weight gradients takes as much as a forward pass. Products of n samples' Jacobians take n
    # times as much for every sample; those of a linear layer come from factors, for next to nothing.
    of_products = k * sum(weight.count for weight in subject.weights() if len(weight.shape) > 2)
    passes = (1 + 2 * k) * work.operations
    most = (math.sqrt(passes**2 + 4 * of_products * operations) - passes) / (2 * of_products) if of_products else None
    price = passes if most is None else operations / most
    asked = {**effort, "outputs": "trace", **({} if exact else {"directions": _DIRECTIONS})}
    return affordable([asked], "samples", lambda _: price, operations)


def _expected_cost(
    subject: Subject, *, samples: int = 256, outputs: str = "full", directions: int | None = None
) -> str:
    del subject
    passes = "a backward pass per output" if directions is None else f"backward passes in {directions} directions"
    return f"{passes} over up to {samples:,} samples, {outputs}"


KERNEL = Instrument(
    name="kernel",
    title="Tangent kernel",
    measure=kernel,
    reading=Kernel,
    needs=Needs.MODEL | Needs.DATA,
    formula=(
        "K[i, j, a, b] = ⟨∂f_a(x_i)/∂θ, ∂f_b(x_j)/∂θ⟩ over all trainable parameters, in evaluation mode; summed over "
        "outputs a = b for the spectrum. Effective rank: exp of the entropy of p = λ / Σλ. Alignment with labels: "
        "⟨K_c, L_c⟩ / (‖K_c‖ ‖L_c‖), L = YYᵀ of class indicators or targets, both centred; standard error by the "
        "jackknife over at most 64 groups of samples, null by 200 permutations of labels. Regression: kernel ridge, "
        "each sample from all others, at the ridge of least error. Share of a layer: Σ ‖∂f/∂θ_layer‖² over the "
        "kernel's trace. A warning where less than 1e-3 of the kernel, 1 − 1ᵀK1 / (n tr K), tells samples apart, a "
        "problem below 1e-6; a warning for a layer of share 0."
    ),
    how_to_read=(
        "Above, the eigenvalues of the kernel: directions in the space of samples along which gradient descent learns, "
        "the fastest first. Below, how much of the labels lies in the first so many of these directions, beside how "
        "much of the kernel does: a network whose kernel suits its task has the labels' curve high from the start."
    ),
    source="jacot2018neural",
    expected_cost=_expected_cost,
    fit=_fit,
    efforts={
        "quick": {"samples": 64, "outputs": "trace"},
        "standard": {"samples": 256, "outputs": "trace"},
        "deep": {"samples": 1024, "outputs": "trace"},
    },
    pinned_by="tests/instruments/test_kernel.py::test_gram_is_that_of_dense_jacobians",
    known=KNOWN,
)
