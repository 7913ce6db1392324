"""Deep equilibrium models: networks of infinite depth with the same layer at all depths."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._attention import MultiHeadAttention
from deepscope.models._fixed_point import Anderson, FixedPoint, implicit_fixed_point
from deepscope.models._inputs import tokens, values
from deepscope.models._language_model import LanguageModel
from deepscope.models._partial_derivatives import refuse_dropout
from deepscope.models._positions import SinusoidalPositions
from deepscope.models._sizes import check_shape, positive
from deepscope.models._transformer_layer import FeedForward, TransformerLayer


class DeepEquilibrium(nn.Module):
    """Equilibrium of a layer: the z with z = f(z, x), as if f were applied for ever.

    Maps x, [batch, …], to z. It is found by Anderson acceleration, and differentiated by the implicit function theorem:
    what is kept for the backward pass is z and x, whatever the number of steps, and the gradient is that of the
    equilibrium, whatever path led there. It can be differentiated again. The parameters are those of f; a call costs
    ``solution.steps`` evaluations of f, its backward pass ``backward_solution.steps`` products with ∂f/∂z. Source:
    ``bai2019deep``.

    Parameters
    ----------
    cell
        f, called as ``cell(z, x)``; returns a tensor of the shape of z. It has neither dropout nor running statistics.
        It may have ``initial_state(x)``, where z begins; otherwise that is zeros of the shape of x.
    solver
        What ``Anderson`` takes: ``tolerance``, ``max_steps``, ``memory``, ``damping``, and ``strict``: whether it is an
        error that no equilibrium is found, forward or backward, or only told by ``solution`` and
        ``backward_solution``.

    Attributes
    ----------
    solution, backward_solution
        How the last search of the forward and of the backward pass ended: residual, steps, whether it converged; None
        before the first.

    Raises
    ------
    UsageError
        What ``Anderson`` refuses, a cell with dropout; when called: a cell that changes the shape of z.
    MeasurementError
        When called, or in the backward pass: no equilibrium is found, and the solver is strict.

    Examples
    --------
    >>> model = DeepEquilibrium(EquilibriumCell(3, 8), tolerance=1e-5)
    >>> model(torch.ones(5, 3)).shape, model.solution.converged
    (torch.Size([5, 8]), True)
    """

    def __init__(self, cell: nn.Module, **solver: Any) -> None:
        super().__init__()
        self.cell, self.solver = cell, Anderson(**solver)
        refuse_dropout(cell, self)
        self.solution: FixedPoint | None = None
        self.backward_solution: FixedPoint | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return z, [batch, …]."""
        parameters = dict(self.cell.named_parameters())

        def f(z: Tensor, x: Tensor, *given: Tensor) -> Tensor:
            weights = dict(zip(parameters, given, strict=True))
            return cast(Tensor, torch.func.functional_call(self.cell, weights, (z, x)))

        initial = getattr(self.cell, "initial_state", torch.zeros_like)
        return implicit_fixed_point(f, initial(x), (x, *parameters.values()), self.solver, self._told)

    def _told(self, which: str, found: FixedPoint) -> None:
        if which == "forward":
            self.solution = found
        else:
            self.backward_solution = found


class EquilibriumCell(nn.Module):
    """Layer of a perceptron with its input at every depth: f(z, x) = tanh(W z + U x + b).

    Maps z, [batch, width], and x, [batch, in_features], to the next z. Where |W| < 1 it contracts, so that there is one
    equilibrium, and every start leads to it; W begins orthogonal with |W| = ½. With m inputs and width w it has
    w (w + m + 1) parameters. Source: ``bai2019deep``, where it is one of many that may be chosen.

    Parameters
    ----------
    in_features
        m.
    width
        w.

    Raises
    ------
    UsageError
        A size below 1; when called: an x that is not [batch, in_features] of floating-point numbers.

    Examples
    --------
    >>> cell = EquilibriumCell(3, 8)
    >>> cell(torch.zeros(5, 8), torch.zeros(5, 3)).shape, sum(p.numel() for p in cell.parameters())
    (torch.Size([5, 8]), 96)
    """

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features", self)
        self.state = nn.Linear(positive(width, "width", self), width, bias=False)
        self.input = nn.Linear(in_features, width)
        self.activation = nn.Tanh()
        nn.init.orthogonal_(self.state.weight, gain=0.5)

    def initial_state(self, x: Tensor) -> Tensor:
        """Return zeros, [batch, width]."""
        check_shape(x, [self.in_features], self)
        return x.new_zeros(len(x), self.state.in_features)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """Return the next z, [batch, width]."""
        return cast(Tensor, self.activation(self.state(z) + self.input(x)))


class InjectedLayer(nn.Module):
    """Any layer with its input at every depth: f(z, x) = layer(z + x).

    In a Transformer's layer it adds W x to the queries, keys and values W z, as the paper does.

    Parameters
    ----------
    layer
        Maps [batch, …] to the same.

    Examples
    --------
    >>> InjectedLayer(nn.Tanh())(torch.zeros(2), torch.zeros(2))
    tensor([0., 0.])
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """Return layer(z + x)."""
        return cast(Tensor, self.layer(z + x))


def equilibrium_87() -> nn.Sequential:
    """Return the equilibrium of 87 units for handwritten digits with a linear layer behind it; 76,744 parameters.

    The size is ours. Source: ``bai2019deep``.

    Examples
    --------
    >>> sum(p.numel() for p in equilibrium_87().parameters())
    76744
    """
    equilibrium = DeepEquilibrium(EquilibriumCell(784, 87))
    return nn.Sequential(nn.Flatten(), equilibrium, nn.Linear(87, 10))


def deq_transformer(
    vocabulary: int = 65, width: int = 64, heads: int = 4, hidden_size: int = 256, **solver: Any
) -> LanguageModel:
    """Return a language model whose layers are one layer of a Transformer at its equilibrium; 58,369 parameters.

    The size, for single letters, is ours, and so are the positions, which are sinusoids. The layer's matrices begin as
    N(0, 0.02²), for which it contracts. Source: ``bai2019deep``.

    Parameters
    ----------
    vocabulary, width, heads, hidden_size
        Sizes of the embedding, of the attention and of the feed-forward network.
    solver
        As ``DeepEquilibrium`` takes it.

    Examples
    --------
    >>> deq_transformer()(torch.zeros(2, 7, dtype=torch.int64)).shape
    torch.Size([2, 7, 65])
    """
    layer = TransformerLayer(
        MultiHeadAttention(width, heads, causal=True), FeedForward(width, hidden_size), partial(nn.LayerNorm, width)
    )
    for each in layer.parameters():
        if each.ndim > 1:
            nn.init.normal_(each, std=0.02)
    body = nn.Sequential(SinusoidalPositions(width), DeepEquilibrium(InjectedLayer(layer), **solver))
    return LanguageModel(vocabulary, width, body)


SPECIMENS = (
    Specimen(
        name="deep-equilibrium",
        title="deep equilibrium model",
        build=equilibrium_87,
        inputs=values(1, 28, 28),
        parameters=76_744,
        formula="The z with z = f(z, x), found by Anderson acceleration; the gradient is that of the equilibrium by "
        "the implicit function theorem, and needs no more memory than z.",
        source="bai2019deep",
        pinned_by="tests/models/test_deep_equilibrium.py::test_its_gradient_is_that_of_unrolled_steps_at_constant_memory",
    ),
    Specimen(
        name="deq-transformer",
        title="deep equilibrium Transformer",
        build=deq_transformer,
        inputs=tokens(65, 24),
        parameters=58_369,
        formula="z = layer(z + x), where layer is one of a Transformer's: one layer at its equilibrium in the place of "
        "a stack of them.",
        source="bai2019deep",
        pinned_by="tests/models/test_deep_equilibrium.py::test_a_transformer_comes_to_its_equilibrium",
    ),
)
