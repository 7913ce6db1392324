"""Masks on weights, and training that keeps them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import final

import torch
from torch import Tensor, nn

from deepscope.core import UsageError, nearest
from deepscope.training._callback import Callback
from deepscope.training._state import TrainingState

#: Parameter's name to which of its weights are kept: boolean, of its shape.
Masks = Mapping[str, Tensor]

#: Layers whose weights are pruned unless others are named.
PRUNED_LAYERS = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)


def prunable_weights(model: nn.Module, names: Iterable[str] | None = None) -> dict[str, nn.Parameter]:
    """Return the parameters of these names, or the weights of all linear and convolutional layers, without biases.

    A weight that several layers share stands under its first name.

    Raises
    ------
    UsageError
        There is no parameter of a name, no layer that has weights to prune, or a layer's weight is not a parameter but
        made from others, as by weight normalisation.

    Examples
    --------
    >>> list(prunable_weights(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.BatchNorm1d(2), nn.Linear(2, 1))))
    ['0.weight', '3.weight']
    """
    parameters = dict(model.named_parameters())
    if names is not None:
        chosen = list(names)
        for name in chosen:
            if name not in parameters:
                raise UsageError("the model has no such parameter", where=name, todo=nearest(name, parameters))
    else:
        layers = [name for name, module in model.named_modules() if isinstance(module, PRUNED_LAYERS)]
        weights = [f"{layer}.weight" if layer else "weight" for layer in layers]
        shared = dict(model.named_parameters(remove_duplicate=False))
        for name in weights:
            if name not in shared:
                raise UsageError(
                    "the weight is not a parameter, but made from others",
                    where=name,
                    todo="Take its parametrization away, or give the names of the parameters to prune.",
                )
        chosen = [name for name in weights if name in parameters]
    if not chosen:
        raise UsageError(
            "there are no weights to prune",
            where=type(model).__name__,
            todo="Give the names of parameters, as model.named_parameters() has them.",
        )
    return {name: parameters[name] for name in chosen}


def require_masks(masks: Masks, model: nn.Module, *, where: str) -> None:
    """Refuse masks that do not fit a model.

    Raises
    ------
    UsageError
        There is none, a parameter of its name is missing, or a mask is not boolean or has another shape.
    """
    for name, weight in prunable_weights(model, masks).items():
        mask = masks[name]
        if mask.dtype != torch.bool or mask.shape != weight.shape:
            raise UsageError(
                f"the mask is {mask.dtype} of shape {list(mask.shape)}",
                where=f"{name} of {where}",
                todo=f"Give a boolean one of shape {list(weight.shape)}: True where a weight is kept.",
            )


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Masks, *, gradients: bool = False) -> None:
    """Set the weights that are not kept to 0, or their gradients.

    Raises
    ------
    UsageError
        The masks do not fit the model.

    Examples
    --------
    >>> model = nn.Linear(2, 1)
    >>> apply_masks(model, {"weight": torch.tensor([[True, False]])})
    >>> model.weight[0, 1].item()
    0.0
    """
    require_masks(masks, model, where="masks")
    _fill(dict(model.named_parameters()), masks, gradients=gradients)


def remaining(masks: Masks) -> float:
    """Return the share of the weights that is kept.

    Raises
    ------
    UsageError
        The masks are of no weights.

    Examples
    --------
    >>> remaining({"weight": torch.tensor([True, False, False, False])})
    0.25
    """
    if not any(mask.numel() for mask in masks.values()):
        raise UsageError("the masks are of no weights", where="masks of remaining", todo="Give those of a network.")
    return sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())


def shuffled_masks(masks: Masks, *, generator: torch.Generator) -> dict[str, Tensor]:
    """Return masks that keep as many weights of each parameter, at random places: the control of a pruned network.

    >>> mask = torch.tensor([[True, False, False], [True, True, False]])
    >>> shuffled_masks({"weight": mask}, generator=torch.Generator().manual_seed(0))["weight"].sum().item()
    3
    """
    return {
        name: mask.flatten()[
            torch.randperm(mask.numel(), generator=generator, device=generator.device).to(mask.device)
        ].view_as(mask)
        for name, mask in masks.items()
    }


@final
class KeepMasks(Callback):
    """Keep pruned weights at 0 in training, whatever the optimiser does.

    Before the first step, and after each update, the weights that are not kept are set to 0; before each update, their
    gradients. So no forward pass of the loop sees another value, and momentum never holds any of theirs, unless the
    optimiser computes gradients by itself, as ``SAM`` does. Give it before the callbacks that look at weights or at
    gradients.

    Parameters
    ----------
    masks
        Parameter's name to which of its weights are kept: boolean, of its shape. Copied.

    Raises
    ------
    UsageError
        By ``fit``: the masks do not fit the model.

    Notes
    -----
    Costs an operation on each weight before and after each update.

    Examples
    --------
    >>> from deepscope.training import fit
    >>> model, x = nn.Linear(2, 1), torch.eye(2)
    >>> _ = fit(
    ...     model,
    ...     lambda epoch: [(x, x.sum(1, keepdim=True))],
    ...     nn.functional.mse_loss,
    ...     optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1),
    ...     epochs=3,
    ...     callbacks=[KeepMasks({"weight": torch.tensor([[True, False]])})],
    ... )
    >>> model.weight[0, 1].item()
    0.0
    """

    def __init__(self, masks: Masks) -> None:
        self.masks = {name: mask.detach().clone() for name, mask in masks.items()}

    def on_start(self, state: TrainingState) -> None:
        """Set the weights."""
        require_masks(self.masks, state.model, where="KeepMasks")
        self.masks = beside(state.model, self.masks)
        apply_masks(state.model, self.masks)

    def on_gradients(self, state: TrainingState) -> None:
        """Set the gradients."""
        apply_masks(state.model, self.masks, gradients=True)

    def on_step(self, state: TrainingState) -> None:
        """Set the weights."""
        apply_masks(state.model, self.masks)

    def configuration(self) -> Mapping[str, object]:
        """Return how many weights are kept, and a digest of which."""
        digest = hashlib.sha256()
        for name, mask in self.masks.items():
            digest.update(name.encode() + mask.cpu().numpy().tobytes())
        return {"remaining": remaining(self.masks) if self.masks else 1.0, "masks": digest.hexdigest()[:16]}


def beside(model: nn.Module, masks: Masks) -> dict[str, Tensor]:
    """Return the masks on the devices of their parameters."""
    parameters = dict(model.named_parameters())
    return {name: mask.to(parameters[name].device) for name, mask in masks.items()}


def _fill(parameters: Mapping[str, nn.Parameter], masks: Masks, *, gradients: bool) -> None:
    for name, mask in masks.items():
        values = parameters[name].grad if gradients else parameters[name]
        if values is not None:
            values.masked_fill_(~mask, 0)
