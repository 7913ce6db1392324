"""Networks that give a layer some rows of a batch only: gradients are each sample's own, rows are told or left out."""

from __future__ import annotations

import pytest
import torch
from sample_gradients import assert_measured, assert_same, noise, written
from torch import Tensor, nn

from deepscope import Subject
from deepscope.core import LeftOut
from deepscope.subject import RowChoices, collecting, per_sample_gradients

#: How many of its four tokens each sample has an expert see: two of each of the first two, and two on average.
COUNTS = (2, 2, 4, 0, 3, 1)
EXPERT = {"expert.weight", "expert.bias"}


class Mixture(nn.Module):
    """Tokens whose first number is positive ask the expert."""

    def __init__(self) -> None:
        super().__init__()
        self.expert, self.squash, self.out = nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        asking = (tokens[:, 0] > 0).nonzero().flatten()
        answers = self.squash(self.expert(tokens[asking]))
        return self.out(tokens.index_add(0, asking, answers).reshape(x.shape)).sum(1)


class Bypassed(nn.Module):
    """A sample of negative numbers goes past all that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.expert = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        asking = x[:, 0] > 0
        if not asking.any():
            return x
        made = x.clone()
        made[asking] = self.expert(x[asking])
        return made


class Last(nn.Module):
    """Reads the last real token of each sequence: rows are chosen, one of every sample."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.out = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor, last: Tensor) -> Tensor:
        return self.out(self.before(x)[torch.arange(len(x)), last])


def asking(counts: tuple[int, ...], length: int = 4) -> Tensor:
    x = noise(len(counts), length, 3)
    signs = torch.where(torch.arange(length) < torch.tensor(counts)[:, None], 1, -1)
    x[..., 0] = x[..., 0].abs() * signs
    return x


@pytest.mark.parametrize("counts", [COUNTS, (4, 4, 1, 0), (0, 0, 3, 1), (1, 3, 2, 2)])
def test_gradients_of_a_layer_that_sees_some_tokens_are_those_of_each_sample_alone(counts: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    assert_measured(Mixture().double(), (asking(counts),), EXPERT)


def test_gradients_of_losses_are_those_of_each_sample_alone() -> None:
    torch.manual_seed(0)
    model, x, targets = Mixture().double(), asking(COUNTS), noise(len(COUNTS), 2)
    subject = Subject(model, [(x, targets)], nn.functional.mse_loss)
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        found = gradients.of_losses(next(subject.batches()))
    assert set(gradients.written_out) == EXPERT
    assert all("does not see a row of every sample" in why for why in gradients.written_out.values())
    for i in range(len(x)):
        loss = nn.functional.mse_loss(model(x[i : i + 1]), targets[i : i + 1])
        one = torch.autograd.grad(loss, list(model.parameters()))
        for (name, _), expected in zip(model.named_parameters(), one, strict=True):
            assert_same(written(found.factors[name])[i, 0], expected.flatten())


def test_a_sample_that_goes_past_all_parameters_has_no_gradient() -> None:
    torch.manual_seed(0)
    model, x = Bypassed().double(), noise(5, 3)
    x[:, 0] = x[:, 0].abs() * torch.tensor([1, 1, -1, 1, -1])
    subject = Subject(model, [(x, None)])
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        found = gradients.of_outputs(x, len(x)).factors
    rows = written(found["expert.bias"])
    # The bias is added to the output as it is.
    assert torch.equal(rows, torch.eye(3, dtype=rows.dtype) * (x[:, 0] > 0)[:, None, None])


def test_a_row_chosen_of_every_sample_needs_no_writing_out() -> None:
    torch.manual_seed(0)
    assert assert_measured(Last().double(), (noise(5, 4, 3), torch.tensor([3, 0, 2, 2, 1])), set()) == {}


def collected(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[dict[str, Tensor], tuple[LeftOut, ...]]:
    given = inputs if len(inputs) > 1 else inputs[0]
    subject = Subject(model, [(given, None)])
    with subject.undisturbed(), collecting(subject) as collector:
        return collector.run(given, len(inputs[0])), collector.left_out


def test_rows_that_are_not_those_of_all_samples_are_no_representation() -> None:
    torch.manual_seed(0)
    model, x = Mixture().double(), asking(COUNTS)
    found, left_out = collected(model, (x,))
    # 12 rows of 6 samples, but not two of each.
    assert list(found) == ["out"]
    assert left_out == tuple(
        LeftOut(name, "its rows are not those of all samples in order") for name in ("expert", "squash")
    )
    even, nothing = collected(model, (asking((2, 2, 2)),))
    assert list(even) == ["expert", "squash", "out"]
    assert nothing == ()


def test_rows_chosen_of_every_sample_are_its_representation() -> None:
    torch.manual_seed(0)
    model, x, last = Last().double(), noise(5, 4, 3), torch.tensor([3, 0, 2, 2, 1])
    found, left_out = collected(model, (x, last))
    assert left_out == ()
    assert_same(found["out"], model(x, last).detach())


def test_choices_are_told_from_fixed_places() -> None:
    x = torch.ones(4, 2)
    with RowChoices() as fixed:
        torch.cat([x[:2], x[2:], x[:, 0, None].expand(4, 2), x.reshape(2, 4).T, torch.where(x > 0, x, -x)])
    assert not fixed.made
    for choose in (
        lambda: x[x[:, 0] > 0], lambda: x[torch.tensor([1])], lambda: x.index_select(0, torch.tensor([1])),
        lambda: torch.where(x > 0), lambda: x.sum().item(), lambda: bool(x.sum() > 0), lambda: x.tolist(),
    ):  # fmt: skip
        with RowChoices() as choices:
            choose()
        assert choices.made
