"""Convolutions and what routes its inputs, beside the obvious torch expressions."""

from __future__ import annotations

from typing import Any

import torch
from model_pairs import Pair
from torch.nn import functional

from deepscope.models import (
    ComplexConv2d,
    GroupConvolution,
    QuaternionConv2d,
    RoutingCapsules,
    SparseMixture,
    WaveNet,
    squash,
)


def p4() -> Pair:
    """Return a convolution over the four rotations, and one convolution for each of them."""
    model = GroupConvolution(10, 10, 3, group="p4")
    group = model.group
    x = torch.randn(16, 10, 4, 24, 24)

    def turned() -> Any:
        outputs = []
        for turn in range(4):
            parts = [model.weight[:, :, group.product(group.inverse(turn), other)] for other in range(4)]
            filters = torch.stack([torch.rot90(part, turn, (-2, -1)) for part in parts], 2)
            outputs.append(functional.conv2d(x.flatten(1, 2), filters.flatten(1, 2), model.bias))
        return torch.stack(outputs, 2)

    return lambda: model(x), turned


def quaternion() -> Pair:
    """Return a quaternion convolution, and one convolution for each of the sixteen products of parts."""
    model: Any = QuaternionConv2d(16, 16, 3, padding=1)
    x = torch.randn(16, 64, 24, 24)

    def products() -> Any:
        w, parts = model.weight, x.chunk(4, 1)
        p = [[functional.conv2d(part, w[i], padding=1) for part in parts] for i in range(4)]
        r = p[0][0] - p[1][1] - p[2][2] - p[3][3]
        i = p[0][1] + p[1][0] + p[2][3] - p[3][2]
        j = p[0][2] - p[1][3] + p[2][0] + p[3][1]
        k = p[0][3] + p[1][2] - p[2][1] + p[3][0]
        return torch.cat([r, i, j, k], 1) + model.bias[:, None, None]

    return lambda: model(x), products


def complex_numbers() -> Pair:
    """Return a complex convolution, and one convolution for each of the four products of parts."""
    model: Any = ComplexConv2d(32, 32, 3, padding=1)
    x = torch.randn(16, 64, 24, 24)

    def products() -> Any:
        (u, v), (a, b) = model.weight, x.chunk(2, 1)
        real = functional.conv2d(a, u, padding=1) - functional.conv2d(b, v, padding=1)
        imaginary = functional.conv2d(b, u, padding=1) + functional.conv2d(a, v, padding=1)
        return torch.cat([real, imaginary], 1) + model.bias[:, None, None]

    return lambda: model(x), products


def wavenet() -> Pair:
    """Return a second of sound through a WaveNet, and with each convolution padded."""
    model, x = WaveNet(), torch.randint(256, (1, 16_000))

    def padded() -> Any:
        stack, one_hot = model.stack, functional.one_hot(x, 256).float().transpose(1, 2)
        h, total = stack.convolution(functional.pad(one_hot, (1, 0))), torch.zeros(())
        layers: Any = stack.layers
        for layer in layers:
            signal, gate = layer.convolution(functional.pad(h, (layer.reach, 0))).chunk(2, 1)
            z = signal.tanh() * gate.sigmoid()
            total = total + layer.skip(z)
            if layer.residual is not None:
                h = h + layer.residual(z)
        return model.head(total.transpose(1, 2))

    return lambda: model(x), padded


def capsules() -> Pair:
    """Return routing by agreement, and as the paper's procedure reads."""
    model, u = RoutingCapsules(1152, 8, 10, 16), torch.randn(8, 1152, 8)

    def procedure() -> Any:
        votes = (model.weight[None].transpose(-1, -2) @ u[:, :, None, :, None]).squeeze(-1)
        logits = torch.zeros(votes.shape[:3])
        for _ in range(3):
            outputs = squash((logits.softmax(2)[..., None] * votes).sum(1))
            logits = logits + (outputs[:, None] * votes).sum(-1)
        return outputs

    return lambda: model(u), procedure


def sparse_mixture() -> Pair:
    """Return two of sixteen experts for each of 512 samples, and all of them weighted."""
    model, x = SparseMixture(128, 256, experts=16, active=2).eval(), torch.randn(512, 128)

    def dense() -> Any:
        logits = model.gate(x)
        best = logits.topk(2, 1).indices
        kept = torch.full_like(logits, -torch.inf).scatter(1, best, logits.gather(1, best))
        outputs = torch.stack([expert(x) for expert in model.experts], 1)
        return (kept.softmax(1)[..., None] * outputs).sum(1)

    return lambda: model(x), dense
