"""From what a user names to a subject."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepscope.core import Instrument, TargetError, UsageError, nearest, one_line
from deepscope.instruments import INSTRUMENTS
from deepscope.subject import Subject, read_checkpoint

_FILE_ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".npz", ".json")


def subject_of(
    target: Any, *, data: Any = None, loss: Any = None, weights: str | None = None, device: str | None = None
) -> Subject:
    """Make a subject of a Subject, a module, a path, or the name of a factory.

    Parameters
    ----------
    target
        A ``Subject``, an ``nn.Module``, a path to a checkpoint, or ``"package.module:factory"``, a function without
        arguments that returns a module or a subject.
    data
        Batches, a dataset's name (its test part is used), or ``"module:callable"`` returning batches.
    loss
        A function, the name of a function of ``torch.nn.functional``, or ``"module:callable"``; the subject's own, else
        that of the dataset, unless given.
    weights
        Checkpoint to load into the factory's module.
    device
        Where a model is moved, or a checkpoint's tensors are put to be measured; left where they are unless given.

    Raises
    ------
    TargetError
        The target, or the weights, cannot be read.
    UsageError
        A name is unknown, or data was given for a checkpoint alone.
    """
    made = _made(target, device)
    if isinstance(made, Subject) and made.model is None:
        if data is not None or loss is not None or weights is not None:
            raise UsageError(
                "a checkpoint alone cannot be run on data",
                where=made.name,
                todo="Give a factory, package.module:function, and the checkpoint with --weights.",
            )
        return made
    model = made.model if isinstance(made, Subject) else made
    if device is not None and model is not None:
        model.to(device)
    subject = made if isinstance(made, Subject) else Subject(made)
    if weights is not None:
        load_weights(subject.model, weights)
    batches, own_loss, count = _data(data)
    chosen = _loss(loss) if loss is not None else subject.loss or own_loss
    return subject.with_data(batches, chosen, count=count)


def instruments_of(chosen: Iterable[str | Instrument] | None) -> tuple[Instrument, ...]:
    """Find instruments by name, by ``"module:NAME"``, or as they are; None means all.

    Raises
    ------
    UsageError
        A name is unknown; the nearest known one is suggested.
    """
    if chosen is None:
        return INSTRUMENTS
    known = {instrument.name: instrument for instrument in INSTRUMENTS}
    found = []
    for item in chosen:
        instrument: Any = item
        if isinstance(item, str):
            instrument = load_object(item) if ":" in item else known.get(item)
            if instrument is None:
                raise UsageError("unknown instrument", where=item, todo=nearest(item, known))
        if not isinstance(instrument, Instrument):
            raise UsageError(
                f"not an Instrument but a {type(instrument).__name__}",
                where=str(item),
                todo="Give a name, an Instrument, or module:NAME of one.",
            )
        found.append(instrument)
    if not found:
        raise UsageError("no instrument was chosen", todo=nearest("", known))
    return tuple({instrument.name: instrument for instrument in found}.values())


def load_object(name: str) -> Any:
    """Import ``package.module:attribute``; the current folder is searched first.

    Raises
    ------
    TargetError
        The module does not import, or has no such attribute.
    """
    module_name, _, attribute = name.partition(":")
    try:
        with current_folder_first():
            found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # A user's module may raise anything, SystemExit included.
        raise TargetError(
            f"cannot import it ({one_line(error)})",
            where=name,
            todo="Give package.module:name, importable from the current folder.",
        ) from error
    return found


@contextmanager
def current_folder_first() -> Iterator[None]:
    """Find modules in the current folder first, also in worker processes that are started meanwhile."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def load_weights(model: nn.Module | None, path: str) -> None:
    """Load a checkpoint's values into a model in place.

    Raises
    ------
    TargetError
        Names or shapes differ.
    """
    assert model is not None
    checkpoint = read_checkpoint(path)
    # A module that holds quantised values is given them as they are stored.
    stored = [weight.quantised or weight for weight in checkpoint.weights]
    state = {name: weight.read() for weight in stored for name in (weight.name, *weight.tied)}
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    # A tied tensor is saved under one of its names and belongs to all of them.
    for tied in names.values():
        given = next((state[name] for name in tied if name in state), None)
        if given is not None:
            state |= dict.fromkeys(tied, given)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise TargetError(
            f"the checkpoint does not fit {type(model).__name__}",
            where=str(path),
            todo=f"{lines[0][:200] if lines else error}{more}",
        ) from error


def _made(target: Any, device: str | None) -> Subject | nn.Module:
    if isinstance(target, (Subject, nn.Module)):
        return target
    if isinstance(target, os.PathLike):
        return Subject.from_checkpoint(target, device=device or "cpu")
    if not isinstance(target, str):
        raise UsageError(
            f"cannot examine a {type(target).__name__}",
            todo="Give a Subject, a torch.nn.Module, a path, or package.module:factory.",
        )
    if ":" not in target or Path(target).exists() or target.endswith(_FILE_ENDINGS):
        return Subject.from_checkpoint(target, device=device or "cpu")
    made = load_object(target)
    if callable(made) and not isinstance(made, nn.Module):
        try:
            made = made()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise TargetError(
                f"the factory raised {one_line(error)}", where=target, todo="Call it by itself to see where."
            ) from error
    if isinstance(made, (Subject, nn.Module)):
        return made
    raise TargetError(
        f"the factory returned a {type(made).__name__}", where=target, todo="Return a torch.nn.Module or a Subject."
    )


def _data(data: Any) -> tuple[Any, Any, Callable[[Any], Any] | None]:
    """Return batches, the loss that goes with them, and what it averages over."""
    if not isinstance(data, str):
        return data, None, None
    if ":" in data:
        return _called(data, "data"), None, None
    from deepscope.data import load

    dataset = load(data)
    return dataset.test.batches(256), dataset.loss, dataset.count


def _loss(loss: Any) -> Any:
    if not isinstance(loss, str):
        return loss
    if ":" in loss:
        return load_object(loss)
    found = getattr(torch.nn.functional, loss, None)
    known = [name for name in dir(torch.nn.functional) if name.endswith(("_loss", "cross_entropy")) and name[0] != "_"]
    if found is None or not callable(found):
        raise UsageError("unknown loss", where=loss, todo=nearest(loss, known))
    return found


def _called(name: str, what: str) -> Any:
    made = load_object(name)
    if not callable(made):
        return made
    try:
        return made()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise TargetError(
            f"the {what} function raised {one_line(error)}", where=name, todo="Call it by itself to see where."
        ) from error
