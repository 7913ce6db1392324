"""Points of a watched training: whole lines, whatever happens to the writer or the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepscope.lab._point_log import PointLog, read_points

WINDOW = {"kind": "window", "step": 3, "training_loss": 0.1 + 0.2, "training_loss_largest": None, "nonfinite_losses": 1}
MEASUREMENT = {
    "kind": "measurement", "step": 4, "training_seconds": 1 / 3, "measuring_seconds": 0.0,
    "numbers": {"λ": 1e-310, "b": None}, "status": "ok",
}  # fmt: skip
LEFT_OUT = {"kind": "left out", "step": 4, "name": "x", "reason": "broken"}
END = {"kind": "end", "step": 9, "training_seconds": 2, "measuring_seconds": 1.0, "error": ""}
POINTS: list[dict[str, Any]] = [WINDOW, MEASUREMENT, LEFT_OUT, END]


def written(path: Path) -> Path:
    log = PointLog(path / "points.jsonl")
    for point in POINTS:
        log.append(point)
    log.close()
    return log.path


def test_what_was_written_is_read_exactly(tmp_path: Path) -> None:
    assert read_points(written(tmp_path)) == (POINTS, 0)
    assert read_points(tmp_path / "nothing") == ([], 0)


def test_a_file_that_is_cut_anywhere_gives_its_whole_lines(tmp_path: Path) -> None:
    content = written(tmp_path).read_bytes()
    for length in range(len(content)):
        (tmp_path / "cut").write_bytes(content[:length])
        points, bad = read_points(tmp_path / "cut")
        assert bad == 0
        assert points == POINTS[: content[:length].count(b"\n")]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"kind":["window"]}',
        b'{"kind":"later","step":1}',
        b'{"kind":"left out","step":1.5,"name":"x","reason":"y"}',
        b'{"kind":"end","step":9,"training_seconds":NaN,"measuring_seconds":1.0,"error":""}',
        b'{"kind":"measurement","step":4,"training_seconds":1,"measuring_seconds":1,"numbers":{"a":"b"},"status":""}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_point_is_counted_and_the_rest_is_read(tmp_path: Path, line: bytes) -> None:
    path = written(tmp_path)
    first, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(first + b"\n" + line + b"\n" + rest)
    assert read_points(path) == (POINTS, 1)


def test_a_number_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        PointLog(tmp_path / "p").append({**WINDOW, "training_loss": float("nan")})
