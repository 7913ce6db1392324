"""Sequence to sequence: an encoder that reads, and a decoder that writes what the encoder's state makes it write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._additive_attention import AdditiveAttention
from deepscope.models._bidirectional import Bidirectional
from deepscope.models._gru import GRUCell
from deepscope.models._inputs import tokens
from deepscope.models._lstm import LSTM
from deepscope.models._sizes import check_lengths, check_tokens, positive

State = tuple[Tensor, ...]


class EncoderDecoder(nn.Module, ABC):
    """A model of a target sequence given a source sequence.

    ``model(tokens)`` takes both in one tensor, [batch, source_length + time], the source first, and returns the logits
    of the token after each of the target's, [batch, time, target_vocabulary], as training needs them. ``encode`` and
    ``decode`` take them one by one and of any length; ``translate`` writes with what it wrote itself.

    Parameters
    ----------
    source_vocabulary, target_vocabulary
        Numbers of tokens.
    width
        Of both embeddings.
    source_length
        Where ``model(tokens)`` divides its tokens.

    Raises
    ------
    UsageError
        A size below 1; when called: tokens that are none, or no token of a target.
    """

    def __init__(self, source_vocabulary: int, target_vocabulary: int, width: int, source_length: int) -> None:
        super().__init__()
        self.source_vocabulary = positive(source_vocabulary, "source_vocabulary", self)
        self.target_vocabulary = positive(target_vocabulary, "target_vocabulary", self)
        self.source_length = positive(source_length, "source_length", self)
        self.source_embedding = nn.Embedding(source_vocabulary, positive(width, "width", self))
        self.target_embedding = nn.Embedding(target_vocabulary, width)

    @abstractmethod
    def encode(self, source: Tensor) -> State:
        """Return all that the decoder will know of the source, [batch, length]."""

    @abstractmethod
    def decode(self, target: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the logits after each token of the target, [batch, time, target_vocabulary], and the next state."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits after each token of the target, [batch, time, target_vocabulary]."""
        if tokens.ndim != 2 or tokens.shape[1] <= self.source_length:
            raise UsageError(
                f"the tokens are {list(tokens.shape)}",
                where=type(self).__name__,
                todo=f"Give [batch, {self.source_length} + time], the source first, time of at least 1.",
            )
        source, target = tokens[:, : self.source_length], tokens[:, self.source_length :]
        return self.decode(target, self.encode(source))[0]

    @torch.no_grad()
    def translate(self, source: Tensor, steps: int, *, start: int = 0) -> Tensor:
        """Write the likeliest token at each step, [batch, steps], beginning behind the token ``start``."""
        state = self.encode(source)
        token, written = source.new_full((len(source), 1), start), []
        for _ in range(positive(steps, "steps", self)):
            logits, state = self.decode(token, state)
            token = logits.argmax(-1)
            written.append(token)
        return torch.cat(written, 1)


class Seq2Seq(EncoderDecoder):
    """Sequence to sequence through one state: a decoder of long short-term memory goes on from an encoder's state.

    The encoder reads the source backwards, so that its first tokens are near the target's. All that the decoder knows
    of the source is the state of the encoder's layers, 2 · layers vectors of ``hidden_size`` numbers, however long it
    was. With vocabularies S and V, width w, n units and L layers there are (S + V) w + 2(4n(w + n + 1) +
    (L − 1) 4n(2n + 1)) + V(n + 1) parameters. Source: ``sutskever2014sequence``.

    Parameters
    ----------
    source_vocabulary, target_vocabulary, width, source_length
        As ``EncoderDecoder`` takes them.
    hidden_size
        n.
    num_layers
        L, of the encoder and of the decoder.
    backwards
        Whether the source is read backwards.

    Raises
    ------
    UsageError
        As ``EncoderDecoder`` and ``LSTM``.

    Examples
    --------
    >>> model = Seq2Seq(11, 13, 8, 6, source_length=5)
    >>> model(torch.zeros(2, 9, dtype=torch.int64)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 4, 13]), 1003)
    """

    def __init__(
        self,
        source_vocabulary: int,
        target_vocabulary: int,
        width: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        source_length: int,
        backwards: bool = True,
    ) -> None:
        super().__init__(source_vocabulary, target_vocabulary, width, source_length)
        self.backwards = backwards
        self.encoder = LSTM(width, hidden_size, num_layers)
        self.decoder = LSTM(width, hidden_size, num_layers)
        self.head = nn.Linear(hidden_size, target_vocabulary)

    def encode(self, source: Tensor) -> State:
        """Return the state of the encoder behind the last token it reads."""
        check_tokens(source, self.source_vocabulary, self)
        _, state = self.encoder.scan(self.source_embedding(source.flip(1) if self.backwards else source))
        return cast(State, state)

    def decode(self, target: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the logits after each token of the target, [batch, time, target_vocabulary], and the next state."""
        check_tokens(target, self.target_vocabulary, self)
        hidden, following = self.decoder.scan(self.target_embedding(target), state)
        return self.head(hidden), cast(State, following)


class RNNSearch(EncoderDecoder):
    """Sequence to sequence with attention: at each step the decoder looks at all states of a bidirectional encoder.

    With the encoder's states h₁, …, h_S and the decoder's state s, for each token y of the target::

        c = Σⱼ αⱼ hⱼ, α by additive attention with query s     what it looks at
        s' = GRU([E y, c], s)
        t = maxout of pairs of A [s, E y, c] + a               logits = B t + b

    s begins as tanh of a linear map of the backward encoder's state at the first token. With vocabularies S and V,
    width w, n units and an output layer of l there are (S + V) w + 6n(w + n + 1) + n(3n + 2) + 3n(w + 3n + 1) +
    n(n + 1) + 2l(w + 3n + 1) + V(l + 1) parameters. A step of the target costs O(n²) operations for each token of the
    source. Source: ``bahdanau2015neural``.

    Parameters
    ----------
    source_vocabulary, target_vocabulary, width, source_length
        As ``EncoderDecoder`` takes them.
    hidden_size
        n, of each direction of the encoder, of the decoder, and of the attention's hidden layer.
    output_size
        l.

    Raises
    ------
    UsageError
        As ``EncoderDecoder``; a size below 1; when called: lengths that are not 1 to the source's.

    Examples
    --------
    >>> model = RNNSearch(11, 13, 8, 6, 4, source_length=5)
    >>> model(torch.zeros(2, 9, dtype=torch.int64)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 4, 13]), 1661)
    """

    def __init__(
        self,
        source_vocabulary: int,
        target_vocabulary: int,
        width: int,
        hidden_size: int,
        output_size: int,
        *,
        source_length: int,
    ) -> None:
        super().__init__(source_vocabulary, target_vocabulary, width, source_length)
        n, pairs = hidden_size, positive(output_size, "output_size", self)
        self.hidden_size = n
        self.encoder = Bidirectional(GRUCell(width, n), GRUCell(width, n))
        self.start = nn.Linear(n, n)
        self.attention = AdditiveAttention(n, 2 * n, n)
        self.decoder = GRUCell(width + 2 * n, n)
        self.output = nn.Linear(n + width + 2 * n, 2 * pairs)
        self.head = nn.Linear(pairs, target_vocabulary)

    def encode(self, source: Tensor, lengths: Tensor | None = None) -> State:
        """Return the decoder's first state, the encoder's states, those as the attention sees them, and their mask.

        Parameters
        ----------
        source
            [batch, length].
        lengths
            Tokens of each source, [batch]; the rest is padding, which is not looked at. All unless given.
        """
        check_tokens(source, self.source_vocabulary, self)
        embedded = self.source_embedding(source)
        mask = torch.ones_like(source, dtype=torch.bool)
        if lengths is not None:
            mask = torch.arange(source.shape[1], device=source.device) < check_lengths(lengths, source, self)[:, None]
        keys = self.encoder(embedded, lengths)
        return torch.tanh(self.start(keys[:, 0, self.hidden_size :])), keys, self.attention.project(keys), mask

    def decode(self, target: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the logits after each token of the target, [batch, time, target_vocabulary], and the next state."""
        logits, state, _ = self._decode(target, state)
        return logits, state

    def alignment(self, target: Tensor, state: State) -> Tensor:
        """Return the weights with which each step of the target looks at the source, [batch, time, length]."""
        return self._decode(target, state)[2]

    def _decode(self, target: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        check_tokens(target, self.target_vocabulary, self)
        self._check(state, len(target))
        s, keys, projected, mask = state
        seen, looks = [], []
        for embedded in self.target_embedding(target).unbind(1):
            weights = self.attention.align(s, projected, mask)
            context = (weights[:, None] @ keys)[:, 0]
            seen.append(torch.cat([s, embedded, context], -1))
            looks.append(weights)
            s = cast(Tensor, self.decoder.scan(torch.cat([embedded, context], -1)[:, None], s)[1])
        pairs = self.output(torch.stack(seen, 1)).unflatten(-1, (-1, 2))
        return self.head(pairs.amax(-1)), (s, keys, projected, mask), torch.stack(looks, 1)

    def _check(self, state: State, batch: int) -> None:
        n, shapes = self.hidden_size, [list(each.shape) for each in state]
        length = shapes[1][1] if len(shapes) == 4 and len(shapes[1]) == 3 else 0
        if shapes != [[batch, n], [batch, length, 2 * n], [batch, length, n], [batch, length]]:
            raise UsageError(
                f"the state's shapes are {shapes}", where="RNNSearch", todo="Give what encode(source) returns."
            )


def sutskever() -> Seq2Seq:
    """Return the translation model of Sutskever et al.: 4 layers of 1000 units each way; 384,112,000 parameters.

    160,000 words of the source and 80,000 of the target, embedded in 1000 numbers. Source: ``sutskever2014sequence``.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in sutskever().parameters())
    384112000
    """
    return Seq2Seq(160_000, 80_000, 1000, 1000, 4, source_length=30)


def rnnsearch() -> RNNSearch:
    """Return the translation model of Bahdanau et al.: 30,000 words, 1000 units; 80,443,000 parameters.

    Source: ``bahdanau2015neural``.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in rnnsearch().parameters())
    80443000
    """
    return RNNSearch(30_000, 30_000, 620, 1000, 500, source_length=50)


SPECIMENS = (
    Specimen(
        name="seq2seq",
        title="sequence to sequence through one state",
        build=sutskever,
        inputs=tokens(80_000, 40),
        parameters=384_112_000,
        formula="An encoder of long short-term memory reads the source backwards; a decoder goes on from its state and "
        "predicts the target, token by token: p(y | x) = Π p(yₜ | y₁ … yₜ₋₁, s(x)) with a state s(x) of one size.",
        source="sutskever2014sequence",
        pinned_by="tests/models/test_seq2seq.py::test_the_decoder_knows_of_the_source_what_one_state_of_fixed_size_holds",
    ),
    Specimen(
        name="rnnsearch",
        title="sequence to sequence with attention",
        build=rnnsearch,
        inputs=tokens(30_000, 60),
        parameters=80_443_000,
        formula="A decoder of gated recurrent units looks at each step at c = Σ αⱼ hⱼ, a mean of the states of a "
        "bidirectional encoder with weights α = softmax over j of v · tanh(W s + U hⱼ + b), where s is its own state.",
        source="bahdanau2015neural",
        pinned_by="tests/models/test_seq2seq.py::test_attention_is_its_formula_and_its_weights_are_a_mean",
    ),
)
