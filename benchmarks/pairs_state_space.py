"""State space models beside their recurrences, one step after another."""

from __future__ import annotations

from typing import Any

import torch
from model_pairs import Pair

from deepscope.models import LSSL, S4D, H3Mixer, selective_scan, state_space_dual


def mamba(channels: int, time: int = 2048) -> Pair:
    """Return the selective scan, and its recurrence as a loop that takes each step by its index.

    So does the loop in the reference code of the paper's authors.
    """
    states = 16
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


def mamba2() -> Pair:
    """Return the scan of Mamba-2 over 2,048 steps, 4 heads of 32 channels with 64 states, and its recurrence."""
    time, heads, channels, states = 2048, 4, 32, 64
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(1, time, heads, channels, generator=draws)
    b, c = (torch.randn(1, time, states, generator=draws) for _ in range(2))
    step = 0.1 * torch.rand(1, time, heads, generator=draws)
    decay = -torch.arange(1.0, heads + 1)
    for each in (x, step, decay, b, c):
        each.requires_grad_()

    def loop() -> Any:
        state, outputs = torch.zeros(1, heads, channels, states), []
        for x_, step_, b_, c_ in zip(*(each.unbind(1) for each in (x, step, b, c)), strict=True):
            inward = (step_[..., None] * x_)[..., None] * b_[:, None, None]
            state = torch.exp(step_ * decay)[..., None, None] * state + inward
            outputs.append((state @ c_[:, None, :, None])[..., 0])
        return torch.stack(outputs, 1)

    return lambda: state_space_dual(x, step, decay, b, c, torch.zeros(1, heads, channels, states))[0], loop


def _diagonal(model: S4D, x: Any) -> Any:
    """Return the outputs of a diagonal state space by its recurrence; half of the conjugate pairs are held."""
    logarithm, b, c = model.system()
    decay, state, outputs = logarithm.exp(), model.initial_state(len(x)), []
    for each in x.unbind(1):
        state = decay * state + b * each[..., None]
        outputs.append(2 * (c * state).sum(-1).real)
    return torch.stack(outputs, 1) + model.D * x


def s4d() -> Pair:
    """Return a diagonal state space of 2,048 steps as a convolution, and by its recurrence."""
    model, x = S4D(32, 32), torch.randn(4, 2048, 32)
    return lambda: model(x), lambda: _diagonal(model, x)


def lssl() -> Pair:
    """Return a dense state space of 1,024 steps as a convolution, and by its recurrence."""
    model, x = LSSL(8, 64), torch.randn(4, 1024, 8)

    def loop() -> Any:
        system = model.transfer(1)
        decay, b = system.leap, system.writes[..., 0]
        state, outputs = model.initial_state(len(x)), []
        for each in x.unbind(1):
            state = torch.einsum("hmn,bhn->bhm", decay, state) + b * each[..., None]
            outputs.append((model.C * state).sum(-1))
        return torch.stack(outputs, 1) + model.D * x

    return lambda: model(x), loop


def h3() -> Pair:
    """Return H3's mixer of 2,048 steps, and the recurrences of its two state spaces."""
    model, x = H3Mixer(32, state_size=32), torch.randn(2, 2048, 32)

    def loop() -> Any:
        query, key, value, shift = model.query(x), model.key(x), model.value(x), model.shift
        state, outputs = shift.initial_state(len(x)), []
        for each in key.unbind(1):
            moved = torch.cat([torch.zeros_like(state[..., :1]), state[..., :-1]], -1)
            state = moved + shift.B * each[..., None]
            outputs.append((shift.C * state).sum(-1))
        shifted = torch.stack(outputs, 1) + shift.D * key
        return model.output(query * _diagonal(model.diagonal, shifted * value))

    return lambda: model(x), loop
