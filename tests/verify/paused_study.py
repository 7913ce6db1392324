"""A study of short trials, each of which waits: a test that kills who runs them then finds them at work."""

from __future__ import annotations

from pathlib import Path

SHORT = Path(__file__).parents[1] / "lab" / "studies" / "short.py"
BEGINS = '    basis = run.shared(make_basis, size=8)["basis"]\n'


def paused_study(folder: Path) -> Path:
    """Write a copy of ``short`` whose 200 trials at ``full`` keep two workers busy for two seconds; return its file."""
    text = SHORT.read_text(encoding="utf-8")
    assert text.count(BEGINS) == text.count("\nimport torch\n") == 1
    text = text.replace("\nimport torch\n", "\nimport time\n\nimport torch\n").replace(
        BEGINS, f"    time.sleep(0.02)\n{BEGINS}"
    )
    path = folder / "paused.py"
    path.write_text(text, encoding="utf-8")
    return path
