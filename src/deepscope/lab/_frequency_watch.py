"""watch_frequencies: in which order a network learns the frequencies of its targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.instruments import FrequencyErrors, FrequencyOrder, frequency_order
from deepscope.subject import Subject, generators_kept
from deepscope.training import Callback, TrainingState

_HOW_TO_BEGIN = "Enter it (with watch_frequencies(…) as watching: …), or give it to fit(…, callbacks=[…])."


def watch_frequencies(
    model: nn.Module | Subject,
    data: Iterable[Any] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    *,
    waves: Sequence[Any] | NDArray[Any] | None = None,
    widths: Sequence[float] | None = None,
    samples: int = 512,
    every: int = 10,
    threshold: float = 0.3,
) -> FrequencyWatch:
    """Measure the error in each band of frequencies as a network trains, and the order in which they are learned.

    With ``deepscope.training.fit`` it is a callback: ``fit(…, callbacks=[watching])``; in a loop of your own::

        with deepscope.lab.watch_frequencies(model, data, waves=[1, 3, 5]) as watching:
            for inputs, targets in loader:
                ...
                optimizer.step()
                watching.step()
        watching.result.order

    Parameters
    ----------
    model
        The network that trains; or a ``Subject`` of it with data.
    data
        Batches ``(inputs, targets)`` of which the first samples are measured: floating-point inputs, and classes or
        numbers as targets. What it is trained on, or a fair sample of that.
    loss
        Says how outputs are read: see ``deepscope.instruments.frequency``.
    waves, widths, samples
        The bands: see ``deepscope.instruments.FrequencyErrors``.
    every
        Measure at multiples of so many steps; step 0 is the network before the first.
    threshold
        Of the relative error, below which a band counts as learned.

    Raises
    ------
    UsageError
        An interval below 1, a threshold that is not between 0 and 1; and what ``FrequencyErrors`` raises.

    Notes
    -----
    The training is what it is without, bit for bit: each measurement leaves parameters, gradients, buffers, modes and
    random generators as they were. A run resumed from a checkpoint goes on with what was measured before.
    Cost: a forward pass of the samples at each measurement, and n² multiplications per filter.
    Sources: ``xu2020frequency``, ``rahaman2019spectral``.

    Examples
    --------
    >>> class Waves(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weights = nn.Parameter(torch.zeros(2))
    ...     def forward(self, x):
    ...         low, high = torch.sin(2 * torch.pi * x), torch.sin(6 * torch.pi * x)
    ...         return self.weights[0] * low + 0.3 * self.weights[1] * high
    >>> network, x = Waves(), torch.arange(32.0)[:, None] / 32
    >>> y = torch.sin(2 * torch.pi * x) + torch.sin(6 * torch.pi * x)
    >>> descent = torch.optim.SGD(network.parameters(), lr=0.5)
    >>> with watch_frequencies(network, [(x, y)], nn.functional.mse_loss, waves=[1, 3], every=1) as watching:
    ...     for _ in range(60):
    ...         descent.zero_grad()
    ...         nn.functional.mse_loss(network(x), y).backward()
    ...         descent.step()
    ...         watching.step()
    >>> watching.result.order
    ('1', '3')
    """
    subject = model if isinstance(model, Subject) else Subject(model)
    if every < 1:
        raise UsageError(f"it is {every}", where="every", todo="Give 1 or more.")
    if not 0 < threshold < 1:
        raise UsageError(f"the threshold is {threshold}", where="threshold", todo="Give one between 0 and 1.")
    subject = subject.with_data(data, loss)
    errors = FrequencyErrors(subject, samples, waves=waves, widths=widths)
    return FrequencyWatch(subject, errors, every=every, threshold=threshold)


@final
class FrequencyWatch(Callback):
    """What ``watch_frequencies`` returns: a context manager with ``step``, and a callback for ``fit``.

    Parameters
    ----------
    subject
        What trains.
    errors
        Measures it.
    every, threshold
        As for ``watch_frequencies``.
    """

    def __init__(self, subject: Subject, errors: FrequencyErrors, *, every: int, threshold: float) -> None:
        self._subject, self._errors, self._every, self._threshold = subject, errors, every, threshold
        self._steps: list[int] = []
        self._curves: list[NDArray[np.float64]] = []
        self._step = 0
        self._is_open = False

    @property
    def result(self) -> FrequencyOrder:
        """What has been seen so far.

        Raises
        ------
        UsageError
            Watching has not begun.
        """
        if not self._steps:
            raise UsageError("nothing was watched yet", where="result", todo=_HOW_TO_BEGIN)
        return frequency_order(
            self._steps,
            np.array(self._curves),
            self._errors.frequencies,
            names=self._errors.names,
            threshold=self._threshold,
        )

    def step(self) -> None:
        """Say that a step of the training has been made, after its update.

        Raises
        ------
        UsageError
            Watching has not begun, or is over.
        """
        if not self._is_open:
            raise UsageError("nothing is watched", where="step", todo=_HOW_TO_BEGIN)
        self._step += 1
        if self._step % self._every == 0:
            self._measure()

    def __enter__(self) -> Self:
        if self._steps:
            raise UsageError("this watch has been used", where="watch", todo="Make another for another training.")
        self._is_open = True
        self._measure()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False

    def on_start(self, state: TrainingState) -> None:
        """Measure the network before the first step; a resumed run goes on."""
        if state.model is not self._subject.model:
            raise UsageError("another network is watched", where="callbacks", todo="Watch the very model that trains.")
        self._step, self._is_open = state.step, True
        if state.step == 0:
            self._measure()

    def on_step(self, state: TrainingState) -> None:
        """Count the step."""
        self.step()

    def on_end(self, state: TrainingState) -> None:
        """End."""
        self._is_open = False

    def configuration(self) -> Mapping[str, object]:
        """Return the interval and the bands; the threshold only reads what was measured."""
        return {"every": self._every, "bands": list(self._errors.names)}

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured."""
        return {"steps": list(self._steps), "errors": [torch.from_numpy(each) for each in self._curves]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        self._steps = [int(each) for each in state["steps"]]
        self._curves = [each.numpy() for each in state["errors"]]

    def _measure(self) -> None:
        with generators_kept():
            self._curves.append(self._errors.measure())
        self._steps.append(self._step)
