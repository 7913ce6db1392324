"""TSPLIB's file format for cities in the plane, and its distance (``reinelt1991tsplib``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError

Floats = NDArray[np.float64]
Lengths = NDArray[np.int64]

#: Of a coordinate, as written.
DECIMALS = 6


def write(name: str, cities: Floats) -> str:
    """Return cities [n, 2] as the text of a TSPLIB file of type EUC_2D, with ``DECIMALS`` decimals."""
    rows = [f"{number} {x:.{DECIMALS}f} {y:.{DECIMALS}f}" for number, (x, y) in enumerate(cities, start=1)]
    head = [f"NAME : {name}", "TYPE : TSP", f"DIMENSION : {len(cities)}", "EDGE_WEIGHT_TYPE : EUC_2D"]
    return "\n".join([*head, "NODE_COORD_SECTION", *rows, "EOF", ""])


def read(text: str) -> Floats:
    """Return the cities [n, 2] of the text of a TSPLIB file, in the file's order.

    Raises
    ------
    UsageError
        The distance is not EUC_2D, there is no NODE_COORD_SECTION or no city in it, a line of it is not a number and
        two coordinates, or there are not as many cities as the head says.
    """
    head, marker, body = text.partition("NODE_COORD_SECTION")
    # A colon may stand with or without blanks around it.
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in head.splitlines())}
    kind = fields.get("EDGE_WEIGHT_TYPE")
    if not marker:
        raise UsageError("no NODE_COORD_SECTION", where="TSPLIB file", todo="Give the cities' coordinates there.")
    if kind != "EUC_2D":
        raise UsageError(f"the distance is {kind}", where="TSPLIB file", todo="Give coordinates with EUC_2D.")
    rows = [line.split() for line in body.partition("EOF")[0].splitlines() if line.strip()]
    try:
        cities = np.array([[float(x), float(y)] for _, x, y in rows]).reshape(-1, 2)
    except ValueError as error:
        raise UsageError(f"a city cannot be read: {error}", where="TSPLIB file", todo="Write: number x y.") from None
    if not len(cities) or fields.get("DIMENSION") != str(len(cities)):
        said = fields.get("DIMENSION")
        raise UsageError(f"{len(cities)} cities, DIMENSION {said}", where="TSPLIB file", todo="Make them agree.")
    return cities


def distances(cities: Floats) -> Lengths:
    """Return the distances [n, n] of EUC_2D: Euclidean, rounded to the nearest whole number."""
    found: Lengths = np.floor(np.hypot(*(cities[:, None] - cities).T) + 0.5).astype(np.int64)
    return found
