"""deepscope study list|show|run|new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cyclopts import App

from deepscope._terminal import console, user_code
from deepscope.cli._options import DONE, Json
from deepscope.cli._output import print_json, show
from deepscope.cli._study_run import study_run

study_app = App(name="study", help="Studies, each a claim of the literature: list, show, run, new.")
study_app.command(study_run, name="run")


@study_app.command(name="list")
def study_list(*, json: Json = False) -> int:
    """List the studies, and what each claims."""
    from deepscope.report import study_list_text
    from deepscope.studies import catalog

    found = catalog()
    if json:
        print_json(
            [{name: getattr(each, name) for name in ("id", "claim", "topics", "rows", "source")} for each in found]
        )
    else:
        study_list_text(found, console())
    return DONE


@study_app.command(name="show")
def study_show(name: str, *, json: Json = False) -> int:
    """Say what a study claims, what it does, and how large its scales are.

    Parameters
    ----------
    name
        As "deepscope study list" names it, or a file of your own that ends in .py.
    """
    from deepscope.report import study_show_text

    study = _described(name)
    show(study if json else {**study, "target": name}, study_show_text, json=json, out=None)
    return DONE


@study_app.command(name="new")
def study_new(name: str) -> int:
    """Write the file of a new study: a skeleton that runs.

    Parameters
    ----------
    name
        Letters, digits and hyphens; the file is called after it.
    """
    from deepscope.lab import write_skeleton

    path = write_skeleton(name, Path())
    print(f"Wrote {path}. Run it with:\ndeepscope study run {path}")
    return DONE


def _described(name: str) -> dict[str, Any]:
    from deepscope.studies import catalog, load_file, load_study, study_id

    with user_code():
        if name.endswith(".py"):
            path = Path(name).expanduser().resolve()
            study = load_file(path)
        else:
            study = load_study(name)
            path = next(heading.path for heading in catalog() if heading.id == name)
    grids = {scale: study.grid(scale) for scale in study.scales}
    return {
        "id": study_id(path),
        "claim": study.claim,
        "source": study.source,
        "topics": list(study.topics),
        "rows": list(study.rows),
        "protocol": study.protocol,
        "defaults": dict(study.defaults),
        "scales": {
            scale: {"cases": len(grid.cases), "seeds": len(grid.seeds), "trials": len(list(grid.trials()))}
            for scale, grid in grids.items()
        },
        "timeout": study.timeout,
        "path": str(path),
    }
