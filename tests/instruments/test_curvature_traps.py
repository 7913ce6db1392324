"""What a curvature must refuse, say, or bear."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from curvature_networks import F64, classes, classifier, cnn, dense_hessian, differences, mlp, noise, prepared
from torch import Tensor, nn
from torch.nn import functional

from deepscope import Subject
from deepscope.core import MeasurementError
from deepscope.instruments import Curvature, curvature


def brief(subject: Subject, **asked: object) -> Curvature:
    return curvature(subject, **{"per_layer": False, "sharp": False, **asked})


def assert_hessian(subject: Subject, expected: Tensor, **asked: object) -> None:
    found = brief(subject, top=len(expected), **asked)
    np.testing.assert_allclose(found.eigenvalues, torch.linalg.eigvalsh(expected).flip(0), atol=1e-12)


def with_norm() -> Subject:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Dropout(0.5), nn.Linear(3, 3))
    subject = classifier(model, 3)
    with torch.no_grad():
        model[1].running_mean.copy_(noise(3, seed=5))
        model[1].running_var.copy_(noise(3, seed=6) ** 2 + 0.5)
    return subject


def test_a_model_in_training_mode_is_measured_in_evaluation_mode() -> None:
    subject = with_norm()
    expected = dense_hessian(subject)
    subject.model.train()
    assert_hessian(subject, expected)
    assert subject.model.training


def test_training_mode_has_to_be_asked_for_and_is_seeded() -> None:
    subject = with_norm()
    drawn = [brief(subject, training=True, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0].is_random
    assert not np.allclose(drawn[0].eigenvalues, drawn[2].eigenvalues, rtol=1e-3)


def test_in_training_mode_batch_normalisation_takes_whole_batches() -> None:
    subject = with_norm()
    subject.model[3] = nn.Identity()
    buffers = [each.clone() for each in subject.model.buffers()]
    found = brief(subject, training=True, top=99)
    twin = nn.Sequential(*subject.model[:1], nn.BatchNorm1d(3, track_running_stats=False).double(), *subject.model[2:])
    with torch.no_grad():
        twin[1].weight.copy_(subject.model[1].weight)
        twin[1].bias.copy_(subject.model[1].bias)
    expected = torch.linalg.eigvalsh(differences(Subject(twin, subject.data, subject.loss), h=1e-4)).flip(0)
    # Differences of fourth order err by rounding over h, 1e-16/1e-4, and by h⁴ times a sixth derivative.
    np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-8)
    assert all(torch.equal(a, b) for a, b in zip(buffers, subject.model.buffers(), strict=True))


def test_a_sum_in_place_of_a_mean_is_refused() -> None:
    subject = classifier(mlp(), 3)
    subject.loss = nn.CrossEntropyLoss(reduction="sum")
    with pytest.raises(MeasurementError, match="a sum over samples"):
        brief(subject)


def test_a_sum_is_taken_where_each_batch_counts_once() -> None:
    subject = classifier(mlp(), 3)
    expected = dense_hessian(subject)
    x, y = (torch.cat(each) for each in zip(*subject.data, strict=True))
    total = Subject(subject.model, [(x, y)], nn.CrossEntropyLoss(reduction="sum"), count=lambda _: 1.0)
    found = brief(total, top=99)
    np.testing.assert_allclose(found.eigenvalues, 7 * torch.linalg.eigvalsh(expected).flip(0), atol=1e-11)


def test_a_loss_that_averages_over_outputs_too_is_what_it_is() -> None:
    model = prepared(nn.Linear(2, 3, bias=False))
    x = noise(5, 2)
    found = brief(Subject(model, [(x, noise(5, 3))], functional.mse_loss))
    # mean over 5·3 values: (2/3)·XᵀX/5 for each of three outputs.
    expected = np.repeat(np.linalg.eigvalsh((2 / 3 * x.T @ x / 5).numpy())[::-1], 3)
    np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-12)


def test_a_loss_that_couples_samples_keeps_batches_whole() -> None:
    # Contrast of every sample with the mean of its batch: no mean over samples.
    def contrast(z: Tensor, _: Tensor) -> Tensor:
        return ((z - z.mean(0)) ** 2).sum(1).mean()

    subject = classifier(mlp(nn.ReLU), 3)
    subject.loss = contrast
    assert_hessian(subject, dense_hessian(subject))
    found = brief(subject, density=False, top=2)
    assert ("exact trace", "the samples of a batch depend on one another") in found.left_out
    with pytest.raises(MeasurementError, match="depend on one another"):
        brief(subject, kind="empirical-fisher")


def test_one_bad_sample_is_named() -> None:
    subject = classifier(nn.Sequential(Root(), nn.Linear(3, 3)), 3)
    subject.data = [(x.abs(), y) for x, y in subject.data]
    subject.data[1][0][2, 1] = -1.0
    with pytest.raises(MeasurementError, match="sample 6 of the data"):
        brief(subject)


class Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


def test_a_gradient_that_is_not_finite_is_an_error_with_its_place() -> None:
    model = nn.Sequential(nn.Linear(3, 3), Root(), nn.Linear(3, 3))
    subject = classifier(model, 3)
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.zero_()
    with pytest.raises(MeasurementError, match=r"not finite although the loss is: 0\.weight"):
        brief(subject)


class Noisy(nn.Module):
    """Draws what no mode switches off; from torch's generator, or out of anybody's reach."""

    def __init__(self, *, seeded: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.counter = None if seeded else itertools.count()

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.rand_like(x) if self.counter is None else torch.full_like(x, next(self.counter))
        return self.layer(x * (1 + noise))


def test_a_random_forward_pass_is_seeded_and_told() -> None:
    subject = classifier(Noisy(seeded=True), 3)
    found = brief(subject)
    assert found.is_random
    assert brief(subject) == found
    assert "random even in the mode" in found.findings()[0].message
    assert found.findings()[0].severity == "warning"


def test_a_forward_pass_that_cannot_be_repeated_is_refused() -> None:
    with pytest.raises(MeasurementError, match="not repeatable"):
        brief(classifier(Noisy(seeded=False), 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_measured_in_single(dtype: torch.dtype) -> None:
    subject = classifier(cnn(), 1, 6, 6)
    subject.model.to(dtype)
    subject.data = [(x.to(dtype), y) for x, y in subject.data]
    double = Subject(classifier(cnn(), 1, 6, 6).model, [(x.double(), y) for x, y in subject.data], subject.loss)
    double.model.load_state_dict({name: each.double() for name, each in subject.model.state_dict().items()})
    found = brief(subject, top=4, density=False)
    true = torch.linalg.eigvalsh(dense_hessian(double)).flip(0)[:4].numpy()
    assert (np.abs(found.eigenvalues - true) <= found.errors + 1e-5 * true[0]).all()
    # The exact trace too, through a copy of the model in single precision.
    assert found.trace_method.startswith("exact")
    assert found.trace == pytest.approx(float(dense_hessian(double).trace()), rel=1e-5)
    assert all(each.dtype == dtype for each in subject.model.parameters())


def test_frozen_parameters_are_left_out_and_unused_ones_are_flat() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.spare = mlp(), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

    subject = classifier(Unused(), 3)
    subject.model.body[0].weight.requires_grad_(False)
    found = curvature(subject, top=99)
    assert ("body.0.weight", "frozen (requires_grad=False)") in found.left_out
    assert ("spare.weight", "the loss does not depend on it: no curvature along it") in found.left_out
    assert found.n_parameters == sum(p.numel() for p in subject.model.parameters()) - 12
    spare = next(layer for layer in found.layers if layer.name == "spare")
    assert (spare.trace, spare.eigenvalue, spare.status) == (0, 0, "the loss does not bend along it")


def test_nothing_to_train_is_an_error() -> None:
    subject = classifier(mlp(), 3)
    subject.model.requires_grad_(False)
    with pytest.raises(MeasurementError, match="no trainable parameters"):
        brief(subject)


def test_what_cannot_be_differentiated_twice_is_an_error() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: object, g: Tensor) -> Tensor:
            return g * 2

    class Layer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Once.apply(x)

    with pytest.raises(MeasurementError, match="differentiated twice"):
        brief(classifier(nn.Sequential(nn.Linear(3, 3), nn.Tanh(), Layer()), 3))


@pytest.mark.parametrize("most", [4, 0])
def test_pieces_are_halved_until_memory_suffices(most: int) -> None:
    class Large(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > most and torch.is_grad_enabled():
                raise torch.OutOfMemoryError("planted")
            return self.body(x)

    subject = classifier(Large(), 3, n=30)
    x, y = (torch.cat(each) for each in zip(*subject.data, strict=True))
    subject.data = [(x, y)]
    if most:
        plain = Subject(subject.model.body, [(x, y)], subject.loss)
        assert_hessian(subject, dense_hessian(plain))
    else:
        with pytest.raises(
            MeasurementError, match="memory does not suffice for the curvature of a single sample: planted"
        ):
            brief(subject)


def test_a_shared_module_is_put_back() -> None:
    layer = nn.Linear(3, 3)
    subject = classifier(nn.Sequential(layer, nn.ReLU(), layer), 3)
    before = layer.weight
    assert brief(subject).n_parameters == 12
    assert layer.weight is before


def test_weights_tied_by_memory_alone_are_one() -> None:
    def tied(*, by_memory: bool) -> Subject:
        model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 3, bias=False))
        given = classifier(model, 3)
        if by_memory:
            model[2].weight.data = model[0].weight.data
        else:
            model[2].weight = model[0].weight
        return Subject(model, given.data, given.loss)

    one, other = (brief(tied(by_memory=each), top=9) for each in (True, False))
    np.testing.assert_array_equal(one.eigenvalues, other.eigenvalues)
    gauss = [brief(tied(by_memory=each), top=2, kind="ggn", density=False, trace_products=99) for each in (True, False)]
    assert gauss[0].trace == pytest.approx(gauss[1].trace, rel=1e-12)


def test_a_loader_of_single_samples_goes_together() -> None:
    subject = classifier(mlp(widths=(3, 12, 12, 3)), 3, n=24)
    x, y = (torch.cat(each) for each in zip(*subject.data, strict=True))
    single = Subject(subject.model, [(x[i : i + 1], y[i : i + 1]) for i in range(24)], subject.loss)
    found = brief(single, top=2, density=False)
    # 24 batches in one piece: the gradient and the products go over it once.
    assert found.cost.backward_passes < 2 * found.n_products + 20
    assert found.n_samples == found.n_batches == 24


def test_targets_of_the_wrong_shape_are_a_clear_error() -> None:
    subject = classifier(mlp(), 3)
    subject.data = [(x, classes(len(x), 9)) for x, _ in subject.data]
    with pytest.raises(MeasurementError, match="loss refuses the targets of batch 0"):
        brief(subject)


def test_a_loss_without_curvature_is_flat_and_told() -> None:
    subject = Subject(prepared(nn.Linear(2, 1)), [(noise(4, 2), torch.zeros(4, 1, dtype=F64))], lambda z, _: z.mean())
    found = curvature(subject)
    assert not found.eigenvalues.any()
    assert found.gradient_norm > 0
    assert "does not bend" in found.findings()[0].message


def test_batches_whose_samples_depend_on_one_another_are_not_cut() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Tanh(), nn.Linear(4, 3))
    subject = classifier(model, 3)
    ((x, y), *_) = subject.data
    found = brief(subject, max_samples=len(x) // 2)
    assert found.n_samples == len(x) > 2
    # One batch, computed twice in float64.
    assert found.loss == pytest.approx(subject.loss(model(x), y).item(), rel=1e-12)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_scripted_network_has_the_curvature_of_the_network() -> None:
    subject = classifier(mlp(), 3)
    scripted = Subject(torch.jit.script(subject.model), subject.data, subject.loss)
    # float64, the same products in the same order.
    np.testing.assert_allclose(brief(scripted).eigenvalues, brief(subject).eigenvalues, rtol=1e-10)


@pytest.mark.parametrize("kind", ["hessian", "ggn", "empirical-fisher"])
def test_outputs_of_one_number_per_sample_have_an_exact_trace(kind: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    x, y = noise(10, 3), noise(10, 1, seed=1)
    traces = []
    for net, targets in ((nn.Sequential(model, nn.Flatten(0)), y[:, 0]), (model, y)):
        found = brief(Subject(net, [(x, targets)], functional.mse_loss), kind=kind, top=1, density=False)
        assert found.trace_method.startswith("exact: squared")
        traces.append(found.trace)
    # The same network and loss; its outputs are [n] and [n, 1].
    assert traces[0] == pytest.approx(traces[1], rel=1e-12)


def test_a_forward_pass_that_writes_into_its_inputs_is_told_from_a_random_one() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.sub_(1.0))

    x = noise(6, 3)
    with pytest.raises(MeasurementError, match="writes into its inputs"):
        brief(Subject(Centred(), [(x, torch.arange(6) % 2)], functional.cross_entropy))
    assert torch.equal(x, noise(6, 3))
