"""Which weights to prune, given how much each of them counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError, nearest
from deepscope.training._masks import Masks, prunable_weights

Scope = Literal["layer", "network"]
_SCOPES = ("layer", "network")


def magnitudes(model: nn.Module, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    """Return |w| of the weights of linear and convolutional layers, or of the parameters of these names.

    Raises
    ------
    UsageError
        There is no such parameter.

    Examples
    --------
    >>> model = nn.Linear(2, 1)
    >>> _ = nn.init.constant_(model.weight, -3.0)
    >>> magnitudes(model)["weight"].tolist()
    [[3.0, 3.0]]
    """
    return {name: weight.detach().abs() for name, weight in prunable_weights(model, names).items()}


def pruning_masks(
    scores: Mapping[str, Tensor],
    ratio: float | Mapping[str, float],
    *,
    scope: Scope = "network",
    masks: Masks | None = None,
) -> dict[str, Tensor]:
    """Return masks that drop the weights with the lowest scores, and keep the others.

    Of n weights that compete, exactly ⌊ratio·n⌋ go, and at least one stays; of equal scores, those that stand first
    go. With ``masks``, only what they keep competes, and counts in n: rounds of it leave (1 − ratio)ᵏ. With
    ``magnitudes`` as scores it is magnitude pruning (source: ``han2015learning``), with random numbers its control.

    Parameters
    ----------
    scores
        Name to scores, of any shape: ``magnitudes(model)``, ``taylor_scores``, ``taylor_unit_scores``.
    ratio
        Share to drop, above 0 and below 1; for the scope ``"layer"`` also one for each name.
    scope
        Whether all weights of the network compete, or those of each layer among themselves.
    masks
        What has been pruned before.

    Returns
    -------
    dict
        Name to boolean mask of the scores' shape, True where a weight is kept.

    Raises
    ------
    UsageError
        An argument is out of range, a score is NaN, or the masks are of other weights.

    Notes
    -----
    Costs a sort of the scores. ``torch.nn.utils.prune`` drops round(ratio·n) and does not say which of equal ones; it
    also renames the pruned parameters, so that a checkpoint of the network before does not fit.

    Examples
    --------
    >>> pruning_masks({"weight": torch.tensor([0.5, 0.1, 0.1, 2.0])}, 0.5)["weight"].tolist()
    [True, False, False, True]
    """
    require_scope(scope, where="pruning_masks")
    kept = _competing(scores, masks)
    ratios = ratios_of(ratio, kept, scope)
    if scope == "network":
        together = torch.cat([kept[name].flatten() for name in kept])
        count = share_of(int(together.sum()), ratios[next(iter(kept))])
        flat = _without_lowest(torch.cat([scores[name].detach().flatten() for name in kept]), together, count)
        parts = torch.split(flat, [mask.numel() for mask in kept.values()])
        return {name: part.view_as(mask).clone() for (name, mask), part in zip(kept.items(), parts, strict=True)}
    return {
        name: _without_lowest(
            scores[name].detach().flatten(), mask.flatten(), share_of(int(mask.sum()), ratios[name])
        ).view_as(mask)
        for name, mask in kept.items()
    }


def masks_to_sparsity(
    scores: Mapping[str, Tensor], sparsity: float, *, scope: Scope, masks: Masks | None = None
) -> dict[str, Tensor]:
    """Return masks that drop this share of all weights, those that ``masks`` drop among them."""
    kept = _competing(scores, masks)
    groups = [list(kept)] if scope == "network" else [[name] for name in kept]
    found: dict[str, Tensor] = {}
    for names in groups:
        before = torch.cat([kept[name].flatten() for name in names])
        missing = share_of(before.numel(), sparsity) - int((~before).sum())
        together = torch.cat([scores[name].detach().flatten() for name in names])
        after = _without_lowest(together, before, max(0, missing))
        parts = torch.split(after, [kept[name].numel() for name in names])
        found |= {name: part.view_as(kept[name]).clone() for name, part in zip(names, parts, strict=True)}
    return found


def share_of(n: int, ratio: float) -> int:
    """Return ⌊ratio·n⌋, at most n − 1, as if the ratio's decimals were exact: 29 of 100 for 0.29.

    >>> share_of(100, 0.29), share_of(100_000_000, 0.29), share_of(1, 0.999)
    (29, 29000000, 0)
    """
    # The rounding of ratio·n is in proportion to it; that of a ratio which was computed may be larger for a small one.
    return max(0, min(n - 1, math.floor(ratio * n * (1 + 1e-12) + 1e-9)))


def require_scope(scope: str, *, where: str) -> None:
    """Refuse a scope that there is not.

    Raises
    ------
    UsageError
        Names the scope and those that there are.
    """
    if scope not in _SCOPES:
        raise UsageError(f"the scope is {scope!r}", where=f"scope of {where}", todo="Give 'layer' or 'network'.")


def require_share(name: str, value: float, *, where: str) -> None:
    """Refuse what is not strictly between 0 and 1.

    Raises
    ------
    UsageError
        Names the argument, its value and what is allowed.
    """
    if not 0 < value < 1:
        raise UsageError(f"{name} is {value}", where=f"{name} of {where}", todo=f"Give a {name} above 0 and below 1.")


def _without_lowest(scores: Tensor, kept: Tensor, count: int) -> Tensor:
    places = kept.nonzero().squeeze(1)
    lowest = scores[places].argsort(stable=True)[:count]
    after = kept.clone()
    after[places[lowest]] = False
    return after


def _competing(scores: Mapping[str, Tensor], masks: Masks | None) -> dict[str, Tensor]:
    """Return which of the scores compete."""
    if not any(each.numel() for each in scores.values()):
        raise UsageError("there are no scores", where="scores", todo="Give magnitudes(model), or others by name.")
    for name, each in scores.items():
        if bool(each.isnan().any()):
            raise UsageError("a score is NaN", where=f"scores of {name}", todo="Look at the weights and the data.")
    if masks is None:
        return {name: torch.ones_like(each, dtype=torch.bool) for name, each in scores.items()}
    for name, each in scores.items():
        if name not in masks:
            raise UsageError("the masks have no such weights", where=name, todo=nearest(name, masks))
        if masks[name].shape != each.shape or masks[name].dtype != torch.bool:
            raise UsageError(
                f"the mask is {masks[name].dtype} of shape {list(masks[name].shape)}",
                where=f"masks of {name}",
                todo=f"Give a boolean one of shape {list(each.shape)}.",
            )
    return {name: masks[name].to(each.device) for name, each in scores.items()}


def ratios_of(ratio: float | Mapping[str, float], names: Iterable[str], scope: Scope) -> dict[str, float]:
    """Return each name's share to drop.

    Raises
    ------
    UsageError
        One is out of range, or they are not those of the names.
    """
    if isinstance(ratio, Mapping):
        if scope == "network" or set(ratio) != set(names):
            raise UsageError(
                f"ratios are given for {sorted(ratio)}, with the scope {scope!r}",
                where="ratio of pruning_masks",
                todo=f"Give one number, or with the scope 'layer' one for each of {sorted(names)}.",
            )
        ratios = dict(ratio)
    else:
        ratios = dict.fromkeys(names, ratio)
    for each in ratios.values():
        require_share("ratio", each, where="pruning_masks")
    return ratios


SPECIMENS = (
    Specimen(
        name="magnitude-pruning",
        title="weights of least magnitude set to 0",
        build=pruning_masks,
        formula="Of n weights, of the network or of each layer, the ⌊p·n⌋ with the smallest |w| go; then training on.",
        source="han2015learning",
        pinned_by="tests/training/test_pruning.py::test_it_drops_exactly_the_lowest",
    ),
)
