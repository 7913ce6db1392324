"""The perceptron and its learning rule."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_vectors, positive

#: Samples whose sign is asked for in one product.
_BLOCK = 64


class Perceptron(nn.Module):
    """Perceptron: response units s = Wx + b whose decisions are the signs of s, and which learn from mistakes alone.

    Maps [batch, …] to s, [batch, out_features]; what follows the batch dimension is flattened. ``fit`` passes over the
    samples (x, t) with targets t = ±1, and where t s ≤ 0 it adds t x to the unit's weights and t to its bias. If a
    hyperplane with margin γ separates samples of norm at most R, it makes at most (R/γ)² mistakes
    (``novikoff1963convergence``); with a bias each sample counts as (x, 1), of norm √(|x|² + 1). Else it goes on for
    ever. The weights begin at 0, so that the size of a step has no effect on the decisions: it is 1. With d inputs and
    k units there are k(d + 1) parameters; a sample costs 2dk operations, in a pass as in ``forward``.

    It is the layer that learns. Before it the paper has association units with random connections that stay as they
    are: a fixed layer of ``Heaviside`` units, for example. Source: ``rosenblatt1958perceptron``.

    Parameters
    ----------
    in_features
        Number of inputs, d; 512 as the Mark I Perceptron had association units.
    out_features
        Number of response units, k; 8 in the Mark I.
    bias
        Whether the units have a threshold; without, all hyperplanes go through the origin.

    Raises
    ------
    UsageError
        A size below 1; when called: an input of another size or not of floating-point numbers.

    Examples
    --------
    >>> unit = Perceptron(2, 1)
    >>> inputs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> unit.fit(inputs, torch.tensor([[-1], [-1], [-1], [1]]))
    [2, 3, 3, 2, 2, 3, 2, 1, 0]
    >>> unit(inputs).sign().flatten().tolist(), sum(p.numel() for p in unit.parameters())
    ([-1.0, -1.0, -1.0, 1.0], 3)
    """

    def __init__(self, in_features: int = 512, out_features: int = 8, *, bias: bool = True) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features", self)
        self.response = nn.Linear(in_features, positive(out_features, "out_features", self), bias=bias)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Return s, [batch, out_features]; the decisions are its signs."""
        check_vectors(x, self.in_features, self)
        scores: Tensor = self.response(x.flatten(1))
        return scores

    @torch.no_grad()
    def fit(self, inputs: Tensor, targets: Tensor, *, passes: int = 100) -> list[int]:
        """Pass over the samples in their order until a pass has no mistake.

        Parameters
        ----------
        inputs
            [n, …], at least one sample, finite.
        targets
            ±1, [n, out_features].
        passes
            Their largest number.

        Returns
        -------
        list of int
            Mistakes of each pass, all units together. The last is 0 if all samples were learnt.

        Raises
        ------
        UsageError
            Inputs of another size, none, or not finite; targets of another shape or not ±1; fewer than one pass.
        """
        check_vectors(inputs, self.in_features, self)
        positive(passes, "passes", self)
        if not len(inputs) or not inputs.isfinite().all():
            raise UsageError(
                "there is no input, or some are not finite", where="Perceptron", todo="Give finite numbers."
            )
        wanted = (len(inputs), self.response.out_features)
        if targets.shape != wanted or not (targets.abs() == 1).all():
            raise UsageError(
                f"the targets are {list(targets.shape)}, or not all of them ±1",
                where="Perceptron",
                todo=f"Give −1 or 1 for each sample and unit, {list(wanted)}.",
            )
        weight, bias = self.response.weight, self.response.bias
        samples = inputs.flatten(1).to(weight)
        known = weight
        if bias is not None:
            samples = torch.cat([samples, samples.new_ones(len(samples), 1)], 1)
            known = torch.cat([weight, bias[:, None]], 1)
        units = known.clone()
        mistakes = []
        for _ in range(passes):
            signed = zip(units, targets.to(weight).T, strict=True)
            mistakes.append(sum(_sweep(unit, target[:, None] * samples) for unit, target in signed))
            if not mistakes[-1]:
                break
        weight.copy_(units[:, : self.in_features])
        if bias is not None:
            bias.copy_(units[:, self.in_features])
        return mistakes


def _sweep(unit: Tensor, points: Tensor) -> int:
    """Add to the unit, in place, each point t x that it has on the wrong side when its turn comes; return how many."""
    place = mistakes = 0
    while place < len(points):
        wrong = points[place : place + _BLOCK] @ unit <= 0
        ahead = int(wrong.int().argmax())
        if not wrong[ahead]:
            place += len(wrong)
            continue
        place += ahead
        unit += points[place]
        mistakes += 1
        place += 1
    return mistakes


SPECIMENS = (
    Specimen(
        name="perceptron",
        title="perceptron, the eight response units of the Mark I",
        build=Perceptron,
        inputs=values(512),
        parameters=4_104,
        formula="s = Wx + b, decided by the sign of s; for a sample x with target t = ±1 that is on the wrong side, "
        "t s ≤ 0, it learns w ← w + t x and b ← b + t. Samples of norm at most R that a hyperplane separates with "
        "margin γ cost at most (R/γ)² such mistakes.",
        source="rosenblatt1958perceptron",
        pinned_by="tests/models/test_perceptron.py::test_mistakes_are_at_most_the_squared_ratio_of_radius_to_margin",
    ),
)
