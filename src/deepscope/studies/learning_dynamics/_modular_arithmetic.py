"""Tables of modular arithmetic, a network that learns them, and what it makes of the group behind them."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Operations that a table can be of, as they are written.
OPERATIONS = ("a + b", "a / b")


def table(operation: str, modulus: int) -> tuple[Tensor, Tensor]:
    """Return all equations of an operation modulo a prime.

    Returns
    -------
    operands, results
        Integers of shape [n, 2] and [n]: n = p² for ``"a + b"``, p (p − 1) for ``"a / b"``, whose b is not 0.

    Examples
    --------
    >>> operands, results = table("a / b", 5)
    >>> len(operands), all(c * b % 5 == a for (a, b), c in zip(operands.tolist(), results.tolist()))
    (20, True)
    """
    numbers = torch.arange(modulus)
    if operation == "a + b":
        operands = torch.cartesian_prod(numbers, numbers)
        return operands, operands.sum(1) % modulus
    # Read backwards: a = c b, for every result c and every b but 0.
    results, divisors = torch.cartesian_prod(numbers, numbers[1:]).T
    return torch.stack([results * divisors % modulus, divisors], dim=1), results


class OperandMLP(nn.Module):
    """Logits of the result of two operands: W₂ max(0, W₁ [e_a; e_b] + c₁) + c₂, with e the rows of one embedding.

    Maps integers [batch, 2] to [batch, p].

    Parameters
    ----------
    modulus
        Number p of different operands and results.
    embedding, hidden
        Widths of an embedded operand and of the hidden layer.

    Notes
    -----
    W₁ [e_a; e_b] is the sum of a term for a and one for b, each of which has p values: they are computed once for all
    pairs, which halves the cost of a step on a whole table.
    """

    def __init__(self, modulus: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(modulus, embedding)
        self.hidden = nn.Linear(2 * embedding, hidden)
        self.output = nn.Linear(hidden, modulus)

    def forward(self, operands: Tensor) -> Tensor:
        """Return the logits."""
        weight_a, weight_b = self.hidden.weight.chunk(2, dim=1)
        term_a = functional.linear(self.embedding.weight, weight_a, self.hidden.bias)
        term_b = functional.linear(self.embedding.weight, weight_b)
        a, b = operands.unbind(1)
        hidden = (functional.embedding(a, term_a) + functional.embedding(b, term_b)).relu_()
        return cast("Tensor", self.output(hidden))


def effective_frequencies(embedding: Tensor, operation: str) -> float:
    """Return over how many frequencies of the operation's group an embedding spreads: (Σ P_k)² / Σ P_k².

    P_k > 0 is the power at frequency k, over all dimensions, of the embedding of shape [p, d] as a function on the
    group: the residues under addition for ``"a + b"``; for ``"a / b"`` those but 0, which multiplication by a
    primitive root runs through. It lies between 1, one frequency, and the number of frequencies, all alike; for random
    rows it is close to the latter. Source: ``nanda2023progress``.
    """
    p = len(embedding)
    signal = embedding if operation == "a + b" else embedding[_powers_of_primitive_root(p)]
    power = torch.fft.rfft(signal.double(), dim=0).abs().square().sum(1)[1:]
    return float(power.sum().square() / power.square().sum())


def _powers_of_primitive_root(p: int) -> list[int]:
    """Return 1, g, g², … modulo a prime, for the smallest g whose powers are all the residues but 0."""
    for root in range(1, p):
        powers = [1]
        while (power := powers[-1] * root % p) != 1:
            powers.append(power)
        if len(powers) == p - 1:
            return powers
    raise AssertionError(f"{p} is no prime")
