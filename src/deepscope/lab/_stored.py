"""What stored records hold: the fields that lists, pages and comparisons read, each with its kind.

For ``read_fitting``; a record may have further fields.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from deepscope.core import Severity

Kind = Literal["examination", "study", "watch"]


class _Cpu(TypedDict):
    cpu_seconds: float
    peak_memory_bytes: int


class _Wall(_Cpu):
    wall_seconds: float


class _Spent(TypedDict, total=False):
    cpu_seconds: float | None
    wall_seconds: float | None
    peak_memory_bytes: int | None
    forward_passes: int | None
    backward_passes: int | None


class _Hardware(TypedDict, total=False):
    cpu: str | None
    cores: int | None
    memory_bytes: int | None
    accelerator: str | None


class _Criterion(TypedDict):
    name: str
    kind: Literal["effect", "exact"]
    measured: float | None
    low: float | None
    high: float | None
    threshold: float
    side: Literal["above", "below", "within"]
    target: float
    published: str | None
    holds: bool | None
    control: bool
    seeds: int
    missing: int
    note: str


class ResultFields(TypedDict):
    """What a study's run and its record in the atlas have in common."""

    schema: Literal[1]
    study: str
    claim: str
    source: str
    rows: list[str]
    scale: Literal["smoke", "quick", "full"]
    verdict: Literal["reproduced", "not reproduced", "inconclusive"]
    reasons: list[str]
    criteria: list[_Criterion]
    cases: int
    seeds: int
    trials: int
    notes: list[str]
    device: str
    versions: dict[str, str]
    hardware: _Hardware
    commit: str
    command: str
    date: str


class AtlasFields(ResultFields):
    """``atlas/<study>.json``."""

    cost: _Cpu
    identity: str
    figure_sha256: str


class _Failure(TypedDict):
    case: str
    seed: int
    error: str


class StudyFields(ResultFields, total=False):
    """``record.json`` of a study's run."""

    cost: _Wall
    topics: list[str]
    protocol: str
    caption: str
    modified: bool
    settings: dict[str, Any]
    reused: int
    failed: int
    failures: list[_Failure]
    path: str


class _Finding(TypedDict):
    severity: Severity
    instrument: str
    where: str
    message: str
    evidence: str
    source: str
    action: str


class _LeftOut(TypedDict):
    name: str
    reason: str


class _Track(TypedDict):
    label: str
    values: dict[str, float | None]
    low: dict[str, float | None]
    high: dict[str, float | None]
    band: list[float] | None
    scale: Literal["linear", "log"]


class _Reading(TypedDict, total=False):
    title: str
    summary: str
    left_out: list[_LeftOut]
    formula: str
    how_to_read: str
    source: str
    glance: list[_Track]
    cost: _Spent


class _Measured(_Reading):
    table: list[dict[str, Any]]


class _Data(TypedDict, total=False):
    name: str | None
    batches: int | None
    samples: int | None


class _About(TypedDict, total=False):
    kind: str
    path: str
    parameters: int | None
    tensors: int | None
    bytes: int | None
    dtypes: dict[str, int]
    device: str | None
    layers: list[str]
    data: _Data | None
    loss: str | None


class _Subject(_About):
    name: str


class _Examined(TypedDict, total=False):
    not_run: list[_LeftOut]
    failed: list[str]
    cost: _Spent
    command: str
    seed: int
    budget: str
    commit: str
    versions: dict[str, str]
    hardware: _Hardware
    date: str


class ExaminationFields(_Examined):
    """``record.json`` of an examination."""

    schema: Literal["deepscope.examination/1"]
    subject: _Subject
    readings: dict[str, _Measured]
    findings: list[_Finding]


class _Origin(TypedDict, total=False):
    versions: dict[str, str]
    hardware: _Hardware
    commit: str
    device: str


class _Asked(_Origin, total=False):
    scale: str
    modified: bool
    settings: dict[str, Any]
    seeds: int | None
    command: str
    environments: dict[str, _Origin]


class Layout(TypedDict):
    """``run.json``, of whatever layout."""

    layout: int


class HeadFields(Layout, _Asked):
    """``run.json`` of the layouts that are read."""

    kind: Kind
    name: str
    date: str
    outcome: str


class WatchHeadFields(TypedDict):
    """What the ``run.json`` of a watched training has besides; the rest of its record is in its points."""

    subject: _Subject
    every: int
    overhead: float
    probes: list[str]
    batch_size: int | None
    optimizer: str
    stability: str
    seed: int
