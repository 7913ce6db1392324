"""What a study's trials say: the table, the verdict, the figure, the record."""

from __future__ import annotations

import datetime
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepscope.core import Criterion, Value, Verdict, one_line
from deepscope.figures import to_svg
from deepscope.lab._protocol import Protocol
from deepscope.lab._trial_record import TrialRecord, trials_table

_FAILURES_KEPT = 50


class StudyResult:
    """What the trials say: the table, the verdict, the figure."""

    def __init__(self, protocol: Protocol, records: Sequence[TrialRecord], notes: list[str]) -> None:
        self.protocol, self.records, self.notes = protocol, records, notes
        self.table = trials_table(record for record in records if record.status == "finished")
        self.failed = [record for record in records if record.status == "failed"]
        self.verdict = self._judged()
        self.figure = self._drawn()

    def _judged(self) -> Verdict:
        criteria: Sequence[Criterion] = ()
        try:
            criteria = tuple(self.protocol.study.judge(self.table.copy()))
            seeds = self.table["seed"].nunique() if len(self.table) else 0
            verdict = Verdict.of(criteria, seeds=seeds, failed=len(self.failed))
        except (Exception, SystemExit) as error:
            return Verdict(
                outcome="inconclusive", criteria=(), reasons=(f"the trials cannot be judged: {_why(error)}",)
            )
        if self.protocol.scale == "smoke":
            reason = "smoke judges nothing"
            unjudged = tuple(replace(criterion, low=None, high=None, note=reason) for criterion in criteria)
            return Verdict(outcome="inconclusive", criteria=unjudged, reasons=(reason,))
        return verdict

    def _drawn(self) -> str:
        try:
            return to_svg(self.protocol.study.draw(self.table.copy()), "study-")
        except (Exception, SystemExit) as error:
            self.notes.append(f"The figure cannot be drawn: {_why(error)}")
            return ""

    def record(
        self, head: Mapping[str, Any], *, path: Path, reused: int, wall_seconds: float, **more: Any
    ) -> dict[str, Any]:
        """Return everything as plain JSON."""
        study = self.protocol.study
        return {
            "schema": 1,
            "kind": "study",
            "study": self.protocol.reference.id,
            "claim": study.claim,
            "source": study.source,
            "topics": list(study.topics),
            "rows": list(study.rows),
            "protocol": study.protocol,
            "caption": study.caption,
            "scale": self.protocol.scale,
            "modified": self.protocol.modified,
            "settings": dict(self.protocol.settings),
            **self.verdict.to_dict(),
            "cases": len({planned.case for planned in self.protocol.trials}),
            "seeds": len({planned.seed for planned in self.protocol.trials}),
            "trials": len(self.records),
            "reused": reused,
            "failed": len(self.failed),
            "failures": [
                {"case": _text(record.case), "seed": record.seed, "error": record.error}
                for record in self.failed[:_FAILURES_KEPT]
            ],
            "cost": {
                "cpu_seconds": math.fsum(record.cpu_seconds for record in self.records),
                "wall_seconds": wall_seconds,
                "peak_memory_bytes": max((record.peak_memory_bytes for record in self.records), default=0),
            },
            "notes": self.notes,
            "code": self.protocol.code,
            "device": head["device"],
            "commit": head["commit"],
            "versions": head["versions"],
            "hardware": head["hardware"],
            "environments": head["environments"],
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "path": str(path),
            **more,
        }


def _text(case: Mapping[str, Value]) -> str:
    return " ".join(f"{name}={value}" for name, value in case.items())


def _why(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    last = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{one_line(error)}{last}"
