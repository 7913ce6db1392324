"""Group method of data handling: how a network of quadratic polynomials grows until fresh data say stop."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models._gmdh import GMDH, TERMS, polynomials


@torch.no_grad()
def grow_gmdh(
    inputs: Tensor,
    targets: Tensor,
    checking_inputs: Tensor,
    checking_targets: Tensor,
    *,
    width: int = 10,
    least_gain: float = 0.1,
    most_layers: int = 10,
) -> tuple[GMDH, list[float]]:
    """Grow a network of quadratic polynomials, layer by layer, by the group method of data handling.

    For each pair of sources a polynomial is fitted to the targets by least squares. Other samples decide: the units
    with the least squared error on the checking samples, which is called an external criterion, are kept as sources of
    the next layer. Growth ends with the layer whose best unit no longer errs less than the best before by a share of
    ``least_gain``: this layer is left out, and of the others the units on which the best one depends remain.

    Parameters
    ----------
    inputs, targets
        [n, features] and [n], to which polynomials are fitted; at least 6.
    checking_inputs, checking_targets
        [m, features] and [m], by which units are chosen.
    width
        How many units of a layer are kept.
    least_gain
        Share of the criterion by which a layer must lower it. The best of many units on the checking samples is better
        than the others by chance alone, by a share of order 1/m for each of its coefficients: it must be above that.
    most_layers
        Number of layers at which growth ends.

    Returns
    -------
    network, criteria
        The network of one output, at least one layer, and the least mean squared error on the checking samples of each
        layer that was made, that which was left out with them.

    Raises
    ------
    UsageError
        Samples of other shapes, too few, or not finite; a width or number of layers below 1; a gain not in [0, 1).

    Notes
    -----
    Fits are in float64. A layer costs (d + width)²/2 fits of 6 coefficients to n samples, O(36 n) each, and as much
    memory as all their 6 n terms. Source: ``ivakhnenko1971polynomial``.

    Examples
    --------
    >>> x = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
    >>> y = 1 + x[:, 0] * x[:, 3]
    >>> network, criteria = grow_gmdh(x[:200], y[:200], x[200:], y[200:])
    >>> network.inputs_used(), len(network.layers)
    ([0, 3], 1)
    """
    for x, y in ((inputs, targets), (checking_inputs, checking_targets)):
        _check_samples(x, y, inputs.shape[-1] if inputs.ndim else 0)
    if width < 1 or most_layers < 1 or not 0 <= least_gain < 1:
        raise UsageError(
            f"width is {width}, most_layers {most_layers}, least_gain {least_gain}",
            where="grow_gmdh",
            todo="Give at least 1 unit and layer, and a share of at least 0 and below 1.",
        )
    fitting, checking = inputs.double(), checking_inputs.double()
    fitted, checked = fitting[:, :0], checking[:, :0]
    features = inputs.shape[1]
    kept: list[tuple[list[tuple[int, int]], Tensor]] = []
    criteria: list[float] = []
    for _ in range(most_layers):
        fitting_sources, checking_sources = torch.cat([fitting, fitted], 1), torch.cat([checking, checked], 1)
        pairs = torch.tensor(list(combinations(range(fitting_sources.shape[1]), 2)), device=inputs.device)
        weight = _least_squares(fitting_sources, targets.double(), pairs)
        outputs = polynomials(checking_sources, pairs, weight)
        errors = (outputs - checking_targets.double()[:, None]).square().mean(0)
        best = errors.argsort(stable=True)[:width]
        criteria.append(errors[best[0]].item())
        if len(criteria) > 1 and criteria[-1] > (1 - least_gain) * criteria[-2]:
            break
        kept.append(([(int(a), int(b)) for a, b in pairs[best]], weight[best]))
        fitted, checked = polynomials(fitting_sources, pairs[best], weight[best]), outputs[:, best]
    return _pruned(features, kept).to(inputs), criteria


def _terms(x: Tensor, pairs: Tensor) -> Tensor:
    """Return the terms of the polynomials of pairs of columns, [n, pairs, 6]."""
    a, b = x[:, pairs[:, 0]], x[:, pairs[:, 1]]
    return torch.stack([torch.ones_like(a), a, b, a * b, a.square(), b.square()], -1)


def _least_squares(sources: Tensor, targets: Tensor, pairs: Tensor) -> Tensor:
    """Return for each pair the coefficients with the least squared error, [pairs, 6], and of these the smallest."""
    q, r = torch.linalg.qr(_terms(sources, pairs).transpose(0, 1))
    # Terms depend on one another where a source is constant or takes two values: hence no triangular solve.
    inverse: Tensor = torch.linalg.pinv(r, rtol=1e-10)
    weight: Tensor = (inverse @ (q.mT @ targets).unsqueeze(-1)).squeeze(-1)
    return weight


def _pruned(features: int, layers: list[tuple[list[tuple[int, int]], Tensor]]) -> GMDH:
    """Return the network of the last layer's first unit and of those on which it depends."""
    wanted, found = [0], []
    for pairs, weight in reversed(layers):
        chosen = [pairs[unit] for unit in wanted]
        before = sorted({source - features for pair in chosen for source in pair if source >= features})
        places = {features + unit: features + place for place, unit in enumerate(before)}
        found.append(([(places.get(a, a), places.get(b, b)) for a, b in chosen], weight[wanted]))
        wanted = before
        if not wanted:
            break
    found.reverse()
    network = GMDH(features, [pairs for pairs, _ in found]).double()
    for layer, (_, weight) in zip(network.layers, found, strict=True):
        layer.get_parameter("weight").copy_(weight)
    return network


def _check_samples(x: Tensor, y: Tensor, features: int) -> None:
    if x.ndim != 2 or x.shape[1] != features or features < 2 or y.shape != x.shape[:1] or len(x) < TERMS:
        raise UsageError(
            f"the samples are {list(x.shape)}, their targets {list(y.shape)}",
            where="grow_gmdh",
            todo=f"Give [n, features] and [n], with at least 2 features and {TERMS} samples of each kind.",
        )
    if not x.is_floating_point() or not x.isfinite().all() or not y.isfinite().all():
        raise UsageError(
            "some samples are not finite floating-point numbers", where="grow_gmdh", todo="Leave them out."
        )
