"""Random weights follow the Marchenko–Pastur law; training adds spikes that shuffling the entries destroys.

The claim (``marchenko1967distribution``; of networks ``martin2021implicit``): the eigenvalues of WᵀW of a matrix with
independent entries of mean 0 and variance σ² fill the bulk σ²(√rows ∓ √cols)², whatever the entries' distribution.
Training adds eigenvalues above it, spikes, that hold what was learned and that random shuffling of W's entries undoes.

Done here: fresh matrices of the shapes of the two hidden layers of a network 64-512-512-10, and that network, without
biases, trained on digits by stochastic gradient descent. σ² is fitted through the median eigenvalue
(``gavish2014optimal``), which spikes hardly move. A spike lies above the 99 % quantile of a random matrix's largest
eigenvalue (Tracy–Widom in ``johnstone2001distribution``'s scaling, from the bulk's edge). What training does is judged
on the square layer; of the first, the figure shows the count. Weights start with the variance of
``glorot2010understanding``. Training (momentum 0.9, batches of 32, rate 0.05, 20 epochs) ends where all training digits
are right.

KS distances are given as multiples of the null's limit: what 99 % of Gaussian matrices of this shape stay below, from
500 of them that no trial sees. It is about 0.010 at 512 × 512, where the eigenvalues' repulsion keeps the distance of
the order ln s / s, s the smaller side (s independent draws of the law itself would be 0.87/√s = 0.038 away), and about
0.053 at 512 × 64. The mean of Gaussian matrices is two thirds of it. The bound of 0.02 at 512 × 512 that one finds is
twice the limit.

Criteria, and what would score without the effect (where "worse" or "fewer" is said, of Gaussian and uniform starts):

* Gaussian matrices: the log–log slope of the KS distance over the side, 128 to 1024, is below −½, that of independent
  draws; ln s / s gives −0.83. A law that does not hold: 0. The limit alone would only compare Gaussian matrices with
  themselves.
* Fresh matrices of both shapes, and the network's own initial matrix: below the limit, the worse.
* Spikes per fresh matrix, mean of both shapes, for each distribution: below 0.05, the null band. The quantile is passed
  in 1 % of cases if σ² is known; the median's own error of 0.7 %, against 1.2 % of the largest eigenvalue's, makes it
  2 % at 512 × 512 (0.017 in 4,000 Gaussian matrices, which are not judged; 0.012 at 512 × 64).
* Student t, 3 degrees of freedom: the slope is below −¼. The variance is finite, and the law holds in the limit; but of
  n² entries about n² · n^(−3/2) = √n stick out of the bulk, a share n^(−1/2), and the distance falls no faster. A law
  that does not hold: slope 0; ¼ lies half-way.
* After training the training accuracy is at least 0.99, and training has added more than 5 spikes, the fewer. A layer
  that is not trained: 0. Of 10 classes' gradients about 9 or 10 directions are to be expected; 5 is half.
* With shuffled entries: below 0.05 spikes per matrix; the KS distance is below the limit, the worse, and below that of
  the matrix as trained. The latter holds wherever there are more than 5 spikes: k of them alone are k/512.
* In that layer, the spikes alone lose less than 0.02 of the test accuracy, and all but the spikes lose more than 0.44,
  half of what there is above guessing. A random matrix, whose spikes are none: 0.88 and 0.
* That the spikes *hold what was learned* needs more: **the initial weights of this layer nearly keep the accuracy**, as
  hidden layers of random weights pass on what the others have learned. Two layers of the same rank that hold less of
  what this one learned are hence put in its place: the *initial* weights on the spikes' own input directions, which
  tells learned weights from well chosen inputs; and the trained weights on the principal directions of the inputs,
  which know no label. The spikes' test cross-entropy is at least a tenth below both, in the less favourable start.
  Outputs are scaled to their best multiple, so that size does not count. A layer that never learned, W₀ + 3 W₀P with P
  the projector on the inputs' ten principal directions, has ten spikes, all the accuracy in them and none in the
  rest. Frozen during training or put in after it, it scores at most 0.1 on one of the two (seeds from 1000, from
  which the tenth stems).

Controls. Student t entries with 1.5 degrees of freedom have no variance and another limit (``belinschi2009spectral``):
their KS distance exceeds the limit, and its slope over the side exceeds −¼. The trained matrix exceeds it as well. As
many random input directions as there are spikes, kept alone, lose at least 0.3 of the accuracy: were they to keep it,
keeping it would say nothing of the spikes.

What was mended. KS ≤ 0.02 at 512 × 512 was also asked of t with 3 degrees of freedom, where the √n entries that stick
out are alone a share of 0.04; its approach is judged instead. Its infinite fourth moment moves the largest eigenvalue
out of the bulk without any training, so that its spikes are not counted. The overlap of the spikes' input directions
with the class means of the layer's inputs is shown, not judged: for random directions it is 10/512, but the inputs'
principal directions, which no label has touched, overlap as well. How far a part moves the network's outputs is not
judged either: the largest terms of any matrix, learned or not, move them little.

How many spikes are *seen* depends on the initial scale: an update direction leaves the bulk only if its singular value
exceeds σ√N (``baik2005phase``, ``benaychgeorges2012singular``). The network from twice the variance (``he2015delving``)
is shown, not judged. Shuffling keeps the mean entry, which would itself be a spike beyond |mean| = σ/√N. Left out:
heavy-tailed spectra of large trained networks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.data import load
from deepscope.studies.random_matrices._mp_null_figure import draw
from deepscope.studies.random_matrices._random_matrices import compare, draw_entries, gaussian_null
from deepscope.studies.random_matrices._trained_layer import train

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

SMALLEST = 128
STARTS = {"normal": "Gaussian", "uniform": "uniform"}
COUNTS = ("width", "draws", "null_draws", "shuffles", "epochs", "batch_size")
#: Spikes per random matrix.
NULL_BAND = 0.05
#: Log–log slopes of the KS distance: that of independent draws; half-way from a law that holds to one that does not.
INDEPENDENT = -0.5
HALFWAY = -0.25
MULTIPLE = "KS distance, as a multiple of what 99 % of Gaussian matrices stay below"
SLOPE = "log–log slope of the KS distance over the side of the matrix"


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the comparison of fresh matrices with the law, over sizes or of a network's layers, or train."""
    for name in COUNTS:
        count = case[name]
        if not isinstance(count, int) or count < 1:
            raise UsageError(f"this is {count}", where=name, todo="Give a whole number of at least 1.")
    if case.part == "train":
        return train(case, run)
    if case.part == "sizes":
        return _sizes(case, np.random.default_rng(run.seed))
    if case.part == "fresh":
        return _fresh(case, run)
    raise UsageError("unknown part", where=case.part, todo=nearest(case.part, ["fresh", "sizes", "train"]))


def _sizes(case: Case, rng: np.random.Generator) -> dict[str, Any]:
    doublings = (case.largest // SMALLEST).bit_length() - 1
    if doublings < 1 or case.largest != SMALLEST * 2**doublings:
        raise UsageError(f"this is {case.largest}", where="largest", todo=f"Give {SMALLEST} · 2, 4, 8, ….")
    sizes = [SMALLEST * 2**k for k in range(doublings + 1)]
    distances = [compare(draw_entries(case.entries, (n, n), rng)).distance for n in sizes]
    return {"size": np.array(sizes), "distance": np.array(distances)}


def _fresh(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return ``…_distance``, the mean over the Gaussian null's limit, and ``…_spikes``, the mean count, by layer."""
    rng, found = np.random.default_rng(run.seed), {}
    for name, cols in (("square", case.width), ("first", load(case.data).train.inputs[0].numel())):
        limit = run.shared(gaussian_null, rows=case.width, cols=cols, draws=case.null_draws)["distance"]
        drawn = [compare(draw_entries(case.entries, (case.width, cols), rng)) for _ in range(case.draws)]
        found[f"{name}_distance"] = float(np.mean([each.distance for each in drawn])) / limit
        found[f"{name}_spikes"] = float(np.mean([each.n_spikes for each in drawn]))
    return found


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge fresh matrices, what training adds, and what the additions hold."""
    return [*_law(trials), *_beyond(trials), *_training(trials), *_shuffling(trials), *_content(trials)]


def _law(trials: pd.DataFrame) -> list[Criterion]:
    spikes = (_table(trials, "square_spikes", part="fresh") + _table(trials, "first_spikes", part="fresh")) / 2
    return [
        Criterion.effect(f"Gaussian entries: {SLOPE}", _slope(trials, "normal"), below=INDEPENDENT),
        Criterion.effect(
            f"fresh square matrices (worse of Gaussian and uniform entries): {MULTIPLE}",
            _largest(_table(trials, "square_distance", part="fresh")),
            below=1.0,
        ),
        Criterion.effect(
            f"fresh matrices shaped like the first layer (worse of Gaussian and uniform entries): {MULTIPLE}",
            _largest(_table(trials, "first_distance", part="fresh")),
            below=1.0,
        ),
        *(
            Criterion.effect(
                f"spikes per fresh matrix of {label} entries (mean of both shapes)",
                spikes[entries],
                below=NULL_BAND,
                published="theory: 0.01 if the variance is known",
            )
            for entries, label in STARTS.items()
        ),
        Criterion.effect(
            f"Student t entries, 3 degrees of freedom: {SLOPE}",
            _slope(trials, "t3"),
            below=HALFWAY,
            published="theory: about −½",
        ),
    ]


def _beyond(trials: pd.DataFrame) -> list[Criterion]:
    """Judge entries without variance, which must not follow the law."""
    return [
        Criterion.effect(
            f"square matrices of entries without variance (Student t, 1.5 degrees of freedom): {MULTIPLE}",
            per_seed(trials, "square_distance", part="fresh", entries="t1.5"),
            above=1.0,
            published="theory: another law",
            control=True,
        ),
        Criterion.effect(
            f"entries without variance: {SLOPE}",
            _slope(trials, "t1.5"),
            above=HALFWAY,
            published="theory: 0",
            control=True,
        ),
    ]


def _training(trials: pd.DataFrame) -> list[Criterion]:
    spikes = _trained(trials, "spikes")
    return [
        Criterion.effect(
            f"square layer before training (worse of both starts): {MULTIPLE}",
            _largest(_trained(trials, "initial_distance")),
            below=1.0,
        ),
        Criterion.exact(
            "training accuracy (lower of both starts)",
            _smallest(_trained(trials, "train_accuracy")),
            above=0.99,
        ),
        Criterion.effect(
            "spikes that training adds to the square layer (fewer of both starts)",
            _smallest(spikes.map(_last) - spikes.map(_first)),
            above=5.0,
        ),
        Criterion.effect(
            f"square layer after training (smaller of both starts): {MULTIPLE}",
            _smallest(_trained(trials, "trained_distance")),
            above=1.0,
            control=True,
        ),
    ]


def _shuffling(trials: pd.DataFrame) -> list[Criterion]:
    distance = _trained(trials, "shuffled_distance")
    return [
        Criterion.effect(
            "spikes per matrix of the trained layer's shuffled entries (mean of both starts)",
            _mean(_trained(trials, "shuffled_spikes")),
            below=NULL_BAND,
        ),
        Criterion.effect(
            f"trained layer with shuffled entries (worse of both starts): {MULTIPLE}",
            _largest(distance),
            below=1.0,
        ),
        Criterion.effect(
            "KS distance that shuffling the trained layer takes away, in the same multiples (smaller of both starts)",
            _smallest(_trained(trials, "trained_distance") - distance),
            above=0.0,
        ),
    ]


def _content(trials: pd.DataFrame) -> list[Criterion]:
    whole, spikes = _trained(trials, "accuracy_whole"), _trained(trials, "cross_entropy_spikes")
    return [
        Criterion.effect(
            "test accuracy lost when the square layer keeps its spikes alone (more of both starts)",
            _largest(whole - _trained(trials, "accuracy_spikes")),
            below=0.02,
        ),
        Criterion.effect(
            "test accuracy lost when it keeps all but the spikes (less of both starts)",
            _smallest(whole - _trained(trials, "accuracy_rest")),
            above=0.44,
        ),
        Criterion.effect(
            "share by which the spikes' test cross-entropy is below that of the initial weights on the same inputs",
            _smallest(1 - spikes / _trained(trials, "cross_entropy_unlearned")),
            above=0.1,
        ),
        Criterion.effect(
            "share by which the spikes' test cross-entropy is below that of the inputs' principal directions",
            _smallest(1 - spikes / _trained(trials, "cross_entropy_principal")),
            above=0.1,
        ),
        Criterion.effect(
            "test accuracy lost when as many random input directions are kept (less of both starts)",
            _smallest(whole - _trained(trials, "accuracy_random")),
            above=0.3,
            control=True,
        ),
    ]


def _table(trials: pd.DataFrame, column: str, **case: Any) -> pd.DataFrame:
    """Return a number by seed and start; a seed that lacks a start has a gap there."""
    import pandas as pd

    return pd.DataFrame({entries: per_seed(trials, column, entries=entries, **case) for entries in STARTS})


def _trained(trials: pd.DataFrame, column: str) -> pd.DataFrame:
    return _table(trials, column, part="train", variance="glorot")


def _last(curve: Any) -> float:
    return float(np.atleast_1d(curve)[-1])


def _first(curve: Any) -> float:
    return float(np.atleast_1d(curve)[0])


def _largest(table: pd.DataFrame) -> Numbers:
    return table.max(axis=1, skipna=False)


def _smallest(table: pd.DataFrame) -> Numbers:
    return table.min(axis=1, skipna=False)


def _mean(table: pd.DataFrame) -> Numbers:
    return table.mean(axis=1, skipna=False)


def _slope(trials: pd.DataFrame, entries: str) -> Numbers:
    sizes, distances = (per_seed(trials, name, part="sizes", entries=entries) for name in ("size", "distance"))
    return sizes.combine(distances, lambda n, ks: float(np.polyfit(np.log(n), np.log(ks), 1)[0])).astype(float)


def _grid(seeds: int | Iterable[int], **settings: Any) -> Grid:
    return (
        Grid(seeds=seeds, part="fresh", entries=[*STARTS, "t1.5"], **settings)
        + Grid(seeds=seeds, part="sizes", entries=["normal", "t3", "t1.5"], **settings)
        + Grid(seeds=seeds, part="train", entries=list(STARTS), **settings)
        + Grid(seeds=seeds, part="train", entries="normal", variance="he", **settings)
    )


STUDY = Study(
    claim=(
        "Random weights follow the Marchenko–Pastur law; training adds a few large eigenvalues that shuffling the "
        "entries destroys."
    ),
    source="marchenko1967distribution",
    topics=("random matrices",),
    rows=("mp-null",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(1, width=64, largest=256, draws=2, null_draws=20, epochs=2, shuffles=1, learning_rate=0.2),
        "quick": _grid(range(100, 110)),
        "full": _grid(range(100, 110), data="mnist", largest=4096, learning_rate=0.01, epochs=10),
    },
    defaults={
        "data": "digits",
        "width": 512,
        "variance": "glorot",
        "draws": 40,
        "null_draws": 500,
        "largest": 1024,
        "shuffles": 10,
        "learning_rate": 0.05,
        "batch_size": 32,
        "epochs": 20,
    },
    protocol=(
        "The claim in full: The eigenvalues of random weight matrices follow the Marchenko–Pastur law; training adds "
        "a few large ones, spikes, which hold what was learned and which vanish when the matrix entries are shuffled."
        "\n\n"
        "Matrices with independent random entries, of the shapes of a network's two hidden layers, are compared with "
        "the Marchenko–Pastur law, which says how the eigenvalues of WᵀW of a random matrix W are spread: by the "
        "largest gap between the two distribution functions (the KS distance), in multiples of what 99 % of Gaussian "
        "matrices stay below; and by counting spikes, eigenvalues above what the largest of a random matrix exceeds "
        "in 1 % of cases. Then a network with two hidden layers of equal width is trained on handwritten digits by "
        "stochastic gradient descent. Its square layer, from hidden layer to hidden layer, is compared before "
        "training, after it, and with its trained entries in random places. The network is tested with the spikes "
        "alone in that layer and with all but the spikes. Keeping the accuracy is weak evidence: the random weights "
        "with which this layer started reach nearly the same accuracy, as the other layers have learned too. So the "
        "spikes must also beat two layers of their own rank: the initial weights acting on the same inputs as the "
        "spikes, and the trained weights acting on the principal directions of the inputs, along which the data are "
        "largest whatever their classes. They are compared by the cross-entropy, the mean of −ln of the probability "
        "that is given to the right class. Controls: entries without a variance, for which the law must fail, and "
        "random directions, with which the accuracy must be lost."
    ),
    caption="Top left: singular values (roots of the eigenvalues) of the square layer of one network; divided by σ√N, "
    "with σ the random part's standard deviation and N the side, random ones end at 2. Bars: as trained; line: entries "
    "shuffled; dashed: the law; triangles: spikes. Top right: distance to the law by matrix size, for Gaussian and for "
    "Student t entries (d.o.f.: degrees of freedom); dotted: a fall as one over the root of the size. Middle left: "
    "spikes during training, by how the network's weights start, and in grey those of its first layer; dashed: the "
    "number of classes. The other three: the network after training with only this part in its square layer (the "
    "initial weights there, all the rest trained, nearly keep the accuracy); its test accuracy, dashed: guessing; its "
    "test cross-entropy, lower is better; and how much of the spikes' input directions, and of as many principal "
    "directions of the inputs, lies in the span of the class means, dashed: random directions. In these three the mean "
    "of Gaussian and uniform starts. Points: means over seeds with 95 % intervals.",
    timeout=4 * 3600.0,
)
