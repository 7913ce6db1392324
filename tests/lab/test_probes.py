"""What each probe measures, against an independent computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from watched import LOSS, batches

from deepscope.core import MeasurementError
from deepscope.lab._probes import CurvatureProbe, HealthProbe, KernelProbe, LossProbe, NoiseProbe, Probe, WeightsProbe
from deepscope.lab._watch import PROBES
from deepscope.subject import Subject


def measured(probe: Probe, subject: Subject) -> dict[str, float]:
    with subject.undisturbed(), torch.enable_grad():
        return dict(probe.measure(subject, torch.Generator().manual_seed(0)))


def network(*hidden: nn.Module) -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(6, 5), *hidden, nn.Linear(5, 3)).double()


UNEVEN = [(x.double(), y) for size in (12, 3, 7) for x, y in batches(size, size=size)]
ALL = (torch.cat([x for x, _ in UNEVEN]), torch.cat([y for _, y in UNEVEN]))


def test_names_are_those_they_are_chosen_by() -> None:
    assert {name: make().name for name, make in PROBES.items()} == {name: name for name in PROBES}
    assert all(isinstance(make(), Probe) for make in PROBES.values())


def test_loss_and_gradient_are_those_of_all_data_at_once() -> None:
    model = network(nn.Tanh())
    model[0].bias.requires_grad_(False)
    found = measured(LossProbe(), Subject(model, UNEVEN, LOSS))
    value = LOSS(model(ALL[0]), ALL[1])
    gradients = torch.autograd.grad(value, [p for p in model.parameters() if p.requires_grad])
    norm = math.sqrt(sum(float((each**2).sum()) for each in gradients))
    # Sums of at most some hundred terms in double precision.
    assert found == pytest.approx({"probe_loss": value.item(), "gradient_norm": norm}, rel=1e-13)


def test_loss_weighs_batches_by_the_terms_that_count() -> None:
    model = network(nn.Tanh())
    ignored = [(x, torch.where(torch.arange(len(y)) % 3 == 0, y, -100)) for x, y in UNEVEN]
    ignored.append((UNEVEN[0][0], torch.full((12,), -100)))
    found = measured(LossProbe(), Subject(model, ignored, LOSS, count=lambda targets: (targets != -100).sum()))
    dense = LOSS(model(torch.cat([x for x, _ in ignored])), torch.cat([y for _, y in ignored]))
    assert found["probe_loss"] == pytest.approx(dense.item(), rel=1e-13)


def test_parameters_that_the_loss_does_not_use() -> None:
    model = network(nn.Tanh())
    model.add_module("idle", nn.Linear(3, 3))
    subject = Subject(model, UNEVEN, LOSS, forward=lambda net, x: net[2](net[1](net[0](x))))
    plain = measured(LossProbe(), Subject(network(nn.Tanh()), UNEVEN, LOSS))
    assert measured(LossProbe(), subject) == plain


def test_a_network_that_is_frozen_has_no_gradient() -> None:
    model = network(nn.Tanh()).requires_grad_(False)
    with pytest.raises(MeasurementError, match="no parameter is trained"):
        measured(LossProbe(), Subject(model, UNEVEN, LOSS))
    with pytest.raises(MeasurementError, match="no target counts"):
        measured(LossProbe(), Subject(network(), UNEVEN, LOSS, count=lambda targets: 0))


def test_distance_is_that_from_the_first_measurement() -> None:
    model, probe = network(), WeightsProbe()
    start = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    subject = Subject(model, UNEVEN, LOSS)
    assert measured(probe, subject) == pytest.approx({"weight_norm": start.norm().item(), "distance_from_start": 0})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    found = measured(probe, subject)
    # ‖1.5 θ − θ‖ = ‖θ‖ / 2; sums of some fifty squares in double precision.
    assert found["distance_from_start"] == pytest.approx(start.norm().item() / 2, rel=1e-13)
    assert found["weight_norm"] == pytest.approx(1.5 * start.norm().item(), rel=1e-13)


def test_shares_are_of_all_units() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 15), nn.ReLU(), nn.Linear(15, 4), nn.Tanh()).double()
    with torch.no_grad():
        model[0].bias[:2], model[0].bias[2:] = -1e6, 1e2
        model[2].bias[:3], model[2].bias[3:] = -1e6, 1e2
        model[4].bias[:] = 1e3
    found = measured(HealthProbe(), Subject(model, UNEVEN, LOSS))
    assert found == {"dead_fraction": 5 / 20, "saturated_fraction": 1.0}


def test_a_share_of_what_a_network_does_not_have_is_left_out() -> None:
    assert measured(HealthProbe(), Subject(network(), UNEVEN, LOSS)) == {}


def test_sharpness_is_the_largest_eigenvalue_of_the_hessian() -> None:
    model = network(nn.Tanh())
    found = measured(CurvatureProbe(), Subject(model, UNEVEN, LOSS))
    names = [name for name, _ in model.named_parameters()]

    def value(*parameters: torch.Tensor) -> torch.Tensor:
        return LOSS(torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (ALL[0],)), ALL[1])

    parameters = tuple(p.detach() for p in model.parameters())
    rows = torch.func.hessian(value, argnums=tuple(range(len(names))))(*parameters)
    sizes = [p.numel() for p in parameters]
    dense = torch.cat([torch.cat([b.reshape(n, -1) for b in row], 1) for row, n in zip(rows, sizes, strict=True)])
    largest = torch.linalg.eigvalsh(dense)[-1].item()
    assert found["sharpness"] == pytest.approx(largest, rel=0.01)
    # Some eigenvalue lies within the residual of the value given.
    assert abs(found["sharpness"] - largest) <= found["sharpness_residual"] + 1e-12


def test_drift_is_one_minus_the_centred_alignment_of_the_kernels() -> None:
    model, probe = network(nn.Tanh()), KernelProbe()
    subject = Subject(model, UNEVEN, LOSS)

    def gram() -> np.ndarray:
        rows = [
            nn.utils.parameters_to_vector(torch.autograd.grad(model(x)[place], list(model.parameters()))).numpy()
            for x in ALL[0]
            for place in range(3)
        ]
        jacobian = np.array(rows).reshape(len(ALL[0]), 3, -1)
        kernel = np.einsum("iap,jap->ij", jacobian, jacobian)
        centring = np.eye(len(kernel)) - 1 / len(kernel)
        return centring @ kernel @ centring

    before = gram()
    # A kernel is aligned with itself but for rounding.
    assert measured(probe, subject)["kernel_drift"] == pytest.approx(0, abs=1e-12)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    after = gram()
    expected = 1 - np.sum(before * after) / math.sqrt(np.sum(before**2) * np.sum(after**2))
    found = measured(probe, subject)
    assert 0.05 < expected < 1
    # Both in double precision; the kernel is symmetrised and centred in another order.
    assert found["kernel_drift"] == pytest.approx(expected, rel=1e-9)
    assert found["kernel_drift_stderr"] > 0


def test_the_noise_scale_is_that_of_all_per_sample_gradients() -> None:
    model = network(nn.Tanh())
    found = measured(NoiseProbe(), Subject(model, UNEVEN, LOSS))
    gradients = np.array(
        [
            nn.utils.parameters_to_vector(torch.autograd.grad(LOSS(model(x[None]), y[None]), list(model.parameters())))
            for x, y in zip(*ALL, strict=True)
        ]
    )
    n, mean = len(gradients), gradients.mean(axis=0)
    noise = ((gradients - mean) ** 2).sum() / (n - 1)
    signal = (mean**2).sum() - noise / n
    # Sums of some twenty squares of some fifty numbers, in double precision.
    assert found["noise_scale"] == pytest.approx(noise / signal, rel=1e-11)
    assert found["noise_scale_low"] < found["noise_scale"]
