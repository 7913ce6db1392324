"""Studies are imported anew each time: all of a folder's modules, however they are reached."""

from __future__ import annotations

import sys

from deepscope.studies import load_study


def test_a_module_beside_a_study_is_the_one_that_the_study_uses() -> None:
    load_study("saxe-dynamics")
    from deepscope.studies.learning_dynamics import _saxe_trials as first

    load_study("saxe-dynamics")
    from deepscope.studies.learning_dynamics import _saxe_trials as second
    from deepscope.studies.learning_dynamics.saxe_dynamics import modes_trial

    assert first is not second
    assert second is sys.modules[second.__name__]
    assert modes_trial is second.modes_trial
