"""What of the symmetries a network's size allows to be measured."""

from __future__ import annotations

from deepscope.core import DoesNotApplyError, MeasurementError
from deepscope.instruments._affordable import ENOUGH, FEWEST, Keywords
from deepscope.instruments._symmetry_findings import FEWEST as FEWEST_OF_ALL
from deepscope.instruments._symmetry_groups import families_of
from deepscope.instruments._symmetry_probe import probe
from deepscope.instruments._symmetry_scores import FEWEST_NETWORKS
from deepscope.subject import Subject, forward_work

#: What a network of unknown layout is taken to be run on: three families of four transformations.
_USUAL_SIZES = (4, 4, 4)
#: Passes of the network itself that see what there is, and whether it is random.
_CHECKS = 3


def fitted(subject: Subject, effort: Keywords, operations: float) -> Keywords:
    """Return as much of an effort as the operations allow.

    Networks with random weights beyond four go first, then samples beyond 16; then all transformations but one of each
    family, then the baseline. From four samples on there is an error with an interval.

    Raises
    ------
    DoesNotApplyError
        They do not allow four samples of the network alone.
    """
    work = forward_work(subject).operations
    sizes = _sizes(subject)
    least = {**effort, "networks": FEWEST_NETWORKS, "transformations": 1}

    def price(each: Keywords) -> float:
        passes = 1 + sum(min(size, each.get("transformations", size)) for size in sizes)
        return float(work * ((1 + each["networks"]) * passes + _CHECKS))

    for each, enough in (
        (effort, ENOUGH),
        ({**effort, "networks": 4}, FEWEST),
        (least, FEWEST_OF_ALL),
        ({**least, "networks": 0}, FEWEST_OF_ALL),
    ):
        # What is saved goes into samples as far as it would have without saving.
        most = effort["max_samples"] if "transformations" not in each else min(FEWEST, effort["max_samples"])
        allowed = operations / price(each)
        if allowed >= min(enough, most):
            return {**each, "max_samples": int(min(most, allowed))}
    raise DoesNotApplyError(
        f"a pass of one sample takes {work:.1e} operations, of which this budget allows {operations:.1e}: not enough "
        f"for {FEWEST_OF_ALL} samples under one transformation of each family",
        where=subject.name,
        todo="Choose a larger budget, or call symmetry() with a group, few samples and networks=0.",
    )


def _sizes(subject: Subject) -> tuple[int, ...]:
    """Return how many transformations each family of the default group of its inputs has."""
    try:
        with subject.undisturbed():
            layout = probe(subject, FEWEST_OF_ALL).layout
            families = families_of(layout, None, (90.0, 180.0, 270.0), (0.5, 2.0), 0)
    except MeasurementError:
        return _USUAL_SIZES
    return tuple(len(family.members) for family in families)
