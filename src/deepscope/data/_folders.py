"""Where data lies on this machine, and whether the network may be used."""

from __future__ import annotations

import os
from pathlib import Path

from deepscope.core import home as deepscope_home


def home() -> Path:
    """Return the folder in which fetched data is kept; it need not exist yet.

    ``data`` in deepscope's own folder, which ``DEEPSCOPE_HOME`` may name.
    """
    return deepscope_home() / "data"


def own_folder() -> Path | None:
    """Return the folder that ``DEEPSCOPE_DATA`` names, or None; it is looked in first and never written to."""
    chosen = os.environ.get("DEEPSCOPE_DATA")
    return Path(chosen).expanduser() if chosen else None


def is_offline(offline: bool | None) -> bool:
    """Decide whether the network is closed: the argument where it is given, else ``DEEPSCOPE_OFFLINE``."""
    if offline is not None:
        return offline
    return os.environ.get("DEEPSCOPE_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")
