"""Kernels that compute a layer in one piece, and what cannot be seen or differentiated through them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


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
        yield
