"""WeightWatcher's analysis of the weights of a .npz file, with what it cost; runs in the peers' environment.

python peer_weightwatcher.py WEIGHTS.npz ANSWER.json [everything]

``everything`` fits the Marchenko–Pastur law and shuffles every matrix as well.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
import weightwatcher
from meter import Meter

COLUMNS = (
    "alpha", "D", "xmin", "sigma", "num_pl_spikes", "num_evals", "stable_rank", "log_norm", "log_spectral_norm",
)  # fmt: skip


def model_of(path: str) -> torch.nn.Module:
    """Return a model whose linear layers and convolutions hold the file's matrices and kernels."""
    layers = torch.nn.ModuleDict()
    with np.load(path) as archive:
        for name in archive.files:
            weight = torch.from_numpy(archive[name])
            outputs, inputs, *kernel = weight.shape
            make = partial(torch.nn.Conv2d, kernel_size=tuple(kernel)) if kernel else torch.nn.Linear
            layer = make(inputs, outputs, bias=False, device="meta", dtype=weight.dtype)
            layer.weight = torch.nn.Parameter(weight)
            layers[name] = layer
    return layers


def main(weights: str, answer: str, what: str = "") -> None:
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    with Meter() as meter, contextlib.redirect_stdout(sys.stderr):
        more = {"mp_fit": True, "randomize": True} if what == "everything" else {}
        details = weightwatcher.WeightWatcher(model=model_of(weights)).analyze(**more)
    # In the model's order; a table without the columns asked for is an error here, not an empty answer.
    rows = {row["longname"]: {column: float(row[column]) for column in COLUMNS} for _, row in details.iterrows()}
    Path(answer).write_text(json.dumps({"rows": rows, "cost": meter.cost, "version": weightwatcher.__version__}))


if __name__ == "__main__":
    main(*sys.argv[1:])
