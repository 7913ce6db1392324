"""Per-sample gradients of the parameters for which no rule holds: written out, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.subject._layer_output import flat
from deepscope.subject._samples import each_sampled, take_samples
from deepscope.subject._subject import Subject


def floating_outputs(outputs: Any) -> list[Tensor]:
    """Return the tensors of a network's outputs through which a gradient can come back."""
    return [each for each in flat((outputs,)) if isinstance(each, Tensor) and each.requires_grad]


def pulled_back(
    outputs: Sequence[Any], wanted: Sequence[Any], directions: Sequence[Tensor], *, at_once: bool
) -> list[Tensor | None]:
    """Return the gradients of several directions, [k, …] each; None where nothing depends on them.

    Parameters
    ----------
    outputs, wanted
        Tensors or gradient edges.
    directions
        One per output, [k, …] of its shape.
    at_once
        All directions in one backward pass, or one after the other. The graph is kept.
    """
    if at_once:
        found = torch.autograd.grad(
            outputs, wanted, directions, retain_graph=True, allow_unused=True, is_grads_batched=True
        )
        return list(found)
    rows = [
        torch.autograd.grad(outputs, wanted, [each[k] for each in directions], retain_graph=True, allow_unused=True)
        for k in range(len(directions[0]))
    ]
    return [None if each[0] is None else torch.stack(each) for each in zip(*rows, strict=True)]


class WrittenGradients:
    """Jacobian rows of some parameters, for all samples of a batch at once by ``torch.func``, or one after another.

    Parameters
    ----------
    subject
        Its forward pass is run.
    parameters
        Those that are wanted.
    at_once
        Whether all samples and all directions go through torch at once.
    """

    def __init__(self, subject: Subject, parameters: Mapping[str, nn.Parameter], *, at_once: bool = True) -> None:
        self.subject, self.parameters = subject, dict(parameters)
        self._at_once = at_once

    def __call__(self, inputs: Any, n: int, directions: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the gradients by name, [n, k, p].

        Parameters
        ----------
        inputs, n
            Of the batch.
        directions
            One per floating-point output, [k, n, …].
        """
        if not self.parameters:
            return {}
        return self._mapped(inputs, n, directions) if self._at_once else self._one_by_one(inputs, n, directions)

    # What is not differentiated by torch.func would otherwise leave a graph behind.
    @torch.no_grad()
    def _mapped(self, inputs: Any, n: int, directions: Sequence[Tensor]) -> dict[str, Tensor]:
        network = _Network(self.subject)
        weights = {f"model.{name}": each.detach() for name, each in self.parameters.items()}

        def one(sample: Any, mine: list[Tensor]) -> dict[str, Tensor]:
            # vmap has taken the samples' dimension away; what is left of it is told by the in_dims alone.
            alone = _unsqueezed(sample, dims)

            def outputs(values: dict[str, Tensor]) -> tuple[Tensor, ...]:
                made = torch.func.functional_call(network, values, (alone,))
                return tuple(each.squeeze(0) for each in flat((made,)) if each.is_floating_point())

            pull = torch.func.vjp(outputs, weights)[1]
            return torch.func.vmap(lambda *rows: pull(rows)[0])(*mine)  # type: ignore[no-any-return]

        dims = each_sampled(inputs, n, lambda _: 0, lambda _: None)
        rows = torch.func.vmap(one, in_dims=(dims, 1))(inputs, list(directions))
        return {name.removeprefix("model."): each.flatten(2) for name, each in rows.items()}

    def _one_by_one(self, inputs: Any, n: int, directions: Sequence[Tensor]) -> dict[str, Tensor]:
        wanted = list(self.parameters.values())
        samples = []
        for i in range(n):
            outputs = floating_outputs(self.subject.predict(take_samples(inputs, n, slice(i, i + 1))))
            mine = [each[:, i : i + 1] for each in directions]
            # Of a sample that goes past all of the parameters nothing can come back.
            found = pulled_back(outputs, wanted, mine, at_once=False) if outputs else [None] * len(wanted)
            k = len(mine[0])
            samples.append(
                [p.new_zeros(k, p.numel()) if g is None else g.flatten(1) for p, g in zip(wanted, found, strict=True)]
            )
        return {name: torch.stack(each) for name, each in zip(self.parameters, zip(*samples, strict=True), strict=True)}


class _Network(nn.Module):
    """A subject's forward pass as a module, so that its parameters can be handed in."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.model, self._subject = subject.model, subject

    def forward(self, inputs: Any) -> Any:
        return self._subject.predict(inputs)


def _unsqueezed(sample: Any, dims: Any) -> Any:
    if isinstance(sample, Mapping):
        return {key: _unsqueezed(item, dims[key]) for key, item in sample.items()}
    if isinstance(sample, (tuple, list)):
        made = [_unsqueezed(item, dim) for item, dim in zip(sample, dims, strict=True)]
        return type(sample)(*made) if hasattr(sample, "_fields") else type(sample)(made)
    return sample.unsqueeze(0) if dims == 0 else sample
