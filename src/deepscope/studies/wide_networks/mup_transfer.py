"""In maximal-update parametrisation the best learning rate does not move with the width; in the standard one it falls.

The claim (``yang2022tensor``): in the standard parametrisation, of one rate for all weights and torch's initialisation,
the best rate of Adam falls as a network gets wider, so that one tuned at a narrow network is of no use for a wide one.
In the maximal-update parametrisation (``yang2021feature``), where hidden and output matrices learn more slowly by the
factor of the widths and the output starts smaller, it stays, as far as one can see; and wider is better at one rate.

Done here: perceptrons of three hidden layers of tanh, 64-n-n-n-10, learn handwritten digits by 100 steps of Adam on
batches of 64, with rates that fall along half a cosine from each of the powers of 2 (at once, as one batch of networks;
the weights' scales and rates are ``training.maximal_update``'s, with the base's width of 32). A seed draws the weights
and the batches, which are the same at all rates, in all arms. The best rate is where the parabola through the least of
the training losses, over all training samples, and its neighbours is least, in logarithms. *Hidden as standard* is µP
without the factor of the hidden layers, *output as standard* µP without those of the output, on rate and initial
weights. The coordinate check is ``training.coordinate_check``: how far the outputs of layers are from where they
started, in root mean square, after ten steps of a constant rate of 2⁻⁸ on 256 samples, at widths from 64 on.

Criteria. Slopes are those of log₂ of the best rate in log₂ of the width, octaves of rate for an octave of width.

* µP: within 0.15 of 0. Standard: below −0.5, and by more than 0.4 below µP. Nothing done scores 0 in all: the second
  and the third fail.
* Coordinates of the last hidden layer and of the output: slopes within 0.1 of 0 in µP, above 0.3 in the standard one.
  A network that does not move has no slope, and one that hardly does could have any: no change in µP is below 0.05.
* At the rate that is best at the base's width: the loss of the widest µP network is less than that of the base (wider
  is better), and less than half of that of the widest standard network. Nothing done scores 0 and fails.

Controls: µP with hidden layers as standard, whose best rate falls with a slope below −0.3; µP with the output as
standard, whose output has a coordinate slope above 0.3: both factors are needed, and are seen where they are not. At
the base's width all arms are one network: no loss differs, to the last bit.

Mended, on seeds from 1000. First planned were two hidden layers, and so one matrix between them; without its factor the
best rate fell by 0.27 an octave, not 0.3, and that of the standard network by 0.54 ± 0.2, not clearly by 0.5. With
three layers it is 0.53 and 0.73. Planned were constant rates, where the loss at the end depends on the last steps'
noise: best rates varied by an octave and more between seeds; with a rate that falls to 0 by a third of one. A width of
32 is not yet wide: from there to 512 µP's best rate *rises* by a third of an octave; and the coordinate slope of the
output is −0.09 from there on, and −0.06 from a width of 64 on.

What came out at ``quick``: in µP the best rate of the widest networks is 0.4 octaves above that of the base, in the
standard parametrisation three octaves below. The rise is clearly not 0 (slope 0.05 to 0.15), as it is not on the seeds
from 1000; it says less of the limit than of a base of 32.

Done for cost: rates from 2⁻¹⁰ on at ``quick``, below which all networks are far from their best; the two other arms up
to width 256. At ``full`` all arms go to 1024, 32 times the base, and rates start at 2⁻¹⁴. Left out:
transformers, other optimisers (SGD's factors are compared with the paper's other table in the tests of the method), and
transfer over depth, batch or length of training, which the source claims from experiments alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Criterion, Grid, Study, per_seed
from deepscope.studies.wide_networks._mup_transfer_figure import draw
from deepscope.studies.wide_networks._mup_transfer_trials import trial
from deepscope.studies.wide_networks._width_training import ARMS

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

#: Octaves of the best rate for an octave of width: none, a fall, and how much more of one; a fall without one factor.
FLAT, FALLS, APART, PARTLY = 0.15, -0.5, -0.4, -0.3
#: Slope of the change of outputs: none, a rise; and the least change that is one.
STEADY, RISES, MOVES = 0.1, 0.3, 0.05
FEWEST_WIDTHS = 3


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge best rates, coordinates, and losses at the base's best rate."""
    slopes = {arm: _slope(trials, arm) for arm in ("mup", "standard", "hidden as standard")}
    losses = {arm: _at_the_bases_rate(trials, arm) for arm in ("mup", "standard")}
    octaves = "best rate, octaves for an octave of width"
    return [
        Criterion.effect(f"µP: {octaves}", slopes["mup"], within=FLAT, published="theory: 0"),
        Criterion.effect(
            f"standard: {octaves}",
            slopes["standard"],
            below=FALLS,
            published="shifts by more than an order of magnitude from width 128 to 8192",
        ),
        Criterion.effect(f"standard minus µP: {octaves}", slopes["standard"] - slopes["mup"], below=APART),
        *_coordinates(trials),
        Criterion.effect(
            "µP: log of the loss at the base's best rate, widest over base",
            _log(losses["mup"]["widest"] / losses["mup"]["base"]),
            below=0.0,
            published="wider is better",
        ),
        Criterion.effect(
            "log of the loss of the widest at the base's best rate, µP over standard (below log ½)",
            _log(losses["mup"]["widest"] / losses["standard"]["widest"]),
            below=math.log(0.5),
        ),
        Criterion.effect(
            f"µP with hidden layers as standard: {octaves}", slopes["hidden as standard"], below=PARTLY, control=True
        ),
        Criterion.effect(
            "µP with the output as standard: coordinate slope of the output",
            _coordinate(trials, "output_slope", "output as standard"),
            above=RISES,
            control=True,
        ),
        Criterion.exact(
            "at the base's width: largest difference of a loss between standard and µP",
            _difference_at_base(trials),
            within=0.0,
            published="theory: 0",
            control=True,
        ),
    ]


def _coordinates(trials: pd.DataFrame) -> list[Criterion]:
    names = {"last_hidden": "last hidden layer", "output": "output"}
    found = []
    for column, name in names.items():
        for arm, label, side in (("mup", "µP", {"within": STEADY}), ("standard", "standard", {"above": RISES})):
            slopes = _coordinate(trials, f"{column}_slope", arm)
            found.append(Criterion.effect(f"{label}: coordinate slope of the {name}", slopes, **side))  # type: ignore[arg-type]
    change = _coordinate(trials, "least_change", "mup")
    return [*found, Criterion.exact("µP: least change of a layer's outputs", change, above=MOVES)]


def _coordinate(trials: pd.DataFrame, column: str, arm: str) -> Numbers:
    return per_seed(trials, column, measure="coordinates", arm=arm)


def _by_width(trials: pd.DataFrame, column: str, arm: str) -> pd.DataFrame:
    """Return what an arm's trials at all rates returned, by seed and width; NaN where a trial or its number lacks."""
    chosen = trials.reindex(columns=trials.columns.union(["measure", "arm", "width", "seed", column], sort=False))
    chosen = chosen[(chosen["measure"] == "rates") & (chosen["arm"] == arm)]
    return chosen.pivot(index="seed", columns="width", values=column)


def _slope(trials: pd.DataFrame, arm: str) -> Numbers:
    """Return by seed the slope of the best rate in the width, in octaves; NaN where one is missing."""
    optima = _by_width(trials, "optimum", arm).astype(float)
    if len(optima.columns) < FEWEST_WIDTHS:
        return optima.sum(axis=1).iloc[:0]
    x = np.log2(optima.columns.to_numpy(dtype=float))
    return optima.mul((x - x.mean()) / np.square(x - x.mean()).sum()).sum(axis=1, skipna=False)


def _at_the_bases_rate(trials: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Return by seed the losses of an arm's narrowest and widest network at the rate that is best for the narrowest."""
    import pandas as pd

    curves = _by_width(trials, "losses", arm).dropna()
    rows = {}
    for seed, row in curves.iterrows():
        narrow, wide = (np.asarray(each, dtype=float) for each in (row.iloc[0], row.iloc[-1]))
        best = int(np.nanargmin(narrow))
        rows[seed] = {"base": narrow[best], "widest": wide[best]}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["base", "widest"], dtype=float)


def _log(ratios: Numbers) -> Numbers:
    return ratios.map(math.log, na_action="ignore")


def _difference_at_base(trials: pd.DataFrame) -> dict[int, float]:
    """Return by seed how much the losses of µP and the standard network of the base's width differ at any rate."""
    curves = [_by_width(trials, "losses", arm).dropna() for arm in ("standard", "mup")]
    if any(each.empty for each in curves):
        return {}
    standard, mup = (dict(zip(each.index.astype(int), each.iloc[:, 0], strict=True)) for each in curves)
    return {seed: float(np.abs(standard[seed] - mup[seed]).max()) for seed in standard if seed in mup}


def _grid(seeds: int, widths: tuple[int, ...], partly: tuple[int, ...], **settings: Any) -> Grid:
    """Return all arms at their widths, and the coordinate checks up to the widest."""
    whole, ablated = list(ARMS)[:2], list(ARMS)[2:]
    return (
        Grid(seeds=seeds, measure="rates", arm=whole, width=widths, **settings)
        + Grid(seeds=seeds, measure="rates", arm=ablated, width=partly, **settings)
        + Grid(seeds=seeds, measure="coordinates", arm=list(ARMS), width=widths[-1], **settings)
    )


STUDY = Study(
    claim=(
        "In maximal-update parametrisation the best learning rate does not move with the width; in the standard one it "
        "falls."
    ),
    source="yang2022tensor",
    topics=("wide networks", "learning dynamics"),
    rows=("mup", "repo-mup"),
    trial=trial,
    judge=judge,
    draw=draw,
    defaults={
        "base": 32,
        "lowest": -14,
        "highest": -2,
        "steps": 100,
        "batch_size": 64,
        "coordinate_rate": -8,
        "coordinate_steps": 10,
        "probe": 256,
    },
    scales={
        "smoke": _grid(
            1,
            (4, 8, 32),
            (4, 8, 32),
            base=4,
            lowest=-6,
            highest=-4,
            steps=2,
            batch_size=4,
            coordinate_steps=1,
            probe=8,
        ),
        "quick": _grid(10, (32, 128, 512), (32, 64, 128, 256), lowest=-10),
        "full": _grid(10, (32, 64, 128, 256, 512, 1024), (32, 64, 128, 256, 512, 1024)),
    },
    protocol=(
        "Perceptrons of three hidden layers learn handwritten digits by Adam, at learning rates that are powers of "
        "two, at widths from 32 to 512. In the standard parametrisation all weights have one rate; in the "
        "maximal-update parametrisation those of hidden and output matrices are divided by the width over that of the "
        "base, 32, and the output starts smaller. The slope of the best rate in the width, in octaves for an octave, "
        "must be within 0.15 of 0 in the latter, and below −0.5 in the former. The outputs of the last hidden layer "
        "and of the network must move as far in ten steps at any width in the latter, and farther in wider networks "
        "in the former. At the rate that is best at width 32, wider must be better. Controls: without the factor of "
        "the hidden layers the best rate must fall, without those of the output its change must grow with the width, "
        "and at width 32 both parametrisations must be the same network to the last bit."
    ),
    caption=(
        "Top: training loss after 100 steps against the learning rate; geometric means over seeds with 95 % intervals, "
        "at the least of each the width. Bottom left: best rates, means over seeds with "
        "95 % intervals. Bottom right: root mean square of the difference of the logits from those before training, "
        "after ten steps at one rate."
    ),
)
