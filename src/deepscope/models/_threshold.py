"""Threshold networks: every Boolean function by two layers of units that fire or do not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_vectors, positive


class Heaviside(nn.Module):
    """Step H(z) = 1 where z ≥ 0, else 0; NaN stays NaN. Its derivative is 0 wherever it has one, and taken as 0 at 0.

    Source: ``mcculloch1943logical``.

    Examples
    --------
    >>> Heaviside()(torch.tensor([-0.5, 0.0, 2.0]))
    tensor([0., 1., 1.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return H of each number."""
        return torch.where(x.isnan(), x, (x >= 0).to(x.dtype))


class ThresholdNetwork(nn.Module):
    """Threshold network of two layers: y = H(V H(Wx + b) + c), where H(z) = 1 for z ≥ 0 and 0 below.

    Maps [batch, …] to zeros and ones, [batch, out_features]; what follows the batch dimension is flattened. The layers
    are ``hidden``, ``activation``, ``output`` and ``decision``; biases are the negated thresholds. With d inputs, h
    hidden units and k outputs it has h(d + 1) + k(h + 1) parameters, and a sample costs 2h(d + k) operations. Weights
    are drawn as torch draws those of linear layers; ``boolean_network`` sets them so that given functions are realised.
    All gradients are 0, so that none can train it (see ``Perceptron`` for one layer). In the paper's nets one active
    inhibitory input silences a unit whatever excites it; here an input counts with its weight, of which such inhibition
    is the case: a weight below minus the sum of all positive ones. Source: ``mcculloch1943logical``.

    Parameters
    ----------
    in_features
        Number of inputs, d.
    hidden
        Number of hidden units, h.
    out_features
        Number of outputs, k.

    Raises
    ------
    UsageError
        A size below 1; when called: an input of another size or not of floating-point numbers.

    Examples
    --------
    >>> network = ThresholdNetwork(4, 8, 1)
    >>> network(torch.zeros(5, 4)).shape, sum(p.numel() for p in network.parameters())
    (torch.Size([5, 1]), 49)
    """

    def __init__(self, in_features: int, hidden: int, out_features: int) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features", self)
        positive(hidden, "hidden", self), positive(out_features, "out_features", self)
        self.hidden = nn.Linear(in_features, hidden)
        self.activation = Heaviside()
        self.output = nn.Linear(hidden, out_features)
        self.decision = Heaviside()

    def forward(self, x: Tensor) -> Tensor:
        """Return which outputs fire, [batch, out_features]."""
        check_vectors(x, self.in_features, self)
        hidden = self.activation(self.hidden(x.flatten(1)))
        decided: Tensor = self.decision(self.output(hidden))
        return decided


def boolean_network(tables: Tensor) -> ThresholdNetwork:
    """Return a threshold network of two layers that computes Boolean functions: the disjunctive normal form.

    A hidden unit fires at one input m of {0, 1}ⁿ alone: its weights are 1 where m has a 1 and −1 elsewhere, and the
    threshold is ½ below the number of ones in m, which m reaches and no other input does. An output fires where any of
    its hidden units does. All sums are halves of integers, hence exact. A hidden unit is made for each input at which
    some function is true: at most 2ⁿ. Source: ``mcculloch1943logical``.

    Parameters
    ----------
    tables
        Truth values, [2ⁿ] of one function or [functions, 2ⁿ] of several. Place m is the value at the input whose i-th
        component is bit i of m, the least bit first.

    Raises
    ------
    UsageError
        The tables are not Boolean, or their length is not a power of 2 of at least 2.

    Examples
    --------
    Implication, false only at (1, 0), which is place 1:

    >>> implication = boolean_network(torch.tensor([True, False, True, True]))
    >>> implication(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])).flatten()
    tensor([1., 0., 1., 1.], grad_fn=<ViewBackward0>)
    """
    if tables.dtype != torch.bool or tables.ndim not in (1, 2) or not tables.numel():
        raise UsageError(
            f"the tables are {list(tables.shape)} of {str(tables.dtype).removeprefix('torch.')}",
            where="boolean_network",
            todo="Give truth values, [2ⁿ] or [functions, 2ⁿ] of torch.bool.",
        )
    tables = tables.reshape(-1, tables.shape[-1])
    bits = tables.shape[1].bit_length() - 1
    if bits < 1 or tables.shape[1] != 2**bits:
        raise UsageError(
            f"a table has {tables.shape[1]} places", where="boolean_network", todo="Give 2ⁿ, one for each input."
        )
    # A function that is never true needs a hidden unit as well, which it does not read.
    places = tables.any(0).nonzero().flatten() if tables.any() else torch.zeros(1, dtype=torch.int64)
    places = places.to(tables.device)
    inputs = (places[:, None] >> torch.arange(bits, device=places.device)) & 1
    network = ThresholdNetwork(bits, len(places), len(tables)).to(tables.device)
    with torch.no_grad():
        network.hidden.weight.copy_(2 * inputs - 1)
        network.hidden.bias.copy_(0.5 - inputs.sum(1))
        network.output.weight.copy_(tables[:, places])
        network.output.bias.fill_(-0.5)
    return network


def exclusive_or() -> ThresholdNetwork:
    """Return the threshold network of two hidden units that is true where one of two inputs is; 9 parameters.

    No single threshold unit computes it (``minsky1969perceptrons``).

    Examples
    --------
    >>> exclusive_or()(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])).flatten().tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    return boolean_network(torch.tensor([False, True, True, False]))


SPECIMENS = (
    Specimen(
        name="mcculloch-pitts",
        title="threshold network of two layers, here exclusive or",
        build=exclusive_or,
        inputs=values(2),
        parameters=9,
        formula="y = H(V H(Wx + b) + c), where H(z) = 1 for z ≥ 0 and 0 below. It computes every Boolean function of n "
        "inputs: a hidden unit for each input at which it is true, which fires there alone, and an output that fires "
        "where any of them does. A single unit H(w·x + b) computes 4, 14, 104 and 1,882 functions of 1 to 4 inputs.",
        source="mcculloch1943logical",
        rows=("mcculloch-pitts", "discrete-math-nn"),
        pinned_by="tests/models/test_threshold.py::test_two_layers_realise_every_boolean_function_and_one_unit_few",
    ),
)
