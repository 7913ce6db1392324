"""Networks on graphs, on surfaces and with local frames, symmetric by construction or broken on purpose."""

from __future__ import annotations

import math

import torch
from symmetry_networks import noise, seeded
from torch import Tensor, nn

from deepscope.instruments import LayerPlace, Transformation
from deepscope.subject import Subject

Inputs = dict[str, Tensor]


class GraphLayer(nn.Module):
    """Σ over neighbours and the node itself: whatever the order of the nodes, unless each has weights of its own."""

    def __init__(self, inputs: int, outputs: int, *, nodes: int = 0) -> None:
        super().__init__()
        self.own, self.other = (nn.Parameter(torch.randn(inputs, outputs) / inputs**0.5) for _ in range(2))
        self.places = nn.Parameter(torch.randn(nodes, outputs)) if nodes else None

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        made = x @ self.own + adjacency @ x @ self.other / x.shape[1]
        return torch.relu(made if self.places is None else made + self.places)


class GraphNetwork(nn.Module):
    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.first, self.second = GraphLayer(3, 8, nodes=7 if broken else 0), GraphLayer(8, 6)
        self.out = nn.Linear(6, 2)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return self.out(self.second(self.first(x, adjacency), adjacency).sum(dim=1))


def graphs(*, broken: bool) -> tuple[Subject, Transformation]:
    """Graphs of seven nodes, numbered in another order."""
    adjacency = (noise(16, 7, 7, seed=1) > 0.3).double()
    adjacency = torch.maximum(adjacency, adjacency.mT)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])

    def act(inputs: Inputs) -> Inputs:
        return {"x": inputs["x"][:, order], "adjacency": inputs["adjacency"][:, order][:, :, order]}

    def on_layer(output: Tensor, place: LayerPlace) -> Tensor | None:
        return output[:, order] if output.ndim == 3 else None

    model = seeded(GraphNetwork, broken=broken).double()
    data = [({"x": noise(16, 7, 3), "adjacency": adjacency}, None)]
    return Subject(model, data), Transformation("nodes renumbered", act, on_layer=on_layer)


#: A sheet of 5 × 5 vertices, each square of two triangles.
SIDE = 5
CORNERS = [(SIDE * i + j, SIDE * i + j + 1, SIDE * i + j + SIDE) for i in range(SIDE - 1) for j in range(SIDE - 1)]
TRIANGLES = torch.tensor(CORNERS + [(b, c + 1, c) for _, b, c in CORNERS])


def cotangent_weights(positions: Tensor) -> Tensor:
    """[n, vertices, vertices], from lengths of edges alone: what can be measured without leaving the surface."""
    weights = positions.new_zeros(len(positions), SIDE**2, SIDE**2)
    for turn in range(3):
        i, j, k = TRIANGLES.roll(turn, 1).T
        a, b, c = ((positions[:, p] - positions[:, q]).norm(dim=2) for p, q in ((i, j), (j, k), (k, i)))
        half = (a + b + c) / 2
        area = (half * (half - a) * (half - b) * (half - c)).sqrt()
        weights = weights.index_put(
            (torch.arange(len(a))[:, None], i, j), (b**2 + c**2 - a**2) / (8 * area), accumulate=True
        )
    return weights + weights.mT


class SurfaceLayer(nn.Module):
    """Diffusion along a surface; a broken one sees where its vertices are in space."""

    def __init__(self, inputs: int, outputs: int, *, broken: bool = False) -> None:
        super().__init__()
        self.own, self.other = (nn.Parameter(torch.randn(inputs, outputs) / inputs**0.5) for _ in range(2))
        self.broken = broken

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        weights = torch.cdist(positions, positions) if self.broken else cotangent_weights(positions)
        flow = weights @ x - weights.sum(2, keepdim=True) * x
        return torch.tanh(x @ self.own + flow @ self.other)


class SurfaceNetwork(nn.Module):
    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.first, self.second = SurfaceLayer(2, 6, broken=broken), SurfaceLayer(6, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        return self.out(self.second(self.first(x, positions), positions).mean(dim=1))


def surfaces(*, broken: bool) -> tuple[Subject, Transformation]:
    """Sheets of uneven rows, folded along one: no length on the sheet changes, most distances in space do."""
    rows = (0.5 + noise(16, SIDE, seed=2).abs()).cumsum(1)
    places = torch.arange(SIDE, dtype=torch.float64)
    across, along = rows[:, :, None].expand(-1, -1, SIDE), places.expand(16, SIDE, SIDE)
    positions = torch.stack([across, along, 0 * along], dim=-1).flatten(1, 2)

    def act(inputs: Inputs) -> Inputs:
        x, y, z = inputs["positions"].unbind(-1)
        beyond = (x - x[:, [2 * SIDE]]).clamp(min=0)
        angle = math.radians(70)
        folded = torch.stack([x - beyond + beyond * math.cos(angle), y, z + beyond * math.sin(angle)], dim=-1)
        return {**inputs, "positions": folded}

    model = seeded(SurfaceNetwork, broken=broken).double()
    data = [({"x": noise(16, SIDE**2, 2), "positions": positions}, None)]
    return Subject(model, data), Transformation("folded", act, on_layer=lambda output, place: output)


class GaugeLayer(nn.Module):
    """Vectors in each node's own frame, added up after transport along edges; a broken one adds up bare numbers."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        # A complex number commutes with rotations of the plane.
        self.own, self.other = (nn.Parameter(torch.randn(2)) for _ in range(2))
        self.broken = broken

    def forward(self, x: Tensor, transport: Tensor) -> Tensor:
        vectors, own, other = (torch.view_as_complex(each.contiguous()) for each in (x, self.own, self.other))
        carried = torch.ones_like(transport) if self.broken else transport
        along = torch.polar(torch.ones_like(transport), carried)
        made = own * vectors + other * (along @ vectors[..., None])[..., 0]
        # A gate that depends on the length alone.
        return torch.view_as_real(made * torch.tanh(made.abs()))


class Lengths(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.norm(dim=2)


class GaugeNetwork(nn.Module):
    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.first, self.second, self.lengths = GaugeLayer(broken=broken), GaugeLayer(), Lengths()
        self.out = nn.Linear(6, 2)

    def forward(self, x: Tensor, transport: Tensor) -> Tensor:
        return self.out(self.lengths(self.second(self.first(x, transport), transport)))


def gauges(*, broken: bool) -> tuple[Subject, Transformation]:
    """The frame of every node turned by an angle of its own: coordinates change, vectors do not."""
    turn = noise(6, seed=4) * math.pi

    def act(inputs: Inputs) -> Inputs:
        return {
            "x": turned_back(inputs["x"]),
            "transport": inputs["transport"] - turn[:, None] + turn[None, :],
        }

    def turned_back(x: Tensor) -> Tensor:
        return torch.view_as_real(torch.view_as_complex(x.contiguous()) * torch.polar(torch.ones(6).double(), -turn))

    def on_layer(output: Tensor, place: LayerPlace) -> Tensor:
        # Lengths are numbers, and stay.
        return turned_back(output) if output.ndim == 3 else output

    model = seeded(GaugeNetwork, broken=broken).double()
    data = [({"x": noise(16, 6, 2), "transport": noise(16, 6, 6, seed=5)}, None)]
    return Subject(model, data), Transformation("frames turned", act, on_layer=on_layer)
