"""The words of deepscope as records. Nothing here knows torch."""

from deepscope.core._rows import row, rows
from deepscope.core.codec import pack, unpack
from deepscope.core.cost import Cost, Stopwatch
from deepscope.core.criterion import FEWEST_SEEDS, Criterion, interval
from deepscope.core.declared import declared, plain_fields
from deepscope.core.errors import (
    DataError,
    DeepscopeError,
    DoesNotApplyError,
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
from deepscope.core.instrument import BUDGETS, OPERATIONS, Instrument, Known, Needs, PerWeight
from deepscope.core.ledger import LeftOut
from deepscope.core.reading import Reading
from deepscope.core.references import cite, link, references
from deepscope.core.seeds import derive_seed
from deepscope.core.specimen import Specimen
from deepscope.core.study import SCALES, Case, Grid, Study, TrialRun, Value, per_seed
from deepscope.core.verdict import Outcome, Verdict

__all__ = [
    "BUDGETS",
    "FEWEST_SEEDS",
    "OPERATIONS",
    "SCALES",
    "SEVERITIES",
    "Case",
    "Cost",
    "Criterion",
    "DataError",
    "DeepscopeError",
    "DoesNotApplyError",
    "Finding",
    "Grid",
    "Instrument",
    "Known",
    "LeftOut",
    "MeasurementError",
    "Needs",
    "Outcome",
    "PerWeight",
    "Reading",
    "Severity",
    "Specimen",
    "Stopwatch",
    "Study",
    "TargetError",
    "Track",
    "TrialRun",
    "UsageError",
    "Value",
    "Verdict",
    "cite",
    "declared",
    "derive_seed",
    "first_line",
    "home",
    "interval",
    "link",
    "nearest",
    "one_line",
    "pack",
    "per_seed",
    "plain_fields",
    "references",
    "row",
    "rows",
    "unpack",
    "without_numbers",
    "write_atomically",
]
