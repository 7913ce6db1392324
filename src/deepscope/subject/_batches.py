"""Batches: how a model is fed, and what its loss averages over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import MeasurementError, UsageError
from deepscope.subject._loss import n_samples

Inputs = Any
Targets = Any


@dataclass(frozen=True)
class Batch:
    """One batch on the model's device.

    Attributes
    ----------
    inputs, targets
        As the data gave them, moved to the device.
    n_samples
        Length of the batch: that of the inputs.
    count
        Number of terms the loss averages over.
    """

    inputs: Inputs
    targets: Targets
    n_samples: int
    count: float


def call(model: nn.Module, inputs: Inputs) -> Any:
    """Run a model: a tensor as ``model(x)``, a tuple or list as ``model(*x)``, a mapping as ``model(**x)``.

    ``.logits`` is taken from an output object or mapping that has it.
    """
    if isinstance(inputs, Mapping):
        outputs = model(**inputs)
    elif isinstance(inputs, (tuple, list)):
        outputs = model(*inputs)
    else:
        outputs = model(inputs)
    if isinstance(outputs, Mapping) and "logits" in outputs:
        return outputs["logits"]
    return getattr(outputs, "logits", outputs)


def batches_of(
    data: Iterable[Any],
    *,
    device: torch.device,
    count: Callable[[Targets], Any] | None = None,
    max_samples: int | None = None,
) -> Iterator[Batch]:
    """Iterate over batches, from the first, in the same order each time.

    Whole batches are given until at least ``max_samples`` samples have been seen.

    Raises
    ------
    MeasurementError
        A batch is not a pair ``(inputs, targets)``, its inputs hold NaN, or there is none.
    """
    seen = 0
    for index, item in enumerate(_in_order(data)):
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise MeasurementError(
                f"batch {index} is a {type(item).__name__}, not a pair (inputs, targets)",
                todo="Give batches as (inputs, targets); inputs may be a tensor, a tuple or a mapping.",
            )
        if _has_nan(item[0]):
            raise MeasurementError(f"the inputs of batch {index} hold NaN", todo="Clean the data, then examine again.")
        # Copies: a first layer that works in place, or a loss that marks targets, would change the user's data.
        inputs, targets = (move(part, device, copy=True) for part in item)
        length = n_samples(inputs) or n_samples(targets)
        # Targets may be more than samples: a language model's, flattened.
        terms = float(count(targets)) if count is not None else float(n_samples(targets) or length)
        yield Batch(inputs, targets, length, terms)
        seen += length
        if max_samples is not None and seen >= max_samples:
            return
    if seen == 0:
        raise MeasurementError("the data has no samples", todo="Give at least one batch with one sample.")


def check_reiterable(data: Any) -> None:
    """Refuse what can be iterated only once: instruments take several passes.

    Raises
    ------
    UsageError
        ``data`` is an iterator or not iterable.
    """
    if isinstance(data, Iterator):
        raise UsageError(
            f"data can be iterated only once ({type(data).__name__})",
            todo="Give a list of batches, a DataLoader, or an object whose __iter__ starts anew.",
        )
    if not isinstance(data, Iterable):
        raise UsageError(
            f"data is not iterable ({type(data).__name__})", todo="Give a list of batches (inputs, targets)."
        )


def move(value: Any, device: torch.device, *, copy: bool = False) -> Any:
    """Move all tensors in nested tuples, lists and mappings to a device; ``copy`` also those that are there."""
    if isinstance(value, Tensor):
        return value.to(device, copy=copy)
    if isinstance(value, Mapping):
        return {key: move(item, device, copy=copy) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        moved = [move(item, device, copy=copy) for item in value]
        return type(value)(*moved) if hasattr(value, "_fields") else type(value)(moved)
    return value


def _in_order(data: Iterable[Any]) -> Iterator[Any]:
    # A shuffling DataLoader draws its order from the global generator, or from its own. Every pass starts both from
    # the same state and leaves both as they were; what is drawn while batches are made (augmentation) repeats too.
    own = [(generator, generator.get_state()) for generator in _generators_of(data)]
    state = torch.Generator().manual_seed(0).get_state()
    iterator = None
    try:
        while True:
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(state)
                iterator = iter(data) if iterator is None else iterator
                item = next(iterator, _NOTHING)
                state = torch.get_rng_state()
            if item is _NOTHING:
                return
            yield item
    finally:
        for generator, before in own:
            generator.set_state(before)


def _generators_of(data: Any) -> list[torch.Generator]:
    batch_sampler = getattr(data, "batch_sampler", None)
    owners = (data, getattr(data, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None))
    found = {id(each): each for each in (getattr(owner, "generator", None) for owner in owners)}
    return [each for each in found.values() if isinstance(each, torch.Generator)]


_NOTHING = object()


def _has_nan(value: Any) -> bool:
    # Infinity is let through: additive attention masks hold it by design.
    if isinstance(value, Tensor):
        return (value.is_floating_point() or value.is_complex()) and bool(value.isnan().any())
    if isinstance(value, Mapping):
        return any(map(_has_nan, value.values()))
    return isinstance(value, (tuple, list)) and any(map(_has_nan, value))


def n_batches(data: Any) -> int | None:
    """Return how many batches there are, or None where the data does not say (an iterable dataset)."""
    try:
        return len(data)
    except TypeError:
        return None
