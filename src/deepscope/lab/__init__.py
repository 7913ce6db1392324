"""The lab: what is run, stored and compared. Names are loaded when first used, so that listing never loads torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepscope.lab._atlas import atlas, coverage
    from deepscope.lab._build_atlas import build_site, check_empty
    from deepscope.lab._choose_executor import EXECUTORS
    from deepscope.lab._compare import Comparison, compare
    from deepscope.lab._compare_runs import compare_runs
    from deepscope.lab._demo import train_demo
    from deepscope.lab._examination import Examination
    from deepscope.lab._examine import Progress, examine
    from deepscope.lab._export import Exported, export_runs
    from deepscope.lab._frequency_watch import FrequencyWatch, watch_frequencies
    from deepscope.lab._gc import collect_garbage
    from deepscope.lab._machine import hardware, versions
    from deepscope.lab._models import model_list, model_sheet
    from deepscope.lab._probes import Probe
    from deepscope.lab._protocol import parse_settings
    from deepscope.lab._reading_list import reading_list
    from deepscope.lab._record_study import Recorded, record_study, unrecorded
    from deepscope.lab._report_file import check_report_path, write_report
    from deepscope.lab._repository import records_folder
    from deepscope.lab._runs import Run, find_run, runs, runs_folder
    from deepscope.lab._skeleton import write_skeleton
    from deepscope.lab._store import OpenRun, earlier_trials, keep, open_run
    from deepscope.lab._study import StudyRun, plan_study, run_study
    from deepscope.lab._target import subject_of
    from deepscope.lab._training_watch import TrainingWatch
    from deepscope.lab._trajectory import Trajectory, trajectory
    from deepscope.lab._trial_log import TrialLog, read_trials
    from deepscope.lab._trial_record import TrialRecord, trials_table
    from deepscope.lab._watch import watch
    from deepscope.lab._watched import Watched

_HOME = {
    "Comparison": "_compare",
    "EXECUTORS": "_choose_executor",
    "Examination": "_examination",
    "Exported": "_export",
    "FrequencyWatch": "_frequency_watch",
    "OpenRun": "_store",
    "Probe": "_probes",
    "Progress": "_examine",
    "Recorded": "_record_study",
    "Run": "_runs",
    "StudyRun": "_study",
    "TrainingWatch": "_training_watch",
    "Trajectory": "_trajectory",
    "TrialLog": "_trial_log",
    "TrialRecord": "_trial_record",
    "Watched": "_watched",
    "atlas": "_atlas",
    "build_site": "_build_atlas",
    "check_empty": "_build_atlas",
    "check_report_path": "_report_file",
    "collect_garbage": "_gc",
    "compare": "_compare",
    "compare_runs": "_compare_runs",
    "coverage": "_atlas",
    "earlier_trials": "_store",
    "examine": "_examine",
    "export_runs": "_export",
    "find_run": "_runs",
    "hardware": "_machine",
    "keep": "_store",
    "model_list": "_models",
    "model_sheet": "_models",
    "open_run": "_store",
    "parse_settings": "_protocol",
    "plan_study": "_study",
    "read_trials": "_trial_log",
    "reading_list": "_reading_list",
    "record_study": "_record_study",
    "records_folder": "_repository",
    "run_study": "_study",
    "runs": "_runs",
    "runs_folder": "_runs",
    "subject_of": "_target",
    "train_demo": "_demo",
    "trajectory": "_trajectory",
    "trials_table": "_trial_record",
    "unrecorded": "_record_study",
    "versions": "_machine",
    "watch": "_watch",
    "watch_frequencies": "_frequency_watch",
    "write_report": "_report_file",
    "write_skeleton": "_skeleton",
}

__all__ = [
    "EXECUTORS",
    "Comparison",
    "Examination",
    "Exported",
    "FrequencyWatch",
    "OpenRun",
    "Probe",
    "Progress",
    "Recorded",
    "Run",
    "StudyRun",
    "TrainingWatch",
    "Trajectory",
    "TrialLog",
    "TrialRecord",
    "Watched",
    "atlas",
    "build_site",
    "check_empty",
    "check_report_path",
    "collect_garbage",
    "compare",
    "compare_runs",
    "coverage",
    "earlier_trials",
    "examine",
    "export_runs",
    "find_run",
    "hardware",
    "keep",
    "model_list",
    "model_sheet",
    "open_run",
    "parse_settings",
    "plan_study",
    "read_trials",
    "reading_list",
    "record_study",
    "records_folder",
    "run_study",
    "runs",
    "runs_folder",
    "subject_of",
    "train_demo",
    "trajectory",
    "trials_table",
    "unrecorded",
    "versions",
    "watch",
    "watch_frequencies",
    "write_report",
    "write_skeleton",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
