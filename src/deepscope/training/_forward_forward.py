"""Forward-forward: every layer learns from its own goodness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.training._optimizer_arguments import require


class ForwardForward(nn.Module):
    """A stack of ReLU layers, each trained alone to tell real inputs from contrasted ones.

    Layer k takes the activity y of the one below as it is, without a gradient to it, and divides it by its root mean
    square, so that only its direction is passed on, not its goodness::

        yₖ = relu(Wₖ yₖ₋₁/rms(yₖ₋₁) + bₖ)        goodness Gₖ = Σⱼ yₖⱼ²
        P(real) = σ(Gₖ − θₖ)

    Maps [batch, features] to Gₖ − θₖ, [batch, layers], for ``forward_forward_loss``; its gradient for layer k is that
    of layer k's own term, so that one optimiser over all layers trains each by itself. Source:
    ``hinton2022forward``, the supervised case: the label stands in the first features, and the contrasted input has a
    wrong one (``contrasted_labels``). θₖ is the layer's width, as in the author's code, which also holds each unit's
    mean activity near that of its layer, and prefers wrong labels that the network finds likely; neither is done here.

    Parameters
    ----------
    widths
        Number of features, then of each layer's units; at least one layer.
    classes
        Number of labels, at most the number of features.
    threshold
        θ of all layers; each layer's width unless given.

    Raises
    ------
    UsageError
        A number is out of range, or an input has another shape.

    Notes
    -----
    No activity is kept for a backward pass through the layers. Parameters: Σ (widthₖ₋₁ + 1)·widthₖ. Classifying costs
    a forward pass for each label.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> model = ForwardForward([12, 20, 20], classes=2)
    >>> x, labels = torch.rand(6, 12), torch.tensor([0, 1, 0, 1, 0, 1])
    >>> inputs, real = contrasted_labels(x, labels, classes=2, generator=torch.Generator().manual_seed(0))
    >>> model(inputs).shape, forward_forward_loss(model(inputs), real).item() > 0, model.classify(x).shape
    (torch.Size([12, 2]), True, torch.Size([6]))
    """

    def __init__(self, widths: Sequence[int], *, classes: int, threshold: float | None = None) -> None:
        super().__init__()
        where = "ForwardForward"
        valid = len(widths) >= 2 and all(isinstance(width, int) and width >= 1 for width in widths)
        require(
            valid,
            "widths",
            list(widths),
            "as features and one or more layers, each a whole number of 1 or more",
            where=where,
        )
        require(2 <= classes <= widths[0], "classes", classes, f"from 2 to {widths[0]}", where=where)
        valid = threshold is None or 0 < threshold < math.inf
        require(valid, "threshold", threshold, "above 0, and finite", where=where)
        self.features, self.classes = widths[0], classes
        self.thresholds = [float(threshold or width) for width in widths[1:]]
        pairs = list(pairwise(widths))
        self.normalisations = nn.ModuleList(nn.RMSNorm(width, eps=1e-8, elementwise_affine=False) for width, _ in pairs)
        self.linears = nn.ModuleList(nn.Linear(width, units) for width, units in pairs)
        self.activations = nn.ModuleList(nn.ReLU() for _ in pairs)

    def forward(self, x: Tensor) -> Tensor:
        """Return each layer's goodness above its threshold, [batch, layers]."""
        dtype = next(self.parameters()).dtype
        cast = torch.is_autocast_enabled(x.device.type) and x.is_floating_point()
        if x.ndim != 2 or x.shape[1] != self.features or not (x.dtype == dtype or cast):
            raise UsageError(
                f"the input is {x.dtype} of shape {list(x.shape)}",
                where="ForwardForward",
                todo=f"Give [batch, {self.features}] of {dtype}, with the label in the first {self.classes}.",
            )
        excess = []
        for normalise, linear, activate, threshold in zip(
            self.normalisations, self.linears, self.activations, self.thresholds, strict=True
        ):
            x = activate(linear(normalise(x.detach())))
            excess.append(x.square().sum(dim=1) - threshold)
        return torch.stack(excess, dim=1)

    @torch.no_grad()
    def classify(self, x: Tensor) -> Tensor:
        """Return the label, [batch], with which the layers' total goodness is largest, the first layer's left out.

        The first counts where it is the only one.
        """
        totals = []
        for label in range(self.classes):
            labels = torch.full((len(x),), label, device=x.device)
            excess = self(with_label(x, labels, self.classes))
            totals.append(excess[:, min(1, len(self.linears) - 1) :].sum(dim=1))
        return torch.stack(totals, dim=1).argmax(dim=1)


def with_label(x: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return x, [batch, features], with the first features replaced by the label, 1 at its place and 0 elsewhere.

    Raises
    ------
    UsageError
        A label is out of range, the shapes do not fit, or there are fewer features than classes.

    Examples
    --------
    >>> with_label(torch.full((1, 4), 0.5), torch.tensor([1]), 2).tolist()
    [[0.0, 1.0, 0.5, 0.5]]
    """
    where = "with_label"
    require(x.ndim == 2 and x.shape[1] >= classes, "x", list(x.shape), f"as [batch, {classes} or more]", where=where)
    require(labels.shape == x.shape[:1], "labels", list(labels.shape), f"as [{len(x)}]", where=where)
    within = bool(((labels >= 0) & (labels < classes)).all()) and not labels.is_floating_point()
    require(within, "labels", labels.tolist()[:8], f"as integers from 0 to {classes - 1}", where=where)
    marked = nn.functional.one_hot(labels.long(), classes).to(x.dtype)
    return torch.cat([marked, x[:, classes:]], dim=1)


def contrasted_labels(x: Tensor, labels: Tensor, *, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return inputs with their right labels, and after them with wrong ones, [2·batch, features]; and which are right.

    That is 1 or 0, [2·batch]. The wrong label is drawn uniformly among the others.

    Raises
    ------
    UsageError
        As ``with_label``.

    Examples
    --------
    >>> inputs, real = contrasted_labels(
    ...     torch.zeros(1, 2), torch.tensor([1]), classes=2, generator=torch.Generator().manual_seed(0)
    ... )
    >>> inputs.tolist(), real.tolist()
    ([[0.0, 1.0], [1.0, 0.0]], [1.0, 0.0])
    """
    require(classes >= 2, "classes", classes, "as 2 or more", where="contrasted_labels")
    shift = torch.randint(1, classes, labels.shape, generator=generator, device=generator.device).to(labels.device)
    right, wrong = (with_label(x, each, classes) for each in (labels, (labels + shift) % classes))
    return torch.cat([right, wrong]), torch.cat([x.new_ones(len(x)), x.new_zeros(len(x))])


def forward_forward_loss(excess: Tensor, real: Tensor) -> Tensor:
    """Return −log P(real or not), the mean over the batch of the sum over layers.

    Parameters
    ----------
    excess
        Goodness above threshold, [batch, layers].
    real
        1 for real inputs, 0 for contrasted ones, [batch].

    Raises
    ------
    UsageError
        The shapes do not fit.

    Examples
    --------
    >>> round(forward_forward_loss(torch.zeros(2, 3), torch.tensor([1.0, 0.0])).item(), 4)  # 3 log 2
    2.0794
    """
    fits = excess.ndim == 2 and real.shape == excess.shape[:1]
    require(
        fits, "real", list(real.shape), f"as [batch], for excess {list(excess.shape)}", where="forward_forward_loss"
    )
    target = real.to(excess.dtype).unsqueeze(1).expand_as(excess)
    return nn.functional.binary_cross_entropy_with_logits(excess, target, reduction="none").sum(dim=1).mean()


SPECIMENS = (
    Specimen(
        name="forward-forward",
        title="layers that learn locally from two forward passes",
        build=ForwardForward,
        formula=(
            "Layer k with activity y = relu(W·ŷ + b), ŷ the layer below over its root mean square, raises "
            "log σ(Σy² − θ) for inputs with the right label and log σ(θ − Σy²) for those with a wrong one; nothing is "
            "sent back."
        ),
        source="hinton2022forward",
        pinned_by="tests/training/test_forward_forward.py::test_each_layer_follows_its_own_rule",
    ),
)
