"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], content: bytes | str, *, flush: bool = True) -> Path:
    """Write a file so that no reader, and no crash, ever sees half of it.

    The content goes to a temporary file in the same folder, is flushed to the disk, and takes the name in one step.
    On any error the temporary file is removed and what stood at ``path`` before is untouched.

    Parameters
    ----------
    path, content
        The file and what it will hold.
    flush
        False leaves it to the system when the content reaches the disk, within half a minute or so: quicker, for what
        can be made again should the computer lose its power in that time.

    Raises
    ------
    OSError
        The folder is missing or not writable, or the disk is full.
    """
    target = Path(path)
    data = content.encode() if isinstance(content, str) else content
    # Only the beginning of the name: the whole of a long one would leave no room for what is added.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:32]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            if flush:
                os.fsync(stream.fileno())
        # mkstemp makes files private; a report is an ordinary file.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target
