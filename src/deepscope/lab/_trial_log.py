"""The trials of a run, one line each."""

from __future__ import annotations

from pathlib import Path

from deepscope.lab._line_log import LineLog, read_lines
from deepscope.lab._trial_record import TrialRecord, decode, encode


class TrialLog(LineLog):
    """Appends records of trials, as ``LineLog`` does."""

    def append(self, record: TrialRecord) -> None:
        """Write a record, as one line in one system call.

        Raises
        ------
        TypeError
            It holds what cannot be written exactly. A disk that cannot be written raises nothing: see ``fault``.
        """
        self.append_line(encode(record))


def read_trials(path: Path) -> tuple[list[TrialRecord], int]:
    """Read what a log wrote, also while it is being written.

    Returns
    -------
    records, bad
        The records in the order in which they were written, and the number of whole lines that are no record: damaged,
        or written by a newer deepscope. A last line without its end is what a killed process leaves: skipped, not
        counted. A file that does not exist holds nothing.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    records, bad = [], 0
    for line in read_lines(path):
        try:
            records.append(decode(line))
        except ValueError:
            bad += 1
    return records, bad
