"""What every page of a study shows: its verdict, figure, criteria, protocol, failures and cost."""

from __future__ import annotations

from dataclasses import dataclass

from deepscope.report._criteria import CONTROL, HOW_TO_READ, CriterionView, criteria_views
from deepscope.report._interval import TALL, WIDE
from deepscope.report._ledger import by_reason, cost_lines
from deepscope.report._record import Record
from deepscope.report._study_record import failures, judged
from deepscope.report._verdict import other_reasons, verdict_sentence


@dataclass(frozen=True)
class StudyView:
    """A run of a study in words.

    Attributes
    ----------
    claim, caption, protocol
        As in the record, made safe to show; ``""`` where there is none.
    word, rest
        The sentence of the verdict before and after its colon.
    verdict
        The verdict as a class of the style sheet.
    figure
        SVG, or ``""``.
    reasons
        Why the claim was not reproduced, besides what the criteria say.
    criteria
        In the order of the record.
    failures
        Failed trials by error; ``unlisted`` of the ``failed`` are not among them.
    cost, notes
        One line; what the run says besides.
    """

    claim: str
    caption: str
    protocol: str
    word: str
    rest: str
    verdict: str
    figure: str
    reasons: list[str]
    criteria: tuple[CriterionView, ...]
    failures: list[tuple[str, list[str]]]
    failed: int
    unlisted: int
    cost: str
    notes: list[str]

    how_to_read = HOW_TO_READ
    wide, tall = WIDE, TALL

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        return f"{self.word}: {self.rest}"

    @property
    def control(self) -> str:
        """What a control is, where there is one."""
        return CONTROL if any(view.control for view in self.criteria) else ""

    @property
    def drawn(self) -> bool:
        """Whether any criterion is drawn."""
        return any(view.drawing.dot for view in self.criteria)

    @property
    def dashed(self) -> bool:
        """Whether any published value is drawn."""
        return any(view.drawing.published for view in self.criteria)


def study_view(record: Record, figure: str) -> StudyView:
    """Return a run of a study in words; the record is one that ``readable`` made safe."""
    word, _, rest = verdict_sentence(record).partition(": ")
    failed = record.get("failed") or 0
    return StudyView(
        claim=record["claim"],
        caption=record.get("caption") or "",
        protocol=record.get("protocol") or "",
        word=word,
        rest=rest,
        verdict=record["verdict"].replace(" ", "-"),
        figure=figure,
        reasons=other_reasons(record),
        criteria=criteria_views(record["criteria"], judged=judged(record)),
        failures=by_reason(failures(record)),
        failed=failed,
        unlisted=failed - len(record.get("failures") or ()),
        cost=cost_lines(record.get("cost") or {}),
        notes=record["notes"],
    )
