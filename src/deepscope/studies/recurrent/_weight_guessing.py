"""Random weight guessing: recurrent networks are drawn until one happens to solve the task."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from deepscope.studies.recurrent._long_lag_tasks import Floats, two_sequences

#: Guesses that are computed at once.
CHUNK = 2000
#: How close to ±1 an answer must be to be right.
CLOSE = 0.1
#: Of the guesses that explain most of a few sequences, so many are compared on more.
CHOSEN = 100

Draw = Callable[[int], tuple[Floats, Floats]]


def guesses(n: int, rows: int, columns: int, rng: np.random.Generator) -> Floats:
    """Return n matrices of weights, [n, rows, columns], each uniform in [−r, r], r log-uniform in [1, 100].

    >>> guesses(2, 3, 4, np.random.default_rng(0)).shape
    (2, 3, 4)
    """
    widths = 10 ** rng.uniform(0, 2, (n, 1, 1))
    return (widths * rng.uniform(-1, 1, (n, rows, columns))).astype(np.float32)


def outputs(weights: Floats, inputs: Floats) -> Floats:
    """Return the last unit's value at the last step, of every network on every sequence.

    Unit i is tanh(W_i · (s, x, 1)): all units s see one another, the input x and a bias. They are updated one after
    another, so that a unit sees the new values of those before it; all are 0 at first.

    Parameters
    ----------
    weights
        [networks, units, units + features + 1].
    inputs
        [sequences, time, features].

    Returns
    -------
    numpy.ndarray
        [networks, sequences].
    """
    networks, units, _ = weights.shape
    state = np.zeros((units, networks, len(inputs)), dtype=np.float32)
    for x in inputs.swapaxes(0, 1):
        known = np.vstack([x.T, np.ones((1, len(inputs)), dtype=np.float32)])
        for unit in range(units):
            drive = weights[:, unit, units:] @ known
            for other in range(units):
                drive += weights[:, unit, other, None] * state[other]
            state[unit] = np.tanh(drive)
    last: Floats = state[-1]
    return last


def solvers(n: int, units: int, draw: Draw, rng: np.random.Generator) -> int:
    """Return how many of n guesses are right on 8 sequences, then on 100 others, then on 1000 others.

    ``draw(count)`` returns sequences and their answers, ±1.
    """
    found = 0
    tests = [draw(count) for count in (8, 100, 1000)]
    for chunk in _chunks(n, units, tests[0][0].shape[2], rng):
        weights = chunk
        for inputs, answers in tests:
            weights = weights[(np.abs(outputs(weights, inputs) - answers) < CLOSE).all(1)]
        found += len(weights)
    return found


def _chunks(n: int, units: int, features: int, rng: np.random.Generator) -> Iterator[Floats]:
    for done in range(0, n, CHUNK):
        yield guesses(min(CHUNK, n - done), units, units + features + 1, rng)


def least_guessed_error(n: int, units: int, draw: Draw, rng: np.random.Generator) -> float:
    """Return the test error of the best of n guesses, as the variance of the answers that it leaves unexplained.

    The output is scaled by least squares, in favour of the guess. All are compared on 32 sequences, the best 100 of
    them on 1000 others, the best of these is tested on 5000.
    """
    first = draw(32)
    best, scores = [], []
    for weights in _chunks(n, units, first[0].shape[2], rng):
        explained = _explained(weights, *first)
        order = np.argsort(-explained)[:CHOSEN]
        best.append(weights[order])
        scores.append(explained[order])
    kept = np.concatenate(best)[np.argsort(-np.concatenate(scores))[:CHOSEN]]
    winner = int(_explained(kept, *draw(1000)).argmax())
    inputs, answers = draw(5000)
    return float((1 - _explained(kept[[winner]], inputs, answers)[0]) * answers.var())


def _explained(weights: Floats, inputs: Floats, answers: Floats) -> Floats:
    """Return the squared correlation of outputs and answers, by network; 0 where the output is constant."""
    found = outputs(weights, inputs).astype(np.float64)
    found -= found.mean(1, keepdims=True)
    centred = (answers - answers.mean()).astype(np.float64)
    power = (found**2).sum(1) * (centred**2).sum()
    explained: Floats = np.divide((found @ centred) ** 2, power, out=np.zeros(len(found)), where=power > 1e-12)
    return explained


def most_symbols(n: int, units: int, steps: int, rng: np.random.Generator) -> float:
    """Return the largest share of the symbols of ``two_sequences(steps)`` that one of n guesses predicts.

    The prediction is the symbol whose output, a linear map of units and bias, is largest; the units are tanh, fully
    connected, updated at once.
    """
    inputs, targets = two_sequences(steps)
    most = 0.0
    for done in range(0, n, CHUNK // 4):
        count = min(CHUNK // 4, n - done)
        recurrent = guesses(count, units, units + steps + 2, rng)
        readout = guesses(count, steps + 1, units + 1, rng)
        right = np.zeros(count)
        for symbols, wanted in zip(inputs, targets, strict=True):
            state = np.zeros((count, units, 1), dtype=np.float32)
            for symbol, target in zip(symbols, wanted, strict=True):
                drive = recurrent[:, :, :units] @ state + recurrent[:, :, units + symbol, None] + recurrent[:, :, -1:]
                state = np.tanh(drive)
                scores = (readout[:, :, :-1] @ state)[:, :, 0] + readout[:, :, -1]
                right += scores.argmax(1) == target
        most = max(most, float(right.max()) / targets.size)
    return most
