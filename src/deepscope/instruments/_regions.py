"""The linear regions of a piecewise-linear network on a line or a plane."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from deepscope.core import (
    DeepscopeError,
    Instrument,
    LeftOut,
    MeasurementError,
    Needs,
    Stopwatch,
    UsageError,
    first_line,
)
from deepscope.instruments._affordable import Keywords, affordable
from deepscope.instruments._regions_count import KEPT_OUTPUTS, Counted, count_cells
from deepscope.instruments._regions_known import KNOWN
from deepscope.instruments._regions_network import Network
from deepscope.instruments._regions_reading import LayerRegions, Regions
from deepscope.instruments._regions_slice import Slice, on_line, on_plane, through_samples
from deepscope.subject import Subject, forward_work, own_parameters

__all__ = ["REGIONS", "Regions", "regions"]

#: Forward passes in double precision that a region takes, its share of the geometry included: some ten microseconds
#: for a network of which a pass takes one.
_PASSES = 10


def regions(
    subject: Subject,
    line: tuple[Any, Any] | None = None,
    plane: tuple[Any, Any, Any] | None = None,
    extent: float = 1.0,
    *,
    max_regions: int = 100_000,
    generator: torch.Generator | None = None,
) -> Regions:
    """Count, exactly, the linear regions that a line or a plane cuts out of a piecewise-linear network.

    A network of ReLUs, their kin, maxima and what is linear is affine on each activation cell: each set of inputs on
    which every unit is in one of its linear pieces and every maximum has one winner. The slice is cut layer by layer
    where units change theirs; on a cell of the layers before, a layer's argument is affine, known by its values at
    the cell's corners.

    Parameters
    ----------
    subject
        A model; with data where neither line nor plane is given.
    line
        (a, b): the segment from a to b. Inputs are as the data has them for one sample, without the batch's dimension:
        a tensor or array, or a tuple or mapping of such.
    plane
        (origin, u, v): the square {origin + s·u + t·v : -extent ≤ s, t ≤ extent}. Without line and plane, the one
        through three of the first 256 samples, chosen by the generator: around their mean, with orthogonal directions
        as long as the farthest of the three is far.
    extent
        Half the square's side, in units of u and v; of the data's plane too.
    max_regions
        Where there are more, counting stops: the count, never larger, is a lower bound, and ``complete`` is False.
    generator
        Its initial seed chooses the samples.

    Returns
    -------
    Regions
        With the columns ``name, kind, function, units, cutting, cutting_fraction, added, boundary_length, status``;
        ``count`` is the number of activation cells. Two of them may have the same linear map: ``distinct_maps``.

    Raises
    ------
    UsageError
        Both line and plane are given, or they are no inputs of one shape that span a line or a plane.
    DoesNotApplyError
        The network is smooth, not continuous or mixes its samples; its inputs are tokens; a layer has more than some
        four million values for a sample.
    MeasurementError
        There is no model, or neither data nor a slice, or the model cannot be run on the slice.

    Notes
    -----
    The model runs in evaluation mode, its weights widened to float64. All comparisons of values count as units, also
    those on which no output depends. A unit whose argument is zero all over the slice
    cuts nothing, nor does the second of two equal ones; a unit cuts a cell where its values at corners are beyond
    2⁻⁴² of its largest on both sides of 0: thinner cells are not seen. Inside cells of every pass the network is run as
    it is and has to be affine there. A network without kinks has one region.
    Cost: about one forward pass in double precision for a region, and some ten microseconds of geometry; where a batch
    may not grow in the middle of a forward pass, one for each activation function that is behind. Memory: 256 MiB for
    a layer's values at the vertices of cells, three or four times over; more are taken in chunks.
    Sources: ``montufar2014number``, ``hanin2019complexity``.

    Examples
    --------
    >>> hidden, out = torch.nn.Linear(1, 3), torch.nn.Linear(3, 1)
    >>> _ = hidden.load_state_dict({"weight": torch.ones(3, 1), "bias": torch.tensor([-1.0, -2.0, -3.0])})
    >>> network = Subject(torch.nn.Sequential(hidden, torch.nn.ReLU(), out))
    >>> regions(network, line=([0.0], [4.0])).count
    4
    """
    if line is not None and plane is not None:
        raise UsageError("regions are counted on a line or on a plane", where="regions", todo="Give one of the two.")
    if line is not None and extent != 1.0:
        raise UsageError("extent is that of a plane", where="line", todo="Give the line's ends where it is to end.")
    if not (math.isfinite(extent) and extent > 0):
        raise UsageError(f"extent must be positive, not {extent}", where="regions")
    if max_regions < 1:
        raise UsageError(f"max_regions must be at least 1, not {max_regions}", where="regions")
    given = line is not None or plane is not None
    subject.require(Needs.MODEL if given else Needs.MODEL | Needs.DATA, "regions")
    seed = generator.initial_seed() if generator is not None else 0
    stopwatch = Stopwatch()
    with stopwatch, subject.undisturbed(seed=seed):
        if line is not None:
            where = on_line(line)
        else:
            where = on_plane(plane, extent) if plane is not None else through_samples(subject, extent, seed)
        network = Network(subject)
        with network.ready():
            try:
                found = count_cells(network, where, max_regions)
            except DeepscopeError:
                raise
            except Exception as error:
                raise MeasurementError(
                    f"the model cannot be run on the slice: {first_line(error)}",
                    where=subject.name,
                    todo="Check that the inputs have the shape and type that the model takes.",
                ) from error
    stopwatch.count(forward=found.forward_passes)
    return _reading(subject, where, found, stopwatch)


def _reading(subject: Subject, where: Slice, found: Counted, stopwatch: Stopwatch) -> Regions:
    order = list(dict.fromkeys(each.call.layer for each in found.calls.values()))
    layer_of = np.array([*(order.index(each.call.layer) for each in found.calls.values()), -1])
    cells = found.cells
    sizes = cells.sizes()
    return Regions(
        subject=subject.name,
        left_out=tuple(_left_out(subject, where, found)),
        cost=stopwatch.cost,
        kind="line" if len(where.directions) == 1 else "plane",
        extent=where.extent,
        samples=where.chosen,
        sample_coordinates=where.samples,
        count=len(cells),
        complete=found.complete,
        layers=tuple(each for each in _layers(found, order) if _is_selected(subject, each.name)),
        points=cells.points,
        corners=cells.corners,
        corner_counts=cells.counts,
        # The slice's own border is made by none, the last entry.
        boundary_layers=layer_of[np.where(cells.made_by < 0, len(layer_of) - 1, cells.made_by)],
        all_layers=tuple(order),
        sizes=sizes / sizes.sum(),
        slopes=found.slopes,
        distinct_maps=found.maps,
        n_kinks=sum(each.call.units * each.call.kinks for each in found.calls.values()),
        outputs=found.outputs,
    )


def _layers(found: Counted, order: list[str]) -> Iterator[LayerRegions]:
    cells = found.cells
    lengths = cells.edges() if cells.points.shape[1] == 2 else None
    for name in order:
        calls = {index: each for index, each in found.calls.items() if each.call.layer == name}
        units = sum(each.call.units for each in calls.values())
        cutting = sum(int(each.cutting.sum()) for each in calls.values())
        # Both cells beside an edge have it.
        boundary = None if lengths is None else float(lengths[np.isin(cells.made_by, list(calls))].sum()) / 2
        yield LayerRegions(
            name=name,
            kind=next(iter(calls.values())).call.kind,
            function=", ".join(dict.fromkeys(each.call.function for each in calls.values())),
            units=units,
            cutting=cutting,
            cutting_fraction=cutting / units,
            added=sum(each.added for each in calls.values()),
            boundary_length=boundary,
            on_one_side=not (any(each.below for each in calls.values()) and any(each.above for each in calls.values())),
            status=_status(found.complete, cutting),
        )


def _status(complete: bool, cutting: int) -> str:
    if not complete:
        return "counting stopped: there may be more"
    return "ok" if cutting else "no unit changes its linear piece on the slice"


def _is_selected(subject: Subject, name: str) -> bool:
    modules = dict(subject.model.named_modules()) if subject.model is not None else {}
    own = [f"{name}.{each}".lstrip(".") for each, _ in own_parameters(modules[name])]
    return any(subject.selects(each) for each in (name, *own))


def _left_out(subject: Subject, where: Slice, found: Counted) -> Iterator[LeftOut]:
    yield from subject.left_out
    yield from where.left_out
    if not found.complete:
        yield LeftOut("regions", f"cutting stopped at {len(found.cells):,}: there are at least as many")
    if found.thin:
        yield LeftOut("maps", f"those of {found.thin:,} regions too thin for their maps to be told apart")
    if len(where.directions) == 1 and found.n_outputs > KEPT_OUTPUTS:
        yield LeftOut("outputs", f"those after the first {KEPT_OUTPUTS} are not kept along the line")


def _fit(subject: Subject, effort: Keywords, operations: float) -> Keywords:
    work = forward_work(subject)
    return affordable([effort], "max_regions", lambda _: _PASSES * work.operations, operations)


def _expected_cost(subject: Subject, *, max_regions: int = 100_000) -> str:
    del subject
    return f"a forward pass for each region of a plane, up to {max_regions:,}"


REGIONS = Instrument(
    name="regions",
    title="Linear regions",
    measure=regions,
    reading=Regions,
    needs=Needs.MODEL | Needs.DATA,
    formula=(
        "The plane through three samples, {mean + s·u + t·v : |s|, |t| ≤ 1} with u ⊥ v as long as the farthest of them "
        "is far, is cut where a unit's argument crosses a kink of its activation function, or another candidate "
        "becomes a maximum; what is left are activation cells, on each of which the network is affine. Count: their "
        "number, exact. Added by a layer: how many more there are for its units. Cutting: units that change their "
        "linear piece somewhere on the plane. Boundary length: of the borders that a layer makes, in units of u and v. "
        "Slope: the Frobenius norm of the affine map's derivative by s and t. Distinct maps: affine maps that differ "
        "by 1e-7. A warning where no unit of a layer of 16 or more cuts the plane and all are on one side of their "
        "kinks, dead or open; a note where some are on one side and some on the other, as where signals have died out."
    ),
    how_to_read=(
        "Left, the plane through three samples of the data: inside each cell the network is one linear map, and each "
        "line is where a unit of the layer of that colour switches. Right, how many cells each layer adds; lines of "
        "deep layers bend where they cross those of layers before."
    ),
    source="hanin2019complexity",
    expected_cost=_expected_cost,
    fit=_fit,
    efforts={
        "quick": {"max_regions": 20_000},
        "standard": {"max_regions": 100_000},
        "deep": {"max_regions": 1_000_000},
    },
    pinned_by="tests/instruments/test_regions.py::test_one_layer_in_general_position_has_the_number_of_the_theorem",
    known=KNOWN,
)
