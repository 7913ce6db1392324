"""watch: what happens in a network while it trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import Needs, UsageError, nearest
from deepscope.lab._overhead import OverheadBudget
from deepscope.lab._probes import CurvatureProbe, HealthProbe, KernelProbe, LossProbe, NoiseProbe, Probe, WeightsProbe
from deepscope.lab._training_watch import TrainingWatch
from deepscope.subject import Subject

#: The probes that have a name, in the order in which they measure.
PROBES: dict[str, Callable[[], Probe]] = {
    "loss": LossProbe,
    "weights": WeightsProbe,
    "health": HealthProbe,
    "noise": NoiseProbe,
    "curvature": CurvatureProbe,
    "kernel": KernelProbe,
}


def watch(
    model: nn.Module | Subject,
    data: Iterable[Any] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    *,
    every: int = 100,
    overhead: float = 0.05,
    optimizer: torch.optim.Optimizer | None = None,
    batch_size: int | None = None,
    probes: Sequence[str | Probe] = tuple(PROBES),
    seed: int = 0,
) -> TrainingWatch:
    """Watch a training: measure the network on probe data as it trains, within a promised share of the time.

    ::

        with deepscope.watch(model, data=probe, loss=loss, optimizer=optimizer) as watching:
            for inputs, targets in loader:
                ...
                optimizer.step()
                watching.step(value)          # the loss of this step: a tensor or a number
        watching.result.save("watched.html")

    With ``deepscope.training.fit`` it is a callback: ``fit(…, callbacks=[watching])``, without the ``with``.

    Parameters
    ----------
    model
        The network that trains; or a ``Subject`` of it with data and loss, where it takes ``forward``, ``count`` or
        ``mask``.
    data
        The probe data: batches ``(inputs, targets)``, re-iterable in the same order. A few hundred samples do; what is
        to be compared with the edge of stability needs the training data, or a fair sample of them.
    loss
        ``loss(outputs, targets)``, a mean over the batch.
    every
        Measure at multiples of so many steps, where the promise allows it; step 0 is the network before the first.
    overhead
        The promised share of measuring, M, in the time of training, T: see below.
    optimizer
        Gives the learning rate, and with it the curvature from which on gradient descent is unstable.
    batch_size
        What the gradient noise scale is compared with; with ``fit`` it is known.
    probes
        What is measured, all of these unless given: ``"loss"`` (loss and gradient norm on the probe data),
        ``"weights"`` (their norm and distance from the start), ``"health"`` (share of dead and saturated units),
        ``"noise"`` (gradient noise scale), ``"curvature"`` (largest eigenvalue of the Hessian, the dearest),
        ``"kernel"`` (drift of the tangent kernel since the start); or an object of your own: see ``Probe``.
    seed
        From it, and the probe's name, whatever a probe draws at random.

    Returns
    -------
    TrainingWatch
        Its ``result`` is a ``Watched``; it is stored as it grows, and ``deepscope runs show`` shows it.

    Raises
    ------
    MeasurementError
        There is no data, or no loss.
    UsageError
        An interval or a batch size below 1, an overhead that is not above 0, an unknown probe, two of one name.
    TargetError
        The network's parameters are not there, or sharded: see ``Subject``.

    Notes
    -----
    *The promise.* T is the time from the first measurement on that is spent outside of deepscope, M that inside: in
    measuring, storing, drawing the line, and in ``step`` itself. A measurement is begun only at a step where
    M + E ≤ ``overhead`` · T, with E what each probe took the last time. So M stays within ``overhead`` · T but for
    what the first measurement takes, at the very start, and what another takes longer than it was expected to; both
    are debts, paid before the next measurement is begun. Opening the run, before the training, and the final figure
    and record, after it, are not counted.

    *The training is what it is without*, bit for bit: parameters, gradients, buffers, modes, optimiser and all random
    generators are after each measurement what they were before. A probe that fails is dropped, with a warning and the
    reason in ``left_out``, and the training goes on. An interrupt (Ctrl-C) ends the training as it would without, and
    what was seen so far is stored. A training that is killed leaves a run that can be read up to its last point.

    The network is measured in evaluation mode. A training that is resumed from a checkpoint is a run of its own: its
    distances and its kernel drift count from there.

    Cost: in time, as promised; in memory two copies of the parameters, and what each probe says.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from unittest.mock import patch
    >>> network, x = nn.Linear(1, 1), torch.linspace(-1, 1, 8).reshape(-1, 1)
    >>> descent = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> watching = watch(network, [(x, 3 * x)], nn.functional.mse_loss, every=1, overhead=1e9, optimizer=descent)
    >>> with TemporaryDirectory() as home, patch.dict("os.environ", DEEPSCOPE_HOME=home), watching:
    ...     for _ in range(3):
    ...         descent.zero_grad()
    ...         value = nn.functional.mse_loss(network(x), 3 * x)
    ...         value.backward()
    ...         descent.step()
    ...         watching.step(value)
    >>> watching.result.table["step"].tolist()
    [0, 1, 2, 3]
    """
    subject = model if isinstance(model, Subject) else Subject(model)
    subject = subject.with_data(data, loss)
    subject.require(Needs.MODEL | Needs.DATA | Needs.LOSS, "watch")
    for name, number in (("every", every), ("batch_size", batch_size)):
        if number is not None and number < 1:
            raise UsageError(f"it is {number}", where=name, todo="Give 1 or more.")
    if not 0 < overhead < math.inf:
        raise UsageError(f"the share of time is {overhead}", where="overhead", todo="Give one above 0, such as 0.05.")
    budget = OverheadBudget(overhead)
    return TrainingWatch(
        subject, _chosen(probes), budget, every=every, optimizer=optimizer, batch_size=batch_size, seed=seed
    )


def _chosen(probes: Sequence[str | Probe]) -> list[Probe]:
    chosen = []
    for probe in probes:
        if isinstance(probe, str) and probe not in PROBES:
            raise UsageError("unknown probe", where=probe, todo=nearest(probe, PROBES))
        made = PROBES[probe]() if isinstance(probe, str) else probe
        if not isinstance(made, Probe):
            raise UsageError(
                f"a probe is a name or has a name and measure(subject, generator), not a {type(made).__name__}",
                where="probes",
                todo=f"Known names: {', '.join(PROBES)}.",
            )
        chosen.append(made)
    names = [probe.name for probe in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError("two probes have one name", where=", ".join(twice), todo="Give each once.")
    return chosen
