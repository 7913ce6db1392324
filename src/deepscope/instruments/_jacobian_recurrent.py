"""Lyapunov exponents of the recurrent layers of a network along its data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from deepscope.core import LeftOut, UsageError
from deepscope.instruments._jacobian_pass import Call
from deepscope.linalg import LyapunovSpectrum, lyapunov_spectrum
from deepscope.subject import RecurrentRun, recurrent_runs

#: Exponents that are computed at most, the largest; and the largest state whose Jacobians are written out.
MOST_EXPONENTS, _MOST_STATES = 64, 2048
#: Of each sequence, the share of steps at the start that only turn the directions.
_TRANSIENT = 0.25


@dataclass(frozen=True, eq=False, kw_only=True)
class RecurrentExponents:
    """The Lyapunov exponents of one layer, in one direction, of a recurrent module.

    Attributes
    ----------
    name, part
        The module, and which layer of it, as its parameters' names end: ``"l0"``, ``"l0_reverse"``; ``""`` for a cell.
    kind
        The module's class.
    spectrum
        The exponents, in nats per step, with their intervals.
    kaplan_yorke
        The Kaplan–Yorke dimension; None where too few exponents are known.
    n_sequences
        Sequences that were followed.
    """

    name: str
    part: str
    kind: str
    spectrum: LyapunovSpectrum
    kaplan_yorke: float | None
    n_sequences: int


def lyapunov(
    module: nn.Module,
    inputs: Any,
    state: Any = None,
    *,
    name: str = "",
    count: int | None = None,
    transient: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[RecurrentExponents, ...]:
    """Return the Lyapunov exponents of a recurrent layer driven by sequences of inputs.

    How fast nearby states of the layer part (or forget their difference) while the same inputs drive both: by QR of
    the products of the state's Jacobians ∂s_t/∂s_{t−1}, s = h or (h, c) (``benettin1980lyapunov``, for trained
    networks ``vogt2022lyapunov``). A positive exponent is chaos; the largest is also the rate at which the gradient
    through time grows.

    Parameters
    ----------
    module
        ``nn.RNN``, ``nn.GRU``, ``nn.LSTM``, or one of their cells; each layer and direction by itself.
    inputs, state
        As the module takes them; a cell takes [sequences, steps, features].
    name
        To be noted in the result.
    count
        Exponents, the largest; at most 64 unless given.
    transient
        Steps at the start that are not averaged; a quarter of them unless given.
    generator
        For the directions at the start.

    Raises
    ------
    UsageError
        The module is not recurrent, or the sequences are shorter than two steps.

    Notes
    -----
    Cost: for a state of S numbers S backward passes of a step over all steps together, and a QR of S × count for each.

    Examples
    --------
    >>> cell = nn.RNN(1, 2, batch_first=True)
    >>> with torch.no_grad():
    ...     _ = [each.zero_() for each in cell.parameters()]
    ...     _ = cell.weight_hh_l0.copy_(torch.tensor([[0.5, 0.0], [0.0, 0.25]]))
    >>> lyapunov(cell, torch.zeros(1, 100, 1))[0].spectrum.exponents.round(4).tolist()
    [-0.6931, -1.3863]
    """
    if not isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        raise UsageError("no recurrent layer", where=type(module).__name__, todo="Give an nn.RNN, GRU, LSTM or cell.")
    runs = recurrent_runs(module, inputs, state)
    return tuple(_exponents(run, module, name, count, transient, generator) for run in runs)


def _exponents(
    run: RecurrentRun,
    module: nn.Module,
    name: str,
    count: int | None,
    transient: int | None,
    generator: torch.Generator | None,
) -> RecurrentExponents:
    sequences, steps, size = run.states.shape
    if steps < 2:
        raise UsageError("a sequence of fewer than two steps says nothing of growth", where=name)
    return _summarised(
        lyapunov_spectrum(
            run.jacobians(),
            count=min(size, MOST_EXPONENTS) if count is None else count,
            transient=int(_TRANSIENT * steps) if transient is None else transient,
            generator=generator,
        ),
        name,
        run.part,
        type(module).__name__,
        sequences,
    )


def _summarised(spectrum: LyapunovSpectrum, name: str, part: str, kind: str, sequences: int) -> RecurrentExponents:
    return RecurrentExponents(
        name=name,
        part=part,
        kind=kind,
        spectrum=spectrum,
        kaplan_yorke=spectrum.kaplan_yorke,
        n_sequences=sequences,
    )


def exponents_of(calls: Sequence[Call], generator: torch.Generator) -> Iterator[RecurrentExponents | LeftOut]:
    """Yield the exponents of every recurrent layer in a forward pass, or why there are none.

    Of a module that runs several times the first call is followed; the calls of a cell are its steps.
    """
    grouped: dict[str, list[Call]] = {}
    for call in calls:
        if call.given is not None:
            grouped.setdefault(call.name, []).append(call)
    for name, found in grouped.items():
        yield from _of_module(name, found, generator)


def recurrent_states(model: nn.Module) -> int:
    """Return how many numbers the states have that exponents are computed of, the largest; 0 where there is none."""
    layers = (each for each in model.modules() if isinstance(each, (nn.RNNBase, nn.RNNCellBase)))
    return max((size for size in map(_state_size, layers) if size <= _MOST_STATES), default=0)


def _state_size(module: Any) -> int:
    return int(module.hidden_size) * (2 if "LSTM" in type(module).__name__ else 1)


def _of_module(name: str, calls: list[Call], generator: torch.Generator) -> Iterator[RecurrentExponents | LeftOut]:
    module: Any = calls[0].module
    inputs, state = _arguments(calls[0])
    size = _state_size(module)
    steps = len(calls) if isinstance(module, nn.RNNCellBase) else _length(module, inputs)
    if size > _MOST_STATES:
        yield LeftOut(name, f"Lyapunov exponents of a state of {size:,} numbers, more than {_MOST_STATES:,}")
        return
    if steps < 2:
        yield LeftOut(name, "Lyapunov exponents of a single step")
        return
    if isinstance(module, nn.RNNCellBase):
        count = min(size, MOST_EXPONENTS)
        jacobians = (
            next(recurrent_runs(module, x[:, None] if x.ndim == 2 else x[None, None], _batched(h))[0].jacobians())
            for x, h in map(_arguments, calls)
        )
        spectrum = lyapunov_spectrum(jacobians, count=count, transient=int(_TRANSIENT * steps), generator=generator)
        yield _summarised(spectrum, name, "", type(module).__name__, len(spectrum.by_sequence))
        return
    if isinstance(inputs, PackedSequence):
        yield LeftOut(name, f"Lyapunov exponents behind the first {steps} steps, which all sequences have")
    yield from lyapunov(module, inputs, state, name=name, generator=generator)


def _arguments(call: Call) -> tuple[Any, Any]:
    assert call.given is not None
    args, kwargs = call.given
    inputs = args[0] if args else kwargs["input"]
    state = args[1] if len(args) > 1 else kwargs.get("hx")
    return inputs, state


def _batched(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state if state.ndim == 2 else state[None]
    return None if state is None else tuple(_batched(each) for each in state)


def _length(module: Any, inputs: Any) -> int:
    if isinstance(inputs, PackedSequence):
        return int(np.sum(inputs.batch_sizes.numpy() == inputs.batch_sizes[0].item()))
    return int(inputs.shape[1] if module.batch_first and inputs.ndim == 3 else inputs.shape[0])
