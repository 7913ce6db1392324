"""A plane of the loss by loss-landscapes or Landscaper, with what it cost; runs in the peers' environment.

python peer_landscapes.py loss-landscapes|landscaper mlp|cnn POINTS SAMPLES
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import sys
import types
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from landscape_networks import data, network
from meter import Meter
from torch.nn import functional


def loss_landscapes(model: torch.nn.Module, points: int, samples: int) -> Callable[[], np.ndarray]:
    """Return its plane in random filter-normalised directions."""
    import loss_landscapes
    from loss_landscapes.metrics import Loss

    metric = Loss(functional.cross_entropy, *data(samples))
    return lambda: loss_landscapes.random_plane(model, metric, distance=1, steps=points, normalization="filter")


def landscaper(model: torch.nn.Module, points: int, samples: int) -> Callable[[], np.ndarray]:
    """Return its plane along two given directions."""
    # The package itself loads libraries for topology that a plane does not need.
    found = importlib.util.find_spec("landscaper")
    bare = types.ModuleType("landscaper")
    bare.__path__ = list(found.submodule_search_locations)
    sys.modules["landscaper"] = bare
    compute = importlib.import_module("landscaper.compute").compute_loss_landscape
    images, labels = data(samples)
    directions = [[torch.randn_like(parameter) for parameter in model.parameters()] for _ in range(2)]

    def scalar(moved: torch.nn.Module, given: object) -> float:
        del given
        return float(functional.cross_entropy(moved(images), labels))

    return lambda: compute(model, None, directions, scalar, steps=points, distance=0.5, dim=2, device="cpu")[0]


def main(peer: str, name: str, points: str, samples: str) -> None:
    torch.set_num_threads(1)
    prepare = {"loss-landscapes": loss_landscapes, "landscaper": landscaper}[peer]
    with contextlib.redirect_stdout(sys.stderr):
        plane = prepare(network(name, int(samples)), int(points), int(samples))
        with Meter() as meter:
            losses = plane()
    assert losses.shape == (int(points), int(points)), Path(__file__).name
    print(json.dumps({**meter.cost, "version": version(peer)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
