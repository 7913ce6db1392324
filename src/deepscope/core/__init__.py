"""The words of deepscope as records. Nothing here knows torch."""

from deepscope.core.codec import pack, unpack
from deepscope.core.cost import Cost, Stopwatch
from deepscope.core.errors import (
    DataError,
    DeepscopeError,
    MeasurementError,
    TargetError,
    UsageError,
    first_line,
    nearest,
    one_line,
)
from deepscope.core.files import write_atomically
from deepscope.core.finding import SEVERITIES, Finding, Severity, without_numbers
from deepscope.core.glance import Track
from deepscope.core.home import home
from deepscope.core.instrument import BUDGETS, Instrument, Known, Needs, PerWeight
from deepscope.core.ledger import LeftOut
from deepscope.core.reading import Reading
from deepscope.core.references import cite, link
from deepscope.core.seeds import derive_seed

__all__ = [
    "BUDGETS",
    "SEVERITIES",
    "Cost",
    "DataError",
    "DeepscopeError",
    "Finding",
    "Instrument",
    "Known",
    "LeftOut",
    "MeasurementError",
    "Needs",
    "PerWeight",
    "Reading",
    "Severity",
    "Stopwatch",
    "TargetError",
    "Track",
    "UsageError",
    "cite",
    "derive_seed",
    "first_line",
    "home",
    "link",
    "nearest",
    "one_line",
    "pack",
    "unpack",
    "without_numbers",
    "write_atomically",
]
