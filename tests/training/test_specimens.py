"""What every training method that is a specimen promises: ``deepscope.training`` exports it."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from deepscope import training
from deepscope.core import Specimen
from deepscope.lab._declarations import specimens


def found() -> dict[str, Specimen]:
    names = [each.name for each in pkgutil.iter_modules(training.__path__)]
    files = [importlib.import_module(f"deepscope.training.{name}") for name in names]
    return {each.name: each for file in files for each in getattr(file, "SPECIMENS", ())}


SPECIMENS = found()


@pytest.mark.parametrize("name", SPECIMENS)
def test_it_is_exported_and_no_model(name: str) -> None:
    specimen = SPECIMENS[name]
    assert getattr(training, specimen.build.__name__) is specimen.build
    assert specimen.build.__name__ in training.__all__
    assert specimen.inputs is None
    assert specimen.parameters is None


def test_all_that_are_listed_are_found() -> None:
    listed = {each["name"]: each["build"] for each in specimens() if each["family"] == "training"}
    assert listed == {name: each.build.__name__ for name, each in SPECIMENS.items()}
