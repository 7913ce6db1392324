"""Costly steps that several trials need: made once, then read from the store."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepscope.core import UsageError, Value, derive_seed, home, write_atomically
from deepscope.lab._identity import code_of
from deepscope.lab._returned import plain_values

_SCALARS = "scalars.json"


def shared(make: Callable[..., Mapping[str, Any]], **key: Value) -> dict[str, Any]:
    """Return ``make(**key)``, computed once per code of ``make`` and per key.

    Processes that ask at the same time wait for the one that computes. The result is kept under ``home()/shared`` as
    arrays and JSON, never as a pickle, and is always read from there, so that the first caller and the last get the
    same. Random generators that ``make`` does not seed itself are seeded from what identifies the step.

    Raises
    ------
    UsageError
        A value of the key is no plain number or text.
    MeasurementError
        ``make`` returned what cannot be stored.
    OSError
        The store cannot be written.
    """
    from filelock import FileLock

    from deepscope.subject import seeded_generators

    for name, value in key.items():
        if type(value) not in (bool, int, float, str):
            raise UsageError(
                f"{value!r} cannot be part of a shared step's key", where=name, todo="Give plain numbers and text."
            )
    texts = [value for value in key.values() if isinstance(value, str)]
    arguments = sorted((name, type(value).__name__, value) for name, value in key.items())
    said = json.dumps([code_of(make, texts), make.__qualname__, arguments])
    identity = hashlib.sha256(said.encode()).hexdigest()[:20]
    folder = home() / "shared"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{make.__name__}-{identity}.npz"
    found = _read(path)
    if found is not None:
        return found
    with FileLock(path.with_suffix(".lock")):
        found = _read(path)
        if found is None:
            with seeded_generators(derive_seed(0, "shared", identity)):
                made = plain_values(make(**key), where=make.__name__)
            write_atomically(path, _packed(made))
            found = _read(path)
    if found is None:
        raise OSError(f"what was just written cannot be read: {path}")
    return found


def _packed(values: Mapping[str, Any]) -> bytes:
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    scalars = {name: value for name, value in values.items() if name not in arrays}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(_SCALARS, json.dumps({"order": list(values), "scalars": scalars}))
        for name, array in arrays.items():
            part = io.BytesIO()
            np.save(part, array, allow_pickle=False)
            archive.writestr(f"{name}.npy", part.getvalue())
    return content.getvalue()


def _read(path: Path) -> dict[str, Any] | None:
    """Return what is stored; None where nothing is, or what is there is damaged and must be made again."""
    try:
        with zipfile.ZipFile(path) as archive:
            said = json.loads(archive.read(_SCALARS))
            values = dict(said["scalars"])
            for name in said["order"]:
                if name not in values:
                    values[name] = np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return None
    return {name: values[name] for name in said["order"]}
