"""Hidden units of one network put in the order of another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from deepscope.core import MeasurementError, Needs
from deepscope.instruments._parameter_space import Network, ParameterSpace, Tensors, cast, tensors_of
from deepscope.instruments._permutation_spec import Group, Slot, permutation_spec
from deepscope.instruments._stand_in import StandIn
from deepscope.subject import Subject, tensors_in

Permutation = NDArray[np.int64]

# In float64 a sum in another order differs by 1e-16 of its terms; through some tens of layers, with cancellation, by
# far less than this.
_SAME_FUNCTION = 1e-9
_MOST_SWEEPS = 100


@dataclass(frozen=True, eq=False)
class WeightMatching:
    """One network with its hidden units in the order that brings its weights nearest to another's.

    Attributes
    ----------
    state
        Its parameters and buffers, permuted: the same function as before.
    permutations
        By layer: unit i of the permuted layer is unit ``permutations[layer][i]`` of the other network's.
    distance_before, distance_after
        Euclidean distance of its permutable tensors from the subject's.
    sweeps, converged
        Passes over all layers, and whether the last one changed nothing.
    deviation
        Largest difference of its outputs before and after, relative to the largest output, in float64.
    """

    state: Tensors
    permutations: Mapping[str, Permutation]
    distance_before: float
    distance_after: float
    sweeps: int
    converged: bool
    deviation: float


def match_weights(subject: Subject, other: Network) -> WeightMatching:
    r"""Permute the hidden units of another network so that its weights come as near to the subject's as can be.

    Units of a hidden layer can be put in any order without changing the function. The sum of the inner products of all
    tensors, :math:`\sum_\ell \langle W_\ell^A, P_\ell W_\ell^B P_{\ell-1}^\top \rangle`, is maximised over one layer's
    permutation at a time, by a linear assignment, until nothing changes: weight matching (Ainsworth et al. 2023,
    algorithm 1). Two starts are tried, the order as it is and a pass from the inputs forward, and the better one kept.

    Parameters
    ----------
    subject
        A model with data: a chain of linear layers and convolutions, with norms, functions of single elements and
        pooling between them.
    other
        A network of the same architecture: a module, a subject, a state dict, or a path to a checkpoint.

    Returns
    -------
    WeightMatching
        ``state`` can be given wherever a network can.

    Raises
    ------
    MeasurementError
        The architecture is none for which permutations are known for certain, two of its tensors are tied, or the
        permuted network does not compute the same function.
    UsageError
        Networks of two architectures.

    Notes
    -----
    Running statistics are permuted but do not count in the distance. The sum grows with every assignment, so that the
    search ends; it may end in a local optimum.
    Cost: per sweep and layer of n units one product of n × n × (weights per unit) and one assignment, O(n³); two
    forward passes of one batch.
    Source: ``ainsworth2023git``.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> shuffled = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    >>> for name in ("0.weight", "0.bias"):
    ...     shuffled[name] = shuffled[name][[2, 0, 1]]
    >>> shuffled["2.weight"] = shuffled["2.weight"][:, [2, 0, 1]]
    >>> found = match_weights(Subject(model, [(torch.ones(4, 2), torch.ones(4, 1))]), shuffled)
    >>> found.permutations["0"].tolist(), found.distance_after
    ([1, 2, 0], 0.0)
    """
    subject.require(Needs.MODEL | Needs.DATA, "match_weights")
    assert subject.model is not None
    with subject.undisturbed(), torch.inference_mode(False), torch.no_grad():
        theirs = tensors_of(subject, other)
        mine = tensors_of(subject, subject)
        groups = permutation_spec(subject.model, subject.name)
        _refuse_tied(subject, groups)
        permutable = {slot.name for group in groups for slot in group.slots} & {
            name for name, _ in subject.model.named_parameters()
        }
        ours, found = ({name: each[name].double().cpu() for name in permutable} for each in (mine, theirs))
        starts = [[np.arange(group.size) for group in groups], _forward(groups, ours, found)]
        ends = [_alternate(groups, ours, found, start) for start in starts]
        permutations, sweeps, converged = max(ends, key=lambda end: _product(groups, ours, found, end[0]))
        state = permuted(groups, theirs, permutations)
        deviation = _deviation(subject, theirs, state)
        after = {name: tensor.double().cpu() for name, tensor in state.items() if name in permutable}
    if deviation > _SAME_FUNCTION:
        raise MeasurementError(
            f"the permuted network does not compute the same function (outputs differ by {deviation:.2g})",
            where=subject.name,
            todo="Its units cannot be permuted as they seem to; compare without aligning.",
        )
    return WeightMatching(
        state=state,
        permutations={group.layer: each for group, each in zip(groups, permutations, strict=True)},
        distance_before=_distance(ours, found),
        distance_after=_distance(ours, after),
        sweeps=sweeps,
        converged=converged,
        deviation=deviation,
    )


def permuted(groups: Sequence[Group], tensors: Mapping[str, Tensor], permutations: Sequence[Permutation]) -> Tensors:
    """Return all tensors, each group's units in the order of its permutation."""
    state = {name: tensor.clone() for name, tensor in tensors.items()}
    for group, permutation in zip(groups, permutations, strict=True):
        for slot in group.slots:
            if slot.name in state:
                state[slot.name] = _reordered(state[slot.name], slot, permutation)
    return state


def _reordered(tensor: Tensor, slot: Slot, permutation: Permutation) -> Tensor:
    entries = (permutation[:, None] * slot.block + np.arange(slot.block)).ravel()
    return tensor.index_select(slot.axis, torch.from_numpy(entries).to(tensor.device))


def _similarity(group: Group, ours: Tensors, theirs: Tensors, *, made_only: bool = False) -> NDArray[np.float64]:
    """Return the inner product of each of our units with each of theirs, over all that makes and reads them."""
    total = np.zeros((group.size, group.size))
    for slot in group.slots:
        if slot.name in ours and (slot.made or not made_only):
            one, other = (
                tensors[slot.name].movedim(slot.axis, 0).reshape(group.size, -1).numpy() for tensors in (ours, theirs)
            )
            total += one @ other.T
    return total


def _forward(groups: Sequence[Group], ours: Tensors, theirs: Tensors) -> list[Permutation]:
    """Match each layer by what makes its units, the units before it already matched."""
    found: list[Permutation] = []
    for index, group in enumerate(groups):
        before = permuted(groups[:index], theirs, found)
        found.append(_assigned(_similarity(group, ours, before, made_only=True)))
    return found


def _alternate(
    groups: Sequence[Group], ours: Tensors, theirs: Tensors, start: Sequence[Permutation]
) -> tuple[list[Permutation], int, bool]:
    now = list(start)
    for sweep in range(1, _MOST_SWEEPS + 1):
        changed = False
        for index, group in enumerate(groups):
            others = [*now[:index], np.arange(group.size), *now[index + 1 :]]
            similarity = _similarity(group, ours, permuted(groups, theirs, others))
            better = _assigned(similarity)
            gain = _kept(similarity, better) - _kept(similarity, now[index])
            # Ties and rounding must not keep the search going.
            if gain > 1e-12 * np.abs(similarity).sum():
                now[index], changed = better, True
        if not changed:
            return now, sweep, True
    return now, _MOST_SWEEPS, False


def _assigned(similarity: NDArray[np.float64]) -> Permutation:
    if not np.isfinite(similarity).all():
        raise MeasurementError("weights are not finite", todo="Look at anatomy's findings first.")
    return np.asarray(linear_sum_assignment(similarity, maximize=True)[1], dtype=np.int64)


def _kept(similarity: NDArray[np.float64], permutation: Permutation) -> float:
    return float(similarity[np.arange(len(permutation)), permutation].sum())


def _product(groups: Sequence[Group], ours: Tensors, theirs: Tensors, permutations: Sequence[Permutation]) -> float:
    state = permuted(groups, theirs, permutations)
    return float(sum(torch.sum(ours[name] * state[name]).item() for name in ours))


def _distance(ours: Tensors, theirs: Tensors) -> float:
    return float(np.sqrt(sum(torch.sum((ours[name] - theirs[name]) ** 2).item() for name in ours)))


def _refuse_tied(subject: Subject, groups: Sequence[Group]) -> None:
    slots = {slot.name for group in groups for slot in group.slots}
    tied = [weight.name for weight in subject.weights() if weight.tied and slots & {weight.name, *weight.tied}]
    if tied:
        raise MeasurementError(
            "tied tensors cannot be permuted one by one", where=", ".join(tied), todo="Compare without aligning."
        )


def _deviation(subject: Subject, before: Tensors, after: Tensors) -> float:
    """Return by how much the outputs for the first batch differ, in float64."""
    space = ParameterSpace.of(subject, torch.float64)
    stand_in = StandIn(subject, space)
    batch = next(iter(subject.batches(1)))
    batch = replace(batch, inputs=cast(batch.inputs, torch.float64))
    one, other = (list(tensors_in(stand_in.outputs(cast(state, torch.float64), batch))) for state in (before, after))
    scale = max(float(each.abs().max()) for each in one) or 1.0
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True)) / scale
