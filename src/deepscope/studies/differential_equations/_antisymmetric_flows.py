"""Equations y′ = σ(A y) with antisymmetric, free and dissipative A, and Euler's steps of the first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deepscope.core import Case, TrialRun, UsageError, derive_seed, nearest
from deepscope.models import AntisymmetricLayer

#: What A is made of, by name.
GENERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "antisymmetric": lambda k: k - k.mT,
    "free": lambda k: k,
    "dissipative": lambda k: -k @ k.mT,
}
FLOWS: dict[str, Callable[[Tensor], Tensor]] = {"linear": lambda z: z, "tanh": torch.tanh}
#: Length of a step of the Runge–Kutta method, and of Euler's; how long Euler's are taken.
STEP, EULER_STEP, EULER_TIME = 0.02, 0.1, 100.0
#: Length of a perturbation.
SMALL = 1e-6
#: Points of a curve after the first.
POINTS = 20
#: Diffusion of Euler's steps, as a multiple of the h ω² at which, to first order, no mode grows.
ENOUGH = 1.1


def generators(k: Tensor, kind: str) -> Tensor:
    """Return A of weights K, [draws, n, n], scaled to the Frobenius norms of K.

    Examples
    --------
    >>> generators(torch.tensor([[[3.0, 0.0], [4.0, 0.0]]]), "antisymmetric")[0]
    tensor([[ 0.0000, -3.5355],
            [ 3.5355,  0.0000]])
    """
    if kind not in GENERATORS:
        raise UsageError("unknown generator", where=str(kind), todo=nearest(str(kind), GENERATORS))
    found = GENERATORS[kind](k)
    return found * (_norms(k.flatten(1)) / _norms(found.flatten(1)))[:, None, None]


def draw_start(case: Case, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return K with entries N(0, 1/n), [draws, n, n], and a start and a direction from N(0, 1), [draws, n, 1]."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "flows"))
    shape = (case.draws, case.width)
    k = torch.randn(*shape, case.width, generator=generator, dtype=torch.float64) / math.sqrt(case.width)
    start, direction = torch.randn(2, *shape, 1, generator=generator, dtype=torch.float64)
    return k, start, direction


def flow(case: Case, run: TrialRun) -> dict[str, Any]:
    """Solve y′ = σ(A y), and return what became of signals and of a perturbation.

    Returns
    -------
    dict
        ``times`` and ``norms``: medians over draws of |y(t)|/|y(0)|; ``growth``: the last; ``perturbation``: the same
        of a small difference of two solutions. ``departure``, [draws]: ||y(T)|/|y(0)| − 1|. ``real_parts``, [draws]:
        largest |Re λ| of the eigenvalues of the Jacobian of σ(A y) at the start. ``singular_values``, [draws]: largest
        |s − 1| of the midpoint rule's propagator of y′ = A y. ``energy``, [draws]: relative change of Σ ln cosh(A y).
    """
    sigma = FLOWS[case.experiment]
    k, start, direction = draw_start(case, run.seed)
    matrix = generators(k, case.generator)
    y, curve = torch.cat([start, start + SMALL * direction / _norms(direction[..., 0])[:, None, None]], 2), []
    for part in range(POINTS + 1):
        curve.append((_norms(y[..., 0]) / _norms(start[..., 0])).median().item())
        if part < POINTS:
            y = runge_kutta(lambda z: sigma(matrix @ z), y, case.time / POINTS, STEP)
    ratios = _norms(y[..., 0]) / _norms(start[..., 0])
    before, after = energy(matrix, start), energy(matrix, y[..., :1])
    return {
        "times": [case.time * part / POINTS for part in range(POINTS + 1)],
        "norms": curve,
        "growth": curve[-1],
        "perturbation": (_norms(y[..., 1] - y[..., 0]) / SMALL).median().item(),
        "departure": (ratios - 1).abs().tolist(),
        "real_parts": real_parts(sigma, matrix, start).tolist(),
        "singular_values": (torch.linalg.svdvals(midpoint(matrix, EULER_STEP)) - 1).abs().amax(1).tolist(),
        "energy": ((after - before) / before).abs().tolist(),
    }


def runge_kutta(field: Callable[[Tensor], Tensor], y: Tensor, time: float, step: float) -> Tensor:
    """Return the classical fourth-order method's solution after a time, by equal steps of at most the length given."""
    count = math.ceil(time / step - 1e-9)
    h = time / count
    for _ in range(count):
        first = field(y)
        second = field(y + h / 2 * first)
        third = field(y + h / 2 * second)
        y = y + h / 6 * (first + 2 * second + 2 * third + field(y + h * third))
    return y


def real_parts(sigma: Callable[[Tensor], Tensor], matrix: Tensor, y: Tensor) -> Tensor:
    """Return the largest |Re λ| of the Jacobians of σ(A y), [draws]."""
    jacobians = torch.func.vmap(torch.func.jacrev(lambda z, a: sigma(a @ z)))(y[..., 0], matrix)
    found: Tensor = torch.linalg.eigvals(jacobians).real.abs().amax(1)
    return found


def midpoint(matrix: Tensor, step: float) -> Tensor:
    """Return (1 − hA/2)⁻¹ (1 + hA/2), by which the midpoint rule multiplies: orthogonal for antisymmetric A."""
    one = torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    found: Tensor = torch.linalg.solve(one - step / 2 * matrix, one + step / 2 * matrix)
    return found


def energy(matrix: Tensor, y: Tensor) -> Tensor:
    """Return Σ ln cosh(A y), [draws]: y′ = tanh(A y) keeps it, as its change is tanh(A y)ᵀ A tanh(A y) = 0."""
    size = (matrix @ y).abs()
    return (size + torch.log1p(torch.exp(-2 * size)) - math.log(2)).sum((1, 2))


def euler(case: Case, run: TrialRun) -> dict[str, Any]:
    """Take Euler's steps, which are layers of the network, without diffusion and with enough of it.

    Returns
    -------
    dict
        ``times``, ``norms``, ``growth`` as of ``flow``, of layers without diffusion; ``diffused_norms`` and
        ``diffused_growth``. ``identity``, [draws]: relative difference of |y|² from Σ |cᵢ|² (1 + h² ωᵢ²)^N after N
        linear steps, ± i ωᵢ being the eigenvalues of A and cᵢ the start's parts along the eigenvectors.
    """
    k, start, _ = draw_start(case, run.seed)
    matrix = generators(k, "antisymmetric")
    frequencies, vectors = torch.linalg.eigh(-1j * matrix)
    diffusion = ENOUGH * EULER_STEP * frequencies.max().item() ** 2
    norms = layer_norms(matrix, start[..., 0], case.euler_time, 0.0)
    diffused = layer_norms(matrix, start[..., 0], case.euler_time, diffusion)
    steps = math.ceil(case.time / EULER_STEP)
    y = start
    for _ in range(steps):
        y = y + EULER_STEP * matrix @ y
    parts = (vectors.mH @ start.to(vectors.dtype))[..., 0].abs().square()
    expected = (parts * (1 + (EULER_STEP * frequencies) ** 2) ** steps).sum(1)
    return {
        "times": [case.euler_time * part / POINTS for part in range(POINTS + 1)],
        "norms": norms,
        "growth": norms[-1],
        "diffused_norms": diffused,
        "diffused_growth": diffused[-1],
        "identity": (_norms(y[..., 0]).square() / expected - 1).abs().tolist(),
    }


@torch.no_grad()
def layer_norms(matrix: Tensor, start: Tensor, time: float, diffusion: float) -> list[float]:
    """Return medians over draws of |y|/|y(0)| along ``time`` / h antisymmetric layers with tanh, whose A is given."""
    layer = AntisymmetricLayer(matrix.shape[-1], step=EULER_STEP, diffusion=diffusion).to(matrix)
    # ½ (A − Aᵀ) is A.
    layers = torch.func.vmap(lambda a, y: torch.func.functional_call(layer, {"weight": a}, (y[None],))[0])
    y, found = start, [1.0]
    for _ in range(POINTS):
        for _ in range(max(1, round(time / EULER_STEP / POINTS))):
            y = layers(matrix, y)
        found.append((_norms(y) / _norms(start)).median().item())
    return found


def _norms(vectors: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return found
