"""One sentence: whether a claim was reproduced, and why not."""

from __future__ import annotations

from deepscope.report._numbers import how_many
from deepscope.report._record import Record, cleaned, isolated


def verdict_sentence(record: Record) -> str:
    """Say in one sentence how a claim stands after a run of its study.

    Parameters
    ----------
    record
        A study's run, as ``deepscope study run --json`` prints it.

    Returns
    -------
    str
        As 'Reproduced: 5 of 5 criteria hold (10 seeds, quick).' or 'Not reproduced: "order of Euler" fails (10 seeds,
        quick).'; a run whose cases or seeds were changed is said to be of a modified protocol.
    """
    record = cleaned(record)
    outcome = record["verdict"]
    modified = " under a modified protocol" if record.get("modified") else ""
    where = f"{how_many(record['seeds'], 'seed')}, {record['scale']}"
    return f"{outcome[:1].upper()}{outcome[1:]}{modified}: {_why(record)} ({where})."


def other_reasons(record: Record) -> list[str]:
    """Return why a claim was not reproduced, besides what the sentence and the criteria themselves say."""
    return [reason for reason in (record.get("reasons") or ())[1:] if not _blamed(reason, record)]


def _why(record: Record) -> str:
    reasons = record.get("reasons") or ()
    if not reasons:
        held = sum(criterion["holds"] is True for criterion in record["criteria"])
        return f"{held} of {len(record['criteria'])} criteria hold"
    more = f", and {how_many(len(reasons) - 1, 'more reason')}" if len(reasons) > 1 else ""
    name = _blamed(reasons[0], record)
    if not name:
        return f"{reasons[0].rstrip('.')}{more}"
    # The criterion's row tells the rest.
    what = reasons[0].removeprefix(f"{name}: ").partition("; ")[0]
    return f'"{isolated(name)}"{" " if what == "fails" else ": "}{what}{more}'


def _blamed(reason: str, record: Record) -> str:
    """Return the criterion that a reason is about; the verdict gives it as "name: fails", and a name may hold ": "."""
    names = (criterion["name"] for criterion in record["criteria"])
    return max((name for name in names if reason.startswith(f"{name}: ")), key=len, default="")
