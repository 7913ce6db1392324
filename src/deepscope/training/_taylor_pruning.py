"""Taylor pruning: how much the loss changes, to first order, without a weight or a unit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import MeasurementError, Specimen, UsageError, nearest
from deepscope.subject import Batch, batches_of, call, check_reiterable, device_of, scalar_loss, undisturbed
from deepscope.training._loss import Count, Loss
from deepscope.training._masks import prunable_weights

_LINEAR = nn.Linear
_UNITS = (_LINEAR, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def taylor_scores(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss,
    *,
    names: Iterable[str] | None = None,
    count: Count | None = None,
) -> dict[str, Tensor]:
    """Return (g·w)² of each weight w, g the gradient of a batch's mean loss, averaged over the batches.

    g·w is to first order how much the loss falls when the weight is set to 0. Source: ``molchanov2019importance``.

    Parameters
    ----------
    model
        Left as it was; run in evaluation mode.
    batches
        Re-iterable pairs ``(inputs, targets)``; see ``Subject``. Each weighs as many terms as its loss has.
    loss, count
        As for ``fit``.
    names
        Of parameters; the weights of linear and convolutional layers unless given.

    Returns
    -------
    dict
        Parameter's name to scores of its shape, for ``pruning_masks``.

    Raises
    ------
    UsageError
        There is no such parameter, or the loss has no gradient with respect to one.
    MeasurementError
        There is no data, or a gradient is not finite.

    Notes
    -----
    Costs a forward and a backward pass over the data.

    Examples
    --------
    >>> model = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.constant_(model.weight, 2.0)
    >>> data = [(torch.tensor([[1.0, 3.0]]), None)]
    >>> taylor_scores(model, data, lambda outputs, targets: outputs.sum())["weight"].tolist()
    [[4.0, 36.0]]
    """
    weights = prunable_weights(model, names)
    for name, weight in weights.items():
        if not weight.requires_grad:
            raise _without_gradient(name, "requires_grad is False")
    totals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    terms = 0.0
    with undisturbed(model), torch.enable_grad():
        for batch in _counted(model, batches, count):
            value = scalar_loss(loss, call(model, batch.inputs), batch.targets)
            _require_graph(value, next(iter(weights)))
            for (name, weight), gradient in zip(
                weights.items(), torch.autograd.grad(value, list(weights.values()), allow_unused=True), strict=True
            ):
                if gradient is None:
                    raise _without_gradient(name, "the loss does not depend on it")
                totals[name] += batch.count * _finite(gradient * weight.detach(), name).square()
            terms += batch.count
    return {name: total / _some(terms) for name, total in totals.items()}


def taylor_unit_scores(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss,
    *,
    layers: Iterable[str] | None = None,
    count: Count | None = None,
    normalised: bool = True,
) -> dict[str, Tensor]:
    """Return how much, to first order, a sample's loss changes without a unit or filter.

    With z the unit's output at M positions and C the sample's loss, averaged over the samples::

        Θ = | 1/M Σ_positions z·∂C/∂z |

    then divided by the norm of the layer's Θ, so that layers can be compared. z is the output of the layer itself; it
    gives the same as that of a ReLU after it, because both products are 0 where the ReLU is. Source:
    ``molchanov2017pruning``.

    Parameters
    ----------
    model, batches, loss, count
        As for ``taylor_scores``. A sample's loss is its part of the batch's: the samples must not mix.
    layers
        Names of linear or convolutional layers; all of them unless given.
    normalised
        Whether to divide by the layer's norm.

    Returns
    -------
    dict
        Layer's name to scores, [units], for ``pruning_masks``, whose masks ``unit_masks`` makes those of weights.

    Raises
    ------
    UsageError
        There is no such layer, it is of another kind, it is not used, or the loss does not depend on its output.
    MeasurementError
        There is no data, or a gradient is not finite.

    Notes
    -----
    Costs a forward and a backward pass over the data, and a batch's outputs of these layers, twice, in memory. Layers
    whose parameters are frozen are scored as others. A unit whose
    outputs pass through a batch normalisation is not gone when they are 0: its shift stays.

    Examples
    --------
    >>> model = nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    >>> data = [(torch.tensor([[1.0, 1.0], [-1.0, 1.0]]), None)]
    >>> taylor_unit_scores(model, data, lambda outputs, targets: outputs.sum() / 2, normalised=False)[""].tolist()
    [1.0, 2.0]
    """
    chosen = _unit_layers(model, layers)
    totals: dict[str, Tensor] = {}
    samples = 0
    with undisturbed(model), torch.enable_grad(), _outputs_of(chosen) as outputs:
        for batch in _counted(model, batches, count):
            outputs.clear()
            # Of the sum: the gradient with respect to a sample's output is then that of its own loss.
            value = batch.count * scalar_loss(loss, call(model, batch.inputs), batch.targets)
            for name in chosen:
                if name not in outputs:
                    raise _without_gradient(name, "the layer is not used")
            _require_graph(value, next(iter(chosen)))
            flat = [each for name in chosen for each in outputs[name]]
            gradients = iter(torch.autograd.grad(value, flat, allow_unused=True))
            for name, layer in chosen.items():
                products = []
                for output in outputs[name]:
                    gradient = next(gradients)
                    if gradient is None:
                        raise _without_gradient(name, "the loss does not depend on its output")
                    product = _finite(gradient * output.detach(), name)
                    products.append(product.movedim(-1, 1) if isinstance(layer, _LINEAR) else product)
                change = sum(each.flatten(2).mean(2) if each.ndim > 2 else each for each in products)
                assert isinstance(change, Tensor)
                totals[name] = totals.get(name, 0.0) + change.abs().sum(0)
            samples += batch.n_samples
    scores = {name: total / _some(samples) for name, total in totals.items()}
    if not normalised:
        return scores
    return {name: each / torch.linalg.vector_norm(each).clamp_min(_tiny(each)) for name, each in scores.items()}


def unit_masks(model: nn.Module, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return masks of weights and biases that drop whole units or filters, whose output is then 0.

    Parameters
    ----------
    model
        Of which the layers are.
    kept
        Layer's name to which of its units are kept, boolean, [units]: ``pruning_masks(taylor_unit_scores(…), …)``.

    Returns
    -------
    dict
        Parameter's name to boolean mask, for ``KeepMasks`` and ``apply_masks``.

    Raises
    ------
    UsageError
        There is no such layer, it is of another kind, or a mask does not fit it.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 2))
    >>> {name: each.tolist() for name, each in unit_masks(model, {"0": torch.tensor([True, False])}).items()}
    {'0.weight': [[True, True, True], [False, False, False]], '0.bias': [True, False]}
    """
    masks = {}
    for name, layer in _unit_layers(model, kept).items():
        units = kept[name]
        if units.dtype != torch.bool or units.shape != layer.weight.shape[:1]:
            raise UsageError(
                f"the mask is {units.dtype} of shape {list(units.shape)}",
                where=f"{name} of unit_masks",
                todo=f"Give a boolean one of shape [{len(layer.weight)}]: True where a unit is kept.",
            )
        for leaf, parameter in layer.named_parameters(recurse=False):
            of_rows = units.view(-1, *[1] * (parameter.ndim - 1))
            masks[f"{name}.{leaf}" if name else leaf] = of_rows.expand_as(parameter).clone()
    return masks


def _unit_layers(model: nn.Module, layers: Iterable[str] | None) -> dict[str, Any]:
    modules = dict(model.named_modules())
    if layers is None:
        found = {name: module for name, module in modules.items() if isinstance(module, _UNITS)}
    else:
        found = {}
        for name in layers:
            if name not in modules:
                raise UsageError("the model has no such layer", where=name, todo=nearest(name, modules))
            found[name] = modules[name]
    for name, module in found.items():
        if not isinstance(module, _UNITS):
            raise UsageError(
                f"the layer is a {type(module).__name__}",
                where=name,
                todo="Name linear or convolutional layers: their outputs are the units.",
            )
    if not found:
        raise UsageError(
            "there are no layers with units",
            where=type(model).__name__,
            todo="Give a model with linear or convolutional layers.",
        )
    return found


@contextmanager
def _outputs_of(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, list[Tensor]]]:
    found: dict[str, list[Tensor]] = {}

    def kept(name: str, output: Tensor) -> Tensor:
        # Of frozen layers the outputs have a gradient all the same.
        output = output if output.requires_grad else output.detach().requires_grad_()
        found.setdefault(name, []).append(output)
        # What is done in place afterwards, as by `x += shortcut`, is not done to what is kept.
        return output.clone()

    hooks = [
        layer.register_forward_hook(lambda _, __, output, name=name: kept(name, output))
        for name, layer in layers.items()
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _counted(model: nn.Module, batches: Iterable[Any], count: Count | None) -> Iterator[Batch]:
    """Give the batches whose loss has terms."""
    check_reiterable(batches)
    return (batch for batch in batches_of(batches, device=device_of(model), count=count) if batch.count)


def _require_graph(value: Tensor, name: str) -> None:
    if not value.requires_grad:
        raise _without_gradient(name, "the loss depends on no parameter that has a gradient")


def _without_gradient(name: str, why: str) -> UsageError:
    return UsageError(
        f"there is no gradient ({why})",
        where=name,
        todo="Call requires_grad_() on what is scored, or give the names of what the loss depends on.",
    )


def _finite(product: Tensor, name: str) -> Tensor:
    if not bool(product.isfinite().all()):
        raise MeasurementError("a gradient is not finite", where=name, todo="Look at the inputs and the weights.")
    return product


def _some(terms: float) -> float:
    if not terms:
        raise MeasurementError("the loss averages over no terms", where="count", todo="Give batches with targets.")
    return terms


def _tiny(values: Tensor) -> float:
    return torch.finfo(values.dtype).tiny


SPECIMENS = (
    Specimen(
        name="taylor-pruning",
        title="weights whose loss to first order is least are set to 0",
        build=taylor_scores,
        formula="Score (g·w)², the mean over batches; g = ∂L/∂w of a batch's mean loss.",
        source="molchanov2019importance",
        pinned_by="tests/training/test_taylor_pruning.py::test_weights_are_scored_as_the_paper_has_it",
    ),
    Specimen(
        name="taylor-filter-pruning",
        title="units or filters whose loss to first order is least are set to 0",
        build=taylor_unit_scores,
        formula="Θ = mean over samples of |mean over positions of z·∂C/∂z|, over the norm of its layer's.",
        source="molchanov2017pruning",
        pinned_by="tests/training/test_taylor_pruning.py::test_units_are_scored_as_the_paper_has_it",
    ),
)
