"""`curvature` beside curvlinops (with ARPACK) and PyHessian, on a multilayer perceptron and a convolutional network.

Each measurement runs in a process of its own, on one thread; networks are trained before the clock starts. All are
asked for the five largest eigenvalues of the Hessian to 1 %. deepscope's residuals bound the error, and ARPACK's do;
PyHessian stops when an estimate changes by less than 1 %, which bounds nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from process import OURS, THEIRS, Costs, answer, medians, runs

NETWORKS = ("mlp", "cnn")
SMALL = {"networks": ("mlp",)}
PEERS = ("curvlinops, top 5", "PyHessian, top 5", "curvlinops, density")
#: CPU time of five eigenvalues over the peer's. A product takes 1.3 gradients, as many as the passes it is made of; and
#: blocks of two vectors, which find what single ones miss, take half as many products again.
PROMISED = {"mlp": {"curvlinops": 0.4, "PyHessian": 0.9}, "cnn": {"curvlinops": 0.65, "PyHessian": 0.4}}
TOP = {"top": 5, "bottom": 0, "density": False, "trace": False, "per_layer": False, "sharp": False}


def worker(what: str, network: str) -> None:
    """Measure one thing in this process; print its cost and what was found."""
    import torch
    from curvature_networks import trained
    from meter import Meter

    import deepscope.instruments  # noqa: F401 - loaded before the clock starts

    torch.set_num_threads(1)
    model, data = trained(network)
    actions: dict[str, Callable[[Any, Any], Any]] = {
        "gradient": _gradient, "top 5": _top, "density": _density, "exact trace": _trace,
    }  # fmt: skip
    action = actions[what]
    with Meter() as meter:
        found = action(model, data)
    print(json.dumps({**meter.cost, "found": found}))


def _gradient(model: Any, data: Any) -> list[float]:
    """The limit: what a plain gradient costs."""
    import torch

    for x, y in data:
        torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), y), list(model.parameters()))
    return []


def _measured(model: Any, data: Any, **asked: Any) -> Any:
    import torch

    from deepscope.instruments import curvature
    from deepscope.subject import Subject

    subject = Subject(model, data, torch.nn.functional.cross_entropy)
    return curvature(subject, **{**TOP, **asked}, generator=torch.Generator().manual_seed(0))


def _top(model: Any, data: Any) -> list[float]:
    found = _measured(model, data)
    assert found.converged
    return [*map(float, found.eigenvalues), float(found.n_products)]


def _density(model: Any, data: Any) -> list[float]:
    # Two probes, without which there is no interval, of 50 steps: as many products as the peer's one of 100.
    found = _measured(model, data, density=True, n_probes=2, n_steps=50, top=1)
    return [float(found.density.grid[0]), float(found.density.grid[-1])]


def _trace(model: Any, data: Any) -> list[float]:
    # One eigenvalue as loosely as can be is next to nothing: what is left is the structured pass.
    found = _measured(model, data, top=1, tolerance=10.0, trace=True)
    assert found.trace_stderr == 0
    return [found.trace]


def bench(repeats: int, networks: tuple[str, ...] = NETWORKS) -> dict[str, Any]:
    """Return the medians over the repeats of every measurement, and the ratios that count."""
    samples: dict[str, list[Costs]] = {}
    found: dict[str, list[float]] = {}
    # Interleaved, so that a slow moment of the machine hits all alike.
    for _ in range(repeats):
        for network in networks:
            for what in ("gradient", "top 5", "density", "exact trace", *PEERS):
                theirs = what in PEERS
                script = "peer_curvature.py" if theirs else "curvature.py"
                told = answer(THEIRS if theirs else OURS, script, what, network)
                found[f"{what}, {network}"] = told.pop("found")
                samples.setdefault(f"{what}, {network}", []).append(told)
    costs = {what: medians(each) for what, each in samples.items()}
    cpu = {what: cost["cpu_seconds"] for what, cost in costs.items()}
    ratios = {
        network: {
            "top_to_curvlinops": cpu[f"top 5, {network}"] / cpu[f"curvlinops, top 5, {network}"],
            "top_to_pyhessian": cpu[f"top 5, {network}"] / cpu[f"PyHessian, top 5, {network}"],
            "density_to_curvlinops": cpu[f"density, {network}"] / cpu[f"curvlinops, density, {network}"],
            "trace_in_gradients": cpu[f"exact trace, {network}"] / cpu[f"gradient, {network}"],
        }
        for network in networks
    }
    return {"repeats": repeats, "costs": costs, "found": found, "ratios": ratios}


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say which of what is promised does not hold: the time beside the peers, and that all find the same."""
    broken = []
    for network, ratios in result["ratios"].items():
        for peer, most in PROMISED[network].items():
            if ratios[f"top_to_{peer.lower()}"] > most:
                broken.append(f"five eigenvalues of {network} take more than {most} of {peer}'s time")
        if ratios["density_to_curvlinops"] > 0.6:
            broken.append(f"the density of {network} takes more than 0.6 of curvlinops' time")
        ours, theirs = (result["found"][f"{what}, {network}"][:5] for what in ("top 5", "curvlinops, top 5"))
        # 1 % each.
        if any(abs(one - other) > 0.02 * other for one, other in zip(ours, theirs, strict=True)):
            broken.append(f"the eigenvalues of {network} are not those of curvlinops")
    return broken


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and one sentence."""
    names = {
        "gradient": "one gradient",
        "top 5": "`curvature`, five eigenvalues",
        "curvlinops, top 5": "curvlinops with ARPACK, five eigenvalues",
        "PyHessian, top 5": "PyHessian, five eigenvalues",
        "density": "`curvature`, density from 100 products",
        "curvlinops, density": "curvlinops, density from 100 products",
        "exact trace": "`curvature`, exact trace by layer",
    }
    lines = ["| one thread | network | CPU time | gradients | extra memory |", "| --- | --- | ---: | ---: | ---: |"]
    for network in result["ratios"]:
        unit = result["costs"][f"gradient, {network}"]["cpu_seconds"]
        for what, name in names.items():
            cost = result["costs"][f"{what}, {network}"]
            lines.append(
                f"| {name} | {network} | {cost['cpu_seconds']:.2g} s | {cost['cpu_seconds'] / unit:.0f} "
                f"| {cost['extra_bytes'] / 1e6:.0f} MB |"
            )
    products = {network: int(result["found"][f"top 5, {network}"][-1]) for network in result["ratios"]}
    taken = " and ".join(f"{count} products ({network})" for network, count in products.items())
    return "\n".join([*lines, "", f"1,000 samples, {runs(result['repeats'])}; `curvature` took {taken} for 1 %."])


if __name__ == "__main__":
    worker(*sys.argv[1:])
