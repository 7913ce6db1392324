"""Stochastic weight averaging: the mean of the weights that training passes at a rate that stays high."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, final

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, update_bn

from deepscope.core import Specimen, UsageError
from deepscope.subject import check_reiterable, device_of
from deepscope.training._callback import Callback
from deepscope.training._optimizer_arguments import require
from deepscope.training._schedules import Schedule
from deepscope.training._state import TrainingState


@final
class WeightAveraging(Callback):
    """Average the weights over the ends of epochs, and give the network their mean at the end of training (SWA).

    After n averaged epochs w̄ ← (n w̄ + w)/(n + 1). The mean lies nearer to the centre of a wide valley along whose
    borders training at a constant or ``cyclical`` rate runs; w itself is trained as without. Activations under w̄ have
    statistics that no epoch has seen: running estimates of batch normalisation are computed anew, as means over all
    batches, in a pass over the data. Source: ``izmailov2018averaging``; torch's ``swa_utils``.

    What is averaged survives a checkpoint; a run that is prolonged goes on from its last weights, not from the mean.

    Parameters
    ----------
    start
        Epochs that are made before, without being averaged: 75 % of all in the paper.
    every
        The end of every so many epochs is averaged, from the first after ``start``: the length of a cycle.
    batches
        Re-iterable pairs ``(inputs, targets)`` of the training data, for networks with batch normalisation; inputs are
        tensors.

    Attributes
    ----------
    n_averaged
        Number of epochs in the mean.

    Raises
    ------
    UsageError
        ``start`` is negative, ``every`` below 1, or one of them no whole number; the data can be iterated only once;
        when called: the network has running estimates, and there is no data, or they are not those of torch's batch
        normalisation.

    Notes
    -----
    Costs two copies of the weights in memory, and one forward pass over ``batches``. At the end nothing is changed
    where no epoch was averaged.

    Examples
    --------
    >>> import torch
    >>> from deepscope.training import fit
    >>> model, averaging = nn.Linear(1, 1, bias=False), WeightAveraging(start=2)
    >>> _ = nn.init.zeros_(model.weight)
    >>> _ = fit(
    ...     model,
    ...     lambda epoch: [(torch.ones(1, 1), None)],
    ...     lambda outputs, targets: -outputs.sum(),
    ...     optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
    ...     epochs=6,
    ...     callbacks=[averaging],
    ... )
    >>> model.weight.item(), averaging.n_averaged  # of 3, 4, 5 and 6
    (4.5, 4)
    """

    def __init__(self, start: int = 0, *, every: int = 1, batches: Iterable[Any] | None = None) -> None:
        require(start >= 0 and start % 1 == 0, "start", start, "of 0 or more epochs", where="WeightAveraging")
        require(every >= 1 and every % 1 == 0, "every", every, "of at least 1 epoch", where="WeightAveraging")
        if batches is not None:
            check_reiterable(batches)
        self.start, self.every, self.batches = start, every, batches
        self._averaged: AveragedModel | None = None
        self._resumed: dict[str, Tensor] = {}

    @property
    def n_averaged(self) -> int:
        """Number of epochs in the mean."""
        return int(self._averaged.n_averaged) if self._averaged is not None else 0

    def on_start(self, state: TrainingState) -> None:
        """Begin anew, or with what was averaged before an interruption."""
        self._require_batches(state.model)
        self._averaged = AveragedModel(state.model)
        if self._resumed:
            self._averaged.load_state_dict(self._resumed)
            self._resumed = {}

    def on_epoch_end(self, state: TrainingState) -> None:
        """Take the weights into the mean, if it is time."""
        if state.epoch >= self.start and (state.epoch - self.start) % self.every == self.every - 1:
            assert self._averaged is not None
            self._averaged.update_parameters(state.model)

    def on_end(self, state: TrainingState) -> None:
        """Give the network the mean."""
        if self.n_averaged and self._averaged is not None:
            state.model.load_state_dict(self._averaged.module.state_dict())
            if self.batches is not None:
                update_bn(self._inputs(), state.model, device=device_of(state.model))

    def configuration(self) -> Mapping[str, object]:
        """Return which epochs are averaged."""
        return {"start": self.start, "every": self.every}

    def state_dict(self) -> dict[str, Any]:
        """Return the mean and the number of epochs in it."""
        return {"averaged": dict(self._averaged.state_dict()) if self._averaged is not None else {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned, with the next ``on_start``."""
        self._resumed = state["averaged"]

    def _inputs(self) -> Iterator[Tensor]:
        assert self.batches is not None
        for inputs, _ in self.batches:
            if not isinstance(inputs, Tensor):
                raise UsageError(
                    f"the inputs are a {type(inputs).__name__}",
                    where="batches of WeightAveraging",
                    todo="Give pairs (inputs, targets) whose inputs are one tensor.",
                )
            yield inputs

    def _require_batches(self, model: nn.Module) -> None:
        estimating = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(getattr(module, "running_mean", None), Tensor)
        ]
        for name, module in estimating:
            if not isinstance(module, _BatchNorm):
                raise UsageError(
                    f"{name or 'the network'} is a {type(module).__name__}, whose estimates would be of other weights",
                    where="WeightAveraging",
                    todo="Use torch's batch normalisation, or one without running estimates.",
                )
        if estimating and self.batches is None:
            raise UsageError(
                f"{estimating[0][0] or 'the network'} keeps running estimates, which the mean of weights needs anew",
                where="batches of WeightAveraging",
                todo="Give the training data: WeightAveraging(…, batches=[(inputs, targets), …]).",
            )


def cyclical(cycle: int, lowest: float) -> Schedule:
    """Lower the rate linearly in each cycle of steps to ``lowest`` of itself, then jump back.

    At step i, from 0, the factor is (1 − t) + t · lowest with t = ((i mod cycle) + 1)/cycle: the lowest is reached at a
    cycle's last step, whose weights ``WeightAveraging`` averages where ``every`` epochs are a cycle. Source:
    ``izmailov2018averaging``.

    Raises
    ------
    UsageError
        ``cycle`` is below 1, or ``lowest`` not from 0 to 1.

    Examples
    --------
    >>> [cyclical(4, 0.2)(step) for step in (0, 1, 3, 4)]
    [0.8, 0.6, 0.2, 0.8]
    """
    require(cycle >= 1, "cycle", cycle, "of at least 1 step", where="cyclical")
    require(0 <= lowest <= 1, "lowest", lowest, "from 0 to 1", where="cyclical")
    return partial(_cyclical, cycle=cycle, lowest=lowest)


def _cyclical(step: int, *, cycle: int, lowest: float) -> float:
    share = (step % cycle + 1) / cycle
    return (1 - share) + share * lowest


SPECIMENS = (
    Specimen(
        name="swa",
        title="stochastic weight averaging",
        build=WeightAveraging,
        formula="w̄ ← (n w̄ + w)/(n + 1) at the end of each cycle; then batch normalisation's statistics under w̄.",
        source="izmailov2018averaging",
        pinned_by="tests/training/test_weight_averaging.py::test_the_network_ends_with_the_mean_of_the_weights_it_passed",
    ),
)
