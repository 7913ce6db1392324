from __future__ import annotations

import pytest
import torch
from contract import overfits, squared_error
from largest_tensor import largest_tensor
from recurrences import numbers
from state_spaces import holds, is_refused_where_it_must_be, recurrence
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import S4, discretise, hippo_legs, normal_legs


def small(length: int = 200) -> S4:
    torch.manual_seed(0)
    return S4(3, 8, length=length)


def dense(model: S4) -> tuple[Tensor, Tensor, Tensor]:
    """Ā, B̄ and C, written down from the parameters: the whole matrix, by the bilinear rule, and C̃ (I − Ā^L)⁻¹."""

    def both(half: Tensor) -> Tensor:
        return torch.cat((half, half.conj()), 1)

    A = both(torch.complex(-model.log_A_real.exp(), model.A_imag))
    P, B, truncated = (both(torch.view_as_complex(each)) for each in (model.P, model.B, model.C))
    whole = torch.diag_embed(A) - P[:, :, None] * P[:, None].conj()
    step, identity = model.log_step.exp()[:, None, None], torch.eye(A.shape[1], dtype=A.dtype)
    inverse = torch.linalg.inv(identity - step / 2 * whole)
    A_bar, B_bar = inverse @ (identity + step / 2 * whole), (inverse @ (step * B[..., None]))[..., 0]
    C = truncated[:, None] @ torch.linalg.inv(identity - torch.linalg.matrix_power(A_bar, model.length))
    return A_bar, B_bar, C[:, 0]


# Odd lengths, and even ones, whose middle root of unity is −1, where the paper's formula has a pole.
@pytest.mark.parametrize("length", [1, 2, 151, 200])
def test_the_cauchy_kernel_is_the_naive_one(length: int) -> None:
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        model = small(length).to(dtype)
        A, B, C = dense(small(length).double())
        naive = torch.stack(
            [(C * (torch.linalg.matrix_power(A, k) @ B[..., None])[..., 0]).sum(1).real for k in range(length)], 1
        )
        assert float((model.kernel(length) - naive).norm() / naive.norm()) < tolerance
        without = small(length).to(dtype)
        with torch.no_grad():
            without.P.zero_()
        # Without the part of rank one, of Woodbury's identity, it is another kernel.
        assert float((without.kernel(length) - naive).norm() / naive.norm()) > 0.01


def test_it_begins_as_hippo_legs_by_the_bilinear_rule() -> None:
    """In the basis of the polynomials it is the matrix of the paper, from parameters that are rounded to float32."""
    model = small().double()
    _, columns, _ = normal_legs(8)
    V = torch.cat((columns, columns.conj()), 1)
    A_bar, B_bar, _ = dense(model)
    torch.manual_seed(0)
    C = torch.view_as_real(dense(S4(100, 8, length=50).double())[2])[:, :4]
    # Complex N(0, 1), whose parts have ½: of 800 draws the mean square is off by a share of 0.05, and four of these.
    assert C.square().mean().item() == pytest.approx(0.5, rel=0.2)
    A, B = discretise(*hippo_legs(8), model.log_step.exp())
    torch.testing.assert_close(V @ A_bar @ V.mH, A + 0j, rtol=0, atol=1e-6)
    torch.testing.assert_close(B_bar @ V.T, B + 0j, rtol=0, atol=1e-6)


def test_its_three_views_agree() -> None:
    model = small().double()
    holds(model, dense(model))


def test_what_is_longer_than_its_length_is_read_as_well() -> None:
    model, longer = small(50).double(), small(200).double()
    A, B, C = dense(model)
    x = numbers(2, 200, 3)
    torch.testing.assert_close(model(x), recurrence(A, B, C, x) + model.D * x, rtol=0, atol=1e-10)
    assert longer.kernel(200).shape == model.kernel(200).shape


def test_a_shorter_sequence_takes_the_head_of_the_kernel() -> None:
    model, x = small().double(), numbers(2, 200, 3)
    torch.testing.assert_close(model(x[:, :70]), model(x)[:, :70], rtol=0, atol=1e-12)


def test_the_kernel_takes_memory_for_its_states_and_steps_not_for_their_product() -> None:
    model, length = S4(1, 64, length=2**15), 2**15
    assert largest_tensor(lambda: model.kernel(length)) <= 2**17
    # Of the naive kernel's two, what a state and a step make: 64 × 2¹⁵.
    assert largest_tensor(lambda: model.transfer(length)) >= 64 * length


def test_it_learns_sixteen_samples_by_heart() -> None:
    torch.manual_seed(0)
    x = numbers(16, 3, 4, dtype=torch.float32)
    with torch.no_grad():
        targets = 2 * S4(4, 8, length=3, smallest_step=0.1, largest_step=0.5)(x)
    overfits(S4(4, 8, length=3, smallest_step=0.1), x, targets, squared_error, steps=400, rate=3e-2)


def test_bad_input_is_refused() -> None:
    is_refused_where_it_must_be(small())
    for make in (lambda: S4(3, 7), lambda: S4(3, 8, length=0), lambda: S4(0), lambda: S4(3, 8, smallest_step=0.0)):
        with pytest.raises(UsageError):
            make()
