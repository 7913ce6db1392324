"""What every model that is a specimen promises: it is exported, builds without arguments, has the size it says."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import torch
from torch import Tensor, nn

from deepscope import models
from deepscope.core import Specimen
from deepscope.lab import model_sheet
from deepscope.lab._declarations import specimens

#: Above it a model is not given values: its layers compute shapes only.
_LARGE = 3_000_000


def found() -> dict[str, Specimen]:
    files = [importlib.import_module(f"deepscope.models.{each.name}") for each in pkgutil.iter_modules(models.__path__)]
    return {each.name: each for file in files for each in getattr(file, "SPECIMENS", ())}


SPECIMENS = found()


@pytest.mark.parametrize("name", SPECIMENS)
def test_it_is_exported_and_of_the_size_it_says(name: str) -> None:
    specimen = SPECIMENS[name]
    assert getattr(models, specimen.build.__name__) is specimen.build
    assert specimen.build.__name__ in models.__all__
    large = (specimen.parameters or 0) > _LARGE
    with torch.device("meta" if large else "cpu"):
        model = specimen.build()
        assert isinstance(model, nn.Module)
        assert sum(each.numel() for each in model.parameters()) == specimen.parameters
        assert specimen.inputs is not None
        inputs = specimen.inputs(2, None if large else torch.Generator().manual_seed(0))
        with torch.no_grad():
            outputs = model.eval()(inputs)
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        assert isinstance(output, Tensor)
        assert len(output) == 2
        assert large or output.isfinite().all()


@pytest.mark.parametrize("name", SPECIMENS)
def test_its_layers_add_up(name: str) -> None:
    sheet = model_sheet(name)
    layers = sheet["layers"]
    own = sum(each["own_parameters"] for each in layers)
    assert own <= sheet["parameters"]
    outermost = [each for each in layers if not each["depth"]]
    assert sum(each["flops"] for each in outermost) <= sheet["flops"]
    assert all(each["calls"] >= 1 for each in layers)
    with torch.device("meta"), torch.no_grad():
        draw = SPECIMENS[name].inputs
        assert draw is not None
        assert sheet["input"] == list(draw(1, None).shape[1:])


def test_all_that_are_listed_are_found() -> None:
    listed = {each["name"]: each for each in specimens() if each["family"] != "training"}
    assert set(listed) == set(SPECIMENS)
    for name, each in listed.items():
        assert each["build"] == SPECIMENS[name].build.__name__
        assert each["parameters"] == SPECIMENS[name].parameters
