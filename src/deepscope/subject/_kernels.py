"""Kernels that compute a layer in one piece, and what cannot be seen or differentiated through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode


@contextmanager
def without_fused_kernels(model: nn.Module | None, *, products: bool = False) -> Iterator[None]:
    """Run a model without the fused kernels that hide its layers; afterwards torch's settings are as they were.

    A transformer layer's fast path calls none of the layers inside it, and cuDNN computes no gradients of recurrent
    layers in evaluation mode: both are off. Recurrent layers on the CPU, and models without them, keep their kernels.

    Parameters
    ----------
    model
        The model that is going to run; None for none.
    products
        Whether every matrix product must also be a call of its own, as a counter of operations needs it: attention
        and recurrent layers then run without any fused kernel, slower and with all attention weights in memory.
        Weight normalisation too: the second derivatives of its fused kernel are wrong.

    Notes
    -----
    The settings are torch's own and hold for the whole process.

    Examples
    --------
    >>> with without_fused_kernels(nn.GRU(3, 4)):
    ...     torch.backends.mha.get_fastpath_enabled(), torch.backends.cudnn.enabled
    (False, False)
    """
    recurrent = model is not None and any(isinstance(module, nn.RNNBase) for module in model.modules())
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        if recurrent:
            # Not ``cudnn.flags``, which would also reset what the user chose beside it.
            stack.callback(setattr, torch.backends.cudnn, "enabled", torch.backends.cudnn.enabled)
            torch.backends.cudnn.enabled = False
        if products:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if products and recurrent:
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False, allow_tf32=None))
        if products and model is not None and any(map(_is_weight_normed, model.modules())):
            stack.enter_context(_OpenWeightNorm())
        yield


def _is_weight_normed(module: nn.Module) -> bool:
    hooks = module._forward_pre_hooks.values()
    return isinstance(module, _WeightNorm) or any(isinstance(each, WeightNorm) for each in hooks)


class _OpenWeightNorm(TorchFunctionMode):
    """Runs g·v/‖v‖ in plain operations."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch._weight_norm:
            return _weight_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))
