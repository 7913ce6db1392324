from __future__ import annotations

import pytest
import torch
from contract import overfits, squared_error
from largest_tensor import largest_tensor
from recurrences import (
    by_steps,
    numbers,
    reads_step_by_step,
    refuses_what_does_not_fit,
    scans_in_sight,
    sees_no_later_step,
)
from torch import Tensor, nn
from torch.nn import functional
from transformers import MambaConfig, MambaForCausalLM

from deepscope.core import UsageError
from deepscope.models import (
    CausalConvolution,
    LanguageModel,
    Mamba,
    MambaMixer,
    ResidualRecurrence,
    ResidualStack,
    SelectiveSSM,
    initialise_step_bias,
    mamba_130m,
    selective_scan,
)
from deepscope.models._recurrence import Recurrence


def small(kind: str, **options: bool) -> Recurrence:
    torch.manual_seed(0)
    if kind == "mamba":
        return Mamba(6, 2, state_size=4, **options)
    if kind == "mixer":
        return MambaMixer(6, state_size=4, **options)
    return SelectiveSSM(6, 4, **options)


def impulse_response(model: SelectiveSSM, length: int) -> Tensor:
    """The kernel that a model without selection is, from its definition: K_l = C · exp(l Δ A) Δ B, plus D at l = 0."""
    step = functional.softplus(model.step_bias)[:, None]
    lags = torch.arange(length, dtype=step.dtype)[:, None, None]
    kernel = (model.C * torch.exp(-lags * step * model.A_log.exp()) * step * model.B).sum(-1)
    kernel[0] += model.D
    return kernel


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    return torch.stack([(x[:, : t + 1] * kernel[: t + 1].flip(0)).sum(1) for t in range(x.shape[1])], 1)


def test_step_scan_and_convolution_agree() -> None:
    """For constant Δ, B and C; a model that selects is no convolution, and the same comparison tells."""
    x = numbers(3, 150, 6, dtype=torch.float32)
    frozen = small("s6", selective=False)
    assert isinstance(frozen, SelectiveSSM)
    expected = convolve(x, impulse_response(frozen, 150))
    assert expected.std() > 0.5
    # Some hundred terms of order 1 with relative errors of 6e-8 each.
    for outputs in (frozen(x), by_steps(frozen, x)[0]):
        torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-5)
    selective = small("s6")
    responses = [selective(x + shift * numbers(6, seed=1, dtype=torch.float32)) - selective(x) for shift in (1.0, 2.0)]
    assert (responses[1] - 2 * responses[0]).abs().max() > 0.1
    linear = [frozen(x + shift * numbers(6, seed=1, dtype=torch.float32)) - frozen(x) for shift in (1.0, 2.0)]
    torch.testing.assert_close(linear[1], 2 * linear[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", ["s6", "mixer", "mamba"])
@pytest.mark.parametrize("options", [{}, {"selective": False}])
def test_it_is_its_recurrence(kind: str, options: dict[str, bool]) -> None:
    reads_step_by_step(small(kind, **options), steps=37, rounding=1e-5)
    scans_in_sight(small(kind, **options))


def test_the_recurrence_holds_over_thousands_of_steps() -> None:
    # 4,096 steps of 2 × 6 × 4 numbers: several segments of the scan, and chunks with a rest.
    model = SelectiveSSM(6, 32).double()
    x = numbers(2, 2_100, 6)
    torch.testing.assert_close(model(x), by_steps(model, x)[0], rtol=0, atol=1e-10)


def test_without_gradients_the_states_of_all_steps_never_exist_at_once() -> None:
    time, channels, states = 2**13, 32, 16
    model, x = SelectiveSSM(channels, states), numbers(1, time, channels, dtype=torch.float32)
    # The largest are Δ, B and C of all steps.
    assert largest_tensor(lambda: model(x)) <= time * (2 + 2 * states) < time * channels * states / 15


def test_no_state_exceeds_its_bound_however_large_or_small_the_steps() -> None:
    """|s_t| ≤ max (Δ + 1/|A|) |B x|, over steps from 1e-6 to 1e6, whose decays underflow; a growing A breaks it."""
    x, B = numbers(1, 4_000, 2, dtype=torch.float32).sign(), numbers(1, 4_000, 3, seed=1, dtype=torch.float32).sign()
    step = torch.exp(3 * numbers(1, 4_000, 2, seed=2, dtype=torch.float32).clamp(-4.5, 4.5))
    A = -torch.tensor([[1e-3, 1.0, 1e3]]).expand(2, 3)

    def largest(A: Tensor) -> Tensor:
        states = torch.zeros(2, 3)
        for length in (1, 10, 100, 1_000, 4_000):
            cut = x[:, :length], step[:, :length], A, B[:, :length], B[:, :length]
            outputs, last = selective_scan(*cut, torch.zeros(1, 2, 3))
            assert outputs.isfinite().all() or bool((A > 0).any())
            states = torch.maximum(states, last[0].abs())
        return states

    bound = step[0].amax(0)[:, None] + 1 / A.abs()
    assert (largest(A) <= 1.0001 * bound).all()
    assert not (largest(-A) <= bound).all()


def test_a_state_of_a_gate_that_is_shut_is_kept_and_of_one_that_is_open_forgotten() -> None:
    """The limits of Δ: at 0 the step is skipped, at ∞ the state is its own input alone (section 3.5.1 of the paper)."""
    x, A, one = numbers(1, 3, 2, dtype=torch.float32), -torch.ones(2, 3), torch.ones(1, 3, 3)
    before = numbers(1, 2, 3, seed=1, dtype=torch.float32)
    _, kept = selective_scan(x, torch.zeros(1, 3, 2), A, one, one, before)
    torch.testing.assert_close(kept, before, rtol=0, atol=0)
    _, replaced = selective_scan(x, torch.full((1, 3, 2), 1e4), A, one, one, before)
    torch.testing.assert_close(replaced, 1e4 * x[:, -1, :, None].expand(1, 2, 3), rtol=0, atol=0)


def test_it_is_causal() -> None:
    assert sees_no_later_step(small("mamba"))

    class Acausal(Mamba):
        def _outputs(self, x: Tensor) -> Tensor:
            return super()._outputs(x.flip(1)).flip(1)

    assert not sees_no_later_step(Acausal(6, 1), atol=1e-6)


def test_the_convolution_is_that_of_its_formula() -> None:
    model, x = CausalConvolution(3, 4), numbers(2, 9, 3, dtype=torch.float32)
    weight, bias = model.convolution.weight[:, 0], model.convolution.bias
    assert bias is not None
    padded = functional.pad(x, (0, 0, 3, 0))
    expected = torch.stack([bias + sum(weight[:, j] * padded[:, t + j] for j in range(4)) for t in range(9)], 1)
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-6)
    for size in (1, 4):
        reads_step_by_step(CausalConvolution(3, size), rounding=1e-6)


def test_it_computes_what_transformers_computes() -> None:
    """The twin is transformers' Mamba, with the weights of ours."""
    torch.manual_seed(0)
    ours = LanguageModel(23, 12, Mamba(12, 2, state_size=5), tied=True)
    twin = MambaForCausalLM(
        MambaConfig(vocab_size=23, hidden_size=12, num_hidden_layers=2, state_size=5, use_cache=False)
    ).eval()
    names = {
        "body.": "backbone.",
        "embedding": "backbone.embeddings",
        "head": "lm_head",
        "body.norm": "backbone.norm_f",
        "input_projection": "in_proj",
        "convolution.convolution": "conv1d",
        "state_space.selection": "x_proj",
        "state_space.step_size": "dt_proj",
        "state_space.": "",
        "output_projection": "out_proj",
    }
    theirs = {}
    for name, value in ours.state_dict().items():
        for old in sorted(names, key=len, reverse=True):
            name = name.replace(old, names[old])
        theirs[name] = value
    twin.load_state_dict(theirs)
    tokens = torch.randint(23, (3, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = twin(tokens).logits
        assert expected.std() > 0.1
        torch.testing.assert_close(ours(tokens), expected, rtol=0, atol=1e-5)


def test_it_has_the_published_size() -> None:
    with torch.device("meta"):
        model = mamba_130m()
    assert sum(each.numel() for each in model.parameters()) == 129_135_360


@pytest.mark.parametrize(("width", "rank", "states"), [(16, None, 16), (33, 2, 3)])
def test_a_mixer_has_as_many_parameters_as_its_formula_says(width: int, rank: int | None, states: int) -> None:
    model = MambaMixer(width, state_size=states, step_rank=rank)
    d, r = 2 * width, rank or -(-width // 16)
    expected = 3 * width * d + 5 * d + d * (r + 2 * states) + (r + 1) * d + d * states + d
    assert sum(each.numel() for each in model.parameters()) == expected


def test_it_begins_as_the_paper_says() -> None:
    torch.manual_seed(0)
    model = SelectiveSSM(400, 8)
    torch.testing.assert_close(model.A_log.exp(), torch.arange(1.0, 9).expand(400, 8))
    step = functional.softplus(model.step_size.bias.detach())
    assert float(step.min()) >= 0.000999
    assert float(step.max()) <= 0.1001
    # Log-uniform: half lie below 0.01, give or take three standard deviations, 3 × √(400 / 4) = 30.
    assert abs(int((step < 0.01).sum()) - 200) < 30
    tiny = torch.empty(100)
    initialise_step_bias(tiny, 1e-7, 2e-7)
    # A logarithm near −15 that is rounded at 1e-6 gives a step size off by 1e-6 of itself.
    assert float(functional.softplus(tiny).min()) > 0.99e-7


def test_weights_begin_as_in_the_papers_code() -> None:
    torch.manual_seed(0)
    # Of 1,000 uniform draws the largest is within 2 % of the bound, but for e^−20.
    largest = SelectiveSSM(250, 2, step_rank=4).step_size.weight.abs().max()
    assert 0.98 * 4**-0.5 < largest <= 4**-0.5
    for layers in (1, 9):
        for block in Mamba(64, layers, state_size=2).layers:
            bound = (128 * layers) ** -0.5
            assert 0.98 * bound < block.mixer.output_projection.weight.abs().max() <= bound


def test_it_learns_sixteen_samples_by_heart() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Mamba(8, 1, state_size=4), nn.Linear(8, 1))
    x, targets = (numbers(16, 6, size, seed=seed, dtype=torch.float32) for size, seed in ((8, 0), (1, 1)))
    overfits(model, x, targets, squared_error, steps=300, rate=3e-2)


@pytest.mark.parametrize("kind", ["s6", "mixer", "mamba"])
def test_bad_input_is_refused(kind: str) -> None:
    refuses_what_does_not_fit(small(kind))


def test_bad_inputs_of_the_convolution_are_refused() -> None:
    refuses_what_does_not_fit(CausalConvolution(3))


def test_sizes_that_make_no_model_are_refused() -> None:
    for make in (
        lambda: SelectiveSSM(0),
        lambda: SelectiveSSM(3, 0),
        lambda: SelectiveSSM(3, step_rank=0),
        lambda: CausalConvolution(3, 0),
        lambda: MambaMixer(4, expand=0),
        lambda: Mamba(4, 0),
        lambda: ResidualStack([]),
        lambda: ResidualStack([SelectiveSSM(3), SelectiveSSM(4)]),
    ):
        with pytest.raises(UsageError):
            make()


def test_shapes_of_a_scan_that_do_not_fit_are_refused() -> None:
    x, one = torch.ones(2, 3, 4), torch.ones(2, 3, 5)
    with pytest.raises(UsageError, match="selective_scan"):
        selective_scan(x, x, -torch.ones(4, 5), one, one[:, :2], torch.zeros(2, 4, 5))
    for wrong in (torch.zeros(1, 4, 5), torch.zeros(2, 4, 6)):
        with pytest.raises(UsageError, match="selective_scan"):
            selective_scan(x, x, -torch.ones(4, 5), one, one, wrong)
    for empty in (x[0], x[:, :0]):
        with pytest.raises(UsageError, match=r"selective_scan\nGive \[batch, time, channels\]"):
            selective_scan(empty, empty, -torch.ones(4, 5), one, one, torch.zeros(2, 4, 5))


def test_a_block_adds_its_mixer_to_its_input() -> None:
    torch.manual_seed(0)
    block, x = ResidualRecurrence(SelectiveSSM(6, 4)), numbers(2, 5, 6, dtype=torch.float32)
    torch.testing.assert_close(block(x), x + block.mixer(functional.layer_norm(x, (6,))), rtol=0, atol=1e-6)
    reads_step_by_step(block, rounding=1e-5)
    scans_in_sight(block)


def test_hooks_see_every_layer() -> None:
    model, seen = small("mamba"), set[str]()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: seen.add(name))
    model(numbers(1, 4, 6, dtype=torch.float32))
    assert {name for name, _ in model.named_modules()} - seen == {"layers"}
