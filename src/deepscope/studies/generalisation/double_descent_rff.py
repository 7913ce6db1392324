"""Double descent in random-feature regression.

The claim (Belkin, Hsu, Ma & Mandal 2019): as a least-squares fit is given more features N, its test risk falls, rises
to a peak where N reaches the number n of training samples, and falls again, to below the classical optimum.

Done here: random Fourier features cos(wᵀx + b) of images, one-hot targets without an intercept, and of the best fits
the one whose coefficients have the least norm. One real cosine is one feature, so that N counts real parameters. Within
a trial the features are nested: those of a smaller N are the first ones of a larger. The bandwidth is half the median
distance of training images; on MNIST this is about 5, the paper's reported value. A seed draws the training images (of
the dataset's training part) and the features; the test part is the same for all seeds, so that an interval speaks of
these two draws and not of new digits. Beside it, a Gaussian design of n = 100 samples with known coefficients,
|a| = 1, and noise σ = 0.5, for which the expected excess risk of the least-norm fit is known at every p:
σ² p/(n − p − 1) below n and σ² n/(p − n − 1) + (1 − n/p) |a|² above.

Criteria, and what a fit that always answers 0 scores (its risk is 1 at every N):

* The peaks of risk and of norm lie within a factor 1.25 of n. The absolute value of log(N/n) is averaged, so that
  misses on either side do not cancel. No fit: log 100, the first N.
* Risk at N = 0.95 n is at least 3 times the final one. At N = n itself the risk has the heavy tail of 1/λ_min over
  draws; it decides nothing but the place of the peak. No fit: 1 time.
* The final risk is at least a tenth below the first minimum, the least risk at any N < n. The minimum of a noisy curve
  is biased low, against the claim; the final N is fixed. A margin is needed, for without a fit the two are equal.
* The threshold of interpolation is at n. What an interpolating fit leaves is rounding, (ε κ)² with κ the condition
  number of ΦΦᵀ; 1e-12, a millionth of the targets, has room for κ up to 4e9. The training risk is below it from 1.05 n
  on and above it at 0.95 n, where about a twentieth of what the features cannot explain is left. No fit: 1.
* Gaussian design: the largest |log(measured/theory)| over p is at most 0.1. "Within three standard errors", as the
  criterion was first put, is met by any fit that is noisy enough. Judged are p at least a factor 1.2 from n; nearer,
  the risk of a draw is heavy-tailed. No fit: log 16, at p = 0.2 n.

Controls. Ridge, with the penalty of least leave-one-out error on the training set, has no peak (risk at N = n over the
geometric mean of that at n/2 and 2n at most 1.2). Without noise the Gaussian design, which is well specified, has no
peak below n: the coefficients are found up to rounding. Ridge could have no peak for having learnt nothing: that at
N = n its risk is below the first minimum of the fit without a penalty is a criterion of its own. It speaks of
competence, not of an effect that must be absent.

At full scale (MNIST, n = 10,000, N up to 200,000) a trial takes 13 eigendecompositions of matrices of 10,000 × 10,000,
about 100 n³ operations besides, and about 10 GB. Cut off, it resumes after the last N that was finished.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed, write_atomically
from deepscope.data import Samples, load
from deepscope.studies.generalisation._double_descent_figure import draw
from deepscope.studies.generalisation._fourier_features import nested_designs
from deepscope.studies.generalisation._gaussian_design import NOISE, excess_risk, expected_excess_risk
from deepscope.studies.generalisation._least_squares import Factors, Floats, loo_penalty, solve

if TYPE_CHECKING:
    import pandas as pd

#: N/n of the Fourier features: even steps of the logarithm, closer ones around the threshold.
RATIOS = (
    *(0.01, 0.02, 0.04, 0.07, 0.1, 0.16, 0.25, 0.35, 0.5, 0.63),
    *(0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25),
    *(1.6, 2.0, 3.0, 5.0, 10.0, 20.0),
)
#: p/n of the Gaussian design.
GAUSSIAN_RATIOS = (0.2, 0.4, 0.6, 0.8, 0.95, 1.05, 1.25, 1.5, 2.0, 4.0, 8.0)
#: Penalties of ridge, in units of the trace of ΦΦᵀ over n.
PENALTIES = tuple(10.0 ** (step / 2) for step in range(-16, 7))
#: A peak within this factor of n is at n.
WINDOW = 1.25
ROUNDING = 1e-12


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the curves of one design over its number of features."""
    if case.design == "fourier":
        return _fourier(case, run)
    if case.design not in NOISE:
        raise UsageError("unknown design", where=case.design, todo=nearest(case.design, ["fourier", *NOISE]))
    rng = np.random.default_rng(run.seed)
    n, noise = case.n_gaussian, NOISE[case.design]
    sizes = [round(ratio * n) for ratio in GAUSSIAN_RATIOS]
    return {
        "ratio": np.array(sizes) / n,
        "excess": np.array([np.mean([excess_risk(n, p, noise, rng) for _ in range(case.draws)]) for p in sizes]),
        "theory": np.array([expected_excess_risk(n, p, noise) for p in sizes]),
    }


def _fourier(case: Case, run: TrialRun) -> dict[str, Any]:
    data, n = load(case.data), case.n_train
    if n > len(data.train):
        todo = f"Set n_train to at most {len(data.train)}."
        raise UsageError(f"{n} training samples are asked for", where=case.data, todo=todo)
    rng = np.random.default_rng(run.seed)
    train, labels = _arrays(data.train, rng.choice(len(data.train), n, replace=False))
    test, test_labels = _arrays(data.test)
    bandwidth = _median_distance(train[:1000]) / 2
    sizes = sorted({max(1, round(ratio * n)) for ratio in RATIOS})
    done = _finished(run)
    for size, factors in nested_designs(train, test, sizes, bandwidth=bandwidth, rng=rng, skip=set(done)):
        done[size] = _measured(factors, np.eye(len(data.classes)), labels, test_labels)
        _keep(run, done)
        run.progress(len(done) / len(sizes))
    curves = {name: np.array([done[size][name] for size in sizes]) for name in done[sizes[0]]}
    return {"ratio": np.array(sizes) / n, "bandwidth": bandwidth, **curves}


def _arrays(samples: Samples, chosen: Any = slice(None)) -> tuple[Floats, Any]:
    return samples.inputs[chosen].flatten(1).double().numpy(), samples.targets[chosen].numpy()


def _median_distance(inputs: Floats) -> float:
    from scipy.spatial.distance import pdist

    return float(np.median(pdist(inputs)))


def _measured(factors: Factors, one_hot: Floats, labels: Any, test_labels: Any) -> dict[str, float]:
    targets, test_targets = one_hot[labels], one_hot[test_labels]
    unit = float(factors.eigenvalues.sum()) / len(labels)
    penalty = loo_penalty(factors, targets, [unit * each for each in PENALTIES])
    found = {"rank": len(factors.eigenvalues), "ridge_penalty": penalty / unit}
    for prefix, fit in (("", solve(factors, targets)), ("ridge_", solve(factors, targets, penalty))):
        found[f"{prefix}risk"] = _risk(fit.test, test_targets)
        found[f"{prefix}train_risk"] = _risk(fit.train, targets)
        found[f"{prefix}error"] = float(np.mean(fit.test.argmax(axis=1) != test_labels))
        found[f"{prefix}norm"] = fit.norm
    return found


def _risk(predictions: Floats, targets: Floats) -> float:
    return float(np.mean(np.sum((predictions - targets) ** 2, axis=1)))


def _finished(run: TrialRun) -> dict[int, dict[str, float]]:
    """Return what an interrupted trial has measured, by number of features."""
    if not run.checkpoint.exists():
        return {}
    return {int(size): found for size, found in json.loads(run.checkpoint.read_text(encoding="utf-8")).items()}


def _keep(run: TrialRun, done: dict[int, dict[str, float]]) -> None:
    # JSON writes a float64 so that it is read back exactly.
    write_atomically(run.checkpoint, json.dumps(done))


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the peak, the second descent, the theory and the controls."""
    first = _fold(trials, lambda ratio, risk: np.log(risk[ratio < 1].min()), "risk")
    final = _fold(trials, lambda ratio, risk: np.log(risk[-1]), "risk")
    ridge = {ratio: _fold(trials, _log_at(ratio), "ridge_risk") for ratio in (0.5, 1.0, 2.0)}
    return [
        Criterion.effect(
            "peak of the test risk, |log(N/n)| (below log 1.25)",
            _fold(trials, _miss, "risk"),
            below=math.log(WINDOW),
            published="0 (MNIST, n = 10,000)",
        ),
        Criterion.effect(
            "peak of the coefficients' norm, |log(N/n)| (below log 1.25)",
            _fold(trials, _miss, "norm"),
            below=math.log(WINDOW),
            published="0 (MNIST, n = 10,000)",
        ),
        Criterion.effect(
            "log test risk, at N = 0.95 n minus final (above log 3)",
            _fold(trials, _log_at(0.95), "risk") - final,
            above=math.log(3),
        ),
        Criterion.effect(
            "log test risk, final minus first minimum (below log 0.9)",
            final - first,
            below=math.log(0.9),
            published="below 0",
        ),
        Criterion.exact(
            "training risk, largest from N = 1.05 n on",
            _fold(trials, lambda ratio, risk: risk[ratio >= 1.05].max(), "train_risk"),
            below=ROUNDING,
            published="0 from N = n on",
        ),
        Criterion.exact("training risk at N = 0.95 n", _fold(trials, _at(0.95), "train_risk"), above=ROUNDING),
        Criterion.effect(
            "Gaussian design, largest |log(excess risk / theory)|",
            _fold(trials, _deviation, "excess", "theory", design="gaussian"),
            below=0.1,
            published="0 (theorem)",
        ),
        Criterion.effect(
            "ridge: log test risk, at N = n minus mean of n/2 and 2n (below log 1.2)",
            ridge[1.0] - (ridge[0.5] + ridge[2.0]) / 2,
            below=math.log(1.2),
            control=True,
        ),
        Criterion.effect(
            "ridge: log test risk, at N = n minus first minimum without ridge", ridge[1.0] - first, below=0.0
        ),
        Criterion.exact(
            "Gaussian design without noise, largest excess risk at p < n",
            _fold(trials, lambda ratio, excess: excess[ratio < 1].max(), "excess", design="noiseless"),
            below=ROUNDING,
            published="0 (theorem)",
            control=True,
        ),
    ]


def _fold(trials: pd.DataFrame, summary: Callable[..., Any], *columns: str, design: str = "fourier") -> pd.Series[Any]:
    """Reduce the curves of each seed to one number, ``summary(ratio, *curves)``."""
    import pandas as pd

    curves = [per_seed(trials, name, design=design) for name in ("ratio", *columns)]
    numbers = [float(summary(*row)) for row in zip(*curves, strict=True)]
    return pd.Series(numbers, index=curves[0].index, dtype=float)


def _at(place: float) -> Callable[[Floats, Floats], Any]:
    return lambda ratio, values: values[np.argmin(np.abs(ratio - place))]


def _log_at(place: float) -> Callable[[Floats, Floats], Any]:
    return lambda ratio, values: np.log(_at(place)(ratio, values))


def _miss(ratio: Floats, values: Floats) -> float:
    return abs(math.log(ratio[np.argmax(values)]))


def _deviation(ratio: Floats, excess: Floats, theory: Floats) -> Any:
    far = np.abs(np.log(ratio)) > math.log(1.2)
    return np.max(np.abs(np.log(excess[far] / theory[far])))


STUDY = Study(
    claim=(
        "Test risk peaks where there are as many random features as samples, and descends again to below the "
        "classical optimum."
    ),
    source="belkin2019reconciling",
    topics=("generalisation",),
    rows=("double-descent-belkin",),
    protocol=(
        "Least-norm least squares of one-hot targets on nested random Fourier features of images, in float64, from "
        "N = n/100 to 20 n features; bandwidth: half the median distance of the training images. A seed draws the "
        "training images and the features. Beside it ridge on the same features, its penalty chosen by leave-one-out, "
        "and a Gaussian design whose expected excess risk is known, with and without noise."
    ),
    caption=(
        "Lines with bands: means over seeds with their 95 % intervals, geometric but for the error. Dashed: as many "
        "features as samples, where the peak is reported. Dotted: the first minimum, the lowest risk with fewer "
        "features than samples. At the bottom right points with bars are measured means with their 95 % intervals, and "
        "the lines are the theory."
    ),
    trial=trial,
    judge=judge,
    draw=draw,
    defaults={"design": "fourier", "data": "digits", "n_train": 1000, "n_gaussian": 100, "draws": 200},
    scales={
        "smoke": Grid(seeds=1, design="fourier", n_train=100)
        + Grid(seeds=1, design=["gaussian", "noiseless"], n_gaussian=40, draws=4),
        "quick": Grid(seeds=10, design=["fourier", "gaussian"]) + Grid(seeds=10, design="noiseless", draws=10),
        "full": Grid(seeds=5, design="fourier", data="mnist", n_train=10_000)
        + Grid(seeds=20, design="gaussian", draws=1000)
        + Grid(seeds=20, design="noiseless", draws=10),
    },
    timeout=24 * 3600.0,
)
