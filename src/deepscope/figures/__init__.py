"""What every picture shares: one palette, one canvas, a few marks, and SVG that fits into a page."""

from deepscope.figures._canvas import new, style
from deepscope.figures._marks import band, direct_label, interval, layer_axis
from deepscope.figures._matrix import matrix
from deepscope.figures._over_seeds import over_seeds
from deepscope.figures._palette import COLORS, DARK, Colors, css
from deepscope.figures._surface import contours, surface
from deepscope.figures._svg import to_svg

__all__ = [
    "COLORS",
    "DARK",
    "Colors",
    "band",
    "contours",
    "css",
    "direct_label",
    "interval",
    "layer_axis",
    "matrix",
    "new",
    "over_seeds",
    "style",
    "surface",
    "to_svg",
]
