"""Operators: what they count, and what they refuse."""

import numpy as np
import pytest
import torch

from deepscope.core import UsageError
from deepscope.linalg import LinearOperator


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_are_the_matrix_and_are_counted_by_vectors(dtype):
    A = np.array([[2.0, 1.0], [1.0, -3.0]], dtype=dtype)
    operator = LinearOperator.from_matrix(A)
    block = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]], dtype=operator.dtype)
    # Small integers: exact.
    assert operator.matmat(block).tolist() == (A @ block.numpy()).tolist()
    operator.matmat(block[:, :1])
    assert (operator.n, operator.n_products) == (2, 4)
    assert operator.matmat(block).numpy().dtype == dtype


def test_no_graph_is_kept():
    weight = torch.ones(3, 1, requires_grad=True)
    operator = LinearOperator(lambda block: weight * block, 3, dtype=torch.float32)
    assert not operator.matmat(torch.eye(3)).requires_grad


@pytest.mark.parametrize(
    ("A", "said"),
    [
        (np.ones((2, 3)), "square"),
        (np.ones(4), "square"),
        (np.array([[0.0, 1.0], [2.0, 0.0]]), "not symmetric"),
        (np.eye(2, dtype=np.float16), "float16"),
        (np.eye(2, dtype=np.int64), "int64"),
        (np.ones((0, 0)), "at least one number"),
    ],
)
def test_what_is_no_operator_is_refused(A, said):
    with pytest.raises(UsageError, match=said):
        LinearOperator.from_matrix(A)


@pytest.mark.parametrize(
    ("product", "block"),
    [
        (lambda block: block[:2], torch.ones(3, 1)),
        (lambda block: block.double(), torch.ones(3, 1)),
        (lambda block: block, torch.ones(2, 1)),
        (lambda block: block, torch.ones(3)),
        (lambda block: block, torch.ones(3, 1, dtype=torch.float64)),
    ],
)
def test_blocks_of_the_wrong_kind_are_refused_either_way(product, block):
    with pytest.raises(UsageError, match="not a block of this operator"):
        LinearOperator(product, 3, dtype=torch.float32).matmat(block)
