"""The colours of pictures and pages."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Colors:
    """A palette, as ``#rrggbb``.

    ``accent``, ``second`` and ``third`` tell series apart: they differ in lightness, so that they also do so in grey
    and for a colour-blind reader. ``problem``, ``warning`` and ``good`` are dark enough for text.

    Attributes
    ----------
    ink, muted
        Text and marks; less important text.
    grid, paper, band
        Rules; the background; the range in which a value is unremarkable.
    accent, second, third
        Series, in this order.
    problem, warning, good
        Severities.
    """

    ink: str
    muted: str
    grid: str
    paper: str
    accent: str
    second: str
    third: str
    problem: str
    warning: str
    band: str
    good: str


#: The palette on white paper; what matplotlib draws with.
COLORS = Colors(
    ink="#1d2329",
    muted="#5a646f",
    grid="#dce0e5",
    paper="#ffffff",
    accent="#1c4f8a",
    second="#c0551a",
    third="#2c9c93",
    problem="#b3201d",
    warning="#8d5a00",
    band="#e4ebf3",
    good="#1b7346",
)

#: Its counterpart on a dark screen.
DARK = Colors(
    ink="#e4e7eb",
    muted="#a0a9b4",
    grid="#353c45",
    paper="#14181d",
    accent="#86b6ec",
    second="#e58a4e",
    third="#3f9f98",
    problem="#ff8a80",
    warning="#e6b450",
    band="#232e3b",
    good="#6cc795",
)


def css() -> str:
    """Return the palette as CSS variables, light and dark.

    Dark is for screens only: paper is white whatever the reader's screen is.

    >>> css().startswith(":root{color-scheme:light dark;--ink:#1d2329;")
    True
    """
    dark = _variables(DARK)
    return (
        f":root{{color-scheme:light dark;{_variables(COLORS)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    )


def _variables(colors: Colors) -> str:
    return "".join(f"--{name}:{value};" for name, value in asdict(colors).items())
