"""The atlas in words: how its claims stand, and what its words mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from deepscope.report._numbers import how_many
from deepscope.report._record import Record

#: How a study without a record stands.
UNRECORDED = "not yet recorded"
#: How studies stand, in the order in which a reader is told.
STANDINGS = ("reproduced", "not reproduced", "inconclusive", UNRECORDED)

#: What a reader needs to know who has never seen a study.
WORDS = (
    ("verdict", "Reproduced: every criterion holds. Not reproduced: at least one fails. Inconclusive: none fails, but "
     "not all of them can be decided."),
    ("criterion", "A number that the study measures, and what it must be if the claim is true. What it must be is "
     "written down before the study is run."),
    ("control", "A condition in which the effect must be absent. If it is seen there as well, what was measured is "
     "not the effect, and the claim does not count as reproduced."),
    ("seed and interval", "A study is run several times, each time with other random numbers, from another seed. "
     "The 95 % interval says how sure the mean over the seeds is: of a hundred intervals made in this way, about 95 "
     "contain the mean that endlessly many seeds would give."),
    ("exact", "A criterion that is no matter of chance, such as an identity or a theorem, must hold in the worst of "
     "all trials."),
    ("published", "What the source itself reports, where it reports a number, or what theory says it must be."),
    ("scale", "At quick, a study takes minutes on a small computer; at full, it follows the source's protocol as far "
     "as that is possible. Smoke only shows that all of it runs, and judges nothing."),
    ("stale", "The code on which the verdict rests has changed since it was recorded. It may still be right, but "
     "nobody has looked."),
)  # fmt: skip


def standing(study: Record) -> str:
    """Return how a study of the atlas stands: its recorded verdict, or that there is none."""
    return str(study["record"]["verdict"]) if study["record"] else UNRECORDED


def gallery_sentence(studies: Sequence[Record]) -> str:
    """Say in one sentence how all claims stand.

    >>> gallery_sentence([{"record": {"verdict": "reproduced"}}, {"record": {"verdict": "not reproduced"}}])
    '2 claims of the literature put to the test: 1 reproduced, 1 not.'
    """
    counts = Counter(map(standing, studies))
    waiting = counts.pop(UNRECORDED, 0)
    tested = counts.total()
    if not tested:
        return f"{how_many(waiting, 'claim')} of the literature to be put to the test: no verdict is recorded yet."
    said = {"reproduced": "reproduced", "not reproduced": "not", "inconclusive": "inconclusive"}
    if not counts["reproduced"]:
        said["not reproduced"] = "not reproduced"
    parts = ", ".join(f"{counts[each]:,} {word}" for each, word in said.items() if counts[each])
    return f"{how_many(tested, 'claim')} of the literature put to the test: {parts}."


def caveats(studies: Sequence[Record]) -> str:
    """Say of how many claims the verdict is stale, or not recorded, where there are any."""
    waiting = sum(not study["record"] for study in studies)
    stale = sum(bool(study["record"] and study["stale"]) for study in studies)
    parts = []
    if stale == 1:
        parts.append("1 of these verdicts is stale: code on which it rests has changed since.")
    elif stale:
        parts.append(f"{stale:,} of these verdicts are stale: code on which they rest has changed since.")
    if waiting and waiting < len(studies):
        more = "1 more claim has" if waiting == 1 else f"{waiting:,} more claims have"
        parts.append(f"{more} a study whose verdict is not yet recorded.")
    return " ".join(parts)


def map_sentence(demonstrated: int, rows: int) -> str:
    """Say how much of the map is demonstrated."""
    verb = "is" if demonstrated == 1 else "are"
    named = f"{rows:,} methods, systems and findings that the reading lists name"
    return f"{demonstrated:,} of {named} {verb} demonstrated here."
