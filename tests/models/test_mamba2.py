from __future__ import annotations

import pytest
import torch
from contract import overfits, squared_error
from recurrences import numbers, reads_step_by_step, refuses_what_does_not_fit, scans_in_sight, sees_no_later_step
from torch import Tensor, nn
from transformers import Mamba2Config, Mamba2ForCausalLM

from deepscope.core import UsageError
from deepscope.models import LanguageModel, Mamba2, Mamba2Mixer, mamba2_130m, selective_scan, state_space_dual


def problem(time: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return {
        "x": numbers(2, time, 3, 4, dtype=dtype),
        "step": numbers(2, time, 3, seed=1, dtype=dtype).exp() / 10,
        "A": -torch.tensor([0.5, 1.0, 8.0], dtype=dtype),
        "B": numbers(2, time, 5, seed=2, dtype=dtype),
        "C": numbers(2, time, 5, seed=3, dtype=dtype),
    }


def small() -> Mamba2:
    torch.manual_seed(0)
    return Mamba2(6, 2, state_size=5, head_size=4)


@pytest.mark.parametrize("time", [1, 63, 64, 65, 150])
def test_the_recurrence_is_attention_with_decaying_scores(time: int) -> None:
    """The duality: the scan in chunks, the recurrence and the whole matrix of scores are one map."""
    given = problem(time)
    x, step, A, B, C = given.values()
    initial = torch.zeros(2, 3, 4, 5, dtype=torch.float64)
    state, outputs = initial, []
    for t in range(time):
        decay = torch.exp(step[:, t] * A)[..., None, None]
        state = decay * state + torch.einsum("bh,bhp,bn->bhpn", step[:, t], x[:, t], B[:, t])
        outputs.append(torch.einsum("bhpn,bn->bhp", state, C[:, t]))
    recurrent = torch.stack(outputs, 1)

    total = (step * A).cumsum(1).mT
    decays = (total[..., None] - total[..., None, :]).exp().tril()
    scores = (C @ B.mT)[:, None] * decays
    attention = torch.einsum("bhts,bshp->bthp", scores, step[..., None] * x)

    chunked, last = state_space_dual(**given, initial=initial)
    # Sums of some ten terms of order 1 in float64.
    torch.testing.assert_close(chunked, recurrent, rtol=0, atol=1e-12)
    torch.testing.assert_close(attention, recurrent, rtol=0, atol=1e-12)
    torch.testing.assert_close(last, state, rtol=0, atol=1e-12)
    # Scores that do not decay are another map.
    if time > 1:
        flat = torch.einsum("bhts,bshp->bthp", (C @ B.mT)[:, None].tril().expand_as(scores), step[..., None] * x)
        assert (flat - recurrent).abs().max() > 0.1


def test_it_is_the_scan_of_mamba_with_one_decay_for_all_channels_of_a_head() -> None:
    x, step, A, B, C = problem(80).values()
    channels = x.flatten(2), step.repeat_interleave(4, 2), A.repeat_interleave(4)[:, None].expand(12, 5)
    expected, _ = selective_scan(*channels, B, C, torch.zeros(2, 12, 5, dtype=torch.float64))
    found, _ = state_space_dual(x, step, A, B, C, torch.zeros(2, 3, 4, 5, dtype=torch.float64))
    torch.testing.assert_close(found.flatten(2), expected, rtol=0, atol=1e-12)


def test_steps_that_forget_all_overflow_nowhere() -> None:
    given = problem(100, torch.float32)
    given["step"] = torch.full_like(given["step"], 1e4).requires_grad_()
    outputs, last = state_space_dual(**given, initial=torch.zeros(2, 3, 4, 5))
    now = torch.einsum("btn,btn->bt", given["C"], given["B"])[..., None, None] * 1e4 * given["x"]
    torch.testing.assert_close(outputs, now, rtol=1e-5, atol=1e-2)
    (outputs.sum() + last.sum()).backward()
    assert given["step"].grad is not None
    assert given["step"].grad.isfinite().all()


def test_it_is_its_recurrence() -> None:
    reads_step_by_step(small(), steps=70, rounding=1e-5)
    scans_in_sight(small())
    assert sees_no_later_step(small(), steps=70, atol=1e-12)


def test_it_computes_what_transformers_computes() -> None:
    """The twin is transformers' Mamba-2, with the weights of ours."""
    torch.manual_seed(0)
    ours = LanguageModel(23, 12, Mamba2(12, 2, state_size=5, head_size=8), tied=True)
    config = Mamba2Config(
        vocab_size=23,
        hidden_size=12,
        num_hidden_layers=2,
        state_size=5,
        head_dim=8,
        num_heads=3,
        n_groups=1,
        chunk_size=16,
        use_cache=False,
        tie_word_embeddings=True,
    )
    twin = Mamba2ForCausalLM(config).eval()
    names = {
        "body.": "backbone.",
        "embedding": "backbone.embeddings",
        "head": "lm_head",
        "body.norm": "backbone.norm_f",
        "input_projection": "in_proj",
        "convolution.convolution": "conv1d",
        "step_bias": "dt_bias",
        "output_projection": "out_proj",
    }
    theirs = {}
    for name, value in ours.state_dict().items():
        for old in sorted(names, key=len, reverse=True):
            name = name.replace(old, names[old])
        theirs[name] = value
    twin.load_state_dict(theirs)
    tokens = torch.randint(23, (3, 100), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = twin(tokens).logits
        assert expected.std() > 0.1
        torch.testing.assert_close(ours(tokens), expected, rtol=0, atol=1e-5)


def test_it_has_the_published_size() -> None:
    with torch.device("meta"):
        model = mamba2_130m()
    assert sum(each.numel() for each in model.parameters()) == 128_989_632


def test_a_mixer_has_as_many_parameters_as_its_formula_says() -> None:
    model = Mamba2Mixer(10, state_size=7, head_size=5, expand=3, kernel_size=2)
    w, d, n, h, k = 10, 30, 7, 6, 2
    expected = w * (2 * d + 2 * n + h) + (k + 1) * (d + 2 * n) + 3 * h + d + d * w
    assert sum(each.numel() for each in model.parameters()) == expected


def test_it_begins_as_the_papers_code() -> None:
    torch.manual_seed(0)
    mixer = Mamba2Mixer(256, state_size=2, head_size=1)
    A, step = mixer.A_log.exp(), nn.functional.softplus(mixer.step_bias)
    # The least and the largest of 512 uniform draws are within 3 % of the ends, but for e^−15.
    assert 1 <= A.min() < 1.45
    assert 15.5 < A.max() <= 16
    assert 1e-3 * (1 - 1e-4) <= step.min() < 1.2e-3
    assert 0.08 < step.max() <= 0.1 * (1 + 1e-4)
    assert torch.equal(mixer.D, torch.ones(512))
    for layers in (1, 9):
        for block in Mamba2(64, layers, state_size=2, head_size=4).layers:
            bound = (128 * layers) ** -0.5
            assert 0.98 * bound < block.mixer.output_projection.weight.abs().max() <= bound


def test_it_learns_sixteen_samples_by_heart() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Mamba2(8, 1, state_size=4, head_size=4), nn.Linear(8, 1))
    x, targets = (numbers(16, 6, size, seed=seed, dtype=torch.float32) for size, seed in ((8, 0), (1, 1)))
    overfits(model, x, targets, squared_error, steps=300, rate=3e-2)


def test_bad_input_is_refused() -> None:
    refuses_what_does_not_fit(small(), at_once=True)
    refuses_what_does_not_fit(Mamba2Mixer(6, state_size=3, head_size=2), at_once=True)
    for make in (
        lambda: Mamba2Mixer(6, head_size=5),
        lambda: Mamba2Mixer(6, head_size=4, state_size=0),
        lambda: Mamba2Mixer(6, head_size=4, kernel_size=0),
        lambda: Mamba2(6, 0, head_size=4),
    ):
        with pytest.raises(UsageError):
            make()
    given = problem(3)
    given["B"] = given["B"][:, :2]
    with pytest.raises(UsageError, match="state_space_dual"):
        state_space_dual(**given, initial=torch.zeros(2, 3, 4, 5))
    given = problem(3)
    initial = torch.zeros(*given["x"].shape[::2], given["x"].shape[3], given["B"].shape[2], dtype=given["x"].dtype)
    state_space_dual(**given, initial=initial)
    for wrong in ({"initial": initial[:1, :1, :1]}, {"initial": initial, "x": given["x"][:, :0]}):
        with pytest.raises(UsageError, match="state_space_dual"):
            state_space_dual(**{**given, **wrong})
