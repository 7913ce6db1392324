import subprocess
import sys

import matplotlib as mpl
import numpy as np

from deepscope import figures


def test_new_makes_axes_as_asked():
    figure, ax = figures.new(width=5, height=2)
    assert tuple(figure.get_size_inches()) == (5, 2)
    assert ax.figure is figure
    assert not ax.spines["top"].get_visible()
    _, axes = figures.new(rows=2, cols=3, sharex=True)
    assert isinstance(axes, np.ndarray)
    assert axes.shape == (2, 3)


def test_the_users_settings_stay_as_they_were():
    before = dict(mpl.rcParams)
    figure, ax = figures.new()
    ax.plot([1, 2], [3, 4])
    figures.to_svg(figure)
    assert dict(mpl.rcParams) == before


def test_importing_loads_neither_matplotlib_nor_torch():
    code = "import sys, deepscope.figures; assert not {'matplotlib', 'torch'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pyplot_is_never_loaded():
    code = (
        "import sys; from deepscope import figures; figure, ax = figures.new(); figures.layer_axis(ax, ['a']);"
        "figures.to_svg(figure); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
