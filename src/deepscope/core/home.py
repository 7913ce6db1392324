"""Where deepscope keeps what it stores."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the folder of stored runs and fetched data: ``DEEPSCOPE_HOME``, else the platform's data folder.

    The folder may not exist yet.
    """
    chosen = os.environ.get("DEEPSCOPE_HOME")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("deepscope", appauthor=False))
