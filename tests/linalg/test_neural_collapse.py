"""Neural collapse of planted features."""

from __future__ import annotations

import numpy as np
import pytest

from deepscope.core import UsageError
from deepscope.linalg import NeuralCollapse, neural_collapse


def simplex(classes: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Corners of a regular simplex around 0, each of length 1, in random directions."""
    corners = np.eye(classes) - 1 / classes
    corners /= np.linalg.norm(corners[0])
    return corners @ np.linalg.qr(rng.normal(size=(d, classes)))[0].T


def twin(H: np.ndarray, y: np.ndarray, W: np.ndarray, b: np.ndarray) -> NeuralCollapse:
    """The definitions, written down with whole covariances."""
    classes = np.unique(y)
    means = np.array([H[y == c].mean(axis=0) for c in classes])
    M = means - means.mean(axis=0)
    between = M.T @ M / len(classes)
    within = np.mean([np.cov(H[y == c].T, bias=True) for c in classes], axis=0)
    lengths = np.linalg.norm(M, axis=1)
    cosines = [M[i] @ M[j] / lengths[i] / lengths[j] for i in range(len(M)) for j in range(len(M)) if i != j]
    mine = W[classes]
    nearest = classes[np.argmin(np.linalg.norm(H[:, None] - means, axis=2), axis=1)]
    return NeuralCollapse(
        within=float(np.trace(within @ np.linalg.pinv(between, rcond=1e-10))) / len(classes),
        norms=float(lengths.std() / lengths.mean()),
        angles=float(np.mean(np.abs(np.array(cosines) + 1 / (len(M) - 1)))),
        duality=float(((mine / np.linalg.norm(mine) - M / np.linalg.norm(M)) ** 2).sum()),
        disagreement=float(np.mean(np.argmax(H @ W.T + b, axis=1) != nearest)),
        n_classes=len(classes),
    )


def test_it_is_the_definitions_written_down() -> None:
    rng = np.random.default_rng(0)
    y = rng.choice([0, 2, 3, 5], size=150, p=[0.4, 0.3, 0.2, 0.1])
    H = rng.normal(size=(150, 7)) + 2 * rng.normal(size=(6, 7))[y] + 4
    W, b = rng.normal(size=(6, 7)), rng.normal(size=6)
    found, expected = neural_collapse(H, y, W, b), twin(H, y, W, b)
    for name in ("within", "norms", "angles", "duality", "disagreement", "n_classes"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9)


def test_a_simplex_has_collapsed_and_each_departure_shows_in_its_own_mark() -> None:
    rng = np.random.default_rng(1)
    corners, y = simplex(5, 12, rng), np.arange(5).repeat(40)

    def marks(means: np.ndarray, noise: float = 0.0, weight: np.ndarray | None = None) -> list[float]:
        H = means[y] + noise * rng.normal(size=(200, 12)) + 3
        centred = corners if weight is None else weight
        found = neural_collapse(H, y, centred, -centred @ np.full(12, 3.0))
        return [found.within, found.norms, found.angles, found.duality, found.disagreement]

    np.testing.assert_allclose(marks(corners), 0, atol=1e-12)
    noisy = marks(corners, noise=0.1)
    # Σ_W = σ²(1 − 1/40) along each of four axes, on which Σ_B has 1/(C − 1): NC1 = σ²·4·4/5, and 200 samples say
    # each variance to 10 %.
    assert noisy[0] == pytest.approx(0.1**2 * (1 - 1 / 40) * 4 * 4 / 5, rel=0.25)
    stretched = corners * 1.0
    stretched[0] *= 3
    assert marks(stretched)[1] > 0.3
    square = np.zeros((5, 12))
    square[np.arange(5), [0, 0, 1, 1, 2]] = [1, -1, 1, -1, 0.01]
    assert marks(square)[2] > 0.2
    # Row c has the corner of class 4 − c: a cosine of 1 for one class and of −1/4 for four, 0 in all.
    assert marks(corners, weight=corners[::-1])[3:] == pytest.approx([2, 0.8], abs=1e-12)
    assert neural_collapse(corners[y], y).duality is None


def test_what_is_independent_of_the_labels_has_not_collapsed() -> None:
    rng = np.random.default_rng(2)
    y = np.arange(10).repeat(50)
    found = [neural_collapse(rng.normal(size=(500, 30)), y).within for _ in range(20)]
    # The means' Gram matrix is Wishart, of nine degrees of freedom in 30 dimensions, and E tr G⁻¹ = 9/(30 − 9 − 1).
    expected = (500 / 10 - 1) * 9 / (30 - 10)
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / np.sqrt(20))
    assert np.std(found) < 0.25 * expected
    corners = simplex(10, 30, rng)
    assert neural_collapse(corners[y] + 0.1 * rng.normal(size=(500, 30)), y).within < 1


def test_scale_rotation_and_order_change_nothing() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 4, 80)
    H, W = rng.normal(size=(80, 6)) + rng.normal(size=(4, 6))[y], rng.normal(size=(4, 6))
    rotation, order = np.linalg.qr(rng.normal(size=(6, 6)))[0], rng.permutation(80)
    before = neural_collapse(H, y, W)
    for factor in (1e-150, 1e150):
        after = neural_collapse(factor * (H @ rotation)[order], y[order], W @ rotation)
        for name in ("within", "norms", "angles", "duality", "disagreement"):
            assert getattr(after, name) == pytest.approx(getattr(before, name), rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((np.zeros((4, 2)), np.array([0, 0, 1, 1])), "same mean"),
        ((np.eye(4), np.array([1, 1, 1, 1])), "samples of 1 class"),
        ((np.eye(4), np.array([0, 1, 1])), "3 labels"),
        ((np.eye(4), np.array([0.0, 1, 1, 0])), "whole number"),
        ((np.full((4, 2), np.nan), np.array([0, 0, 1, 1])), "not finite"),
        ((np.eye(4), np.array([0, 1, 2, 3]), np.eye(3)), "does not fit"),
        ((np.eye(4), np.array([0, 1, 2, 3]), np.zeros((4, 4))), "are zero"),
    ],
)
def test_what_cannot_collapse_is_refused(arguments: tuple[np.ndarray, ...], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        neural_collapse(*arguments)
