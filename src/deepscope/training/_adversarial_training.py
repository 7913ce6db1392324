"""Adversarial training: the loss at the samples, and at their worst neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.subject import call, scalar_loss
from deepscope.training._loss import Loss
from deepscope.training._optimizer_arguments import require


class AdversarialTraining(nn.Module):
    """A network that also trains on x′ = x + ε sign(∂ℓ/∂x): on ℓ(x, y) + ℓ(x′, y).

    x′ has the largest loss within ε in every coordinate, as far as the loss is linear there (the fast gradient sign
    method); training on it makes what is predicted smoother. The gradient is that of the loss at the present weights,
    through which no gradient flows. Source: ``goodfellow2015explaining``, as used by ``lakshminarayanan2017simple`` for
    ensembles: ε is 1 % of a feature's range there.

    With ``with_targets(data)`` and ``summed_loss`` for ``fit`` and ``fit_many``: in training it maps (x, y) to the
    network's outputs at x and x′. Called with x alone it is the network.

    Parameters
    ----------
    network
        From a tensor of floating-point inputs.
    loss
        ℓ, ``loss(outputs, targets)``, a mean over the batch.
    epsilon
        ε, a number or a tensor with one for each feature, in the units of the inputs.

    Raises
    ------
    UsageError
        ε is negative, or the network keeps running estimates, which see x only once; when called: the inputs are not
        of floating-point numbers, ε does not fit them, or ``summed_loss`` gets no pair since targets were not given.

    Notes
    -----
    Costs, instead of one forward and backward pass, three of both. What the network draws (dropout) is drawn anew for
    each.

    Examples
    --------
    >>> from deepscope.training import fit
    >>> x, y = torch.randn(16, 3), torch.randn(16, 1)
    >>> model = AdversarialTraining(nn.Linear(3, 1), nn.functional.mse_loss, epsilon=0.1)
    >>> history = fit(
    ...     model,
    ...     with_targets(lambda epoch: [(x, y)]),
    ...     model.summed_loss,
    ...     optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
    ...     epochs=10,
    ... )
    >>> history.loss[-1] < history.loss[0], model(x).shape
    (True, torch.Size([16, 1]))
    """

    epsilon: Tensor

    def __init__(self, network: nn.Module, loss: Loss, epsilon: float | Tensor) -> None:
        super().__init__()
        steps = torch.as_tensor(epsilon, dtype=torch.float64)
        require(bool((steps >= 0).all()), "epsilon", epsilon, "of 0 or more", where="AdversarialTraining")
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                raise UsageError(
                    f"{name} of {list(buffer.shape)} is a running estimate, which would see samples and neighbours",
                    where="network of AdversarialTraining",
                    todo="Give a network without batch normalisation: GroupNorm or LayerNorm.",
                )
        self.network, self.loss = network, loss
        self.register_buffer("epsilon", steps)

    def forward(self, x: Tensor, y: Any = None) -> Any:
        """Return the outputs at x; with targets, the pair of those at x and at x′."""
        if y is None:
            return call(self.network, x)
        return call(self.network, x), call(self.network, self.worst_neighbours(x, y))

    def worst_neighbours(self, x: Tensor, y: Any) -> Tensor:
        """Return x′, of the shape of x, without its graph."""
        if not x.is_floating_point():
            kind = str(x.dtype).removeprefix("torch.")
            raise UsageError(f"inputs are of {kind}", where="AdversarialTraining", todo="Give floating-point inputs.")

        def of_inputs(inputs: Tensor) -> Tensor:
            return scalar_loss(self.loss, call(self.network, inputs), y)

        # By torch.func, which has a form for many networks as one.
        gradient: Tensor = torch.func.grad(of_inputs)(x)
        neighbours = x + self.epsilon.to(x.dtype) * gradient.detach().sign()
        allowed = f"as one number, or one for each feature of inputs {list(x.shape)}"
        fits = neighbours.shape == x.shape
        require(fits, "epsilon", list(self.epsilon.shape), allowed, where="AdversarialTraining")
        return neighbours

    def summed_loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return ℓ(x, y) + ℓ(x′, y) of the pair of outputs."""
        if not isinstance(outputs, tuple) or len(outputs) != 2:
            raise UsageError(
                f"the outputs are a {type(outputs).__name__}, not the pair of those at samples and at neighbours",
                where="summed_loss of AdversarialTraining",
                todo="Give the training with_targets(data), whose targets are not None.",
            )
        at_samples, at_neighbours = outputs
        return self.loss(at_samples, targets) + self.loss(at_neighbours, targets)


def with_targets(data: Callable[[int], Iterable[Any]]) -> Callable[[int], Iterator[tuple[tuple[Any, Any], Any]]]:
    """Return the same data with batches ((x, y), y), for a network that needs its targets: ``AdversarialTraining``.

    >>> next(iter(with_targets(lambda epoch: [(1, 2)])(0)))
    ((1, 2), 2)
    """

    def batches(epoch: int) -> Iterator[tuple[tuple[Any, Any], Any]]:
        for inputs, targets in data(epoch):
            yield (inputs, targets), targets

    return batches


SPECIMENS = (
    Specimen(
        name="adversarial-training",
        title="training on samples and their worst neighbours",
        build=AdversarialTraining,
        formula="ℓ(x, y) + ℓ(x + ε sign ∂ℓ(x, y)/∂x, y).",
        source="goodfellow2015explaining",
        pinned_by="tests/training/test_adversarial_training.py::test_neighbours_of_a_linear_network_are_the_worst_within_reach",
    ),
)
