"""One forward pass that cuts its cells as it goes, and whose batch of vertices grows with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from deepscope.core import MeasurementError
from deepscope.instruments._regions_cells import Cells, Integers
from deepscope.instruments._regions_cut import Cut, cut_by_maxima, cut_by_signs
from deepscope.instruments._regions_functions import Kinks, kinks_of
from deepscope.instruments._regions_network import Network, rows_of
from deepscope.instruments._regions_slice import Slice
from deepscope.instruments._regions_vertices import Growth
from deepscope.subject import main_output, tensors_in

#: Bytes that the values of one layer at all vertices may take.
_MEMORY = 2**28


@dataclass(frozen=True)
class Call:
    """A call of a function with kinks.

    Attributes
    ----------
    layer, kind
        Whose units it concerns, and its class.
    function
        Its name.
    units
        How many they are.
    kinks
        At how many hyperplanes of its argument's space each may have a kink.
    """

    layer: str
    kind: str
    function: str
    units: int
    kinks: int


@dataclass(frozen=True, eq=False)
class Met:
    """What a pass did at a call.

    Attributes
    ----------
    call
        What was called.
    before, after
        Cells before and after.
    cutting
        Which units cut some of them.
    below, above
        Whether some unit is somewhere below one of its kinks, and above one; of a maximum both.
    """

    call: Call
    before: int
    after: int
    cutting: Integers
    below: bool = False
    above: bool = False


@dataclass(eq=False)
class Passed:
    """What came of a pass.

    Attributes
    ----------
    cells
        What the cells given have become.
    first
        The call at which they have to be cut further; None where all calls are done.
    met
        By call, what was done.
    outputs
        [v, values], at the cells' vertices; None where calls are left.
    full
        Whether there would be more cells than are wanted.
    """

    cells: Cells
    first: int | None = None
    met: dict[int, Met] = field(default_factory=dict)
    outputs: Tensor | None = None
    full: bool = False


def vertices_within(values: int) -> int:
    """Return at how many vertices so many values of a layer may be had at once."""
    return _MEMORY // (8 * max(values, 1))


class _StopError(Exception):
    """The pass ends here; its cells go on in others."""


class CannotGrowError(Exception):
    """A tensor that lives on cannot be given rows for new vertices."""


class CellPass(TorchFunctionMode):
    """Cuts cells by the units of every call of a function with kinks.

    On a cell that has been cut by all calls before, the network up to here is affine. Its values at corners therefore
    say where the next call's units change sign, and the values at a new vertex, which lies on an edge between two
    others, are an interpolation of theirs: so are those of every other tensor that is still to be used. The forward
    pass goes on with more rows.

    Parameters
    ----------
    network, where
        What is run, and on what slice.
    cells
        What is cut, over vertices of their own.
    first
        Calls before this one have cut them already.
    largest
        Values per row of the largest tensor before the first call, and from each call on to the next. Where they cannot
        be held at more vertices, the pass stops, to be taken up again with fewer cells.
    most
        Where there would be more cells than these, the pass stops.
    grows
        Whether the pass goes on after new vertices were made. Otherwise it ends, to be taken up from the inputs again:
        slower, but right for every forward pass whose rows do not mix.
    """

    def __init__(
        self,
        network: Network,
        where: Slice,
        cells: Cells,
        first: int,
        largest: Sequence[int],
        most: int,
        *,
        grows: bool,
    ) -> None:
        super().__init__()
        self._network, self._slice, self._first, self._most, self._grows = network, where, first, most, grows
        self._largest = largest
        self._passed = Passed(cells)
        self._growths: list[Growth] = []
        # Weak: a tensor lives no longer for being known here.
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._calls = 0

    def run(self) -> Passed:
        """Run the network once, at most."""
        inputs, moved = self._slice.inputs(self._passed.cells.points, self._network.device)
        for each in moved:
            self._known[each] = 0
        try:
            with self:
                outputs = self._network.run(inputs)
        except _StopError:
            return self._passed
        # An output that was ready before the last vertices were made.
        main = main_output(outputs)
        if main is not None:
            self._grow(main)
        self._passed.outputs = rows_of(outputs, len(self._passed.cells.points))
        return self._passed

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [each for each in tensors_in((args, kwargs)) if each in self._known]
        if not given:
            return func(*args, **kwargs)
        for each in given:
            self._grow(each)
        if self._cut(kinks_of(func, args, kwargs, len(self._passed.cells.points))):
            for each in given:
                self._grow(each)
        result = func(*args, **kwargs)
        for each in tensors_in(result):
            self._known[each] = len(self._growths)
        return result

    def _cut(self, kinks: Kinks | None) -> bool:
        """Cut the cells where a function has kinks; return whether there are vertices that were not before."""
        if kinks is None:
            return False
        index, self._calls = self._calls, self._calls + 1
        passed, cells = self._passed, self._passed.cells
        layer, module = self._network.layer_of(kinks)
        call = Call(layer, type(module).__name__, kinks.function, kinks.units, kinks.each)
        if index < self._first:
            passed.met[index] = Met(call, len(cells), len(cells), np.zeros(0, dtype=np.int64))
            return False
        values = max([kinks.values[0].numel(), *self._largest[index + 1 :]])
        found = _cut(cells, kinks, index, vertices_within(values), self._most)
        cutting = found.cutting if kinks.windows is not None else np.unique(found.cutting % kinks.units)
        below, above = (kinks.windows is not None or bool(each.any()) for each in (kinks.values < 0, kinks.values > 0))
        passed.met[index] = Met(call, len(cells), len(found.cells), cutting, below, above)
        passed.cells, passed.full = found.cells, found.full
        new = found.growth.after > found.growth.before
        if not found.complete or (new and not self._grows):
            passed.first = index if not found.complete else index + 1
            raise _StopError
        if new:
            self._growths.append(found.growth)
        return new

    def _grow(self, tensor: Tensor) -> None:
        """Give a tensor rows for the vertices made since it was."""
        since = self._known[tensor] if tensor in self._known else len(self._growths)
        for growth in self._growths[since:]:
            if not tensor.ndim or tensor.shape[0] != growth.before:
                raise CannotGrowError
            # A mask on a border is that of one of its sides; between two borders it may be another.
            if not tensor.is_floating_point() and not bool((tensor == tensor[:1]).all()):
                raise CannotGrowError
            tensor.data = _grown(tensor, growth)
        self._known[tensor] = len(self._growths)


def _cut(cells: Cells, kinks: Kinks, call: int, most_vertices: int, most_cells: int) -> Cut:
    values = kinks.values.flatten(1).double().cpu().numpy()
    if not np.isfinite(values).all():
        raise MeasurementError(
            f"the argument of {kinks.function} is not finite somewhere on the slice",
            todo="Look at anatomy's and health's findings, or give a smaller extent.",
        )
    if kinks.windows is not None:
        return cut_by_maxima(cells, values, kinks.windows, call, most_vertices, most_cells)
    return cut_by_signs(cells, values, call, most_vertices, most_cells)


def _grown(tensor: Tensor, growth: Growth) -> Tensor:
    grown = tensor.new_empty((growth.after, *tensor.shape[1:]))
    grown[: growth.before] = tensor
    end = growth.before
    for first, second, share in growth.rounds:
        start, end = end, end + len(first)
        one, other = (grown[torch.from_numpy(each).to(tensor.device)] for each in (first, second))
        if tensor.is_floating_point():
            of_other = torch.from_numpy(share).to(tensor).reshape(-1, *[1] * (tensor.ndim - 1))
            one = (1 - of_other) * one + of_other * other
        grown[start:end] = one
    return grown
