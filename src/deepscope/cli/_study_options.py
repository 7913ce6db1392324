"""The options of deepscope study run."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

Scale = Annotated[
    Literal["smoke", "quick", "full"],
    Parameter(help="Smoke sees that everything runs, quick gives a verdict, full is the largest protocol."),
]
Executor = Annotated[
    Literal["inline", "pool", "ray"],
    Parameter(help="Run trials in this process, in local worker processes, or on a Ray cluster: the same numbers."),
]
Address = Annotated[str | None, Parameter(help='With --executor ray: the cluster, "HOST:6379" or "auto".')]
Workers = Annotated[
    int | None, Parameter(help="With the pool: trials at once; by default, and at most, as many as processors.")
]
Fresh = Annotated[bool, Parameter(negative="", help="Run trials again that are stored.")]
DryRun = Annotated[bool, Parameter(negative="", help="Say what would run, what is stored and what the rest costs.")]
Settings = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        negative="",
        show_default=False,
        help="name=value: fix a field in all cases (repeatable). The result says that the protocol was modified.",
    ),
]
Seeds = Annotated[
    int | None,
    Parameter(help="Number of seeds instead of the study's, at most 100,000 trials in all; a modified protocol too."),
]
Timeout = Annotated[float | None, Parameter(help="Seconds after which a trial is stopped; the study's by default.")]
Memory = Annotated[float | None, Parameter(help="GiB that one trial may allocate.")]
Device = Annotated[str, Parameter(help='Where trials compute: "cpu", "cuda", "cuda:1" ….')]
Mirrors = Annotated[
    tuple[str, ...],
    Parameter(
        name="--mirror",
        negative="",
        show_default=False,
        help="Show new trials in tensorboard[:FOLDER], mlflow[:URI] or wandb[:PROJECT] as well (repeatable).",
    ),
]
