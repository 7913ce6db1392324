"""Early stopping: training ends where the error on other data no longer falls, and goes back to where it was least."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

from torch import Tensor

from deepscope.core import MeasurementError, Specimen, UsageError, nearest
from deepscope.training._callback import Callback
from deepscope.training._optimizer_arguments import require
from deepscope.training._state import TrainingState


@final
class EarlyStopping(Callback):
    """End a training when a number of its epochs has not become better for a while, and keep the best epoch's weights.

    With E(t) the number of epoch t and E* the least so far, training ends after an epoch for which

    * no epoch has been better for ``patience`` epochs, or
    * the generalisation loss GL(t) = 100 (E(t)/E* − 1), in percent, is above ``generalisation_loss``.

    At the end, also where all epochs were made, the network has the weights and buffers of the best epoch, the first of
    several alike. What is remembered survives a checkpoint; a run that is prolonged goes on from its last weights. Of
    the epochs that follow the best, all are made in vain. Source: ``prechelt1998early``, whose GL_α is the second.

    Give it after the ``Evaluate`` that records the number, which is of data that training does not see: validation
    data, not the test data, because the least of many is too small.

    Parameters
    ----------
    name
        Of the number in the epoch's record: ``"validation_loss"`` of ``Evaluate(…, name="validation")``.
    patience
        Epochs without a better one after which training ends.
    generalisation_loss
        α, in percent.
    maximise
        Whether larger is better, as of an accuracy; the generalisation loss is of what is to become small.

    Attributes
    ----------
    best_epoch
        From 0; None before the first.
    best
        The number of that epoch.

    Raises
    ------
    UsageError
        Neither criterion or a senseless one is given; when called: no callback before it records the number.
    MeasurementError
        The number is not finite; or it is negative, and the generalisation loss is asked for.

    Notes
    -----
    Costs a copy of the weights for each epoch that is the best so far.

    Examples
    --------
    >>> import torch
    >>> from deepscope.training import Evaluate, fit
    >>> model, x = torch.nn.Linear(1, 1), torch.ones(4, 1)
    >>> stopping = EarlyStopping("validation_loss", patience=3)
    >>> loss = torch.nn.functional.mse_loss
    >>> history = fit(
    ...     model,
    ...     lambda epoch: [(x, x)],
    ...     loss,
    ...     optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    ...     epochs=100,
    ...     callbacks=[Evaluate([(x, -x)], loss, name="validation"), stopping],
    ... )
    >>> len(history.epochs) == stopping.best_epoch + 1 + 3
    True
    """

    def __init__(
        self,
        name: str,
        *,
        patience: int | None = None,
        generalisation_loss: float | None = None,
        maximise: bool = False,
    ) -> None:
        where = "EarlyStopping"
        given = patience is not None or generalisation_loss is not None
        require(given, "patience", None, "or generalisation_loss: when training ends", where=where)
        require(patience is None or patience >= 1, "patience", patience, "of at least 1 epoch", where=where)
        fits = generalisation_loss is None or (generalisation_loss >= 0 and not maximise)
        allowed = "of 0 percent or more, for what is to become small"
        require(fits, "generalisation_loss", generalisation_loss, allowed, where=where)
        self.name, self.patience, self.generalisation_loss, self.maximise = (
            name,
            patience,
            generalisation_loss,
            maximise,
        )
        self._forget()

    def _forget(self) -> None:
        self.best_epoch: int | None = None
        self.best: float | None = None
        self._weights: dict[str, Tensor] = {}

    def on_start(self, state: TrainingState) -> None:
        """Forget an earlier run."""
        if state.step == 0:
            self._forget()

    def on_epoch_end(self, state: TrainingState) -> None:
        """Compare the epoch with the best, and end the training if it is time."""
        value = self._value(state)
        if self.best is None or (value > self.best if self.maximise else value < self.best):
            self.best_epoch, self.best = state.epoch, value
            self._weights = {key: tensor.detach().clone() for key, tensor in state.model.state_dict().items()}
        assert self.best_epoch is not None
        late = self.patience is not None and state.epoch - self.best_epoch >= self.patience
        # As a product, so that a least error of 0 needs no quotient.
        limit = self.generalisation_loss
        worse = limit is not None and 100 * (value - self.best) > limit * self.best
        state.stop = state.stop or late or worse

    def on_end(self, state: TrainingState) -> None:
        """Give the network the best weights."""
        if self._weights:
            state.model.load_state_dict(self._weights)

    def configuration(self) -> Mapping[str, object]:
        """Return the number's name and the criteria."""
        return {
            "name": self.name,
            "patience": self.patience,
            "generalisation_loss": self.generalisation_loss,
            "maximise": self.maximise,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the best epoch, its number and weights."""
        return {"best_epoch": self.best_epoch, "best": self.best, "weights": dict(self._weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        self.best_epoch, self.best, self._weights = state["best_epoch"], state["best"], dict(state["weights"])

    def _value(self, state: TrainingState) -> float:
        record = state.history.epochs[-1]
        if self.name not in record:
            raise UsageError(
                f"no epoch records a {self.name}",
                where="name of EarlyStopping",
                todo=f"{nearest(self.name, record)} Give Evaluate(…) among the callbacks, before it.",
            )
        value = float(record[self.name])
        if not math.isfinite(value):
            raise MeasurementError(
                f"{self.name} is {value}", where=f"epoch {state.epoch}", todo="Give a number that is finite."
            )
        if self.generalisation_loss is not None and value < 0:
            raise MeasurementError(
                f"{self.name} is {value}, and the generalisation loss is a ratio of errors",
                where=f"epoch {state.epoch}",
                todo="Give patience in its place, or a number that is 0 or more.",
            )
        return value


SPECIMENS = (
    Specimen(
        name="early-stopping",
        title="the weights of the epoch whose error on other data was least",
        build=EarlyStopping,
        formula="Stop after epoch t when t − argmin E ≥ patience, or 100 (E(t)/min E − 1) > α; E on validation data.",
        source="prechelt1998early",
        pinned_by="tests/training/test_early_stopping.py::test_it_ends_where_a_loop_written_out_ends",
    ),
)
