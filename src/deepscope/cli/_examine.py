"""deepscope examine, deepscope compare."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from deepscope._terminal import progress, say, user_code
from deepscope.cli._options import (
    DONE,
    INTERRUPTED,
    PARTLY,
    PROBLEM,
    Device,
    Json,
    Offline,
    Out,
    Seed,
    command_of,
    go_offline,
    split,
)
from deepscope.cli._output import check_writable, save, show
from deepscope.cli._subject import subject

if TYPE_CHECKING:
    from deepscope.lab import Examination

Budget = Literal["quick", "standard", "deep"]
Instruments = Annotated[
    str | None, Parameter(help="Comma-separated names, or module:NAME of your own; all by default.")
]
Data = Annotated[str | None, Parameter(help="A dataset's name, or module:callable that returns batches.")]
Loss = Annotated[str | None, Parameter(help="A function of torch.nn.functional, or module:callable.")]
Workers = Annotated[
    int | None,
    Parameter(help="Measure a checkpoint's tensors in so many processes of one thread; at most as many as processors."),
]
Executor = Annotated[
    Literal["inline", "pool", "ray"] | None,
    Parameter(help="Where a checkpoint's tensors are measured: here, in worker processes, or on a Ray cluster."),
]
Address = Annotated[str | None, Parameter(help='With --executor ray: the cluster, "HOST:6379" or "auto".')]


def examine(
    target: str | None = None,
    *,
    weights: Annotated[str | None, Parameter(help="Checkpoint to load into the factory's model.")] = None,
    data: Data = None,
    loss: Loss = None,
    layers: Annotated[str | None, Parameter(help='Only these, comma-separated patterns: "*.attention.*".')] = None,
    instruments: Instruments = None,
    budget: Budget = "standard",
    out: Out = None,
    json: Json = False,
    strict: Annotated[bool, Parameter(negative="", help="Exit with 1 if a problem was found.")] = False,
    baseline: Annotated[
        Path | None, Parameter(help="With --strict: only problems that this earlier --json did not have count.")
    ] = None,
    workers: Workers = None,
    executor: Executor = None,
    address: Address = None,
    seed: Seed = 0,
    device: Device = None,
    offline: Offline = False,
) -> int:
    """Examine a network: what it is made of, how well its layers are trained, how signals and gradients flow.

    Parameters
    ----------
    target
        A checkpoint (.safetensors, .pt, .pth, .bin, .ckpt, .npz, or a model directory), or package.module:factory, a
        function that returns a torch module. Without it, a small network is trained on handwritten digits.
    """
    from deepscope.core import without_numbers
    from deepscope.lab import examine as run_examination
    from deepscope.lab import keep
    from deepscope.report import examination_text

    command = command_of("examine", examine, locals())
    go_offline(offline)
    check_writable(out)
    known = _problems_of(baseline) if baseline else set()
    with user_code():
        found, about = subject(target, weights, data, loss, seed, device)
        if layers is not None:
            found = found.only(*split(layers))
        try:
            with progress() as tell:
                examination = run_examination(
                    found,
                    instruments=split(instruments) if instruments is not None else None,
                    budget=budget,
                    seed=seed,
                    executor=executor,
                    workers=workers,
                    address=address,
                    resume=True,
                    progress=tell,
                    command=command,
                    about=about,
                )
        except KeyboardInterrupt as stop:
            for kept in getattr(stop, "__notes__", ()):
                say(f"Interrupted. {kept}")
                return INTERRUPTED
            raise
    stored = _stored(keep, examination)
    if out is not None:
        save(examination.save, out)
    show(examination.to_dict(), examination_text, json=json, out=out)
    _say_failures(examination)
    new = {(f.instrument, f.where, without_numbers(f.message)) for f in examination.problems} - known
    if strict and new:
        return PROBLEM
    return PARTLY if examination.failed or not stored else DONE


def compare(
    a: str,
    b: str,
    *more: str,
    data: Data = None,
    loss: Loss = None,
    instruments: Instruments = None,
    budget: Budget = "standard",
    out: Out = None,
    json: Json = False,
    seed: Seed = 0,
    device: Device = None,
    offline: Offline = False,
) -> int:
    """Compare networks by name: change in weights per tensor, and both tables side by side.

    With three or more, the steps of a training in their order: the spectrum of every matrix over the steps.

    Parameters
    ----------
    a
        The first: a checkpoint, or package.module:factory.
    b
        The second.
    more
        Further steps of a training.
    """
    from deepscope.lab import compare as run_comparison
    from deepscope.report import comparison_text

    command = command_of("compare", compare, locals())
    go_offline(offline)
    check_writable(out)
    if more:
        _refuse_beside_steps(data, loss, instruments)
        return _trajectory((a, b, *more), budget, out, json, seed, device, command)
    with user_code():
        one, _ = subject(a, None, data, loss, seed, device)
        other, _ = subject(b, None, data, loss, seed, device)
        with progress() as tell:
            comparison = run_comparison(
                one,
                other,
                instruments=split(instruments) if instruments is not None else None,
                budget=budget,
                seed=seed,
                progress=tell,
                command=command,
            )
    if out is not None:
        save(comparison.save, out)
    show(comparison.to_dict(), comparison_text, json=json, out=out)
    _say_failures(comparison.a)
    _say_failures(comparison.b)
    return PARTLY if comparison.a.failed or comparison.b.failed else DONE


def _refuse_beside_steps(data: str | None, loss: str | None, instruments: str | None) -> None:
    from deepscope.core import UsageError

    if data or loss or instruments not in (None, "spectrum"):
        raise UsageError(
            "three or more networks are compared by their spectrum alone",
            todo="Leave out --data, --loss and --instruments, or compare two.",
        )


def _trajectory(
    targets: Sequence[str], budget: Budget, out: Path | None, json: bool, seed: int, device: str | None, command: str
) -> int:
    from deepscope.lab import trajectory
    from deepscope.report import trajectory_text

    with user_code():
        subjects = [subject(each, None, None, None, seed, device)[0] for each in targets]
        with progress() as tell:
            found = trajectory(subjects, budget=budget, seed=seed, progress=tell, command=command)
    if out is not None:
        save(found.save, out)
    show(found.to_dict(), trajectory_text, json=json, out=out)
    return PARTLY if found.failed else DONE


def _stored(keep: Callable[[Examination], object], examination: Examination) -> bool:
    try:
        keep(examination)
    except OSError as error:
        say(f"The run was not stored: {error}. Set DEEPSCOPE_HOME to a writable folder.")
        return False
    return True


def _say_failures(examination: Examination) -> None:
    for entry in examination.not_run:
        if entry.name in examination.failed:
            say(f"not run: {entry.name}: {entry.reason}".replace("\n", " "))


def _problems_of(baseline: Path) -> set[tuple[str, str, str]]:
    from deepscope.core import TargetError, without_numbers

    try:
        findings = json_module.loads(baseline.read_text(encoding="utf-8"))["findings"]
        problems = [finding for finding in findings if finding["severity"] == "problem"]
        return {(f["instrument"], f["where"], without_numbers(f["message"])) for f in problems}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TargetError(
            f"the baseline cannot be read ({type(error).__name__})",
            where=str(baseline),
            todo="Give what an earlier deepscope examine --json printed.",
        ) from error
