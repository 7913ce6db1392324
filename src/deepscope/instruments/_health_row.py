"""One layer's health."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from deepscope.instruments._health_gradients import MeanGradient
from deepscope.instruments._health_statistics import LayerStatistics

#: Status of a gradient that is NaN or infinite.
NONFINITE_GRADIENT = "non-finite gradient"

_NOT_IN_THE_PROFILE = (
    nn.Embedding,
    nn.EmbeddingBag,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._NormBase,
)


@dataclass(frozen=True, kw_only=True)
class LayerHealth:
    """What one layer put out over the data, and the gradient there.

    Attributes
    ----------
    name
        The layer, as ``named_modules`` has it; ``#2`` … behind the name of a layer without parameters where it is
        used again elsewhere.
    kind
        Class of the module.
    units
        Size of the dimension along which its units lie; None where that changes from batch to batch.
    activation_mean, activation_std
        Over all finite values at all real positions.
    dead_fraction
        Share of units that let nothing through at any sample and position seen; None where the layer is no rectifier
        and its output goes into none that is called as a function. A share of this sample, without an interval: with n
        independent samples a unit counted as dead is open on fewer than 3/n of all inputs (95 %).
    saturated_fraction
        Share of units for which at least 95 % of the outputs lie within 1 % of the range from an end of it; None for
        unbounded functions.
    constant_fraction
        Share of units whose outputs differ by at most 1e-6 of their magnitude; None for a single sample.
    nonfinite_fraction
        Share of values that are NaN or infinite.
    gradient_norm, gradient_norm_stderr
        L2 norm of the mean loss's gradient with respect to the layer's own parameters, and an upper bound on its
        standard error from the spread between batches.
    gradient_to_weight
        ‖gradient‖ / ‖weights‖ over the parameters of two or more dimensions.
    status
        ``"ok"``, or why a number does not exist.
    module
        The name without ``#2`` ….
    activation
        Name of the activation function, or ``""``.
    output_gradient
        √ of the mean over the loss's terms of ‖∂(sum of their losses)/∂ output‖²: unlike ``gradient_norm`` it does
        not grow with the layer's parameters or input.
    in_profile
        Whether the layer holds weight matrices (normalisation and embeddings excepted).
    """

    name: str
    kind: str
    units: int | None
    activation_mean: float | None
    activation_std: float | None
    dead_fraction: float | None
    saturated_fraction: float | None
    constant_fraction: float | None
    nonfinite_fraction: float | None
    gradient_norm: float | None
    gradient_norm_stderr: float | None
    gradient_to_weight: float | None
    status: str
    module: str
    activation: str
    output_gradient: float | None
    in_profile: bool


def layer_health(
    seen: LayerStatistics, parameters: Mapping[str, nn.Parameter], gradient: MeanGradient | None, n_samples: int
) -> LayerHealth:
    """Make a row of what was gathered; ``parameters`` are those counted with the layer."""
    trained = [name for name, parameter in parameters.items() if parameter.requires_grad]
    found = gradient.norm(trained) if gradient is not None else None
    norm = found.norm if found is not None and math.isfinite(found.norm) else None
    units, constant = seen.range.units, seen.range.constant()
    ratio = None
    if found is not None and norm is not None and found.has_matrix and found.weight_norm:
        ratio = found.matrix_norm / found.weight_norm
    return LayerHealth(
        name=seen.site,
        kind=type(seen.module).__name__,
        units=units,
        activation_mean=_finite(seen.mean),
        activation_std=_finite(seen.std),
        dead_fraction=seen.dead_fraction,
        saturated_fraction=seen.saturated_fraction,
        constant_fraction=constant / units if units and constant is not None and n_samples > 1 else None,
        nonfinite_fraction=seen.nonfinite_fraction,
        gradient_norm=norm,
        gradient_norm_stderr=_finite(found.stderr) if found is not None and norm is not None else None,
        gradient_to_weight=_finite(ratio),
        status=_status(seen, list(parameters), trained, gradient, norm),
        module=seen.name,
        activation=seen.activation,
        output_gradient=_output_gradient(seen, gradient),
        in_profile=not isinstance(seen.module, _NOT_IN_THE_PROFILE)
        and any(parameter.ndim >= 2 for parameter in parameters.values()),
    )


def _output_gradient(seen: LayerStatistics, gradient: MeanGradient | None) -> float | None:
    if gradient is None or not gradient.terms or seen.gradient_square is None:
        return None
    return _finite(math.sqrt(seen.gradient_square / gradient.terms))


def _status(
    seen: LayerStatistics,
    parameters: Sequence[str],
    trained: Sequence[str],
    gradient: MeanGradient | None,
    norm: float | None,
) -> str:
    said = []
    if seen.nonfinite:
        said.append("non-finite values")
    if seen.values == 0:
        said.append("padding only")
    if not seen.comparable:
        said.append("the number of units changes from batch to batch")
    if norm is None and not parameters:
        said.append("no parameters")
    elif norm is None and not trained:
        said.append("frozen")
    elif norm is None and gradient is None:
        said.append("no gradients")
    elif norm is None and gradient is not None:
        reached = any(gradient.reaches(name) for name in trained)
        said.append(NONFINITE_GRADIENT if reached else "the loss does not depend on it")
    return "; ".join(said) or "ok"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
