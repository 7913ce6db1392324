"""A matrix-product-state Born machine learns bars and stripes exactly; its likelihood and samples are exact.

The claim (``han2018unsupervised``): P(x) = |Ψ(x)|²/Z with Ψ a matrix product state has a normalisation that costs the
cube of the bond dimension D and not 2ᴺ, and draws independent samples bit by bit. Trained by two-site sweeps it learns
the 30 pictures of bars or stripes of 4 × 4 pixels (``mackay2003information``) to their entropy, ln 30 = 3.401 nats; how
much it can learn grows with D. With complex numbers it finds quantum states from measurements.

Done here, in float64: ``BornMachine`` with D of 1 to 32, by ``fit_born_machine`` on all pictures, 40 sweeps at a rate
of 0.1. The exact machine of the uniform law, by successive singular value decompositions. All probabilities are also
enumerated, for all 2¹⁶ pictures. Six qubits in W and GHZ states, measured 5000 times in σx, σy or σz, drawn for each
qubit and shot: complex machines with D = 3, which the states need 2 of, 40 sweeps. A restricted Boltzmann machine with
882 hidden units, which has 15,010 parameters (the Born machine with D = 32: 15,016), CD-1 on all pictures, 5000 steps
at a rate of 0.05; its likelihood is enumerated.

Criteria, and what would score without learning: an untrained machine is near the uniform law over all pictures, whose
gap to ln 30 is 16 ln 2 − ln 30 = 7.69.

* The exact machine has a bond dimension of 16 and a gap within 10⁻¹⁰ of 0: the pictures need D = 16.
* Trained, the gap is at most 0.01 for D = 32, and below 0.265 for D = 16, the least that D = 8 can have. A gap of 0.01
  implies that pictures have 99 % of the probability: ln 30 + KL, and KL ≥ −ln of that share.
* The contracted Z is right: probabilities of all states add up to 1, within 10⁻⁸, trained or not (an identity).
* 10⁵ samples have a total variation distance of at most 0.015 from the enumerated law. That of independent samples of
  30 pictures is ½ · 30 · √(2/(30 π · 10⁵)) = 0.007 on average. Samples of the uniform law over all pictures: 1.
* Fidelity of the reconstructed W and GHZ+ is at least 0.99. A random state: 1/64.

Controls:

* D = 1: the likelihood is that of 16 fair bits, 16 ln 2 within 0.01: bars and stripes have no bias of a pixel alone.
* No machine with D ≤ 8 has a gap below 0.265 = ln(30/23). The middle cut of the pictures' amplitudes has squared
  Schmidt values of 16/30 once and of 1/30 14 times, for four halves of stripes go with each other and 14 halves of bars
  each with itself, so that D dimensions hold (15 + D)/30 of them, and KL ≥ −ln of that. This is so for any signs or
  phases of the amplitudes as well: those of the 14 do not matter, and the block of four holds 16/30 at most.
* From measurements in σz alone GHZ+ and GHZ− cannot be told: the fidelity to GHZ+ of a machine that is shown the one
  minus that of a machine that is shown the other is within 0.1 of 0. With random bases it is 1.
* Product states, D = 1: fidelity to GHZ+ at most 0.51 (½ is the most that any has).
* The Boltzmann machine of equal size has a gap above 0.01, by the logarithm, as gaps scatter tenfold. Its likelihood
  takes a sum over 2¹⁶ states, which nobody has beyond such sizes; the gap is one of CD-1 in so many steps, not of what
  such a machine can represent.

Mended. The list asks that a machine from σz alone be as near to GHZ+ as to GHZ−. It is not, and cannot tell: machines
begin near a product of equal and *positive* amplitudes, and a phase that no outcome depends on stays where it began.
What is asked is hence whether the two data sets lead to different fidelities. The same bias is a reason that D = 2 is
not taken: there one of two seeds of GHZ+ ended at a fidelity of 0.27 (seed 1001; with D = 3 none of three).

What came out at ``quick``: everything holds but one. GHZ+ was found to 0.993 to 0.996 on four of five seeds and to
0.25 on the fifth, a local minimum as with D = 2, so that the interval leaves it open. What is claimed of bars and
stripes, of the normalisation and of samples holds by far: from D = 16 on the gap is that of rounding.

Settings stem from seeds 1000 to 1002. Left out: bonds that find their dimension, images of digits, and the storage of
random patterns, which the tests of the machine have (16 patterns of 10 bits by heart).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.generative_models._bars_and_stripes import boltzmann, build, learn
from deepscope.studies.generative_models._mps_born_figure import draw
from deepscope.studies.generative_models._tomography import reconstruct

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

EXPERIMENTS = {"learn": learn, "build": build, "boltzmann": boltzmann, "reconstruct": reconstruct}
BONDS = (1, 2, 4, 8, 16, 32)
#: Gaps in nats: learnt, and the least with D = 8, ln(30/23), rounded down.
LEARNT, NARROW = 0.01, 0.265
#: Bond dimension of the machines that find states.
STATE_BOND = 3


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train or build a machine, and compare it with what is enumerated."""
    if case.experiment not in EXPERIMENTS:
        raise UsageError("unknown experiment", where=str(case.experiment), todo=nearest(case.experiment, EXPERIMENTS))
    return EXPERIMENTS[case.experiment](case, run)


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge likelihoods, the normalisation, samples, and states that are found."""
    return [
        Criterion.exact(
            "exact machine: largest bond", per_seed(trials, "widest", experiment="build"), within=0.0, target=16
        ),
        Criterion.exact(
            "exact machine: −log-likelihood minus ln 30", per_seed(trials, "gap", experiment="build"), within=1e-10
        ),
        Criterion.effect(
            "D = 32: −log-likelihood minus ln 30", _learnt(trials, "gap", 32), below=LEARNT, published="→ ln 30"
        ),
        Criterion.effect("D = 16: −log-likelihood minus ln 30", _learnt(trials, "gap", 16), below=NARROW),
        *(
            Criterion.exact(
                f"{name}: |Σ P − 1| over all states, P normalised by the contracted Z",
                _all(trials, column),
                below=1e-8,
                published="theory: 0 (identity)",
            )
            for name, column in (("trained", "excess"), ("untrained", "excess_before"))
        ),
        Criterion.effect(
            "D = 32: total variation of the samples from the enumerated law",
            _learnt(trials, "variation", 32),
            below=0.015,
        ),
        *(
            Criterion.effect(
                f"{title}: fidelity of what is found from random bases",
                _state(trials, "fidelity", name),
                above=0.99,
            )
            for name, title in (("ghz+", "GHZ+"), ("w", "W"))
        ),
        *_controls(trials),
    ]


def _controls(trials: pd.DataFrame) -> list[Criterion]:
    return [
        Criterion.effect(
            "D = 1: −log-likelihood",
            _learnt(trials, "nll", 1),
            within=0.01,
            target=16 * math.log(2),
            published="theory: 16 ln 2",
            control=True,
        ),
        *(
            Criterion.exact(
                f"D = {bond}: −log-likelihood minus ln 30, least",
                _learnt(trials, "gap", bond),
                above=NARROW,
                published=f"theory: at least ln(30/{15 + bond})",
                control=True,
            )
            for bond in BONDS
            if bond <= 8
        ),
        Criterion.effect(
            "σz alone: fidelity to GHZ+ of what is found from GHZ+ minus from GHZ−",
            _state(trials, "to_plus", "ghz+", measured="z") - _state(trials, "to_plus", "ghz-", measured="z"),
            within=0.1,
            control=True,
        ),
        Criterion.effect(
            "GHZ+, product state: fidelity", _state(trials, "fidelity", "ghz+", bond=1), below=0.51, control=True
        ),
        Criterion.effect(
            "restricted Boltzmann machine: log₁₀ of −log-likelihood minus ln 30",
            per_seed(trials, "gap", experiment="boltzmann").map(math.log10),
            above=math.log10(LEARNT),
            control=True,
        ),
    ]


def _learnt(trials: pd.DataFrame, column: str, bond: int) -> Numbers:
    return per_seed(trials, column, experiment="learn", bond=bond)


def _state(
    trials: pd.DataFrame, column: str, state: str, *, measured: str = "random", bond: int = STATE_BOND
) -> Numbers:
    return per_seed(trials, column, experiment="reconstruct", state=state, measured=measured, bond=bond)


def _all(trials: pd.DataFrame, column: str) -> Numbers:
    """Return a number of all trained machines, by seed."""
    if column not in trials or "experiment" not in trials:
        return per_seed(trials, column)
    return trials[trials["experiment"] == "learn"].set_index("seed")[column].astype(float)


def _grid(seeds: int, **sizes: Any) -> Grid:
    states = Grid(seeds=seeds, experiment="reconstruct", state=["ghz+", "w"], bond=[1, STATE_BOND], **sizes)
    return (
        Grid(seeds=seeds, experiment="learn", bond=[bond for bond in BONDS if bond < 32], **sizes)
        + Grid(seeds=seeds, experiment="learn", bond=32, **{"samples": 100_000, **sizes})
        + Grid(seeds=seeds, experiment="build", bond=16, **{"samples": 100_000, **sizes})
        + Grid(seeds=seeds, experiment="boltzmann", **sizes)
        + states
        + Grid(seeds=seeds, experiment="reconstruct", state=["ghz+", "ghz-"], measured="z", bond=STATE_BOND, **sizes)
    )


STUDY = Study(
    claim=(
        "A matrix-product-state Born machine learns bars and stripes exactly; its likelihood and its samples are exact."
    ),
    source="han2018unsupervised",
    topics=("generative models",),
    rows=("born-machine-mps", "repo-mps-born"),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(1, side=2, sweeps=2, samples=20, hidden=3, rbm_steps=2, qubits=3, shots=30),
        "quick": _grid(5),
        "full": _grid(20, sweeps=200, rbm_steps=50_000, shots=20_000),
    },
    defaults={
        "side": 4,
        "bond": 0,
        "sweeps": 40,
        "learning_rate": 0.1,
        "samples": 0,
        "hidden": 882,
        "rbm_steps": 5000,
        "rbm_rate": 0.05,
        "state": "",
        "measured": "random",
        "qubits": 6,
        "shots": 5000,
    },
    protocol=(
        "Born machines, whose probabilities are squares of matrix products, learn the 30 pictures of bars or stripes "
        "of 4 × 4 pixels by two-site sweeps, with bonds of 1 to 32 dimensions. The likelihood must come within 0.01 "
        "nats of the best with 32 dimensions; the normalisation, which is contracted, must be that of all 65,536 "
        "states; and samples must follow the enumerated law. The exact machine, by singular value decompositions, must "
        "need 16 dimensions. Complex machines must find states of six qubits from measurements in random bases, to a "
        "fidelity of 0.99. Controls: one dimension learns nothing but fair bits, and eight or fewer stay above a bound "
        "that follows from the pictures' Schmidt values; measurements in one basis do not tell states that differ by a "
        "phase; product states do not reach entangled ones; and a restricted Boltzmann machine of equal size does not "
        "come as near by contrastive divergence."
    ),
    caption=(
        "Means over seeds with 95 % intervals. Top left: how far the likelihood is from the best possible, by the "
        "dimension of the bonds (gaps below 10⁻⁶ are drawn there); dotted: a bound that no machine can pass; orange: a "
        "restricted Boltzmann machine with as many parameters. Top right: the same while training. Bottom right: "
        "fidelity of reconstructed states, blue from measurements in random bases; orange, to GHZ+, from measurements "
        "in one basis of either GHZ state; green of product states."
    ),
)
