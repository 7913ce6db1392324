"""A strong local search for short tours: 2-opt and Or-opt, and kicks out of local minima."""

from __future__ import annotations

import numpy as np

from deepscope.studies.self_organisation._tours import Tour, nearest_neighbour
from deepscope.studies.self_organisation._tsplib import Lengths

_NEAR = 8
_SEGMENT = 3
_KICK = 30


def search(distance: Lengths, kicks: int, rng: np.random.Generator) -> Tour:
    """Return a short tour of at least 8 cities, [n]: its length is an upper bound of the shortest.

    From the nearest-neighbour tour on, moves are made that shorten the tour: 2-opt (turn a part of the
    tour round) and Or-opt (move up to 3 cities elsewhere, either way round). Then double bridges, each of which
    exchanges two neighbouring parts of up to 30 cities; the search goes on from there, and what has become longer is
    undone (``martin1991large``). Only cities whose surroundings have changed are looked at again, and only new edges
    to one of the 8 nearest cities are tried. Cost: about 0.3 ms a kick.
    """
    tour = _Tour(distance, nearest_neighbour(distance).tolist())
    tour.improve(set(range(len(distance))))
    for _ in range(kicks):
        before, order = tour.length, tour.order
        tour.improve(tour.kick(rng))
        if tour.length > before:
            tour.arrange(order)
            tour.length = before
    return np.array(tour.order)


class _Tour:
    """A tour that changes: ``order``, the place of each city in it, and its length."""

    def __init__(self, distance: Lengths, order: list[int]) -> None:
        self.distance: list[list[int]] = distance.tolist()
        # A city is nearer to itself than one at the same place.
        from_others = distance - np.eye(len(order), dtype=np.int64)
        self.near: list[list[int]] = np.argsort(from_others, axis=1)[:, 1 : _NEAR + 1].tolist()
        self.place = [0] * len(order)
        self.arrange(order)
        self.length = self._measured()

    def arrange(self, order: list[int]) -> None:
        self.order = order
        for place, city in enumerate(order):
            self.place[city] = place

    def beside(self, city: int, step: int) -> int:
        return self.order[(self.place[city] + step) % len(self.order)]

    def kick(self, rng: np.random.Generator) -> set[int]:
        """Exchange two neighbouring parts; return the cities at their ends."""
        n = len(self.order)
        start = int(rng.integers(n))
        first, second = (int(each) for each in rng.integers(1, min(_KICK, n // 3) + 1, size=2))
        turned = self.order[start:] + self.order[:start]
        new = turned[:1] + turned[1 + first : 1 + first + second] + turned[1 : 1 + first] + turned[1 + first + second :]
        ends = [turned[i] for i in (0, 1, first, first + 1, first + second, (first + second + 1) % n)]
        self.arrange(new)
        self.length = self._measured()
        return set(ends)

    def improve(self, changed: set[int]) -> None:
        """Make moves until none at a changed city shortens the tour."""
        while changed:
            city = changed.pop()
            while touched := self._move(city):
                changed.update(touched)

    def _measured(self) -> int:
        return sum(self.distance[a][b] for a, b in zip(self.order, self.order[1:] + self.order[:1], strict=True))

    def _move(self, a: int) -> tuple[int, ...]:
        """Make a move that adds an edge from a to a near city and shortens the tour; return what it touched."""
        d = self.distance
        for step in (1, -1):
            b = self.beside(a, step)
            for c in self.near[a]:
                won = d[a][b] - d[a][c]
                if won <= 0:
                    break
                after = self.beside(c, step)
                if (gain := won + d[c][after] - d[b][after]) > 0:
                    self._turn(*((b, c) if step == 1 else (c, b)))
                    self.length -= gain
                    return a, b, c, after
                if touched := self._insert(a, b, c, won):
                    return touched
        return ()

    def _turn(self, first: int, last: int) -> None:
        """Turn the part of the tour from ``first`` on to ``last`` round."""
        start, end = self.place[first], self.place[last] + 1
        if start >= end:  # Then the rest of the tour is turned instead: the same closed tour.
            start, end = end, start
        self.arrange(self.order[:start] + self.order[start:end][::-1] + self.order[end:])

    def _insert(self, a: int, b: int, c: int, won: int) -> tuple[int, ...]:
        """Move a segment that begins at c to between a and b, c beside a, if that shortens the tour."""
        d = self.distance
        for step in (1, -1):
            before, segment = self.beside(c, -step), [c]
            while len(segment) <= _SEGMENT and a not in segment and b not in segment:
                last, after = segment[-1], self.beside(segment[-1], step)
                gain = won + d[before][c] + d[last][after] - d[last][b] - d[before][after]
                if gain > 0:
                    self._put(segment, a, b)
                    self.length -= gain
                    return a, b, c, before, last, after
                segment.append(after)
        return ()

    def _put(self, segment: list[int], a: int, b: int) -> None:
        moved = set(segment)
        rest = [city for city in self.order if city not in moved]
        place = rest.index(a)
        if rest[(place + 1) % len(rest)] == b:
            self.arrange(rest[: place + 1] + segment + rest[place + 1 :])
        else:
            self.arrange(rest[:place] + segment[::-1] + rest[place:])
