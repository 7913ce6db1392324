from __future__ import annotations

import pytest
import torch
from contract import overfits
from recurrences import numbers
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import AdditiveAttention, EncoderDecoder, RNNSearch, Seq2Seq, rnnsearch, sutskever


def tokens(n: int, length: int, vocabulary: int = 7, seed: int = 0) -> Tensor:
    return torch.randint(vocabulary, (n, length), generator=torch.Generator().manual_seed(seed))


def seq2seq(**settings: bool) -> Seq2Seq:
    torch.manual_seed(0)
    return Seq2Seq(7, 9, 6, 8, 2, source_length=5, **settings).double()


def search() -> RNNSearch:
    torch.manual_seed(0)
    return RNNSearch(7, 9, 6, 8, 5, source_length=5).double()


def size(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def test_the_decoder_knows_of_the_source_what_one_state_of_fixed_size_holds() -> None:
    model = seq2seq()
    target = tokens(3, 4, 9)
    for length in (1, 5, 40):
        source = tokens(3, length)
        state = model.encode(source)
        assert [list(each.shape) for each in state] == [[3, 8]] * 4
        # Twin: torch's layers, the source read from its end.
        encoder, decoder = (nn.LSTM(6, 8, 2, batch_first=True).double() for _ in range(2))
        for theirs, ours in ((encoder, model.encoder), (decoder, model.decoder)):
            for index, layer in enumerate(ours.layers):
                with torch.no_grad():
                    getattr(theirs, f"weight_ih_l{index}").copy_(layer.weight_ih)
                    getattr(theirs, f"weight_hh_l{index}").copy_(layer.weight_hh)
                    getattr(theirs, f"bias_ih_l{index}").copy_(layer.bias)
                    getattr(theirs, f"bias_hh_l{index}").zero_()
        _, there = encoder(model.source_embedding(source.flip(1)))
        expected = model.head(decoder(model.target_embedding(target), there)[0])
        # The same sums of about 15 terms over at most 45 steps of float64.
        torch.testing.assert_close(model.decode(target, state)[0], expected, rtol=0, atol=1e-12)
    # With attention the decoder is given more the longer the source is.
    assert [sum(each.numel() for each in search().encode(tokens(1, length))) for length in (5, 10)] == [133, 258]


def test_attention_is_its_formula_and_its_weights_are_a_mean() -> None:
    torch.manual_seed(0)
    attention = AdditiveAttention(3, 4, 6).double()
    query, keys = numbers(5, 3), numbers(5, 7, 4, seed=1)
    mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    mask[:, 0] = True
    weights = attention.weights(query, keys, mask)
    for n in range(5):
        scores = torch.stack(
            [
                attention.score.weight[0]
                @ torch.tanh(attention.query.weight @ query[n] + attention.key.weight @ key + attention.key.bias)
                for key in keys[n]
            ]
        )
        expected = torch.where(mask[n], scores.exp(), 0.0)
        torch.testing.assert_close(weights[n], expected / expected.sum(), rtol=0, atol=1e-14)
    torch.testing.assert_close(weights.sum(1), torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-14)
    assert torch.equal(weights == 0, ~mask)
    context = attention(query, keys, mask)
    # A mean lies between the least and the greatest of what it is taken of, and does not depend on their order.
    seen = torch.where(mask[..., None], keys, torch.nan)
    assert (context <= seen.nan_to_num(-torch.inf).amax(1)).all()
    assert (context >= seen.nan_to_num(torch.inf).amin(1)).all()
    order = torch.randperm(7)
    torch.testing.assert_close(attention(query, keys[:, order], mask[:, order]), context, rtol=0, atol=1e-14)


def test_the_search_computes_its_formula() -> None:
    model = search()
    source, target = tokens(2, 5), tokens(2, 4, 9, seed=1)
    state = model.encode(source)
    logits, looks = model.decode(target, state)[0], model.alignment(target, state)
    keys = model.encoder(model.source_embedding(source))
    s = torch.tanh(model.start(model.encoder.backwards(model.source_embedding(source.flip(1)))[:, -1]))
    for t in range(4):
        embedded = model.target_embedding(target[:, t])
        weights = model.attention.weights(s, keys)
        context = sum(weights[:, j, None] * keys[:, j] for j in range(5))
        hidden = model.output(torch.cat([s, embedded, context], -1))
        best = torch.maximum(hidden[:, 0::2], hidden[:, 1::2])
        torch.testing.assert_close(logits[:, t], model.head(best), rtol=0, atol=1e-13)
        torch.testing.assert_close(looks[:, t], weights, rtol=0, atol=1e-14)
        s, _ = model.decoder.step(torch.cat([embedded, context], -1), s)
    torch.testing.assert_close(looks.sum(-1), torch.ones(2, 4, dtype=torch.float64), rtol=0, atol=1e-14)


def test_padding_of_a_source_is_not_looked_at() -> None:
    model = search()
    source, target, lengths = tokens(3, 5), tokens(3, 4, 9, seed=1), torch.tensor([5, 2, 1])
    state = model.encode(source, lengths)
    logits = model.decode(target, state)[0]
    changed = source.clone()
    changed[1, 2:] = 6
    assert not torch.equal(model.decode(target, model.encode(changed))[0][1], logits[1])
    assert torch.equal(model.decode(target, model.encode(changed, lengths))[0], logits)
    for row, length in enumerate(lengths.tolist()):
        alone = model.decode(target[row : row + 1], model.encode(source[row : row + 1, :length]))[0]
        torch.testing.assert_close(logits[row], alone[0], rtol=0, atol=1e-13)
    assert (model.alignment(target, state)[1, :, 2:] == 0).all()


@pytest.mark.parametrize("make", [seq2seq, search])
def test_logits_see_no_later_token_and_go_on_from_a_state(make: type[EncoderDecoder]) -> None:
    model = make()
    both = torch.cat([tokens(3, 5), tokens(3, 6, 9, seed=1)], 1)
    logits = model(both)
    changed = both.clone()
    changed[:, 8] = (changed[:, 8] + 1) % 9
    assert torch.equal(model(changed)[:, :3], logits[:, :3])
    assert not torch.equal(model(changed)[:, 3], logits[:, 3])
    first, state = model.decode(both[:, 5:8], model.encode(both[:, :5]))
    second, _ = model.decode(both[:, 8:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), logits, rtol=0, atol=1e-13)
    # What is written greedily is the likeliest token behind what was written.
    written = model.translate(both[:, :5], 6, start=3)
    read = torch.cat([both[:, :5], torch.full((3, 1), 3), written[:, :-1]], 1)
    assert torch.equal(model(read).argmax(-1), written)
    assert model.float()(both).dtype == torch.float32


def test_sizes_follow_the_formulas_and_the_paper() -> None:
    s, v, w, n, layers = 7, 9, 6, 8, 2
    expected = (s + v) * w + 2 * (4 * n * (w + n + 1) + (layers - 1) * 4 * n * (2 * n + 1)) + v * (n + 1)
    assert size(seq2seq()) == expected
    out = 5
    expected = (s + v) * w + 6 * n * (w + n + 1) + n * (3 * n + 2) + 3 * n * (w + 3 * n + 1)
    assert size(search()) == expected + n * (n + 1) + 2 * out * (w + 3 * n + 1) + v * (out + 1)
    with torch.device("meta"):
        model = sutskever()
        # "384M parameters, of which 64M are pure recurrent connections (32M for each LSTM)".
        assert [round(size(each) / 1e6) for each in (model, model.encoder, model.decoder)] == [384, 32, 32]
        assert rnnsearch().attention.query.in_features == 1000


@pytest.mark.parametrize("make", [Seq2Seq, RNNSearch])
def test_it_learns_to_turn_16_sequences_round(make: type[EncoderDecoder]) -> None:
    torch.manual_seed(0)
    extra = () if make is Seq2Seq else (12,)
    model = make(7, 8, 12, 24, *extra, source_length=4)
    source = tokens(16, 4)
    target = torch.cat([torch.full((16, 1), 7), source.flip(1)], 1)
    both = torch.cat([source, target[:, :-1]], 1)

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())

    overfits(model, both, target[:, 1:], loss, steps=200)
    assert torch.equal(model.translate(source, 4, start=7), source.flip(1))


def test_what_does_not_fit_is_refused() -> None:
    for make in (seq2seq, search):
        model = make()
        for wrong in (tokens(2, 5), tokens(2, 0), tokens(2, 6)[0]):
            with pytest.raises(UsageError, match=r"Give \[batch, 5 \+ time\]"):
                model(wrong)
        for wrong in (torch.full((2, 7), 8), torch.full((2, 7), -1), torch.zeros(2, 7)):
            with pytest.raises(UsageError, match=r"Give \[batch, time\] of int64 or int32 from 0 to 6"):
                model(wrong)
        with pytest.raises(UsageError, match="from 0 to 8"):
            model(torch.cat([tokens(2, 5), torch.full((2, 2), 9)], 1))
        with pytest.raises(UsageError, match="steps is 0"):
            model.translate(tokens(2, 5), 0)
        assert model(tokens(2, 6)).shape == (2, 1, 9)
    with pytest.raises(UsageError, match="shapes are"):
        seq2seq().decode(tokens(2, 3), search().encode(tokens(2, 5)))
    for state in (seq2seq().encode(tokens(2, 5)), search().encode(tokens(3, 5))):
        with pytest.raises(UsageError, match=r"Give what encode\(source\) returns"):
            search().decode(tokens(2, 3), state)
    with pytest.raises(UsageError, match=r"Give \[2\] whole numbers from 1 to 5"):
        search().encode(tokens(2, 5), torch.tensor([0, 5]))
    with pytest.raises(UsageError, match="source_length is 0"):
        Seq2Seq(7, 9, 6, 8, source_length=0)
    with pytest.raises(UsageError, match="output_size is 0"):
        RNNSearch(7, 9, 6, 8, 0, source_length=5)


def test_attention_refuses_masks_that_hide_everything_and_what_does_not_fit() -> None:
    attention = AdditiveAttention(3, 4, 6)
    query, keys = torch.zeros(2, 3), torch.zeros(2, 5, 4)
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[1] = False
    with pytest.raises(UsageError, match="hides all keys of a sample"):
        attention(query, keys, mask)
    for wrong in (mask[:, :4], mask.float(), mask[0]):
        with pytest.raises(UsageError, match=r"Give \[2, 5\] booleans"):
            attention(query, keys, wrong)
    for wrong_keys in (keys[:, :0], keys[0], keys[..., :3], keys[:1]):
        with pytest.raises(UsageError, match="with at least one key"):
            attention(query, wrong_keys)
    with pytest.raises(UsageError, match="hidden_size is 0"):
        AdditiveAttention(3, 4, 0)
    keys[0, 2] = torch.nan
    assert attention(query, keys)[0].isnan().all()
    assert attention(query, keys)[1].isfinite().all()
