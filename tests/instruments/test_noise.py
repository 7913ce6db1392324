"""Gradient noise against gradients of each sample alone, closed forms, and planted gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import MeasurementError, UsageError
from deepscope.instruments import _noise_pass, noise
from deepscope.instruments._noise_known import planted
from deepscope.instruments._noise_statistics import fieller, signal_noise
from deepscope.subject import Subject


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def classifier() -> Subject:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3), nn.LayerNorm(3))
    x, y = draw(17, 2, 6), torch.arange(17) % 3
    return Subject(model.double(), [(x[:8], y[:8]), (x[8:16], y[8:16]), (x[16:], y[16:])], functional.cross_entropy)


class Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 9, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.embed(tokens).cumsum(1))))


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def language() -> Subject:
    """Sequences of uneven batches with uneven numbers of targets, one of them with none at all."""
    torch.manual_seed(0)
    tokens, targets = torch.randint(0, 9, (10, 5)), torch.randint(0, 9, (10, 5))
    for i in range(10):
        targets[i, : i % 6] = -100
    data = [(tokens[:7], targets[:7]), (tokens[7:], targets[7:])]
    return Subject(Language().double(), data, token_loss, count=lambda wanted: (wanted != -100).sum())


def alone(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Terms and gradients of each sample's own loss by plain backpropagation, [n], [n, p]."""
    terms, rows = [], []
    parameters = [each for each in subject.model.parameters() if each.requires_grad]
    for x, y in subject.data:
        for i in range(len(x)):
            count = float(subject.count(y[i : i + 1])) if subject.count else 1.0
            terms.append(count)
            loss = subject.loss(subject.model(x[i : i + 1]), y[i : i + 1]) if count else 0 * parameters[0].sum()
            found = torch.autograd.grad(loss, parameters, materialize_grads=True)
            rows.append(torch.cat([each.flatten() for each in found]))
    return np.array(terms), torch.stack(rows).numpy()


@pytest.mark.parametrize("make", [classifier, language])
def test_norms_are_those_of_each_sample_alone(make: Callable[[], Subject]) -> None:
    subject = make()
    terms, rows = alone(subject)
    found = noise(subject)
    n = len(terms)
    # float64, some hundred products each.
    np.testing.assert_allclose(found.per_sample_norms, np.linalg.norm(rows, axis=1), rtol=1e-10)
    np.testing.assert_array_equal(found.terms, terms)
    mean = terms @ rows / terms.sum()
    residuals = terms[:, None] * (rows - mean) / terms.mean()
    assert found.gradient_norm == pytest.approx(np.linalg.norm(mean), rel=1e-10)
    assert found.noise == pytest.approx((residuals**2).sum() / (n - 1), rel=1e-9)
    assert found.signal == pytest.approx((mean**2).sum() - found.noise / n, rel=1e-9)
    assert found.critical_batch_size == (None if found.signal <= 0 else max(1, found.noise_scale))
    # Layers add up.
    assert sum(layer.share for layer in found.layers) == pytest.approx(1, rel=1e-10)
    assert sum(layer.gradient_norm**2 for layer in found.layers) == pytest.approx(found.gradient_norm**2, rel=1e-10)
    assert found.largest_sample == int((residuals**2).sum(1).argmax())


@pytest.mark.parametrize("make", [classifier, language])
def test_what_is_not_kept_is_computed_again_and_the_same(
    make: Callable[[], Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = noise(make())
    for kept in (0, 3000):
        monkeypatch.setattr(_noise_pass, "KEPT_BYTES", kept)
        monkeypatch.setattr(_noise_pass, "_ROWS", 4)
        again = noise(make())
        np.testing.assert_allclose(again.per_sample_norms, expected.per_sample_norms, rtol=1e-12)
        assert again.noise == pytest.approx(expected.noise, rel=1e-12)
        assert again.noise_scale_low == pytest.approx(expected.noise_scale_low, rel=1e-9)
        assert again.cost.forward_passes > expected.cost.forward_passes


def test_variances_are_the_jackknife_by_leaving_out() -> None:
    g = draw(9, 4).numpy() + 1
    found = signal_noise((g**2).sum(1), g @ g.mean(0))

    def estimates(rows: np.ndarray) -> tuple[float, float]:
        spread = ((rows - rows.mean(0)) ** 2).sum() / (len(rows) - 1)
        return float((rows.mean(0) ** 2).sum() - spread / len(rows)), float(spread)

    assert (found.signal, found.noise) == pytest.approx(estimates(g), rel=1e-12)
    without = np.array([estimates(np.delete(g, i, 0)) for i in range(9)])
    expected = 8 / 9 * (without - without.mean(0)).T @ (without - without.mean(0))
    got = [[found.signal_variance, found.covariance], [found.covariance, found.noise_variance]]
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_fieller_is_the_set_that_it_is_defined_by() -> None:
    from scipy import stats

    t2 = stats.t.ppf(0.975, 30) ** 2
    grid = np.linspace(0, 200, 200_001)
    for above, below, variances in (
        (10.0, 2.0, (4.0, 0.04, 0.1)),
        (10.0, 2.0, (1.0, 0.5, -0.2)),
        (10.0, 0.3, (1.0, 0.2, 0.1)),
        (10.0, -0.2, (1.0, 0.2, 0.0)),
    ):
        inside = (above - grid * below) ** 2 <= t2 * (variances[0] - 2 * grid * variances[2] + grid**2 * variances[1])
        low, high = fieller(above, below, *variances, 30)
        assert low == pytest.approx(grid[inside].min(), abs=2e-3)
        if high is None:
            assert inside[-1]
        else:
            assert high == pytest.approx(grid[inside].max(), abs=2e-3)
    assert fieller(0.1, 0.0, 1.0, 1.0, 0.0, 30) == (None, None)


def test_no_signal_has_no_noise_scale_but_a_lower_end() -> None:
    g = draw(64, 30)
    # What is left of the mean is four fifths of what it has by chance, √(30/64).
    found = noise(planted(g - 0.2 * g.mean(0)))
    assert found.signal < 0
    assert found.noise_scale is None
    assert found.critical_batch_size is None
    assert found.status == "the mean gradient cannot be told from 0"
    assert found.noise_scale_high is None
    assert found.noise_scale_low > 30


def test_one_sample_has_no_noise() -> None:
    found = noise(Subject(nn.Linear(2, 1), [(torch.ones(1, 2), torch.zeros(1, 1))], nn.MSELoss()))
    assert (found.noise, found.noise_scale, found.status) == (None, None, "one sample has no noise")
    assert found.findings() == ()


def hessian_of(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Hessian of the mean loss over all data, and the gradients of the samples, by torch.func."""
    model = subject.model
    names = [name for name, _ in model.named_parameters()]
    shapes = [each.shape for each in model.parameters()]
    x, y = (torch.cat([batch[part] for batch in subject.data]) for part in (0, 1))

    def loss(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [shape.numel() for shape in shapes])
        values = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return subject.loss(torch.func.functional_call(model, values, (x,)), y)

    flat = torch.cat([each.detach().flatten() for each in model.parameters()])
    return torch.func.hessian(loss)(flat).numpy(), alone(subject)[1]


def test_curvature_weighs_noise_as_the_dense_hessian_does() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = draw(24, 3)
    subject = Subject(model, [(x[:16], draw(16, 2, seed=1)), (x[16:], draw(8, 2, seed=2))], nn.MSELoss())
    H, g = hessian_of(subject)
    mean, n = g.mean(0), len(g)
    trace = np.trace(H @ np.cov(g.T))
    along = mean @ H @ mean - trace / n
    found = noise(subject, probes=400).curvature
    # Twenty standard errors of 400 probes would be needed to hide a factor; four hold but for one draw in 16,000.
    assert abs(found.trace - trace) < 4 * found.trace_stderr
    assert found.trace_stderr < 0.1 * trace
    assert found.along_gradient == pytest.approx(mean @ H @ mean - found.trace / n, rel=1e-9)
    assert found.noise_scale == pytest.approx(trace / along, rel=5 * found.stderr / found.noise_scale)


def test_a_quadratic_with_equal_curvature_weighs_nothing() -> None:
    """L = ½‖Wx − y‖² with orthonormal inputs: H is a multiple of 1, so that both noise scales are one up to probes."""
    x = torch.eye(4, dtype=torch.float64).repeat(8, 1)
    layer = nn.Linear(4, 1, bias=False).double()
    with torch.no_grad():
        layer.weight.zero_()
    targets = 3 + 0.1 * draw(32, 1)
    found = noise(Subject(layer, [(x, targets)], nn.MSELoss()), probes=64)
    assert found.curvature.noise_scale == pytest.approx(
        found.noise_scale, rel=4 * found.curvature.stderr / found.noise_scale
    )
    assert noise(Subject(layer, [(x, targets)], nn.MSELoss()), probes=0).curvature.status.startswith("not asked for")


def test_a_loss_that_is_a_sum_is_refused() -> None:
    subject = classifier()
    with pytest.raises(MeasurementError, match="not a mean over its terms"):
        noise(subject.with_data(loss=nn.CrossEntropyLoss(reduction="sum")))


@pytest.mark.parametrize(
    ("targets", "weight"),
    [
        # Alike in the two samples that are looked at first: of one class, and both counted.
        ([0, 0, 0, 1, 1, 2, 2, 2], torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)),
        ([0, 1, 2, -100, -100, -100, 1, 0], None),
    ],
)
def test_a_mean_over_something_else_is_refused_where_the_first_samples_do_not_show_it(
    targets: list[int], weight: Tensor | None
) -> None:
    layer, x, y = nn.Linear(4, 3).double(), draw(8, 4), torch.tensor(targets)
    loss = nn.CrossEntropyLoss(weight)
    with pytest.raises(MeasurementError, match="8 samples together"):
        noise(Subject(layer, [(x, y)], loss))
    shares = torch.ones(3).double() if weight is None else weight
    counted = Subject(layer, [(x, y)], loss, count=lambda wanted: shares[wanted[wanted >= 0]].sum())
    _, rows = alone(counted)
    # float64, a dozen products each.
    np.testing.assert_allclose(noise(counted).per_sample_norms, np.linalg.norm(rows, axis=1), rtol=1e-10)


def test_a_loss_that_averages_over_outputs_is_each_samples_own() -> None:
    x, y = draw(6, 3), draw(6, 4)
    layer = nn.Linear(3, 4).double()
    found = noise(Subject(layer, [(x, y)], nn.MSELoss()))
    # ∇_W = 2/4 (Wx + b − y) xᵀ and ∇_b = 2/4 (Wx + b − y).
    residual = (layer(x) - y).detach()
    expected = 0.5 * residual.norm(dim=1) * (x.square().sum(1) + 1).sqrt()
    np.testing.assert_allclose(found.per_sample_norms, expected.numpy(), rtol=1e-12)


def test_a_flattened_language_model_has_its_tokens_as_terms() -> None:
    subject = language()
    tokens, _ = subject.data[0]
    targets = torch.randint(0, 9, (7, 5), generator=torch.Generator().manual_seed(0))
    flat = Subject(
        subject.model, [(tokens, targets.flatten())], lambda out, y: functional.cross_entropy(out.flatten(0, 1), y)
    )
    whole = Subject(subject.model, [(tokens, targets)], token_loss, count=lambda y: y.numel())
    np.testing.assert_allclose(noise(flat).per_sample_norms, noise(whole).per_sample_norms, rtol=1e-12)


def test_the_sample_at_fault_is_named() -> None:
    x = draw(12, 3).abs()
    x[7, 0] = -1
    subject = Subject(
        nn.Linear(3, 1).double(), [(x[:4], x[:4, :1]), (x[4:], x[4:, :1])], nn.MSELoss(),
        forward=lambda model, inputs: model(inputs.sqrt()),
    )  # fmt: skip
    with pytest.raises(MeasurementError, match=r"the loss is nan at a sample of batch 1, the 4\. of 8"):
        noise(subject)


def test_a_gradient_that_is_not_finite_is_named() -> None:
    # √|x| at 0 has a finite value and an infinite slope.
    x = torch.tensor([[1.0], [2.0], [3.0], [0.0]])
    layer = nn.Linear(1, 1, bias=False)
    subject = Subject(layer, [(x, x)], lambda out, y: out.abs().sqrt().mean())
    with pytest.raises(MeasurementError, match="the gradient of sample 3 is not finite"):
        noise(subject)


def test_frozen_unused_and_half_precision_parameters() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "frozen": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)

    def forward(net: nn.ModuleDict, x: Tensor) -> Tensor:
        return net["frozen"](net["used"](x))

    x, y = draw(9, 3).float(), draw(9, 2, seed=1).float()
    found = noise(Subject(model, [(x, y)], nn.MSELoss(), forward=forward))
    rows = {layer.name: layer for layer in found.layers}
    assert set(rows) == {"used", "idle"}
    assert rows["idle"].status == "the loss does not depend on it"
    assert rows["idle"].gradient_norm == 0
    assert {"frozen.weight", "frozen.bias"} < {name for name, _ in found.left_out}
    half = noise(Subject(model.half(), [(x.half(), y.half())], nn.MSELoss(), forward=forward))
    # Each number of a forward and backward pass through two layers is rounded to 2⁻¹¹ of itself.
    np.testing.assert_allclose(half.per_sample_norms, found.per_sample_norms, rtol=2e-2)


def test_a_batch_without_samples_adds_nothing() -> None:
    subject = classifier()
    (x, y), *others = subject.data
    found = noise(subject.with_data([(x, y), (x[:0], y[:0]), *others]))
    np.testing.assert_array_equal(found.per_sample_norms, noise(subject).per_sample_norms)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_scripted_network_and_one_with_a_scripted_part_are_written_out() -> None:
    subject = classifier()
    expected = noise(subject).per_sample_norms
    for model in (torch.jit.script(subject.model), nn.Sequential(torch.jit.script(subject.model))):
        found = noise(Subject(model, subject.data, subject.loss), probes=0)
        # float64, some hundred products each.
        np.testing.assert_allclose(found.per_sample_norms, expected, rtol=1e-10)
        assert all("written out" in layer.status for layer in found.layers)


def test_wrong_arguments_are_refused() -> None:
    subject = classifier()
    with pytest.raises(UsageError, match="max_samples"):
        noise(subject, max_samples=0)
    with pytest.raises(UsageError, match="probes"):
        noise(subject, probes=-1)


def test_batches_far_from_the_noise_scale_are_noted() -> None:
    found = noise(planted(5 + draw(300, 4)))
    assert found.noise_scale_high < 1
    (note,) = found.findings()
    assert note.severity == "note"
    assert "mostly signal" in note.message
    loud = planted(0.1 + draw(300, 40))
    loud.data = [(part, torch.zeros(len(part))) for x, _ in loud.data for part in x.split(10)]
    (note,) = noise(loud).findings()
    assert "mostly noise" in note.message


class Attentive(nn.Module):
    """Attention behind a parameter that is no layer's, whose gradients are written out."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.randn(5, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.output = nn.Linear(8, 3)

    def forward(self, x):
        x = x + self.place
        return self.output(self.attention(x, x, x, need_weights=False)[0].mean(dim=1))


@pytest.mark.filterwarnings("error")
def test_attention_is_measured_with_its_curvature():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    data = [(torch.randn(12, 5, 8, generator=generator), torch.arange(12) % 3)]
    model = Attentive()
    reading = noise(Subject(model, data, nn.functional.cross_entropy))
    assert [layer.name for layer in reading.layers if "written out" in layer.status] == ["place"]
    for x, y, norm in zip(data[0][0], data[0][1], reading.per_sample_norms, strict=True):
        loss = nn.functional.cross_entropy(model(x[None]), y[None])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        assert norm == pytest.approx(float(sum(each.square().sum() for each in gradients).sqrt()), rel=1e-4)


def test_a_forward_pass_that_writes_into_its_inputs_is_told_from_a_random_one() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.sub_(1.0))

    x = draw(6, 3)
    with pytest.raises(MeasurementError, match="writes into its inputs"):
        noise(Subject(Centred(), [(x, torch.arange(6) % 2)], functional.cross_entropy))
    assert torch.equal(x, draw(6, 3))
