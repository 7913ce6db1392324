"""Memory that was freed and that the process still holds."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def release_freed_memory() -> None:
    """Give memory that was freed back to the system, where the C library can be asked to.

    glibc keeps freed blocks of up to 32 MiB for itself, and aligned ones of other sizes do not fit into the holes: a
    pass over many matrices would come to hold several times what the largest of them takes.

    Notes
    -----
    Cost: about a millisecond.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    """Return glibc's ``malloc_trim``; None where the C library has no such function."""
    try:
        return ctypes.CDLL(None).malloc_trim
    # Windows does not know the running program by the name None.
    except (AttributeError, OSError, TypeError):
        return None
