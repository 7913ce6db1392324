"""Layers on a graph, beside torch_geometric's with the same weights and the same list of edges."""

from __future__ import annotations

import torch
from model_pairs import Pair
from torch import Tensor
from torch_geometric.nn import ChebConv, GATConv, GCNConv

from deepscope.models import ChebyshevConvolution, GraphAttention, GraphConvolution

NODES, EDGES, WIDTH, HEADS = 10_000, 100_000, 64, 8


def graph() -> tuple[Tensor, Tensor]:
    """Return features that need a gradient, [nodes, width], and edges in both directions between random nodes."""
    source = torch.randint(NODES, (EDGES // 2,))
    edges = torch.stack([source, (source + torch.randint(1, NODES, (EDGES // 2,))) % NODES])
    return torch.randn(NODES, WIDTH, requires_grad=True), torch.cat([edges, edges.flip(0)], 1)


def gcn() -> Pair:
    """Return a graph convolution."""
    x, edges = graph()
    ours, peer = GraphConvolution(WIDTH, WIDTH), GCNConv(WIDTH, WIDTH, bias=False)
    peer.lin.load_state_dict(ours.linear.state_dict())
    return lambda: ours(x, edges), lambda: peer(x, edges)


def chebyshev() -> Pair:
    """Return a spectral convolution with polynomials up to the second order."""
    x, edges = graph()
    ours, peer = ChebyshevConvolution(WIDTH, WIDTH, order=2), ChebConv(WIDTH, WIDTH, 3, bias=False)
    peer.lins.load_state_dict(ours.filters.state_dict())
    return lambda: ours(x, edges), lambda: peer(x, edges)


def gat() -> Pair:
    """Return graph attention in several heads."""
    x, edges = graph()
    ours = GraphAttention(WIDTH, WIDTH // HEADS, heads=HEADS)
    peer = GATConv(WIDTH, WIDTH // HEADS, heads=HEADS, bias=False)
    with torch.no_grad():
        peer.lin.weight.copy_(ours.linear.weight)
        peer.att_src.copy_(ours.source[None])
        peer.att_dst.copy_(ours.target[None])
    return lambda: ours(x, edges), lambda: peer(x, edges)
