import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from deepscope.core import Case, UsageError, Verdict
from deepscope.studies.recurrent import _long_lag_training as training
from deepscope.studies.recurrent import _weight_guessing as guessing
from deepscope.studies.recurrent._long_lag_tasks import adding, latch, least_error, parity, two_sequences
from deepscope.studies.recurrent._sequence_reader import CELLS, SequenceReader
from deepscope.studies.recurrent._weight_guessing import least_guessed_error, most_symbols, outputs, solvers
from deepscope.studies.recurrent.lstm_long_lag import GUESSES, RATES, STUDY, judge, trial


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def test_one_number_is_marked_in_each_half_and_their_sum_is_asked_for():
    x, y = adding(500, 12, generator())
    marked = x[..., 1].bool()
    assert x[..., 1].unique().tolist() == [0.0, 1.0]
    assert marked.reshape(500, 2, 6).sum(2).eq(1).all()
    # Every place is marked in some sequence: each is missed with a probability of (5/6)^500.
    assert marked.any(0).all()
    torch.testing.assert_close(x[..., 0][marked].reshape(500, 2).sum(1), y)
    assert 0 <= x[..., 0].min() <= x[..., 0].max() < 1


def test_with_random_markers_nothing_is_better_than_the_mean_of_each_half():
    x, y = adding(40_000, 10, generator(), markers="random")
    numbers = x[..., 0].reshape(-1, 2, 5)
    error = (numbers.mean(2).sum(1) - y).square()
    # Standard error of the mean of 40,000 squares.
    assert error.mean().item() == pytest.approx(least_error(10), abs=4 * error.std().item() / 200)
    # What is marked says nothing: the marked sum is worse, and uncorrelated beyond what the mean holds.
    marked = (x[..., 0] * x[..., 1]).sum(1)
    rest = torch.corrcoef(torch.stack([marked - numbers.mean(2).sum(1), y - numbers.mean(2).sum(1)]))[0, 1]
    assert abs(rest.item()) < 4 / 200
    one, other = adding(3, 10, generator()), adding(3, 10, generator(), markers="random")
    assert torch.equal(one[1], other[1])
    assert not torch.equal(one[0], other[0])


def test_constants_of_the_adding_problem():
    x, y = adding(40_000, 10, generator())
    squares = (y - 1).square()
    assert squares.mean().item() == pytest.approx(1 / 6, abs=4 * squares.std().item() / 200)
    second = (x[:, 5:, 0] * x[:, 5:, 1]).sum(1) + 0.5
    squares = (y - second).square()
    assert squares.mean().item() == pytest.approx(1 / 12, abs=4 * squares.std().item() / 200)


def test_two_sequences_differ_in_their_first_and_last_symbol():
    inputs, targets = two_sequences(100)
    assert inputs.shape == targets.shape == (2, 100)
    assert (inputs[:, 1:] == targets[:, :-1]).all()
    assert (inputs[:, 0] == targets[:, -1]).all()
    assert (inputs[0] != inputs[1]).sum() == (targets[0] != targets[1]).sum() == 1
    assert inputs.min() == 0
    assert inputs.max() == 100


def test_latch_and_parity_have_the_answers_they_should():
    rng = np.random.default_rng(0)
    x, y = latch(2000, 50, rng)
    assert (x[:, 0, 0] == y).all()
    assert y.sum() == 0
    # Standard deviation of a sample variance of 98,000 normal values: 0.2 √(2/98,000) = 0.0009.
    assert x[:, 1:].var() == pytest.approx(0.2, abs=0.004)
    x, y = latch(2000, 50, rng, answers="random")
    assert y.sum() == 0
    # Standard error 1/√2000.
    assert abs(float((x[:, 0, 0] * y).mean())) < 4 / math.sqrt(2000)
    x, y = parity(200, 9, rng)
    assert ((x == -1).sum(axis=(1, 2)) % 2 == (y == -1)).all()


def naive_output(weights, sequence):
    state = [0.0] * len(weights)
    for x in sequence:
        for unit, row in enumerate(weights):
            state[unit] = math.tanh(float(np.dot(row, [*state, *x, 1.0])))
    return state[-1]


def test_a_guess_updates_its_units_one_after_another():
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((3, 4, 4 + 2 + 1)).astype(np.float32)
    inputs = rng.standard_normal((5, 6, 2)).astype(np.float32)
    expected = [[naive_output(network, sequence) for sequence in inputs] for network in weights]
    # float32, six steps of contractions and tanh: some tens of roundings of 6e-8.
    np.testing.assert_allclose(outputs(weights, inputs), expected, atol=1e-5)


def test_a_latch_and_a_parity_that_are_built_by_hand_are_right():
    rng = np.random.default_rng(2)
    holding = np.array([[[40.0, 5.0, 0.0]]], dtype=np.float32)
    x, y = latch(200, 100, rng)
    assert np.abs(outputs(holding, x) - y).max() < 0.1
    # With h = "both are 1" the output s is "one of them is 1, and not h": −s x; an even length makes up for the sign.
    both, one = [0.0, 40.0, 40.0, -20.0], [-80.0, 40.0, 40.0, -20.0]
    x, y = parity(200, 100, rng)
    assert np.abs(outputs(np.array([[both, one]], dtype=np.float32), x) - y).max() < 0.1


def test_solvers_are_counted_and_lucky_guesses_are_not(monkeypatch):
    holding = np.array([[40.0, 5.0, 0.0]], dtype=np.float32)

    def guess(n, rows, columns, rng):
        return np.where(np.arange(n)[:, None, None] < 3, holding, np.float32(0)).astype(np.float32)

    monkeypatch.setattr(guessing, "guesses", guess)
    rng = np.random.default_rng(0)
    assert solvers(50, 1, lambda n: latch(n, 100, rng), rng) == 3
    assert solvers(50, 1, lambda n: latch(n, 100, rng, answers="random"), rng) == 0

    def lucky(n):
        """Answers that the first eight sequences alone share with the first element."""
        x, y = latch(n, 100, rng)
        return x, y if n == 8 else -y

    assert solvers(50, 1, lucky, rng) == 0


def test_the_best_guess_is_tested_on_fresh_sequences(monkeypatch):
    reading = np.array([[0.0, 0.1, 0.0, 0.0]], dtype=np.float32)

    def guess(n, rows, columns, rng):
        found = np.zeros((n, rows, columns), dtype=np.float32)
        found[n // 2] = reading
        return found

    monkeypatch.setattr(guessing, "guesses", guess)
    rng = np.random.default_rng(0)

    def last_number(n):
        x = rng.random((n, 5, 2), dtype=np.float32)
        return x, 2 * x[:, -1, 0] + 1

    # tanh(0.1 x) is linear to 0.1²/3: nothing of the variance 4/12 is left but 1e-6 of it.
    assert least_guessed_error(10, 1, last_number, rng) < 1e-4

    def noise(n):
        return rng.random((n, 5, 2), dtype=np.float32), rng.random(n, dtype=np.float32)

    # Of the variance 1/12 nothing can be explained: 5000 answers, relative standard error 0.013.
    assert least_guessed_error(10, 1, noise, rng) == pytest.approx(1 / 12, rel=0.06)


def test_a_guess_that_knows_one_symbol_predicts_one_of_each_sequence(monkeypatch):
    def guess(n, rows, columns, rng):
        found = np.zeros((n, rows, columns), dtype=np.float32)
        if rows == 11:
            found[:, 4, -1] = 1.0
        return found

    monkeypatch.setattr(guessing, "guesses", guess)
    assert most_symbols(3, 2, 10, np.random.default_rng(0)) == 2 / 20


def test_real_guesses_solve_the_latch_about_as_often_as_the_source_says():
    rng = np.random.default_rng(5)
    found = solvers(4000, 1, lambda n: latch(n, 30, rng), rng)
    # The source: once in 22 guesses, from another range; here many ranges are too narrow to hold.
    assert 4000 / 22 / 8 < found < 4000 / 22 * 2


@pytest.mark.parametrize("cell", CELLS)
def test_a_reader_reads_the_last_step(cell):
    torch.manual_seed(0)
    reader = SequenceReader(cell, 2, 6)
    x = torch.rand(3, 5, 2)
    assert reader(x).shape == (3,)
    changed = x.clone()
    changed[:, -1] += 1
    assert not torch.allclose(reader(x), reader(changed))
    changed = x.clone()
    changed[:, 0] += 1
    assert not torch.equal(reader(x), reader(changed))


def test_readers_begin_as_they_should():
    torch.manual_seed(0)
    lstm = SequenceReader("lstm", 2, 6).recurrent
    total = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach()
    assert torch.equal(total[6:12], torch.ones(6))
    assert (total[:6] != 1).all()
    identity = dict(SequenceReader("identity rnn", 2, 6).recurrent.named_parameters())
    assert torch.equal(identity["layers.0.weight_hh"], torch.eye(6))
    assert not identity["layers.0.bias"].any()
    with pytest.raises(UsageError, match="lstm"):
        SequenceReader("lsmt", 2, 6)


def run(tmp_path, seed=1000):
    return SimpleNamespace(
        seed=seed, device=torch.device("cpu"), progress=lambda done: None, checkpoint=tmp_path / "checkpoint"
    )


def test_training_ends_where_it_has_learned_enough(tmp_path, monkeypatch):
    case = Case(**{**STUDY.defaults, "length": 4, "steps": 1000, "units": 16})
    torch.manual_seed(0)
    monkeypatch.setattr(training, "ENOUGH", 0.02)
    found = trial(case, run(tmp_path))
    assert found["steps_made"] < 1000
    assert found["steps_made"] == 50 * len(found["loss"])
    assert found["loss"][-1] < 0.02 <= found["loss"][-2]
    # 5000 fresh sequences: close to the error of the last batches.
    assert found["test_error"] < 0.03
    # 4 blocks of 16 units with two biases, and the linear map.
    assert found["parameters"] == 4 * 16 * (2 + 16 + 2) + 17


def test_random_markers_cannot_be_learned(tmp_path):
    case = Case(**{**STUDY.defaults, "length": 10, "steps": 150, "units": 16, "answers": "random"})
    torch.manual_seed(0)
    found = trial(case, run(tmp_path))
    assert found["steps_made"] == 150
    # 5000 squares: relative standard error 0.016.
    assert found["test_error"] > 0.95 * least_error(10)


def test_a_task_for_guesses_is_not_trained_on(tmp_path):
    with pytest.raises(UsageError, match="guessing"):
        trial(Case(**{**STUDY.defaults, "task": "parity"}), run(tmp_path))
    with pytest.raises(UsageError, match="adding"):
        trial(Case(**{**STUDY.defaults, "task": "ading"}), run(tmp_path))


def planted_trials(seeds=5, **changes):
    """Return the table of a claim that holds, but for what is changed: ``(task, learner, …)`` to numbers."""
    numbers = {
        "lstm 100": 0.005,
        "gru 100": 0.005,
        "rnn 100 0.003": 0.166,
        "rnn 100 0.01": 0.17,
        "lstm 10": 0.005,
        "gru 10": 0.005,
        "rnn 10 0.003": 0.02,
        "rnn 10 0.01": 0.005,
        "leak": 1.0,
        "latch": 70.0,
        "parity": 8000.0,
        "lucky": 0,
        "guess": 0.08,
        "symbols": 0.05,
        **changes,
    }
    rng = np.random.default_rng(0)
    rows = []

    def add(seed, values, **case):
        rows.append({**STUDY.defaults, **case, "seed": seed, **values})

    for seed in range(seeds):
        noise = {name: value * (1 + 0.02 * rng.standard_normal()) for name, value in numbers.items() if value}
        for length in (100, 10):
            for cell in ("lstm", "gru"):
                add(seed, {"test_error": noise[f"{cell} {length}"]}, learner=cell, length=length)
            for rate in RATES:
                error = noise[f"rnn {length} {rate}"]
                add(seed, {"test_error": error}, learner="rnn", length=length, learning_rate=rate)
        for cell, length in (("lstm", 10), ("gru", 10), ("rnn", 10), ("lstm", 100)):
            error = {"test_error": noise["leak"] * least_error(length)}
            add(seed, error, learner=cell, length=length, answers="random")
        for task in ("latch", "parity"):
            per_solver = noise.get(task)
            add(seed, {"guesses_per_solver": per_solver, "solvers": 5}, task=task, learner="guessing")
        add(seed, {"solvers": numbers["lucky"]}, task="latch", learner="guessing", answers="random")
        add(seed, {"test_error": noise["guess"]}, task="adding", learner="guessing")
        add(seed, {"symbols": noise["symbols"]}, task="two sequences", learner="guessing")
    return pd.DataFrame(rows)


def outcome(trials):
    return Verdict.of(judge(trials), seeds=trials["seed"].nunique()).outcome


def test_a_claim_that_holds_is_reproduced():
    criteria = judge(planted_trials())
    assert [criterion.name for criterion in criteria if criterion.holds is not True] == []
    assert outcome(planted_trials()) == "reproduced"


@pytest.mark.parametrize(
    ("changes", "caught"),
    [
        # Nothing learns, nothing is learned over 10 steps either, a tanh network that can, one that can at one rate.
        ({"lstm 100": 1 / 6}, "LSTM: mean squared test error"),
        ({"gru 100": 1 / 12}, "GRU: mean squared test error"),
        ({"lstm 100": 0.02}, "LSTM: mean squared test error, worst seed"),
        ({"rnn 10 0.003": 1 / 6, "rnn 10 0.01": 1 / 6}, "10 steps, tanh network"),
        ({"rnn 100 0.003": 0.005}, "100 steps, tanh network"),
        ({"rnn 100 0.01": 1 / 12}, "100 steps, tanh network"),
        # A leak, a measurement that every guess passes, guesses that solve the hard tasks or not the easy ones.
        ({"leak": 0.8}, "random markers, LSTM"),
        ({"lucky": 2}, "latch with random answers"),
        ({"guess": 0.02}, "guessing, adding"),
        ({"symbols": 0.9}, "guessing, two sequences"),
        # A search that finds nothing: the constant, a single symbol.
        ({"guess": 1 / 6}, "guessing, adding"),
        ({"symbols": 0.01}, "guessing, two sequences"),
        ({"parity": 10.0 * GUESSES}, "guessing, parity"),
        ({"latch": 0}, "guessing, latch"),
    ],
)
def test_fakes_are_caught(changes, caught):
    trials = planted_trials(**changes)
    failed = [criterion.name for criterion in judge(trials) if criterion.holds is not True]
    assert any(caught in name for name in failed)
    assert outcome(trials) != "reproduced"


def test_one_seed_that_does_not_learn_leaves_it_open():
    trials = planted_trials()
    stuck = (trials["learner"] == "lstm") & (trials["length"] == 100) & (trials["seed"] == 3)
    trials.loc[stuck & (trials["answers"] == "true"), "test_error"] = 0.167
    assert outcome(trials) != "reproduced"


def test_a_missing_rate_of_the_tanh_network_is_no_failure_to_learn():
    trials = planted_trials()
    lost = (trials["learner"] == "rnn") & (trials["length"] == 100) & (trials["learning_rate"] == RATES[0])
    (open_,) = (each for each in judge(trials[~lost]) if "100 steps, tanh network" in each.name)
    assert open_.holds is None
