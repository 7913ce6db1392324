"""What networks of the same architecture with random weights put out, in a network's place."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn

from deepscope.core import derive_seed, first_line
from deepscope.instruments._symmetry_pass import Comparison, FamilyScores
from deepscope.instruments._symmetry_probe import OUTPUT
from deepscope.instruments._symmetry_random import randomised
from deepscope.instruments._symmetry_reading import FamilySymmetry
from deepscope.instruments._symmetry_scores import Score
from deepscope.instruments._symmetry_transformation import Family
from deepscope.subject import Subject

#: Scores by network and family.
Networks = list[list[FamilyScores]]


def random_networks(
    subject: Subject, comparison: Comparison, families: Sequence[Family], networks: int, seed: int
) -> tuple[Networks, tuple[str, ...], str]:
    """Return the scores of networks with random weights, which parameters were shuffled, and ``"ok"`` or why not."""
    found: Networks = []
    shuffled: tuple[str, ...] = ()
    assert subject.model is not None
    for index in range(networks):
        try:
            model, shuffled = randomised(subject.model, derive_seed(seed, "network", index))
        except Exception as error:
            return found, shuffled, f"the network cannot be copied: {first_line(error)}"
        found.append(_run(subject, model, comparison, families, seed))
    return found, shuffled, "ok" if networks else "no networks were asked for"


def own_constants(
    subject: Subject,
    comparison: Comparison,
    families: Sequence[Family],
    measured: Sequence[FamilySymmetry],
    seed: int,
) -> dict[str, float]:
    """Return the output's error with what begins constant as the network has it, by family that only it breaks."""
    asked = {each.name: each.kind for each in measured if each.output.is_broken}
    if not asked:
        return {}
    assert subject.model is not None
    model, _ = randomised(subject.model, derive_seed(seed, "network", 0), own_constants=True)
    chosen = [family for family in families if family.name in asked]
    found = {
        family.name: getattr(scores.sites[OUTPUT], asked[family.name])
        for family, scores in zip(chosen, _run(subject, model, comparison, chosen, seed), strict=True)
    }
    return {name: each.value for name, each in found.items() if isinstance(each, Score)}


def _run(
    subject: Subject, model: nn.Module, comparison: Comparison, families: Sequence[Family], seed: int
) -> list[FamilyScores]:
    """Run another network in the subject's place."""
    other = copy.copy(subject)
    other.model = model
    with other.undisturbed(seed=seed):
        return comparison.run(other, families)
