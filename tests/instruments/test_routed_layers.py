"""Layers that are given some rows of a batch only, as the experts of a mixture are, under the instruments."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from deepscope.core import DoesNotApplyError
from deepscope.instruments import _frequency_along as along
from deepscope.instruments import _jacobian_trace as trace
from deepscope.instruments import frequency, information, jacobian, kernel, landscape, noise, symmetry, topology
from deepscope.subject import Subject


class Mixture(nn.Module):
    """Rows whose first number is high enough ask the expert."""

    def __init__(self, least: float = 0.0) -> None:
        super().__init__()
        self.least = least
        self.expert, self.out = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        asking = (rows[:, 0] > self.least).nonzero().flatten()
        return self.out(rows.index_add(0, asking, torch.tanh(self.expert(rows[asking]))).reshape(x.shape))


class Vectors(nn.Module):
    """Computes by itself, with one number per unit."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Generated(nn.Module):
    """Its only layer makes a weight, and sees no sample."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.generator = nn.Parameter(torch.randn(5, 3)), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.generator(self.embedding).T


def signed(signs: Tensor, *shape: int) -> Tensor:
    x = torch.randn(*signs.shape, *shape, generator=torch.Generator().manual_seed(0))
    x[..., 0] = x[..., 0].abs() * signs
    return x


def subject_of(model: nn.Module, x: Tensor) -> Subject:
    with torch.no_grad():
        targets = torch.zeros_like(model(x))
    return Subject(model, [(x, targets)], lambda outputs, targets: (outputs - targets).square().mean())


def test_noise_and_the_kernel_are_those_of_the_samples_alone() -> None:
    torch.manual_seed(0)
    # All of the first samples ask, four of eleven do.
    model, x = Mixture().double(), signed(torch.tensor([1.0] * 4 + [-1.0] * 7), 4).double()
    subject = subject_of(model, x)
    rows = []
    for one in x.split(1):
        loss = model(one).square().mean()
        rows.append(torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(model.parameters()))]))
    each = torch.stack(rows)
    found = noise(subject, max_samples=None)
    # Sums of some tens of products in float64.
    assert found.per_sample_norms == pytest.approx(each.norm(dim=1).numpy(), rel=1e-9)
    jacobians = []
    for one in x.split(1):
        for output in model(one).flatten():
            made = torch.autograd.grad(output, list(model.parameters()), retain_graph=True)
            jacobians.append(torch.cat([part.flatten() for part in made]))
    stacked = torch.stack(jacobians).reshape(len(x), -1)
    expected = (stacked @ stacked.T).numpy()
    gram = kernel(subject, outputs="trace").gram
    assert abs(gram - expected).max() <= 1e-9 * abs(expected).max()


def test_a_layer_whose_rows_change_with_the_transformation_is_left_out_of_symmetry() -> None:
    torch.manual_seed(0)
    # All of them ask until their signs change: then some still do.
    subject = subject_of(Mixture(-0.5), signed(torch.ones(11), 4))
    seen = symmetry(subject, ["signs"], networks=0)
    expert, out = seen.layers
    assert expert.equivariance.status == "its rows are not those of all samples in order"
    assert out.equivariance.value is not None


def test_a_layer_without_a_row_per_sample_under_random_weights_has_no_baseline() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.expert = nn.Linear(4, 1, bias=False), nn.Linear(4, 4)
            nn.init.zeros_(self.gate.weight)

        def forward(self, x: Tensor) -> Tensor:
            rows = (self.gate(x)[:, 0] >= 0).nonzero().flatten()
            return x.index_add(0, rows, self.expert(x[rows]))

    torch.manual_seed(0)
    seen = symmetry(subject_of(Gated(), signed(torch.tensor([1.0, -1.0] * 5), 4)), ["signs"], networks=3)
    expert = next(layer for layer in seen.layers if layer.name == "expert")
    assert expert.equivariance.value is not None
    assert "no baseline" in {entry.name: entry.reason for entry in seen.left_out}["expert"]


def test_jacobians_of_its_layers_are_those_of_one_sample_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    # Two tokens of four on average, and of each of the first two samples: the same number, of other samples.
    counts = torch.tensor([2, 2, 4, 0, 3, 1])
    x = signed(torch.where(torch.arange(4) < counts[:, None], 1.0, -1.0), 4)
    subject = subject_of(Mixture().double(), x.double())
    seen = jacobian(subject)
    layout = trace.Tracer.layout

    def apart(self: Any, *given: Any) -> Any:
        return dataclasses.replace(layout(self, *given), together=False)

    monkeypatch.setattr(trace.Tracer, "layout", apart)
    pd.testing.assert_frame_equal(seen.table(), jacobian(subject).table())


def test_frequency_leaves_out_a_layer_that_some_lines_do_not_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.always, self.sometimes = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.always(x)
            return y + self.sometimes(y) if x[0, 0] > 0 else y

    torch.manual_seed(0)
    # One line at a time.
    monkeypatch.setattr(along, "_ROWS", 1)
    seen = frequency(subject_of(Sometimes(), signed(torch.tensor([1.0, -1.0] * 8), 4)))
    assert [layer.name for layer in seen.layers] == ["always"]
    assert "every line" in {entry.name: entry.reason for entry in seen.left_out}["sometimes"]


@pytest.mark.parametrize(
    ("measure", "build"),
    [
        (landscape, Vectors), (frequency, Generated), (information, Generated), (topology, Generated),
    ],
)  # fmt: skip
def test_what_has_nothing_to_measure_is_passed_over(measure: Any, build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    with pytest.raises(DoesNotApplyError):
        measure(subject_of(build(), signed(torch.ones(12), 4)))
