from __future__ import annotations

import pytest
import torch
from contract import overfits, squared_error
from recurrences import numbers, reads_step_by_step, refuses_what_does_not_fit, scans_in_sight, sees_no_later_step
from state_spaces import holds, is_refused_where_it_must_be
from torch import nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import H3, S4D, H3Mixer, PerceptronMixer, ShiftSSM, h3_125m


def small(head_size: int = 1) -> H3Mixer:
    torch.manual_seed(0)
    return H3Mixer(4, state_size=6, head_size=head_size)


@torch.no_grad()
def recaller(vocabulary: int) -> H3Mixer:
    """One head whose weights are set, none learnt: keys one step late, an accumulator, queries as they come."""
    model = H3Mixer(vocabulary, state_size=2, head_size=vocabulary).double()
    for projection in (model.query, model.key, model.value, model.output):
        projection.weight.copy_(torch.eye(vocabulary))
        projection.bias.zero_()
    model.shift.C.copy_(torch.tensor([0.0, 1.0]))
    model.diagonal.log_A_real.fill_(-40.0)
    model.diagonal.A_imag.zero_()
    model.diagonal.log_step.zero_()
    model.diagonal.C.copy_(torch.tensor([0.5, 0.0]))
    for state_space in (model.shift, model.diagonal):
        state_space.D.zero_()
    return model


def test_it_recalls_what_followed_a_token() -> None:
    """Associative recall, exactly, by construction: the outputs count what came after the present token before.

    No linear time-invariant model can do that, as what it puts out is additive in what it reads; the counts are not.
    """
    vocabulary, length = 6, 40
    tokens = torch.randint(vocabulary, (3, length), generator=torch.Generator().manual_seed(0))
    model, x = recaller(vocabulary), functional.one_hot(tokens, vocabulary).double()
    counts = torch.zeros(3, length, vocabulary, dtype=torch.float64)
    for sequence_, row in zip(tokens.tolist(), counts, strict=True):
        for t, token in enumerate(sequence_):
            for before in range(1, t + 1):
                row[t, sequence_[before]] += sequence_[before - 1] == token
    # A state that decays by exp(−40) a step, and rounding in float64.
    torch.testing.assert_close(model(x), counts, rtol=0, atol=1e-10)
    assert counts.max() >= 3
    parts = x * (torch.arange(length) < 20)[:, None], x * (torch.arange(length) >= 20)[:, None]
    assert (model(x) - model(parts[0]) - model(parts[1])).abs().max() > 0.5
    linear = S4D(vocabulary, 8).double()
    torch.testing.assert_close(linear(x), linear(parts[0]) + linear(parts[1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("head_size", [1, 2, 4])
def test_it_is_its_formula_and_its_recurrence(head_size: int) -> None:
    model, x = small(head_size).double(), numbers(2, 30, 4)
    shifted = model.shift(model.key(x)).reshape(2, 30, -1, head_size)
    value, query = (each(x).reshape(2, 30, -1, head_size) for each in (model.value, model.query))
    products = torch.einsum("bthi,bthj->bthij", shifted, value).reshape(2, 30, -1)
    stored = model.diagonal(products).reshape(2, 30, -1, head_size, head_size)
    expected = model.output(torch.einsum("bthi,bthij->bthj", query, stored).reshape(2, 30, 4))
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)
    reads_step_by_step(model, steps=30, atol=1e-11)
    scans_in_sight(model)
    assert sees_no_later_step(model, steps=30, atol=1e-12)


def test_the_shift_is_its_recurrence() -> None:
    torch.manual_seed(0)
    model = ShiftSSM(3, 5)
    torch.testing.assert_close(model.kernel(5), model.C)
    with torch.no_grad():
        model.B.normal_()
    shift = torch.diag(torch.ones(4), -1).expand(3, 5, 5).double()
    holds(model, (shift, model.B.double(), model.C.double()))


def test_a_stack_is_its_recurrence() -> None:
    torch.manual_seed(0)
    for model in (H3(4, 2, state_size=4), PerceptronMixer(4, 3)):
        reads_step_by_step(model, steps=20, rounding=1e-5)
        scans_in_sight(model)


def test_it_has_the_published_size() -> None:
    """With attention in the place of one mixer, as in the weights that were published: 126,387,456 parameters."""

    def size(model: nn.Module) -> int:
        return sum(each.numel() for each in model.parameters())

    with torch.device("meta"):
        attention = size(nn.MultiheadAttention(768, 12))
        assert size(h3_125m()) - size(H3Mixer(768)) + attention == 126_387_456


@pytest.mark.parametrize(("width", "states", "head"), [(8, 4, 1), (6, 10, 3)])
def test_a_mixer_has_as_many_parameters_as_its_formula_says(width: int, states: int, head: int) -> None:
    expected = 4 * width * (width + 1) + width * (2 * states + 1) + head * width * (3 * states + 2)
    assert sum(each.numel() for each in H3Mixer(width, state_size=states, head_size=head).parameters()) == expected


def test_it_learns_sixteen_samples_by_heart() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(H3(8, 1, state_size=4), nn.Linear(8, 1))
    x, targets = (numbers(16, 4, features, seed=features, dtype=torch.float32) for features in (8, 1))
    overfits(model, x, targets, squared_error, steps=300, rate=3e-2)


def test_bad_input_is_refused() -> None:
    is_refused_where_it_must_be(ShiftSSM(3, 4))
    refuses_what_does_not_fit(H3(4, 1, state_size=4), at_once=True)
    refuses_what_does_not_fit(small(2), at_once=True)
    refuses_what_does_not_fit(PerceptronMixer(4, 3))
    for make in (
        lambda: ShiftSSM(3, 0),
        lambda: H3Mixer(4, head_size=3),
        lambda: H3Mixer(4, state_size=5),
        lambda: PerceptronMixer(4, 0),
        lambda: H3(4, 0),
    ):
        with pytest.raises(UsageError):
            make()
