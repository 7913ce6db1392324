"""Networks that sum over neighbours tell apart what 1-WL does; means and maxima less; networks on pairs of nodes more.

The claims. ``xu2019powerful``: a network whose nodes hear from their neighbours tells no two graphs apart that
one-dimensional Weisfeiler–Leman (1-WL, colour refinement) does not, and with sums (GIN) it can tell apart all others;
with means or maxima it cannot. ``amir2023neural``: random weights do, for almost all draws and with few units, if the
activation is analytic and no polynomial; piecewise linear ones need not. ``morris2019weisfeiler``: what works on
k-tuples of nodes goes further, as higher-dimensional Weisfeiler–Leman does.

Done here, in float64, all nodes with the same feature: the 1,252 graphs of one to seven nodes, whose pairs are 783,126;
and four pairs that 1-WL confounds: a hexagon and two triangles, the graphs of Cai, Fürer and Immerman (CFI) over the
complete graphs of 3 and 4 nodes, the rook's graph and Shrikhande's. ``GIN``, 7 layers of 16 with random weights and
biases, its ReLU replaced by tanh, SiLU or sin; the same network (tanh) with means or maxima in the place of the sums
over neighbours, and sums over nodes at its end as before; a network on pairs of nodes (``maron2019provably``); and the
tests 1-WL and 2-FWL (2-dimensional folklore, which is 3-WL). A seed draws weights and the order of each graph's nodes.
Two graphs are told apart where some output differs by more than 1e-12 of the largest: rounding makes less than 1e-14.
Of single nodes: one with neighbours of colours {a, b} beside one with {a, a, b, b}, and one with {a, a, b}. Learning:
64 graphs of seven nodes, all different to 1-WL, 24 of which are labelled 1 at random; GIN as published, 4 layers of 32
with ReLU and batch normalisation, 200 steps of Adam at 0.01, and the same with means or maxima.

Criteria, and what doing nothing would score:

* GIN, each activation: no pair of graphs on which it differs from 1-WL. All outputs alike: 783,100; all different: 26.
* GIN never tells apart the four pairs that 1-WL does not.
* Means and maxima: no pair on which they differ from "other numbers of nodes, or of nodes without neighbours", which
  makes 28 classes. All alike: 373,688; GIN: 409,412.
* Neighbourhoods: sums tell both pairs apart, means the second alone, maxima neither.
* Labels: sums learn more than 95 % of them; means and maxima are never right on more than the 62.5 % that one answer
  for all graphs is right on. No training: about that too, or 37.5 %.
* 1-WL confounds a pair of the 1,252 at least (in fact 26), 2-FWL and the network on pairs none, nor the hexagon and
  the triangles, nor the CFI pair over 3 nodes.

Controls. No graph is told apart from a copy of itself with its nodes in another order, by whatever is compared: a
network that had numbered its nodes would tell apart everything. 2-FWL and the network on pairs do not tell apart the
CFI pair over 4 nodes nor rook and Shrikhande: they are no test of isomorphism. GIN with ReLU and no biases falls short
of 1-WL: it is homogeneous, so that what it says of a graph are its numbers of walks, on which it must agree with these.

Mended. A difference counts from 1e-12 on, not 1e-10: on seeds from 1000 on rounding made 2.7e-15 at most, and the least
difference of graphs that 1-WL tells apart was 8e-10 (SiLU). The list asks for a training accuracy and names no task:
random labels ask for nothing but telling apart. Means and maxima replace sums in one and the same network, so that
nothing else differs; ``GraphSAGE`` and ``GCN`` are shown beside them, and so is ReLU with biases, which confounded one
more pair than 1-WL in 4 of 6 draws of width 16 and in none of width 32. Without biases GCN is homogeneous as well.
Degrees as features are left out: with them means tell apart as much here, as degrees are what a sum would have added.

What came out at ``quick``: all of it, in ten draws. Rounding made 1.2e-15 at most; the least difference of graphs that
1-WL tells apart was 7e-10 (SiLU). GCN confounded 635 pairs, GIN without biases 50, ReLU with biases 26 or 27, all
others 26. Sums learned all labels in nine draws of ten, and 98 % in one.

Left out: k-GNNs of ``morris2019weisfeiler`` themselves, whose local versions on sets of nodes are weaker than the
refinement. The network on pairs is as strong as 2-FWL, for random weights, and is what "goes further" is shown with.
And the benchmarks of the source, which ask for generalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.graphs._aggregation_trials import ONES, learn_labels, tell_neighbourhoods
from deepscope.studies.graphs._atlas_trials import ROUNDING, tell_graphs
from deepscope.studies.graphs._gin_wl_figure import draw
from deepscope.studies.graphs._graph_networks import AGGREGATIONS
from deepscope.studies.graphs._graph_stacks import EASIER
from deepscope.studies.graphs._graph_tellers import ANALYTIC, EXPECTED

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

PARTS: dict[str, Callable[[Case, TrialRun], dict[str, Any]]] = {
    "atlas": tell_graphs,
    "neighbourhoods": tell_neighbourhoods,
    "labels": learn_labels,
}
#: Whose copies are compared.
JUDGED = ("1-WL", "2-FWL", "pairs", *ANALYTIC, *AGGREGATIONS, "ReLU, no biases")
ZERO = "theory: 0"


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what one part of the study finds."""
    if case.part not in PARTS:
        raise UsageError("the study has no such part", where=str(case.part), todo=nearest(str(case.part), PARTS))
    for name, least, most in (("nodes", 2, 7), ("layers", 1, 20), ("hidden", 1, 1000)):
        value = case[name]
        if not isinstance(value, int) or not least <= value <= most:
            raise UsageError(f"it is {value!r}", where=name, todo=f"Give a whole number from {least} to {most}.")
    return PARTS[case.part](case, run)


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge sums, means and maxima, pairs of nodes, and the controls."""
    return [*_sums(trials), *_weaker(trials), *_labels(trials), *_pairs(trials), *_controls(trials)]


def _sums(trials: pd.DataFrame) -> list[Criterion]:
    return [
        *(
            Criterion.exact(
                f"sums, {activation}: pairs of graphs on which GIN differs from 1-WL",
                _atlas(trials, "otherwise", activation),
                within=0,
                published=ZERO,
            )
            for activation in ANALYTIC
        ),
        Criterion.exact(
            "sums: largest difference of a pair that 1-WL confounds",
            _together(_atlas(trials, "hard", activation) for activation in ANALYTIC),
            below=ROUNDING,
            published=ZERO,
        ),
    ]


def _weaker(trials: pd.DataFrame) -> list[Criterion]:
    """Judge means and maxima of graphs, and all three of neighbourhoods."""
    sums, means, maxima = (
        per_seed(trials, "hard", part="neighbourhoods", teller=teller) for teller in ("sum", *AGGREGATIONS)
    )
    return [
        *(
            Criterion.exact(
                f"{name}: pairs of graphs on which they differ from counting nodes, and those without neighbours",
                _atlas(trials, "otherwise", teller),
                within=0,
                published=ZERO,
            )
            for teller, name in (("mean", "means"), ("maximum", "maxima"))
        ),
        Criterion.exact("sums: least difference of {a, b} from {a, a, b, b} and {a, a, b}", sums, above=ROUNDING),
        Criterion.exact("means: difference of {a, b} from {a, a, b}", means.map(lambda both: both[1]), above=ROUNDING),
        Criterion.exact(
            "means: difference of {a, b} from {a, a, b, b}",
            means.map(lambda both: both[0]),
            below=ROUNDING,
            published=ZERO,
        ),
        Criterion.exact(
            "maxima: largest difference of {a, b} from {a, a, b, b} and {a, a, b}",
            maxima,
            below=ROUNDING,
            published=ZERO,
        ),
    ]


def _labels(trials: pd.DataFrame) -> list[Criterion]:
    return [
        Criterion.effect(
            "sums: labels of graphs learned",
            per_seed(trials, "accuracy", part="labels", teller="sum"),
            above=0.95,
            published="reported: GIN fits its training sets nearly perfectly, others underfit",
        ),
        *(
            Criterion.exact(
                f"{name}: labels of graphs that were right at any time",
                per_seed(trials, "curve", part="labels", teller=teller),
                below=1 - ONES,
                published="theory: one answer for all",
            )
            for teller, name in (("mean", "means"), ("maximum", "maxima"))
        ),
    ]


def _pairs(trials: pd.DataFrame) -> list[Criterion]:
    return [
        Criterion.exact("1-WL: pairs of graphs confounded", _atlas(trials, "confounded", "1-WL"), above=1),
        *(
            Criterion.exact(
                f"{name}: pairs of graphs confounded", _atlas(trials, "confounded", teller), within=0, published=ZERO
            )
            for teller, name in _ON_PAIRS
        ),
        *(
            Criterion.exact(
                f"{name}: least difference of hexagon and triangles, and of CFI over 3 nodes",
                _atlas(trials, "hard", teller).map(lambda hard: hard[: len(EASIER)]),
                above=ROUNDING,
            )
            for teller, name in _ON_PAIRS
        ),
    ]


def _controls(trials: pd.DataFrame) -> list[Criterion]:
    short = _atlas(trials, "confounded", "ReLU, no biases") - _atlas(trials, "confounded", "1-WL")
    return [
        Criterion.exact(
            "graphs told apart from their copies, all networks and tests",
            _together(_atlas(trials, "copies", teller) for teller in JUDGED),
            within=0,
            published=ZERO,
            control=True,
        ),
        *(
            Criterion.exact(
                f"{name}: largest difference of CFI over 4 nodes, and of rook and Shrikhande",
                _atlas(trials, "hard", teller).map(lambda hard: hard[len(EASIER) :]),
                below=ROUNDING,
                published=ZERO,
                control=True,
            )
            for teller, name in _ON_PAIRS
        ),
        Criterion.exact(
            "sums, ReLU without biases: pairs of graphs confounded beyond those of 1-WL", short, above=1, control=True
        ),
        Criterion.exact(
            "sums, ReLU without biases: pairs of graphs on which it differs from counting walks",
            _atlas(trials, "otherwise", "ReLU, no biases"),
            within=0,
            published=ZERO,
            control=True,
        ),
    ]


_ON_PAIRS = (("2-FWL", "2-FWL"), ("pairs", "network on pairs"))


def _atlas(trials: pd.DataFrame, column: str, teller: str) -> Numbers:
    return per_seed(trials, column, part="atlas", teller=teller)


def _together(found: Iterable[Numbers]) -> Numbers:
    """Return the numbers of several, by seed."""
    import pandas as pd

    parts = [each for each in found if len(each)]
    return pd.concat(parts) if parts else pd.Series(dtype=float)


def _grid(seeds: int, **settings: Any) -> Grid:
    aggregations = ["sum", *AGGREGATIONS]
    learning = {"layers": 4, "hidden": 32, **settings}
    return (
        Grid(seeds=seeds, part="atlas", teller=list(EXPECTED), **settings)
        + Grid(seeds=seeds, part="neighbourhoods", teller=aggregations, **settings)
        + Grid(seeds=seeds, part="labels", teller=aggregations, **learning)
    )


STUDY = Study(
    claim=(
        "Networks that sum over neighbours tell apart what 1-WL does; means and maxima less; networks on pairs of "
        "nodes more."
    ),
    source="xu2019powerful",
    topics=("graphs",),
    rows=("gin", "k-gnn"),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(1, nodes=5, layers=2, hidden=4, graphs=8, steps=10),
        "quick": _grid(10),
        "full": _grid(50, graphs=256, steps=2000),
    },
    defaults={"nodes": 7, "layers": 7, "hidden": 16, "graphs": 64, "steps": 200, "learning_rate": 0.01},
    protocol=(
        "The claim in full: A network whose nodes add up what their neighbours say, with random weights and an "
        "analytic activation, tells apart exactly the graphs that one-dimensional Weisfeiler–Leman (1-WL) tells apart; "
        "with means or maxima it counts nodes and isolated nodes; and refinement of pairs of nodes (2-FWL), or a "
        "network on them, tells apart graphs that 1-WL confounds.\n\n"
        "All 783,126 pairs of the 1,252 graphs of one to seven nodes, without features, are shown to random networks "
        "and to the tests, each graph and a copy with its nodes in another order, and so are four pairs that 1-WL "
        "confounds: a hexagon and two triangles, two pairs of Cai, Fürer and Immerman, the rook's graph and "
        "Shrikhande's. What the source compares are also neighbourhoods, {a, b} with {a, a, b, b} and {a, a, b}; and "
        "networks learn random labels of graphs. Means and maxima stand in the place of the sum in one and the same "
        "network. Controls: copies, which nothing may tell apart; two pairs that 2-FWL must confound as well; sums "
        "with ReLU and without biases, which count walks and must fall short of 1-WL."
    ),
    caption=(
        "Top left: of the pairs of graphs of one to seven nodes, how many are not told apart; a point for each draw of "
        "weights. Top right: the least difference of two graphs that should be told apart (full) and the largest of "
        "two that should not (open), as part of the largest output; dashed: where a difference begins to count. Bottom "
        "left: pairs of graphs, and of neighbourhoods of a node, that all draws tell apart (full) or not (open); sum, "
        "mean and max are one network with tanh. Bottom right: means over seeds with 95 % intervals, of the most "
        "labels that were right so far; means and maxima give all graphs one answer."
    ),
)
