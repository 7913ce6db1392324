from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from deepscope.core import UsageError
from deepscope.training import Checkpoint, DistillationLoss, fit, with_teacher

GENERATOR = torch.Generator().manual_seed(0)
Z, V = (2 * torch.randn(7, 5, generator=GENERATOR, dtype=torch.float64) for _ in range(2))
Y = torch.randint(5, (7,), generator=GENERATOR)


def softened(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp(each / temperature) for each in logits]
    return [each / sum(powers) for each in powers]


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 0.5), (4.0, 0.9), (20.0, 1.0), (0.5, 0.0)])
def test_it_is_the_formula_of_the_paper(temperature: float, weight: float) -> None:
    total = 0.0
    for z, v, y in zip(Z.tolist(), V.tolist(), Y.tolist(), strict=True):
        student, teacher = softened(z, temperature), softened(v, temperature)
        divergence = sum(p * math.log(p / q) for p, q in zip(teacher, student, strict=True))
        total += (1 - weight) * -math.log(softened(z, 1.0)[y]) + weight * temperature**2 * divergence
    found = DistillationLoss(temperature, weight)(Z, (Y, V))
    # Sums of 35 terms with roundings of 1e-16.
    assert found.item() == pytest.approx(total / 7, rel=1e-10)


def gradient(temperature: float, student: Tensor, teacher: Tensor) -> Tensor:
    z = student.clone().requires_grad_()
    DistillationLoss(temperature, 1.0)(z, (None, teacher)).backward()
    assert z.grad is not None
    # Of each sample's own loss.
    return z.grad * len(student)


def test_the_gradient_is_the_difference_of_the_probabilities() -> None:
    for temperature in (1.0, 3.0):
        expected = temperature * (torch.softmax(Z / temperature, 1) - torch.softmax(V / temperature, 1))
        assert torch.allclose(gradient(temperature, Z, V), expected, rtol=0, atol=1e-14)
    z = Z.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: DistillationLoss(2.0, 0.7)(logits, (Y, V)), (z,))


def test_at_high_temperature_it_matches_logits() -> None:
    limit = (Z - Z.mean(1, keepdim=True) - V + V.mean(1, keepdim=True)) / 5
    errors = [float((gradient(temperature, Z, V) - limit).abs().max()) for temperature in (1e2, 1e3, 1e4)]
    # The next term of the softmax in 1/T is second order in the logits, below 5 here: of order 25/T, and falls as 1/T.
    assert errors[-1] < 25 / 1e4
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.01)
    # Without T² it would vanish: the check must see that.
    assert float((gradient(1e4, Z, V) / 1e8 - limit).abs().max()) > 0.1


def test_its_ends_are_cross_entropy_and_its_excess() -> None:
    # 0.3 ulp of sums of a few terms of order 1.
    assert DistillationLoss(3.0, 0.0)(Z, (Y, V)).item() == pytest.approx(cross_entropy(Z, Y).item(), rel=1e-14)
    soft = torch.softmax(V, 1)
    excess = cross_entropy(Z, soft) + (soft * soft.log()).sum(1).mean()
    assert DistillationLoss(1.0, 1.0)(Z, (None, V)).item() == pytest.approx(excess.item(), rel=1e-10)
    assert DistillationLoss(5.0, 1.0)(V, (None, V + 3.0)).item() == pytest.approx(0.0, abs=1e-13)
    # A teacher that is certain is a label.
    certain = 1000.0 * torch.nn.functional.one_hot(Y, 5).double()
    assert DistillationLoss(1.0, 1.0)(Z, (None, certain)).item() == pytest.approx(cross_entropy(Z, Y).item(), rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int64])
def test_labels_may_be_integers_of_any_size(dtype: torch.dtype) -> None:
    assert DistillationLoss(2.0, 0.5)(Z, (Y.to(dtype), V)) == DistillationLoss(2.0, 0.5)(Z, (Y, V))


def test_steps_of_a_sequence_count_like_samples() -> None:
    loss = DistillationLoss(2.0, 0.5)
    flat = loss(Z[:6], (Y[:6], V[:6])).item()
    assert loss(Z[:6].view(2, 3, 5), (Y[:6].view(2, 3), V[:6].view(2, 3, 5))).item() == pytest.approx(flat, rel=1e-14)


def networks() -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    return teacher.train(), nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Tanh(), nn.Linear(8, 3))


X = torch.randn(12, 4, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(12) % 3


def test_fit_trains_with_it_as_with_logits_that_were_computed_before() -> None:
    teacher, student = networks()
    other, before = copy.deepcopy(student), copy.deepcopy(teacher.state_dict())
    runs = []
    with torch.no_grad():
        logits = copy.deepcopy(teacher).eval()(X)
    for model, data in (
        (student, with_teacher(lambda epoch: [(X[:6], LABELS[:6]), (X[6:], LABELS[6:])], teacher)),
        (other, lambda epoch: [(X[:6], (LABELS[:6], logits[:6])), (X[6:], (LABELS[6:], logits[6:]))]),
    ):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        runs.append(fit(model, data, DistillationLoss(3.0, 0.8), optimizer=optimizer, epochs=3, seed=1))
    # The student's dropout draws the same: the teacher takes nothing from the generators. Halves of a batch are
    # multiplied as the whole, to a rounding of float32.
    assert runs[0].loss == pytest.approx(runs[1].loss, rel=1e-5)
    assert teacher.training
    assert all(torch.equal(before[name], each) for name, each in teacher.state_dict().items())
    assert all(each.grad is None for each in teacher.parameters())


def test_a_checkpoint_of_another_temperature_is_refused(tmp_path) -> None:
    _, student = networks()
    teacher = nn.Linear(4, 3)
    for temperature in (2.0, 3.0):
        run = {"optimizer": torch.optim.SGD(student.parameters(), lr=0.1), "epochs": 1}
        data = with_teacher(lambda epoch: [(X, LABELS)], teacher)
        checkpoint = Checkpoint(tmp_path / "run.ckpt")
        if temperature == 2.0:
            fit(student, data, DistillationLoss(temperature), checkpoint=checkpoint, **run)
        else:
            with pytest.raises(UsageError, match="temperature=2"):
                fit(student, data, DistillationLoss(temperature), checkpoint=checkpoint, **run)


def test_bad_input_is_named() -> None:
    for temperature in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="temperature"):
            DistillationLoss(temperature)
    for weight in (-0.1, 1.1, math.nan):
        with pytest.raises(UsageError, match="soft_weight"):
            DistillationLoss(1.0, weight)
    loss = DistillationLoss(2.0, 0.5)
    with pytest.raises(UsageError, match="pairs"):
        loss(Z, Y)
    with pytest.raises(UsageError, match="unless soft_weight is 1"):
        loss(Z, (None, V))
    with pytest.raises(UsageError, match=r"student's shape \[7, 5\]"):
        loss(Z, (Y, V[:, :4]))
    # Of −∞, as for a class that is masked, the divergence would be 0 · ∞.
    for wrong in (math.nan, -math.inf):
        with pytest.raises(UsageError, match="not finite"):
            loss(Z, (Y, torch.where(V.max() == V, wrong, V)))
    with pytest.raises(UsageError, match=r"integers \[7\]"):
        loss(Z, (Y[:6], V))
    with pytest.raises(UsageError, match="from 0 to 4"):
        loss(Z, (Y - 100, V))
    with pytest.raises(UsageError, match="data must be a function"):
        with_teacher([(X, LABELS)], nn.Linear(4, 3))
    with pytest.raises(UsageError, match="teacher gives a tuple"):
        next(iter(with_teacher(lambda epoch: [(torch.ones(1, 2, 4), None)], nn.LSTM(4, 3))(0)))
    assert loss(Z * math.nan, (Y, V)).isnan()
