"""Zip archives that may be damaged or hostile."""

from __future__ import annotations

import struct
import zipfile
from typing import BinaryIO

from deepscope.subject._checkpoint_file import FileVersion, damaged, quoted

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 1


def members_of(file: FileVersion, stream: BinaryIO) -> list[zipfile.ZipInfo]:
    """Return the members of a zip archive that lie within the file, each name once.

    Raises
    ------
    TargetError
        The archive has no directory (it is truncated), or the directory is not true.
    """
    try:
        members = zipfile.ZipFile(stream).infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error, UnicodeError):
        raise damaged("the zip archive is truncated or damaged", file.path) from None
    names = set()
    for member in members:
        if not member.filename:
            raise damaged("the zip archive is damaged: a member has no name", file.path)
        if member.filename in names:
            raise damaged(f"the zip archive has {quoted(member.filename)} twice", file.path)
        if member.flag_bits & _ENCRYPTED:
            raise damaged(f"the zip archive is encrypted ({quoted(member.filename)})", file.path)
        if member.header_offset < 0 or member.header_offset + member.compress_size > file.size:
            raise damaged(f"the zip archive claims {quoted(member.filename)} beyond its end", file.path)
        if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
            raise damaged(f"the zip archive claims two sizes for {quoted(member.filename)}", file.path)
        names.add(member.filename)
    return [member for member in members if not member.is_dir()]


def data_offset(file: FileVersion, stream: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Return the byte of the file where a member's data begin."""
    stream.seek(member.header_offset)
    raw = stream.read(_LOCAL_HEADER.size)
    if len(raw) == _LOCAL_HEADER.size:
        magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(raw)
        offset = int(member.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes)
        if magic == b"PK\x03\x04" and offset + member.compress_size <= file.size:
            return offset
    raise damaged(f"the zip archive has no {quoted(member.filename)} where it says", file.path)
