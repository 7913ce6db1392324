from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import MeasurementError, UsageError
from deepscope.training import evaluate

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(11, 6, generator=GENERATOR, dtype=torch.float64)
TARGETS = torch.randint(0, 3, (11,), generator=GENERATOR)


def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).double()


def cut(*sizes: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(INPUTS.split(list(sizes)), TARGETS.split(list(sizes)), strict=True))


@pytest.mark.parametrize("sizes", [(11,), (4, 4, 3), (10, 1)])
def test_result_does_not_depend_on_how_the_data_is_cut(sizes) -> None:
    network = model()
    result = evaluate(network, cut(*sizes), functional.cross_entropy)
    outputs = network.eval()(INPUTS)
    # Means of 11 numbers of order 1 in float64.
    assert result.loss == pytest.approx(functional.cross_entropy(outputs, TARGETS).item(), abs=1e-14)
    assert result.accuracy == (outputs.argmax(1) == TARGETS).sum().item() / 11
    assert result.n == 11


def test_model_and_generators_are_left_as_they_were() -> None:
    network = model().train()
    network[2].eval()
    modes = [module.training for module in network.modules()]
    buffers = [buffer.clone() for buffer in network.buffers()]
    state = torch.get_rng_state()
    evaluate(network, cut(6, 5), functional.cross_entropy)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(now, then) for now, then in zip(network.buffers(), buffers, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(RuntimeError):
        evaluate(network, [(torch.zeros(2, 5, dtype=torch.float64), TARGETS[:2])], functional.cross_entropy)
    assert [module.training for module in network.modules()] == modes


def language_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def test_ignored_targets_count_neither_for_loss_nor_for_accuracy() -> None:
    outputs = torch.randn(4, 5, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    targets = outputs.argmax(-1)
    targets[0] = -100
    targets[1, :3] = (targets[1, :3] + 1) % 7
    batches = [(outputs[:1], targets[:1].where(torch.arange(5) > 0, targets[1, 0])), (outputs[1:], targets[1:])]
    result = evaluate(nn.Identity(), batches, language_loss, count=lambda t: (t != -100).sum())
    flat = torch.cat([batch[1] for batch in batches])
    assert result.n == 16
    assert result.loss == pytest.approx(language_loss(outputs, flat).item(), abs=1e-13)
    right = (outputs.argmax(-1) == flat).sum().item()
    assert result.accuracy == right / 16


def test_classes_may_be_the_second_dimension() -> None:
    outputs = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(3))
    assert evaluate(nn.Identity(), [(outputs, outputs.argmax(1))], functional.cross_entropy).accuracy == 1.0


def test_no_accuracy_without_classes_and_no_loss_without_loss() -> None:
    regression = evaluate(nn.Identity(), [(INPUTS, INPUTS + 2)], functional.mse_loss)
    assert regression.accuracy is None
    assert regression.loss == pytest.approx(4.0)
    assert evaluate(nn.Identity(), [(INPUTS, TARGETS)]).loss is None


def test_bad_data_and_bad_losses_are_refused() -> None:
    with pytest.raises(MeasurementError, match="no samples"):
        evaluate(nn.Identity(), [], functional.cross_entropy)
    with pytest.raises(UsageError, match="only once"):
        evaluate(nn.Identity(), iter(cut(11)), functional.cross_entropy)
    with pytest.raises(MeasurementError, match="not a scalar"):
        evaluate(nn.Identity(), cut(11), lambda outputs, targets: outputs)
    with pytest.raises(MeasurementError, match="batch 1"):
        evaluate(nn.Identity(), [*cut(11), (INPUTS * float("inf"), TARGETS)], functional.cross_entropy)
