"""Whether instruments tell a network that has learnt its labels from one that has learnt random ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepscope import data

pytestmark = pytest.mark.verify
EXAMPLE = Path(__file__).parents[2] / "examples" / "shuffled_labels.py"


def test_each_says_whether_it_separates_them_and_representation_does() -> None:
    found = data.locate(data.find("mnist"))
    if found.missing:
        pytest.skip(found.why_not)
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        capture_output=True,
        text=True,
        timeout=1200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    # Both kinds know what they were trained on: what they differ in is not how well they were trained.
    assert min(result["training_accuracy"]["true_labels"]) > 0.99
    assert min(result["training_accuracy"]["shuffled_labels"]) > 0.97
    for name in ("representation", "information", "topology"):
        measured = result[name]
        beyond = abs(measured["difference"]) > measured["largest_within_a_kind"]
        sure = measured["difference_low"] > 0 or measured["difference_high"] < 0
        assert measured["separates"] == (beyond and sure)
    assert result["representation"]["separates"]
    assert result["representation"]["difference_low"] > 0.1
