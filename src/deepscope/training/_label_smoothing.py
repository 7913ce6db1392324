"""Label smoothing: targets with a share of each class."""

from __future__ import annotations

from torch import nn

from deepscope.core import Specimen
from deepscope.training._rate import rate


def label_smoothing(epsilon: float = 0.1) -> nn.CrossEntropyLoss:
    """Return torch's cross-entropy against (1 − ε) y + ε/K in place of y, for K classes.

    (1 − ε) H(y, p) + ε H(1/K, p): the target's logit is not driven to infinity, but to log((1 − ε + ε/K)/(ε/K)) above
    the others. Targets are class indices or probabilities. Source: ``szegedy2016rethinking``.

    Parameters
    ----------
    epsilon
        ε, the share that is spread over all classes.

    Returns
    -------
    nn.CrossEntropyLoss
        ``loss(logits, targets)``, as ``fit`` takes it.

    Raises
    ------
    UsageError
        ε is not in [0, 1).

    Examples
    --------
    >>> import torch
    >>> round(label_smoothing(0.1)(torch.tensor([[2.0, 0.0]]), torch.tensor([0])).item(), 4)
    0.2269
    """
    return nn.CrossEntropyLoss(label_smoothing=rate(epsilon, "epsilon", "label_smoothing"))


SPECIMENS = (
    Specimen(
        name="label-smoothing",
        title="targets with a share of each class",
        build=label_smoothing,
        formula="H((1 − ε) y + ε/K, p) in place of H(y, p), for K classes: at its minimum the target's logit is log((1 "
        "− ε + ε/K)/(ε/K)) above the others.",
        source="szegedy2016rethinking",
        pinned_by="tests/training/test_label_smoothing.py::test_at_the_minimum_the_logits_have_the_closed_form",
    ),
)
