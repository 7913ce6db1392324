"""Write the atlas as a site: all of it, or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepscope.core import UsageError
from deepscope.report import atlas_site

_ENTRANCE = "index.html"


def build_site(content: Mapping[str, Any], out: Path) -> Path:
    """Write the pages of the atlas into an empty folder.

    Everything is written beside its place first and moved there when it is whole, the entrance last. Whatever goes
    wrong, nothing half-written is left.

    Parameters
    ----------
    content
        What ``atlas`` returned.
    out
        A folder that is empty, or does not exist yet.

    Returns
    -------
    Path
        The gallery, ``index.html``.

    Raises
    ------
    UsageError
        The folder is not empty or not writable, or the disk is full.
    """
    check_empty(out)
    made = not out.exists()
    try:
        out.mkdir(exist_ok=True)
        try:
            _build(content, out)
        except BaseException:
            if made:
                shutil.rmtree(out)
            raise
    except OSError as error:
        raise UsageError(
            f"the site cannot be written ({error.strerror or error})",
            where=str(out),
            todo="Free some space, or give another folder.",
        ) from error
    return out / _ENTRANCE


def check_empty(out: Path) -> None:
    """Refuse a folder that is no folder, is not empty or cannot be written.

    Raises
    ------
    UsageError
        It is.
    """
    if out.is_dir() and any(out.iterdir()):
        raise UsageError("the folder is not empty", where=str(out), todo="Empty it, or give one that does not exist.")
    if (out.exists() and not out.is_dir()) or not out.parent.is_dir():
        raise UsageError("this cannot be a folder", where=str(out), todo="Give one below a folder that exists.")
    if not os.access(out if out.is_dir() else out.parent, os.W_OK):
        raise UsageError("the folder is not writable", where=str(out), todo="Give another folder.")


def _build(content: Mapping[str, Any], out: Path) -> None:
    staging = Path(tempfile.mkdtemp(dir=out, prefix=".part-"))
    names: list[str] = []
    try:
        for name, text in atlas_site(content):
            page = staging / name
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
        names = sorted((each.name for each in staging.iterdir()), key=lambda name: name == _ENTRANCE)
        for name in names:
            (staging / name).rename(out / name)
        staging.rmdir()
    except BaseException:
        for place in (*(out / name for name in names), staging):
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)
        raise
