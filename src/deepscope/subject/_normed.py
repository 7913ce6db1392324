"""Weights that are stored in factors: weight normalisation and spectral normalisation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import nn
from torch.nn.utils.parametrizations import _SpectralNorm, _WeightNorm

from deepscope.subject._derived import Derived, SpectrallyNormed, WeightNormed
from deepscope.subject._layout import Layout
from deepscope.subject._weight import Weight

_DIRECTION = re.compile(
    r"(?P<list>(?P<layer>(?:.+\.)?)parametrizations\.(?P<leaf>[^.]+))\.original1|(?P<plain>(?:.+\.)?weight\w*)_v"
)
_UNDIVIDED = re.compile(
    r"(?P<list>(?P<layer>(?:.+\.)?)parametrizations\.(?P<leaf>[^.]+))\.original|(?P<plain>(?:.+\.)?weight\w*)_orig"
)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def plain_name(name: str) -> str:
    """Return the name of the weight that a stored factor would be a part of.

    >>> plain_name("a.parametrizations.weight.original1"), plain_name("a.weight_v"), plain_name("a.weight")
    ('a.weight', 'a.weight', 'a.weight')
    """
    found = _DIRECTION.fullmatch(name) or _UNDIVIDED.fullmatch(name)
    return _plain(found) if found else name


def normed(
    weight: Weight,
    by_name: Mapping[str, Weight],
    modules: Mapping[str, nn.Module],
    layout_of: Callable[[str], Layout],
) -> Derived | None:
    """Return the effective weight that a stored direction, or weight before its division, is made into; else None.

    Parameters
    ----------
    weight
        Handle of a direction ``weight_v`` or ``original1``, or of a weight ``weight_orig`` or ``original``.
    by_name
        Handles of all tensors.
    modules
        The live model's modules by name.
    layout_of
        The layout of the tensor under another name.
    """
    if len(weight.shape) < 2 or weight.why_not_measured:
        return None
    return _weight_normed(weight, by_name, modules, layout_of) or _spectrally_normed(
        weight, by_name, modules, layout_of
    )


def _weight_normed(
    weight: Weight,
    by_name: Mapping[str, Weight],
    modules: Mapping[str, nn.Module],
    layout_of: Callable[[str], Layout],
) -> Derived | None:
    found = _DIRECTION.fullmatch(weight.name)
    if found is None or not _is_only(modules, found, _WeightNorm):
        return None
    gain = by_name.get(f"{found['list']}.original0" if found["list"] else f"{found['plain']}_g")
    if gain is None or gain.why_not_measured or not _is_gain(gain.shape, weight.shape):
        return None
    name = _plain(found)
    return WeightNormed(name=name, shape=weight.shape, layout=layout_of(name), others=(gain,))


def _spectrally_normed(
    weight: Weight,
    by_name: Mapping[str, Weight],
    modules: Mapping[str, nn.Module],
    layout_of: Callable[[str], Layout],
) -> Derived | None:
    found = _UNDIVIDED.fullmatch(weight.name)
    if found is None or not _is_only(modules, found, _SpectralNorm):
        return None
    ends = [f"{found['list']}.0._{end}" if found["list"] else f"{found['plain']}_{end}" for end in "uv"]
    left, right = (by_name.get(end) for end in ends)
    if left is None or right is None or left.why_not_measured or right.why_not_measured:
        return None
    name = _plain(found)
    dims = [dim for dim in (0, 1) if left.shape == (weight.shape[dim],) and right.shape == (_rest(weight.shape, dim),)]
    if len(dims) == 2:
        dims = _told_dims(weight, modules.get(name.rpartition(".")[0]))
    if len(dims) != 1:
        return None
    return SpectrallyNormed(name=name, shape=weight.shape, layout=layout_of(name), others=(left, right), dim=dims[0])


def _told_dims(weight: Weight, module: nn.Module | None) -> list[int]:
    """Choose between equal sides: torch takes the second of transposed convolutions and the first of all else."""
    if len(weight.shape) == 2:
        return [0]
    if module is None:
        return []
    return [1 if isinstance(module, _TRANSPOSED) else 0]


def _plain(found: re.Match[str]) -> str:
    return f"{found['layer']}{found['leaf']}" if found["list"] else str(found["plain"])


def _is_only(modules: Mapping[str, nn.Module], found: re.Match[str], kind: type[nn.Module]) -> bool:
    """Whether a live weight has this parametrisation and no other on top; a checkpoint has only names to go by."""
    chain = modules.get(found["list"] or "")
    if not isinstance(chain, nn.utils.parametrize.ParametrizationList):
        return not modules or not found["list"]
    return len(chain) == 1 and isinstance(chain[0], kind)


def _is_gain(gain: tuple[int, ...], direction: tuple[int, ...]) -> bool:
    if not gain:
        return True
    same = len(gain) == len(direction)
    return same and 1 in gain and all(g in (1, size) for g, size in zip(gain, direction, strict=True))


def _rest(shape: tuple[int, ...], dim: int) -> int:
    rest = 1
    for place, size in enumerate(shape):
        rest *= size if place != dim else 1
    return rest
