"""Networks of one architecture side by side: as one batch of matrix products, and each as an optimiser sees it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from deepscope.core import UsageError


class NetworkBatch:
    """Networks of one architecture, whose parameters are one tensor [networks, …] for each name.

    What one network is, its module says, which is run under ``torch.func.vmap``. ``network`` gives the parameters of
    one, with gradients, as views into the tensors of all: an optimiser that is given a group of them for each network
    updates each at a rate of its own.

    Parameters
    ----------
    models
        At least one; all of one class and size. Their modules draw no random numbers and keep no statistics.

    Raises
    ------
    UsageError
        No network, or networks with other parameters than the first, or with buffers.

    Examples
    --------
    >>> both = NetworkBatch([nn.Linear(3, 2), nn.Linear(3, 2)])
    >>> x = torch.ones(5, 3)
    >>> both(x).shape, torch.equal(both(x)[1], both(x.expand(2, 5, 3))[1])
    (torch.Size([2, 5, 2]), True)
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        if not models:
            raise UsageError("there is no network", where="NetworkBatch", todo="Give at least one.")
        shapes = [{name: each.shape for name, each in model.named_parameters()} for model in models]
        if any(each != shapes[0] for each in shapes) or any(True for model in models for _ in model.buffers()):
            raise UsageError(
                "these networks do not have the same parameters, or have buffers",
                where="NetworkBatch",
                todo="Give networks of one size, without running statistics.",
            )
        self.count = len(models)
        self.parameters = {
            name: torch.stack([model.get_parameter(name).detach() for model in models]).requires_grad_()
            for name in shapes[0]
        }
        for each in self.parameters.values():
            each.grad = torch.zeros_like(each)
        self._one = copy.deepcopy(models[0]).to("meta")

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return outputs [networks, batch, …] of one batch [batch, …], or of a batch for each, [networks, batch, …].

        Inputs of the networks' own number and a batch's are told apart by their dimensions: a batch has two.
        """
        return vmap(self._run, in_dims=(0, None if inputs.ndim == 2 else 0))(self.parameters, inputs)

    def _run(self, parameters: dict[str, Tensor], inputs: Tensor) -> Tensor:
        found: Tensor = functional_call(self._one, parameters, (inputs,))
        return found

    def losses(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of each network, [networks], in nats."""
        return cross_entropies(self(inputs), targets).mean(1)

    def differentiate(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Put each network's gradient of its own loss where its views read it, and return the losses [networks]."""
        for each in self.parameters.values():
            assert each.grad is not None
            each.grad.zero_()
        losses = self.losses(inputs, targets)
        # The sum's gradient by one network's parameters is that of its own loss alone.
        losses.sum().backward()  # type: ignore[no-untyped-call]
        return losses.detach()

    def network(self, index: int) -> list[Tensor]:
        """Return one network's parameters as views that carry their gradients, in the order of the module."""
        views = []
        for each in self.parameters.values():
            assert each.grad is not None
            view = each.detach()[index]
            view.grad = each.grad[index]
            views.append(view)
        return views

    def weights(self, index: int) -> dict[str, Tensor]:
        """Return a copy of one network's parameters by name."""
        return {name: each.detach()[index].clone() for name, each in self.parameters.items()}


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each sample, [networks, batch], of logits [networks, batch, classes].

    Targets are [batch] for all networks, or [networks, batch].
    """
    return functional.cross_entropy(logits.transpose(1, 2), targets.expand(logits.shape[:2]), reduction="none")
