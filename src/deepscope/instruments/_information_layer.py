"""What one layer holds about the inputs and the labels."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit
from torch import Tensor

from deepscope.core import UsageError, derive_seed
from deepscope.instruments._information_variables import Variable
from deepscope.linalg import (
    InformationEstimate,
    binned,
    binned_information,
    ksg_information,
    label_information,
    renyi_information,
)

#: Fewer samples have no neighbours worth the name.
FEWEST = 12
#: Kernels of more samples than these take too long: a kernel's eigenvalues take n³ operations for each permutation.
RENYI_SAMPLES = 256
ESTIMATORS = ("binned", "ksg", "renyi")


@dataclass(frozen=True, kw_only=True)
class LayerInformation:
    """What one layer's output T holds about the inputs X and the labels Y of the samples.

    Attributes
    ----------
    name, kind
        The layer, and its class.
    features
        How many values it puts out for a sample.
    labels_binned, labels_ksg, labels_renyi
        I(T; Y) by counting bins, by nearest neighbours, and the matrix-based Rényi information, in bits; None where
        there are no labels or too few samples.
    inputs_binned, inputs_ksg, inputs_renyi
        I(X; T) likewise.
    inputs_truth
        What I(X; T) is, whatever estimators say.
    local_rank, local_rank_low, local_rank_high
        Mean over samples of the participation ratio of ∂T/∂x, and its 95 % interval over them.
    least, greatest
        The range that was cut into bins.
    constant
        Whether it puts out the same for all samples.
    status
        ``"ok"``, or what is to be said.
    """

    name: str
    kind: str
    features: int
    labels_binned: InformationEstimate | None = None
    labels_ksg: InformationEstimate | None = None
    labels_renyi: InformationEstimate | None = None
    inputs_binned: InformationEstimate | None = None
    inputs_ksg: InformationEstimate | None = None
    inputs_renyi: InformationEstimate | None = None
    inputs_truth: str = ""
    local_rank: float | None = None
    local_rank_low: float | None = None
    local_rank_high: float | None = None
    least: float | None = None
    greatest: float | None = None
    constant: bool = False
    status: str = "ok"

    def estimates(self, of: str) -> dict[str, InformationEstimate]:
        """Return the estimates that there are of ``"labels"`` or of ``"inputs"``, by estimator."""
        named = {each: getattr(self, f"{of}_{each}") for each in ESTIMATORS}
        return {name: found for name, found in named.items() if found is not None}


@dataclass(frozen=True)
class Settings:
    """How estimators are to work."""

    bins: int
    neighbours: int
    permutations: int
    seed: int


def layer_information(
    name: str,
    kind: str,
    rows: Tensor,
    features: int,
    inputs: Variable,
    labels: Variable,
    ranks: NDArray[np.float64] | None,
    settings: Settings,
) -> LayerInformation:
    """Measure a layer from its output, [samples, features], and the variables of the same samples."""
    rank = _interval(ranks)
    T = rows.double().cpu()
    if not bool(torch.isfinite(T).all()):
        return LayerInformation(name=name, kind=kind, features=features, status="its outputs are not finite")
    constant = len(T) > 1 and bool((T[:1] == T).all())
    estimates, reasons = _estimates(name, T, inputs, labels, settings)
    said: dict[str, list[str]] = {}
    for estimator, found in estimates.items():
        if found.status != "ok":
            said.setdefault(found.status, []).append(estimator)
    reasons += [f"{', '.join(names)} {status}" for status, names in said.items()]
    return LayerInformation(
        name=name,
        kind=kind,
        features=features,
        inputs_truth=_truth(inputs, constant, rank[0]),
        local_rank=rank[0],
        local_rank_low=rank[1],
        local_rank_high=rank[2],
        least=float(T.min()),
        greatest=float(T.max()),
        constant=constant,
        status="; ".join(reasons) or "ok",
        **estimates,
    )


def neighbour_information(
    points: Tensor | None, labels: Variable, settings: Settings, name: str
) -> InformationEstimate | None:
    """Estimate what inputs or outputs tell of the labels by nearest neighbours; None where it cannot be."""
    if points is None or labels.why or len(points) < FEWEST or not bool(torch.isfinite(points).all()):
        return None
    with suppress(UsageError):
        return _by_neighbours(points, labels, settings, _generator(settings, name))
    return None


def _estimates(
    name: str, T: Tensor, inputs: Variable, labels: Variable, settings: Settings
) -> tuple[dict[str, InformationEstimate], list[str]]:
    n = len(T)
    if n < FEWEST:
        return {}, [f"{n} different samples are too few"]
    codes = binned(T, settings.bins)
    found: dict[str, InformationEstimate] = {}
    reasons = []
    for of, variable in (("labels", labels), ("inputs", inputs)):
        if variable.why:
            reasons.append(f"{of}: {variable.why}")
            continue
        for estimator in ESTIMATORS:
            if (of, estimator) == ("inputs", "ksg") and variable.codes is not None:
                reasons.append("inputs_ksg: the inputs are discrete")
                continue
            rng = _generator(settings, name, of, estimator)
            try:
                found[f"{of}_{estimator}"] = _estimate(estimator, T, codes, variable, of, settings, rng)
            except UsageError as error:
                reasons.append(f"{of}_{estimator}: {error.what}")
    return found, reasons


def _estimate(
    estimator: str,
    T: Tensor,
    codes: NDArray[np.int64],
    variable: Variable,
    of: str,
    settings: Settings,
    rng: np.random.Generator,
) -> InformationEstimate:
    if estimator == "ksg":
        return _by_neighbours(T, variable, settings, rng)
    if estimator == "renyi":
        other = variable.codes if variable.points is None else variable.points
        assert other is not None
        few = _few(len(T), settings)
        return renyi_information(T[few], other[few], permutations=settings.permutations, rng=rng)
    names = variable.codes
    if names is None:
        assert variable.points is not None
        # All inputs differ, so that a layer's bins tell of them what they tell of themselves.
        names = np.arange(len(T)) if of == "inputs" else binned(variable.points, settings.bins)
    counted = binned_information(codes, names, permutations=settings.permutations, rng=rng)
    if len(np.unique(codes)) == len(T):
        return replace(counted, status="saturated: no two samples share their bins")
    if len(np.unique(names)) == len(T):
        return replace(counted, status=f"the entropy of its own bins: all {of} differ")
    return counted


def _few(n: int, settings: Settings) -> NDArray[np.intp]:
    """Return which samples kernels are made of, the same of every layer; at random, as data may come class by class."""
    return np.sort(_generator(settings, "kernel samples").permutation(n)[:RENYI_SAMPLES])


def _by_neighbours(T: Tensor, variable: Variable, settings: Settings, rng: np.random.Generator) -> InformationEstimate:
    k, permutations = settings.neighbours, settings.permutations
    if variable.codes is not None:
        return label_information(T, variable.codes, k, permutations=permutations, rng=rng)
    assert variable.points is not None
    return ksg_information(T, variable.points, k, permutations=permutations, rng=rng)


def _generator(settings: Settings, *names: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(settings.seed, *names))


def _truth(inputs: Variable, constant: bool, rank: float | None) -> str:
    if constant:
        return "0: it puts out the same for all samples"
    if inputs.why:
        return "unknown"
    if inputs.codes is not None:
        return "finite: at most the entropy of the inputs"
    if rank is None:
        return "infinite for continuous inputs, unless the layer is piecewise constant"
    return "infinite for continuous inputs" if rank > 0 else "finite: the layer is piecewise constant"


def _interval(ranks: NDArray[np.float64] | None) -> tuple[float | None, float | None, float | None]:
    if ranks is None or not len(ranks):
        return None, None, None
    mean = float(ranks.mean())
    if len(ranks) < 2:
        return mean, None, None
    half = float(stdtrit(len(ranks) - 1, 0.975)) * float(ranks.std(ddof=1)) / math.sqrt(len(ranks))
    return mean, max(0.0, mean - half), mean + half
