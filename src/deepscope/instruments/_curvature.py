"""The curvature of the loss: its eigenvalues, their distribution, its trace, and how sharp the minimum is."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch

from deepscope.core import Instrument, MeasurementError, Needs, Stopwatch, UsageError, first_line
from deepscope.instruments._affordable import Keywords, affordable
from deepscope.instruments._curvature_known import KNOWN
from deepscope.instruments._curvature_loss import is_out_of_memory
from deepscope.instruments._curvature_pieces import fewer_samples
from deepscope.instruments._curvature_reading import Curvature
from deepscope.instruments._curvature_run import Effort, Run
from deepscope.subject import Subject, forward_work, without_fused_kernels

__all__ = ["CURVATURE", "Curvature", "curvature"]

Kind = Literal["hessian", "ggn", "fisher", "empirical-fisher"]


def curvature(
    subject: Subject,
    *,
    kind: Kind = "hessian",
    top: int = 10,
    bottom: int = 1,
    tolerance: float = 0.01,
    max_products: int = 100,
    density: bool = True,
    n_probes: int = 4,
    n_steps: int = 20,
    trace: bool = True,
    trace_products: int = 32,
    per_layer: bool = True,
    sharp: bool = True,
    vectors: bool = False,
    training: bool = False,
    dtype: torch.dtype | None = None,
    max_samples: int | None = 1024,
    generator: torch.Generator | None = None,
) -> Curvature:
    """Measure the curvature of the mean loss L over data with respect to the trainable parameters θ, n of them.

    The matrix H, [n, n], is the Hessian ∂²L/∂θ²; the generalised Gauss–Newton matrix Σᵢ cᵢJᵢᵀ(∂²ℓᵢ/∂z²)Jᵢ/Σ cᵢ
    (``schraudolph2002fast``), Jᵢ the Jacobian of the network's outputs z; the Fisher information of the model's own
    distribution, which equals it for cross-entropy and squared error (``martens2020new``); or the empirical Fisher
    Σᵢ cᵢ∇ℓᵢ∇ℓᵢᵀ/Σ cᵢ with the samples' own targets, which does not
    (``kunstner2019limitations``). ℓᵢ is the loss of sample i, a mean over its cᵢ terms.

    Parameters
    ----------
    subject
        A model with data and a loss that is a mean over ``count(targets)`` terms. Where only a part of it is chosen,
        H is that part's diagonal block.
    kind
        Which matrix.
    top, bottom
        How many of the largest and of the smallest eigenvalues; n where there are fewer parameters.
    tolerance
        An eigenvalue has converged when it is known to this share of its size, or to 1e-3 of that share of the
        largest.
    max_products
        Most products spent on the ends of the spectrum.
    density, n_probes, n_steps
        Whether to estimate the distribution of all eigenvalues, from how many random vectors and with how many Lanczos
        steps for each.
    trace, trace_products
        Whether to measure the trace, of all and by layer, and the products spent on it where it cannot be had exactly.
    per_layer
        Whether to find the largest eigenvalue of every layer's diagonal block too. Its trace is there in any case.
    sharp
        Whether to measure sharpness by ascent, and what all measures become when layers are rescaled.
    vectors
        Whether to keep the eigenvectors of the largest eigenvalues: n × top numbers.
    training
        Measure in training mode: batches stay whole, batch normalisation takes their statistics, and dropout draws one
        seeded mask for each.
    dtype
        torch.float64 to compute in double precision; as the weights are unless given, float32 at least.
    max_samples
        The first so many samples are used; None for all.
    generator
        For all random vectors; its initial seed also seeds what is random in the model.

    Returns
    -------
    Curvature
        With the columns ``name, parameters, trace, trace_stderr, curvature_fraction, eigenvalue, status``,
        one row per layer; see ``Curvature`` for the rest.

    Raises
    ------
    UsageError
        An unknown kind or dtype, or a number out of range.
    MeasurementError
        There is no model, no data, no loss or nothing to train; the loss is a sum, or not finite; the forward pass is
        not repeatable; something cannot be differentiated twice; memory does not suffice even for one sample.

    Notes
    -----
    Eigenvalues come from block Lanczos (``block_lanczos``) with certified residuals, the distribution from stochastic
    Lanczos quadrature (``ghorbani2019investigation``). Of a network with few parameters all is exact.

    The trace is exact, layer by layer and without products, for every kind but the Hessian wherever samples have at
    most 100 outputs, by one pass that takes squared per-sample gradients. The Hessian has the same diagonal where the
    outputs are affine in each parameter by itself, piece by piece: ReLU networks in which no weight is used twice on
    the way to an output. That is checked operation by operation; elsewhere the trace is estimated from random signs.

    Cost: one gradient, and then per product of H about 1.3 gradients (0.9 of JᵀBJ), as the graph of the gradient is
    kept; ten eigenvalues to 1 % take some 20 to 60 products, the distribution ``n_probes``·``n_steps``, per_layer
    about 10 for every layer, each of that layer alone. Sharpness takes 15 gradients; rescaling, all measures again.
    Memory: one piece's graph, at most 1 GB of graphs that are kept, the data used, and n × (products in one basis).

    Examples
    --------
    Linear regression has the Hessian 2·XᵀX/n:

    >>> X = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> found = curvature(Subject(layer, [(X, torch.zeros(2, 1))], torch.nn.functional.mse_loss))
    >>> found.eigenvalues.round(6).tolist(), round(found.trace, 6), found.trace_stderr
    ([4.0, 1.0], 5.0, 0.0)
    """
    subject.require(Needs.MODEL | Needs.DATA | Needs.LOSS, "curvature")
    _check(kind, top, bottom, n_probes if density else 2, n_steps, trace_products)
    seed = generator.initial_seed() if generator is not None else 0
    effort = Effort(
        top=top,
        bottom=bottom,
        tolerance=tolerance,
        max_products=max_products,
        probes=(n_probes, n_steps) if density else None,
        trace_products=trace_products if trace else None,
        per_layer=per_layer,
        sharp=sharp,
        vectors=vectors,
    )
    most: int | None = None
    while True:
        try:
            return _measured(subject, kind, effort, training, dtype, max_samples, most, seed)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            why = first_line(error)
        # What had been allocated is free once the exception is.
        most = fewer_samples(subject, most)
        if most is None:
            raise MeasurementError(
                f"memory does not suffice for the curvature of a single sample: {why}",
                where=subject.name,
                todo="Choose a part of the network, fewer eigenvalues, or a machine with more memory.",
            )


def _measured(
    subject: Subject,
    kind: Kind,
    effort: Effort,
    training: bool,
    dtype: torch.dtype | None,
    max_samples: int | None,
    most: int | None,
    seed: int,
) -> Curvature:
    stopwatch = Stopwatch()
    with (
        stopwatch,
        subject.undisturbed(training=training, seed=seed),
        torch.inference_mode(False),
        torch.enable_grad(),
        without_fused_kernels(subject.model, products=True),
    ):
        run = Run(
            subject,
            kind,
            training=training,
            dtype=dtype,
            max_samples=max_samples,
            most=most,
            seed=seed,
            stopwatch=stopwatch,
        )
        found = run.reading(effort)
    return replace(found, cost=stopwatch.cost)


def _check(kind: str, top: int, bottom: int, n_probes: int, n_steps: int, trace_products: int) -> None:
    if kind not in get_args(Kind):
        raise UsageError("no such curvature", where=kind, todo=f"Choose one of {', '.join(get_args(Kind))}.")
    if top < 1 or bottom < 0:
        raise UsageError("no such number of eigenvalues", where=f"top = {top}, bottom = {bottom}")
    if n_probes < 2 or n_steps < 1 or trace_products < 2:
        raise UsageError(
            "a standard error needs at least two probes and two products",
            where=f"n_probes = {n_probes}, n_steps = {n_steps}, trace_products = {trace_products}",
        )


#: Products that the ends of the spectrum take, of the whole matrix and of one layer's block.
_FOR_THE_ENDS, _FOR_A_LAYER = 30, 10
#: Gradients that a product takes; that of one layer alone takes half as much.
_GRADIENTS = 1.4


def _fit(subject: Subject, effort: Keywords, operations: float) -> Keywords:
    work, n_layers = 3 * forward_work(subject).operations, len(subject.layers())
    bare = {**effort, "per_layer": False, "sharp": False}
    least = {**bare, "density": False, "trace_products": min(8, effort.get("trace_products", 32))}

    def price(effort: Keywords) -> float:
        products = _products(**effort) + effort.get("trace_products", 32)
        if effort.get("per_layer", True):
            products += n_layers * _FOR_A_LAYER / 2
        # Sharpness takes gradients, and rescaling all of it again.
        again = _FOR_THE_ENDS * _GRADIENTS + 30 if effort.get("sharp", True) else 0
        return float(work * (_GRADIENTS * products + again))

    return affordable([effort, bare, least], "max_samples", price, operations)


def _products(density: bool = True, n_probes: int = 4, n_steps: int = 20, **_: object) -> int:
    return _FOR_THE_ENDS + (n_probes * n_steps if density else 0)


def _expected_cost(
    subject: Subject,
    *,
    max_samples: int | None = 1024,
    density: bool = True,
    n_probes: int = 4,
    n_steps: int = 20,
    per_layer: bool = True,
    **_: object,
) -> str:
    products = _products(density, n_probes, n_steps)
    layers = f", and some {_FOR_A_LAYER} for each of {len(subject.layers())} layers alone" if per_layer else ""
    samples = "all samples" if max_samples is None else f"up to {max_samples:,} samples"
    return f"some {products} products of the Hessian, each as long as {_GRADIENTS} gradients over {samples}{layers}"


CURVATURE = Instrument(
    name="curvature",
    title="Curvature of the loss",
    measure=curvature,
    reading=Curvature,
    needs=Needs.MODEL | Needs.DATA | Needs.LOSS,
    formula=(
        "H = ∂²L/∂θ² of the mean loss L over the trainable parameters θ, in evaluation mode. Eigenvalues λ by block "
        "Lanczos, with ‖Hv − λv‖: an eigenvalue certainly lies as close to λ as that. Density of all eigenvalues under "
        "a Gaussian kernel by stochastic Lanczos quadrature, 95 % interval over probes. Trace tr H, by layer: exact "
        "where the outputs are affine in each parameter by itself or the matrix is small, else the mean of xᵀHx over "
        "random signs x with its standard error. Share of curvature: a layer's trace over the sum of all layers' by "
        "size. Sharpness, as lower bounds by ascent: SAM max L(θ + ε) − L(θ) over ‖ε‖ ≤ 0.05; adaptive over ‖ε/θ‖ ≤ "
        "0.5; Keskar's 100·(max L(θ + ε) − L(θ))/(1 + L(θ)) over |εᵢ| ≤ 1e-3·(|θᵢ| + 1). Rescaling: a layer's "
        "parameters times 2 and the next layer's weights over 2, where the outputs stay the same."
    ),
    how_to_read=(
        "Above, the density of the eigenvalues on a logarithmic scale, with the largest ones as strokes: most lie near "
        "0, a few stand apart, and those left of 0 are directions in which the loss curves downward. Below, the share "
        "of curvature that each layer holds beside its share of the parameters: gradient descent must step as small as "
        "the most curved layer asks."
    ),
    source="ghorbani2019investigation",
    expected_cost=_expected_cost,
    fit=_fit,
    efforts={
        "quick": {"top": 5, "density": False, "per_layer": False, "sharp": False, "max_samples": 256},
        "standard": {"top": 10, "n_probes": 4, "n_steps": 20, "max_samples": 1024},
        "deep": {
            "top": 20,
            "n_probes": 10,
            "n_steps": 80,
            "max_products": 300,
            "trace_products": 200,
            "max_samples": 4096,
        },
    },
    rows=(),
    pinned_by="tests/instruments/test_curvature.py::test_the_hessian_of_a_network_is_that_of_torch",
    known=KNOWN,
)
