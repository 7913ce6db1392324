"""Language model: any sequence model between an embedding and a prediction of the next token."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._sizes import check_tokens, positive


class LanguageModel(nn.Module):
    """Language model: logits of the next token, yₜ = W b(E x₁, …, E xₜ) + c, with a sequence model b as its body.

    Maps tokens [batch, time] to logits [batch, time, vocabulary]. It is a model of the next token where the body is
    causal. With V tokens and a width w it has 2Vw + V parameters and those of the body, or Vw where the head is tied:
    W = E and c = 0 (``press2017using``). The embedding and the head cost 2Vw operations a token. The submodules are
    ``embedding``, ``body`` and ``head``. Source: ``bengio2003neural``.

    The paper's body is a perceptron of the last few words, with direct connections to the output. The embedding begins
    as N(0, 1/w), which gives the logits of a tied head the scale of an untied one; the rest as the body and torch do.

    Parameters
    ----------
    vocabulary
        V.
    width
        w.
    body
        Maps [batch, time, width] to [batch, time, width]; any other output is refused when it comes.
    tied
        Whether the head's weight is the embedding.

    Raises
    ------
    UsageError
        A size below 1; when called: tokens that are not [batch, time] whole numbers from 0 to V − 1 with at least one
        step, or a body of another width.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = LanguageModel(65, 32, nn.Identity())
    >>> model(torch.zeros(2, 7, dtype=torch.int64)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 65]), 4225)
    """

    def __init__(self, vocabulary: int, width: int, body: nn.Module, *, tied: bool = False) -> None:
        super().__init__()
        self.vocabulary, self.width = positive(vocabulary, "vocabulary", self), positive(width, "width", self)
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.body = body
        self.head = nn.Linear(width, vocabulary, bias=not tied)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of the token after each, [batch, time, vocabulary]."""
        check_tokens(tokens, self.vocabulary, self)
        embedded = self.embedding(tokens)
        hidden = self.body(embedded)
        if hidden.shape != embedded.shape:
            raise UsageError(
                f"the body maps {list(embedded.shape)} to {list(hidden.shape)}",
                where="LanguageModel",
                todo=f"Give a body that maps [batch, time, {self.width}] to as many numbers.",
            )
        return cast(Tensor, self.head(hidden))
