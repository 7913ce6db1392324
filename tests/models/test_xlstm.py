from __future__ import annotations

import math

import pytest
import torch
from contract import overfits
from recurrences import (
    learns_16_sequences,
    numbers,
    reads_step_by_step,
    refuses_what_does_not_fit,
    scans_in_sight,
    sees_no_later_step,
)
from torch import Tensor
from torch.nn import functional
from transformers.models.xlstm.modeling_xlstm import mlstm_recurrent_sequence_native

from deepscope.core import UsageError
from deepscope.models import (
    MLSTM,
    SLSTM,
    XLSTM,
    LanguageModel,
    MLSTMBlock,
    SLSTMBlock,
    xlstm_language_model,
)
from deepscope.models._matrix_memory import empty_memory, scan_memory, step_memory


def drawn(steps: int, *, batch: int = 2, heads: int = 3, keys: int = 4, values: int = 5) -> tuple[Tensor, ...]:
    q, k = numbers(batch, heads, steps, keys), numbers(batch, heads, steps, keys, seed=1)
    return q, k, numbers(batch, heads, steps, values, seed=2), 3 * numbers(batch, steps, 2 * heads, seed=3)


def plain(q: Tensor, k: Tensor, v: Tensor, gates: Tensor) -> Tensor:
    """Twin: the formula as it stands, without a stabiliser, one head and one step after another."""
    i, f = gates.mT.chunk(2, 1)
    outputs = torch.zeros_like(v)
    for batch in range(q.shape[0]):
        for head in range(q.shape[1]):
            matrix = torch.zeros(q.shape[-1], v.shape[-1], dtype=q.dtype)
            normaliser = torch.zeros(q.shape[-1], dtype=q.dtype)
            for t in range(q.shape[2]):
                at = (batch, head, t)
                keep, write = torch.sigmoid(f[at]), torch.exp(i[at])
                matrix = keep * matrix + write * torch.outer(k[at], v[at])
                normaliser = keep * normaliser + write * k[at]
                query = q[at] / math.sqrt(q.shape[-1])
                outputs[at] = matrix.T @ query / max(abs(float(normaliser @ query)), 1.0)
    return outputs


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 150])
def test_chunks_compute_what_the_recurrence_and_its_plain_formula_do(steps: int) -> None:
    q, k, v, gates = drawn(steps)
    memory = empty_memory(2, 3, 4, 5, q)
    chunked, last = scan_memory(q, k, v, gates, memory)
    stepped = []
    for t in range(steps):
        output, memory = step_memory(q[:, :, t], k[:, :, t], v[:, :, t], gates[:, t], memory)
        stepped.append(output)
    # Up to 150 terms in float64; what is divided by may be small beside them, but is at least 1.
    torch.testing.assert_close(chunked, torch.stack(stepped, 2), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(chunked, plain(q, k, v, gates), rtol=1e-9, atol=1e-9)
    for one, other in zip(last, memory, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    # Planted: without the input gate it is another thing.
    shut = gates.clone()
    shut[..., :3] = 0
    assert not torch.allclose(scan_memory(q, k, v, shut, empty_memory(2, 3, 4, 5, q))[0], chunked, atol=1e-3)


def test_the_matrix_memory_is_that_of_transformers() -> None:
    q, k, v, gates = (each.float() for each in drawn(128))
    i, f = gates.mT.chunk(2, 1)
    ours, last = scan_memory(q, k, v, gates, empty_memory(2, 3, 4, 5, q))
    recurrent, end = mlstm_recurrent_sequence_native(q, k, v, i, f, return_last_states=True, eps=0.0)
    torch.testing.assert_close(ours, recurrent, rtol=1e-4, atol=1e-5)
    for one, other in zip(last, end, strict=True):
        torch.testing.assert_close(one, other.view_as(one), rtol=1e-4, atol=1e-5)


def _stirred(block: MLSTMBlock | SLSTMBlock) -> MLSTMBlock | SLSTMBlock:
    """Move all parameters off where they begin, so that none is 0 or 1 and every one of them counts."""
    torch.manual_seed(0)
    block = block.double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return block


def _by_heads(h: Tensor, heads: int, scale: Tensor, shift: Tensor) -> Tensor:
    """Normalise the numbers of each head to mean 0 and variance 1, one head after another."""
    parts = [(part - part.mean(-1, keepdim=True)) for part in h.chunk(heads, -1)]
    parts = [part / (part.square().mean(-1, keepdim=True) + 1e-5).sqrt() for part in parts]
    return torch.cat(parts, -1) * scale + shift


@torch.no_grad()
def test_a_block_around_the_matrix_memory_is_its_formula() -> None:
    """Figure 11 of the paper, with sums in place of torch's convolutions."""
    block, x = _stirred(MLSTMBlock(4, heads=2)), numbers(2, 9, 4)
    u, z = (functional.layer_norm(x, (4,), block.norm.weight) @ block.up.weight.T).chunk(2, -1)
    kernel, bias = block.convolution.convolution.weight[:, 0], block.convolution.convolution.bias
    c = torch.zeros_like(u) + bias
    for t in range(9):
        for age in range(min(t + 1, 4)):
            c[:, t] = c[:, t] + kernel[:, 3 - age] * u[:, t - age]
    c = c * torch.sigmoid(c)
    mapped = []
    for layer, source in ((block.query, c), (block.key, c), (block.value, u)):
        blocks = layer.weight[..., 0].view(2, 4, 4)
        mapped.append(torch.cat([source[..., :4] @ blocks[0].T, source[..., 4:] @ blocks[1].T], -1))
    gates = block.gates(torch.cat(mapped, -1))
    heads = [each.unflatten(-1, (2, 4)).transpose(1, 2) for each in mapped]
    found = plain(*heads, gates).transpose(1, 2).flatten(2)
    normed = _by_heads(found, 2, block.head_norm.weight, block.head_norm.bias)
    expected = x + ((normed + block.skip * c) * z * torch.sigmoid(z)) @ block.down.weight.T
    # Sums of some ten terms, and a quotient by a standard deviation.
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-10)


def test_a_block_around_slstm_is_its_formula() -> None:
    block, x = _stirred(SLSTMBlock(4, heads=2)), numbers(2, 9, 4)
    h = block.slstm(functional.layer_norm(x, (4,), block.norm.weight))
    y = x + _by_heads(h, 2, block.head_norm.weight, block.head_norm.bias)
    g, u = (functional.layer_norm(y, (4,), block.feed_forward_norm.weight) @ block.up.weight.T).chunk(2, -1)
    assert g.shape[-1] == 5
    expected = y + (g * torch.special.ndtr(g) * u) @ block.down.weight.T
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("exponential", [False, True])
def test_slstm_is_its_plain_formula_and_does_not_overflow(exponential: bool) -> None:
    torch.manual_seed(0)
    layer = SLSTM(3, 6, heads=2, exponential_forget=exponential).double()
    if exponential:
        with torch.no_grad():
            layer.bias.view(2, 4, 3)[:, 1] -= 4.5
    x = numbers(12, 3)
    weight, bias, mixed = layer.weight_ih.view(2, 4, 3, 3), layer.bias.view(2, 4, 3), layer.weight_hh.view(2, 3, 4, 3)
    outputs = layer(x[None])[0]
    for head in range(2):
        h, c, n = (torch.zeros(3, dtype=torch.float64) for _ in range(3))
        for t in range(12):
            i, f, z, o = (weight[head, g] @ x[t] + mixed[head, :, g].T @ h + bias[head, g] for g in range(4))
            keep = torch.exp(f) if exponential else torch.sigmoid(f)
            c, n = keep * c + torch.exp(i) * torch.tanh(z), keep * n + torch.exp(i)
            h = torch.sigmoid(o) * c / n
            torch.testing.assert_close(outputs[t, 3 * head : 3 * head + 3], h, rtol=0, atol=1e-12)
    # A constant in all input gates leaves c / n as it is: exp of it would overflow, or vanish.
    for shift in (800.0, -800.0):
        with torch.no_grad():
            layer.bias.view(2, 4, 3)[:, 0] += shift
        assert not torch.tensor(abs(shift), dtype=torch.float64).exp().isfinite()
        torch.testing.assert_close(layer(x[None])[0], outputs, rtol=0, atol=1e-10)
        with torch.no_grad():
            layer.bias.view(2, 4, 3)[:, 0] -= shift


def test_slstm_revises_what_it_stored_and_heads_do_not_hear_one_another() -> None:
    torch.manual_seed(0)
    layer = SLSTM(3, 6, heads=2).double()
    state = list(layer.initial_state(2))
    changed = [each.clone() for each in state]
    changed[0][:, :3] = 1.0
    x = numbers(2, 1, 3)
    one, other = layer(x, tuple(state)), layer(x, tuple(changed))
    assert torch.equal(one[..., 3:], other[..., 3:])
    assert not torch.equal(one[..., :3], other[..., :3])
    # An input gate e^50 times as open as before forgets all that was stored: h is o ⊙ z.
    with torch.no_grad():
        layer.weight_hh.zero_()
        layer.weight_ih.view(2, 4, 3, 3)[:, 0] = 0
        layer.weight_ih.view(2, 4, 3, 3)[:, 0, :, 0] = 1.0
    x = numbers(1, 2, 3)
    x[0, :, 0] = torch.tensor([0.0, 50.0])
    alone = layer(x[:, 1:])
    torch.testing.assert_close(layer(x)[:, 1:], alone, rtol=0, atol=1e-12)


MODELS = [
    MLSTM(3, 6, heads=2),
    SLSTM(3, 6, heads=2),
    MLSTMBlock(4, heads=2),
    SLSTMBlock(4, heads=2),
    XLSTM(4, "ms", heads=2),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_it_reads_step_by_step(model: MLSTM) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Gates that begin at 0 would hide what they see.
            if "gates" in name:
                parameter.copy_(torch.randn(parameter.shape))
    reads_step_by_step(model, atol=1e-11)
    scans_in_sight(model)
    assert sees_no_later_step(model)
    refuses_what_does_not_fit(model, at_once=True)


def test_parameters_follow_the_formulas() -> None:
    def size(model: torch.nn.Module) -> int:
        return sum(each.numel() for each in model.parameters())

    assert size(MLSTM(5, 12, heads=3)) == 6 * (4 * 12 + 2 * 3)
    assert size(SLSTM(5, 12, heads=3)) == 4 * 12 * (5 + 4 + 1)
    w, inner, heads = 12, 24, 3
    expected = 3 * w * inner + 12 * inner + 6 * inner * heads + 2 * heads + 8 * inner + w
    assert size(MLSTMBlock(w, heads=heads)) == expected
    assert size(SLSTMBlock(w, heads=heads)) == 4 * w * (w + 4 + 1) + 3 * w * 16 + 4 * w
    assert size(xlstm_language_model()) == 257_721


def test_gates_of_the_memory_begin_nearly_shut_and_nearly_open() -> None:
    layer = MLSTM(5, 12, heads=3)
    i, f = layer.gates(numbers(4, 5).float()).chunk(2, -1)
    assert torch.equal(i, torch.full((4, 3), -10.0))
    assert torch.equal(f, torch.tensor([3.0, 4.5, 6.0]).expand(4, 3))
    assert torch.equal(SLSTM(5, 12, heads=3).bias.view(3, 4, 4)[1, 1], torch.linspace(3, 6, 4))


def test_it_learns_16_sequences() -> None:
    torch.manual_seed(0)
    learns_16_sequences(SLSTM(2, 24, heads=2), 24)
    torch.manual_seed(0)
    tokens = torch.randint(7, (16, 6), generator=torch.Generator().manual_seed(0))
    targets = torch.randint(7, (16,), generator=torch.Generator().manual_seed(1))
    model = LanguageModel(7, 16, XLSTM(16, "ms", heads=2))
    overfits(model, tokens, targets, lambda y, t: functional.cross_entropy(y[:, -1], t), steps=150)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="hidden_size is 8, and heads 3"):
        MLSTM(2, 8, heads=3)
    with pytest.raises(UsageError, match="hidden_size is 8, and heads 3"):
        SLSTM(2, 8, heads=3)
    with pytest.raises(UsageError, match="expand · width is 12, and heads 5"):
        MLSTMBlock(6, heads=5)
    with pytest.raises(UsageError, match="the size of a block 4"):
        MLSTMBlock(3, heads=2)
    with pytest.raises(UsageError, match="kernel_size is 0"):
        MLSTMBlock(8, heads=2, kernel_size=0)
    for blocks in ("", "mx"):
        with pytest.raises(UsageError, match="blocks is"):
            XLSTM(8, blocks)
