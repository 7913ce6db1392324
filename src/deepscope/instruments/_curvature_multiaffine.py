"""Whether a network's outputs are, near a point, affine in each parameter tensor by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from deepscope.instruments._curvature_loss import MeanLoss, Piece

#: Affine, or piecewise so, in all of their tensors together. Written as torch's dispatcher calls them, without the
#: trailing underscore of what works in place.
_AFFINE = frozenset({
    "_reshape_alias", "_reshape_copy", "_to_copy", "_unsafe_view", "alias", "as_strided", "cat", "channel_shuffle",
    "clone", "constant_pad_nd", "contiguous", "copy", "detach", "diagonal", "expand", "flip", "lift_fresh", "movedim",
    "permute", "pixel_shuffle", "pixel_unshuffle", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
    "repeat", "replication_pad1d", "replication_pad2d", "replication_pad3d", "reshape", "roll", "select", "slice",
    "split", "split_with_sizes", "squeeze", "stack", "t", "transpose", "unbind", "unfold", "unsqueeze", "view", "add",
    "cumsum", "mean", "neg", "rsub", "sub", "sum", "embedding", "gather", "index", "index_select", "masked_fill",
    "where", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "adaptive_avg_pool1d", "upsample_bilinear2d", "upsample_linear1d", "upsample_nearest1d", "upsample_nearest2d",
    "upsample_nearest3d", "upsample_trilinear3d", "abs", "amax", "amin", "clamp", "clamp_max", "clamp_min", "fmax",
    "fmin", "hardtanh", "leaky_relu", "max", "maximum", "min", "minimum", "relu", "threshold", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "max_pool1d_with_indices", "max_pool2d_with_indices",
    "max_pool3d_with_indices",
})  # fmt: skip
#: Affine in each of two tensors, given by their places.
_BILINEAR = {
    "mm": (0, 1), "bmm": (0, 1), "mv": (0, 1), "dot": (0, 1), "mul": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2),
    "addbmm": (1, 2), "addmv": (1, 2), "convolution": (0, 1), "_prelu_kernel": (0, 1), "native_batch_norm": (0, 1),
    "_native_batch_norm_legit_no_training": (0, 1), "div": (0, 1),
}  # fmt: skip
_NOTHING: frozenset[int] = frozenset()


def why_not_multiaffine(loss: MeanLoss, piece: Piece) -> str:
    """Say why the outputs may not be affine in each parameter tensor near this point; empty where they are.

    If they are, ∂²z/∂θᵢ² = 0 for every single parameter: the diagonal of the Hessian is that of the generalised
    Gauss–Newton matrix, and so is its trace, layer by layer. Of every tensor that a forward pass makes, the set of
    parameters is followed on which it depends. A function of several tensors that is affine in all together unites
    their sets, and so does one that is so piece by piece, such as ReLU or max-pooling. A product of two tensors unites
    theirs where the sets are disjoint; where they are not, some parameter comes in twice. Any other function of what
    depends on parameters, known or not, is refused.

    Parameters
    ----------
    loss, piece
        The network, and data to run it on: one forward pass.

    Examples
    --------
    >>> from torch import nn
    >>> from deepscope.subject import Subject
    >>> from deepscope.instruments._curvature_pieces import gather
    >>> def asked(model: nn.Module) -> str:
    ...     subject = Subject(model, [(torch.ones(4, 2), torch.ones(4, 2))], nn.functional.mse_loss)
    ...     loss = MeanLoss(subject)
    ...     return why_not_multiaffine(loss, gather(subject, loss).pieces[0])
    >>> layer = nn.Linear(2, 2)
    >>> asked(nn.Sequential(layer, nn.ReLU(), nn.Linear(2, 2)))
    ''
    >>> asked(nn.Sequential(layer, nn.Tanh()))
    'tanh is not piecewise linear'
    >>> asked(nn.Sequential(layer, nn.ReLU(), layer))
    '0.weight is used again on what depends on it'
    """
    tensors = [each.detach().clone() for each in loss.split(loss.point)]
    followed = _Followed(tensors)
    with torch.no_grad(), followed:
        loss.outputs(tensors, piece)
    if followed.again is not None:
        return f"{loss.parameters[followed.again].name} is used again on what depends on it"
    return f"{followed.refused} is not piecewise linear" if followed.refused else ""


class _Followed(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows on which parameters every tensor depends."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.refused = ""
        self.again: int | None = None
        # By memory, so that all views of a tensor share one set: at worst it is too large. Whatever has been seen is
        # kept alive, so that no memory is used for something else.
        self._sets = {_memory(each): frozenset([index]) for index, each in enumerate(parameters)}
        self._alive: list[Tensor] = list(parameters)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would load its compiler, which takes seconds, to keep it away from this method.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        depends: frozenset[int] = _NOTHING.union(*(self._of(each) for each in _tensors((args, kwargs))))
        if depends:
            self._judge(func.overloadpacket.__name__.rstrip("_"), args, kwargs or {})
            for each in _tensors(made):
                # Integers and truth values are constant near the point.
                if each.is_floating_point():
                    self._alive.append(each)
                    self._sets[_memory(each)] = self._of(each) | depends
        return made

    def _of(self, value: Any) -> frozenset[int]:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return _NOTHING
        return self._sets.get(_memory(value), _NOTHING)

    def _judge(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if name in _BILINEAR:
            one, other = (self._of(args[place]) if place < len(args) else _NOTHING for place in _BILINEAR[name])
            if name == "native_batch_norm" and args[5]:
                self.refused = self.refused or "batch normalisation in training mode"
            if name == "div" and other:
                self.refused = self.refused or "division"
            if one & other and self.again is None:
                self.again = min(one & other)
        elif name not in _AFFINE:
            self.refused = self.refused or name
        # A condition, a mask or bounds of a clamp that depend on parameters are united like any other argument.


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _tensors(value: Any) -> Iterator[Tensor]:
    return (each for each in pytree.tree_leaves(value) if isinstance(each, Tensor))
