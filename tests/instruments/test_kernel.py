"""The tangent kernel against dense Jacobians, closed forms, and its own invariants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from deepscope.core import MeasurementError, UsageError
from deepscope.instruments import Kernel, _kernel_gram, kernel
from deepscope.subject import Subject


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mlp(width: int = 8, classes: int = 3) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, classes)).double()


def cnn() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, groups=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 2, groups=2), nn.GELU(), nn.Flatten(), nn.Linear(16, 3),
    ).double()  # fmt: skip


class Placed(nn.Module):
    """Attention behind a parameter that is no layer's, whose gradients are written out."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(3, 4))
        self.attention, self.out = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.place
        return self.out(self.attention(x, x, x, need_weights=False)[0].cumsum(1).tanh().mean(1))


def attention() -> nn.Module:
    torch.manual_seed(1)
    return Placed().double()


def dense(model: nn.Module, x: Tensor) -> Tensor:
    """The kernel by whole Jacobians, [n, n, c, c]."""
    parameters = {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}

    def outputs(values: dict[str, Tensor], sample: Tensor) -> Tensor:
        return functional_call(model, values, (sample[None],))[0]

    rows = [each.flatten(2) for each in vmap(jacrev(outputs), (None, 0))(parameters, x).values()]
    return sum(torch.einsum("iap,jbp->ijab", each, each) for each in rows)


# What the dense way runs through vmap is slow there, and says so.
@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize(
    ("model", "shape"),
    [(mlp(), (11, 4)), (cnn().eval(), (7, 1, 8, 8)), (attention(), (7, 3, 4))],
    ids=["mlp", "cnn", "attention"],
)
def test_gram_is_that_of_dense_jacobians(model: nn.Module, shape: tuple[int, ...]) -> None:
    x = noise(*shape)
    expected = dense(model, x).numpy()
    # Uneven batches, and only so many of the samples.
    data = [(x[:4], None), (x[4:5], None), (x[5:], None)]
    full = kernel(Subject(model, data), samples=6)
    np.testing.assert_allclose(full.gram, expected[:6, :6], rtol=1e-10, atol=1e-12 * expected.max())
    trace = kernel(Subject(model, data), outputs="trace")
    summed = np.einsum("ijaa->ij", expected)
    np.testing.assert_allclose(trace.gram, summed, rtol=1e-10, atol=1e-12 * expected.max())
    # Eigenvalues against those of the dense matrix, and theorems: Σλ = tr K, and ≥ 0.
    matrix = expected[:6, :6].transpose(0, 2, 1, 3).reshape(18, 18)
    np.testing.assert_allclose(full.eigenvalues, np.linalg.eigvalsh(matrix)[::-1], atol=1e-10 * expected.max())
    assert full.eigenvalues.sum() == pytest.approx(full.trace, rel=1e-12)
    assert trace.eigenvalues.min() >= -1e-10 * trace.eigenvalues.max()
    assert [each.reason for each in full.left_out] == ["the samples after the first 6"]


def test_directions_give_the_kernel_in_the_mean_with_its_error() -> None:
    model, x = mlp(classes=12), noise(6, 4)
    subject, expected = Subject(model, [(x, None)]), np.einsum("ijaa->ij", dense(model, x).numpy())
    found = [
        kernel(subject, outputs="trace", directions=16, generator=torch.Generator().manual_seed(seed))
        for seed in range(60)
    ]
    grams = np.array([each.gram for each in found])
    # The mean of 60 draws, at most four of their standard errors away: 21 numbers, 1.3e-3 to fail by chance.
    errors = grams.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(grams.mean(axis=0) - expected) < 4 * errors).all()
    # The bound of the docstring on the scatter of an entry.
    norms = np.sqrt(np.diag(expected))
    assert (grams.std(axis=0) < 1.3 * np.sqrt(2 / 16) * np.outer(norms, norms)).all()
    # Each reading's own error is the scatter of the readings: 1/√(2·60) of either is 9 %, three of them.
    own = np.sqrt(np.mean([each.trace_stderr**2 for each in found]))
    assert own == pytest.approx(np.std([each.trace for each in found], ddof=1), rel=0.3)
    assert found[0].trace == pytest.approx(found[0].gram.trace(), rel=1e-6)
    assert (found[0].n_outputs, found[0].n_directions) == (12, 16)
    assert "16 random directions" in found[0].left_out[-1].reason
    assert kernel(subject, outputs="trace").trace_stderr == 0
    # The same seed gives the same directions, so that two networks are seen along the same ones.
    again = kernel(subject, outputs="trace", directions=16, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(again.gram, grams[0])


def test_directions_are_the_same_for_all_samples_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(cnn().eval(), [(noise(7, 1, 8, 8), None)])
    expected = kernel(subject, outputs="trace", directions=5).gram
    assert np.linalg.eigvalsh(expected).min() > -1e-12 * expected.max()
    monkeypatch.setattr(_kernel_gram, "BLOCK_BYTES", 2**12)
    monkeypatch.setattr(_kernel_gram, "_ROWS", 10)
    np.testing.assert_allclose(kernel(subject, outputs="trace", directions=5).gram, expected, rtol=1e-10)


def test_shares_of_layers_are_those_of_the_trace() -> None:
    model, x = mlp(), noise(9, 4)
    whole = kernel(Subject(model, [(x, None)]))
    assert sum(layer.share for layer in whole.layers) == pytest.approx(1, rel=1e-12)
    for layer in whole.layers:
        part = kernel(Subject(model, [(x, None)]).only(layer.name))
        assert part.trace == pytest.approx(layer.share * whole.trace, rel=1e-10)


def test_blocks_that_do_not_fit_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(cnn(), [(noise(7, 1, 8, 8), None)])
    expected = {outputs: kernel(subject, outputs=outputs).gram for outputs in ("full", "trace")}
    monkeypatch.setattr(_kernel_gram, "BLOCK_BYTES", 2**14)
    monkeypatch.setattr(_kernel_gram, "_ROWS", 4)
    for outputs, gram in expected.items():
        again = kernel(subject, outputs=outputs)
        np.testing.assert_allclose(again.gram, gram, rtol=1e-10, atol=1e-13 * gram.max())
        assert again.cost.forward_passes > 7


def test_samples_of_different_lengths_have_one_kernel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten()).double()
    short, long = noise(3, 5, 3), noise(2, 8, 3)
    found = kernel(Subject(model, [(short, None), (long, None)]))
    rows = []
    for x in (*short.split(1), *long.split(1)):
        outputs = model(x)[0]
        rows.append(
            torch.stack(
                [
                    torch.cat([g.flatten() for g in torch.autograd.grad(o, model.parameters(), retain_graph=True)])
                    for o in outputs
                ]
            )
        )
    J = torch.stack(rows)
    np.testing.assert_allclose(found.gram, torch.einsum("iap,jbp->ijab", J, J).numpy(), rtol=1e-10, atol=1e-12)


def test_a_path_that_some_samples_do_not_take_adds_nothing_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Routed(nn.Module):
        """Each batch takes one of two layers, by the sign of its first input."""

        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(2, 1).double(), nn.Linear(2, 1).double()

        def forward(self, x: Tensor) -> Tensor:
            rows = [self.left(row) if row[0] > 0 else self.right(row) for row in x]
            return torch.stack(rows)

    x = torch.tensor([[1.0, 2.0], [-1.0, 1.0], [2.0, 1.0]], dtype=torch.float64)
    # Per row, not per batch, the layers see no samples' dimension: the rule does not hold, and rows are written out.
    found = kernel(Subject(Routed(), [(x, None)]), outputs="trace")
    expected = (x @ x.T + 1) * torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=torch.float64)
    np.testing.assert_allclose(found.gram, expected.numpy(), rtol=1e-12)
    assert {layer.status for layer in found.layers} != {"ok"}
    monkeypatch.setattr(_kernel_gram, "_ROWS", 1)
    again = kernel(Subject(Routed(), [(x, None)]), outputs="trace")
    np.testing.assert_allclose(again.gram, expected.numpy(), rtol=1e-12)


def test_what_stays_behind_when_memory_runs_out_is_halved() -> None:
    tried = []

    def small(model: nn.Module, x: Tensor) -> Tensor:
        tried.append(len(x))
        if len(x) > 3:
            raise torch.OutOfMemoryError("too large")
        return model(x)

    model, x = mlp(), noise(10, 4)
    expected = kernel(Subject(model, [(x, None)]), outputs="trace").gram
    found = kernel(Subject(model, [(x, None)], forward=small), outputs="trace").gram
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert max(tried) == 10

    def none(model: nn.Module, x: Tensor) -> Tensor:
        # The proof on two samples passes, and what comes after it does not.
        tried.append(len(x))
        if len(tried) > 6:
            raise torch.OutOfMemoryError("too large")
        return model(x)

    tried.clear()
    with pytest.raises(MeasurementError, match="out of memory with a single sample"):
        kernel(Subject(model, [(x, None)], forward=none), outputs="trace")


def test_alignment_and_rank_in_closed_form() -> None:
    # One output, f = w·x: K = x·x′. With x = ±1 and labels by its sign, K and YYᵀ are proportional once centred.
    x = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]], dtype=torch.float64)
    layer = nn.Linear(1, 1, bias=False).double()
    found = kernel(Subject(layer, [(x, 3 * x)]))
    assert found.alignment == pytest.approx(1, abs=1e-12)
    assert found.effective_rank == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found.eigenvalues, [4, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.label_shares, [1, 0, 0, 0], atol=1e-12)
    # Orthogonal inputs: K = I, all directions alike.
    eye = torch.eye(5, dtype=torch.float64)
    found = kernel(Subject(nn.Linear(5, 1, bias=False).double(), [(eye, None)]), outputs="trace")
    assert found.effective_rank == pytest.approx(5, rel=1e-12)
    assert found.alignment is None
    assert found.labels_status == "there are no targets"


def test_drift_of_scaled_and_of_other_weights() -> None:
    model, x = mlp(), noise(12, 4)
    start = kernel(Subject(model, [(x, None)]))
    same = start.drift(start)
    assert same.distance == pytest.approx(0, abs=1e-12)
    assert same.alignment is not None
    assert same.alignment.value == pytest.approx(1, abs=1e-12)
    assert same.scale == 1
    other = kernel(Subject(mlp(), [(x, None)]), outputs="trace")
    assert start.drift(other).distance == pytest.approx(0, abs=1e-12), "a full kernel is compared by its trace"
    with torch.no_grad():
        model[0].weight.mul_(3)
    moved = start.drift(kernel(Subject(model, [(x, None)])))
    assert 1e-3 < moved.distance < 1
    K, L = start.gram, kernel(Subject(model, [(x, None)])).gram
    cosine = (K * L).sum() / np.sqrt((K**2).sum() * (L**2).sum())
    assert moved.distance == pytest.approx(1 - cosine, rel=1e-9)
    assert moved.scale == pytest.approx(np.einsum("iiaa", L) / np.einsum("iiaa", K), rel=1e-12)
    with pytest.raises(UsageError, match="other samples"):
        start.drift(kernel(Subject(model, [(x[:5], None)])))


def test_regression_with_a_kernel_that_holds_the_labels_finds_them() -> None:
    x = noise(40, 4)
    classes = (x[:, 0] > 0).long()
    torch.manual_seed(0)
    model = nn.Linear(4, 2).double()
    reading = kernel(Subject(model, [(x, classes)]))
    regression = reading.regression
    assert regression is not None
    assert regression.score == "accuracy"
    # Labels that are linear in the inputs, but for their sign; chance is a half.
    assert regression.kernel_low > 0.7
    assert regression.network is not None
    own = float((model(x).argmax(1) == classes).double().mean())
    assert regression.network == pytest.approx(own)
    subject = Subject(nn.Linear(4, 1).double(), [(x, x[:, :1])])
    linear = kernel(subject).regression
    assert linear is not None
    assert linear.score == "R²"
    # f = w·x + b holds the targets exactly: what is left is the ridge, 1e-6 of the mean eigenvalue.
    assert linear.kernel > 1 - 1e-6
    assert linear.agreement is None
    with torch.no_grad():
        subject.model.weight.zero_()
    # A network that puts out one number for all samples is behind it: R² is 0 at most.
    assert any("does better than the network" in each.message for each in kernel(subject).findings())


def test_reading_survives_the_disk_with_its_eigenvalues(tmp_path: Path) -> None:
    reading = kernel(Subject(mlp(), [(noise(6, 4), torch.arange(6) % 3)]))
    values = reading.eigenvalues
    reading.save(tmp_path)
    again = Kernel.load(tmp_path)
    assert again == reading
    np.testing.assert_array_equal(again.eigenvalues, values)


def test_a_sample_that_is_not_finite_is_named() -> None:
    x = noise(6, 4).abs()
    x[4, 1] = -1
    model = mlp()
    with pytest.raises(MeasurementError, match="first at sample 4"):
        kernel(Subject(model, [(x, None)], forward=lambda net, inputs: net(inputs.sqrt())))


def test_wrong_arguments_and_too_large_kernels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(mlp(), [(noise(6, 4), None)])
    with pytest.raises(UsageError, match="at least 1"):
        kernel(subject, samples=0)
    with pytest.raises(UsageError, match=r"(?s)unknown outputs: sum.*trace"):
        kernel(subject, outputs="sum")
    for wrong in ({"outputs": "full", "directions": 9}, {"outputs": "trace", "directions": 1}):
        with pytest.raises(UsageError, match=r'(?s)random directions.*outputs="trace"'):
            kernel(subject, **wrong)
    monkeypatch.setattr(_kernel_gram, "MOST_VALUES", 6 * 6)
    kernel(subject, outputs="trace")
    with pytest.raises(MeasurementError, match=r'(?s)324 values.*outputs="trace"'):
        kernel(subject)
    monkeypatch.setattr(_kernel_gram, "MOST_OUTPUTS", 2)
    with pytest.raises(MeasurementError, match="3 outputs, more than 2"):
        kernel(subject)


def test_frozen_and_written_out_parameters_are_told() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ConvTranspose1d(3, 2, 2), nn.Flatten()).double()
    model[0].bias.requires_grad_(False)
    subject = Subject(model, [(noise(5, 3, 4), None)])
    reading = kernel(subject)
    assert ("0.bias", "frozen (requires_grad=False)") in reading.left_out
    layers = {layer.name: layer for layer in reading.layers}
    assert layers["0"].parameters == 16
    assert layers["0"].status == "ok"
    assert "written out for every sample" in layers["1"].status


def test_a_wide_network_reaches_the_analytic_kernel() -> None:
    """f = √(1/m) Σ v_k relu(w_k·x √(2/d)) has the sum of two arc-cosine kernels as its limit, at the rate m^(-1/2)."""
    x = noise(6, 8, seed=3)
    inner = 2 * (x @ x.T) / 8
    norms = inner.diagonal().sqrt()
    cosine = (inner / norms[:, None] / norms[None]).clamp(-1, 1)
    angle = cosine.acos()
    upper = norms[:, None] * norms[None] * (angle.sin() + (torch.pi - angle) * cosine) / (2 * torch.pi)
    lower = inner * (torch.pi - angle) / (2 * torch.pi)
    expected = (upper + lower).numpy()

    def error(width: int, seed: int) -> float:
        w, v = noise(width, 8, seed=seed), noise(1, width, seed=1000 + seed)
        model = nn.Sequential(nn.Linear(8, width, bias=False), nn.ReLU(), nn.Linear(width, 1, bias=False)).double()
        with torch.no_grad():
            model[0].weight.copy_(w)
            model[2].weight.copy_(v)

        def forward(net: nn.Module, inputs: Tensor) -> Tensor:
            return net[2](net[1](net[0](inputs * (2 / 8) ** 0.5))) / width**0.5

        found = kernel(Subject(model, [(x, None)], forward=forward), outputs="trace").gram
        # Parameters are standard normal with their scale in the forward pass: that of the first layer's inputs, which
        # stands in ``inner``, is the only one in the kernel.
        return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))

    widths = np.array([64, 256, 1024])
    errors = np.array([np.mean([error(width, seed) for seed in range(12)]) for width in widths])
    slope = np.polyfit(np.log(widths), np.log(errors), 1)[0]
    # The mean of twelve errors, each of relative spread about a third, errs by 0.1; over a factor 16 the slope by 0.06.
    assert slope == pytest.approx(-0.5, abs=0.15)
    assert errors[-1] < 0.15
