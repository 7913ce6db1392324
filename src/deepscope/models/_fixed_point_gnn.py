"""The graph neural network model of 2009: states of nodes that agree with those of their neighbours."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._graph import check_graph, degrees, inverse, small_graph
from deepscope.models._neighbour_sum import as_one_graph, neighbour_sum
from deepscope.models._sizes import positive


class FixedPointGNN(nn.Module):
    """Graph neural network of Scarselli and others, linear: the states of all nodes solve one contractive equation.

    State zₙ = Σᵤ (A_{nu} z_u + bₙ) over the neighbours u of n, and output oₙ = g(zₙ, xₙ). The matrices A_{nu} = μ / (s
    |ne u|) tanh φ(xₙ, x_u), [s, s], and bₙ = ρ(xₙ), [s], come from networks φ and ρ of the nodes' features; |ne u|
    counts the edges that leave u. In the norm ‖z‖₁ the right side is a contraction by μ < 1, whatever the parameters
    are, so that there is one solution (Banach), and z ← right side reaches it from any start, its distance falling at
    least like μᵗ. The gradient of the solution is the solution of the transposed equation (Almeida and Pineda): memory
    does not grow with the number of steps, and derivatives of any order are exact.

    ``network(x, edges)`` maps [..., nodes, features] to [..., nodes, classes]. φ, ρ and g have one hidden layer with
    tanh: (2 f + 1) h + (h + 1) s² + (f + 1) h + (h + 1) s + (s + f + 1) h + (h + 1) c parameters. By default, as in the
    paper, s = 5 and h = 5; one label, two classes: 252 parameters. A step costs 2 edges · s² operations per sample;
    log(rounding) / log ‖P‖ steps are taken, P being the matrix of the whole equation, so that what is left of the start
    is below rounding: at most 152 in float32 and 343 in float64 for μ = 0.9. A node without neighbours has the state 0.
    Of the paper's two models this is the first; the second has a general network in place of A z + b, kept near a
    contraction by a penalty. Edges have no features here. Source: ``scarselli2009graph``, ``pineda1987generalization``,
    ``almeida1987learning``.

    Parameters
    ----------
    features, classes
        f and c: numbers per node, in and out.
    state
        s: numbers that a node's state has.
    hidden
        h: width of the hidden layers.
    contraction
        μ, in (0, 1): the nearer to 1, the further a node's features reach, and the more steps it takes.

    Raises
    ------
    UsageError
        A size below 1, a contraction outside (0, 1); when called: what is not a graph, a start of another shape.

    Examples
    --------
    >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> network = FixedPointGNN()
    >>> network(torch.zeros(3, 1), path).shape, sum(p.numel() for p in network.parameters())
    (torch.Size([3, 2]), 252)
    """

    def __init__(
        self, features: int = 1, classes: int = 2, *, state: int = 5, hidden: int = 5, contraction: float = 0.9
    ) -> None:
        super().__init__()
        if not 0 < contraction < 1:
            raise UsageError(
                f"contraction is {contraction}", where="FixedPointGNN", todo="Give a number above 0 and below 1."
            )
        self.contraction, self.state = contraction, positive(state, "state", self)
        self.features = positive(features, "features", self)
        positive(classes, "classes", self)
        positive(hidden, "hidden", self)
        self.transition = nn.Sequential(
            nn.Linear(2 * features, hidden), nn.Tanh(), nn.Linear(hidden, state * state), nn.Tanh()
        )
        self.forcing = nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, state))
        self.output = nn.Sequential(nn.Linear(state + features, hidden), nn.Tanh(), nn.Linear(hidden, classes))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return the output of each node, [..., nodes, classes]."""
        outputs: Tensor = self.output(torch.cat([self.states(x, edges), x], -1))
        return outputs

    def states(self, x: Tensor, edges: Tensor, *, start: Tensor | None = None) -> Tensor:
        """Return the states that solve the equation, [..., nodes, state].

        Parameters
        ----------
        x
            [..., nodes, features].
        edges
            [2, edges] int64.
        start
            Where the steps begin, [..., nodes, state]; at 0 unless given. No gradient flows to it.
        """
        wide, weights, constants = self.equation(x, edges)
        if start is None:
            start = torch.zeros_like(constants)
        elif start.shape != (*x.shape[:-1], self.state):
            raise UsageError(
                f"start is {list(start.shape)}",
                where="FixedPointGNN",
                todo=f"Give {[*x.shape[:-1], self.state]}, the state of each node.",
            )
        solution = _solve(wide, weights, constants, start.detach().reshape(constants.shape), self.contraction)
        return solution.reshape(*x.shape[:-1], self.state)

    def equation(self, x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return P and b of z = P z + b, for the numbers of all states in a row.

        Returns
        -------
        entries
            [2, edges · state²]: column and row of each entry of P, as edges of a graph.
        weights
            [..., edges · state²]: the entries.
        constants
            [..., nodes · state, 1]: b.
        """
        check_graph(x, edges, self.features, self)
        nodes, size = x.shape[-2], self.state
        ones = x.new_ones(edges.shape[1])
        shares = self.contraction / size * inverse(degrees(edges[0], ones, nodes))
        pairs = torch.cat([x.index_select(-2, edges[1]), x.index_select(-2, edges[0])], -1)
        weights = self.transition(pairs) * shares[edges[0]][:, None]
        constants = self.forcing(x) * degrees(edges[1], ones, nodes)[:, None]
        place = torch.arange(size, device=edges.device)
        columns, rows = place.expand(size, size), place.expand(size, size).T
        entries = edges[:, :, None, None] * size + torch.stack([columns, rows])[:, None]
        return entries.flatten(1), weights.flatten(-2), constants.flatten(-2).unsqueeze(-1)


class _Solution(torch.autograd.Function):
    """z = P z + b for a P of which every power shrinks; its derivatives are solutions of such equations."""

    @staticmethod
    def forward(entries: Tensor, weights: Tensor, constants: Tensor, start: Tensor, contraction: float) -> Tensor:
        steps = _steps(entries, weights, constants, contraction)
        entries, weights = as_one_graph(entries, weights, constants.shape[-2])
        state, constants = start.reshape(-1, 1), constants.reshape(-1, 1)
        for _ in range(steps):
            state = neighbour_sum(state, entries, weights) + constants
        return state.view(start.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        entries, weights, _, _, ctx.contraction = inputs
        ctx.save_for_backward(entries, weights, output)
        ctx.save_for_forward(entries, weights, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        entries, weights, state = ctx.saved_tensors
        adjoint = _solve(entries.flip(0), weights, gradient, torch.zeros_like(gradient), ctx.contraction)
        to_weights = adjoint[..., entries[1], 0] * state[..., entries[0], 0] if ctx.needs_input_grad[1] else None
        return None, to_weights, adjoint, None, None

    @staticmethod
    def jvp(ctx: Any, _entries: None, weights: Tensor | None, constants: Tensor | None, *_rest: None) -> Tensor:
        entries, kept, state = ctx.saved_tensors
        moved = torch.zeros_like(state) if constants is None else constants
        if weights is not None:
            moved = moved + neighbour_sum(state, entries, weights)
        return _solve(entries, kept, moved, torch.zeros_like(moved), ctx.contraction)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        entries: Tensor,
        weights: Tensor,
        constants: Tensor,
        start: Tensor,
        contraction: float,
    ) -> tuple[Tensor, int]:
        if in_dims[0] is not None:
            raise NotImplementedError("vmap over edges: samples share their graph")
        own_weights, own_constants, own_start = [
            each.unsqueeze(0).expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)
            for each, dim in zip((weights, constants, start), in_dims[1:4], strict=True)
        ]
        return _solve(entries, own_weights, own_constants, own_start, contraction), 0


def _solve(entries: Tensor, weights: Tensor, constants: Tensor, start: Tensor, contraction: float) -> Tensor:
    solution: Tensor = _Solution.apply(entries, weights, constants, start, contraction)  # type: ignore[no-untyped-call]
    return solution


def _steps(entries: Tensor, weights: Tensor, constants: Tensor, contraction: float) -> int:
    """Return after how many steps the distance to the solution is below rounding, by the norms of P."""
    if not weights.is_meta and weights.numel():
        sums = weights.new_zeros(*weights.shape[:-1], constants.shape[-2])
        # ‖P‖₁ and ‖P‖_∞: a step comes nearer by the smaller one, in its norm, and Pᵀ has the same two.
        norms = [float(sums.index_add(-1, ends, weights.abs()).max()) for ends in entries]
        contraction = min([contraction, *(each for each in norms if each < contraction)])
    if contraction == 0:
        return 1
    return math.ceil(math.log(torch.finfo(constants.dtype).eps) / math.log(contraction))


SPECIMENS = (
    Specimen(
        name="fixed-point-gnn",
        title="graph neural network model of 2009, linear",
        build=FixedPointGNN,
        inputs=small_graph(12, 1),
        parameters=252,
        formula="zₙ = Σᵤ (A_{nu} z_u + bₙ) over the neighbours u of n, oₙ = g(zₙ, xₙ), with A_{nu} = μ / (s |ne u|) "
        "tanh φ(xₙ, x_u) and bₙ = ρ(xₙ): a contraction by μ < 1, solved by repetition, as is the transposed "
        "equation for the gradient.",
        source="scarselli2009graph",
        rows=("gnn-scarselli",),
        pinned_by="tests/models/test_fixed_point_gnn.py::test_one_state_from_any_start_and_its_gradient_is_that_of_many_steps",
    ),
)
