"""powerlaw's comparison of the tails in a .npz file with other laws; runs in the peers' environment.

python peer_powerlaw.py TAILS.npz ANSWER.json
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import powerlaw

ALTERNATIVES = ("truncated_power_law", "lognormal", "exponential")


def compared(tail: np.ndarray) -> dict[str, object]:
    """Return ratio, p-value and parameters of each law of the values from the smallest up."""
    fit = powerlaw.Fit(tail, xmin=tail.min())
    answer: dict[str, object] = {"alpha": float(fit.power_law.alpha)}
    for name in ALTERNATIVES:
        nested = name == "truncated_power_law"
        ratio, p_value = fit.distribution_compare("power_law", name, nested=nested)
        law = getattr(fit, name)
        answer[name] = {
            "ratio": float(ratio),
            "p_value": float(p_value),
            "parameters": [float(law.parameter1), float(law.parameter2 or 0.0)],
        }
    return answer


def main(tails: str, answer: str) -> None:
    # It prints its progress.
    with np.load(tails) as archive, contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        rows = {name: compared(archive[name]) for name in archive.files}
    Path(answer).write_text(json.dumps(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
