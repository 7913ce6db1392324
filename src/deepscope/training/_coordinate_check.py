"""Coordinate check: how much the outputs of layers change in training, at several widths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepscope.core import FEWEST_SEEDS, Specimen, UsageError, derive_seed, interval
from deepscope.subject import LayerOutput, Subject, own_parameters, seeded_generators, watch_layers
from deepscope.training._callback import Callback
from deepscope.training._fit import fit
from deepscope.training._loss import Loss
from deepscope.training._optimizer_arguments import require
from deepscope.training._state import TrainingState

if TYPE_CHECKING:
    import pandas as pd

FEWEST_WIDTHS = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class CoordinateCheck:
    """How large the outputs of layers are, and how far training has moved them.

    Attributes
    ----------
    layers
        Layers with parameters of their own, in forward order.
    widths
        Ascending.
    size
        Root mean square of a layer's outputs, [seeds, widths, steps + 1, layers]; the first before training.
    change
        Root mean square of their difference from those before training, [seeds, widths, steps, layers].
    """

    layers: tuple[str, ...]
    widths: tuple[int, ...]
    size: NDArray[np.float64]
    change: NDArray[np.float64]

    def slopes(self, step: int | None = None) -> dict[str, NDArray[np.float64]]:
        """Return by layer the slope of the log of the change against log width, one per seed.

        Parameters
        ----------
        step
            Number of updates made; all unless given.

        Returns
        -------
        dict
            Least squares over the widths, [seeds]; NaN where a change is 0: what does not move has no slope.

        Raises
        ------
        UsageError
            No such step was taken.
        """
        steps = self.change.shape[2]
        step = steps if step is None else step
        require(1 <= step <= steps, "step", step, f"from 1 to {steps}", where="slopes")
        changes = self.change[:, :, step - 1]
        x = np.log(self.widths)
        weights = (x - x.mean()) / np.square(x - x.mean()).sum()
        logs = np.log(np.where(changes > 0, changes, math.nan))
        return dict(zip(self.layers, np.einsum("w,swl->ls", weights, logs), strict=True))

    def table(self, step: int | None = None) -> pd.DataFrame:
        """One row per layer: slope in width after a step (the last unless given), its interval, least and most change.

        ``low`` and ``high`` are the ends of the mean slope's 95 % interval over seeds; NaN below 3 seeds and where a
        layer does not move.
        """
        import pandas as pd

        rows = []
        for number, (layer, slopes) in enumerate(self.slopes(step).items()):
            known = len(slopes) >= FEWEST_SEEDS and bool(np.isfinite(slopes).all())
            low, high = interval(slopes) if known else (math.nan, math.nan)
            changes = self.change[:, :, -1 if step is None else step - 1, number]
            rows.append((layer, slopes.mean(), low, high, changes.min(), changes.max()))
        return pd.DataFrame(rows, columns=["layer", "slope", "low", "high", "least_change", "most_change"])


def coordinate_check(
    build: Callable[[int], nn.Module],
    widths: Sequence[int],
    batch: tuple[Any, Any],
    loss: Loss,
    *,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    steps: int = 10,
    seeds: int | Sequence[int] = 5,
) -> CoordinateCheck:
    """Train networks of several widths for a few steps, and measure how far the outputs of their layers move.

    In maximal-update parametrisation the root mean square of the change does not depend on the width, from some width
    on: its slope is 0. In the standard one, with one rate for all, it grows behind every hidden layer: with Adam as the
    width. It is the change that is judged, since outputs that do not change do not depend on the width either. Source:
    ``yang2022tensor``.

    Parameters
    ----------
    build
        Width to network, which it draws from torch's global generator.
    widths
        Three or more.
    batch
        ``(inputs, targets)``, on which networks are trained and measured.
    loss
        ``loss(outputs, targets)``.
    optimizer
        Network to optimiser: for µP ``lambda network: Adam(maximal_update(network, build(base), lr=…))``.
    steps
        Number of updates.
    seeds
        How many networks of each width, from seed 0, or their seeds.

    Returns
    -------
    CoordinateCheck
        Outputs are taken in evaluation mode.

    Raises
    ------
    UsageError
        Fewer than three widths, no step or no seed; networks with different layers.
    MeasurementError
        A training diverges, at one of its steps.

    Notes
    -----
    Costs for each width and seed ``steps`` steps of training and ``steps + 1`` forward passes, and the memory of the
    outputs twice. Global generators are left as they were.

    Examples
    --------
    >>> from deepscope.training import Adam, maximal_update
    >>> def build(width):
    ...     return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))
    >>> inputs, widths = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), (64, 256, 1024)
    >>> def slope(optimizer):
    ...     batch, loss = (inputs, inputs[:, :2]), nn.functional.mse_loss
    ...     return coordinate_check(build, widths, batch, loss, optimizer=optimizer, steps=1).slopes()["2"].mean()
    >>> print(f"{slope(lambda network: Adam(network.parameters(), lr=0.01)):.1f}")
    0.9
    >>> print(f"{abs(slope(lambda network: Adam(maximal_update(network, build(64), lr=0.01)))):.1f}")
    0.0
    """
    chosen = tuple(sorted({int(width) for width in widths}))
    require(len(chosen) >= FEWEST_WIDTHS, "widths", tuple(widths), "as three different ones or more", where=_NAME)
    require(steps >= 1, "steps", steps, "1 or more", where=_NAME)
    drawn = tuple(range(seeds) if isinstance(seeds, int) else seeds)
    require(len(drawn) >= 1, "seeds", seeds, "1 or more", where=_NAME)
    courses = []
    for seed in drawn:
        for width in chosen:
            with seeded_generators(derive_seed(seed, _NAME, width)):
                network = build(width)
                course = _Course(network, batch)
                fit(
                    network,
                    lambda _: [batch],
                    loss,
                    optimizer=optimizer(network),
                    epochs=steps,
                    callbacks=[course],
                    seed=seed,
                )
            courses.append(course)
    layers = _same_layers(courses)
    shape = (len(drawn), len(chosen), -1, len(layers))
    return CoordinateCheck(
        layers=layers,
        widths=chosen,
        size=np.array([course.size for course in courses]).reshape(shape),
        change=np.array([course.change for course in courses]).reshape(shape),
    )


@final
class _Course(Callback):
    """Measures the outputs of layers before training and after each step."""

    def __init__(self, network: nn.Module, batch: tuple[Any, Any]) -> None:
        self.subject = Subject(network, data=[batch])
        self.first: dict[str, Tensor] = {}
        self.size: list[list[float]] = []
        self.change: list[list[float]] = []

    def on_start(self, state: TrainingState) -> None:
        """Keep the outputs before training."""
        self.first = self._outputs()
        self.size.append([_rms(each) for each in self.first.values()])

    def on_step(self, state: TrainingState) -> None:
        """Measure them now."""
        now = self._outputs()
        self.size.append([_rms(each) for each in now.values()])
        self.change.append([_rms(now[layer] - each) for layer, each in self.first.items()])

    def _outputs(self) -> dict[str, Tensor]:
        """Return what the layers with parameters put out, all that a layer put out where it ran several times."""
        found: dict[str, list[Tensor]] = {}

        def observe(output: LayerOutput) -> None:
            if not output.functional and any(True for _ in own_parameters(output.module)):
                found.setdefault(output.name, []).append(output.tensor.flatten().clone())

        with self.subject.undisturbed(), torch.no_grad(), watch_layers(self.subject, observe) as watch:
            for each in self.subject.batches():
                with watch.forward(each.inputs):
                    self.subject.predict(each.inputs)
        return {layer: torch.cat(tensors) for layer, tensors in found.items()}


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())


def _same_layers(courses: Sequence[_Course]) -> tuple[str, ...]:
    layers = [tuple(course.first) for course in courses]
    if len(set(layers)) > 1 or not layers[0]:
        raise UsageError(
            f"the layers with parameters are {', '.join(layers[0]) or 'none'} at one width and "
            f"{', '.join(next((each for each in layers if each != layers[0]), ())) or 'none'} at another",
            where=f"build of {_NAME}",
            todo="Give a function whose networks differ in their width alone.",
        )
    return layers[0]


_NAME = "coordinate_check"

SPECIMENS = (
    Specimen(
        name="coordinate-check",
        title="how far training moves the outputs of layers, against the width",
        build=coordinate_check,
        formula=(
            "Slope of log √(mean (hₜ − h₀)²) against the log of the width, h the outputs of a layer on one batch, t "
            "the number of updates: 0 where the rate transfers."
        ),
        source="yang2022tensor",
        rows=("repo-mup",),
        pinned_by="tests/training/test_coordinate_check.py::test_maximal_updates_are_flat_in_width_and_standard_ones_grow",
    ),
)
