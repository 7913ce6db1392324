"""How each layer moves along the first direction, and what the loss does when it moves alone."""

from __future__ import annotations

from functools import partial

import numpy as np

from deepscope.instruments._filter_norms import module_of, n_filters
from deepscope.instruments._landscape_directions import norm
from deepscope.instruments._landscape_plane import Plane
from deepscope.instruments._landscape_reading import LayerStep
from deepscope.instruments._parameter_points import Listed
from deepscope.instruments._parameter_space import ParameterSpace, Tensors
from deepscope.instruments._point_losses import PointLosses
from deepscope.subject import Subject


def layer_steps(
    subject: Subject, space: ParameterSpace, plane: Plane, evaluate: PointLosses, centre: float | None
) -> tuple[LayerStep, ...]:
    """Return one entry per layer that moves along the first direction, in the model's order.

    ``centre`` is the loss of the network itself, above which the rise is counted; None measures none.
    """
    assert subject.model is not None
    modules = dict(subject.model.named_modules())
    direction = plane.directions[0]
    layers: dict[str, list[str]] = {}
    for weight in space.weights:
        if weight.name in direction:
            layers.setdefault(weight.layer, []).append(weight.name)
    rises = _rises(space, plane, layers, evaluate, centre) if centre is not None else None
    found = []
    for index, (layer, names) in enumerate(layers.items()):
        weight_norm = norm({name: space.origin[name] for name in names})
        step_norm = norm({name: direction[name] for name in names})
        rise = None if rises is None or np.isnan(rises[index]) else float(rises[index])
        filters = sum(n_filters(space.origin[name], module_of(modules, name)) for name in names)
        found.append(
            LayerStep(
                name=layer,
                tensors=len(names),
                filters=filters,
                weight_norm=weight_norm,
                step_norm=step_norm,
                relative_step=step_norm / weight_norm if weight_norm else None,
                rise=rise,
                status="" if rise is not None else "between networks" if rises is None else "no finite loss",
            )
        )
    return tuple(found)


def _rises(
    space: ParameterSpace, plane: Plane, layers: dict[str, list[str]], evaluate: PointLosses, centre: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    ends = [float(plane.coordinates[0]), float(plane.coordinates[-1])]
    origin, direction = evaluate.laid_out(space.origin), plane.directions[0]

    def moved(names: list[str], end: float) -> Tensors:
        return {**origin, **evaluate.laid_out({name: space.origin[name] + end * direction[name] for name in names})}

    losses = evaluate.at(Listed([partial(moved, names, end) for names in layers.values() for end in ends])).mean
    rises: np.ndarray[tuple[int], np.dtype[np.float64]] = losses.reshape(-1, 2).mean(axis=1) - centre
    return rises
