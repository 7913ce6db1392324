"""deepscope models list|show."""

from __future__ import annotations

from cyclopts import App

from deepscope._terminal import console
from deepscope.cli._options import DONE, Json
from deepscope.cli._output import print_json, show

models_app = App(name="models", help="Reference models and training methods: list, show.")


@models_app.command(name="list")
def models_list(*, json: Json = False) -> int:
    """List the reference models with the parameters of each, and the training methods."""
    from deepscope.lab import model_list
    from deepscope.report import model_list_text

    found = model_list()
    if json:
        print_json(found)
    else:
        model_list_text(found, console())
    return DONE


@models_app.command(name="show")
def models_show(name: str, *, json: Json = False) -> int:
    """Show what a model computes, its layers, and the test that pins it; or what a training method does.

    Parameters
    ----------
    name
        As "deepscope models list" names it.
    """
    from deepscope.lab import model_sheet
    from deepscope.report import model_show_text

    show(model_sheet(name), model_show_text, json=json, out=None)
    return DONE
