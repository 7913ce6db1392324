"""Seeds: one number from the user, and from it one independent seed per purpose."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a seed for one purpose, the same on every machine and in every process.

    Seeds for different names are unrelated, so that adding an instrument or a trial changes no other's numbers.

    >>> derive_seed(0, "spectrum") == derive_seed(0, "spectrum")
    True
    >>> derive_seed(0, "spectrum") == derive_seed(0, "health")
    False
    """
    text = "\x1f".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    # 63 bits: torch, NumPy and JSON all hold it exactly as an integer.
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 1
