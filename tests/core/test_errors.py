"""Errors: what, where, what to do."""

import copy
import pickle

import pytest

from deepscope.core import DataError, DeepscopeError, MeasurementError, TargetError, UsageError, nearest

KINDS = [DeepscopeError, DataError, MeasurementError, TargetError, UsageError]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy], ids=["pickle", "copy"])
def test_nothing_is_lost_on_the_way_to_another_process(kind, again):
    error = again(kind("no weights", where="model/", todo="Give a file."))
    assert type(error) is kind
    assert (error.what, error.where, error.todo) == ("no weights", "model/", "Give a file.")
    assert str(error) == "no weights: model/\nGive a file."


@pytest.mark.parametrize(
    ("where", "todo", "shown"),
    [("", "", "broken"), ("x", "", "broken: x"), ("", "Mend it.", "broken\nMend it.")],
)
def test_what_is_not_said_leaves_no_trace(where, todo, shown):
    assert str(DeepscopeError("broken", where=where, todo=todo)) == shown


def test_nearest_guesses_only_what_is_near():
    assert nearest("helth", ["health", "anatomy"]).startswith('Did you mean "health"?')
    assert nearest("zzz", ["health", "anatomy"]) == "Known: anatomy, health."
