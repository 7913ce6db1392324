"""The states of all random generators, as plain data that a checkpoint can hold."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

GeneratorStates = dict[str, Any]


def capture_generators() -> GeneratorStates:
    """Return the states of Python's, NumPy's and torch's global generators, on CPU and on every CUDA device in use.

    The result holds only tensors, numbers and None.
    """
    version, keys, gauss = random.getstate()
    # NumPy's legacy generator is the one that user code and libraries draw from without naming it.
    _, numpy_keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": {"version": version, "keys": torch.tensor(keys, dtype=torch.int64), "gauss": gauss},
        "numpy": {
            "keys": torch.from_numpy(np.asarray(numpy_keys, dtype=np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "gauss": float(cached),
        },
        "cpu": torch.get_rng_state(),
        "cuda": _cuda_states(),
    }


def restore_generators(states: GeneratorStates) -> None:
    """Put all generators back into the states that ``capture_generators`` returned.

    States of CUDA devices that this machine does not have are passed over.
    """
    python, numpy = states["python"], states["numpy"]
    random.setstate((python["version"], tuple(python["keys"].tolist()), python["gauss"]))
    keys = numpy["keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, numpy["position"], numpy["has_gauss"], numpy["gauss"]))  # noqa: NPY002
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available():
        for index, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, index)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Leave all generators as they were, whatever is drawn from them inside."""
    before = capture_generators()
    try:
        yield
    finally:
        restore_generators(before)


@contextmanager
def seeded_generators(seed: int) -> Iterator[None]:
    """Start all generators from a seed, and afterwards leave them as the caller had them."""
    before = capture_generators()
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        yield
    finally:
        restore_generators(before)


def _cuda_states() -> list[Tensor]:
    # Asking an unused CUDA for its states would start it on every device, which takes seconds and memory.
    started = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.cuda.get_rng_state_all() if started else []
