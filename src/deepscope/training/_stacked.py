"""Many networks as one module, whose weights are theirs stacked."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from deepscope.core import DataError
from deepscope.subject import call, scalar_loss
from deepscope.training._alike import Text, same, shown
from deepscope.training._loss import Loss


class Stacked(nn.Module):
    """Networks that differ in their weights alone, as one: maps the inputs of N networks to their N outputs.

    Has one of them inside, whose parameters and buffers are theirs, stacked: [N, …].
    One call runs all of them by ``torch.func.vmap``, in which products of matrices become batched products; what a
    network draws (dropout) is drawn for each, and what it writes into its buffers (running statistics) is kept.

    Parameters
    ----------
    networks
        Copied, and left as they are.
    shared
        Whether all are given the same inputs [batch, …]; otherwise inputs are stacked, [N, batch, …].
    """

    def __init__(self, networks: Sequence[nn.Module], *, shared: bool) -> None:
        super().__init__()
        self.one, self.shared = copy.deepcopy(networks[0]), shared
        all_values = [values_of(network) for network in networks]
        for name, tensor in {**dict(self.one.named_parameters()), **dict(self.one.named_buffers())}.items():
            # Through data, a parameter stays the same object, also where it is tied.
            tensor.data = torch.stack([values[name] for values in all_values])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs [N, batch, …]."""
        inputs = kwargs or args
        buffers = dict(self.one.named_buffers())
        run = vmap(self._run, in_dims=(0, 0, self.dims(inputs)), randomness="different")
        outputs, put_anew = run(dict(self.one.named_parameters()), buffers, inputs)
        for name, value in put_anew.items():
            buffers[name].copy_(value.detach())
        return outputs

    def losses(self, loss: Loss, outputs: Any, targets: Any) -> Tensor:
        """Return ``loss`` of each network, [N]."""

        def one(outputs: Any, targets: Any) -> Tensor:
            return scalar_loss(loss, outputs, targets)

        each: Tensor = vmap(one, in_dims=(0, self.dims(targets)), randomness="different")(outputs, targets)
        return each

    def dims(self, values: Any) -> Any:
        """Return for each thing in inputs or targets the dimension of the networks; None where it has none."""
        return tree_map(lambda value: 0 if isinstance(value, Tensor) and not self.shared else None, values)

    def _run(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Any
    ) -> tuple[Any, dict[str, Tensor]]:
        state = {**parameters, **buffers}

        def model(*args: Any, **kwargs: Any) -> Any:
            return functional_call(self.one, state, args, kwargs)

        outputs = call(model, inputs)  # type: ignore[arg-type]
        # What is written in place is in the buffers already; a buffer that was put in their place is in the state.
        return outputs, {name: state[name] for name, buffer in buffers.items() if state[name] is not buffer}

    def read(self, index: int) -> dict[str, Tensor]:
        """Return copies of a network's parameters and buffers by name."""
        return {name: tensor[index].clone() for name, tensor in values_of(self.one).items()}

    def write(self, index: int, values: Mapping[str, Tensor]) -> None:
        """Put in a network's parameters and buffers."""
        for name, tensor in values_of(self.one).items():
            tensor[index] = values[name]

    def clear(self, indices: Collection[int]) -> None:
        """Set the parameters of networks to 0."""
        if indices:
            for parameter in self.one.parameters():
                parameter.detach()[list(indices)] = 0

    def finite(self) -> dict[str, list[bool]]:
        """Return, by the parameter's name, for which networks all of it is finite."""
        return {
            name: parameter.detach().flatten(1).isfinite().all(1).tolist()
            for name, parameter in self.one.named_parameters()
        }


def values_of(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's parameters and buffers by name, as they are, without their graph."""
    both = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return {name: tensor.detach() for name, tensor in both.items()}


def write_into(network: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy parameters and buffers by name into a network."""
    for name, tensor in values_of(network).items():
        tensor.copy_(values[name])


def stacked(parts: Sequence[Any], where: str) -> Any:
    """Stack what several networks are given, tensor by tensor in tuples, lists and mappings.

    Raises
    ------
    DataError
        They are not of the same kind and shape, or are no tensors and differ.
    """
    first = parts[0]
    for index, part in enumerate(parts):
        (what, here), (its, there) = _form(first), _form(part)
        if what != its or not same(here, there):
            its = "" if what == its else f"{its} "
            raise DataError(
                f"what network 0 is given is of {what} {shown(here)}, and what network {index} is given of "
                f"{its}{shown(there)}",
                where=where,
                todo="Give all networks batches that differ in the numbers of their tensors alone, or together=False.",
            )
    if isinstance(first, Tensor):
        return torch.stack(list(parts))
    if isinstance(first, Mapping):
        return {key: stacked([part[key] for part in parts], where) for key in first}
    if isinstance(first, (tuple, list)):
        rows = [stacked(each, where) for each in zip(*parts, strict=True)]
        return type(first)(*rows) if hasattr(first, "_fields") else type(first)(rows)
    return first


def _form(part: Any) -> tuple[str, Any]:
    """Return what parts must have in common to be stacked, and what it is called."""
    if isinstance(part, Tensor):
        return "shape", Text(list(part.shape))
    if isinstance(part, Mapping):
        return "keys", Text(sorted(map(str, part)))
    if isinstance(part, (tuple, list)):
        return "length", len(part)
    return type(part).__name__, part
