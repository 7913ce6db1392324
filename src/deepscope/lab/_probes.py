"""What is measured of a network while it trains."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from deepscope.core import MeasurementError
from deepscope.instruments import Kernel, curvature, health, kernel, noise
from deepscope.subject import Subject

Numbers = Mapping[str, float | str | None]


@runtime_checkable
class Probe(Protocol):
    """One thing that is measured again and again; one of your own is any object with these two.

    Attributes
    ----------
    name
        What it is called where it is chosen, and where it fails.
    """

    name: str

    def measure(self, subject: Subject, generator: torch.Generator) -> Numbers:
        """Return numbers by name, the same names each time.

        A number that does not exist for this network is left out; for one that could not be had this time the reason
        is given in words, or None. The subject is undisturbed (see ``Subject.undisturbed``) around each call, with
        gradients on. The generator starts from the same seed each time, so that what is drawn at random is the same at
        every step. Whatever is raised ends this probe, not the training.
        """


class LossProbe:
    """Mean loss over the probe data, and the norm of its gradient over all trainable parameters.

    Cost: a forward and a backward pass; one copy of the gradient in memory.
    """

    name = "loss"

    def measure(self, subject: Subject, generator: torch.Generator) -> Numbers:
        """Return ``probe_loss`` and ``gradient_norm``."""
        parameters = [each for _, each in _named_parameters(subject) if each.requires_grad]
        if not parameters:
            raise MeasurementError("no parameter is trained", where=subject.name, todo="Watch the network that trains.")
        total = terms = 0.0
        sums: list[Tensor | None] = [None] * len(parameters)
        for batch in subject.batches():
            if not batch.count:
                continue
            loss = subject.loss_of(batch, subject.predict(batch.inputs))
            total, terms = total + batch.count * loss.item(), terms + batch.count
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            for place, (gradient, before) in enumerate(zip(gradients, sums, strict=True)):
                if gradient is not None:
                    part = batch.count * gradient.to_dense().to(_wide(gradient.dtype))
                    sums[place] = part if before is None else before.add_(part)
        if not terms:
            raise MeasurementError("no target counts", where=subject.name, todo="Look at count=… and the targets.")
        return {"probe_loss": total / terms, "gradient_norm": _norm(each for each in sums if each is not None) / terms}


class HealthProbe:
    """Share of all units that are dead (rectifiers) or saturated (bounded functions): see ``instruments.health``.

    Cost: a forward pass.
    """

    name = "health"

    def measure(self, subject: Subject, generator: torch.Generator) -> Numbers:
        """Return ``dead_fraction`` and ``saturated_fraction``, where the network has such units."""
        assert subject.model is not None
        without_loss = Subject(
            subject.model, subject.data, forward=subject.forward, count=subject.count, mask=subject.mask
        )
        layers = health(without_loss, generator=generator, max_samples=None).layers
        numbers = {}
        for name in ("dead_fraction", "saturated_fraction"):
            known = [(getattr(each, name), each.units) for each in layers if getattr(each, name) is not None]
            units = sum(units for _, units in known if units)
            if units:
                numbers[name] = sum(share * units for share, units in known if units) / units
        return numbers


class CurvatureProbe:
    """Sharpness, the largest eigenvalue of the Hessian of the mean loss over the probe data: ``instruments.curvature``.

    Cost: some 10 to 30 products with the Hessian, each that of a gradient or two.
    """

    name = "curvature"

    def measure(self, subject: Subject, generator: torch.Generator) -> Numbers:
        """Return ``sharpness``, known to 1 %, and ``sharpness_residual``, by which it may be off at most."""
        found = curvature(
            subject,
            top=1,
            bottom=0,
            density=False,
            trace=False,
            per_layer=False,
            sharp=False,
            max_samples=None,
            generator=generator,
        )
        return {"sharpness": float(found.eigenvalues[0]), "sharpness_residual": float(found.residuals[0])}


class KernelProbe:
    """How far the tangent kernel of the first samples has turned since the first measurement: ``instruments.kernel``.

    Cost: a backward pass over the samples per output of the network.
    """

    name = "kernel"

    #: More samples change the alignment little, and cost more at every measurement.
    _SAMPLES = 64

    def __init__(self) -> None:
        self._first: Kernel | None = None

    def measure(self, subject: Subject, generator: torch.Generator) -> Numbers:
        """Return ``kernel_drift``, 1 − the centred alignment with the first kernel, and its standard error."""
        now = kernel(subject, samples=self._SAMPLES, outputs="trace", generator=generator)
        self._first = self._first or now
        alignment = self._first.drift(now).alignment
        if alignment is None:
            return {"kernel_drift": "a kernel is constant"}
        numbers = {"kernel_drift": max(0.0, 1 - alignment.value)}
        return numbers if alignment.stderr is None else {**numbers, "kernel_drift_stderr": alignment.stderr}


class NoiseProbe:
    """Gradient noise scale over the probe data, in samples, with its 95 % interval: ``instruments.noise``.

    Cost: two forward and backward passes.
    """

    name = "noise"

    def measure(self, subject: Subject, generator: torch.Generator) -> Numbers:
        """Return ``noise_scale``, and ``noise_scale_low`` and ``noise_scale_high`` where the samples tell them."""
        found = noise(subject, generator=generator, max_samples=None, probes=0)
        ends = {"noise_scale_low": found.noise_scale_low, "noise_scale_high": found.noise_scale_high}
        scale = found.status if found.noise_scale is None else found.noise_scale
        return {"noise_scale": scale, **{name: end for name, end in ends.items() if end is not None}}


class WeightsProbe:
    """Norm of all floating-point parameters together, and their distance from where watching began.

    Cost: one pass over the weights; a copy of them in memory from the start on.
    """

    name = "weights"

    def __init__(self) -> None:
        self._start: dict[str, Tensor] = {}

    def measure(self, subject: Subject, generator: torch.Generator) -> Numbers:
        """Return ``weight_norm`` and ``distance_from_start``."""
        now = {name: each.detach() for name, each in _named_parameters(subject) if each.is_floating_point()}
        if not self._start:
            self._start = {name: each.clone() for name, each in now.items()}
        moved = (each - self._start[name].to(each.device) for name, each in now.items())
        return {"weight_norm": _norm(now.values()), "distance_from_start": _norm(moved)}


def _named_parameters(subject: Subject) -> list[tuple[str, nn.Parameter]]:
    return list(subject.model.named_parameters()) if subject.model is not None else []


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype.itemsize < 4 else dtype


def _norm(tensors: Iterable[Tensor]) -> float:
    return math.hypot(*(float(torch.linalg.vector_norm(each, dtype=torch.float64)) for each in tensors))
