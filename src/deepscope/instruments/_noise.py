"""The noise of a network's gradients, from sample to sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepscope.core import Instrument, LeftOut, Needs, Stopwatch, UsageError
from deepscope.instruments._affordable import Keywords, affordable
from deepscope.instruments._noise_curvature import weigh
from deepscope.instruments._noise_known import KNOWN
from deepscope.instruments._noise_pass import GradientSums, gather
from deepscope.instruments._noise_reading import LayerNoise, Noise
from deepscope.instruments._noise_statistics import SignalNoise, signal_noise
from deepscope.subject import PerSampleGradients, Subject, check_mean_over_terms, forward_work, layer_of, n_batches
from deepscope.subject import per_sample_gradients as measured_gradients

__all__ = ["NOISE", "Noise", "noise"]

Floats = NDArray[np.float64]


def noise(
    subject: Subject, *, generator: torch.Generator | None = None, max_samples: int | None = 1024, probes: int = 8
) -> Noise:
    """Measure how much the gradient differs from sample to sample, and so how large a batch is worth its cost.

    With l_i the loss of sample i, a mean over its own c_i terms, the gradient of the mean loss over all terms is
    ḡ = Σ c_i ∇l_i / Σ c_i. The gradient noise scale is tr Σ / |g|² (``mccandlish2018empirical``): Σ is the covariance
    of one sample's contribution, c_i (∇l_i − ḡ) / c̄, with c̄ the mean of c_i, and |g|² is the unbiased estimate
    ‖ḡ‖² − tr Σ / n. In a batch of that many samples signal and noise are of one size: smaller batches need almost as
    many more steps, larger ones hardly fewer. Weighed with the Hessian H of the mean loss it is tr(HΣ) / gᵀHg.

    Parameters
    ----------
    subject
        A model with data and a loss.
    generator
        Draws the random probes; its initial seed seeds what is random in the model's evaluation mode.
    max_samples
        The first so many samples are run; None for all data.
    probes
        Random vectors behind tr(HΣ); with fewer than two the curvature is not weighed in.

    Returns
    -------
    Noise
        With the columns ``name, kind, parameters, gradient_norm, noise, signal_to_noise, signal_to_noise_low,
        signal_to_noise_high, share, status``; ``per_sample_norms`` of shape [n].

    Raises
    ------
    UsageError
        ``max_samples`` or ``probes`` is out of range.
    MeasurementError
        There is no model, no data, no loss or nothing to train; the loss is not a mean over its terms, or not finite
        at some sample; outputs are random or depend on the other samples of a batch.

    Notes
    -----
    No sample's gradient is written out where its layer's inputs and output gradients tell its norm
    (``goodfellow2015efficient``); see ``deepscope.subject.per_sample_gradients``. The model runs in evaluation mode.
    Intervals are Fieller's (``fieller1954some``) with the jackknife's variances over samples, which are never too small
    in expectation (``efron1981jackknife``): they hold 95 %, and more where the mean gradient is drowned in noise. They
    hold for independent samples.
    Cost: one forward and one backward pass per sample, and a second of each for samples whose layer inputs and output
    gradients do not fit into 512 MiB; with probes, one more gradient and two per probe. Memory: one batch of at most
    128 samples, what is kept, and a copy of the gradient for each probe.

    Examples
    --------
    >>> x = torch.tensor([[1.0], [3.0], [1.0], [3.0]])
    >>> subject = Subject(torch.nn.Linear(1, 1, bias=False), [(x, None)], lambda outputs, targets: outputs.mean())
    >>> reading = noise(subject)
    >>> reading.per_sample_norms.tolist(), round(reading.noise_scale, 4)
    ([1.0, 3.0, 1.0, 3.0], 0.3636)
    """
    subject.require(Needs.MODEL | Needs.DATA | Needs.LOSS, "noise")
    if max_samples is not None and max_samples < 1:
        raise UsageError(f"max_samples must be at least 1, not {max_samples}", where="noise")
    if probes < 0:
        raise UsageError(f"probes must not be negative, not {probes}", where="noise")
    seed = generator.initial_seed() if generator is not None else 0
    stopwatch = Stopwatch()
    with stopwatch, subject.undisturbed(seed=seed), measured_gradients(subject) as gradients:
        for batch in subject.batches(2):
            check_mean_over_terms(subject, batch)
        sums = gather(gradients, max_samples, probes, torch.Generator().manual_seed(seed))
        weighed = weigh(gradients, sums, max_samples)
        extra = sums.n_batches if weighed.n_probes else 0
        stopwatch.count(forward=sums.passes + extra, backward=sums.passes + extra * (2 * weighed.n_probes + 3))
    contributions = _Contributions(sums)
    whole = contributions.of(list(sums.mean))
    share, sample = contributions.largest()
    ends = whole.noise_scale_interval() if whole is not None else (None, None)
    return Noise(
        subject=subject.name,
        left_out=tuple(_left_out(subject, gradients, sums, weighed.status)),
        cost=stopwatch.cost,
        layers=tuple(_layers(subject, gradients, contributions, whole)),
        per_sample_norms=contributions.norms(),
        terms=sums.terms,
        loss=sums.loss,
        gradient_norm=contributions.mean_square(list(sums.mean)) ** 0.5,
        signal=whole.signal if whole is not None else None,
        noise=whole.noise if whole is not None else None,
        noise_scale=whole.noise_scale if whole is not None else None,
        noise_scale_low=ends[0],
        noise_scale_high=ends[1],
        largest_share=share,
        largest_sample=sample,
        curvature=weighed,
        batch_size=sums.batch_size,
        status=_status(whole),
    )


class _Contributions:
    """What each sample adds to the mean gradient: u_i = ḡ + r_i, whose mean is ḡ and whose covariance is Σ."""

    def __init__(self, sums: GradientSums) -> None:
        self.sums = sums
        self._average = float(sums.terms.mean())
        # Where a sample has more terms than the average, ḡ is taken off as often as it has.
        self._rest = 1 - sums.terms / self._average

    def mean_square(self, names: Sequence[str]) -> float:
        """Return ‖ḡ‖² over some parameters."""
        return float(sum(float(self.sums.mean[name].double().square().sum()) for name in names))

    def of(self, names: Sequence[str]) -> SignalNoise | None:
        """Estimate signal and noise over some parameters."""
        return signal_noise(*self._products(names))

    def _products(self, names: Sequence[str]) -> tuple[Floats, Floats]:
        n, mean = self.sums.n, self.mean_square(names)
        squares = sum((self.sums.squares[name] for name in names), np.zeros(n)) / self._average**2
        products = sum((self.sums.products[name] for name in names), np.zeros(n)) / self._average
        own = squares + 2 * self._rest * products + self._rest**2 * mean
        return own, products + self._rest * mean

    def norms(self) -> Floats:
        """Return ‖∇l_i‖ of each sample's own loss; 0 where it has no terms."""
        terms = self.sums.terms
        squares = sum(self.sums.squares.values(), np.zeros(self.sums.n))
        return np.asarray(np.sqrt(squares) / np.where(terms > 0, terms, 1.0), np.float64)

    def largest(self) -> tuple[float | None, int | None]:
        """Return the largest share of Σ ‖r_i‖² that one sample has, and which."""
        names = list(self.sums.mean)
        own, with_mean = self._products(names)
        apart = own - 2 * with_mean + self.mean_square(names)
        if self.sums.n < 2 or not apart.sum() > 0:
            return None, None
        sample = int(apart.argmax())
        return float(apart[sample] / apart.sum()), sample


def _layers(
    subject: Subject, gradients: PerSampleGradients, contributions: _Contributions, whole: SignalNoise | None
) -> Iterator[LayerNoise]:
    modules: dict[str, Any] = dict(subject.model.named_modules()) if subject.model is not None else {}
    groups: dict[str, list[str]] = {}
    for name in gradients.parameters:
        groups.setdefault(layer_of(name), []).append(name)
    for layer, names in groups.items():
        reached = [name for name in names if name in contributions.sums.mean]
        found = contributions.of(reached)
        ends = found.signal_to_noise_interval() if found is not None and found.noise > 0 else (None, None)
        said = [gradients.written_out[name] for name in names if name in gradients.written_out]
        said += [] if reached else ["the loss does not depend on it"]
        yield LayerNoise(
            name=layer,
            kind=type(modules.get(layer, subject.model)).__name__,
            parameters=sum(gradients.parameters[name].numel() for name in names),
            gradient_norm=contributions.mean_square(reached) ** 0.5,
            noise=found.noise**0.5 if found is not None else None,
            signal_to_noise=found.signal_to_noise if found is not None else None,
            signal_to_noise_low=ends[0],
            signal_to_noise_high=ends[1],
            share=found.noise / whole.noise if found is not None and whole is not None and whole.noise > 0 else None,
            status="; ".join(dict.fromkeys(said)) or "ok",
        )


def _status(whole: SignalNoise | None) -> str:
    if whole is None:
        return "one sample has no noise"
    return "ok" if whole.signal > 0 else "the mean gradient cannot be told from 0"


def _left_out(subject: Subject, gradients: PerSampleGradients, sums: GradientSums, curved: str) -> Iterator[LeftOut]:
    assert subject.model is not None
    for name, parameter in subject.model.named_parameters():
        if name not in gradients.parameters and subject.selects(name):
            yield LeftOut(name, "not floating-point" if parameter.requires_grad else "frozen (requires_grad=False)")
    yield from subject.left_out
    if curved != "ok":
        yield LeftOut("curvature", curved)
    if sums.is_cut or (n_batches(subject.data) or 0) > sums.n_batches:
        yield LeftOut("data", f"the samples after the first {sums.n}")


def _fit(subject: Subject, effort: Keywords, operations: float) -> Keywords:
    gradient = 3 * forward_work(subject).operations
    fewer = {**effort, "probes": min(effort["probes"], 4)}
    return affordable([effort, fewer], "max_samples", lambda each: _gradients(each["probes"]) * gradient, operations)


def _gradients(probes: int) -> int:
    return 2 * probes + 3


def _expected_cost(subject: Subject, *, max_samples: int | None = 1024, probes: int = 8) -> str:
    del subject
    samples = "all samples" if max_samples is None else f"up to {max_samples:,} samples"
    return f"about {_gradients(probes)} gradients over {samples}"


NOISE = Instrument(
    name="noise",
    title="Gradient noise",
    measure=noise,
    reading=Noise,
    needs=Needs.MODEL | Needs.DATA | Needs.LOSS,
    formula=(
        "With ∇l_i the gradient of sample i's own loss, a mean over c_i terms, ḡ = Σ c_i ∇l_i / Σ c_i and "
        "r_i = c_i (∇l_i − ḡ) / c̄: tr Σ = Σ ‖r_i‖² / (n − 1), |g|² = ‖ḡ‖² − tr Σ / n, noise scale tr Σ / |g|² in "
        "samples; signal to noise of a layer |g|² / tr Σ over its parameters. Intervals: Fieller's, 95 %, with "
        "jackknife variances over samples. Weighed with the Hessian: tr(HΣ) / gᵀHg, the trace by random sums of the "
        "r_i. A warning where one of at least 16 samples has half of Σ ‖r_i‖²; notes where batches are four times "
        "below or above the whole interval."
    ),
    how_to_read=(
        "Above, each layer's signal-to-noise ratio for one sample with its 95 % interval, and the level at which a "
        "batch as it is now has as much signal as noise: layers below it learn from noise. Below, the gradient norms "
        "of single samples; where they lie far above the norm of their mean, samples pull in different directions."
    ),
    source="mccandlish2018empirical",
    expected_cost=_expected_cost,
    fit=_fit,
    efforts={
        "quick": {"max_samples": 256, "probes": 4},
        "standard": {"max_samples": 1024, "probes": 8},
        "deep": {"max_samples": None, "probes": 32},
    },
    pinned_by="tests/instruments/test_noise.py::test_norms_are_those_of_each_sample_alone",
    known=KNOWN,
)
