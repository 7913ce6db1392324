"""What every model that is a specimen promises: it is exported, builds without arguments, has the size it says."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from deepscope import models
from deepscope.core import Specimen, UsageError
from deepscope.lab import model_sheet
from deepscope.lab._declarations import specimens

#: Above it a model is not given values: its layers compute shapes only.
_LARGE = 3_000_000


def found() -> dict[str, Specimen]:
    files = [importlib.import_module(f"deepscope.models.{each.name}") for each in pkgutil.iter_modules(models.__path__)]
    return {each.name: each for file in files for each in getattr(file, "SPECIMENS", ())}


SPECIMENS = found()
SMALL = [name for name, each in SPECIMENS.items() if (each.parameters or 0) <= _LARGE]
#: The first large one of each family: the others are more of the same.
LARGE = list(
    {each["family"]: each["name"] for each in reversed(specimens()) if each["name"] in {*SPECIMENS} - {*SMALL}}.values()
)


@pytest.mark.parametrize("name", SPECIMENS)
def test_it_is_exported_and_of_the_size_it_says(name: str) -> None:
    specimen = SPECIMENS[name]
    assert getattr(models, specimen.build.__name__) is specimen.build
    assert specimen.build.__name__ in models.__all__
    with torch.device("meta" if (specimen.parameters or 0) > _LARGE else "cpu"):
        model = specimen.build()
    assert isinstance(model, nn.Module)
    assert sum(each.numel() for each in model.parameters()) == specimen.parameters


@pytest.mark.parametrize("name", SMALL)
def test_it_maps_its_inputs_to_as_many_finite_outputs(name: str) -> None:
    model, inputs = SPECIMENS[name].build().eval(), SPECIMENS[name].inputs
    assert inputs is not None
    first, again = (inputs(2, torch.Generator().manual_seed(0)) for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    with torch.no_grad():
        outputs = model(**first) if isinstance(first, Mapping) else model(first)
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        assert isinstance(output, Tensor)
        assert len(output) == 2
        assert output.isfinite().all()


@pytest.mark.parametrize("name", SPECIMENS)
def test_it_refuses_numbers_of_another_precision(name: str) -> None:
    specimen = SPECIMENS[name]
    assert specimen.inputs is not None
    inputs = specimen.inputs(2, torch.Generator().manual_seed(0))
    device = torch.device("meta" if (specimen.parameters or 0) > _LARGE else "cpu")
    with device:
        model = specimen.build().eval()
    if isinstance(inputs, Mapping):
        inexact = {key: each.double() if each.is_floating_point() else each for key, each in inputs.items()}
        with pytest.raises(UsageError, match="float32"):
            model(**inexact)
        return
    # Chains of torch's layers have torch's error, which names both precisions.
    error: type[Exception] = RuntimeError if name in {"mlp", "deep-bsde"} else UsageError
    with pytest.raises(error, match=r"(?i)float|int64"):
        model(inputs.to(device, torch.float64))


@pytest.mark.parametrize("name", SMALL + LARGE)
def test_its_layers_add_up(name: str) -> None:
    sheet = model_sheet(name)
    layers = sheet["layers"]
    assert all(each["own_parameters"] <= each["parameters"] <= sheet["parameters"] for each in layers)
    # What is used outside of a layer is in none.
    assert sum(each["parameters"] - each["tied"] for each in layers if not each["depth"]) <= sheet["parameters"]
    assert sum(each["flops"] for each in layers if not each["depth"]) <= sheet["flops"]
    assert all(each["calls"] >= 1 for each in layers)


def test_all_that_are_listed_are_found() -> None:
    listed = {each["name"]: each for each in specimens() if each["family"] != "training"}
    assert set(listed) == set(SPECIMENS)
    for name, each in listed.items():
        assert each["build"] == SPECIMENS[name].build.__name__
        assert each["parameters"] == SPECIMENS[name].parameters
