"""Born machines and a restricted Boltzmann machine learn bars and stripes; all probabilities are enumerated."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from deepscope.core import Case, TrialRun, derive_seed
from deepscope.models import RBM, BornMachine, all_bits, bars_and_stripes, fit_born_machine, fit_rbm

#: States of which amplitudes are computed at once.
AT_ONCE = 2**14


def learn(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train a Born machine on all pictures of bars or stripes.

    Returns
    -------
    dict
        ``gap``: mean negative log-likelihood minus that of the uniform law over the pictures, in nats; ``curve``: the
        same after each sweep. ``nll``: the likelihood itself. ``valid``: probability of all pictures.
        ``excess``: |Σ P(x) − 1| over all 2ᴺ states, P being normalised by the contracted Z, and ``excess_before``: of
        the untrained machine. ``schmidt``: number of Schmidt values of the middle cut above 10⁻⁶.
        ``variation``: total variation distance of ``case.samples`` samples from P; None where none are drawn.
    """
    data = pictures(case.side)
    generator = torch.Generator().manual_seed(derive_seed(run.seed, "machine"))
    machine = BornMachine(case.side**2, case.bond, dtype=torch.float64, generator=generator)
    excess_before = excess(law(machine))
    losses = fit_born_machine(machine, data, sweeps=case.sweeps, learning_rate=case.learning_rate)
    return {
        **_found(machine, data, case, run),
        "curve": (losses - math.log(len(data))).tolist(),
        "excess_before": excess_before,
    }


def build(case: Case, run: TrialRun) -> dict[str, Any]:
    """Decompose the uniform law's amplitudes, and return of this machine what ``learn`` does."""
    data = pictures(case.side)
    amplitudes = torch.zeros(2 ** data.shape[1], dtype=torch.float64)
    amplitudes[numbers(data)] = 1
    machine = BornMachine.from_amplitudes(amplitudes, bond_dimension=case.bond)
    found = _found(machine, data, case, run)
    cuts = [int((machine.schmidt_values(cut) > 1e-6).sum()) for cut in range(1, machine.sites)]
    return {**found, "widest": max(cuts)}


def _found(machine: BornMachine, data: Tensor, case: Case, run: TrialRun) -> dict[str, Any]:
    probabilities = law(machine)
    with torch.no_grad():
        nll = -machine(data).mean().item()
    variation = None
    if case.samples:
        generator = torch.Generator().manual_seed(derive_seed(run.seed, "samples"))
        variation = total_variation(machine.sample(case.samples, generator=generator), probabilities)
    return {
        "nll": nll,
        "gap": nll - math.log(len(data)),
        "valid": probabilities[numbers(data)].sum().item(),
        "excess": excess(probabilities),
        "schmidt": int((machine.schmidt_values(machine.sites // 2) > 1e-6).sum()),
        "variation": variation,
    }


def boltzmann(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train a restricted Boltzmann machine by CD-1; its partition function is a sum over all visible states.

    Returns
    -------
    dict
        ``nll``, ``gap``: as of ``learn``.
    """
    data = pictures(case.side)
    generator = torch.Generator().manual_seed(derive_seed(run.seed, "machine"))
    machine = RBM(case.side**2, case.hidden, generator=generator).double()
    fit_rbm(machine, data, steps=case.rbm_steps, batch_size=len(data), learning_rate=case.rbm_rate, generator=generator)
    with torch.no_grad():
        nll = -machine.log_likelihood(data).mean().item()
    return {"nll": nll, "gap": nll - math.log(len(data))}


def pictures(side: int) -> Tensor:
    """Return all pictures of bars or stripes with so many pixels a side, [2^(side + 1) − 2, side²], in float64."""
    return bars_and_stripes(side, side, dtype=torch.float64)


def numbers(states: Tensor) -> Tensor:
    """Return the numbers that binary states write, [n], the first bit ahead.

    Examples
    --------
    >>> numbers(torch.tensor([[0.0, 1.0, 1.0]])).tolist()
    [3]
    """
    places = torch.arange(states.shape[1] - 1, -1, -1)
    found: Tensor = (states.long() << places).sum(1)
    return found


@torch.no_grad()
def law(machine: BornMachine) -> Tensor:
    """Return P of all states, [2ᴺ], as the machine has it of each: |Ψ(x)|² over the contracted Z."""
    states = all_bits(machine.sites, machine.tensors[0].real)
    return torch.cat([machine(part).exp() for part in torch.split(states, AT_ONCE)])


def excess(probabilities: Tensor) -> float:
    """Return |Σ P − 1|: the relative error of the normalisation that P was divided by."""
    return abs(probabilities.sum().item() - 1)


def total_variation(samples: Tensor, probabilities: Tensor) -> float:
    """Return ½ Σ |share of the samples − P|.

    Examples
    --------
    >>> total_variation(torch.tensor([[0.0], [1.0]]), torch.tensor([1.0, 0.0]))
    0.5
    """
    counts = torch.bincount(numbers(samples), minlength=len(probabilities))
    return 0.5 * (counts / len(samples) - probabilities).abs().sum().item()
