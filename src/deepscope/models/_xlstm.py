"""xLSTM: residual blocks of sLSTM and mLSTM."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._causal_convolution import CausalConvolution
from deepscope.models._inputs import tokens
from deepscope.models._language_model import LanguageModel
from deepscope.models._matrix_memory import empty_memory, scan_memory
from deepscope.models._mlstm import by_head, start_gates
from deepscope.models._recurrence import Recurrence, State, tensors
from deepscope.models._sizes import divided, positive
from deepscope.models._slstm import SLSTM
from deepscope.models._stack import Stack

#: Inputs and outputs of a block of the block-diagonal maps to queries, keys and values.
_BLOCK = 4


class MLSTMBlock(Recurrence):
    """Residual block around a matrix memory: y = x + down(h̃ ⊙ SiLU(z)), with u, z = up(norm(x)).

    A causal convolution of u, through SiLU, gives queries and keys, u itself values; gates see all three. What the
    memory says is normalised head by head, and the convolution added to it, times ``skip``: h̃. Maps
    [batch, time, width] to the same; the state is the memory's C, n and m and the convolution's last inputs. With width
    w and inner = expand · w it has 3w·inner + 3 · 4 · inner + 6 inner · heads + 2 heads + (kernel_size + 4) inner + w
    parameters: layers up and down have no bias, and the maps to queries, keys and values are block-diagonal, of blocks
    of 4. Source: ``beck2024xlstm``.

    Parameters
    ----------
    width
        w.
    heads
        Number of memories; inner is a multiple of it.
    expand
        inner / w.
    kernel_size
        Of the convolution.

    Raises
    ------
    UsageError
        A size below 1, or inner numbers that do not divide among heads or into fours; when called: an input or a state
        that does not fit.

    Examples
    --------
    >>> block = MLSTMBlock(8, heads=2)
    >>> block(torch.zeros(2, 7, 8)).shape, sum(p.numel() for p in block.parameters())
    (torch.Size([2, 7, 8]), 908)
    """

    def __init__(self, width: int, *, heads: int = 4, expand: int = 2, kernel_size: int = 4) -> None:
        super().__init__(width)
        inner = positive(expand, "expand", self) * width
        divided(inner, "expand · width", _BLOCK, "the size of a block", self)
        self.head_size, self.heads = divided(inner, "expand · width", heads, "heads", self), heads
        self.norm = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 2 * inner, bias=False)
        self.convolution = CausalConvolution(inner, kernel_size)
        self.query, self.key, self.value = (
            nn.Conv1d(inner, inner, 1, groups=inner // _BLOCK, bias=False) for _ in range(3)
        )
        self.gates = nn.Linear(3 * inner, 2 * heads)
        start_gates(self.gates, heads)
        self.head_norm = nn.GroupNorm(heads, inner)
        self.skip = nn.Parameter(torch.ones(inner))
        self.down = nn.Linear(inner, width, bias=False)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return zeros: C, n, m and the convolution's last inputs."""
        memory = empty_memory(batch, self.heads, self.head_size, self.head_size, self.skip)
        return *memory, self.convolution.initial_state(batch)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, width] and a state to [batch, width] and the next state."""
        outputs, state = self._scan(x[:, None], state)
        return outputs[:, 0], state

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        matrix, normaliser, exponent, past = state
        u, z = self.up(self.norm(x)).chunk(2, -1)
        c, following = self.convolution.scan(u, past)
        c = functional.silu(c)
        q, k, v = self.query(c.mT).mT, self.key(c.mT).mT, self.value(u.mT).mT
        gates, memory = self.gates(torch.cat([q, k, v], -1)), (matrix, normaliser, exponent)
        q, k, v = (by_head(each, self.heads) for each in (q, k, v))
        found, memory = scan_memory(q, k, v, gates, memory)
        found = found.transpose(1, 2).flatten(2)
        normed = self.head_norm(found.flatten(0, 1)).view_as(found)
        return x + self.down((normed + self.skip * c) * functional.silu(z)), (*memory, *tensors(following))


class SLSTMBlock(Recurrence):
    """Two residual steps: x + norm(sLSTM(norm(x))), then x + down(GELU(g) ⊙ u) with g, u = up(norm(x)).

    Maps [batch, time, width] to the same; the state is that of the ``SLSTM`` inside. With width w, H heads and an inner
    width v = round(4w/3) it has 4w(w + w/H + 1) + 3wv + 4w parameters; the layers up and down have no bias. The paper's
    block may have a convolution before the gates, which this has not. Source: ``beck2024xlstm``.

    Parameters
    ----------
    width
        w, a multiple of ``heads``.
    heads
        H.

    Raises
    ------
    UsageError
        A size below 1, or a width that does not divide among heads; when called: an input or a state that does not fit.

    Examples
    --------
    >>> block = SLSTMBlock(8, heads=2)
    >>> block(torch.zeros(2, 7, 8)).shape, sum(p.numel() for p in block.parameters())
    (torch.Size([2, 7, 8]), 712)
    """

    def __init__(self, width: int, *, heads: int = 4) -> None:
        super().__init__(width)
        inner = round(4 * width / 3)
        self.norm = nn.LayerNorm(width, bias=False)
        self.slstm = SLSTM(width, width, heads=heads)
        self.head_norm = nn.GroupNorm(heads, width)
        self.feed_forward_norm = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def initial_state(self, batch: int) -> State:
        """Return the state of the ``SLSTM`` before the first step."""
        return self.slstm.initial_state(batch)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, width] and a state to [batch, width] and the next state."""
        h, state = self.slstm.step(self.norm(x), state)
        return self._out(x, h), state

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, state = self.slstm.scan(self.norm(x), state)
        return self._out(x, h), state

    def _out(self, x: Tensor, h: Tensor) -> Tensor:
        x = x + self.head_norm(h.flatten(0, -2)).view_as(h)
        g, u = self.up(self.feed_forward_norm(x)).chunk(2, -1)
        return x + cast(Tensor, self.down(functional.gelu(g) * u))


class XLSTM(Stack):
    """xLSTM: residual blocks of mLSTM and sLSTM on top of one another, and a layer norm.

    Maps [batch, time, width] to the same; the state is the tuple of all blocks' states. The paper's xLSTM[a:b] has a
    blocks of mLSTM to b of sLSTM. Source: ``beck2024xlstm``.

    Parameters
    ----------
    width
        As the blocks take it.
    blocks
        A letter for each block, the lowest first: ``"m"`` or ``"s"``.
    heads
        Of each block.

    Raises
    ------
    UsageError
        No block or another letter; as the blocks.

    Examples
    --------
    >>> model = XLSTM(8, "ms", heads=2)
    >>> model(torch.zeros(2, 7, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 8]), 1628)
    """

    def __init__(self, width: int, blocks: str, *, heads: int = 4) -> None:
        if not blocks or set(blocks) - {"m", "s"}:
            raise UsageError(f"blocks is {blocks!r}", where="XLSTM", todo='Give letters "m" and "s", as in "mmms".')
        super().__init__(
            (MLSTMBlock(width, heads=heads) if block == "m" else SLSTMBlock(width, heads=heads) for block in blocks),
            norm=nn.LayerNorm(width, bias=False),
        )


def xlstm_language_model() -> LanguageModel:
    """Return a language model of characters: xLSTM[7:1] of width 64 and 65 characters; 257,721 parameters.

    The proportion of blocks and the place of the one of sLSTM are the paper's, the size is ours.
    Source: ``beck2024xlstm``.

    Examples
    --------
    >>> xlstm_language_model()(torch.zeros(2, 7, dtype=torch.int64)).shape
    torch.Size([2, 7, 65])
    """
    return LanguageModel(65, 64, XLSTM(64, "msmmmmmm"))


SPECIMENS = (
    Specimen(
        name="xlstm",
        title="xLSTM, language model of characters",
        build=xlstm_language_model,
        inputs=tokens(65, 32),
        parameters=257_721,
        formula="Residual blocks of two kinds. mLSTM: a matrix C ← σ(f) C + exp(i) k vᵀ with a normaliser "
        "n ← σ(f) n + exp(i) k, read as Cᵀ q / max(|n·q|, 1). sLSTM: c ← f c + i z, n ← f n + i, h = o c / n with "
        "i = exp(W x + U h + b).",
        source="beck2024xlstm",
        pinned_by="tests/models/test_xlstm.py::test_chunks_compute_what_the_recurrence_and_its_plain_formula_do",
    ),
)
