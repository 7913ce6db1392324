"""The cosine of two learned embeddings can be arbitrary where what the model predicts is not.

The claim (``steck2024cosine``): let a matrix X of users and items be approximated by X A Bᵀ. Where the penalty is on
the product, λ|A Bᵀ|², the factors A D and B D⁻¹ are as good for any diagonal D and predict the same, but the cosines of
the items' embeddings, the rows of B, depend on D. Where both norms are penalised, λ(|X A|² + |B|²), the optimum is
unique but for rotations, which leave cosines alone. With as many dimensions as items one choice of D makes every item
similar to itself only.

Done here: the closed-form optima of both, of rank 10. *Planted*: 2,000 users, 60 items in 5 clusters, popular and
unpopular ones; a seed draws the matrix. *Digits*: 500 images, drawn by the seed, are the items, their pixels the users;
an image's group is its digit. D is exp(N(0, 1)) for each dimension, 20 draws. Cosines are compared with those of the
balanced optimum, A = B. λ is the square of the smallest singular value that is kept, which halves that direction, and
for separate norms 0.3 of that value, which takes as much of it: no direction is lost. Retrieval: the share of an item's
5 nearest others, by cosine, that are of its group. *Training*, on planted matrices, from 5 random starts: solving for A
and B in turn, 10,000 times (alternating least squares), and L-BFGS on both, from entries of variance 1/rank.

Criteria, and what doing nothing would score:

* Predictions: the largest difference of an entry of A Bᵀ between all D, of the largest entry, at most 1e-10, far
  above rounding. Rescaling B alone, which also changes cosines: of the order 1.
* The cosine of a pair of items changes by 0.1 or more in the median, and the pair that changes most by more than 0.5;
  mean over D, for both matrices. D = 1: 0. The former says that it is so for most pairs, not only the worst.
* Precision falls by 0.05 or more, mean over D: what is retrieved is affected. Changes of cosines that keep the order of
  neighbours: 0. Random embeddings would lose all that is above chance, 0.8; they predict something else.
* Full rank: with D = Λ^½ the largest cosine of two items is at most 1e-10, predictions equal to 1e-10, while for D = 1
  cosines within a cluster exceed those between clusters by more than 0.1. Items without clusters: 0.
* Nobody need choose a D: trained by L-BFGS, product's norm, cosines from two starts differ by 0.1 or more in the
  median, while predictions agree with the closed form to 1e-4 (relative, Frobenius). Starts that lead to one solution:
  0. Starts that lead nowhere differ in cosine as well, but miss the predictions by about 1.
* Separate norms: from all starts the same cosines, within 1e-5 for the alternating solutions (which converge at the
  rate at which singular values at the cut differ) and 1e-3 for L-BFGS (whose gradients end at 1e-8 of the loss), and
  predictions of the closed form, within 1e-8 and 1e-4. A solver that stands still: about 1. Two starts in the same
  place would agree too: they are the starts that differ for the product's norm.
* Separate norms: precision exceeds chance by more than 0.05, in the worst case, as most matrices have 1. Unique cosines
  could be meaningless.

Controls: a random rotation, and a D that is a constant, leave predictions and cosines as they are, within 1e-10.

Mended: the spread of D matters, and the rank. With as many dimensions as clusters, or with D = S^{±½}, cosines change
but nearest items hardly do, so that rank 10 and exp(N(0, 1)) are judged, other spreads drawn. Digits are added: in
planted matrices half of the 10 dimensions are noise. L-BFGS that starts from entries of standard deviation 0.01 or 0.1
ends nearer to the balanced solution and still makes pairs differ; it is drawn and not judged. Dot products of two items
depend on D as well, those of user and item do not.

Left out: the users' cosines, and training with normalised embeddings, which the source proposes: from random starts
4,000 steps of L-BFGS ended 30 % apart in their predictions, which says nothing about the optimum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.embeddings._cosine_figure import draw
from deepscope.studies.embeddings._cosines import NEIGHBOURS
from deepscope.studies.embeddings._interactions import PLANTED
from deepscope.studies.embeddings._rescaled_factors import JUDGED, rescaled
from deepscope.studies.embeddings._trained_factors import trained

if TYPE_CHECKING:
    import pandas as pd

PARTS = {"rescaled": rescaled, "trained": trained}
ROUNDING = 1e-10
DIFFERENT = 0.1
MARGIN = 0.05


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return predictions, cosines and retrieval of factors that are rescaled, or trained from several starts."""
    _check(case)
    return PARTS[case.part](case, run)


def _check(case: Case) -> None:
    if case.part not in PARTS:
        raise UsageError("the study has no such part", where=case.part, todo=nearest(case.part, PARTS))
    items = case.n_items if case.data == PLANTED else case.n_images
    least = {
        "rank": 2,
        "draws": 1,
        "starts": 2,
        "alternations": 1,
        "descents": 1,
        "clusters": 2,
        "n_items": NEIGHBOURS + 1,
    }
    for name, fewest in least.items():
        if getattr(case, name) < fewest:
            raise UsageError(f"{name} is {getattr(case, name)}", where=name, todo=f"Give at least {fewest}.")
    if not case.rank <= items or case.n_users < case.n_items:
        raise UsageError(
            f"{items} items and {case.n_users} users cannot be factorised with rank {case.rank}",
            where="rank",
            todo="Give at least as many users as items, and at least as many items as dimensions.",
        )


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge what rescaling does and does not change, what training finds, and the controls."""
    planted, images, training = _part(trials, "rescaled", True), _part(trials, "rescaled", False), _trained(trials)
    return [
        Criterion.exact(
            "product’s norm: largest difference of a prediction between optima, as part of the largest",
            _values([planted, images], "prediction_error"),
            below=ROUNDING,
            published="theory: 0",
        ),
        *_rescaling(planted, "planted clusters"),
        *_rescaling(images, "images"),
        Criterion.exact(
            "as many dimensions as items, D = Λ^½: largest difference of a prediction, as part of the largest",
            _values([planted], "full_rank_prediction_error"),
            below=ROUNDING,
            published="theory: 0",
        ),
        Criterion.exact(
            "as many dimensions as items, D = Λ^½: largest cosine of two items",
            _values([planted], "full_rank_cosine"),
            below=ROUNDING,
            published="theory: 0",
        ),
        Criterion.effect(
            "as many dimensions as items, D = 1: mean cosine within clusters minus between them",
            per_seed(planted, "full_rank_contrast"),
            above=DIFFERENT,
        ),
        Criterion.effect(
            "product’s norm, trained: difference of a pair’s cosine between two starts, median of pairs",
            per_seed(training, "descended_product_median"),
            above=DIFFERENT,
        ),
        Criterion.exact(
            "trained: relative error of predictions against the closed form, worst of starts and penalties",
            _values([training], "descended_product_error", "descended_separate_error"),
            below=1e-4,
            published="theory: 0",
        ),
        Criterion.exact(
            "solved in turn: relative error of predictions against the closed form, worst of starts and penalties",
            _values([training], "alternating_product_error", "alternating_separate_error"),
            below=1e-8,
            published="theory: 0",
        ),
        Criterion.exact(
            "separate norms, solved in turn: largest difference of a pair’s cosine between two starts",
            _values([training], "alternating_separate_largest"),
            below=1e-5,
            published="theory: 0",
        ),
        Criterion.exact(
            "separate norms, trained: largest difference of a pair’s cosine between two starts",
            _values([training], "descended_separate_largest"),
            below=1e-3,
            published="theory: 0",
        ),
        Criterion.exact(
            "separate norms, trained: precision of nearest items minus chance, least of the matrices",
            per_seed(training, "descended_separate_precision") - per_seed(training, "chance"),
            above=MARGIN,
        ),
        Criterion.exact(
            "rotation, or D a constant: largest difference of a prediction, as part of the largest",
            _values([planted, images], "harmless_prediction_error"),
            below=ROUNDING,
            published="theory: 0",
            control=True,
        ),
        Criterion.exact(
            "rotation, or D a constant: largest difference of a pair’s cosine",
            _values([planted, images], "harmless_difference"),
            below=ROUNDING,
            published="theory: 0",
            control=True,
        ),
    ]


def _rescaling(trials: pd.DataFrame, name: str) -> list[Criterion]:
    """Judge what random D of the judged spread do to cosines and to retrieval."""
    precision, after = per_seed(trials, "precision"), _at_judged(trials, "rescaled_precision")
    return [
        Criterion.effect(
            f"{name}, product’s norm, random D: change of a pair’s cosine, median of pairs",
            _at_judged(trials, "median_difference"),
            above=DIFFERENT,
        ),
        Criterion.effect(
            f"{name}, product’s norm, random D: change of a pair’s cosine, largest of pairs",
            _at_judged(trials, "largest_difference"),
            above=0.5,
        ),
        Criterion.effect(
            f"{name}, product’s norm, random D: fall of the precision of nearest items",
            precision - after,
            above=MARGIN,
        ),
    ]


def _part(trials: pd.DataFrame, part: str, planted: bool) -> pd.DataFrame:
    if "part" not in trials or "data" not in trials:
        return trials.iloc[:0]
    return trials[(trials["part"] == part) & ((trials["data"] == PLANTED) == planted)]


def _trained(trials: pd.DataFrame) -> pd.DataFrame:
    return _part(trials, "trained", True)


def _values(parts: list[pd.DataFrame], *names: str) -> pd.Series[Any]:
    """Return all these numbers of all these trials, by seed."""
    import pandas as pd

    columns = [part.reindex(columns=["seed", name]).set_index("seed")[name] for part in parts for name in names]
    found: pd.Series[Any] = pd.concat(columns).astype(float)
    return found


def _at_judged(trials: pd.DataFrame, column: str) -> pd.Series[Any]:
    return per_seed(trials, column).map(lambda at: at[JUDGED]).astype(float)


_SMALLEST: dict[str, Any] = {
    "n_users": 100,
    "n_items": 20,
    "n_images": 40,
    "draws": 2,
    "starts": 2,
    "alternations": 20,
    "descents": 20,
}


def _grid(rescaled_seeds: int, trained_seeds: int, digits: str = "digits", **size: Any) -> Grid:
    return Grid(seeds=rescaled_seeds, part="rescaled", data=[PLANTED, digits], **size) + Grid(
        seeds=trained_seeds, part="trained", data=PLANTED, **size
    )


STUDY = Study(
    claim="The cosine of two learned embeddings can be arbitrary where what the model predicts is not.",
    source="steck2024cosine",
    topics=("embeddings",),
    rows=("cosine-ambiguous",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(1, 1, rank=6, **_SMALLEST),
        "quick": _grid(20, 10),
        "full": _grid(20, 10, "mnist", n_users=20_000, n_items=1000, n_images=1000, rank=50),
    },
    defaults={
        "n_users": 2000,
        "n_items": 60,
        "clusters": 5,
        "n_images": 500,
        "rank": 10,
        "draws": 20,
        "starts": 5,
        "alternations": 10_000,
        "descents": 5000,
    },
    protocol=(
        "The claim in full: Where only the product of two factor matrices is regularised, embeddings that predict "
        "exactly the same give pairs of items cosines that differ by more than one half, and other nearest items; "
        "where the norm of each factor is regularised, cosines are unique.\n\n"
        "A matrix of users and items is approximated by users’ embeddings times items’ embeddings, in 10 dimensions, "
        "with a quadratic loss. If the penalty is on the product alone, dimension i of the items’ embeddings may be "
        "divided by any number dᵢ and that of the users’ multiplied by it. This is done with random numbers, exp of a "
        "standard normal, to the optimum that is known in closed form, and cosines and nearest items are compared "
        "with those before. Two kinds of matrices: planted ones, of 60 items in 5 clusters, and handwritten digits, "
        "where images are the items and pixels the users. Embeddings are also trained from several random starts, "
        "under this penalty and under one on each factor. Controls: a rotation, and dividing all dimensions by the "
        "same number, which must change nothing."
    ),
    caption=(
        "Top left: pairs of items of one planted matrix; the cosine in the balanced embeddings and after they were "
        "divided by the first random D, which leaves all predictions as they were. Top right and bottom left: what "
        "random D do, by the standard deviation of ln D: change of a pair’s cosine, and precision of the 5 nearest "
        "items; dashed: neighbours at random. Bottom right: difference of a pair’s cosine between two trainings from "
        "random starts, by the standard deviation of the entries at the start. Points with bars: means over seeds "
        "with their 95 % intervals, geometric ones bottom right."
    ),
)
