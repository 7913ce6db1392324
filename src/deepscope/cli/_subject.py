"""What is examined: read as the options say, on the device they say, drawn from the seed they say."""

from __future__ import annotations

from typing import Any

from deepscope._terminal import say


def subject(
    target: str | None, weights: str | None, data: str | None, loss: str | None, seed: int, device: str | None
) -> tuple[Any, str]:
    """Return the subject, and what there is to say about it: where no target is given, the demo.

    Raises
    ------
    DeepscopeError
        The target, data, loss or device is not there or cannot be used.
    """
    from deepscope.core import UsageError
    from deepscope.lab import subject_of, train_demo

    if device is not None:
        check_device(device)
    _seed(seed)
    if target is None:
        if weights or data or loss:
            raise UsageError("the demo takes no --weights, --data or --loss", todo="Give a target to examine.")
        say("Training a small network on handwritten digits (the demo; a few seconds) …", transient=True)
        return train_demo(seed, device)
    return subject_of(target, data=data, loss=loss, weights=weights, device=device), ""


def check_device(device: str) -> None:
    """Try a device.

    Raises
    ------
    UsageError
        Nothing can be computed on it.
    """
    import torch

    from deepscope.core import UsageError

    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"the device cannot be used ({str(error).splitlines()[0]})",
            where=device,
            todo='Use --device cpu, or see what "deepscope doctor" finds.',
        ) from error


def _seed(seed: int) -> None:
    """Let a user's factory and data draw the same each time; the process is the command line's own."""
    import random

    import numpy as np
    import torch

    from deepscope.core import derive_seed

    random.seed(seed)
    np.random.seed(derive_seed(seed, "numpy") % 2**32)  # noqa: NPY002 - what a user's code may draw from
    torch.manual_seed(derive_seed(seed, "torch"))
