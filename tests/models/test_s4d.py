from __future__ import annotations

import math

import pytest
import torch
from contract import overfits, squared_error
from recurrences import numbers
from state_spaces import dense, holds, is_refused_where_it_must_be
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import DSS, S4D, hippo_legs, normal_legs
from deepscope.models._recurrence import Recurrence


def small(**options: str) -> S4D:
    torch.manual_seed(0)
    return S4D(3, 8, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("initial", ["lin", "inv", "legs"])
@pytest.mark.parametrize("method", ["zoh", "bilinear"])
def test_the_kernel_is_that_of_the_recurrence_and_a_vandermonde_product(initial: str, method: str) -> None:
    model = small(initial=initial, method=method).double()
    holds(model, dense(model))
    A = torch.complex(-model.log_A_real.exp(), model.A_imag)
    step = model.log_step.exp()[:, None]
    if method == "zoh":
        A_bar, B_bar = torch.exp(step * A), (torch.exp(step * A) - 1) / A
    else:
        A_bar, B_bar = (1 + step * A / 2) / (1 - step * A / 2), step / (1 - step * A / 2)
    C = torch.view_as_complex(model.C)
    for length in (1, 2, 3, 16, 17, 90):
        vandermonde = A_bar[..., None] ** torch.arange(length)
        expected = 2 * ((C * B_bar)[:, None] @ vandermonde)[:, 0].real
        torch.testing.assert_close(model.kernel(length), expected, rtol=0, atol=1e-12)


def test_in_single_precision_the_kernel_of_a_long_sequence_keeps_its_digits() -> None:
    # The bound of the docstring for one state: 6e-8 × (N/2) π / (e/2) = 4e-6 of its size, and 32 of them.
    torch.manual_seed(0)
    model = S4D(8, 64)
    kernel = model.kernel(20_000)
    exact = model.double().kernel(20_000)
    error = (kernel - exact).abs().amax(1) / exact.abs().amax(1)
    assert error.max().item() < 1e-4
    assert error.median().item() < 1e-5


def test_it_begins_as_its_paper_says() -> None:
    n = torch.arange(4)
    for initial, imaginary in (("lin", math.pi * n), ("inv", 8 / math.pi * (8 / (2 * n + 1) - 1))):
        model = small(initial=initial)
        torch.testing.assert_close(model.A_imag, imaginary.expand(3, 4))
        torch.testing.assert_close(model.log_A_real.exp(), torch.full((3, 4), 0.5))
    for kind, variance in ((S4D, 0.5), (DSS, 1.0)):
        torch.manual_seed(0)
        # Of 6,400 draws the mean square is off by a share of √(2/6400): four of these are 0.07.
        assert kind(100, 64).C.square().mean().item() == pytest.approx(variance, rel=0.07)
    A, _ = hippo_legs(8)
    p = torch.sqrt(torch.arange(8, dtype=torch.float64) + 0.5)
    spectrum = torch.linalg.eigvals(A + torch.outer(p, p))
    expected = spectrum.imag[spectrum.imag > 0].sort().values
    torch.testing.assert_close(small(initial="legs").A_imag, expected.float().expand(3, 4))
    torch.testing.assert_close(spectrum.real, torch.full((8,), -0.5, dtype=torch.float64), rtol=0, atol=1e-12)


def test_legs_is_normal_plus_rank_one() -> None:
    for n in (2, 8, 64):
        A, _ = hippo_legs(n)
        half, columns, p = normal_legs(n)
        V = torch.cat((columns, columns.conj()), 1)
        normal = V * torch.cat((half, half.conj())) @ V.mH
        # In float64, with entries of some 2n.
        torch.testing.assert_close((normal - torch.outer(p, p)).real, A, rtol=0, atol=1e-11)
        torch.testing.assert_close(V.mH @ V, torch.eye(n, dtype=V.dtype), rtol=0, atol=1e-12)


def paper_softmax(model: DSS, length: int) -> Tensor:
    """Proposition 1 of the paper: K = Re(w diag(1/λ) softmax of the rows of P), P_nl = λ_n l Δ, both of each pair."""
    half = torch.complex(-model.log_A_real.exp(), model.A_imag)
    w = torch.view_as_complex(model.C)
    kernel = torch.zeros(model.input_size, length, dtype=half.dtype)
    for eigenvalue, weight in ((half, w), (half.conj(), w.conj())):
        rows = torch.exp((eigenvalue * model.log_step.exp()[:, None])[..., None] * torch.arange(length))
        kernel += ((weight / eigenvalue)[..., None] * rows / rows.sum(-1, keepdim=True)).sum(1)
    return kernel.real


def test_dss_is_the_softmax_of_its_paper() -> None:
    torch.manual_seed(0)
    model = DSS(3, 8, length=40).double()
    torch.testing.assert_close(model.kernel(40), paper_softmax(model, 40), rtol=0, atol=1e-11)
    holds(model, dense(model))


def test_dss_without_length_is_s4d_with_weights_for_both_matrices() -> None:
    torch.manual_seed(0)
    model, other = DSS(3, 8).double(), S4D(3, 8).double()
    own = model.state_dict()
    other.load_state_dict({**own, "B": other.B.detach()})
    torch.testing.assert_close(model.kernel(50), other.kernel(50), rtol=0, atol=1e-12)
    holds(model, dense(model))


@pytest.mark.parametrize("kind", [S4D, DSS])
def test_it_learns_sixteen_samples_by_heart(kind: type[Recurrence]) -> None:
    torch.manual_seed(0)
    x = numbers(16, 3, 4, dtype=torch.float32)
    with torch.no_grad():
        targets = 2 * S4D(4, 8, smallest_step=0.1, largest_step=0.5)(x)
    model = S4D(4, 8, smallest_step=0.1) if kind is S4D else DSS(4, 8, smallest_step=0.1)
    overfits(model, x, targets, squared_error, steps=400, rate=3e-2)


def test_its_parameters_may_lie_anywhere_in_memory() -> None:
    model, x = small(), numbers(2, 9, 3, dtype=torch.float32)
    flat = torch.cat([torch.zeros(1), *(each.detach().flatten() for each in model.parameters())])
    views, start = {}, 1
    for name, each in model.named_parameters():
        views[name] = flat[start : start + each.numel()].view(each.shape)
        start += each.numel()
    torch.testing.assert_close(torch.func.functional_call(model, views, (x,)), model(x), rtol=0, atol=0)


def test_bad_input_is_refused() -> None:
    is_refused_where_it_must_be(small())
    is_refused_where_it_must_be(DSS(3, 8, length=4))
    for make in (
        lambda: S4D(3, 7),
        lambda: S4D(3, 8, initial="random"),
        lambda: S4D(3, 8, method="forward"),
        lambda: DSS(3, 0),
        lambda: DSS(3, 8, length=0),
        lambda: S4D(3, 8, smallest_step=-1.0),
        lambda: DSS(3, 8, largest_step=float("inf")),
    ):
        with pytest.raises(UsageError):
            make()
