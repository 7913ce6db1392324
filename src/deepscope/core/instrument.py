"""What an instrument declares about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any

from deepscope.core.reading import Reading

#: How much effort ``examine`` may spend: fewer samples, or all of them.
BUDGETS = ("quick", "standard", "deep")
#: Floating-point operations that one instrument may take, by budget. A core does some 2e10 in a second: a few seconds,
#: a minute, half an hour.
OPERATIONS: Mapping[str, float] = {"quick": 1e11, "standard": 1e12, "deep": 4e13}


class Needs(Flag):
    """What an instrument needs of a subject."""

    WEIGHTS = auto()
    MODEL = auto()
    DATA = auto()
    LOSS = auto()


@dataclass(frozen=True, kw_only=True)
class PerWeight:
    """How an instrument measures tensor by tensor, so that one read of each serves all instruments.

    Attributes
    ----------
    step
        ``step(weight, tensor, **effort)``: the records of one tensor, each a ``record`` or a ``LeftOut`` saying why
        there is none; a function at the top of its file, so that it can be sent to workers. ``tensor`` is None where
        the weight's dtype cannot be measured.
    gather
        ``gather(subject, items, cost)``: the reading made of all records, in the order of the weights.
    record
        The dataclass of a step's records, of what a reading can hold: what a tensor gave can then be stored, and an
        examination that was stopped goes on.
    seeded
        Whether ``step`` takes a ``seed`` as well, from which it draws whatever is random; the same for all tensors, so
        that it derives one for each.
    """

    step: Callable[..., Sequence[Any]]
    gather: Callable[..., Reading]
    record: type
    seeded: bool = False


@dataclass(frozen=True, kw_only=True)
class Known:
    """A subject with an exactly known answer, for the contract suite.

    Attributes
    ----------
    name
        What it is, in a few words.
    make
        Builds the subject, the same each time.
    holds
        Whether a reading shows the known answer.
    fault
        Name of the layer or tensor in which a fault was planted (``""`` for the whole network): some finding worse
        than a note must name it. None for a good subject: no finding worse than a note may appear.
    """

    name: str
    make: Callable[[], Any]
    holds: Callable[[Any], bool]
    fault: str | None = None


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """An instrument: what it measures, how, what it needs, and how it is proved.

    Attributes
    ----------
    name
        Name of the function, of the reading's entry in an examination, and on the command line.
    title
        What it looks at, in a few words.
    measure
        ``measure(subject, *, generator=None, **effort) -> reading``.
    reading
        The class of its readings.
    needs
        What it needs of a subject; where that is missing it is not run.
    formula
        The quantities and how they are defined, in plain text.
    how_to_read
        Two sentences under its figure.
    source
        Key of the reference it follows.
    efforts
        Keyword arguments of ``measure`` by budget.
    fit
        ``fit(subject, effort, operations)``: the effort, less what would take more operations than these on a network
        as large as the subject. It counts on one sample and does not time, so that it is the same on every machine.
        It raises ``DoesNotApplyError`` where they allow nothing that would tell anything.
    per_weight
        The instrument as a step per tensor and a step that gathers, where it is one.
    expected_cost
        ``expected_cost(subject, **effort)``: what measuring will take, in a few words, without measuring.
    rows
        Rows of the map that it demonstrates.
    pinned_by
        The test that proves it, as pytest names it.
    known
        Subjects with an exactly known answer, good and planted-bad.
    """

    name: str
    title: str
    measure: Callable[..., Any]
    reading: type[Reading]
    needs: Needs
    formula: str
    how_to_read: str
    source: str
    efforts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fit: Callable[[Any, Mapping[str, Any], float], Mapping[str, Any]] | None = None
    per_weight: PerWeight | None = None
    expected_cost: Callable[..., str] | None = None
    rows: tuple[str, ...] = ()
    pinned_by: str = ""
    known: tuple[Known, ...] = ()

    def effort(self, budget: str, subject: Any = None) -> Mapping[str, Any]:
        """Keyword arguments for a budget; for a subject, what its size allows of them."""
        effort = self.efforts.get(budget, {})
        if subject is None or self.fit is None or budget not in self.efforts:
            return effort
        return self.fit(subject, effort, OPERATIONS[budget])
