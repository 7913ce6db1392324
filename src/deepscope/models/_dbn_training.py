"""Greedy training: each machine of a deep belief network learns the states of the one below."""

from __future__ import annotations

import torch
from torch import Tensor

from deepscope.models._binary import check_bits
from deepscope.models._dbn import DBN
from deepscope.models._rbm import RBM
from deepscope.models._rbm_training import fit_rbm


@torch.no_grad()
def turned(machine: RBM) -> RBM:
    """Return a new machine with the sides of another exchanged: its visible units have the law of the other's hidden.

    Examples
    --------
    >>> rbm = RBM(3, 2)
    >>> torch.equal(turned(rbm).weight, rbm.weight.mT)
    True
    """
    # Its own generator: what it draws is overwritten.
    found = RBM(machine.hidden, machine.visible, generator=torch.Generator()).to(machine.weight)
    found.weight.copy_(machine.weight.mT)
    found.visible_bias.copy_(machine.hidden_bias)
    found.hidden_bias.copy_(machine.visible_bias)
    return found


@torch.no_grad()
def fit_dbn(
    network: DBN,
    samples: Tensor,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    k: int = 1,
    persistent: bool = False,
    momentum: float = 0.0,
    generator: torch.Generator | None = None,
) -> None:
    """Train a deep belief network greedily: each machine by ``fit_rbm``, on states that those below recognise.

    A machine whose sides have the sizes of the one below it exchanged begins as that one turned, as the theorem asks
    for which says that the bound of the network rises; others begin as they are. States are drawn once.

    Parameters
    ----------
    network
        Its machines change.
    samples
        [n, visible] of zeros and ones.
    steps, batch_size, learning_rate, k, persistent, momentum, generator
        As of ``fit_rbm``, for each machine.

    Raises
    ------
    UsageError
        As of ``fit_rbm``.

    Notes
    -----
    Cost: that of ``fit_rbm`` for each machine. The source's second stage, which trains all layers together by a
    variant of wake and sleep, is not made. Source: ``hinton2006fast``.

    Examples
    --------
    >>> network = DBN((4, 3, 4))
    >>> fit_dbn(network, torch.ones(8, 4), steps=100, batch_size=8, learning_rate=0.2)
    >>> network.generate(5, steps=10).shape
    torch.Size([5, 4])
    """
    check_bits(samples, network.sizes[0], "samples", network)
    below: RBM | None = None
    for machine in network.machines:
        assert isinstance(machine, RBM)
        if below is not None:
            samples = torch.bernoulli(below(samples), generator=generator)
            if (machine.visible, machine.hidden) == (below.hidden, below.visible):
                machine.load_state_dict(turned(below).state_dict())
        fit_rbm(
            machine,
            samples,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            k=k,
            persistent=persistent,
            momentum=momentum,
            generator=generator,
        )
        below = machine
