"""Bidirectional recurrent network."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._lstm import LSTM
from deepscope.models._recurrence import Recurrence
from deepscope.models._sizes import check_lengths, check_sequence


class Bidirectional(nn.Module):
    """Two recurrent networks side by side, one that reads from the first step on and one from the last step back.

    Maps [batch, time, input_size] to what both put out at each step, one beside the other: at step t the first has
    read x₁ … xₜ, the second x_T … xₜ. It has their parameters and their cost. Layers of it are put on top of one
    another by ``nn.Sequential``. The networks are called ``forwards`` and ``backwards``.
    Source: ``schuster1997bidirectional``.

    Parameters
    ----------
    forwards, backwards
        Two recurrences of one input size.

    Raises
    ------
    UsageError
        Two input sizes, or one network twice; when called: an input or lengths that do not fit.

    Examples
    --------
    >>> from deepscope.models import GRU
    >>> model = Bidirectional(GRU(3, 8), GRU(3, 8))
    >>> model(torch.zeros(2, 7, 3)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 16]), 576)
    """

    def __init__(self, forwards: Recurrence, backwards: Recurrence) -> None:
        super().__init__()
        if forwards is backwards or forwards.input_size != backwards.input_size:
            raise UsageError(
                f"the input sizes are {forwards.input_size} and {backwards.input_size}"
                + ", of one network" * (forwards is backwards),
                where="Bidirectional",
                todo="Give two networks of one input size.",
            )
        self.input_size = forwards.input_size
        self.forwards, self.backwards = forwards, backwards

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what both put out at each step, [batch, time, …].

        Parameters
        ----------
        x
            [batch, time, input_size].
        lengths
            Steps of each sequence, [batch]; the rest is padding, which no step before it sees. All unless given.
        """
        check_sequence(x, self.input_size, self)
        if lengths is None:
            return torch.cat([self.forwards(x), self.backwards(x.flip(1)).flip(1)], -1)
        order = _reversal(check_lengths(lengths, x, self), x.shape[1])
        back = self.backwards(x.gather(1, order.expand_as(x)))
        return torch.cat([self.forwards(x), back.gather(1, order.expand_as(back))], -1)


def _reversal(lengths: Tensor, steps: int) -> Tensor:
    """Return the order that turns the first steps of each sequence round and leaves its padding behind them."""
    time = torch.arange(steps, device=lengths.device).expand(len(lengths), -1)
    return torch.where(time < lengths[:, None], lengths[:, None] - 1 - time, time)[..., None]


def bidirectional_lstm() -> nn.Sequential:
    """Return the network of Graves and Schmidhuber for frames of speech; 101,245 parameters.

    It maps 26 coefficients a frame, [batch, time, 26], to logits of 61 phonemes, [batch, time, 61], through 93 units of
    long short-term memory with peepholes in each direction. Source: ``graves2005framewise``.

    Examples
    --------
    >>> bidirectional_lstm()(torch.zeros(2, 7, 26)).shape
    torch.Size([2, 7, 61])
    """
    body = Bidirectional(LSTM(26, 93, peepholes=True), LSTM(26, 93, peepholes=True))
    return nn.Sequential(OrderedDict(body=body, output=nn.Linear(2 * 93, 61)))


SPECIMENS = (
    Specimen(
        name="bidirectional-lstm",
        title="bidirectional recurrent network",
        build=bidirectional_lstm,
        inputs=values(20, 26),
        parameters=101_245,
        formula="yₜ = V [h(x₁ … xₜ), g(x_T … xₜ)] + c: a recurrent network h that reads from the first step on beside "
        "another, g, that reads from the last step back, so that each step sees the past and the future.",
        source="schuster1997bidirectional",
        rows=("birnn",),
        pinned_by="tests/models/test_bidirectional.py::test_it_solves_what_needs_the_future_and_no_causal_network_can",
    ),
)
