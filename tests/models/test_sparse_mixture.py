"""Sparsely gated mixture of experts: the experts that are asked, the chance to be, and losses that keep all in use."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contract import overfits, squared_error
from scipy.stats import norm
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import SparseMixture


def built(seed: int = 0, **sizes: int) -> SparseMixture:
    """Return a mixture in float64 whose gates are not 0."""
    torch.manual_seed(seed)
    layer = SparseMixture(6, 5, **sizes).double()
    with torch.no_grad():
        layer.gate.weight.normal_()
        layer.noise.weight.normal_()
    return layer


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_hand(layer: SparseMixture, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs, importance and load by the paper's equations, one sample and one expert after another."""
    n, k = len(layer.experts), layer.active
    y, importance, load = torch.zeros_like(x), torch.zeros(n).double(), torch.zeros(n).double()
    for place, sample in enumerate(x):
        clean = layer.gate.weight @ sample
        deviation = torch.log1p(torch.exp(layer.noise.weight @ sample))
        h = clean + noise[place] * deviation
        kept = sorted(range(n), key=lambda i: -float(h[i]))[:k]
        total = sum(h[i].exp() for i in kept)
        for i in kept:
            gate = h[i].exp() / total
            y[place] += gate * layer.experts[i](sample)
            importance[i] += gate
        for i in range(n):
            others = sorted((float(h[j]) for j in range(n) if j != i), reverse=True)
            load[i] += norm.cdf((float(clean[i]) - others[k - 1]) / float(deviation[i])) if k < n else 1.0
    return y, importance, load


@pytest.mark.parametrize("active", [1, 2, 5])
@pytest.mark.parametrize("training", [True, False])
def test_it_is_the_dense_sum_over_the_experts_that_are_asked(active: int, training: bool) -> None:
    layer, x = built(experts=5, active=active).train(training), inputs(40)
    torch.manual_seed(3)
    noise = torch.randn(40, 5, dtype=torch.float64) if training else torch.zeros(40, 5)
    torch.manual_seed(3)
    with torch.no_grad():
        y, routing = layer.mix(x)
        expected, importance, load = by_hand(layer, x, noise)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(routing.importance, importance, rtol=0, atol=1e-12)
    if training:
        torch.testing.assert_close(routing.load, load, rtol=0, atol=1e-12)
    else:
        assert routing.load.tolist() == routing.experts.flatten().bincount(minlength=5).tolist()
    torch.testing.assert_close(routing.gates.sum(1), torch.ones(40).double())


def test_experts_that_are_not_asked_are_not_run() -> None:
    layer, x = built(experts=7, active=2).eval(), inputs(3, 4)
    seen = [0] * 7
    for place, expert in enumerate(layer.experts):
        expert.register_forward_hook(
            lambda _module, args, _output, place=place: seen.__setitem__(place, seen[place] + len(args[0]))
        )
    _, routing = layer.mix(x)
    assert seen == routing.experts.flatten().bincount(minlength=7).tolist()
    assert sum(seen) == 2 * 12


def test_what_others_in_the_batch_ask_does_not_matter() -> None:
    layer, x = built(experts=5, active=2).eval(), inputs(8)
    alone = torch.cat([layer(sample[None]) for sample in x])
    torch.testing.assert_close(layer(x), alone, rtol=0, atol=1e-14)
    torch.testing.assert_close(layer(x.reshape(2, 4, 6)).reshape(8, 6), alone, rtol=0, atol=1e-14)


def test_the_load_is_the_expected_number_of_samples() -> None:
    """Over draws of the noise: the mean of what is asked and of what was expected agree."""
    layer, x = built(experts=4, active=2).train(), inputs(1).expand(20_000, 6)
    _, routing = layer.mix(x)
    asked = routing.experts.flatten().bincount(minlength=4)
    # A share of 20,000 has a standard error of 0.0035, and so has at most the mean of probabilities.
    np.testing.assert_allclose(routing.load.detach() / 20_000, asked / 20_000, rtol=0, atol=0.025)
    assert routing.load.sum().item() == pytest.approx(40_000, rel=0.02)


def test_gates_begin_at_chance_and_a_gate_without_losses_can_starve_experts() -> None:
    torch.manual_seed(0)
    layer = SparseMixture(6, 5, experts=8, active=2)
    _, routing = layer.mix(torch.randn(4000, 6))
    # Without a signal each expert has 1,000 ± 27 askings of 4,000 samples.
    assert routing.imbalance() < 0.01
    with torch.no_grad():
        layer.gate.weight[:2] += 5 * torch.ones(6)
    _, starved = layer.mix(torch.rand(4000, 6))
    # Two of eight have all: CV² is 8/2 − 1 = 3 of each.
    assert starved.imbalance().item() == pytest.approx(6, abs=0.2)


def test_the_imbalance_brings_starved_experts_back() -> None:
    """By gradient of the loss alone: its load part has one even for experts that nobody asks."""
    torch.manual_seed(0)
    layer = SparseMixture(6, 5, experts=8, active=2)
    with torch.no_grad():
        layer.gate.weight[:2] += 0.5
    x = torch.rand(256, 6)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    before = layer.mix(x)[1].imbalance().item()
    for _ in range(100):
        optimizer.zero_grad()
        layer.mix(x)[1].imbalance().backward()
        optimizer.step()
    assert before > 1
    # CV of both below 0.3.
    assert layer.mix(x)[1].imbalance() < 2 * 0.3**2


def test_imbalance_is_the_sum_of_squared_coefficients_of_variation() -> None:
    routing = built(experts=5, active=2).mix(inputs(30))[1]
    expected = sum(
        (np.std(each.detach().numpy()) / np.mean(each.detach().numpy())) ** 2
        for each in (routing.importance, routing.load)
    )
    assert routing.imbalance().item() == pytest.approx(expected, rel=1e-12)


def test_the_cost_does_not_grow_with_the_number_of_experts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    def operations(experts: int) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            SparseMixture(64, 128, experts=experts, active=2).eval()(torch.randn(50, 64))
        return counter.get_total_flops() - 2 * 2 * 50 * 64 * experts

    assert operations(4) == operations(32) == 50 * 2 * 4 * 64 * 128


def test_the_papers_layer_has_its_size() -> None:
    """The language models' experts: 512 → 1,024 → 512, about a million parameters each."""
    with torch.device("meta"):
        layer = SparseMixture(512, 1024, experts=32)
    experts = [sum(p.numel() for p in expert.parameters()) for expert in layer.experts]
    assert set(experts) == {2 * 512 * 1024 + 1024 + 512}
    assert sum(p.numel() for p in layer.parameters()) == 32 * experts[0] + 2 * 32 * 512


def test_sixteen_samples_are_learnt() -> None:
    torch.manual_seed(0)
    layer = SparseMixture(6, 32, experts=4, active=2).eval()
    overfits(layer, torch.randn(16, 6), torch.randn(16, 6), squared_error, steps=400)


def test_no_samples_and_nan() -> None:
    layer = built(experts=5, active=2).eval()
    outputs, routing = layer.mix(inputs(0))
    assert outputs.shape == (0, 6)
    assert routing.imbalance() == 0
    x = inputs(3)
    x[1, 2] = torch.nan
    assert layer(x).isnan().all(1).tolist() == [False, True, False]


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="active is 5, experts is 4"):
        SparseMixture(3, 3, experts=4, active=5)
    for wrong in ({"features": 0}, {"hidden": 0}, {"experts": 0}, {"active": 0}):
        with pytest.raises(UsageError, match=f"{next(iter(wrong))} is 0"):
            SparseMixture(**wrong)
    for x in (inputs(4)[:, :5], torch.zeros(()), torch.zeros(4, 6, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"Give \[…, 6\]"):
            built()(x)
