"""The palette is readable: on its paper, in grey, and for colour-blind eyes."""

import itertools
from dataclasses import asdict

import numpy as np
import pytest

from deepscope.figures import COLORS, DARK, css

PALETTES = pytest.mark.parametrize("colors", [COLORS, DARK], ids=["light", "dark"])

# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def linear(color):
    channels = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(color):
    return float(linear(color) @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_and_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@PALETTES
@pytest.mark.parametrize("name", ["ink", "muted", "accent", "problem", "warning", "good"])
@pytest.mark.parametrize("ground", ["paper", "band"])
def test_text_is_readable(colors, name, ground):
    # 4.5 is what WCAG 2.2 (1.4.3) asks of text.
    assert contrast(getattr(colors, name), getattr(colors, ground)) >= 4.5


@PALETTES
def test_series_are_told_apart_in_grey(colors):
    series = [colors.accent, colors.second, colors.third]
    # WCAG 2.2 (1.4.11) asks 3 of marks against their ground; 1.2 between two marks is about 8 steps of CIE lightness.
    assert all(contrast(each, colors.paper) >= 3 for each in series)
    assert contrast(series[0], series[1]) >= 1.2
    assert contrast(series[0], series[2]) >= 1.2


@PALETTES
@pytest.mark.parametrize("kind", BLINDNESS)
def test_series_are_told_apart_by_colour_blind_eyes(colors, kind):
    seen = [np.clip(BLINDNESS[kind] @ linear(each), 0, 1) ** (1 / 2.4) for each in
            (colors.accent, colors.second, colors.third)]  # fmt: skip
    for one, other in itertools.combinations(seen, 2):
        # 0.15 of a channel's range, in the perceptual scale of the display, is far above a just noticeable step.
        assert np.abs(one - other).max() >= 0.15


@PALETTES
def test_colours_are_distinct_so_that_each_finds_its_variable(colors):
    assert len(set(asdict(colors).values())) == len(asdict(colors))


def test_css_sets_every_variable_in_both_palettes():
    text = css()
    for name, value in asdict(COLORS).items():
        assert f"--{name}:{value};" in text.split("@media")[0]
    for name, value in asdict(DARK).items():
        assert f"--{name}:{value};" in text.split("@media")[1]
    assert "screen and (prefers-color-scheme:dark)" in text
