"""Attention in its open form: per-sample gradients against backpropagation through torch's own layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sample_gradients import assert_measured, assert_same, noise, written
from torch import Tensor, nn

from deepscope.subject import Subject, _open_attention, per_sample_gradients


class Attends(nn.Module):
    """A layer of attention, called as ``how(layer, x)`` says, and a head on what it returns.

    Biases are drawn, as torch begins with zeros.
    """

    def __init__(self, how: Callable[..., tuple[Tensor, Tensor | None]], **given: Any) -> None:
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(4, 2, **{"batch_first": True, **given}), nn.Linear(4, 2)
        self.how = how
        for each in self.attention.parameters():
            nn.init.normal_(each)

    def forward(self, x: Tensor, *more: Tensor) -> Tensor:
        mixed, weights = self.how(self.attention, x, *more)
        out = self.out(mixed.mean(1))
        return out if weights is None else out + weights.square().flatten(1).sum(1, keepdim=True)


def itself(layer: nn.MultiheadAttention, x: Tensor, **given: Any) -> tuple[Tensor, Tensor | None]:
    return layer(x, x, x, **given)


def time_first(layer: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor | None]:
    turned = x.transpose(0, 1)
    mixed, weights = layer(turned, turned, turned)
    return mixed.transpose(0, 1), weights


def across(layer: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor | None]:
    return layer(x[:, :2], x.cos(), x.cos(), need_weights=False)


def three_ways(layer: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor | None]:
    placed = x + torch.linspace(0, 1, x.shape[1], dtype=x.dtype)[:, None]
    return layer(query=placed, key=placed, value=x)


def of_other_widths(layer: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor | None]:
    return layer(x[:, :2], x[..., :3], x.repeat(1, 1, 2)[..., :5])


def in_windows(layer: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor | None]:
    # The samples' dimension holds two windows for each.
    windows = x.reshape(-1, 2, 4)
    mixed, _ = layer(windows, windows, windows, need_weights=False)
    return mixed.reshape(len(x), -1, 4), None


def self_then_across(layer: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor | None]:
    return across(layer, itself(layer, x, need_weights=False)[0] + x)


def causal(dtype: torch.dtype) -> Tensor:
    above = torch.ones(4, 4, dtype=torch.bool).triu(1)
    return above if dtype == torch.bool else torch.zeros(4, 4, dtype=dtype).masked_fill(above, -torch.inf)


def per_head(layer: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor | None]:
    mask = torch.arange(len(x) * 2 * 16).reshape(-1, 4, 4) % 3 == 1
    # Samples that are run alone are masked alike.
    return itself(layer, x, attn_mask=mask[:2].repeat(len(x), 1, 1), average_attn_weights=False)


MASKS: dict[str, dict[str, Any]] = {
    "without weights": {"need_weights": False},
    "causal": {"attn_mask": causal(torch.bool)},
    "causal, as numbers": {"attn_mask": causal(torch.float64), "need_weights": False},
    "causal, as a hint": {"attn_mask": causal(torch.bool), "is_causal": True, "need_weights": False},
    "causal, with weights and a hint": {"attn_mask": causal(torch.bool), "is_causal": True},
    "a bias per pair": {"attn_mask": torch.linspace(-1, 1, 16, dtype=torch.float64).reshape(4, 4)},
    "weights by head": {"average_attn_weights": False},
}

#: How attention is called, and how it is built.
CALLS: dict[str, tuple[Callable[..., tuple[Tensor, Tensor | None]], dict[str, Any]]] = {
    **{name: (lambda layer, x, given=given: itself(layer, x, **given), {}) for name, given in MASKS.items()},
    "no bias": (itself, {"bias": False}),
    "time first": (time_first, {"batch_first": False}),
    "across": (across, {}),
    "keys and queries placed": (three_ways, {}),
    "other widths": (of_other_widths, {"kdim": 3, "vdim": 5}),
    "other widths, no bias": (of_other_widths, {"kdim": 3, "vdim": 5, "bias": False}),
    "keys of its own": (itself, {"add_bias_kv": True}),
    "keys of its own and zero": (
        lambda layer, x: itself(layer, x, attn_mask=causal(torch.bool)),
        {"add_bias_kv": True, "add_zero_attn": True},
    ),
    "zero, causal hint": (
        lambda layer, x: itself(layer, x, attn_mask=causal(torch.bool), is_causal=True, need_weights=False),
        {"add_zero_attn": True},
    ),
    "mask by head": (per_head, {}),
    "windows": (in_windows, {}),
    "twice, in two ways": (self_then_across, {}),
    "dropout, off": (itself, {"dropout": 0.5}),
}


@pytest.mark.parametrize("name", CALLS)
def test_gradients_are_those_of_each_sequence_alone(name: str) -> None:
    torch.manual_seed(0)
    how, given = CALLS[name]
    model = Attends(how, **given).double().eval()
    assert_measured(model, (noise(3, 4, 4),), set())


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("as_numbers", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
def test_padded_keys_are_not_seen(need_weights: bool, as_numbers: bool, with_mask: bool) -> None:
    def padded(layer: nn.MultiheadAttention, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        padding = torch.arange(4) >= lengths[:, None]
        mask = causal(torch.float64 if as_numbers else torch.bool) if with_mask else None
        if as_numbers:
            padding = torch.zeros(padding.shape, dtype=x.dtype).masked_fill(padding, -torch.inf)
        return itself(layer, x, key_padding_mask=padding, need_weights=need_weights, attn_mask=mask)

    torch.manual_seed(0)
    model = Attends(padded, add_bias_kv=True).double().eval()
    assert_measured(model, (noise(3, 4, 4), torch.tensor([4, 1, 3])), set())


class Tied(nn.Module):
    """An embedding of queries, keys and values at once reads the attention's own table."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.wide, self.out = nn.Linear(4, 12, bias=False), nn.Linear(4, 2)
        self.wide.weight = self.attention.in_proj_weight
        self.narrow = nn.Linear(4, 4)
        self.narrow.weight = self.attention.out_proj.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.wide(x).tanh()[..., 4:8] + self.narrow(x)
        return self.out(self.attention(x[:, 1:], x, x)[0].mean(1))


class Decoded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(4, 2, 6, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(x[:, :2], x.cos()).cumsum(1).mean(1))


class Encoded(nn.Module):
    """An encoder of two layers with padding, which in evaluation mode would run on its fast path and be nested."""

    def __init__(self, *, norm_first: bool = False) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not norm_first)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        padding = torch.arange(x.shape[1]) >= lengths[:, None]
        seen = self.encoder(x, src_key_padding_mask=padding).tanh()
        return self.out(seen.masked_fill(padding[..., None], 0).sum(1))


def test_cross_terms_of_tied_weights_are_kept() -> None:
    torch.manual_seed(0)
    assert_measured(Tied().double().eval(), (noise(3, 4, 4),), set())


def test_a_decoder_layer_attends_to_itself_and_across() -> None:
    torch.manual_seed(0)
    assert_measured(Decoded().double().eval(), (noise(3, 4, 4),), set())


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_is_measured_off_its_fast_path(monkeypatch: pytest.MonkeyPatch, norm_first: bool) -> None:
    fast: list[bool] = []
    original = torch._transformer_encoder_layer_fwd
    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", lambda *given: fast.append(True) or original(*given))
    torch.manual_seed(0)
    model, x, lengths = Encoded(norm_first=norm_first).double().eval(), noise(3, 4, 4), torch.tensor([4, 2, 3])
    with torch.no_grad():
        model(x, lengths)
    # Where no gradient is asked for, both layers run in one piece and call none of the layers inside them.
    assert fast == [True, True]
    assert torch.backends.mha.get_fastpath_enabled()
    assert_measured(model, (x, lengths), set())
    assert fast == [True, True]
    assert torch.backends.mha.get_fastpath_enabled()


def test_gradients_are_those_of_torch_func() -> None:
    torch.manual_seed(0)
    model, x = Attends(three_ways, add_bias_kv=True).double().eval(), noise(3, 4, 4)
    weights = {name: each.detach() for name, each in model.named_parameters()}

    def outputs(given: dict[str, Tensor], one: Tensor) -> Tensor:
        return torch.func.functional_call(model, given, (one[None],))[0]

    expected = torch.func.vmap(torch.func.jacrev(outputs), in_dims=(None, 0))(weights, x)
    subject = Subject(model, data=[(x, None)])
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        found = gradients.of_outputs(x, len(x)).factors
    assert not gradients.written_out
    for name, rows in expected.items():
        assert_same(written(found[name]), rows.flatten(2))


def test_a_query_whose_keys_are_all_masked_is_as_torch_has_it() -> None:
    def blind(layer: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor | None]:
        mask = torch.zeros(4, 4, dtype=torch.bool)
        mask[1] = True
        return itself(layer, x, attn_mask=mask, need_weights=False)

    torch.manual_seed(0)
    assert_measured(Attends(blind).double().eval(), (noise(3, 4, 4),), set())


def test_attention_without_a_batch_is_written_out_and_says_why() -> None:
    def one_by_one(layer: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, None]:
        return torch.stack([layer(each, each, each)[0] for each in x]), None

    torch.manual_seed(0)
    model = Attends(one_by_one).double().eval()
    names = {name for name, _ in model.named_parameters() if name.startswith("attention")}
    reasons = assert_measured(model, (noise(3, 4, 4),), names)
    assert all(each.startswith("it saw one sequence without a batch") for each in reasons.values())


def test_a_mask_that_is_not_applied_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_open_attention, "_mask", lambda *_: None)
    torch.manual_seed(0)
    model = Attends(lambda layer, x: itself(layer, x, attn_mask=causal(torch.bool))).double().eval()
    names = {name for name, _ in model.named_parameters() if name.startswith("attention")}
    reasons = assert_measured(model, (noise(3, 4, 4),), names)
    assert all(each.startswith("its open form gives something else") for each in reasons.values())


def test_samples_that_do_not_come_first_in_the_batch_are_noticed() -> None:
    def position_first(layer: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, None]:
        # Sequences of two windows each, but window by window and not sample by sample.
        windows = x.reshape(len(x), 2, 2, 4).transpose(0, 1).reshape(-1, 2, 4)
        mixed = layer(windows, windows, windows, need_weights=False)[0]
        return mixed.reshape(2, len(x), 2, 4).transpose(0, 1).flatten(1, 2), None

    torch.manual_seed(0)
    model = Attends(position_first).double().eval()
    names = {name for name, _ in model.named_parameters() if name.startswith("attention")}
    reasons = assert_measured(model, (noise(3, 4, 4),), names)
    assert all(each.startswith("its layer's rule does not hold here") for each in reasons.values())
