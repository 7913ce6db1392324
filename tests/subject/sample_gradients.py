"""Per-sample gradients by plain backpropagation through each sample alone, and what is compared with them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.linalg import Factors, factor_gram, project, squared_norms, weighted_sum
from deepscope.subject import Subject, per_sample_gradients


def assert_same(found: Tensor, expected: Tensor, scale: float = 1.0) -> None:
    """Both ways take the same products in float64, in another order: 1e-16 of the terms each, some hundreds of them."""
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13 * max(scale, float(expected.abs().max())))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def alone(model: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Jacobians by plain backpropagation through one sample and one output at a time: name -> [n, c, p]."""
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    rows = []
    for i in range(len(inputs[0])):
        outputs = model(*(each[i : i + 1] for each in inputs)).flatten()
        rows.append(
            [
                torch.autograd.grad(each, parameters.values(), retain_graph=True, materialize_grads=True)
                for each in outputs
            ]
        )
    return {
        name: torch.stack([torch.stack([each[place].flatten() for each in row]) for row in rows])
        for place, name in enumerate(parameters)
    }


def written(factors: Factors) -> Tensor:
    return sum(each.dense() for each in factors)


def assert_measured(
    model: nn.Module, inputs: tuple[Tensor, ...], written_out: set[str], *, unused: set[str] = frozenset()
) -> dict[str, str]:
    """Compare all that is had from the factors with the gradients of each sample alone; returns what is said."""
    expected = alone(model, inputs)
    subject = Subject(model, data=[(inputs if len(inputs) > 1 else inputs[0], None)])
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        (batch,) = subject.batches()
        found = gradients.of_outputs(batch.inputs, batch.n_samples)
    assert set(gradients.written_out) == written_out
    assert_same(found.outputs, model(*inputs).flatten(1).detach())
    assert set(found.factors) == expected.keys() - unused
    for name, factors in found.factors.items():
        rows = expected[name]
        assert_same(written(factors), rows)
        gram = torch.einsum("nkp,mlp->knlm", rows, rows)
        assert_same(factor_gram([factors]), gram)
        assert_same(factor_gram([factors], trace=True), gram.diagonal(dim1=0, dim2=2).sum(-1))
        assert_same(squared_norms(factors), rows.square().sum(2))
        direction = noise(rows.shape[2])
        assert_same(project(factors, direction), rows @ direction)
        weights = noise(*rows.shape[:2])
        assert_same(weighted_sum(factors, weights), torch.einsum("nk,nkp->p", weights, rows))
    return gradients.written_out
