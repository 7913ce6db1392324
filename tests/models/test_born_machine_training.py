"""Two-site training: its gradient, its canonical form, its descent, and bars and stripes to their entropy."""

from __future__ import annotations

import math

import pytest
import torch

from deepscope.core import UsageError
from deepscope.models import BornMachine, _born_machine_training, bars_and_stripes, fit_born_machine
from deepscope.models._binary import bits
from deepscope.models._born_machine_training import merged_gradient
from deepscope.models._matrix_product import split

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def distance_from_canonical(machine):
    first, *others = (each.detach() for each in machine.tensors)
    grams = [each.flatten(1) @ each.flatten(1).mH - torch.eye(len(each), dtype=each.dtype) for each in others]
    return max(abs(first.norm().item() - 1), *(gram.abs().max().item() for gram in grams))


@DTYPES
def test_gradient_of_a_merged_tensor_is_that_of_autograd(dtype):
    left, right = (torch.randn(7, size, generator=generator(size), dtype=dtype) for size in (6, 4))
    merged = torch.randn(3, 2, 2, 2, generator=generator(), dtype=dtype)
    merged = (merged / merged.norm()).requires_grad_()
    amplitudes = torch.einsum("na,ab,nb->n", left, merged.reshape(6, 4), right)
    loss = merged.abs().square().sum().log() - amplitudes.abs().square().log().mean()
    (expected,) = torch.autograd.grad(loss, merged)
    found = merged_gradient(merged.detach(), left, right)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    # Factors of a sample are of no matter, and the norm does not change to first order.
    scaled = merged_gradient(merged.detach(), 5 * left, right / 3)
    torch.testing.assert_close(found, scaled, rtol=0, atol=1e-12)
    assert (found * merged.detach().conj()).sum().real.abs() < 1e-12


@pytest.mark.parametrize("to_right", [True, False])
def test_a_split_is_the_nearest_product_of_its_bond(to_right):
    merged = torch.randn(3, 2, 2, 4, generator=generator(), dtype=torch.float64)
    merged /= merged.norm()
    values = torch.linalg.svdvals(merged.reshape(6, 8))
    for bond in (6, 4, 1):
        left, right = split(merged, bond=bond, cutoff=0.0, to_right=to_right)
        again = torch.tensordot(left, right, 1)
        assert again.norm().item() == pytest.approx(1, abs=1e-14)
        overlap = (again * merged).sum().square().item()
        assert overlap == pytest.approx(values[:bond].square().sum().item(), abs=1e-13)
    cut = float(values[3] + values[4]) / 2 / float(values[0])
    whole, kept = (split(merged, bond=6, cutoff=value, to_right=to_right) for value in (0.0, cut))
    assert kept[0].shape == whole[0].shape
    assert int(torch.linalg.matrix_rank(torch.tensordot(*kept, 1).reshape(6, 8))) == 4


@pytest.mark.demonstrates("repo-mps-born")
@DTYPES
def test_canonical_form_is_kept_in_each_update(dtype, monkeypatch):
    """Of the two tensors one is an isometry and the other has norm 1; the rest are not touched."""
    seen = []

    def watched(merged, *, bond, cutoff, to_right):
        pair = split(merged, bond=bond, cutoff=cutoff, to_right=to_right)
        matrix = pair[0].flatten(0, 1) if to_right else pair[1].flatten(1).mH
        error = (matrix.mH @ matrix - torch.eye(bond, dtype=dtype)).abs().max()
        seen.append(max(error.item(), abs(pair[to_right].norm().item() - 1)))
        return pair

    monkeypatch.setattr(_born_machine_training, "split", watched)
    machine = BornMachine(8, 4, dtype=dtype, generator=generator())
    data = bars_and_stripes(2, 4, dtype=torch.float64)
    fit_born_machine(machine, data, sweeps=5, learning_rate=0.2, cutoff=1e-3)
    assert len(seen) == 5 * 2 * 7
    assert max(seen) < 1e-10
    assert distance_from_canonical(machine) < 1e-12
    assert machine.log_norm().item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("descents", [1, 3])
def test_small_steps_never_lower_the_likelihood_where_nothing_is_left_out(descents):
    data = bars_and_stripes(2, 3, dtype=torch.float64)
    machine = BornMachine(6, 8, dtype=torch.float64, generator=generator())
    before = -machine(data).mean().detach()
    losses = fit_born_machine(machine, data, sweeps=40, learning_rate=0.01, descents=descents)
    assert (torch.cat([before[None], losses]).diff() <= 1e-12).all()
    assert losses[-1] < losses[0] - 0.1
    assert losses[-1].item() == pytest.approx(-machine(data).mean().item(), abs=1e-14)
    # Where something is left out, it can.
    assert fit_born_machine(machine, data, sweeps=1, learning_rate=0.01, cutoff=0.5)[-1] > losses[-1] + 0.01


@pytest.mark.demonstrates("born-machine-mps", "repo-mps-born")
@pytest.mark.parametrize(("side", "bond_dimension"), [(3, 8), (4, 16), (4, 32)])
def test_bars_and_stripes_are_learnt_to_their_entropy(side, bond_dimension):
    data = bars_and_stripes(side, side, dtype=torch.float64)
    machine = BornMachine(side**2, bond_dimension, dtype=torch.float64, generator=generator())
    losses = fit_born_machine(machine, data, sweeps=15, learning_rate=0.1)
    entropy = math.log(len(data))
    assert -1e-10 < losses[-1].item() - entropy < 0.01
    assert distance_from_canonical(machine) < 1e-10
    # Z by contraction, and by all 2⁹ or 2¹⁶ amplitudes.
    assert machine.log_norm().item() == pytest.approx(0, abs=1e-10)
    assert machine.amplitudes().square().sum().item() == pytest.approx(1, abs=1e-10)
    found = machine.sample(2000, generator=generator(1))
    valid = (found[:, None] == data).all(2).any(1).double().mean()
    assert valid >= 0.99


@pytest.mark.parametrize(("bond_dimension", "least"), [(1, 16 * math.log(2) - math.log(30)), (8, math.log(30 / 23))])
def test_too_narrow_a_bond_cannot_learn_them(bond_dimension, least):
    """One dimension is a product of independent fair bits; eight have at most 23 of 30 parts of the state."""
    data = bars_and_stripes(4, 4, dtype=torch.float64)
    machine = BornMachine(16, bond_dimension, dtype=torch.float64, generator=generator())
    gap = fit_born_machine(machine, data, sweeps=15, learning_rate=0.05)[-1].item() - math.log(30)
    assert gap >= least - 1e-9
    if bond_dimension == 1:
        assert gap == pytest.approx(least, abs=0.01)


def test_sixteen_samples_are_learnt_by_heart():
    samples = bits(10)(400, generator(1)).unique(dim=0)[::20][:16]
    assert len(samples) == 16
    machine = BornMachine(10, 16, generator=generator())
    losses = fit_born_machine(machine, samples, sweeps=15, learning_rate=0.2)
    assert losses[0] < 10 * math.log(2)
    assert losses[-1].item() == pytest.approx(math.log(16), abs=0.01)


def test_a_state_is_found_from_measurements_in_many_bases_and_not_from_bits_alone():
    plus_minus = torch.tensor([[1, 1], [1, -1]], dtype=torch.complex128) / math.sqrt(2)
    circular = torch.tensor([[1, -1j], [1, 1j]], dtype=torch.complex128) / math.sqrt(2)
    kinds = torch.stack([torch.eye(2, dtype=torch.complex128), plus_minus, circular])
    vector = torch.zeros(8, dtype=torch.complex128)
    vector[0], vector[-1] = 1, 1j
    target = BornMachine.from_amplitudes(vector, bond_dimension=2)
    shots = 1500
    bases = kinds[torch.randint(3, (shots, 3), generator=generator(1))]
    fidelities = []
    for given in (bases, kinds[:1].expand(shots, 3, 2, 2)):
        outcomes = target.sample(shots, bases=given, generator=generator(2))
        machine = BornMachine(3, 2, dtype=torch.complex128, generator=generator(3))
        fit_born_machine(machine, outcomes, sweeps=60, learning_rate=0.1, bases=given)
        fidelities.append((machine.amplitudes().conj() @ target.amplitudes()).abs().square().item())
    assert fidelities[0] > 0.98
    assert fidelities[1] < 0.9


def test_no_step_is_longer_than_the_tensor():
    machine = BornMachine.from_amplitudes(torch.tensor([1.0, 0, 0, 1e-6], dtype=torch.float64))
    losses = fit_born_machine(machine, torch.ones(1, 2, dtype=torch.float64), sweeps=1, learning_rate=0.1)
    # There, all but along the sample's amplitude, by 1, to (1, 1) / √2; back by 0.1 · √2 along (−1, 1).
    other, own = (math.sqrt(0.5) + 0.1 * each * math.sqrt(2) for each in (-1, 1))
    # The first step's direction has another part of 1e-6.
    assert losses.item() == pytest.approx(-math.log(own**2 / (own**2 + other**2)), abs=1e-5)


SETTINGS = {"sweeps": 1, "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda machine, x: fit_born_machine(machine, x + 1, **SETTINGS), "samples has other numbers than 0 and 1"),
        (lambda machine, x: fit_born_machine(machine, x[:, :3], **SETTINGS), r"samples is \[2, 3\]"),
        (lambda machine, x: fit_born_machine(machine, x.double(), **SETTINGS), "float64"),
        (lambda machine, x: fit_born_machine(machine, x, sweeps=0, learning_rate=0.1), "sweeps is 0"),
        (lambda machine, x: fit_born_machine(machine, x, sweeps=1, learning_rate=0.0), "learning_rate is 0"),
        (lambda machine, x: fit_born_machine(machine, x, sweeps=1, learning_rate=math.nan), "learning_rate is nan"),
        (lambda machine, x: fit_born_machine(machine, x, **SETTINGS, descents=0), "descents is 0"),
        (lambda machine, x: fit_born_machine(machine, x, **SETTINGS, cutoff=1.0), "cutoff 1"),
        (lambda machine, x: fit_born_machine(machine, x, **SETTINGS, bases=torch.zeros(2, 4, 2)), "bases are"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call(BornMachine(4, 2), torch.ones(2, 4))


def test_a_sample_of_probability_0_is_refused_and_leaves_the_machine_as_it_was():
    machine = BornMachine.from_amplitudes(torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 1]))
    before = [each.detach().clone() for each in machine.tensors]
    with pytest.raises(UsageError, match="probability 0"):
        fit_born_machine(machine, torch.tensor([[0.0, 1, 0]]), **SETTINGS)
    assert all(torch.equal(a, b) for a, b in zip(before, machine.tensors, strict=True))
