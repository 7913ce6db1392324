"""curvlinops and PyHessian on the same networks, each with its own tools; runs in the peers' environment.

python peer_curvature.py WHAT NETWORK

prints a line of JSON with what it cost and found.
"""

from __future__ import annotations

import contextlib
import json
import sys

import torch
from curvature_networks import trained
from curvlinops import HessianLinearOperator, lanczos_approximate_spectrum
from meter import Meter
from pyhessian import hessian
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

Data = list[tuple[Tensor, Tensor]]


def curvlinops_top(model: nn.Module, data: Data) -> list[float]:
    """Return the five largest eigenvalues to 1 %, by ARPACK."""
    operator = HessianLinearOperator(
        model, nn.CrossEntropyLoss(), list(model.parameters()), data, check_deterministic=False
    )
    # ARPACK's tolerance is on the residual: an eigenvalue is then known to 1 % at worst.
    found = eigsh(operator.to_scipy(), k=5, which="LA", tol=1e-2, return_eigenvectors=False, v0=_start(model))
    return sorted(map(float, found), reverse=True)


def pyhessian_top(model: nn.Module, data: Data) -> list[float]:
    """Return the five largest eigenvalues to 1 %, by power iteration; its rule is on the change from step to step."""
    with contextlib.redirect_stdout(sys.stderr):
        x, y = (torch.cat(each) for each in zip(*data, strict=True))
        found, _ = hessian(model, nn.CrossEntropyLoss(), data=(x, y), cuda=False).eigenvalues(top_n=5, tol=1e-2)
    return list(map(float, found))


def curvlinops_density(model: nn.Module, data: Data) -> list[float]:
    """Return the ends of a density from one probe of 100 steps, after the products that its ends take."""
    operator = HessianLinearOperator(
        model, nn.CrossEntropyLoss(), list(model.parameters()), data, check_deterministic=False
    )
    grid, _ = lanczos_approximate_spectrum(operator, 100, num_repeats=1)
    return [float(grid[0]), float(grid[-1])]


def _start(model: nn.Module) -> object:
    n = sum(each.numel() for each in model.parameters())
    return torch.randn(n, generator=torch.Generator().manual_seed(0)).double().numpy()


def main(what: str, network: str) -> None:
    torch.set_num_threads(1)
    measures = {
        "curvlinops, top 5": curvlinops_top,
        "PyHessian, top 5": pyhessian_top,
        "curvlinops, density": curvlinops_density,
    }
    model, data = trained(network)
    with Meter() as meter:
        found = measures[what](model, data)
    print(json.dumps({**meter.cost, "found": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
