"""The narrow networks of the information bottleneck: what their layers hold of twelve bits during training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deepscope.core import Case, TrialRun
from deepscope.data import Samples
from deepscope.models import MLP
from deepscope.studies.learning_dynamics._boolean_sphere import BITS, boolean_patterns
from deepscope.studies.learning_dynamics._hidden_layers import activations, jacobians, network, ranks
from deepscope.studies.learning_dynamics._layer_information import compression, information_of
from deepscope.studies.learning_dynamics._snapshots import Snapshots, snapshot_epochs
from deepscope.training import fit

WIDTHS = (BITS, 10, 7, 5, 4, 3, 2)
#: Share of the patterns that is trained on.
TRAINED = 0.8
#: Training accuracy with which the final phase begins, and below which a network has not learned the rule.
FITS, COLLAPSED = 0.95, 0.9


@dataclass(frozen=True, eq=False)
class _Look:
    activations: list[Tensor]
    right: Tensor
    ranks: list[float]


def _dead(seen: _Look) -> bool:
    return any(not bool(each.any()) for each in seen.activations)


def bottleneck_trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train a narrow network; return the bits that its layers seem to hold, and the ranks of their Jacobians.

    A network of which a layer gives 0 for all patterns, and so will for ever, or that ends below a training accuracy of
    90 %, is drawn anew.
    """
    patterns, classes = boolean_patterns()
    order = torch.randperm(len(patterns), generator=run.generator)
    train, test = order.tensor_split([round(TRAINED * len(order))])
    probes = patterns[torch.randperm(len(patterns), generator=run.generator)[: case.probes]]
    data = Samples(patterns[train], classes[train], "bits")
    epochs = snapshot_epochs(case.epochs, case.snapshots)

    def look(model: MLP) -> _Look:
        with torch.no_grad():
            right = (model(patterns).argmax(dim=1) == classes).double()
        found = [ranks(each)["participation"] for each in jacobians(model, probes)]
        return _Look(activations(model, patterns), right, found)

    for again in range(case.draws):
        snapshots = Snapshots(epochs, look, hopeless=_dead)
        model = network(WIDTHS, case.arm, run.generator)
        fit(
            model,
            data.epochs(case.batch, seed=run.seed),
            functional.cross_entropy,
            optimizer=torch.optim.SGD(model.parameters(), lr=case.learning_rate, momentum=0.9),
            epochs=case.epochs,
            callbacks=[snapshots],
            seed=run.seed,
        )
        seen = snapshots.seen
        accuracy = np.array([float(each.right[train].mean()) for each in seen])
        run.log(f"network {again + 1}: training accuracy {accuracy[-1]:.3f} after {epochs[len(seen) - 1]} epochs")
        if len(seen) == len(epochs) and accuracy[-1] >= COLLAPSED:
            break

    information = information_of([each.activations for each in seen], classes)
    rank = np.array([each.ranks for each in seen])
    return {
        **information,
        **{f"compression_{name}": compression(values) for name, values in information.items() if name != "label"},
        "epoch": np.array(epochs[: len(seen)], dtype=float),
        "accuracy": accuracy,
        "rank": rank,
        "lowest_exact": float(information["exact"].min()),
        "train_accuracy": float(accuracy[-1]),
        "test_accuracy": float(seen[-1].right[test].mean()),
        "drawn_anew": again,
        **final_phase(accuracy, information["bins_30"], rank),
    }


def final_phase(accuracy: Any, information: Any, rank: Any) -> dict[str, float | None]:
    """Return the changes from the first snapshot with a training accuracy of 95 % to the last one.

    Parameters
    ----------
    accuracy
        [snapshots].
    information, rank
        [snapshots, layers].

    Returns
    -------
    dict
        Of the bits, the mean over layers of their change; of the rank, the log of the ratio of its means over layers.
        None where the accuracy is never reached.

    Examples
    --------
    >>> bits, rank = np.array([[9.0], [8.0], [6.0]]), np.array([[4.0], [2.0], [2.0]])
    >>> final_phase(np.array([0.5, 0.96, 1.0]), bits, rank)
    {'final_bits': -2.0, 'final_log_rank': 0.0}
    """
    fitted = np.flatnonzero(accuracy >= FITS)
    if not len(fitted):
        return {"final_bits": None, "final_log_rank": None}
    first = fitted[0]
    return {
        "final_bits": float((information[-1] - information[first]).mean()),
        "final_log_rank": math.log(rank[-1].mean() / rank[first].mean()),
    }
