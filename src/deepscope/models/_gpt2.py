"""GPT-2: a Transformer that predicts the next token."""

from __future__ import annotations

from functools import partial
from typing import cast

from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._inputs import tokens as tokens_of
from deepscope.models._language_model import LanguageModel
from deepscope.models._sizes import check_tokens
from deepscope.models._transformer import TransformerEncoder
from deepscope.models._transformer_layer import TransformerLayer, TransformerState


class GPT2(LanguageModel):
    """GPT-2: embedding and learned positions, L pre-norm layers of causal attention, and the embedding as the head.

    Maps tokens [batch, time], at most ``longest``, to the logits of the next, [batch, time, vocabulary]. A layer is
    x ← x + attention(N(x)), x ← x + W₂ φ(W₁ N(x) + b₁) + b₂ with 4d hidden units, φ(z) = z Φ(z) in its approximation by
    tanh, and layer normalisation N, which follows the last layer too. Parameters: (V + longest) d + L(12d² + 13d) + 2d;
    124,439,808 in the smallest published size (the paper's table says 117 million). Cost: 2TVd + L(24Td² + 4T²d)
    operations. All weights begin as N(0, 0.02²), the positions as N(0, 0.01²), and the maps into the sum divided by
    √(2L). Source: ``radford2019language``.

    The paper trains with a dropout of 0.1, in the attention weights too; here ``dropout`` is of the branches and of the
    embedded input.

    Parameters
    ----------
    vocabulary, longest
        V, and the greatest length of a sequence.
    width, heads, num_layers
        d, the number of heads, L.
    dropout
        Rate at which numbers are set to 0 in training.

    Raises
    ------
    UsageError
        A size below 1 or that does not divide; when called: tokens that are not [batch, time] whole numbers below V
        with at least one step, more than ``longest``.

    Examples
    --------
    >>> import torch
    >>> model = GPT2(vocabulary=65, longest=64, width=32, heads=4, num_layers=2)
    >>> model(torch.zeros(2, 7, dtype=torch.int64)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 65]), 29600)
    """

    def __init__(
        self,
        vocabulary: int = 50_257,
        longest: int = 1024,
        width: int = 768,
        heads: int = 12,
        num_layers: int = 12,
        *,
        dropout: float = 0.0,
    ) -> None:
        body = TransformerEncoder(
            width,
            heads,
            4 * width,
            num_layers,
            causal=True,
            attention_bias=True,
            positions="learned",
            longest=longest,
            activation=partial(nn.GELU, approximate="tanh"),
            pre_norm=True,
            dropout=dropout,
        )
        super().__init__(vocabulary, width, body, tied=True)
        _initialise(self, num_layers)

    def scan(self, tokens: Tensor, state: TransformerState | None = None) -> tuple[Tensor, TransformerState]:
        """Read the next part of a text; return the logits, and the keys and values that all layers have read.

        Two calls on the parts of a text compute what one computes on the whole; a step at time T costs O(L(d² + Td)).

        Parameters
        ----------
        tokens
            [batch, time].
        state
            What the call before returned.
        """
        check_tokens(tokens, self.vocabulary, self)
        y, state = cast(TransformerEncoder, self.body).scan(self.embedding(tokens), state)
        return self.head(y), state


def gpt2() -> GPT2:
    """Return the smallest GPT-2: 12 layers, 768 wide; 124,439,808 parameters.

    Source: ``radford2019language``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in gpt2().parameters())
    124439808
    """
    return GPT2()


def gpt2_medium() -> GPT2:
    """Return the GPT-2 of 24 layers, 1,024 wide; 354,823,168 parameters.

    Source: ``radford2019language``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in gpt2_medium().parameters())
    354823168
    """
    return GPT2(width=1024, heads=16, num_layers=24)


def gpt2_large() -> GPT2:
    """Return the GPT-2 of 36 layers, 1,280 wide; 774,030,080 parameters.

    Source: ``radford2019language``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in gpt2_large().parameters())
    774030080
    """
    return GPT2(width=1280, heads=20, num_layers=36)


def gpt2_xl() -> GPT2:
    """Return the largest GPT-2: 48 layers, 1,600 wide; 1,557,611,200 parameters.

    Source: ``radford2019language``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in gpt2_xl().parameters())
    1557611200
    """
    return GPT2(width=1600, heads=25, num_layers=48)


def _initialise(model: GPT2, num_layers: int) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
    for module in model.modules():
        if isinstance(module, TransformerLayer):
            for name in ("attention.output", "feed_forward.output"):
                nn.init.normal_(module.get_parameter(f"{name}.weight"), std=0.02 / (2 * num_layers) ** 0.5)


SPECIMENS = (
    Specimen(
        name="gpt2",
        title="GPT-2, language model, small",
        build=gpt2,
        inputs=tokens_of(50_257, 12),
        parameters=124_439_808,
        formula="x = E token + position; L layers x ← x + attention(N(x)), x ← x + W₂ gelu(W₁ N(x) + b₁) + b₂ with "
        "causal attention and 4d hidden units; logits = E N(x). With V tokens and n positions it has (V + n) d + "
        "L(12d² + 13d) + 2d parameters.",
        source="radford2019language",
        pinned_by="tests/models/test_gpt2.py::test_it_is_the_network_that_transformers_builds",
    ),
    Specimen(
        name="gpt2-medium",
        title="GPT-2, language model, medium",
        build=gpt2_medium,
        inputs=tokens_of(50_257, 12),
        parameters=354_823_168,
        formula="As the smallest GPT-2, with d = 1,024, 16 heads and L = 24.",
        source="radford2019language",
        pinned_by="tests/models/test_gpt2.py::test_it_is_the_network_that_transformers_builds",
    ),
    Specimen(
        name="gpt2-large",
        title="GPT-2, language model, large",
        build=gpt2_large,
        inputs=tokens_of(50_257, 12),
        parameters=774_030_080,
        formula="As the smallest GPT-2, with d = 1,280, 20 heads and L = 36.",
        source="radford2019language",
        pinned_by="tests/models/test_gpt2.py::test_it_is_the_network_that_transformers_builds",
    ),
    Specimen(
        name="gpt2-xl",
        title="GPT-2, language model, the largest",
        build=gpt2_xl,
        inputs=tokens_of(50_257, 12),
        parameters=1_557_611_200,
        formula="As the smallest GPT-2, with d = 1,600, 25 heads and L = 48.",
        source="radford2019language",
        pinned_by="tests/models/test_gpt2.py::test_it_is_the_network_that_transformers_builds",
    ),
)
