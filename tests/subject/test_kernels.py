"""Fused kernels are off inside the context, and torch's settings as they were behind it."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deepscope.subject import without_fused_kernels


def settings() -> tuple[bool, ...]:
    sdp = torch.backends.cuda
    return (
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cudnn.enabled,
        torch.backends.cudnn.benchmark,
        torch.backends.mkldnn.enabled,
        sdp.flash_sdp_enabled(),
        sdp.mem_efficient_sdp_enabled(),
        sdp.math_sdp_enabled(),
    )


@pytest.mark.parametrize("products", [False, True])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("model", [None, nn.Linear(2, 2), nn.Sequential(nn.LSTM(2, 2))], ids=["none", "linear", "lstm"])
@pytest.mark.filterwarnings("error")
def test_settings_are_as_they_were(
    monkeypatch: pytest.MonkeyPatch, model: nn.Module | None, products: bool, fails: bool
) -> None:
    # A user's choice beside the settings that are changed.
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = settings()
    with suppress(KeyError), without_fused_kernels(model, products=products):
        recurrent = isinstance(model, nn.Sequential)
        fastpath, cudnn, benchmark, mkldnn, *attention = settings()
        assert (fastpath, cudnn, benchmark) == (False, not recurrent, True)
        assert mkldnn is not (recurrent and products)
        assert attention == [not products, not products, True]
        if fails:
            raise KeyError
    assert settings() == before


def test_a_fast_path_that_was_off_stays_off() -> None:
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with without_fused_kernels(None):
            pass
        assert not torch.backends.mha.get_fastpath_enabled()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def test_a_transformer_layer_calls_the_layers_inside_it() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    called: list[str] = []
    for name, module in layer.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.append(name))
    with torch.no_grad(), without_fused_kernels(layer):
        layer(torch.ones(1, 3, 8))
    assert {"linear1", "linear2", "norm1", "norm2"} <= set(called)


@pytest.mark.parametrize(("products", "flops"), [(True, 3 * 2 * 4 * 6 * (2 + 6)), (False, 0)])
def test_products_of_a_recurrent_layer_are_counted_only_where_asked_for(products: bool, flops: int) -> None:
    layer, counter = nn.LSTM(2, 6, batch_first=True).eval(), FlopCounterMode(display=False)
    with torch.no_grad(), without_fused_kernels(layer, products=products), counter:
        layer(torch.ones(1, 3, 2))
    assert counter.get_total_flops() == flops
