"""Linear attention: attention whose past is one matrix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._inputs import values
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import divided

#: Steps that are multiplied out at once: as many operations within such a part as between parts, for heads 64 wide.
CHUNK = 64


class LinearAttention(Recurrence):
    """Linear attention: y_t = W_o [S_tᵀφ(q_t) / z_t·φ(q_t)]_h with S_t = Σ_{s≤t} φ(k_s) v_sᵀ and z_t = Σ_{s≤t} φ(k_s).

    φ(x) = elu(x) + 1, for each of H heads of d_h = d/H columns of q = W_q x, k = W_k x and v = W_v x. Maps [batch,
    time, d] to the same, causally. It is attention with weights proportional to φ(q_t)·φ(k_s) in place of
    exp(q_t·k_s/√d_h), and a recurrent network whose state, [batch, H, d_h, d_h + 1], holds S and z. 4d² + 4d
    parameters. A sequence costs O(T d (d_h + 64)) operations and memory O(T d), in parts of 64 steps; a step costs O(d²
    + d d_h) whatever came before. The weights begin as those of ``MultiHeadAttention``. Source:
    ``katharopoulos2020transformers``.

    Parameters
    ----------
    width
        d.
    heads
        H, by which d is divided.
    normalised
        If not, φ is the identity, divided by √d_h for queries, and there is no denominator: fast weights, to which
        later kinds of linear attention returned.
    bias
        Whether the four linear maps have a bias.

    Raises
    ------
    UsageError
        As ``Recurrence``; a width that does not divide.

    Examples
    --------
    >>> import torch
    >>> model = LinearAttention()
    >>> model(torch.zeros(2, 5, 512)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 5, 512]), 1050624)
    """

    def __init__(self, width: int = 512, heads: int = 8, *, normalised: bool = True, bias: bool = True) -> None:
        super().__init__(width)
        self.num_heads, self.head_dim = heads, divided(width, "width", heads, "heads", self)
        self.normalised = normalised
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)
        self.output = nn.Linear(width, width, bias=bias)
        for each in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(each.weight)
            if bias:
                nn.init.zeros_(each.bias)

    def initial_state(self, batch: int) -> Tensor:
        """Return zeros: S and, if normalised, z as its last column, [batch, H, d_h, d_h + 1]."""
        columns = self.head_dim + self.normalised
        return self.query.weight.new_zeros(batch, self.num_heads, self.head_dim, columns)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Add one key and value to the state, and read it: [batch, d] to [batch, d]."""
        y, state = self._scan(x.unsqueeze(1), state)
        return y.squeeze(1), state

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        assert isinstance(state, Tensor)
        queries, keys, values = (split_heads(each(x), self.num_heads) for each in (self.query, self.key, self.value))
        if self.normalised:
            queries, keys = _elu_plus_one(queries), _elu_plus_one(keys)
            # A value of 1 collects the denominator.
            values = torch.cat([values, torch.ones_like(values[..., :1])], -1)
        else:
            queries = queries / self.head_dim**0.5
        read, state = read_in_chunks(queries, keys, values, state)
        if self.normalised:
            read = read[..., :-1] / read[..., -1:]
        y: Tensor = self.output(read.transpose(1, 2).flatten(2))
        return y, state


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Return [batch, time, d] as [batch, heads, time, d / heads]."""
    return x.view(*x.shape[:2], heads, x.shape[-1] // heads).transpose(1, 2)


def read_in_chunks(queries: Tensor, keys: Tensor, values: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return Sᵗᵀ q_t with S_t = S₀ + Σ_{s≤t} k_s v_sᵀ for all t, and the last S.

    Within a chunk the products q·k are multiplied out; between chunks the state goes on.

    Parameters
    ----------
    queries, keys
        [..., time, d].
    values
        [..., time, e].
    state
        S₀, [..., d, e].
    """
    length = queries.shape[-2]
    size = min(CHUNK, length)
    q, k, v = (in_chunks(each, size) for each in (queries, keys, values))
    # Summed from the state on, so that nothing of the future enters, not even its rounding.
    states = torch.cat([state.unsqueeze(-3), k.mT @ v], -3).cumsum(-3)
    read = (q @ k.mT).tril() @ v + q @ states[..., :-1, :, :]
    return read.flatten(-3, -2)[..., :length, :], states[..., -1, :, :]


def in_chunks(x: Tensor, size: int) -> Tensor:
    """Return [..., time, d] as [..., chunks, size, d], filled up with zeros."""
    missing = -x.shape[-2] % size
    filled = nn.functional.pad(x, (0, 0, 0, missing)) if missing else x
    return filled.reshape(*x.shape[:-2], filled.shape[-2] // size, size, x.shape[-1])


def _elu_plus_one(x: Tensor) -> Tensor:
    """Return elu(x) + 1: x + 1 above 0 and eˣ below, which does not round to 0 as the sum does."""
    return torch.where(x > 0, x + 1, x.clamp(max=0).exp())


SPECIMENS = (
    Specimen(
        name="linear-attention",
        title="linear attention, causal, a layer of a linear Transformer",
        build=LinearAttention,
        inputs=values(20, 512),
        parameters=1_050_624,
        formula="y_t = W_o [S_tᵀφ(q_t) / z_t·φ(q_t)]_h with S_t = Σ_{s≤t} φ(k_s) v_sᵀ, z_t = Σ_{s≤t} φ(k_s) and φ(x) = "
        "elu(x) + 1: attention with a kernel of finitely many features in place of the softmax, which makes it a "
        "recurrent network; q, k and v are linear in x and split into heads.",
        source="katharopoulos2020transformers",
        pinned_by="tests/models/test_linear_attention.py::test_all_pairs_the_recurrence_and_the_scan_agree",
    ),
)
