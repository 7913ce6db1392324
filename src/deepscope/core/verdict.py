"""What a study's criteria say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deepscope.core.criterion import FEWEST_SEEDS, Criterion, few_seeds
from deepscope.core.errors import UsageError

Outcome = Literal["reproduced", "not reproduced", "inconclusive"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Reproduced, not reproduced or inconclusive, with every criterion's measured value and interval.

    Attributes
    ----------
    outcome
        ``"reproduced"``: all criteria hold. ``"not reproduced"``: one fails (a control fails when it shows the effect).
        ``"inconclusive"``: neither.
    criteria
        In the order in which they were judged.
    reasons
        Why it is not "reproduced"; empty where it is.
    """

    outcome: Outcome
    criteria: tuple[Criterion, ...]
    reasons: tuple[str, ...] = ()

    @classmethod
    def of(cls, criteria: Sequence[Criterion], *, seeds: int, failed: int = 0) -> Verdict:
        """Derive the verdict.

        Parameters
        ----------
        criteria
            What ``judge`` returned.
        seeds
            Number of seeds that trials were finished with; fewer than 3 decide nothing.
        failed
            Number of trials that failed: what they would have shown is unknown, so that nothing is reproduced.

        Raises
        ------
        UsageError
            Two criteria have one name.

        Examples
        --------
        >>> effect = Criterion.effect("gain", {0: 1.1, 1: 0.9, 2: 1.0}, above=0.5)
        >>> control = Criterion.effect("gain of nothing", {0: 0.1, 1: -0.1, 2: 0.0}, within=0.5, control=True)
        >>> Verdict.of([effect, control], seeds=3).outcome
        'reproduced'
        >>> Verdict.of([effect], seeds=3).reasons
        ('no control was judged',)
        """
        twice = [name for name, count in Counter(criterion.name for criterion in criteria).items() if count > 1]
        if twice:
            raise UsageError("two criteria have one name", where=twice[0], todo="Name each for what it judges.")
        if seeds < FEWEST_SEEDS:
            return cls(outcome="inconclusive", criteria=tuple(criteria), reasons=(few_seeds(seeds),))
        wrong = [criterion for criterion in criteria if criterion.holds is False]
        if wrong:
            reasons = [f"{c.name}: {'the control shows the effect' if c.control else 'fails'}" for c in wrong]
            return cls(outcome="not reproduced", criteria=tuple(criteria), reasons=tuple(reasons))
        reasons = [
            f"{c.name}: {c.note or 'the interval lies across, or touches, the threshold'}"
            for c in criteria
            if c.holds is None
        ]
        if failed:
            reasons.append(f"{failed} {'trial' if failed == 1 else 'trials'} failed")
        if not any(criterion.control for criterion in criteria):
            reasons.append("no control was judged")
        if all(criterion.control for criterion in criteria):
            reasons.append("no criterion of the claim itself was judged")
        return cls(
            outcome="inconclusive" if reasons else "reproduced", criteria=tuple(criteria), reasons=tuple(reasons)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "verdict": self.outcome,
            "criteria": [criterion.to_dict() for criterion in self.criteria],
            "reasons": list(self.reasons),
        }
