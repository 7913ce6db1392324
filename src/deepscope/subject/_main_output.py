"""Which of a network's outputs its answer is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from deepscope.subject._samples import tensors_in


def main_output(outputs: Any) -> Tensor | None:
    """Return the tensor that a network's outputs are about: the first floating-point one, as of a layer's outputs.

    So that a state, attention weights or None beside the logits make no difference. A loss is given the outputs as they
    are.

    Parameters
    ----------
    outputs
        A tensor, or tensors in nested tuples, lists and mappings. Of a mapping with ``logits`` these are meant;
        scalars, such as a loss, and tensors without values are passed over.

    Returns
    -------
    Tensor or None
        None where there is no such tensor.

    Examples
    --------
    >>> import torch
    >>> logits = torch.zeros(2, 3)
    >>> main_output((logits, None)) is logits, main_output({"loss": logits.sum(), "logits": logits}) is logits
    (True, True)
    >>> main_output(torch.arange(3)) is None
    True
    """
    meant = outputs["logits"] if isinstance(outputs, Mapping) and "logits" in outputs else outputs
    return next((each for each in tensors_in(meant) if each.is_floating_point() and each.ndim and each.numel()), None)
