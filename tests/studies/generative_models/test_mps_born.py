"""Born machines on bars and stripes: laws against sums and products, bounds, reconstructed states, planted fakes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from deepscope.core import Case, UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.models import RBM, BornMachine, all_bits
from deepscope.studies.generative_models._bars_and_stripes import excess, law, numbers, pictures, total_variation
from deepscope.studies.generative_models._tomography import BASES, fidelity, state
from deepscope.studies.generative_models.mps_born import BONDS, STUDY

SMALL = Case(**STUDY.defaults, experiment="learn").replace(
    side=2, bond=4, sweeps=30, samples=2000, hidden=4, rbm_steps=5, qubits=3, shots=400
)


class Run:
    """What a trial is handed, as the lab does it."""

    def __init__(self, seed=1000):
        self.seed = seed


def test_laws_are_squares_of_products_over_their_sum():
    machine = BornMachine(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    squares = []
    with torch.no_grad():
        # In no canonical form, and of any norm.
        for index, tensor in enumerate(machine.tensors):
            tensor.mul_(1 + index)
        for x in all_bits(5).int().tolist():
            product = torch.eye(1, dtype=torch.float64)
            for bit, tensor in zip(x, machine.tensors, strict=True):
                product = product @ tensor[:, bit]
            squares.append(product[0, 0].item() ** 2)
    found = law(machine)
    assert found.tolist() == pytest.approx([square / sum(squares) for square in squares], rel=1e-10)
    assert excess(found) < 1e-13
    assert excess(1.001 * found) == pytest.approx(1e-3, rel=1e-6)


def test_numbers_are_places_of_all_bits_and_distances_are_between_laws():
    assert numbers(all_bits(4)).tolist() == list(range(16))
    uniform = torch.full((4,), 0.25)
    assert total_variation(all_bits(2), uniform) == 0
    assert total_variation(torch.zeros(7, 2), uniform) == pytest.approx(0.75)


def test_the_middle_cut_of_bars_and_stripes_holds_what_the_bound_says():
    """Squared Schmidt values 16/30 once and 1/30 14 times; random signs hold no more in few dimensions."""
    amplitudes = torch.zeros(2**16, dtype=torch.float64)
    places = numbers(pictures(4))
    amplitudes[places] = 30**-0.5
    squares = torch.linalg.svdvals(amplitudes.view(256, 256)).square()
    expected = torch.tensor([16.0] + [1.0] * 14, dtype=torch.float64) / 30
    torch.testing.assert_close(squares[:15], expected, rtol=0, atol=1e-12)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        signs = 2.0 * torch.randint(2, (30,), generator=generator) - 1
        amplitudes[places] = signs.double() * 30**-0.5
        held = torch.linalg.svdvals(amplitudes.view(256, 256)).square().cumsum(0)
        for bond in (1, 2, 4, 8):
            assert held[bond - 1] <= (15 + bond) / 30 + 1e-12


def test_a_machine_learns_small_bars_and_stripes_and_is_what_it_says():
    found = STUDY.trial(SMALL, Run())
    assert len(found["curve"]) == 30
    assert found["gap"] == pytest.approx(found["curve"][-1], abs=1e-12)
    assert found["nll"] == pytest.approx(found["gap"] + math.log(6))
    assert 0 <= found["gap"] < 1e-3
    assert found["valid"] > 0.999
    assert max(found["excess"], found["excess_before"]) < 1e-12
    # Six equal probabilities: ½ · 6 · √(2 · 5/36 / (2000 π)) = 0.02 on average.
    assert 0.002 < found["variation"] < 0.06
    assert STUDY.trial(SMALL.replace(samples=0), Run())["variation"] is None


def test_the_exact_machine_is_built():
    found = STUDY.trial(SMALL.replace(experiment="build"), Run())
    assert found["gap"] == pytest.approx(0, abs=1e-12)
    amplitudes = torch.zeros(16)
    amplitudes[numbers(pictures(2))] = 1
    ranks = [int(torch.linalg.matrix_rank(amplitudes.view(2**cut, -1))) for cut in (1, 2, 3)]
    assert found["widest"] == max(ranks)
    assert found["schmidt"] == ranks[1]
    # Too few dimensions leave a gap.
    assert STUDY.trial(SMALL.replace(experiment="build", bond=1), Run())["gap"] > 0.1


def test_a_boltzmann_machine_is_trained_and_its_likelihood_is_a_sum():
    found = STUDY.trial(SMALL.replace(experiment="boltzmann", rbm_rate=1e-9), Run())
    # Untrained it is nearly uniform over 16 pictures.
    assert found["nll"] == pytest.approx(4 * math.log(2), abs=0.01)
    trained = STUDY.trial(SMALL.replace(experiment="boltzmann", rbm_rate=0.5, rbm_steps=1500, hidden=8), Run())
    assert trained["nll"] < found["nll"] - 0.1
    assert trained["gap"] == pytest.approx(trained["nll"] - math.log(6))


def test_sizes_of_the_two_machines_are_equal():
    born, boltzmann = BornMachine(16, 32), RBM(16, STUDY.defaults["hidden"])
    sizes = [sum(each.numel() for each in machine.parameters()) for machine in (born, boltzmann)]
    assert abs(sizes[0] - sizes[1]) < 10


def test_states_and_bases_are_what_they_are_called():
    plus, minus, w = (state(name, 3) for name in ("ghz+", "ghz-", "w"))
    assert plus.abs().square().tolist() == pytest.approx([0.5, 0, 0, 0, 0, 0, 0, 0.5])
    assert (plus.conj() @ minus).abs().item() == pytest.approx(0, abs=1e-15)
    assert w.abs().square().tolist() == pytest.approx([0, 1 / 3, 1 / 3, 0, 1 / 3, 0, 0, 0])
    paulis = [[[1, 0], [0, -1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]]]
    for basis, pauli in zip(BASES, paulis, strict=True):
        # The first row is the bra of the eigenvalue 1.
        turned = basis @ torch.tensor(pauli, dtype=torch.complex128) @ basis.mH
        torch.testing.assert_close(turned, torch.diag(torch.tensor([1, -1], dtype=torch.complex128)))
    assert fidelity(BornMachine.from_amplitudes(plus), plus) == pytest.approx(1)
    assert fidelity(BornMachine.from_amplitudes(plus), w) == pytest.approx(0, abs=1e-15)


def test_states_are_found_from_random_bases_and_phases_are_not_from_one():
    case = SMALL.replace(experiment="reconstruct", bond=2, sweeps=40, shots=1500)
    assert STUDY.trial(case.replace(state="w"), Run())["fidelity"] > 0.97
    found = {name: STUDY.trial(case.replace(state=name, measured="z"), Run())["to_plus"] for name in ("ghz+", "ghz-")}
    assert found["ghz+"] == pytest.approx(found["ghz-"], abs=0.1)
    told = STUDY.trial(case.replace(state="ghz-"), Run())
    assert told["fidelity"] + told["to_plus"] <= 1 + 1e-9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experiment": "learns"}, "unknown experiment"),
        ({"experiment": "reconstruct", "state": "bell"}, "unknown state"),
        ({"experiment": "reconstruct", "state": "w", "measured": "x"}, "unknown measurement"),
    ],
)
def test_what_does_not_exist_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        STUDY.trial(SMALL.replace(**changes), Run())


GAPS = {1: 16 * math.log(2) - math.log(30), 2: 4.9, 4: 2.5, 8: 1.0, 16: 1e-4, 32: 1e-5}


def table(seeds=5, without=None, **changes):
    """Return the trials of a study that reproduces, but for the changes, by condition."""
    rng, rows = np.random.default_rng(0), []
    planted = {
        f"bond{bond}": {
            **{"experiment": "learn", "bond": bond, "gap": gap, "nll": gap + math.log(30), "valid": 0.99},
            **{"excess": 1e-14, "excess_before": 1e-14, "variation": 0.007, "curve": [7.0, gap]},
        }
        for bond, gap in GAPS.items()
    }
    planted |= {
        "build": {"experiment": "build", "bond": 16, "widest": 16, "gap": 1e-14},
        "boltzmann": {"experiment": "boltzmann", "bond": 0, "gap": 0.5},
    }
    for name, measured, bond, found, plus in (
        ("ghz+", "random", 3, 0.994, 0.994),
        ("w", "random", 3, 0.994, 0.0),
        ("ghz+", "random", 1, 0.2, 0.2),
        ("ghz+", "z", 3, 0.9, 0.9),
        ("ghz-", "z", 3, 0.1, 0.9),
    ):
        planted[f"{name}_{measured}{bond}"] = {
            **{"experiment": "reconstruct", "state": name, "measured": measured, "bond": bond},
            **{"fidelity": found, "to_plus": plus},
        }
    for seed in range(seeds):
        for key, values in planted.items():
            if key != without:
                row = {"seed": seed, **values} | changes.get(key, {})
                noise = 1 + 1e-6 * rng.random()
                rows.append({name: value * noise if isinstance(value, float) else value for name, value in row.items()})
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique()).outcome


def wrong(trials):
    return [criterion.name for criterion in STUDY.judge(trials) if not criterion.holds]


def test_what_is_planted_is_reproduced():
    assert verdict(table()) == "reproduced"
    assert [criterion.control for criterion in STUDY.judge(table())] == [False] * 9 + [True] * 8


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"build": {"widest": 32}}, "exact machine: largest bond"),
        ({"build": {"gap": 1e-3}}, "exact machine: −log"),
        ({"bond32": {"gap": 7.69}}, "D = 32: −log"),
        ({"bond16": {"gap": 7.69}}, "D = 16: −log"),
        ({"bond4": {"excess": 1e-3}}, "trained: |Σ P − 1|"),
        ({"bond4": {"excess_before": 1e-3}}, "untrained: |Σ P − 1|"),
        ({"bond32": {"variation": 1.0}}, "D = 32: total variation"),
        ({"ghz+_random3": {"fidelity": 1 / 64}}, "GHZ+: fidelity"),
        ({"w_random3": {"fidelity": 1 / 64}}, "W: fidelity"),
        ({"bond1": {"nll": 10.0}}, "D = 1: −log-likelihood"),
        ({"bond8": {"gap": 0.2}}, "D = 8: −log"),
        ({"ghz-_z3": {"to_plus": 0.1}}, "σz alone"),
        ({"ghz+_random1": {"fidelity": 0.9}}, "GHZ+, product state"),
        ({"boltzmann": {"gap": 0.001}}, "restricted Boltzmann machine"),
    ],
)
def test_each_criterion_catches_what_lacks_the_effect(changes, failing):
    trials = table(**changes)
    assert verdict(trials) == "not reproduced"
    assert [name.startswith(failing) for name in wrong(trials)] == [True]


@pytest.mark.parametrize("without", ["build", "boltzmann", "bond1", "bond8", "bond32", "w_random3", "ghz-_z3"])
def test_missing_conditions_leave_it_open(without):
    assert verdict(table(without=without)) == "inconclusive"


def test_what_is_judged_is_run_and_no_seed_was_explored():
    for scale in ("quick", "full"):
        grid = STUDY.grid(scale)
        assert {case.bond for case in grid.cases if case.experiment == "learn"} == set(BONDS)
        assert all(case.samples for case in grid.cases if case.experiment == "learn" and case.bond == 32)
        assert max(grid.seeds) < 1000


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in ("RBM", "least possible", "D = 8", "fidelity", "sweeps"):
        assert name in svg
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1).iloc[:1]):
        assert STUDY.draw(trials).axes
