from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from deepscope.core import UsageError
from deepscope.training import Checkpoint, TensorTrainLinear, fit
from deepscope.training._tensor_train import tensor_train_svd

IN, OUT = [2, 3, 4], [3, 2, 2]


def dense(*, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(24, 12, bias=bias).double()


def by_entries(layer: TensorTrainLinear) -> Tensor:
    """The matrix by the definition: for each entry a product of small matrices."""
    matrix = torch.zeros(layer.out_features, layer.in_features, dtype=layer.cores[0].dtype)
    for row, i in enumerate(product(*map(range, layer.out_modes))):
        for column, j in enumerate(product(*map(range, layer.in_modes))):
            value = torch.ones(1, 1, dtype=matrix.dtype)
            for core, own_i, own_j in zip(layer.cores, i, j, strict=True):
                value = value @ core.detach()[:, own_i, own_j]
            matrix[row, column] = value.item()
    return matrix


def test_the_forward_pass_is_that_of_the_matrix_of_its_definition() -> None:
    torch.manual_seed(1)
    layer = TensorTrainLinear(IN, OUT, [3, 5]).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    matrix = by_entries(layer)
    # Sums of some hundreds of products of order 1.
    assert torch.allclose(layer.matrix(), matrix, rtol=0, atol=1e-12)
    assert torch.allclose(layer(x), linear(x, matrix, layer.bias), rtol=0, atol=1e-12)
    assert layer(x[:0]).shape == (0, 5, 12)
    assert layer(x[0, 0]).shape == (12,)


def test_it_runs_under_autocast() -> None:
    torch.manual_seed(1)
    layer = TensorTrainLinear(IN, OUT, 2)
    x = torch.randn(4, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x.bfloat16())
    # Three products of matrices, each rounded to 2⁻⁸.
    assert (found - layer(x)).abs().max() < 0.05 * layer(x).abs().max()


def test_its_gradients_are_those_of_the_matrix() -> None:
    torch.manual_seed(1)
    layer = TensorTrainLinear(IN, OUT, [2, 3]).double()
    x = torch.randn(5, 24, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(5, 12, dtype=torch.float64)
    found = torch.autograd.grad((layer(x) * weights).sum(), [x, *layer.parameters()])
    expected = torch.autograd.grad((linear(x, layer.matrix(), layer.bias) * weights).sum(), [x, *layer.parameters()])
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)
    small = TensorTrainLinear([2, 2], [1, 2], 2).double()
    assert torch.autograd.gradcheck(small, (x[:2, :4].detach().requires_grad_(),))


def test_at_full_rank_it_is_the_layer() -> None:
    for bias in (True, False):
        layer = dense(bias=bias)
        state = torch.get_rng_state()
        by_rank = TensorTrainLinear.from_linear(layer, IN, OUT, ranks=[6, 8])
        by_accuracy = TensorTrainLinear.from_linear(layer, IN, OUT, accuracy=0.0)
        assert torch.equal(torch.get_rng_state(), state)
        x = torch.randn(7, 24, dtype=torch.float64)
        for found in (by_rank, by_accuracy):
            assert found.ranks == (1, 6, 8, 1)
            assert (found(x) - layer(x)).abs().max() < 1e-10
            assert (found.bias is None) != bias


def unfolded(matrix: Tensor, k: int) -> Tensor:
    tensor = matrix.reshape(*OUT, *IN).permute(0, 3, 1, 4, 2, 5)
    return tensor.reshape(math.prod(tensor.shape[: 2 * k]), -1)


@pytest.mark.parametrize("ranks", [[1, 1], [2, 3], [6, 5], [4, 8], [6, 8]])
def test_the_error_is_that_of_the_dropped_singular_values(ranks: list[int]) -> None:
    layer = dense()
    matrix = layer.weight.detach()
    found = TensorTrainLinear.from_linear(layer, IN, OUT, ranks=ranks)
    error = float((found.matrix().detach() - matrix).norm())
    # Exactly: what the first unfolding drops, and the second of what it leaves.
    U, first, _ = torch.linalg.svd(unfolded(matrix, 1), full_matrices=False)
    left = (U[:, : ranks[0]].mT @ unfolded(matrix, 1)).reshape(ranks[0] * 6, 8)
    second = torch.linalg.svdvals(left)
    squares = float(first[ranks[0] :].square().sum() + second[ranks[1] :].square().sum())
    # Sums of some hundreds of products of order 1.
    assert error == pytest.approx(math.sqrt(squares), abs=1e-12)
    # The theorem's bound: the tails of the unfoldings of the matrix itself, and the best is no less than either.
    tails = [
        float(torch.linalg.svdvals(unfolded(matrix, k))[rank:].square().sum()) for k, rank in enumerate(ranks, start=1)
    ]
    assert math.sqrt(max(tails)) - 1e-12 <= error <= math.sqrt(sum(tails)) + 1e-12


@pytest.mark.parametrize("accuracy", [0.05, 0.3, 0.6, 0.9])
def test_an_accuracy_is_kept_and_with_no_more_rank_than_needed(accuracy: float) -> None:
    layer = dense()
    matrix = layer.weight.detach()
    found = TensorTrainLinear.from_linear(layer, IN, OUT, accuracy=accuracy)
    norm = float(matrix.norm())
    assert float((found.matrix().detach() - matrix).norm()) <= accuracy * norm
    # One rank less at the first cut would drop more than its share.
    rank = found.ranks[1]
    values = torch.linalg.svdvals(unfolded(matrix, 1))
    share = accuracy * norm / math.sqrt(2)
    assert float(values[rank:].norm()) <= share
    assert rank == 1 or float(values[rank - 1 :].norm()) > share


def test_it_is_the_decomposition_of_tensorly() -> None:
    from tensorly.decomposition import tensor_train

    tensor = torch.randn(4, 5, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theirs = tensor_train(tensor.numpy(), rank=[1, 3, 4, 2, 1]).to_tensor()
    cores, error = tensor_train_svd(tensor, ranks=[3, 4, 2])
    ours = torch.einsum("aib,bjc,ckd,dle->ijkl", *cores)
    # Singular vectors are unique up to sign, and the sum is in any case.
    assert torch.allclose(ours, torch.as_tensor(theirs), rtol=0, atol=1e-12)
    assert error == pytest.approx(float((ours - tensor).norm()), abs=1e-12)


def test_a_matrix_of_low_rank_is_found() -> None:
    torch.manual_seed(2)
    low = TensorTrainLinear(IN, OUT, [2, 3], bias=False).double()
    layer = dense(bias=False)
    with torch.no_grad():
        layer.weight.copy_(low.matrix())
    found = TensorTrainLinear.from_linear(layer, IN, OUT, accuracy=1e-10)
    assert found.ranks == (1, 2, 3, 1)
    assert torch.allclose(found.matrix(), layer.weight, rtol=0, atol=1e-10)


def test_its_initial_entries_have_the_variance_of_glorot() -> None:
    torch.manual_seed(0)
    variances = [float(TensorTrainLinear([4, 8, 4], [8, 4, 4], 4).matrix().detach().square().mean()) for _ in range(40)]
    mean = sum(variances) / 40
    error = math.sqrt(sum((each - mean) ** 2 for each in variances) / 39 / 40)
    assert abs(mean - 2 / 256) < 4 * error
    assert error < 0.1 * mean


def test_it_trains_and_its_state_is_complete(tmp_path) -> None:
    x = torch.randn(16, 24, generator=torch.Generator().manual_seed(0))
    runs = []
    for epochs in ((6,), (2, 6)):
        for last in epochs:
            torch.manual_seed(3)
            model = TensorTrainLinear(IN, OUT, 2)
            history = fit(
                model,
                lambda epoch: [(x, x[:, :12])],
                nn.functional.mse_loss,
                optimizer=torch.optim.Adam(model.parameters(), lr=0.02),
                epochs=last,
                checkpoint=Checkpoint(tmp_path / f"{len(epochs)}.ckpt"),
            )
        runs.append(model.state_dict())
        assert history.loss[-1] < history.loss[0]
    assert list(runs[0]) == ["bias", "cores.0", "cores.1", "cores.2"]
    assert all(torch.equal(runs[0][name], each) for name, each in runs[1].items())


def test_its_parameters_are_counted_as_in_the_paper() -> None:
    # The source's layer of 4096 → 4096 in four modes of 8, of rank 4.
    with torch.device("meta"):
        layer = TensorTrainLinear([8] * 4, [8] * 4, 4, bias=False)
    assert sum(each.numel() for each in layer.parameters()) == 64 * (4 + 16 + 16 + 4)


def test_ranks_out_of_range_are_named() -> None:
    for rank in (0, -1, 9, True, 2.5):
        with pytest.raises(UsageError, match="ranks"):
            TensorTrainLinear(IN, OUT, rank)
    # The full ranks are 6 and 8.
    assert TensorTrainLinear(IN, OUT, 8).ranks == (1, 6, 8, 1)
    with pytest.raises(UsageError, match=r"ranks\[0\] is 7(?s:.)*from 1 to 6, the full rank"):
        TensorTrainLinear(IN, OUT, [7, 2])
    with pytest.raises(UsageError, match=r"ranks\[1\] is 0"):
        TensorTrainLinear(IN, OUT, [2, 0])
    with pytest.raises(UsageError, match="as 2 numbers"):
        TensorTrainLinear(IN, OUT, [2])
    with pytest.raises(UsageError, match=r"ranks\[1\] is 8(?s:.)*up to 6: its neighbours"):
        TensorTrainLinear(IN, OUT, [1, 8])


def test_bad_input_is_named() -> None:
    layer = dense()
    for modes in ([24], [2, 12, 0], []):
        with pytest.raises(UsageError, match="in_modes"):
            TensorTrainLinear(modes, [3, 4], 1)
    with pytest.raises(UsageError, match="as many as in_modes"):
        TensorTrainLinear(IN, [3, 4], 1)
    with pytest.raises(UsageError, match=r"product(?s:.)*\[12, 24\]"):
        TensorTrainLinear.from_linear(layer, OUT, IN, accuracy=0.1)
    with pytest.raises(UsageError, match="neither"):
        TensorTrainLinear.from_linear(layer, IN, OUT)
    with pytest.raises(UsageError, match="both"):
        TensorTrainLinear.from_linear(layer, IN, OUT, ranks=1, accuracy=0.1)
    for accuracy in (-0.1, 1.0, math.nan):
        with pytest.raises(UsageError, match="accuracy"):
            TensorTrainLinear.from_linear(layer, IN, OUT, accuracy=accuracy)
    with pytest.raises(UsageError, match="Conv2d"):
        TensorTrainLinear.from_linear(nn.Conv2d(3, 3, 3), IN, OUT, ranks=1)
    found = TensorTrainLinear.from_linear(layer, IN, OUT, ranks=1)
    with pytest.raises(UsageError, match=r"\[\.\.\., 24\]"):
        found(torch.zeros(2, 23, dtype=torch.float64))
    with pytest.raises(UsageError, match="float64"):
        found(torch.zeros(2, 24))
    assert found(torch.full((1, 24), math.nan, dtype=torch.float64)).isnan().all()
