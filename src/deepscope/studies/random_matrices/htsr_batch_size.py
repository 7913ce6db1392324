"""Smaller batches lower the tail exponent; whether that is the way from random-like to heavy-tailed is another matter.

The claim (``martin2021implicit``): the spectra of a network's weight matrices lie in one of five phases, from
random-like over bulk and spikes to heavy-tailed, and the batch size alone takes a small network through them all. There
the first fully connected layer of a small AlexNet on CIFAR-10 has no spikes from batches of 250 on, some 50 among 384
eigenvalues at 4 (the authors' notebooks), and at 2 a spectrum that no Marchenko–Pastur law fits.

Done here: a network 64-256-256-10 on 1,200 handwritten digits, by stochastic gradient descent at a constant rate of
0.1, with batches of 2, 4, 8, 16, 64 and 256, each until its loss over the training set, looked at every 50 steps, is at
most 0.01. So no batch size is trained less than another: a layer that has not moved is random-like without any claim.
The two hidden matrices, 256 × 64 and square, are measured by the spectrum instrument: exponent α of the power-law tail
(start of the tail by the KS distance), goodness of fit, spikes, MP soft rank (the bulk's edge over the largest
eigenvalue) and phase. Numbers are the mean of the two, one per seed; networks of one seed start from the same weights
and see the same digits.

Criteria, and what would score without the effect. An untrained network, for all batch sizes: 0, 0 and 0 on the first
three, no heavy tail, and a soft rank of 1.

* α, batches of 64 and 256 (their mean) minus 2: above 0.5. MP soft rank, the same: above 0.1.
* α per doubling of the batch, from 4 to 16: above 0. The list takes 2 to 16; with 2 in it, the slope repeats the first
  criterion. Spearman's correlation would be near 1 for a steady drift of 0.01.
* These are **passed by noise with spikes that grow**, without any heavy tail. Hence, in each of the two layers, more
  than half of the networks are heavy-tailed at a batch of 2, in the instrument's sense: the eigenvalues below the
  spikes are not those of noise, the tail is a power law by the goodness of fit (p ≥ 0.1), no other law is likelier, and
  α with its whole interval is below that of noise. Noise with spikes: 0. In matrices of these shapes whose entries have
  no variance (``belinschi2009spectral``) the eigenvalues below the spikes are twice as far from noise as the test
  allows, and farther where one power law holds for all.
* At a batch of 256 the soft rank is above 1/1.2: random-like, or bleeding out, which is what the claim starts from.
  Spikes beyond 1.2 times the edge, the third phase: less.

Controls:

* The rate grows in proportion to the batch, to the same loss: rate over batch is 1/160, batches of 2, 8 and 64, or
  1/20, batches of 4 and 8, beside 2 at the constant rate, which has that ratio. The change of α, 64 or 8 minus 2, is
  at most half of that at the constant rate; the seed's absolute value is taken, so that scatter counts against it. One
  ratio alone would not do: at the smaller one nothing falls, which could be for want of noise. This says that the ratio
  acts, not the batch size.
* The trained entries in random places: at a batch of 2 more than 0.8 of the matrices have the spectrum of noise (0.989
  of noise, by the levels of the tests, and less where the mean entry is not 0, which shuffling keeps; of the trained
  layers none), and the soft rank changes by less than 0.05, half of what is asked. Their α says little: that of noise
  scatters between 3 and 20.
* **Noise with the same spikes**: each layer with its spikes kept, in number, size and direction, and all the rest drawn
  anew. Less than a tenth are heavy-tailed at a batch of 2: what is called so is no matter of spikes alone.
* The untrained network: its soft rank is within 0.1 of 1.

What was mended. The list calls a layer heavy-tailed where p > 0.1 and α < 4. So is nearly every layer here, at every
batch size, and so is noise with the same spikes, which fits a power law as well and whose α is that of the layers: the
means over seeds differ by less than 0.05 at each batch size (seeds from 1000). The exponent and its goodness of fit say
nothing beyond the number and the sizes of the spikes. What tells a heavy tail from them is the rest of the spectrum,
which the instrument's phase asks for.

The start of the weights is not in the list. It is the source's, Gaussian of the variance of
``glorot2010understanding``. It matters: α falls by about 0.75 from there, and by 0.4 from torch's default, whose square
layer starts with a third of the variance (seeds from 1000). The latter is shown at both ends. The list's row starts
from bulk and spikes, which is what is found; the source starts from random-like, and so does the claim. At a rate of
0.02 nothing depends on the batch from 8 up. Test accuracy is shown; in the source it rises towards small batches, and
falls at 2.

The instrument once compared the eigenvalues below k spikes with the law of the whole matrix, and not of one that lacks
k rows and columns. By that measure noise with nine spikes was bulk-decay, and noise with the first layer's spikes
heavy-tailed: the stand-in showed it. The thresholds are those of before; the seeds are others.

Left out: larger layers, in which the same spikes stay inside the bulk, so that the start of the claim may hold.
``full`` takes MNIST and layers of 512.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, Value, per_seed
from deepscope.data import Dataset, Samples, load
from deepscope.studies.random_matrices._htsr_figure import BATCHES, LAYERS, draw
from deepscope.studies.random_matrices._layer_spectra import is_noise, noise_with_spikes, spectra
from deepscope.studies.random_matrices._random_matrices import Floats, shuffled
from deepscope.studies.random_matrices._trained_to_loss import network, train_to_loss
from deepscope.training import evaluate

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

COUNTS = ("width", "n_train", "batch_size", "check_every", "max_steps", "draws")
#: The bulk's edge over the largest eigenvalue where spikes still bleed out of the bulk, as in the instrument's phases.
BLEEDING_OUT = 1 / 1.2
BOTH = "mean of both layers"


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train one network to the loss and return the spectra of its hidden layers, and of what stands in for them.

    Returns
    -------
    dict
        ``steps`` (None where the loss was not reached), ``loss``, ``test_accuracy``. For the layers ``first`` and
        ``square``: ``…_alpha``, ``…_soft_rank``, ``…_fit_p_value``, ``…_spikes``, ``…_stable_rank``, ``…_phase``,
        ``…_heavy`` (1 or 0), ``…_moved`` (the change of the weights over the initial ones, Frobenius) and
        ``…_eigenvalues``; ``alpha`` and ``soft_rank``, the mean of both. The same of other matrices:
        ``untrained_alpha``, ``untrained_soft_rank``; means over draws for shuffled entries: ``shuffled_alpha``,
        ``shuffled_soft_rank``, ``shuffled_noise``, the share whose spectrum is that of noise; for noise with the same
        spikes: ``noise_alpha``, ``noise_soft_rank``, ``…_noise_heavy``, the share that is heavy-tailed, and of one
        draw ``…_noise_eigenvalues``.
    """
    for name in COUNTS:
        count = case[name]
        if not isinstance(count, int) or count < 1:
            raise UsageError(f"this is {count}", where=name, todo="Give a whole number of at least 1.")
    data, generator = load(case.data), run.generator
    samples = _subset(data, case.n_train, generator)
    model = network(data, case, generator)
    initial = _hidden(model)
    course = train_to_loss(model, samples, data, case, run)
    accuracy = evaluate(model, data.test.batches(1000)).accuracy
    trained, rng = _hidden(model.cpu()), np.random.default_rng(run.seed)
    return {
        **course,
        "test_accuracy": accuracy,
        **_trained(trained, initial, case, run),
        **_means("untrained", [spectra(initial, bootstrap=0, seed=run.seed)]),
        **_shuffled(trained, case, rng),
        **_noise(trained, case, rng),
    }


def _subset(data: Dataset, count: int, generator: torch.Generator) -> Samples:
    if count > len(data.train):
        raise UsageError(f"there are only {len(data.train)} samples", where="n_train", todo="Give fewer.")
    chosen = torch.randperm(len(data.train), generator=generator)[:count]
    return Samples(data.train.inputs[chosen], data.train.targets[chosen])


def _hidden(model: Any) -> dict[str, Floats]:
    layers = zip(LAYERS, (model.hidden1, model.hidden2), strict=True)
    return {name: layer.weight.detach().cpu().double().numpy().copy() for name, layer in layers}


def _trained(trained: dict[str, Floats], initial: dict[str, Floats], case: Case, run: TrialRun) -> dict[str, Any]:
    seen = spectra(trained, bootstrap=case.bootstrap, seed=run.seed)
    found: dict[str, Any] = _means("", [seen])
    for name, row in seen.items():
        start = initial[name]
        found |= {
            f"{name}_alpha": row.alpha,
            f"{name}_soft_rank": row.mp_soft_rank,
            f"{name}_fit_p_value": row.fit_p_value,
            f"{name}_spikes": row.n_spikes,
            f"{name}_stable_rank": row.stable_rank,
            f"{name}_phase": row.phase,
            f"{name}_heavy": float(row.phase == "heavy-tailed"),
            f"{name}_moved": float(np.linalg.norm(trained[name] - start) / np.linalg.norm(start)),
            f"{name}_eigenvalues": _eigenvalues(trained[name]),
        }
    return found


def _shuffled(trained: dict[str, Floats], case: Case, rng: np.random.Generator) -> dict[str, Any]:
    made = [{name: shuffled(matrix, rng) for name, matrix in trained.items()} for _ in range(case.draws)]
    drawn = [spectra(each, bootstrap=0, seed=index) for index, each in enumerate(made)]
    noise = [is_noise(each) for seen in drawn for each in seen.values()]
    return {**_means("shuffled", drawn), "shuffled_noise": float(np.mean(noise))}


def _noise(trained: dict[str, Floats], case: Case, rng: np.random.Generator) -> dict[str, Any]:
    made = [{name: noise_with_spikes(matrix, rng) for name, matrix in trained.items()} for _ in range(case.draws)]
    drawn = [spectra(each, bootstrap=case.bootstrap, seed=index) for index, each in enumerate(made)]
    found: dict[str, Any] = _means("noise", drawn)
    for name in trained:
        found[f"{name}_noise_heavy"] = float(np.mean([seen[name].phase == "heavy-tailed" for seen in drawn]))
        found[f"{name}_noise_eigenvalues"] = _eigenvalues(made[0][name])
    return found


def _eigenvalues(matrix: Floats) -> Floats:
    return np.linalg.svd(matrix, compute_uv=False).astype(np.float64)[::-1] ** 2


def _means(prefix: str, drawn: list[dict[str, Any]]) -> dict[str, float | None]:
    """Return the mean α and soft rank over draws and layers; None where one of them has none."""
    rows, start = [each for seen in drawn for each in seen.values()], f"{prefix}_" if prefix else ""
    numbers = {"alpha": [each.alpha for each in rows], "soft_rank": [each.mp_soft_rank for each in rows]}
    return {f"{start}{name}": None if None in them else float(np.mean(them)) for name, them in numbers.items()}


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the fall of exponent and soft rank, both ends of the way, and the controls."""
    return [
        Criterion.effect(f"tail exponent α, batches of 64 and 256 minus 2 ({BOTH})", _fall(trials, "alpha"), above=0.5),
        Criterion.effect(
            f"MP soft rank, batches of 64 and 256 minus 2 ({BOTH})",
            _fall(trials, "soft_rank"),
            above=0.1,
            published="rises with the batch size (a small AlexNet, CIFAR-10)",
        ),
        Criterion.effect(
            f"tail exponent α per doubling of the batch, from 4 to 16 ({BOTH})", _slope(trials), above=0.0
        ),
        *(
            Criterion.effect(
                f"batches of 2: share of networks whose {label} is heavy-tailed",
                _at(trials, f"{layer}_heavy", 2),
                above=0.5,
                published="heavy-tailed (a small AlexNet, CIFAR-10)",
            )
            for layer, label in LAYERS.items()
        ),
        Criterion.effect(
            f"batches of 256: MP soft rank (random-like or bleeding out above 1/1.2; {BOTH})",
            _at(trials, "soft_rank", 256),
            above=BLEEDING_OUT,
            published="random-like, from 250 on (a small AlexNet, CIFAR-10)",
        ),
        *_controls(trials),
    ]


def _controls(trials: pd.DataFrame) -> list[Criterion]:
    half = _fall(trials, "alpha") / 2
    return [
        *(
            Criterion.effect(
                f"rate / batch kept at {ratio}: half the fall of α at the constant rate minus the change of α, "
                f"batches of {large} minus 2",
                half - (_at(trials, "alpha", large, rate=rate) - small).abs(),
                above=0.0,
                control=True,
            )
            for rate, ratio, large, small in (
                ("low ratio", "1/160", 64, _at(trials, "alpha", 2, rate="low ratio")),
                ("high ratio", "1/20", 8, _at(trials, "alpha", 2)),
            )
        ),
        Criterion.effect(
            "shuffled entries, batches of 2: share of matrices whose spectrum is that of noise",
            _at(trials, "shuffled_noise", 2),
            above=0.8,
            control=True,
        ),
        Criterion.effect(
            f"shuffled entries: MP soft rank, batches of 64 and 256 minus 2 ({BOTH})",
            _fall(trials, "shuffled_soft_rank"),
            within=0.05,
            control=True,
        ),
        Criterion.effect(
            f"noise with the same spikes, batches of 2: share that is heavy-tailed ({BOTH})",
            (_at(trials, "first_noise_heavy", 2) + _at(trials, "square_noise_heavy", 2)) / 2,
            below=0.1,
            control=True,
        ),
        Criterion.effect(
            f"untrained network: MP soft rank ({BOTH})",
            _at(trials, "untrained_soft_rank", 2),
            within=0.1,
            target=1.0,
            control=True,
        ),
    ]


def _at(trials: pd.DataFrame, column: str, batch: int, rate: str = "constant") -> Numbers:
    """Return a number by seed; none where the network did not reach the loss."""
    case: dict[str, Value] = {"start": "glorot", "rate": rate, "batch_size": batch}
    return per_seed(trials, column, **case).where(per_seed(trials, "steps", **case).notna())


def _fall(trials: pd.DataFrame, column: str) -> Numbers:
    return (_at(trials, column, 64) + _at(trials, column, 256)) / 2 - _at(trials, column, 2)


def _slope(trials: pd.DataFrame) -> Numbers:
    """Return the least-squares slope of α over log₂ of 4, 8 and 16: half of the last minus the first."""
    middle = _at(trials, "alpha", 8)
    return (_at(trials, "alpha", 16) - _at(trials, "alpha", 4)).where(middle.notna()) / 2


def _grid(seeds: int | range, constant: float, **settings: Value) -> Grid:
    """Return all conditions; the ratios of rate to batch are those of the constant rate at batches of 16 and of 2."""
    found = Grid(seeds=seeds, batch_size=BATCHES, learning_rate=constant, **settings)
    for rate, same_at, batches in (("low ratio", 16, (2, 8, 64)), ("high ratio", 2, (4, 8))):
        for batch in batches:
            found += Grid(
                seeds=seeds, rate=rate, batch_size=batch, learning_rate=constant * batch / same_at, **settings
            )
    return found + Grid(seeds=seeds, start="torch", batch_size=(2, 256), learning_rate=constant, **settings)


STUDY = Study(
    claim="Decreasing the batch size alone takes the spectra of a network's layers from random-like to heavy-tailed.",
    source="martin2021implicit",
    topics=("random matrices",),
    rows=("htsr",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(
            1, 0.1, width=24, n_train=64, target_loss=2.2, check_every=5, max_steps=60, bootstrap=40, draws=1
        ),
        "quick": _grid(range(100, 108), 0.1),
        "full": _grid(
            range(100, 108), 0.02, data="mnist", width=512, n_train=10_000, check_every=500, max_steps=2_000_000
        ),
    },
    defaults={
        "data": "digits",
        "n_train": 1200,
        "width": 256,
        "start": "glorot",
        "rate": "constant",
        "target_loss": 0.01,
        "check_every": 50,
        "max_steps": 40_000,
        "bootstrap": 200,
        "draws": 10,
    },
    protocol=(
        "The claim in full: The spectra of trained weight matrices lie in one of five phases, from random-like over a "
        "random bulk with spikes to heavy-tailed, and decreasing the batch size alone takes a small network through "
        "them.\n\n"
        "Networks with two hidden layers of 256 units learn 1,200 handwritten digits by stochastic gradient descent at "
        "a constant rate, with batches of 2 to 256, all to the same training loss. The spectra of the two hidden "
        "matrices are compared: the exponent α of the power law that fits their largest eigenvalues, small for a heavy "
        "tail; the MP soft rank, which is the edge of the random bulk over the largest eigenvalue, 1 for a random "
        "matrix; and the phase. Controls: the same with a learning rate in proportion to the batch, the trained "
        "entries in random places, and the untrained network. Beside each layer stands noise with the same spikes "
        "(large eigenvalues): a matrix whose spikes are kept and whose rest is drawn anew."
    ),
    caption=(
        "Points: means over seeds with 95 % intervals. Top, by batch size: the exponent, smaller for a heavier tail, "
        "and the edge of the random bulk over the largest eigenvalue; above the dashed line a layer is random-like, or "
        "its spikes bleed out of the bulk. At a constant ratio of rate to batch (orange, green) the batch size changes "
        "little; grey: from torch's smaller initial weights. Rings: noise with the same spikes, a matrix whose spikes "
        "are kept and whose rest is drawn anew. Middle: the number of spikes, and the phases that the instrument sees; "
        "last row: those of noise with the spikes of a batch of 2. Bottom left: dots are eigenvalues, lines those of "
        "noise with the same spikes; a power law is a straight line."
    ),
    timeout=6 * 3600.0,
)
