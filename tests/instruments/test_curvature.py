"""Curvature against torch's own second derivatives, and closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from curvature_networks import (
    F64,
    SUBJECTS,
    classes,
    classifier,
    cnn,
    dense_hessian,
    differences,
    jacobian,
    language,
    mlp,
    noise,
    prepared,
    theta,
)
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn import functional

from deepscope import Subject
from deepscope.core import MeasurementError, UsageError
from deepscope.figures import to_svg
from deepscope.instruments import Curvature, curvature

#: Second derivatives through a dozen layers in float64: 2e-16 times a few hundred operations.
EXACT = 1e-12


def matrix(subject: Subject, kind: str = "hessian") -> np.ndarray:
    """Return the whole matrix, put together from all of its eigenpairs."""
    n = len(theta(subject.model))
    found = curvature(subject, kind=kind, top=n, vectors=True, density=False, per_layer=False, sharp=False)
    return (found.eigenvectors * found.eigenvalues) @ found.eigenvectors.T


def ends(subject: Subject, **asked: object) -> Curvature:
    """Measure the ends of the spectrum and the trace without writing the matrix down."""
    return curvature(subject, **{"density": False, "per_layer": False, "sharp": False, **asked})


class Twice(nn.Module):
    """A layer behind itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.relu(self.layer(x)))


def output_curvature(subject: Subject) -> tuple[Tensor, Tensor, Tensor]:
    """Return J [n, c, p], softmax probabilities [n, c] and one-hot targets of a classifier."""
    x, y = (torch.cat(each) for each in zip(*subject.data, strict=True))
    p = torch.softmax(subject.model(x), 1).detach()
    return jacobian(subject), p, functional.one_hot(y, p.shape[1]).double()


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_hessian_of_a_network_is_that_of_torch(name: str) -> None:
    subject = SUBJECTS[name]()
    if name == "attention":
        # torch 2.13's vmap gets LayerNorm's row wrong (its Hessian is not even symmetric). Differences of the gradient
        # err by h⁴ = 1e-12 times a sixth derivative, and by rounding over h: 1e-13 times what the gradient sums.
        expected, tolerance = differences(subject).numpy(), 1e-6
    else:
        expected = dense_hessian(subject).numpy()
        tolerance = EXACT * np.abs(expected).max() * len(expected)
    np.testing.assert_allclose(matrix(subject), expected, atol=tolerance, rtol=0)


def test_the_gauss_newton_matrix_is_the_output_curvature_seen_through_the_jacobian() -> None:
    subject = SUBJECTS["mlp"]()
    J, p, _ = output_curvature(subject)
    B = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    expected = torch.einsum("nij,nik,nkl->jl", J, B, J).numpy() / len(p)
    np.testing.assert_allclose(matrix(subject, "ggn"), expected, atol=EXACT * len(expected))


def test_the_gauss_newton_spectrum_is_that_of_the_gram_matrix_of_the_outputs() -> None:
    # With B = SSᵀ the non-zero eigenvalues of Σ JᵀSSᵀJ are those of the matrix of all ⟨SᵀJ, SᵀJ⟩.
    subject = classifier(mlp(widths=(3, 12, 12, 3)), 3)
    J, p, _ = output_curvature(subject)
    S = torch.diag_embed(p.sqrt()) - p[:, :, None] * p.sqrt()[:, None]
    rows = torch.einsum("nji,njp->nip", S, J).flatten(0, 1)
    expected = torch.linalg.eigvalsh(rows @ rows.T / len(p)).flip(0)[:5]
    found = ends(subject, kind="ggn", top=5, tolerance=1e-8, max_products=200)
    assert found.converged
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-8)
    assert found.trace == pytest.approx(float((rows * rows).sum()) / len(p), rel=EXACT)
    assert found.trace_stderr == 0


def test_the_fisher_information_is_the_mean_over_the_models_own_answers() -> None:
    subject = SUBJECTS["mlp"]()
    J, p, _ = output_curvature(subject)
    expected = torch.zeros(J.shape[2], J.shape[2], dtype=F64)
    for answer in range(p.shape[1]):
        g = torch.einsum("nc,ncp->np", p - functional.one_hot(torch.tensor(answer), p.shape[1]), J)
        expected += (g * p[:, answer, None]).T @ g / len(p)
    np.testing.assert_allclose(matrix(subject, "fisher"), expected.numpy(), atol=EXACT * len(expected))


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (functional.mse_loss, noise(7, 3, seed=4)),
        (functional.binary_cross_entropy_with_logits, (noise(7, 3, seed=4) > 0).double()),
    ],
    ids=["squared error", "yes and no"],
)
def test_of_other_likelihoods_the_fisher_information_is_the_gauss_newton_matrix(loss, targets) -> None:
    x = noise(7, 3, seed=1)
    subject = Subject(prepared(mlp()), [(x[:4], targets[:4]), (x[4:], targets[4:])], loss)
    np.testing.assert_array_equal(matrix(subject, "fisher"), matrix(subject, "ggn"))


@pytest.mark.parametrize(
    "loss",
    [
        functional.huber_loss,
        lambda z, t: functional.cross_entropy(z, t.argmax(1), weight=torch.tensor([1.0, 2.0, 3.0], dtype=F64)),
    ],
    ids=["huber", "weighted classes"],
)
def test_a_loss_that_is_no_likelihood_of_one_weight_has_no_fisher_information(loss) -> None:
    subject = Subject(prepared(mlp()), [(noise(7, 3, seed=1), 3 * noise(7, 3, seed=4))], loss)
    with pytest.raises(MeasurementError, match="none of the likelihoods"):
        curvature(subject, kind="fisher")


def test_the_empirical_fisher_is_made_of_per_sample_gradients() -> None:
    subject = SUBJECTS["mlp"]()
    J, p, t = output_curvature(subject)
    g = torch.einsum("nc,ncp->np", p - t, J)
    np.testing.assert_allclose(matrix(subject, "empirical-fisher"), (g.T @ g / len(g)).numpy(), atol=EXACT * 50)
    found = ends(subject, kind="empirical-fisher", top=2)
    assert found.trace == pytest.approx(float((g * g).sum()) / len(g), rel=EXACT)
    assert found.trace_method.startswith("exact")


def test_the_empirical_fisher_of_a_language_model_weighs_samples_by_their_terms() -> None:
    subject = language()
    weights = {name: each.detach() for name, each in subject.model.named_parameters()}
    expected = torch.zeros(len(theta(subject.model)), len(theta(subject.model)), dtype=F64)
    terms = 0.0
    for tokens, targets in subject.data:
        for one, its in zip(tokens, targets, strict=True):
            count = float((its != -100).sum())
            g = grad(
                lambda w, one=one, its=its: subject.loss(functional_call(subject.model, w, (one[None],)), its[None])
            )
            flat = torch.cat([each.reshape(-1) for each in g(weights).values()])
            expected += count * torch.outer(flat, flat)
            terms += count
    np.testing.assert_allclose(matrix(subject, "empirical-fisher"), (expected / terms).numpy(), atol=EXACT * 50)


def test_linear_regression() -> None:
    # L = Σ(xᵀw + b − t)²/n: H = 2·[X 1]ᵀ[X 1]/n.
    X = torch.cat([noise(9, 4), torch.ones(9, 1, dtype=F64)], 1)
    subject = Subject(
        prepared(nn.Linear(4, 1)), [(X[:5, :4], noise(5, 1)), (X[5:, :4], noise(4, 1))], functional.mse_loss
    )
    np.testing.assert_allclose(matrix(subject), (2 * X.T @ X / 9).numpy(), atol=EXACT)


def test_softmax_regression() -> None:
    # H = Σ (diag p − ppᵀ) ⊗ xxᵀ/n.
    x, y = noise(6, 3), classes(6, 4)
    model = prepared(nn.Linear(3, 4, bias=False))
    p = torch.softmax(model(x), 1).detach()
    B = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    expected = sum(torch.kron(b, torch.outer(each, each)) for b, each in zip(B, x, strict=True)) / 6
    np.testing.assert_allclose(matrix(Subject(model, [(x, y)], functional.cross_entropy)), expected.numpy(), atol=EXACT)


def test_a_linear_network_of_two_layers() -> None:
    # f = b·a·x, L = mean (bax − t)²: with s = mean x², r = mean x(bax − t):
    # ∂²/∂a² = 2b²s, ∂²/∂b² = 2a²s, ∂²/∂a∂b = 2abs + 2r.
    x, t = noise(8, 1), noise(8, 1, seed=1)
    model = prepared(nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)))
    a, b = (float(each.detach()) for each in model.parameters())
    s, r = float((x * x).mean()), float((x * (a * b * x - t)).mean())
    off = 2 * a * b * s + 2 * r
    subject = Subject(model, [(x, t)], functional.mse_loss)
    np.testing.assert_allclose(matrix(subject), [[2 * b * b * s, off], [off, 2 * a * a * s]], atol=EXACT)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_trace_of_a_relu_network_is_exact(name: str) -> None:
    subject = classifier(cnn(), 1, 6, 6) if name == "cnn" else classifier(mlp(nn.ReLU), 3)
    H = dense_hessian(subject)
    found = ends(subject, top=2)
    assert found.trace_method.startswith("exact: squared")
    assert found.trace_stderr == 0
    assert found.trace == pytest.approx(float(H.trace()), rel=EXACT)
    sizes = [each.parameters for each in found.layers]
    blocks = [float(part.sum()) for part in torch.split(H.diagonal(), sizes)]
    np.testing.assert_allclose([each.trace for each in found.layers], blocks, rtol=EXACT)


def test_without_the_trace_all_else_is_the_same_and_costs_less() -> None:
    subject = classifier(mlp(nn.ReLU), 3)
    with_trace = curvature(subject, top=2, density=False)
    without = curvature(subject, top=2, density=False, trace=False)
    np.testing.assert_array_equal(without.eigenvalues, with_trace.eigenvalues)
    assert [each.eigenvalue for each in without.layers] == [each.eigenvalue for each in with_trace.layers]
    assert without.cost.backward_passes < with_trace.cost.backward_passes
    assert without.trace is None
    assert {each.trace for each in without.layers} == {None}
    assert ("trace", "not asked for") in without.left_out
    assert without.table()["curvature_fraction"].isna().all()
    # What rests on it is left out, too.
    assert "trace" not in without.summary()
    assert without.glance() == ()
    assert not [each for each in without.findings() if "of the curvature lies in" in each.message]
    assert [each.name for each in without.rescaling.measures] == [
        each.name for each in with_trace.rescaling.measures if each.name != "trace"
    ]
    assert "trace" not in to_svg(without.plot())


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: mlp(nn.Tanh, widths=(6, 4, 4, 3)), "tanh is not piecewise linear"),
        (Twice, "layer.weight is used again on what depends on it"),
    ],
    ids=["tanh", "reused"],
)
def test_elsewhere_the_trace_is_estimated_and_said_to_be(model: Callable[[], nn.Module], reason: str) -> None:
    subject = classifier(model(), 6)
    found = ends(subject, top=2, trace_products=40)
    assert found.trace_method == "estimated from 40 products"
    assert found.trace_stderr > 0
    assert ("exact trace", reason) in found.left_out
    true = float(dense_hessian(subject).trace())
    # The exact trace of the Gauss–Newton matrix is another number, which must not be given for it.
    assert abs(ends(subject, kind="ggn", top=2).trace - true) > 1e-3 * abs(true)
    # Forty draws: Student's interval of 99.9 % reaches 3.6 standard errors.
    assert abs(found.trace - true) <= 3.6 * found.trace_stderr


def test_eigenvalues_lie_within_their_bounds_and_descend() -> None:
    subject = classifier(mlp(widths=(3, 16, 16, 3)), 3, n=20)
    H = dense_hessian(subject).numpy()
    true = np.linalg.eigvalsh(H)[::-1]
    found = curvature(subject, top=6, bottom=2, vectors=True, n_probes=4, n_steps=20, sharp=False)
    assert found.n_parameters > 4 * 20
    assert found.converged
    assert (np.diff(found.eigenvalues) < 0).all()
    assert (np.abs(found.eigenvalues - true[:6]) <= found.errors).all()
    assert (np.abs(found.eigenvalues - true[:6]) <= 0.01 * true[:6]).all()
    assert (np.abs(found.lowest - true[-2:]) <= found.lowest_residuals).all()
    off = np.linalg.norm(H @ found.eigenvectors - found.eigenvectors * found.eigenvalues, axis=0)
    # Residuals hold an allowance for rounding on top, 16·ε·‖H‖.
    np.testing.assert_allclose(found.residuals, off, atol=1e-12)
    assert found.direction(0)["2.weight"].shape == (16, 16)
    assert found.negative.low <= np.sum(true < found.negative.threshold) <= found.negative.high
    integral = np.trapezoid(found.density.value, found.density.grid)
    # The grid reaches four standard deviations of the kernel beyond the ends: 6e-5 of the mass at most is outside.
    assert integral == pytest.approx(1, abs=1e-3)
    for place, layer in enumerate(found.layers):
        begin = sum(each.parameters for each in found.layers[:place])
        block = H[begin : begin + layer.parameters, begin : begin + layer.parameters]
        assert abs(layer.eigenvalue - np.linalg.eigvalsh(block)[-1]) <= 0.01 * abs(layer.eigenvalue)


def test_uneven_batches_weigh_as_all_samples_together() -> None:
    subject = classifier(mlp(), 3)
    x, y = (torch.cat(each) for each in zip(*subject.data, strict=True))
    whole = Subject(subject.model, [(x, y)], subject.loss)
    single = Subject(subject.model, [(x[i : i + 1], y[i : i + 1]) for i in range(len(x))], subject.loss)
    for other in (whole, single):
        np.testing.assert_allclose(matrix(subject), matrix(other), atol=EXACT)


def test_a_part_of_a_network_is_a_diagonal_block() -> None:
    subject = SUBJECTS["mlp"]()
    H = dense_hessian(subject)
    found = curvature(subject.only("2"), top=99)
    block = H[16:36, 16:36]
    np.testing.assert_allclose(found.eigenvalues, torch.linalg.eigvalsh(block).flip(0), atol=EXACT)
    assert {each.name for each in found.parameters} == {"2.weight", "2.bias"}


def test_double_precision_on_request() -> None:
    subject = classifier(mlp(), 3)
    expected = curvature(subject).eigenvalues
    subject.model.float()
    subject.data = [(x.float(), y) for x, y in subject.data]
    # The weights themselves were rounded to 6e-8, the products are not.
    double = curvature(subject, dtype=F64)
    np.testing.assert_allclose(double.eigenvalues, expected, rtol=1e-4, atol=1e-6)
    # 100·ε of float64 times the largest, where float32 allows for 100·6e-8.
    assert double.residuals.max() < 1e-12 < curvature(subject).residuals.max()


def test_more_eigenvalues_than_parameters_are_all_and_told() -> None:
    found = curvature(Subject(nn.Linear(1, 1), [(torch.ones(2, 1), torch.ones(2, 1))], functional.mse_loss), top=5)
    assert len(found.eigenvalues) == 2
    assert ("eigenvalues", "5 were asked for, but there are 2 parameters") in found.left_out


def test_a_budget_too_small_says_how_far_it_came() -> None:
    subject = classifier(mlp(widths=(3, 16, 16, 3)), 3, n=20)
    found = ends(subject, top=6, max_products=9)
    assert not found.converged
    assert "had not converged" in found.status
    assert (found.errors > 0.01 * found.eigenvalues).any()
    true = torch.linalg.eigvalsh(dense_hessian(subject)).flip(0).numpy()
    assert (found.eigenvalues <= true[:6] * (1 + 1e-9)).all()
    assert any("have converged" in finding.message for finding in found.findings())


@pytest.mark.parametrize(
    "asked", [{"kind": "hesian"}, {"top": 0}, {"bottom": -1}, {"n_probes": 1}, {"dtype": torch.half}]
)
def test_bad_arguments_are_refused(asked: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        curvature(SUBJECTS["mlp"](), **asked)


def test_the_largest_eigenvalue_bounds_the_learning_rate() -> None:
    # Gradient descent on a quadratic of curvature λ multiplies the distance by 1 − ηλ a step.
    X = noise(20, 3)
    subject = Subject(prepared(nn.Linear(3, 1, bias=False)), [(X, noise(20, 1))], functional.mse_loss)
    found = curvature(subject)
    bound = next(each for each in found.findings() if each.source == "cohen2021gradient")
    assert f"{2 / found.eigenvalues[0]:.2g}" in bound.message
    H = dense_hessian(subject)
    for rate, grows in ((1.99, False), (2.01, True)):
        step = torch.eye(3, dtype=F64) - rate / found.eigenvalues[0] * H
        assert (torch.linalg.eigvalsh(step).abs().max() > 1) == grows


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("normed", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
def test_weight_normalisation_is_differentiated_twice(normed: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(normed(nn.Linear(3, 4)), nn.Tanh(), nn.Linear(4, 3))
    subject = classifier(model, 3)
    # torch's own second derivatives of its kernel are off by more than half of the largest.
    expected = torch.linalg.eigvalsh(differences(subject)).flip(0)
    found = curvature(subject, top=len(expected), sharp=False, per_layer=False)
    # Fourth order in h = 1e-3, and rounding over h: 1e-16/1e-3.
    np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-9)
