"""The Born machine against products of matrices by loops and sums over all bits; its samples against its law."""

from __future__ import annotations

import math

import pytest
import torch
from contract import behaves
from torch import nn

from deepscope.core import UsageError
from deepscope.models import BornMachine, all_bits, bars_and_stripes
from deepscope.models._binary import bits

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
#: Rows are bras: the bases of σx and of σy.
PLUS_MINUS = torch.tensor([[1, 1], [1, -1]], dtype=torch.complex128) / math.sqrt(2)
CIRCULAR = torch.tensor([[1, -1j], [1, 1j]], dtype=torch.complex128) / math.sqrt(2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(sites, bond_dimension, dtype=torch.float64, seed=0):
    """A machine in no canonical form, far from any norm."""
    machine = BornMachine(sites, bond_dimension, dtype=dtype)
    with torch.no_grad():
        for tensor in machine.tensors:
            tensor.copy_(3 * torch.randn(tensor.shape, generator=generator(seed), dtype=dtype))
            seed += 1
    return machine


def products(machine):
    """Twin: Ψ of all bits as matrix products, one by one."""
    found = []
    for x in all_bits(machine.sites).int().tolist():
        product = torch.eye(1, dtype=machine.tensors[0].dtype)
        for bit, tensor in zip(x, machine.tensors, strict=True):
            product = product @ tensor[:, bit]
        found.append(product[0, 0])
    return torch.stack(found).detach()


@DTYPES
@pytest.mark.parametrize(("sites", "bond_dimension"), [(2, 1), (5, 1), (5, 3), (6, 8), (6, 20)])
def test_probabilities_are_squared_products_and_sum_to_one(dtype, sites, bond_dimension):
    machine = drawn(sites, bond_dimension, dtype)
    twin, states = products(machine), all_bits(sites).double()
    z = twin.abs().square().sum()
    with torch.no_grad():
        probabilities = machine(states).exp()
        assert machine.log_norm().item() == pytest.approx(z.log().item(), abs=1e-12)
        assert probabilities.sum().item() == pytest.approx(1, abs=1e-12)
        torch.testing.assert_close(probabilities, twin.abs().square() / z, rtol=1e-11, atol=1e-15)
        overlap = (machine.amplitudes().conj() @ twin).abs() / z.sqrt()
    assert overlap.item() == pytest.approx(1, abs=1e-12)
    # The shapes are those that are of use, and no wider.
    for site, tensor in enumerate(machine.tensors):
        assert tensor.shape[0] == min(bond_dimension, 2**site, 2 ** (sites - site))


def test_it_begins_in_canonical_form_near_the_uniform_distribution():
    machine = BornMachine(10, 8, dtype=torch.float64, generator=generator())
    assert machine.log_norm().item() == pytest.approx(0, abs=1e-13)
    for tensor in list(machine.tensors)[1:]:
        left = len(tensor)
        gram = tensor.detach().reshape(left, -1) @ tensor.detach().reshape(left, -1).T
        torch.testing.assert_close(gram, torch.eye(left, dtype=torch.float64), rtol=0, atol=1e-13)
    entropy = -(machine(all_bits(10).double()).exp() * machine(all_bits(10).double())).sum().item()
    assert 0.7 * 10 * math.log(2) < entropy < 10 * math.log(2)


@DTYPES
def test_a_vector_of_amplitudes_comes_back(dtype):
    vector = torch.randn(64, generator=generator(), dtype=dtype)
    machine = BornMachine.from_amplitudes(vector)
    assert machine.bond_dimension == 8
    torch.testing.assert_close(machine.amplitudes().detach(), vector / vector.norm(), rtol=0, atol=1e-13)
    # The nearest of a lesser bond: what is left out of the middle cut is the least that can be (Eckart and Young).
    values = machine.schmidt_values(3)
    torch.testing.assert_close(values, torch.linalg.svdvals(vector.reshape(8, 8)) / vector.norm(), rtol=0, atol=1e-13)
    less = BornMachine.from_amplitudes(vector, bond_dimension=7)
    fidelity = (less.amplitudes().conj() @ machine.amplitudes()).abs().square().item()
    assert fidelity == pytest.approx(1 - values[-1].square().item(), abs=1e-12)


def test_bars_and_stripes_need_sixteen_dimensions_and_no_more():
    """The uniform law of 30 pictures, exactly; below 16 what is left out is known."""
    data = bars_and_stripes(4, 4, dtype=torch.float64)
    places = (data.long() << torch.arange(15, -1, -1)).sum(1)
    uniform = torch.zeros(2**16, dtype=torch.float64)
    uniform[places] = 1
    machine = BornMachine.from_amplitudes(uniform, bond_dimension=16)
    assert -machine(data).mean().item() == pytest.approx(math.log(30), abs=1e-10)
    assert max(int((machine.schmidt_values(bond) > 1e-10).sum()) for bond in range(1, 16)) == 16
    # Two rows above and two below: each of 14 bars goes with itself, and each of four stripes with all four.
    expected = torch.tensor([16.0] + [1.0] * 14 + [0.0]).double() / 30
    torch.testing.assert_close(machine.schmidt_values(8).square(), expected, rtol=0, atol=1e-12)
    assert machine.amplitudes().square().sum().item() == pytest.approx(1, abs=1e-12)
    less = BornMachine.from_amplitudes(uniform, bond_dimension=8)
    assert -less(data).mean().item() > math.log(30) - math.log(23 / 30)


@DTYPES
def test_samples_are_draws_of_the_law(dtype):
    machine, n = drawn(4, 4, dtype, seed=2), 20_000
    states = all_bits(4).double()
    expected = n * machine(states).exp().detach()
    found = machine.sample(n, generator=generator(5))
    counts = torch.stack([(found == state).all(1).sum() for state in states])
    kept = expected > 5
    # Chi-square of at most 15 degrees of freedom: above 37.7 once in a thousand seeds; of another law it is by far.
    assert float(((counts - expected).square() / expected)[kept].sum()) < 37.7
    assert int(counts[~kept].sum()) < 5 * int((~kept).sum()) + 20
    wrong = n * drawn(4, 4, dtype, seed=3)(states).exp().detach()
    assert float(((counts - wrong).square() / wrong).sum()) > 1000


def test_measurements_in_any_local_basis_are_those_of_the_rotated_state():
    machine, states = drawn(3, 2, torch.complex128), all_bits(3).double()
    turned = [PLUS_MINUS, torch.eye(2, dtype=torch.complex128), CIRCULAR]
    unitary = torch.kron(torch.kron(turned[0], turned[1]), turned[2])
    twin = (unitary @ products(machine)).abs().square()
    bases = torch.stack(turned).expand(8, -1, -1, -1)
    with torch.no_grad():
        probabilities = machine(states, bases).exp()
    torch.testing.assert_close(probabilities, twin / twin.sum(), rtol=0, atol=1e-13)
    n = 20_000
    found = machine.sample(n, bases=bases[:1].expand(n, -1, -1, -1), generator=generator(1))
    counts = torch.stack([(found == state).all(1).sum() for state in states])
    # Chi-square of 7 degrees of freedom.
    assert float(((counts - n * probabilities).square() / (n * probabilities)).sum()) < 24.3
    assert float(((counts - n * machine(states).exp().detach()).square() / (n * probabilities)).sum()) > 1000


def test_phases_of_a_cat_state_are_seen_in_other_bases_only():
    """GHZ± differ in no measurement of bits; of σx on all, the product of outcomes is ±1."""
    n, shots = 4, 200
    pictures = []
    for sign in (1.0, -1.0):
        vector = torch.zeros(2**n, dtype=torch.complex128)
        vector[0], vector[-1] = 1, sign
        machine = BornMachine.from_amplitudes(vector, bond_dimension=2)
        pictures.append(machine(all_bits(n).double()).exp())
        bases = PLUS_MINUS.expand(shots, n, 2, 2)
        parity = machine.sample(shots, bases=bases, generator=generator()).sum(1) % 2
        assert (parity == (sign < 0)).all()
    torch.testing.assert_close(pictures[0], pictures[1])
    # Impossible ones are so.
    assert machine(torch.tensor([[0.0, 1, 0, 1]], dtype=torch.float64)).item() == -math.inf


def test_long_chains_stay_within_range():
    machine = BornMachine(800, 4, generator=generator())
    with torch.no_grad():
        for tensor in machine.tensors:
            tensor.mul_(7)
        x = machine.sample(5, generator=generator())
        # 7⁸⁰⁰ and 2⁻⁸⁰⁰ have no float32; a fair law has 800 log 2 nats, and this one less.
        assert machine.log_norm().item() == pytest.approx(2 * 800 * math.log(7), rel=1e-3)
        found = machine(x)
    assert ((found > -800 * math.log(2) * 1.05) & (found < -133)).all()


def test_all_tensors_learn_sixteen_samples_by_gradient_descent():
    """The other way of training: Adam on all at once, through the exact normalisation."""
    machine = BornMachine(8, 16, generator=generator(0))
    samples = bits(8)(400, generator(1)).unique(dim=0)[:16]
    optimizer = torch.optim.Adam(machine.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        loss = -machine(samples).mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < math.log(16) + 0.02


def test_contract():
    first, other = (BornMachine(5, 4, generator=generator(seed)) for seed in (0, 1))
    behaves(first, other, torch.rand(6, 5, generator=generator()))
    assert sum(each.numel() for each in BornMachine(16, 32).parameters()) == 15_016
    draws = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        draws.append(BornMachine(5, 4, generator=generator(9)).sample(4, generator=generator(3)))
        assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(*draws)


def test_a_batch_is_its_samples_and_gradients_are_those_of_differences():
    machine = drawn(4, 3)
    x = torch.rand(3, 4, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(machine(x), torch.cat([machine(each[None]) for each in x]), rtol=0, atol=1e-12)
    names = list(dict(machine.named_parameters()))

    def loss(*tensors):
        return torch.func.functional_call(machine, dict(zip(names, tensors, strict=True)), (x,)).sum()

    tensors = tuple(nn.Parameter(each.detach().clone()) for each in machine.parameters())
    assert torch.autograd.gradcheck(loss, tensors, eps=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: BornMachine(1, 2), "sites is 1"),
        (lambda: BornMachine(0, 2), "sites is 0"),
        (lambda: BornMachine(4, 0), "bond_dimension is 0"),
        (lambda: BornMachine(4, 2)(torch.zeros(2, 3)), r"\[2, 3\]"),
        (lambda: BornMachine(4, 2)(torch.zeros(2, 4).long()), "int64"),
        (lambda: BornMachine(4, 2)(torch.zeros(2, 4), torch.zeros(2, 3, 2, 2)), r"bases are \[2, 3, 2, 2\]"),
        (lambda: BornMachine(4, 2)(torch.zeros(2, 4), PLUS_MINUS.expand(2, 4, 2, 2)), "complex"),
        (lambda: BornMachine(4, 2)(torch.zeros(2, 4), torch.ones(2, 4, 2, 2)), "not unitary"),
        (lambda: BornMachine(4, 2)(torch.zeros(2, 4), torch.full((2, 4, 2, 2), torch.nan)), "not unitary"),
        (lambda: BornMachine(4, 2).sample(0), "n is 0"),
        (lambda: BornMachine(4, 2).sample(2, bases=torch.zeros(1, 4, 2, 2)), r"bases are \[1, 4, 2, 2\]"),
        (lambda: BornMachine(4, 2).schmidt_values(0), "bond is 0"),
        (lambda: BornMachine(4, 2).schmidt_values(4), "bond is 4"),
        (lambda: BornMachine(23, 2).amplitudes(), "23 sites"),
        (lambda: BornMachine.from_amplitudes(torch.zeros(8)), "not all 0"),
        (lambda: BornMachine.from_amplitudes(torch.ones(6)), r"\[6\]"),
        (lambda: BornMachine.from_amplitudes(torch.ones(2)), r"\[2\]"),
        (lambda: BornMachine.from_amplitudes(torch.ones(8).long()), "int64"),
        (lambda: BornMachine.from_amplitudes(torch.full((8,), torch.nan)), "finite"),
        (lambda: BornMachine.from_amplitudes(torch.ones(8), bond_dimension=0), "bond_dimension is 0"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
