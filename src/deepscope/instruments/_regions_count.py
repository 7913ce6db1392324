"""All cells of a slice, pass by pass, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import DeepscopeError, DoesNotApplyError, MeasurementError
from deepscope.instruments._regions_bend import refuse_bent, refuse_between
from deepscope.instruments._regions_cells import Cells, Floats, Integers, chunks, joined
from deepscope.instruments._regions_maps import distinct, maps_of
from deepscope.instruments._regions_network import Network, rows_of
from deepscope.instruments._regions_pass import Call, CellPass, Met, Passed, vertices_within
from deepscope.instruments._regions_slice import Slice

#: Share of a pass's cells inside which the network is run to see that it is affine there: half of them the largest,
#: half from among all; and the fewest and the most of each half.
_PROVED, _FEWEST_PROVED, _MOST_PROVED = 1 / 8, 16, 256
#: How far it may be off, as a share of the largest output: rounding of 1e-15 for each of hundreds of sums, in layers
#: one after the other.
_ROUNDING = 1e-9
#: How far the cells' sizes may be from adding up to the whole.
_AREA = 1e-9
#: A cell and what a cut adds to it.
_FEWEST_VERTICES = 8
#: Outputs that are kept along a line.
KEPT_OUTPUTS = 16


@dataclass(eq=False)
class CallCount:
    """What a call added.

    Attributes
    ----------
    call
        Its layer and units.
    added
        Cells that there are more for it.
    cutting
        [units], which units cut some cell.
    below, above
        Whether some unit is somewhere below one of its kinks, and above one.
    """

    call: Call
    added: int
    cutting: NDArray[np.bool_]
    below: bool = False
    above: bool = False


@dataclass(eq=False)
class Counted:
    """The cells of a slice.

    Attributes
    ----------
    cells
        All of them; where they are not complete, as far as they were cut.
    complete
        Whether all calls have cut them.
    calls
        By call, in forward order.
    slopes
        [cells], as ``maps_of`` has them; empty where they are not complete.
    maps, thin
        How many maps differ, and how many cells were too thin to tell; None where they are not complete.
    outputs
        [cells + 1, c], the first outputs at the ends of a line's segments, in their order; empty for a plane.
    forward_passes
        How often the network was run.
    """

    cells: Cells
    complete: bool = True
    calls: dict[int, CallCount] = field(default_factory=dict)
    slopes: Floats = field(default_factory=lambda: np.zeros(0))
    maps: int | None = None
    thin: int | None = None
    outputs: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    n_outputs: int = 0
    forward_passes: int = 0


class _MismatchError(Exception):
    """The network is not, inside a cell, what it is at the corners."""

    def __init__(self, middle: Floats, corner: Floats) -> None:
        super().__init__()
        self.middle, self.corner = middle, corner


def count_cells(network: Network, where: Slice, max_regions: int) -> Counted:
    """Cut a slice by all of a network's calls; ``network`` must be ready.

    Raises
    ------
    DoesNotApplyError
        The network is not affine on the cells: it is smooth, or not continuous, or has kinks that cannot be seen. Or
        its layers are so large that their values cannot be held at a cell's corners.
    """
    largest = refuse_bent(network, where)
    if vertices_within(max(largest)) < _FEWEST_VERTICES:
        raise DoesNotApplyError(
            f"a layer has {max(largest):,} values for a sample, too many to be held at the corners of a region",
            todo="Give smaller inputs, or measure a part of the network.",
        )
    try:
        return _Counting(network, where, max_regions, largest, grows=True).run()
    except DeepscopeError:
        raise
    except Exception:
        # The forward pass holds on to the batch's length, or works in place on parts of a tensor: what exactly it
        # raises cannot be known. Without a growing batch it has nothing to complain of.
        pass
    try:
        return _Counting(network, where, max_regions, largest, grows=False).run()
    except _MismatchError as error:
        refuse_between(network, where, error.corner, error.middle)
        raise DoesNotApplyError(
            "the network is not affine inside the regions of its units",
            todo="Look for functions that are not continuous, mix the samples of a batch, draw random numbers, or "
            "are hidden in TorchScript or in an autograd.Function.",
        ) from None


class _Counting:
    """Cells that are done, and those that are left."""

    def __init__(self, network: Network, where: Slice, max_regions: int, largest: list[int], *, grows: bool) -> None:
        self._network, self._slice, self._most, self._grows = network, where, max_regions, grows
        self._largest = largest
        self._left: list[tuple[Cells, int]] = [(Cells.whole(len(where.directions), where.extent), 0)]
        self._done: list[Cells] = []
        self._found = Counted(self._left[0][0])
        self._marks: list[Floats] = []
        self._slopes: list[Floats] = []
        self._outputs: list[Floats] = []

    def run(self) -> Counted:
        whole = self._left[0][0].sizes().sum()
        while self._left and self._found.complete:
            cells, first = self._left.pop()
            others = sum(map(len, self._done)) + sum(len(each) for each, _ in self._left)
            room = self._most - others
            passed = CellPass(self._network, self._slice, cells, first, self._largest, room, grows=self._grows).run()
            self._found.forward_passes += 1
            self._note(passed.met)
            if passed.outputs is not None:
                self._finish(passed, passed.outputs)
                continue
            self._found.complete = not passed.full
            assert passed.first is not None
            size = vertices_within(max(self._largest)) // 4
            self._left += [(each, passed.first) for each in chunks(passed.cells, size)]
        found = self._found
        found.cells = joined([*self._done, *(each for each, _ in self._left)])
        if abs(found.cells.sizes().sum() - whole) > _AREA * whole:
            raise MeasurementError(
                "the regions do not fill the slice: rounding has lost some", todo="Give a smaller extent."
            )
        # Along a line, cells are in order.
        order = np.arange(len(found.cells))
        if len(self._slice.directions) == 1:
            order = np.argsort(found.cells.means(found.cells.points)[:, 0], kind="stable")
            found.cells = found.cells.take(order)
        if found.complete:
            self._conclude(order)
        return found

    def _note(self, met: dict[int, Met]) -> None:
        for index, each in met.items():
            known = self._found.calls.setdefault(index, CallCount(each.call, 0, np.zeros(each.call.units, dtype=bool)))
            if known.call != each.call:
                raise DoesNotApplyError(
                    f"the forward pass takes different ways for different inputs: once {known.call.function} in "
                    f"{known.call.layer}, once {each.call.function} in {each.call.layer}",
                    todo="Measure a part of it that does not.",
                )
            known.added += each.after - each.before
            known.cutting[each.cutting] = True
            known.below, known.above = known.below or each.below, known.above or each.above

    def _finish(self, passed: Passed, outputs: Tensor) -> None:
        cells, values = passed.cells, outputs.cpu().numpy()
        if not np.isfinite(values).all():
            raise MeasurementError(
                "the outputs are not finite somewhere on the slice", todo="Look at anatomy's and health's findings."
            )
        self._prove(cells, values)
        slopes, marks = maps_of(cells, values, self._slice.extent)
        self._done.append(cells)
        self._slopes.append(slopes)
        self._marks.append(marks)
        self._found.n_outputs = values.shape[1]
        # Copies: a part of it would keep the whole.
        self._outputs.append(values[:, : KEPT_OUTPUTS if len(self._slice.directions) == 1 else 0].copy())

    def _prove(self, cells: Cells, values: Floats) -> None:
        """Run the network inside cells, as it is, and compare with what the corners say.

        Halfway from the middle to a corner: what is taken less the batch's mean is right in the middle alone.
        """
        half = int(np.clip(_PROVED * len(cells) / 2, _FEWEST_PROVED, _MOST_PROVED))
        largest = np.argsort(-cells.sizes(), kind="stable")[:half]
        some = cells.take(np.unique([*largest, *np.linspace(0, len(cells) - 1, half).astype(int)]))
        corner = some.corners[some.starts]
        inside = (some.means(some.points) + some.points[corner]) / 2
        inputs, _ = self._slice.inputs(inside, self._network.device)
        seen = rows_of(self._network.run(inputs), len(some)).cpu().numpy()
        self._found.forward_passes += 1
        off = np.abs(seen - (some.means(values) + values[corner]) / 2).max(axis=1)
        worst = int(np.argmax(off))
        if not off[worst] <= _ROUNDING * max(float(np.abs(values).max()), np.finfo(float).tiny):
            raise _MismatchError(inside[worst], some.points[corner[worst]])

    def _conclude(self, order: Integers) -> None:
        found = self._found
        found.slopes = np.concatenate(self._slopes)[order]
        found.maps, found.thin = distinct(np.concatenate(self._marks))
        if len(self._slice.directions) == 1:
            ends = np.append(found.cells.corners[::2], found.cells.corners[-1])
            found.outputs = np.concatenate(self._outputs)[ends]
