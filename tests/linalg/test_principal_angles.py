"""Principal angles against closed forms, SciPy's, and what must not change them."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from deepscope.core import UsageError
from deepscope.linalg import principal_angles

# Orthonormal bases carry errors of about n·eps; 40 dimensions and an allowance of ten give 1e-13.
ROUNDING = 1e-13


def orthogonal(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def rotated(angles, n=40, seed=0):
    """Two spans whose principal angles are the ones given: each pair of directions turns in a plane of its own."""
    Q, p = orthogonal(n, seed), len(angles)
    turned = Q[:, :p] * np.cos(angles) + Q[:, p : 2 * p] * np.sin(angles)
    return Q[:, :p], turned


def test_a_span_lies_at_no_angle_to_itself():
    Q = orthogonal(40)[:, :5]
    assert principal_angles(Q, Q) == pytest.approx(np.zeros(5), abs=ROUNDING)


def test_orthogonal_spans_are_at_right_angles():
    Q = orthogonal(40)
    assert principal_angles(Q[:, :3], Q[:, 3:8]) == pytest.approx(np.full(3, math.pi / 2), abs=ROUNDING)


@pytest.mark.parametrize("angle", [1e-12, 1e-9, 1e-5, 0.1, math.pi / 4, 1.5, math.pi / 2 - 1e-9])
def test_a_rotation_by_a_known_angle(angle):
    assert principal_angles(*rotated([angle])) == pytest.approx([angle], abs=ROUNDING)


def test_all_angles_ascending():
    angles = [1e-9, 0.2, 0.7, 1.1]
    assert principal_angles(*rotated(angles[::-1])) == pytest.approx(angles, abs=ROUNDING)


def test_neither_the_basis_nor_its_units_nor_the_order_matter():
    U, V = rotated([1e-9, 0.3, 1.2])
    rng = np.random.default_rng(1)
    there = principal_angles(U, V)
    mixed = principal_angles(U @ (np.eye(3) + 0.3 * rng.normal(size=(3, 3))), V @ np.diag([1e-150, 1.0, 1e150]))
    # A basis of condition c loses a factor c of precision; these have one below 10.
    assert mixed == pytest.approx(there, abs=10 * ROUNDING)
    assert principal_angles(V, U) == pytest.approx(there, abs=ROUNDING)


@pytest.mark.parametrize(("p", "q"), [(1, 1), (3, 7), (7, 3), (15, 20)])
def test_agrees_with_scipy(p, q):
    rng = np.random.default_rng(p)
    U, V = rng.normal(size=(40, p)), rng.normal(size=(40, q))
    # Random bases of p columns in 40 dimensions have a condition number below 100.
    assert principal_angles(U, V) == pytest.approx(scipy.linalg.subspace_angles(U, V)[::-1], abs=100 * ROUNDING)


def test_spans_meet_in_as_many_directions_as_their_dimensions_demand():
    rng = np.random.default_rng(20)
    # 20 + 30 − 40 directions are in both; SciPy's function gives one of them 1.5e-8.
    angles = principal_angles(rng.normal(size=(40, 20)), rng.normal(size=(40, 30)))
    assert angles[:10] == pytest.approx(np.zeros(10), abs=100 * ROUNDING)
    assert angles[10] > 0.01


def test_a_tensor_of_any_type_is_taken():
    U, V = rotated([0.5])
    # float32 holds each number to 6e-8.
    assert principal_angles(torch.tensor(U).float(), torch.tensor(V).float()) == pytest.approx([0.5], abs=1e-6)


@pytest.mark.parametrize(
    ("U", "V", "said"),
    [
        (np.ones((3, 1)), np.ones((4, 1)), "as many rows"),
        (np.ones(3), np.ones((3, 1)), "as many rows"),
        (np.ones((3, 2)), np.ones((3, 1)), "linearly dependent"),
        (np.zeros((3, 1)), np.ones((3, 1)), "linearly dependent"),
        (np.eye(2, 3), np.eye(2), "linearly dependent"),
        (np.full((3, 1), np.nan), np.ones((3, 1)), "not finite"),
    ],
)
def test_what_has_no_angles_is_refused(U, V, said):
    with pytest.raises(UsageError, match=said):
        principal_angles(U, V)
