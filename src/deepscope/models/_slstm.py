"""sLSTM: long short-term memory with exponential gates."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import divided


class SLSTM(Recurrence):
    """sLSTM layer: a memory and a normaliser with exponential gates, mixed within heads.

    ::

        i = exp(Wᵢ x + Uᵢ h + bᵢ)             input gate
        f = σ(W_f x + U_f h + b_f), or exp     forget gate
        z = tanh(W_z x + U_z h + b_z)         candidate
        o = σ(W_o x + U_o h + b_o)            output gate
        c' = f c + i z,   n' = f n + i,   h' = o c' / n'

    U is block-diagonal: a unit hears those of its own head. c and n are held divided by exp(m), where
    m' = max(ln f + m, ln i) is the largest exponent so far, which leaves h as it is and overflows nowhere. Maps
    [batch, time, input_size] to h, [batch, time, hidden_size]; the state is (h, c, n, m), each [batch, hidden_size]:
    0, 0, 0 and −∞ at first. With m inputs, n units and H heads it has 4n(m + n/H + 1) parameters and costs 8n(m + n/H)
    operations a step. Rows of ``weight_ih`` and ``bias`` stand head by head, in each i, f, z, o; ``weight_hh`` is U,
    transposed, [heads, n/H, 4n/H]. Weights begin uniform between ±1/√n, biases of forget gates spread over 3 to 6.
    Source: ``beck2024xlstm``.

    Parameters
    ----------
    input_size
        m.
    hidden_size
        n, a multiple of ``heads``.
    heads
        H.
    exponential_forget
        Whether the forget gate is exp and not σ.

    Raises
    ------
    UsageError
        A size below 1, or units that do not divide among heads; when called: an input or a state that does not fit.

    Examples
    --------
    >>> layer = SLSTM(3, 8, heads=2)
    >>> layer(torch.zeros(2, 7, 3)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 7, 8]), 256)
    """

    def __init__(self, input_size: int, hidden_size: int, *, heads: int = 1, exponential_forget: bool = False) -> None:
        super().__init__(input_size)
        self.head_size = divided(hidden_size, "hidden_size", heads, "heads", self)
        self.heads, self.hidden_size, self.exponential_forget = heads, hidden_size, exponential_forget
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(heads, self.head_size, 4 * self.head_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        bound = 1 / math.sqrt(hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        with torch.no_grad():
            self.bias.view(heads, 4, -1)[:, 1] = torch.linspace(3, 6, self.head_size)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return h = 0, c = 0, n = 0 and m = −∞."""
        zeros = self.bias.new_zeros(batch, self.hidden_size)
        return zeros, zeros, zeros, torch.full_like(zeros, -torch.inf)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, input_size] and a state to h, [batch, hidden_size], and the next state."""
        outputs, state = self._scan(x[:, None], state)
        return outputs[:, 0], state

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        # Heads first within the scan, as the batched product wants them.
        h, c, n, m = (each.view(-1, self.heads, self.head_size).transpose(0, 1) for each in state)
        projected = functional.linear(x.transpose(0, 1), self.weight_ih, self.bias)
        outputs = []
        for each in projected.view(x.shape[1], -1, self.heads, 4 * self.head_size).transpose(1, 2):
            i, f, z, o = torch.baddbmm(each, h, self.weight_hh).chunk(4, -1)
            decayed = m + (f if self.exponential_forget else functional.logsigmoid(f))
            m = torch.maximum(decayed, i)
            keep, write = torch.exp(decayed - m), torch.exp(i - m)
            c = torch.addcmul(keep * c, write, torch.tanh(z))
            n = torch.addcmul(write, keep, n)
            h = torch.sigmoid(o) * c / n
            outputs.append(h)
        following = tuple(each.transpose(0, 1).flatten(1) for each in (h, c, n, m))
        return torch.stack(outputs).permute(2, 0, 1, 3).flatten(2), following
