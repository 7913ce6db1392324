"""The conditions of the study of deep BSDE, and what is asked for, as its judge and its picture pick them out."""

from __future__ import annotations

from deepscope.core import Value

ALLEN_CAHN: dict[str, Value] = {"equation": "allen-cahn", "rate": 0.0}
HJB: dict[float, dict[str, Value]] = {rate: {"equation": "hjb", "rate": rate} for rate in (0.0, 1.0, 20.0)}
#: The number of steps that is judged; twice as many tell its bias.
STEPS = 20
#: By λ, how much of the error without a network may be left.
LARGEST_SHARE = {1.0: 0.25, 20.0: 0.125}
