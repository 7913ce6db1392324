"""A figure as SVG that fits into a page."""

from __future__ import annotations

import html
import io
import re
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import unquote

from deepscope.figures._canvas import style
from deepscope.figures._marks import NAME_MARK
from deepscope.figures._palette import COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VARIABLES = {value: f"var(--{name}, {value})" for name, value in asdict(COLORS).items()}
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_USE = re.compile(r'<use xlink:href="([^"]*)" x="([^"]*)" y="([^"]*)" style="([^"]*)"/>\s*')


def to_svg(figure: Figure, prefix: str = "figure") -> str:
    """Return a figure as one ``<svg>`` element, the same text for the same figure.

    Text stays text, in the reader's own font. The palette's colours become CSS variables with themselves as
    fallback, so that one picture serves light and dark pages and also stands alone as a file. The figure's layout is
    settled by the first call.

    Parameters
    ----------
    figure
        A figure made by ``new``.
    prefix
        Begins every id in it; give each figure of a page its own.
    """
    text = io.StringIO()
    with style(), warnings.catch_warnings():
        # The reader's browser draws the text; what this machine's font lacks is no matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        # A constrained layout moves a little with every drawing; settled once, it stays.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, count=1, flags=re.DOTALL)
    svg = _root(svg)
    svg = _tooltips(svg)
    svg = _own_ids(svg, prefix)
    svg = _compact(svg)
    return re.sub(r'style="[^"]*"', _themed, svg)


def _root(svg: str) -> str:
    """As wide as its place; its rules for lines on itself, for a style element would reach the whole page."""
    svg = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>\s*", "", svg, count=1, flags=re.DOTALL)
    head, rest = svg.split(">", 1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)
    return f'{head} width="100%" style="stroke-linejoin: round; stroke-linecap: butt">{rest}'


def _tooltips(svg: str) -> str:
    mark = re.escape(NAME_MARK)
    return re.sub(rf'<g id="{mark}([^"]*)">', lambda found: f"<g><title>{_escaped(unquote(found[1]))}</title>", svg)


def _escaped(name: str) -> str:
    return html.escape("".join(each if each.isprintable() else "\ufffd" for each in name))


def _own_ids(svg: str, prefix: str) -> str:
    own = re.sub(r"[^A-Za-z0-9_-]+", "-", prefix)
    # Groups carry an id each that nothing refers to; only what is referred to needs one.
    wanted = set(re.findall(r'(?:url\(#|xlink:href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{own}-{found[1]}"' if found[1] in wanted else "", svg)
    return re.sub(r'(url\(#|xlink:href="#)', rf"\g<1>{own}-", svg)


def _compact(svg: str) -> str:
    """Write a run of equal marks once: a thousand points differ in their places only."""
    parts: list[str] = []
    end, style_open = 0, ""
    for found in _USE.finditer(svg):
        target, x, y, look = found.groups()
        if found.start() != end or look != style_open:
            parts.append("</g>" if style_open else "")
            parts.append(svg[end : found.start()])
            parts.append(f'<g style="{look}">')
            style_open = look
        parts.append(f'<use xlink:href="{target}" x="{_short(x)}" y="{_short(y)}"/>')
        end = found.end()
    parts.append("</g>" if style_open else "")
    parts.append(svg[end:])
    svg = re.sub(r' d="([^"]*)"', _short_path, "".join(parts))
    return re.sub(r">\n\s*<", "><", svg)


def _short_path(path: re.Match[str]) -> str:
    return f' d="{re.sub(_LONG_NUMBER, lambda number: _short(number[0]), " ".join(path[1].split()))}"'


def _short(number: str) -> str:
    return f"{float(number):.2f}".rstrip("0").rstrip(".")


def _themed(attribute: re.Match[str]) -> str:
    text = re.sub(r"#[0-9a-f]{6}\b", lambda found: _VARIABLES.get(found[0], found[0]), attribute[0])
    return re.sub(r"'DejaVu Sans'(, [^;\"]*)?(?=[;\"])", "system-ui, sans-serif", text)
