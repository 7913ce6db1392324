"""What tensors gave, kept until the examination is stored: one that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepscope.core import Cost, Instrument, LeftOut, UsageError, pack, unpack
from deepscope.lab._identity import code_of
from deepscope.lab._line_log import LineLog, read_lines
from deepscope.lab._machine import versions
from deepscope.lab._plain_array import array_of, plain_array
from deepscope.lab._runs import tensor_logs
from deepscope.lab._tensor_task import TensorResult
from deepscope.subject import measure_weight, read_checkpoint

if TYPE_CHECKING:
    from deepscope.subject import Subject

#: Version of a stored line.
_VERSION = 1
#: What is measured in less time is measured again rather than kept.
_WORTH_SECONDS = 2.0


class TensorLog:
    """The results of one examination's tensors, in a file that only grows.

    Parameters
    ----------
    key
        Hash of all that can change them: see ``tensor_log_of``.
    kinds
        Instrument name to the dataclass of its records.

    Attributes
    ----------
    path
        The file; it is made with the first result that comes after two seconds.
    known
        Results by tensor that an earlier examination left there.
    """

    def __init__(self, key: str, kinds: Mapping[str, type]) -> None:
        from filelock import FileLock, Timeout

        self.path = tensor_logs() / f"{key}.jsonl"
        self.known: dict[str, TensorResult] = {}
        self._kinds = kinds
        self._log: LineLog | None = None
        self._lock_path = self.path.with_suffix(".lock")
        self._early: list[bytes] = []
        self._written = 0
        self._is_own = False
        self._started = time.monotonic()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._lock_path, thread_local=False)
            self._lock.acquire(timeout=0)
        except (OSError, Timeout):
            # A home that cannot be written, or the same examination at work beside this one: go on without.
            return
        self._is_own = True
        self._log = LineLog(self.path)
        try:
            lines = read_lines(self.path)
        except OSError:
            lines = []
        for line in lines:
            result = self._decoded(line)
            if result is not None:
                self.known[result.name] = result

    def append(self, result: TensorResult) -> None:
        """Keep a result in which nothing failed."""
        if self._log is None or result.errors or result.lost or result.unreadable:
            return
        try:
            self._early.append(_encoded(result, self._kinds))
        except (TypeError, ValueError):
            # A user's own instrument returns what no reading can hold, or what would be read back as something else.
            self._early.clear()
            self.close()
            return
        if time.monotonic() - self._started >= _WORTH_SECONDS:
            self._write()

    def keep(self) -> int:
        """Write all that was measured, however little, and return the number of tensors that are kept."""
        if self._log is None:
            return 0
        self._write()
        return len(self.known) + self._written

    def close(self) -> None:
        """Let the file go."""
        if self._log is not None:
            self._log.close()
            self._log = None
            if not self.path.exists():
                self._lock_path.unlink(missing_ok=True)
            self._lock.release()

    def _write(self) -> None:
        assert self._log is not None
        for line in self._early:
            self._log.append_line(line)
        self._written += len(self._early)
        self._early.clear()

    def discard(self) -> None:
        """Remove the file, unless another examination wrote it: this one is stored."""
        self.close()
        if self._is_own:
            self.path.unlink(missing_ok=True)
            self._lock_path.unlink(missing_ok=True)

    def _decoded(self, line: bytes) -> TensorResult | None:
        try:
            said = json.loads(line)
            if said["version"] != _VERSION:
                return None
            arrays = {key: array_of(plain) for key, plain in said["arrays"].items()}
            return TensorResult(
                name=said["name"],
                records={
                    name: tuple(self._record(name, each, arrays) for each in said["records"][name])
                    for name in self._kinds
                },
                costs={name: unpack(Cost, said["costs"][name], {}) for name in self._kinds},
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # A damaged line: the tensor is measured again.
            return None

    def _record(self, name: str, said: Mapping[str, Any], arrays: Mapping[str, Any]) -> Any:
        if "left_out" in said:
            return unpack(LeftOut, said["left_out"], {})
        return unpack(self._kinds[name], said["record"], arrays)


def tensor_log_of(
    subject: Subject, instruments: Sequence[Instrument], efforts: Mapping[str, Mapping[str, Any]], device: str
) -> TensorLog | None:
    """Return the log of an examination, or None where its results cannot be told from those of others.

    Equal are: the handles of all tensors, and their files, with sizes and times, that of the last change of any kind
    included, which no copying tool sets; the code that reads them; the code, the effort and the seed of each
    instrument; the device and the versions of the libraries.

    Parameters
    ----------
    subject
        A checkpoint: the tensors of a live network have no identity.
    instruments
        Those that measure tensors.
    efforts
        By instrument, the keyword arguments of its step.
    device
        Where it is measured.
    """
    if subject.model is not None or not instruments:
        return None
    try:
        codes = {each.name: code_of(each.per_weight.step) for each in instruments if each.per_weight}
        reading = [code_of(function) for function in (read_checkpoint, measure_weight)]
        handles: list[Any] = list(subject.weights())
        files = [_identity(path) for path in sorted({handle.file.path for handle in handles})]
    except (UsageError, OSError, AttributeError):
        # A step that was typed at a prompt, say, a file that is gone, or handles of somebody else's.
        return None
    asked = {name: sorted(effort.items()) for name, effort in efforts.items()}
    said = repr((_VERSION, subject.weights(), files, codes, reading, asked, device, sorted(versions().items())))
    key = hashlib.sha256(said.encode()).hexdigest()[:20]
    return TensorLog(key, {each.name: each.per_weight.record for each in instruments if each.per_weight})


def _identity(path: str) -> tuple[str, int, int]:
    found = Path(path).stat()
    return path, found.st_ino, found.st_ctime_ns


def _encoded(result: TensorResult, kinds: Mapping[str, type]) -> bytes:
    for name, its in result.records.items():
        strange = [type(each).__name__ for each in its if type(each) not in (kinds[name], LeftOut)]
        if strange:
            raise TypeError(f"{name} gave a {strange[0]}, not a {kinds[name].__name__}")
    records, arrays = pack(
        {
            name: [{"left_out" if isinstance(each, LeftOut) else "record": each} for each in its]
            for name, its in result.records.items()
        }
    )
    costs, _ = pack(result.costs)
    said = {
        "version": _VERSION,
        "name": result.name,
        "records": records,
        "costs": costs,
        "arrays": {key: plain_array(array) for key, array in arrays.items()},
    }
    # ASCII alone: no line can be torn within a character.
    return json.dumps(said, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
