"""Whether layers seem to compress their input depends on activation and bins; local rank needs no bins.

The claim. ``shwartzziv2017opening`` saw the bits that layers hold about their input, counted by bins, rise and then
fall in training, and took this compression for the cause of generalisation. ``saxe2018information`` hold that it comes
with tanh, which saturates into the end bins, and not with ReLU, and that networks generalise without it; bins also
have a width, and of a deterministic network they measure little else (``goldfeld2019estimating``).
``patel2024learning`` propose the local rank, the rank of a layer's Jacobian in its input: it falls in the final phase
of training, together with such estimates.

Done here. *Bits*: all 4,096 patterns of 12 bits, and a smooth rule for their class that is symmetric on a sphere
(``boolean_patterns``); 12-10-7-5-4-3-2 networks of tanh or ReLU in float64, learning rate 0.1, momentum 0.9, batches of
256, 400 epochs on 80 % of the patterns; 30 snapshots evenly spaced in log epochs, and the start. The patterns are all
there is, so that I(X; T) is the entropy of a layer's codes, without sampling error. Codes: 30 equal bins over a range
fixed for the whole run (tanh −1 … 1, ReLU 0 … the layer's largest activation in any snapshot); the same over a range
redrawn at each snapshot; 10, 100 and 1,000 bins; and none, just equality in float64. Compression is the maximum over
snapshots minus the end, as the mean over the five hidden layers. *Digits*: 64-100-100-100-10 tanh networks, 1,200
images, trained as above, with a weight decay of 0 and of 0.002, and on random labels; local rank is the participation
ratio (Σσ)²/Σσ² of the third layer's Jacobian, as the mean over 64 test images. Seeds pair the arms.

Criteria, and what doing nothing would score:

* tanh, 30 fixed bins: compression above 0.2 bits. An estimate that does not change scores 0; one that only fluctuates
  scores more than 0, since a maximum is taken, hence a margin.
* tanh minus ReLU, the same bins, paired: above 0.2 bits. No difference: 0.
* ReLU, the same bins: below 0.1 bits. A network that does nothing passes, and so does an estimate that is blind, hence:
* the same ReLU networks, with the range redrawn: compression above 0.5 bits.
* tanh: compression by 30 bins minus that by 1,000, paired: above 0 bits. If bins did not matter: 0.
* Test accuracy of ReLU minus tanh within ± 0.03: generalisation without compression. Networks that have learned nothing
  have no number here, nor anywhere else.
* tanh, from the first snapshot with a training accuracy of 95 % to the end (the final phase): I(X; T) of 30 fixed bins
  changes by less than −0.2 bits, and the log of the local rank, mean over layers at 256 patterns, by less than log 0.9.
  A network that stays as it was when it fitted scores 0.
* Digits, training accuracy 99 % in both: log local rank with weight decay minus without, below log 0.85. If decay did
  nothing: 0.

Controls. The tanh codes without bins: in every hidden layer and snapshot all 4,096 patterns stay apart, I(X; T) = 12
bits (worst case): what fell was nothing that the layers hold. A fall of the local rank against its start is no
evidence: without weight decay, and on random labels, it is below log 0.8 too, which is why the criterion compares
trained networks. Smaller weights alone do not lower it: of the untrained network, each matrix scaled to its size after
training with decay, the log local rank changes by more than log 0.85.

A network that ends below a training accuracy of 90 % has collapsed, and its bits and rank fall trivially. Such a
network on bits, or one of which a layer gives 0 for all patterns, is drawn anew, up to ten draws in all (``drawn_anew``
counts); what has collapsed even so has no number.

Mended. "An untrained net: compression 0" holds by definition, of one snapshot; how much an estimate fluctuates is
bounded by the ReLU criterion instead. The final phase is added, for the row of the local rank. The list says
"participation ratio of the singular values": that of their squares, as in ``deepscope.linalg.local_rank``, is shown
beside it and not judged, as is the number of singular values above 1 % of the largest, which is nearer to the source's
rank. On exploratory seeds all three fell with decay; with torch's smaller initial weights the first still fell by a
third, and that of squares not at all: what decay removes are the small singular values.

Described, not judged: ReLU codes without bins. A ReLU layer does lose patterns, so that its I(X; T) falls in some seeds
by bits while fixed bins see nothing: there the bins err in the other direction. The range fixed for ReLU is that of the
largest activation, which training makes grow, so that early snapshots fill few bins and the estimate can hardly fall;
the range redrawn has no such drift, and is no truer. Where tanh saturates, a unit goes into an end bin and out of the
Jacobian at once: bits and local rank then fall for one reason. Left out: noise added to the layers, which would make
I(X; T) of a continuous input finite, and estimators other than bins.

Seen, on five seeds: an open verdict, by the ReLU networks alone. Four of them compress by less than 0.01 bits, the
fifth by 0.63: of its last hidden layer, three units wide, 30 bins see 3.1 bits go, and without bins it falls from 12
bits to 3.5. On 15 exploratory seeds the mean was 0.03 and the largest 0.21, which does not count. All else holds.
Without bins ReLU networks lose 1.1 bits in the mean over layers, and up to 2.7, and tanh networks none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.learning_dynamics._bottleneck_figure import draw
from deepscope.studies.learning_dynamics._bottleneck_training import COLLAPSED, bottleneck_trial
from deepscope.studies.learning_dynamics._digit_ranks import digit_trial

if TYPE_CHECKING:
    import pandas as pd

BITS_ARMS = ("tanh", "relu")
DIGIT_ARMS = ("no decay", "weight decay", "random labels")
ARMS = (*BITS_ARMS, *DIGIT_ARMS)
#: Training accuracy from which on networks on digits are compared.
LEARNED = 0.99
#: Less than this share of the local rank is left, where decay lowers it.
LOWER = 0.85


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train one network; return the bits its layers seem to hold, or the rank of their Jacobians."""
    if case.arm not in ARMS:
        raise UsageError("unknown arm", where=case.arm, todo=nearest(case.arm, ARMS))
    return bottleneck_trial(case, run) if case.arm in BITS_ARMS else digit_trial(case, run)


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge compression by activation and bins, the final phase, weight decay, and the controls."""
    tanh, relu = (_learned(trials, "compression_bins_30", arm) for arm in BITS_ARMS)
    return [
        Criterion.effect(
            "tanh, 30 fixed bins: I(X; T), maximum minus end (bits)", tanh, above=0.2, published="compresses"
        ),
        Criterion.effect(
            "tanh minus ReLU, 30 fixed bins: compression (bits)",
            tanh - relu,
            above=0.2,
            published="tanh compresses, ReLU does not",
        ),
        Criterion.effect("ReLU, 30 fixed bins: compression (bits)", relu, below=0.1, published="none"),
        Criterion.effect(
            "the same ReLU networks, range of the bins redrawn: compression (bits)",
            _learned(trials, "compression_redrawn", "relu"),
            above=0.5,
        ),
        Criterion.effect(
            "tanh: compression by 30 bins minus by 1,000 (bits)",
            tanh - _learned(trials, "compression_bins_1000", "tanh"),
            above=0.0,
        ),
        Criterion.effect(
            "test accuracy of ReLU minus tanh",
            _learned(trials, "test_accuracy", "relu") - _learned(trials, "test_accuracy", "tanh"),
            within=0.03,
            published="no causal connection between compression and generalisation",
        ),
        Criterion.effect(
            "tanh, final phase: change of I(X; T) by 30 fixed bins (bits)",
            _learned(trials, "final_bits", "tanh"),
            below=-0.2,
            published="falls",
        ),
        Criterion.effect(
            "tanh, final phase: change of the log local rank (below log 0.9)",
            _learned(trials, "final_log_rank", "tanh"),
            below=math.log(0.9),
            published="falls",
        ),
        Criterion.effect(
            "digits: log local rank with weight decay minus without (below log 0.85)",
            _learned(trials, "log_participation", "weight decay") - _learned(trials, "log_participation", "no decay"),
            below=math.log(LOWER),
        ),
        Criterion.exact(
            "tanh, no bins: lowest I(X; T) of any hidden layer and snapshot (bits)",
            per_seed(trials, "lowest_exact", arm="tanh"),
            within=1e-9,
            target=12.0,
            control=True,
        ),
        *(
            Criterion.effect(
                f"{name}: log local rank, end minus start (below log 0.8)",
                _learned(trials, "log_fall", arm),
                below=math.log(0.8),
                control=True,
            )
            for arm, name in (("no decay", "no decay"), ("random labels", "random labels"))
        ),
        Criterion.effect(
            "untrained, weights as large as after decay: change of the log local rank (above log 0.85)",
            _learned(trials, "log_rescaled", "weight decay"),
            above=math.log(LOWER),
            control=True,
        ),
    ]


def _learned(trials: pd.DataFrame, column: str, arm: str) -> pd.Series[float]:
    """Return a column by seed; NaN where the network has not learned what it was trained on."""
    accuracy = per_seed(trials, "train_accuracy", arm=arm)
    return per_seed(trials, column, arm=arm).where(accuracy >= (COLLAPSED if arm in BITS_ARMS else LEARNED))


STUDY = Study(
    claim=(
        "Whether layers seem to compress their input depends on activation and bins; local rank needs none, and weight "
        "decay lowers it."
    ),
    source="saxe2018information",
    topics=("learning dynamics", "information"),
    rows=("information-bottleneck", "local-rank"),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": Grid(seeds=1, arm=list(ARMS), epochs=2, snapshots=2, draws=1, probes=16, points=4, images=200),
        "quick": Grid(seeds=5, arm=list(ARMS)),
        "full": Grid(seeds=20, arm=list(ARMS), epochs=4000, snapshots=60),
    },
    defaults={
        "epochs": 400,
        "snapshots": 30,
        "batch": 256,
        "learning_rate": 0.1,
        "draws": 10,
        "probes": 256,
        "points": 64,
        "images": 1200,
    },
    protocol=(
        "The claim in full: The bits that hidden layers hold about the input, estimated by bins, fall late in "
        "training in tanh networks and not in ReLU networks, which generalise as well; they fall in the same ReLU "
        "networks if the range of the bins follows the activations, and less in tanh networks if bins are finer. The "
        "local rank of the layers falls in the final phase too, and is lower after training with weight decay.\n\n"
        "Networks of 12-10-7-5-4-3-2 units learn a symmetric rule for the class of 12-bit patterns, by stochastic "
        "gradient descent with momentum. Of all 4,096 patterns the information between input and each hidden layer "
        "is computed at up to 31 snapshots: by bins over a range that is fixed for the run, by bins over one redrawn "
        "at each snapshot, and without bins, from which activations are equal. Compression is the largest value "
        "minus the last. A network that dies or does not learn is drawn anew. On digits, wider tanh networks are "
        "trained with and without weight decay and on random labels; local rank is the participation ratio of the "
        "singular values of the third layer’s Jacobian at test images."
    ),
    caption=(
        "Top: bits of the input in the hidden layers of narrow networks, mean over layers. Points with bars: means "
        "over seeds, geometric ones of ranks, with 95 % intervals. Middle left: compression, the largest value minus "
        "the last, against the number of fixed bins; thin: each seed; shaded: less than 0.1 bits. Middle right: the "
        "information plane of the tanh networks by 30 fixed bins, a line per layer, from the dot to the arrow; means "
        "over seeds. Bottom left: local rank of the third hidden layer of wide tanh networks on digits. Bottom "
        "right: local rank with weight decay, or on random labels, over that without, by three definitions; the "
        "first is judged, shaded: less than 15 % lower."
    ),
)
