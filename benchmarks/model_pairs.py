"""Layers of the reference models, each beside the obvious torch expression of what it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Pair = tuple[Callable[[], Any], Callable[[], Any]]


def mamba(channels: int) -> Pair:
    """Return the selective scan of 2,048 steps, and its recurrence written as a loop."""
    import torch

    from deepscope.models import selective_scan

    time, states = 2048, 16
    draws = torch.Generator().manual_seed(0)
    x, b, c = (torch.randn(1, time, size, generator=draws) for size in (channels, states, states))
    step = 0.1 * torch.rand(1, time, channels, generator=draws)
    decay = -torch.arange(1.0, states + 1).expand(channels, states).contiguous()
    for each in (x, step, decay, b, c):
        each.requires_grad_()

    def loop() -> Any:
        state, outputs = torch.zeros(1, channels, states), []
        for t in range(time):
            inward = (step[:, t] * x[:, t])[..., None] * b[:, t, None]
            state = torch.exp(step[:, t, :, None] * decay) * state + inward
            outputs.append((state * c[:, t, None]).sum(-1))
        return torch.stack(outputs, 1)

    return lambda: selective_scan(x, step, decay, b, c, torch.zeros(1, channels, states))[0], loop


def s4d() -> Pair:
    """Return a diagonal state space of 2,048 steps as a convolution, and by its recurrence."""
    import torch

    from deepscope.models import S4D

    model = S4D(32, 32)
    x = torch.randn(4, 2048, 32)

    def loop() -> Any:
        state, outputs = model.initial_state(len(x)), []
        for each in x.unbind(1):
            output, state = model.step(each, state)
            outputs.append(output)
        return torch.stack(outputs, 1)

    return lambda: model(x), loop


def attention() -> Pair:
    """Return causal attention to 1,024 positions, and the softmax of all its scores."""
    import torch

    from deepscope.models import MultiHeadAttention

    model = MultiHeadAttention(128, 4, causal=True)
    x = torch.randn(2, 1024, 128)
    hidden = torch.ones(1024, 1024, dtype=torch.bool).triu(1)

    def softmax() -> Any:
        query, key, value = (
            each(x).view(2, 1024, 4, 32).transpose(1, 2) for each in (model.query, model.key, model.value)
        )
        weights = (query @ key.mT / 32**0.5).masked_fill(hidden, -torch.inf).softmax(-1)
        return model.output((weights @ value).transpose(1, 2).flatten(2))

    return lambda: model(x), softmax


def linear_attention() -> Pair:
    """Return linear attention to 2,048 positions, and its matrix of weights."""
    import torch
    from torch.nn import functional

    from deepscope.models import LinearAttention

    model = LinearAttention(128, 4)
    x = torch.randn(1, 2048, 128)

    def quadratic() -> Any:
        query, key, value = (
            each(x).view(1, 2048, 4, 32).transpose(1, 2) for each in (model.query, model.key, model.value)
        )
        weights = ((functional.elu(query) + 1) @ (functional.elu(key) + 1).mT).tril()
        return model.output((weights @ value / weights.sum(-1, keepdim=True)).transpose(1, 2).flatten(2))

    return lambda: model(x), quadratic


def mlstm() -> Pair:
    """Return the matrix memory of an xLSTM over 1,024 steps, and step by step."""
    import torch

    from deepscope.models import MLSTM

    model = MLSTM(128, 128, heads=4)
    x = torch.randn(2, 1024, 128)

    def loop() -> Any:
        state, outputs = model.initial_state(len(x)), []
        for each in x.unbind(1):
            output, state = model.step(each, state)
            outputs.append(output)
        return torch.stack(outputs, 1)

    return lambda: model(x), loop


def lstm() -> Pair:
    """Return an LSTM over 100 steps, and a loop of torch's cell."""
    import torch
    from torch import nn

    from deepscope.models import LSTM

    model, cell = LSTM(64, 128), nn.LSTMCell(64, 128)
    x = torch.randn(32, 100, 64)

    def loop() -> Any:
        state, outputs = None, []
        for each in x.unbind(1):
            state = cell(each, state)
            outputs.append(state[0])
        return torch.stack(outputs, 1)

    return lambda: model(x), loop


def p4() -> Pair:
    """Return a convolution over the four rotations, and one convolution for each of them."""
    import torch
    from torch.nn import functional

    from deepscope.models import GroupConvolution

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


def capsules() -> Pair:
    """Return routing by agreement, and as the paper's procedure reads."""
    import torch

    from deepscope.models import RoutingCapsules, squash

    model = RoutingCapsules(1152, 8, 10, 16)
    u = torch.randn(8, 1152, 8)

    def procedure() -> Any:
        votes = (model.weight[None].transpose(-1, -2) @ u[:, :, None, :, None]).squeeze(-1)
        logits = torch.zeros(votes.shape[:3])
        for _ in range(3):
            outputs = squash((logits.softmax(2)[..., None] * votes).sum(1))
            logits = logits + (outputs[:, None] * votes).sum(-1)
        return outputs

    return lambda: model(u), procedure


def wavenet() -> Pair:
    """Return 2,000 samples of a WaveNet, and with each convolution padded."""
    import torch
    from torch.nn import functional

    from deepscope.models import WaveNet

    model = WaveNet()
    x = torch.randint(256, (1, 2000))

    def padded() -> Any:
        stack, one_hot = model.stack, functional.one_hot(x, 256).float().transpose(1, 2)
        h, total = stack.convolution(functional.pad(one_hot, (1, 0))), torch.zeros(())
        for layer in stack.layers:
            signal, gate = layer.convolution(functional.pad(h, (layer.reach, 0))).chunk(2, 1)
            z = signal.tanh() * gate.sigmoid()
            total = total + layer.skip(z)
            if layer.residual is not None:
                h = h + layer.residual(z)
        return model.head(total.transpose(1, 2))

    return lambda: model(x), padded


def sparse_mixture() -> Pair:
    """Return two of sixteen experts for each of 512 samples, and all of them weighted."""
    import torch

    from deepscope.models import SparseMixture

    model = SparseMixture(128, 256, experts=16, active=2).eval()
    x = torch.randn(512, 128)

    def dense() -> Any:
        logits = model.gate(x)
        best = logits.topk(2, 1).indices
        kept = torch.full_like(logits, -torch.inf).scatter(1, best, logits.gather(1, best))
        outputs = torch.stack([expert(x) for expert in model.experts], 1)
        return (kept.softmax(1)[..., None] * outputs).sum(1)

    return lambda: model(x), dense


#: What is shown; the pair; by how much ours is promised to be faster.
PAIRS: dict[str, tuple[str, Callable[[], Pair], float]] = {
    "mamba 16": ("selective scan, 16 channels × 2,048 steps, beside a loop", lambda: mamba(16), 10.0),
    "mamba 64": ("selective scan, 64 channels", lambda: mamba(64), 10.0),
    "mamba 256": ("selective scan, 256 channels", lambda: mamba(256), 10.0),
    "mamba 1536": ("selective scan, 1,536 channels", lambda: mamba(1536), 10.0),
    "s4d": ("S4D by convolution, 2,048 steps, beside its recurrence", s4d, 1.0),
    "attention": ("attention to 1,024 positions, beside a softmax of all scores", attention, 1.0),
    "linear attention": ("linear attention to 2,048 positions, beside its matrix", linear_attention, 1.0),
    "mlstm": ("mLSTM in chunks, 1,024 steps, beside a loop", mlstm, 1.0),
    "lstm": ("LSTM, 100 steps, beside a loop of `nn.LSTMCell`", lstm, 1.0),
    "p4": ("p4 convolution, beside one convolution per rotation", p4, 1.0),
    "capsules": ("routing of capsules, beside the paper's procedure", capsules, 1.0),
    "wavenet": ("WaveNet, 2,000 samples, beside padded convolutions", wavenet, 1.0),
    "sparse mixture": ("two of sixteen experts, beside all of them", sparse_mixture, 1.0),
}
