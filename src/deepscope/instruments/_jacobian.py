"""How small changes travel through a network: Jacobians, their singular values, and bounds on them."""

from __future__ import annotations

import torch

from deepscope.core import Instrument, LeftOut, Needs, Stopwatch, UsageError, derive_seed
from deepscope.instruments._affordable import Keywords, affordable
from deepscope.instruments._jacobian_known import KNOWN
from deepscope.instruments._jacobian_layers import MOST_PRODUCTS, LayerMeter
from deepscope.instruments._jacobian_outputs import CLIMB_PASSES, LEADING, MOST_WRITTEN, PROBES
from deepscope.instruments._jacobian_reading import Jacobian, LayerJacobian
from deepscope.instruments._jacobian_recurrent import recurrent_states
from deepscope.instruments._jacobian_rows import layer_rows
from deepscope.instruments._jacobian_run import JacobianRun
from deepscope.instruments._jacobian_trace import traced
from deepscope.instruments._kernel_gram import samples_of
from deepscope.subject import Subject, forward_work, is_layer

__all__ = ["JACOBIAN", "Jacobian", "LayerJacobian", "jacobian"]

#: How far from a sample larger singular values are looked for, as a share of the inputs' root mean square length.
_RADIUS = 0.1


def jacobian(
    subject: Subject,
    samples: int = 64,
    *,
    top: int | None = None,
    layer_samples: int = 16,
    layers: bool = True,
    probes: int = 4,
    climbs: int = 4,
    radius: float | None = None,
    sequences: int = 16,
    generator: torch.Generator | None = None,
) -> Jacobian:
    r"""Measure how small changes of the inputs travel through a network, at the first samples of the data.

    * The singular values of the Jacobian J = ∂f(x)/∂x of every sample: written out row by row where its smaller side
      is at most 256, else the leading ones by Golub–Kahan–Lanczos bidiagonalisation with bounds on their errors, and
      ‖J‖_F² from random vectors.
    * For every layer, :math:`\chi = \|J_l\|_F^2 / n` of the block J_l from the layer's input to the next layer's, of n
      numbers: the mean squared singular value, by which changes grow from layer to layer, forward and backward, in a
      random network (``poole2016exponential``, ``schoenholz2017deep``); and of the Jacobian from the network's input
      to the layer's output the gain ‖J‖_F²/n, the sensitivity to relative changes, the largest singular value and
      how equal all of them are (dynamical isometry, ``saxe2014exact``, ``pennington2017resurrecting``).
    * The Lipschitz constant from below, at the samples and by climbing around those where it is largest; and from
      above, certified: the product of all layers' constants along the network's graph, or why there is none.
    * Lyapunov exponents of recurrent layers along the data's sequences, by QR.

    Parameters
    ----------
    subject
        A model with data. Where its inputs are whole numbers, derivatives are those by the embeddings' outputs.
    samples
        How many, the first of the data.
    top
        Compute only so many leading singular values of J, by bidiagonalisation.
    layer_samples
        On how many of them layers are measured, which takes most of the time.
    layers
        Whether to follow changes from the input to every layer, beside the layers' own χ.
    probes
        Random vectors for a Jacobian of more than 64 rows and columns.
    climbs
        Around how many samples larger singular values are looked for, those where they are largest; 0 for none.
    radius
        How far from a sample larger singular values are looked for, in units of the inputs; a tenth of their root mean
        square length unless given.
    sequences
        Of the first samples, those along which recurrent layers are followed; 0 for none.
    generator
        Its initial seed seeds the random vectors and what is random in the model's evaluation mode.

    Returns
    -------
    Jacobian
        With the columns ``name, kind, inputs, outputs, chi, gain, sensitivity, largest, isometry, lipschitz, bound,
        status`` and their intervals; ``singular_values`` of shape [samples, k].

    Raises
    ------
    UsageError
        A number is out of range.
    DoesNotApplyError
        The inputs are whole numbers and go through no embedding.
    MeasurementError
        There is no model or no data; the outputs are not a floating-point tensor with a row per sample, not finite,
        or dependent on the other samples of a batch; or the model refuses the data.

    Notes
    -----
    The model runs in evaluation mode. Every layer sees its inputs as a view of its own, so that χ is that of the way
    through this layer alone: beside a residual connection it is the branch's, while gain, sensitivity and largest are
    those of all ways together. Products J·v are a backward pass through the backward pass, so that no function needs
    a forward-mode rule; where one has no second derivative either, the status says so.

    Cost: a backward pass per output, for all samples of a chunk together; for the samples on which layers are measured
    up to 64 backward passes to the input for each layer, or up to 60 products with J and as many with Jᵀ; for each
    climb some 250 forward passes of its sample; for each sequence a backward pass per number of a recurrent layer's
    state. Memory: chunks of about 256 MiB.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> with torch.no_grad():
    ...     _ = model.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.5]]))
    >>> found = jacobian(Subject(model, data=[(torch.ones(4, 2), None)]))
    >>> found.singular_values[0].tolist(), found.lipschitz_bound
    ([3.0, 0.5], 3.0)
    """
    subject.require(Needs.MODEL | Needs.DATA, "jacobian")
    for name, value in (("samples", samples), ("layer_samples", layer_samples), ("probes", probes), ("top", top)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}", where="jacobian")
    for name, value in (("climbs", climbs), ("sequences", sequences)):
        if value < 0:
            raise UsageError(f"{name} must be at least 0, not {value}", where="jacobian")
    if radius is not None and not radius > 0:
        raise UsageError(f"a radius must be positive, not {radius}", where="jacobian")
    seed = generator.initial_seed() if generator is not None else 0
    meter = LayerMeter(probes, spectra=layers, seed=derive_seed(seed, "layers"))
    run = JacobianRun(
        subject, meter, top=top, layer_samples=layer_samples, climbs=climbs, sequences=sequences, seed=seed
    )
    stopwatch = Stopwatch()
    with stopwatch, subject.undisturbed(seed=seed):
        chosen = samples_of(subject, samples)
        with traced(subject) as tracer:
            for piece in chosen.pieces:
                run.see(tracer, piece)
            reach = radius if radius is not None else _RADIUS * run.input_size
            nearby, why_not = run.climbed(tracer, reach)
        bounds = run.bounds()
        stopwatch.count(forward=run.forward, backward=run.backward)
    found = run.spectrum()
    at_samples = float(found.values.max())
    left_out = [*subject.left_out, *run.left_out]
    if why_not:
        left_out.append(LeftOut("larger singular values nearby", why_not))
    if chosen.more:
        left_out.append(LeftOut("data", f"the samples after the first {chosen.n}"))
    if layer_samples < chosen.n:
        left_out.append(LeftOut("layers", f"layers were measured on the first {layer_samples} samples"))
    if not layers:
        left_out.append(LeftOut("layers", "changes were not followed from the input to the layers"))
    return Jacobian(
        subject=subject.name,
        left_out=tuple(left_out),
        cost=stopwatch.cost,
        layers=layer_rows(run, bounds),
        n_samples=chosen.n,
        n_inputs=run.n_inputs,
        n_outputs=run.n_outputs,
        respect_to="embeddings" if run.embedded else "inputs",
        singular_values=found.values.cpu().numpy(),
        singular_value_errors=found.errors.cpu().numpy(),
        frobenius=found.squares.cpu().numpy(),
        frobenius_stderr=found.squares_stderr.cpu().numpy(),
        is_complete=found.values.shape[1] == min(run.n_inputs, run.n_outputs),
        lipschitz_at_samples=at_samples,
        lipschitz_nearby=max(nearby, at_samples) if nearby is not None else None,
        n_climbs=min(climbs, chosen.n),
        radius=reach,
        lipschitz_bound=bounds.output.value,
        lipschitz_status=bounds.output.reason or "ok",
        recurrent=tuple(run.recurrent),
        n_layer_samples=min(layer_samples, chosen.n),
    )


def _fit(subject: Subject, effort: Keywords, operations: float) -> Keywords:
    work = forward_work(subject)
    assert subject.model is not None
    depth = sum(1 for name, module in subject.model.named_modules() if is_layer(name, module))
    top = effort.get("top")
    # A backward pass without weight gradients takes as much as a forward pass; one through a backward pass twice that.
    rows = work.outputs if top is None and work.outputs <= MOST_WRITTEN else 3 * 6 * (top or LEADING) + PROBES
    # Half of the network on average lies before a layer. Layers have half of the operations,
    to_layers = effort["layer_samples"] * work.operations * depth * 3 * MOST_PRODUCTS / 2
    asked = effort if to_layers <= operations / 2 else {**effort, "layers": False}
    # climbs an eighth and recurrent layers a quarter at most, and the outputs' Jacobians what these leave.
    left = operations / 2 - effort["layer_samples"] * work.operations * (2 + effort["probes"])
    beside = (("climbs", CLIMB_PASSES, operations / 8), ("sequences", recurrent_states(subject.model), operations / 4))
    for name, passes, most in beside:
        price = work.operations * passes
        asked = {**asked, name: int(min(effort[name], most / price)) if price else effort[name]}
        left -= asked[name] * price
    return affordable([asked], "samples", lambda _: work.operations * (2 + rows), left)


def _expected_cost(
    subject: Subject,
    *,
    samples: int = 64,
    top: int | None = None,
    layer_samples: int = 16,
    layers: bool = True,
    probes: int = 4,
    climbs: int = 4,
    sequences: int = 16,
) -> str:
    del subject, probes, sequences
    passes = "a backward pass per output" if top is None else f"products for {top} singular values"
    more = f", up to 120 for each layer over {layer_samples}" if layers else ""
    return f"{passes} over up to {samples:,} samples{more}" + (f", and {CLIMB_PASSES} over {climbs}" if climbs else "")


JACOBIAN = Instrument(
    name="jacobian",
    title="Jacobians and signal propagation",
    measure=jacobian,
    reading=Jacobian,
    needs=Needs.MODEL | Needs.DATA,
    formula=(
        "Singular values σ of J = ∂f(x)/∂x, in evaluation mode, at every sample; by the embeddings' outputs where "
        "inputs are whole numbers. χ of a layer: ‖J_l‖_F² / n of the block J_l from its input to the next layer's "
        "input of n numbers; and of J from the input x to the layer's output h: gain = ‖J‖_F² / dim h, sensitivity = "
        "√(‖J‖_F² / dim x)·‖x‖/‖h‖, the largest σ, isometry = (Σσ²)² / (k Σσ⁴). Intervals: Student's t over samples. "
        "Bound: the product of the layers' Lipschitz constants along the network's graph, sums of branches added. "
        "Lyapunov exponents: means of ln R_ii, Q R = J_t Q, J_t = ∂s_t/∂s_{t−1}. A problem where J is 0 at every "
        "sample and had not died out before; a warning where the sensitivity at the last layer with weights, with its "
        "interval, is below 1e-3 or above 100 and most of that is one layer's, a note where it is all layers': 1 keeps "
        "proportions."
    ),
    how_to_read=(
        "Above, what becomes of a small relative change of the input on its way: 1 keeps proportions, a steady fall or "
        "rise is a signal that vanishes or explodes; χ is the same for one layer alone, squared. Below, the singular "
        "values of the outputs' Jacobian: a flat curve is dynamical isometry, and the true Lipschitz constant lies "
        "between the largest that was found and the certified bound."
    ),
    source="saxe2014exact",
    expected_cost=_expected_cost,
    fit=_fit,
    efforts={
        "quick": {"samples": 64, "layer_samples": 8, "probes": 2, "climbs": 4, "sequences": 16},
        "standard": {"samples": 256, "layer_samples": 16, "probes": 4, "climbs": 4, "sequences": 16},
        "deep": {"samples": 1024, "layer_samples": 64, "probes": 8, "climbs": 4, "sequences": 16},
    },
    rows=("spectral-norm",),
    pinned_by="tests/instruments/test_jacobian.py::test_spectral_normalisation_bounds_every_layer_and_the_network",
    known=KNOWN,
)
