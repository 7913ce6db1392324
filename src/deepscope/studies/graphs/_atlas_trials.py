"""One trial: which graphs of the atlas, and which hard pairs, a network or a test tells apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepscope.core import Case, TrialRun
from deepscope.studies.graphs._graph_stacks import Stack, atlas, hard_pairs, relabelled
from deepscope.studies.graphs._graph_tellers import EXPECTED, make_teller
from deepscope.studies.graphs._refinement import Seen, node_counts, refined_nodes, walk_counts

#: Numbers that differ by less than this part of the larger are the same but for rounding: sums of up to a few hundred
#: terms in float64, in each of seven layers, err by 1e-15 to 1e-14.
ROUNDING = 1e-12


def tell_graphs(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return which graphs a network with random weights, or a refinement, tells apart.

    Returns
    -------
    dict
        Of the pairs of the atlas's graphs of up to ``case.nodes`` nodes: ``confounded``, how many are not told apart;
        ``otherwise``, how many not as ``EXPECTED``; ``least``, the least difference of a pair that is expected to be
        told apart, and ``most``, the largest of one that is not. ``copies``: how many graphs are told apart from a copy
        of theirs, with nodes in another order. ``hard``: the difference of each of the ``hard_pairs``. Differences are
        those of ``differences``.

    Raises
    ------
    UsageError
        An unknown network or test.
    """
    look, rng = make_teller(case, run), np.random.default_rng(run.seed)
    stacks = list(run.shared(atlas, nodes=case.nodes).values())
    # Graphs and their copies at once: a refinement's classes are comparable within one call.
    both = [look(np.concatenate([stack, relabelled(stack, rng)])) for stack in stacks]
    seen, copied = (np.concatenate([np.split(each, 2)[half] for each in both]) for half in (0, 1))
    pairs = np.triu_indices(len(seen), 1)
    found, apart = differences(seen, seen)[pairs], _expected(EXPECTED[case.teller], stacks, case.layers)[pairs]
    told = found > ROUNDING
    return {
        "confounded": int((~told).sum()),
        "otherwise": int((told != apart).sum()),
        "least": float(found[apart].min()),
        "most": float(found[~apart].max(initial=0)),
        "copies": int((differences(seen, copied).diagonal() > ROUNDING).sum()),
        "hard": np.array([_difference(look(relabelled(pair, rng))) for pair in hard_pairs()]),
    }


def differences(rows: Seen, others: Seen) -> NDArray[np.float64]:
    """Return the largest difference of any of [n, numbers] from any of [m, numbers], over the largest number of both.

    >>> differences(np.array([[1.0, 4.0]]), np.array([[1.0, 2.0], [1.0, 4.0]])).tolist()
    [[0.5, 0.0]]
    """
    left, right = torch.from_numpy(rows.astype(float)), torch.from_numpy(others.astype(float))
    largest = torch.maximum(left.abs().amax(1)[:, None], right.abs().amax(1))
    found: NDArray[np.float64] = (torch.cdist(left, right, p=torch.inf) / largest).numpy()
    return found


def _difference(pair: Seen) -> float:
    return float(differences(pair, pair)[0, 1])


def _expected(test: str, stacks: Sequence[Stack], layers: int) -> NDArray[np.bool_]:
    """Return which of the graphs of all stacks an exact test tells apart, [graphs, graphs]."""
    if test == "isomorphism":
        return ~np.eye(sum(len(stack) for stack in stacks), dtype=bool)
    tests: dict[str, Callable[[Stack], Seen]] = {
        "1-WL": refined_nodes,
        "walks": partial(walk_counts, length=layers),
        "counts": node_counts,
    }
    seen = np.concatenate([tests[test](stack) for stack in stacks])
    found: NDArray[np.bool_] = (seen[:, None] != seen).any(-1)
    return found
