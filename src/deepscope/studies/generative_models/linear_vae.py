"""The linear variational autoencoder finds probabilistic PCA; a unit collapses where its eigenvalue is below the noise.

The claims. ``lucas2019don``: x = W z + μ + σ ε with a linear encoder; the maximum of the evidence lower bound (ELBO)
over encoder and decoder is the likelihood of probabilistic PCA (``tipping1999probabilistic``), and no local maximum
keeps from it. What of the code collapses onto the prior are the units whose eigenvalue of the data's covariance is
below σ²: it is the model's doing, not that of the bound. ``burda2016importance``: with k draws under the logarithm the
bound rises with k, towards ln p; where the encoder is exact there is nothing to gain.

Done here. *Exact*: data are a covariance of 20 known eigenvalues, 8 to 0.1, and random axes; codes of 10 units; the
bound is computed in closed form in float64 and raised by 4,000 steps of Adam, from 0.1 on along half a cosine; σ² is
learned, or held at 0.2, 0.9, 2, 5 or 9. *Drawn*: the same with 256 new samples in each step and one draw of z of each,
σ² learned, from a rate of 0.03. *Images*: ``VAE`` with one hidden layer of 64 units and a code of 8 learns handwritten
digits, each pixel black or white, in 60 epochs. Bounds with 1, 5 and 50 draws on 500 samples, or the test images. A
seed draws axes, weights and samples.

Criteria, and what doing nothing would score. A collapsed model is the best whose code says nothing.

* Log-likelihood, σ² learned and from 0.2 to 5: short of probabilistic PCA's by at most 0.001 nat, or 0.001 of what the
  collapsed model falls short by where that is more than 1 nat. Untrained: 0.5 nat (σ² = 5) to 40; collapsed: 0.07
  (σ² = 5, where 0.1 nat would be no test) to 57.
* The space of the decoder columns of active units is that of as many leading axes, within 0.01 radians. Untrained: 1.5.
* Active units (KL above 0.01 nat) are as many as eigenvalues above σ², 10 at most: 10, 10, 8, 5 and 2. Untrained: 10.
* Each unit's KL is ½ ln(λ/σ²) of its eigenvalue, within 0.05 nat, less than half of what neighbours differ by. Columns
  that point anywhere in their space have the same likelihood, and other divergences.
* σ² learned: the mean of the 10 eigenvalues left out, within 1 %. Untrained: four times that.
* Drawn: short by less than 0.1 nat, with all 10 units active. Collapsed: 8 nats.
* Untrained linear models: ln p exceeds the bound with 50 draws, that the one with 5, and that the ELBO. At the optimum
  all three are ln p within 0.01 nat, in the worst case: the order alone holds of any encoder and shows nothing learned.
* Images: bounds with 5 draws exceed the ELBO, those with 50 those with 5; and the ELBO exceeds by 2 nats what pixels
  that are independent would give, which is what a collapsed code is worth.

Controls. σ² = 9 is above all eigenvalues: no unit is active, and the likelihood is that of probabilistic PCA by
collapse. Without the divergence (β = 0, σ² = 5, where 2 units would be active) all 10 directions are used, the least
with a singular value above 0.1, and their space is that of PCA within 0.01 radians: it is the divergence against this
noise that collapses units, not the encoder or Adam.

What came out at ``quick``: all of it. The shortfall was 4e-7 at most, units' KL within 3e-4 nat of theory; with samples
and codes drawn the likelihood was 0.003 nat short.

Mended. The angle is that of the space, not of single columns: these turn to the axes by a force of second order in how
much eigenvalues differ, and on seeds from 1000 on were up to 0.2 radians off after 4,000 steps where the likelihood was
within 0.0004 nat (0.6, with eigenvalues a fifth apart instead of a third). The list's count of active units is
sharpened to their KL. Pixels are made black or white, as the Bernoulli likelihood of grey ones is none. Rates and sizes
stem from seeds 1000 to 1003. At ``full``: MNIST, also with a code that is given the label (``sohn2015learning``), and
20,000 steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.generative_models._gaussian_data import SPECTRUM
from deepscope.studies.generative_models._image_bounds import train_on_images
from deepscope.studies.generative_models._linear_vae_figure import draw
from deepscope.studies.generative_models._linear_vae_trials import train_by_draws, train_exactly

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

PARTS: dict[str, Callable[[Case, TrialRun], dict[str, Any]]] = {
    "exact": train_exactly,
    "drawn": train_by_draws,
    "images": train_on_images,
}
#: Noise variances, 0 where it is learned; and the one above all eigenvalues.
LEARNED, VARIANCES, ABOVE = 0.0, (0.0, 0.2, 0.9, 2.0, 5.0), 9.0
#: Nats, or a part of what the collapsed model falls short by; radians.
SHORT, ANGLE = 1e-3, 1e-2
ZERO = "theory: 0"
COUNTS = ("steps", "batch_size", "n_test", "hidden", "code", "images_per_step", "epochs")


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what one part of the study finds."""
    if case.part not in PARTS:
        raise UsageError("the study has no such part", where=str(case.part), todo=nearest(str(case.part), PARTS))
    for name, most in (("latent", len(SPECTRUM) - 1), *((name, 10**9) for name in COUNTS)):
        value = case[name]
        if not isinstance(value, int) or not 1 <= value <= most:
            raise UsageError(f"it is {value!r}", where=name, todo=f"Give a whole number from 1 to {most}.")
    return PARTS[case.part](case, run)


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the optimum, the collapse, the bounds, and the controls."""
    return [*_optimum(trials), *_drawn(trials), *_bounds(trials), *_images(trials), *_controls(trials)]


def _optimum(trials: pd.DataFrame) -> list[Criterion]:
    noise = _exact(trials, "noise", LEARNED) / _exact(trials, "best_noise", LEARNED) - 1
    return [
        Criterion.exact(
            "short of probabilistic PCA, nats, or as part of what a collapsed model falls short by",
            _judged(trials, lambda variance: _shortfall(trials, variance)),
            below=SHORT,
            published=ZERO,
        ),
        Criterion.exact(
            "active units' decoder columns: angle of their space to the leading axes, radians",
            _judged(trials, lambda variance: _exact(trials, "angle", variance)),
            below=ANGLE,
            published=ZERO,
        ),
        Criterion.exact(
            "active units minus eigenvalues above σ², at most 10",
            _judged(trials, lambda variance: _exact(trials, "active", variance) - _exact(trials, "above", variance)),
            within=0,
            published=ZERO,
        ),
        Criterion.exact(
            "KL of a unit minus ½ ln(λ/σ²) of its eigenvalue, nats",
            _judged(
                trials,
                lambda variance: _exact(trials, "divergences", variance) - _exact(trials, "best_divergences", variance),
            ),
            within=0.05,
            published=ZERO,
        ),
        Criterion.exact(
            "σ² learned, over the mean of the eigenvalues left out, minus 1", noise, within=0.01, published=ZERO
        ),
    ]


def _drawn(trials: pd.DataFrame) -> list[Criterion]:
    gap, active, above = (per_seed(trials, name, part="drawn", variance=LEARNED) for name in ("gap", "active", "above"))
    return [
        Criterion.effect("samples and codes drawn: short of probabilistic PCA, nats", gap, below=0.1, published=ZERO),
        Criterion.exact("samples and codes drawn: active units minus 10", active - above, within=0, published=ZERO),
    ]


def _bounds(trials: pd.DataFrame) -> list[Criterion]:
    """Judge bounds with 1, 5 and 50 draws, of linear models, less ln p."""
    untrained, optimum = (_exact(trials, name, LEARNED) for name in ("untrained_bounds", "bounds"))
    return [
        *(
            Criterion.effect(f"linear model, untrained: {name}, nats", untrained.map(rise).astype(float), above=0.0)
            for name, rise in RISES.items()
        ),
        Criterion.effect(
            "linear model, untrained: ln p minus the bound with 50 draws, nats",
            -untrained.map(lambda bounds: bounds[2]).astype(float),
            above=0.0,
        ),
        Criterion.exact(
            "linear model, optimum: ELBO, bounds with 5 and 50 draws, minus ln p, nats",
            optimum,
            within=0.01,
            published=ZERO,
        ),
    ]


def _images(trials: pd.DataFrame) -> list[Criterion]:
    return [
        each
        for conditional, name in ((False, "images"), (True, "images given their label"))
        if not conditional or not per_seed(trials, "bounds", part="images", conditional=True).empty
        for each in _image_model(trials, conditional, name)
    ]


def _image_model(trials: pd.DataFrame, conditional: bool, name: str) -> list[Criterion]:
    bounds, independent = (
        per_seed(trials, column, part="images", conditional=conditional) for column in ("bounds", "independent")
    )
    return [
        *(
            Criterion.effect(f"{name}: {text}, nats", bounds.map(rise).astype(float), above=0.0)
            for text, rise in RISES.items()
        ),
        Criterion.effect(
            f"{name}: ELBO minus ln p of independent pixels, nats",
            bounds.map(lambda found: found[0]).astype(float) - independent,
            above=2.0,
        ),
    ]


def _controls(trials: pd.DataFrame) -> list[Criterion]:
    without = {name: _exact(trials, name, 5.0, weight=0.0) for name in ("least_direction", "leading_angle")}
    return [
        Criterion.exact(
            "σ² above all eigenvalues: active units",
            _exact(trials, "active", ABOVE),
            within=0,
            published=ZERO,
            control=True,
        ),
        Criterion.exact(
            "σ² above all eigenvalues: short of probabilistic PCA, nats",
            _exact(trials, "gap", ABOVE),
            below=SHORT,
            published=ZERO,
            control=True,
        ),
        Criterion.exact(
            "without the divergence, σ² = 5: least of 10 directions used, singular value",
            without["least_direction"],
            above=0.1,
            control=True,
        ),
        Criterion.exact(
            "without the divergence, σ² = 5: angle of their space to the 10 leading axes, radians",
            without["leading_angle"],
            below=ANGLE,
            published=ZERO,
            control=True,
        ),
    ]


#: What the bounds with 1, 5 and 50 draws are compared by.
RISES: dict[str, Callable[[Any], float]] = {
    "bound with 5 draws minus ELBO": lambda bounds: bounds[1] - bounds[0],
    "bound with 50 draws minus that with 5": lambda bounds: bounds[2] - bounds[1],
}


def _exact(trials: pd.DataFrame, column: str, variance: float, weight: float = 1.0) -> Numbers:
    return per_seed(trials, column, part="exact", variance=variance, weight=weight)


def _judged(trials: pd.DataFrame, numbers: Callable[[float], Numbers]) -> Numbers:
    """Return numbers of all noise variances that are judged, by seed; nothing where one is missing."""
    import pandas as pd

    seeds = sorted(set(trials["seed"]))
    return pd.concat([numbers(variance).reindex(seeds) for variance in VARIANCES])


def _shortfall(trials: pd.DataFrame, variance: float) -> Numbers:
    """Return the gap in nats, or as part of the collapsed model's where that is more than 1 nat."""
    return _exact(trials, "gap", variance) / _exact(trials, "collapsed_gap", variance).clip(lower=1.0)


def _grid(seeds: Iterable[int], **settings: Any) -> Grid:
    seeds = tuple(seeds)
    return (
        Grid(seeds=seeds, part="exact", variance=[*VARIANCES, ABOVE], **settings)
        + Grid(seeds=seeds, part="exact", variance=5.0, weight=0.0, **settings)
        + Grid(seeds=seeds, part="drawn", learning_rate=0.03, **settings)
        + Grid(seeds=seeds, part="images", learning_rate=0.003, **settings)
    )


STUDY = Study(
    claim="The linear VAE finds probabilistic PCA; a unit of its code collapses if its eigenvalue is below the noise.",
    source="lucas2019don",
    topics=("generative models",),
    rows=("vae",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(range(1), steps=10, n_test=5, batch_size=4, hidden=4, epochs=1, images_per_step=500)
        + Grid(seeds=1, part="images", conditional=True, hidden=4, epochs=1, images_per_step=500),
        "quick": _grid(range(100, 105)),
        "full": _grid(range(100, 110), steps=20_000, data="mnist", hidden=500, code=20, epochs=50)
        + Grid(
            seeds=range(100, 110),
            part="images",
            conditional=True,
            learning_rate=0.003,
            data="mnist",
            steps=20_000,
            hidden=500,
            code=20,
            epochs=50,
        ),
    },
    defaults={
        "variance": LEARNED,
        "weight": 1.0,
        "latent": 10,
        "steps": 4000,
        "learning_rate": 0.1,
        "batch_size": 256,
        "n_test": 500,
        "data": "digits",
        "conditional": False,
        "hidden": 64,
        "code": 8,
        "images_per_step": 64,
        "epochs": 60,
    },
    protocol=(
        "The claim in full: At the maximum of the evidence lower bound (ELBO) a linear variational autoencoder has the "
        "likelihood and the axes of probabilistic PCA; the units of its code that collapse are those whose eigenvalue "
        "of the data's covariance is below the noise variance σ²; and bounds with more draws under the logarithm rise "
        "to ln p.\n\n"
        "Data of 20 known eigenvalues; a linear model with a code of 10 units is trained by Adam on the exact ELBO, "
        "with σ² learned or fixed at five values, and once on drawn samples and codes. Its log-likelihood, the space "
        "of its active units and the KL of each are compared with closed forms. Bounds with 1, 5 and 50 draws are "
        "compared with ln p before training and at the optimum, and with one another for a nonlinear model of "
        "handwritten digits, pixels black or white. Controls: σ² above all eigenvalues, where all units must collapse; "
        "and training without the divergence of the code from its prior, where none may."
    ),
    caption=(
        "Top left: KL of each unit from its prior at the optimum of the exact bound, all seeds; one marker for each "
        "σ², 0.2 (circles) to 9 (triangles down). Top right: how many units are active, of 10; crosses: σ² learned, "
        "with the exact bound and with drawn samples; open: trained without the divergence. Bottom: means over seeds "
        "with 95 % intervals. Left: bounds of a linear model with σ² learned, against its exact log-likelihood. Right: "
        "bounds of a nonlinear model on test images; dashed: pixels that are independent."
    ),
)
