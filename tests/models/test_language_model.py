from __future__ import annotations

import pytest
import torch
from contract import overfits
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import LanguageModel


class RunningMean(nn.Module):
    """A causal body: the mean of what came so far."""

    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(1) / torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]


def text(n: int = 3, length: int = 6, vocabulary: int = 11) -> Tensor:
    return torch.randint(vocabulary, (n, length), generator=torch.Generator().manual_seed(0))


def leaks(model: nn.Module, tokens: Tensor) -> bool:
    """Whether any logit changes when a later token does."""
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 11
    return not torch.equal(model(tokens)[:, :-1], model(changed)[:, :-1])


class Reversed(nn.Module):
    """An acausal body."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1).cumsum(1).flip(1)


def test_it_sees_no_later_token_through_a_causal_body_and_an_acausal_one_is_caught() -> None:
    assert not leaks(LanguageModel(11, 5, RunningMean()), text())
    assert leaks(LanguageModel(11, 5, Reversed()), text())


@pytest.mark.parametrize("tied", [False, True])
def test_it_computes_its_formula(tied: bool) -> None:
    model = LanguageModel(11, 5, RunningMean(), tied=tied).double()
    weights = dict(model.named_parameters())
    embedding = weights["embedding.weight"]
    head, bias = (embedding, torch.zeros(11)) if tied else (weights["head.weight"], weights["head.bias"])
    tokens = text()
    for row, logits in zip(tokens, model(tokens), strict=True):
        for t in range(len(row)):
            mean = sum(embedding[int(token)] for token in row[: t + 1]) / (t + 1)
            # Sums of at most 6 terms of order 1: some units in the last place of float64.
            torch.testing.assert_close(logits[t], head @ mean + bias, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("tied", "expected"), [(False, 2 * 11 * 5 + 11), (True, 11 * 5)])
def test_parameters_follow_the_formula_and_a_tied_head_learns_as_one(tied: bool, expected: int) -> None:
    model = LanguageModel(11, 5, nn.Identity(), tied=tied)
    assert sum(each.numel() for each in model.parameters()) == expected
    model(text()).sum().backward()
    assert (model.head.weight.grad is model.embedding.weight.grad) == tied
    twin = LanguageModel(11, 5, nn.Identity(), tied=tied)
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(text()), model(text()))


def test_the_embedding_gives_a_tied_head_the_scale_of_an_untied_one() -> None:
    torch.manual_seed(0)
    for width in (16, 256):
        weight = LanguageModel(500, width, nn.Identity()).embedding.weight
        # Of 8,000 draws at least the mean square is off by a share of 0.016: four of these.
        assert weight.square().mean().item() == pytest.approx(1 / width, rel=0.064)


def test_it_learns_16_sequences() -> None:
    torch.manual_seed(0)
    tokens = torch.arange(16)[:, None].expand(16, 4)
    model = LanguageModel(16, 8, nn.Linear(8, 8))
    overfits(model, tokens, tokens, lambda y, t: functional.cross_entropy(y.flatten(0, 1), t.flatten()), steps=300)


@pytest.mark.parametrize(
    "tokens",
    [
        torch.zeros(2, 0, dtype=torch.int64),
        torch.zeros(3, dtype=torch.int64),
        torch.zeros(2, 3),
        torch.zeros(2, 3, dtype=torch.bool),
        torch.zeros(2, 3, dtype=torch.uint8),
        torch.full((2, 3), 11),
        torch.full((2, 3), -1),
    ],
)
def test_tokens_that_are_none_are_refused(tokens: Tensor) -> None:
    with pytest.raises(UsageError, match="from 0 to 10"):
        LanguageModel(11, 5, nn.Identity())(tokens)


def test_one_token_and_no_sample_are_taken() -> None:
    model = LanguageModel(11, 5, RunningMean())
    assert model(text(length=1)).shape == (3, 1, 11)
    assert model(text(n=0)).shape == (0, 6, 11)


def test_sizes_and_bodies_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="vocabulary is 0"):
        LanguageModel(0, 5, nn.Identity())
    with pytest.raises(UsageError, match=r"width is 2\.5"):
        LanguageModel(11, 2.5, nn.Identity())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"the body maps \[3, 6, 5\] to \[3, 6, 4\]"):
        LanguageModel(11, 5, nn.Linear(5, 4))(text())
