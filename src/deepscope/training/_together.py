"""Networks that are trained as one: what the loop that trains a single one needs besides their stacked weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from deepscope.core import DataError, DeepscopeError, MeasurementError
from deepscope.training._callback import Callback
from deepscope.training._fit import Data
from deepscope.training._loss import Count, Loss, n_terms
from deepscope.training._stacked import Stacked, stacked, values_of, write_into
from deepscope.training._state import History, TrainingState


@final
class Together(Callback):
    """Data, loss and callback with which ``fit`` trains the networks of a stack, each as if it were alone.

    ``data`` gives all networks' batches, ``loss`` the sum of their losses, whose gradient in a network's weights is
    that of its own. As a callback it keeps what belongs to each network. One whose loss or weights are not finite, or
    whose callbacks end its training, is taken out: it keeps what it was then, and the others go on as they would.

    Parameters
    ----------
    networks
        Given their weights at the end, and where their callbacks are called.
    stack
        The same networks, as they are trained.
    data
        One function for all, or one for each.
    loss, count
        As for ``fit``.
    callbacks
        Of each network; they act at most once an epoch.
    settings
        What shapes the run: a checkpoint is resumed only with the same.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        stack: Stacked,
        data: Data | Sequence[Data],
        loss: Loss,
        *,
        count: Count | None,
        callbacks: Sequence[Sequence[Callback]],
        settings: Mapping[str, object],
    ) -> None:
        self._networks, self._stack, self._data, self._loss, self._count = networks, stack, data, loss, count
        self._callbacks, self._settings = callbacks, settings
        n = len(networks)
        self.histories, self.failures = [History() for _ in range(n)], dict[int, str]()
        self._trained, self._kept = list(range(n)), dict[int, dict[str, Tensor]]()
        self._losses, self._counts = torch.zeros(n), [0.0] * n
        self._state: TrainingState | None = None

    def data(self, epoch: int) -> Iterator[tuple[Any, ...]]:
        """Give the batches of all networks: as they are where they are shared, otherwise stacked."""
        if callable(self._data):
            for inputs, targets in self._data(epoch):
                self._counts = [n_terms(inputs, targets, self._count)] * len(self._networks)
                yield inputs, targets
        else:
            for batch, parts in enumerate(_side_by_side(self._data, epoch)):
                where = f"epoch {epoch}, batch {batch}"
                self._counts = [n_terms(inputs, targets, self._count) for inputs, targets in parts]
                yield tuple(stacked(each, where) for each in zip(*parts, strict=True))
        # After an epoch's last update, and before ``fit`` looks whether all weights are finite.
        self._take_out_infinite_weights()

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the sum of the networks' losses."""
        losses = self._stack.losses(self._loss, outputs, targets)
        self._losses = losses.detach()
        # What a network that was taken out still gives concerns no other; only a sum must be a number.
        return torch.where(losses.isfinite(), losses, 0.0).sum()

    def on_start(self, state: TrainingState) -> None:
        """Start the callbacks of each network."""
        self._state = state
        for index in [index for index in self._kept if index not in self.failures]:
            # Ended before an interruption: its callbacks take up what they remember, as in a training of its own.
            write_into(self._networks[index], self._kept[index])
            self._called("on_start", index, state)
        self._call("on_start", state)
        state.stop = not self._trained

    def on_gradients(self, state: TrainingState) -> None:
        """Take out networks whose loss is not finite, before their update."""
        if not bool(self._losses.isfinite().all()):
            for index in tuple(self._trained):
                if not self._losses[index].isfinite():
                    self._take_out(index, _failure(f"the training loss is {self._losses[index].item()}", state))

    def on_step(self, state: TrainingState) -> None:
        """Note each network's loss."""
        losses, factor = self._losses.tolist(), state.history.lr_factor[-1]
        for index in self._trained:
            history = self.histories[index]
            history.loss.append(losses[index])
            history.count.append(self._counts[index])
            history.lr_factor.append(factor)
        self._stack.clear(self._kept)
        state.stop = not self._trained

    def on_epoch_end(self, state: TrainingState) -> None:
        """Record the epoch of each network, and call its callbacks."""
        for index in self._trained:
            history = self.histories[index]
            mean = history.mean_loss(last=state.batch)
            history.epochs.append({"epoch": state.epoch, "steps": state.step, "loss": mean})
        self._call("on_epoch_end", state)
        state.stop = not self._trained

    def on_end(self, state: TrainingState) -> None:
        """Give each network its weights, and end its callbacks."""
        self.write_back()
        for index in range(len(self._networks)):
            if index not in self.failures:
                self._called("on_end", index, state)

    def write_back(self) -> None:
        """Give each network its weights."""
        for index, network in enumerate(self._networks):
            write_into(network, self._kept.get(index) or self._stack.read(index))

    def configuration(self) -> Mapping[str, object]:
        """Return what shapes the run."""
        return self._settings

    def state_dict(self) -> dict[str, Any]:
        """Return what belongs to each network."""
        return {
            "histories": [history.to_plain() for history in self.histories],
            "failures": dict(self.failures),
            "kept": dict(self._kept),
            "callbacks": [[callback.state_dict() for callback in each] for each in self._callbacks],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        self.histories = [History.from_plain(each) for each in state["histories"]]
        self.failures, self._kept = dict(state["failures"]), dict(state["kept"])
        self._trained = [index for index in range(len(self._networks)) if index not in self._kept]
        for callbacks, states in zip(self._callbacks, state["callbacks"], strict=True):
            for callback, own in zip(callbacks, states, strict=True):
                callback.load_state_dict(own)

    def _call(self, hook: str, state: TrainingState) -> None:
        for index in tuple(self._trained):
            if not self._callbacks[index]:
                continue
            network = self._networks[index]
            write_into(network, self._stack.read(index))
            own = self._called(hook, index, state)
            if index not in self.failures:
                # A callback may have changed the weights.
                self._stack.write(index, values_of(network))
            if own.stop or index in self.failures:
                self._take_out(index)

    def _called(self, hook: str, index: int, state: TrainingState) -> TrainingState:
        """Call a network's callbacks, and return the state that they were given."""
        own = self._state_of(index, state)
        try:
            for callback in self._callbacks[index]:
                getattr(callback, hook)(own)
        except MeasurementError as error:
            self.failures[index] = failure_of(error)
        return own

    def _state_of(self, index: int, state: TrainingState) -> TrainingState:
        history = self.histories[index]
        loss = history.loss[-1] if history.loss else None
        network = self._networks[index]
        return TrainingState(network, state.optimizer, state.epoch, state.step, state.batch, loss, history=history)

    def _take_out(self, index: int, failure: str | None = None) -> None:
        self._kept[index] = self._stack.read(index)
        self._trained.remove(index)
        if failure is not None:
            self.failures[index] = failure

    def _take_out_infinite_weights(self) -> None:
        assert self._state is not None
        for name, finite in self._stack.finite().items():
            for index in tuple(self._trained):
                if not finite[index]:
                    self._take_out(index, _failure(f"the weight {name} is no longer finite", self._state))
        self._stack.clear(self._kept)


def failure_of(error: DeepscopeError) -> str:
    """Say what went wrong in a training, in one line."""
    return f"{error.what}: {error.where}" if error.where else error.what


def _failure(what: str, state: TrainingState) -> str:
    return f"{what}: step {state.step}, epoch {state.epoch} (both from 0)"


def _side_by_side(data: Sequence[Data], epoch: int) -> Iterator[list[Any]]:
    iterators = [iter(each(epoch)) for each in data]
    while True:
        parts = [next(iterator, None) for iterator in iterators]
        missing = [index for index, part in enumerate(parts) if part is None]
        if len(missing) == len(parts):
            return
        if missing:
            raise DataError(
                f"network {missing[0]} has no more batches, and others have",
                where=f"epoch {epoch}",
                todo="Give all networks as many batches, or together=False.",
            )
        for index, part in enumerate(parts):
            if not isinstance(part, (tuple, list)) or len(part) != 2:
                raise DataError(
                    f"a batch is a {type(part).__name__}, not a pair (inputs, targets)",
                    where=f"epoch {epoch}, network {index}",
                    todo="Give batches as (inputs, targets); inputs may be a tensor, a tuple or a mapping.",
                )
        yield parts
