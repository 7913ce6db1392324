"""Fast weights: a network that writes the weights of another as it reads."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._inputs import values
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import positive

#: Steps that are computed as one product of matrices.
_CHUNK = 64


class FastWeights(Recurrence):
    """Fast-weight memory: Fₜ = Fₜ₋₁ + vₜ kₜᵀ, yₜ = Fₜ qₜ with kₜ = K xₜ, vₜ = V xₜ and qₜ = Q xₜ.

    The slow weights K, V and Q are learned; with them the network writes its fast weights F, one outer product a step.
    This is linear attention without normalisation, yₜ = Σₛ≤ₜ vₛ (kₛ·qₜ). F recalls exactly what was stored with at most
    d = key_size orthonormal keys; with n random keys of length 1 the others add (n − 1)/d of their square to each.

    Maps [batch, time, input_size] to [batch, time, value_size]; the state is F, [batch, value_size, key_size], zero at
    first. With m inputs it has m(2 key_size + value_size) parameters, in ``key``, ``value`` and ``query`` without
    biases, and costs 4 · key_size · value_size operations a step. A scan takes 64 steps at once, as products of
    matrices. The paper squashes what it adds to F and has no query of its own: its input is the query.
    Sources: ``schmidhuber1992learning``; as attention ``schlag2021linear``.

    Parameters
    ----------
    input_size
        m.
    key_size
        d, of keys and queries.
    value_size
        Of values and outputs.

    Raises
    ------
    UsageError
        A size below 1; when called: an input or a state that does not fit.

    Examples
    --------
    >>> memory = FastWeights(3, 8, 5)
    >>> memory(torch.zeros(2, 7, 3)).shape, sum(p.numel() for p in memory.parameters())
    (torch.Size([2, 7, 5]), 63)
    """

    def __init__(self, input_size: int, key_size: int, value_size: int) -> None:
        super().__init__(input_size)
        self.key_size = positive(key_size, "key_size", self)
        self.value_size = positive(value_size, "value_size", self)
        self.key = nn.Linear(input_size, key_size, bias=False)
        self.value = nn.Linear(input_size, value_size, bias=False)
        self.query = nn.Linear(input_size, key_size, bias=False)

    def initial_state(self, batch: int) -> Tensor:
        """Return F = 0, [batch, value_size, key_size]."""
        return self.key.weight.new_zeros(batch, self.value_size, self.key_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: write the value at x into F, and read."""
        fast = cast(Tensor, state) + self.value(x)[:, :, None] * self.key(x)[:, None, :]
        return (fast @ self.query(x)[:, :, None])[:, :, 0], fast

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        fast, outputs = cast(Tensor, state), []
        keys, given, queries = self.key(x), self.value(x), self.query(x)
        for k, v, q in zip(*(each.split(_CHUNK, 1) for each in (keys, given, queries)), strict=True):
            # What came before the chunk, and what each step of the chunk finds of itself and the steps before it.
            outputs.append(q @ fast.mT + torch.tril(q @ k.mT) @ v)
            fast = fast + v.mT @ k
        return torch.cat(outputs, 1), fast


def fast_weights_64() -> FastWeights:
    """Return a memory of 64 × 64 fast weights that reads 64 numbers a step; 12,288 parameters. The size is ours.

    Source: ``schmidhuber1992learning``.

    Examples
    --------
    >>> fast_weights_64()(torch.zeros(2, 7, 64)).shape
    torch.Size([2, 7, 64])
    """
    return FastWeights(64, 64, 64)


SPECIMENS = (
    Specimen(
        name="fast-weights",
        title="fast-weight memory",
        build=fast_weights_64,
        inputs=values(32, 64),
        parameters=12_288,
        formula="F ← F + v kᵀ, y = F q with k = K x, v = V x, q = Q x: the slow weights K, V and Q write the fast "
        "ones, F; y = Σ v (k·q) is linear attention without normalisation.",
        source="schmidhuber1992learning",
        rows=("fast-weights",),
        pinned_by="tests/models/test_fast_weights.py::test_it_is_linear_attention_and_holds_as_many_keys_as_dimensions",
    ),
)
