"""Leading singular vectors against the singular value decomposition, and where they are not defined."""

import numpy as np
import pytest
import scipy.linalg
import torch

from deepscope.core import MeasurementError, UsageError
from deepscope.linalg import leading_directions, principal_angles


def matrix(rows, cols, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, cols))


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize(("rows", "cols"), [(10, 10), (30, 90), (90, 30)])
@pytest.mark.parametrize("scale", [1.0, 1e-170, 1e170])
def test_spans_are_those_of_the_singular_value_decomposition(rows, cols, k, scale):
    W = matrix(rows, cols)
    found = leading_directions(scale * W, k)
    U, _, Vt = np.linalg.svd(W)
    # The stated bound, twice for the decomposition's own error, and what angles themselves are computed to.
    allowed = 2 * found.error + 1e-13
    assert principal_angles(found.left, U[:, :k])[-1] <= allowed
    assert principal_angles(found.right, Vt[:k].T)[-1] <= allowed
    assert found.error < 1e-10
    for basis in (found.left, found.right):
        assert basis.T @ basis == pytest.approx(np.eye(k), abs=1e-13)


@pytest.mark.parametrize("gap", [1e-2, 1e-6, 1e-9])
def test_the_bound_holds_where_two_singular_values_are_close(gap):
    Q, R = (np.linalg.qr(matrix(60, 60, seed))[0] for seed in (1, 2))
    values = np.linspace(0.5, 0.01, 60)
    values[:2] = 1 + gap, 1.0
    found = leading_directions(Q @ np.diag(values) @ R.T, 1)
    assert principal_angles(found.left, Q[:, :1])[0] <= found.error
    assert principal_angles(found.right, R[:, :1])[0] <= found.error


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_in_float64_whatever_the_type(dtype):
    W = torch.tensor(matrix(20, 30)).to(dtype)
    theirs = scipy.linalg.svd(W.double().numpy())[0][:, :2]
    assert principal_angles(leading_directions(W, 2).left, theirs)[-1] < 1e-12


def test_the_input_is_left_as_it_is():
    W = torch.tensor(matrix(8, 6))
    before = W.clone()
    leading_directions(W, 2)
    assert torch.equal(W, before)


@pytest.mark.parametrize(
    ("W", "k", "said"),
    [
        (np.linalg.qr(matrix(20, 20))[0], 1, "singular value 1 cannot be told from the next"),
        (np.diag([3.0, 2.0, 2.0, 1.0]), 2, "singular value 2 cannot be told from the next"),
        (np.ones((4, 3)), 2, "singular value 2 cannot be told from the next"),
        (np.ones((4, 3)), 3, "singular value 3 is zero"),
        (np.zeros((4, 3)), 1, "all values are zero"),
        (np.full((4, 3), np.inf), 1, "not finite"),
    ],
)
def test_directions_that_are_not_defined_have_a_reason(W, k, said):
    with pytest.raises(MeasurementError, match=said):
        leading_directions(W, k)


@pytest.mark.parametrize(("W", "k"), [(np.eye(3), 0), (np.eye(3), 4), (np.ones(3), 1), (np.ones((0, 3)), 1)])
def test_what_is_no_matrix_or_has_no_such_direction_is_refused(W, k):
    with pytest.raises(UsageError):
        leading_directions(W, k)
