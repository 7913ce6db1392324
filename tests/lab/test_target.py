"""From what a user gives to a subject: nothing that was said is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_model
from torch import nn
from torch.nn import functional

import deepscope
from deepscope import Subject
from deepscope.core import TargetError, UsageError
from deepscope.lab import subject_of
from deepscope.lab._target import load_weights


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(7, 3), nn.Linear(3, 7, bias=False)
        self.head.weight = self.embed.weight


def test_data_and_loss_given_later_keep_the_rest_of_the_subject() -> None:
    def count(targets: torch.Tensor) -> int:
        return len(targets)

    own = Subject(nn.Linear(2, 2), loss=functional.l1_loss, count=count, name="mine").only("weight")
    batches = [(torch.ones(3, 2), torch.zeros(3, 2))]
    subject = subject_of(own, data=batches)
    assert subject.loss is functional.l1_loss
    assert subject.count is count
    assert subject.name == "mine"
    assert [weight.name for weight in subject.weights()] == ["weight"]
    assert own.data is None
    assert subject_of(own, data=batches, loss="mse_loss").loss is functional.mse_loss


def test_a_dataset_brings_its_loss_only_where_there_is_none() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert subject_of(model, data="digits").loss is functional.cross_entropy
    assert (
        subject_of(Subject(model, loss=functional.multi_margin_loss), data="digits").loss
        is functional.multi_margin_loss
    )


def test_data_for_a_checkpoint_alone_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3, 3)}, tmp_path / "m.pt")
    with pytest.raises(UsageError, match="cannot be run on data"):
        subject_of(tmp_path / "m.pt", data="digits")


def test_a_tied_model_loads_the_file_that_was_saved_from_it(tmp_path: Path) -> None:
    saved, model = Tied(), Tied()
    save_model(saved, str(tmp_path / "tied.safetensors"))
    load_weights(model, str(tmp_path / "tied.safetensors"))
    assert torch.equal(model.head.weight, saved.head.weight)
    assert model.head.weight is model.embed.weight
    torch.save({"other": torch.ones(2)}, tmp_path / "other.pt")
    with pytest.raises(TargetError, match="does not fit Tied"):
        load_weights(model, str(tmp_path / "other.pt"))


def test_a_step_that_writes_into_weights_is_caught() -> None:
    from dataclasses import replace

    from deepscope.core import MeasurementError
    from deepscope.instruments import ANATOMY

    def vandal(weight: object, tensor: torch.Tensor) -> None:
        tensor.abs_()

    instrument = replace(ANATOMY, per_weight=replace(ANATOMY.per_weight, step=vandal))
    with pytest.raises(MeasurementError, match="parameters were changed"):
        deepscope.examine(nn.Linear(3, 3), instruments=[instrument])


def test_the_user_s_data_is_left_as_it_was() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.add_(1))

    def marking_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        targets[targets == 0] = -100
        return functional.cross_entropy(outputs, targets)

    inputs, targets = torch.zeros(6, 4), torch.arange(6) % 3
    deepscope.examine(Subject(InPlace(), [(inputs, targets)], marking_loss))
    assert not inputs.any()
    assert targets.tolist() == [0, 1, 2, 0, 1, 2]
