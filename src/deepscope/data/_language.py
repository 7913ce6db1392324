"""The loss of next-token prediction, and what it averages over."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

#: The target that no loss counts: padding.
IGNORED = -100


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross entropy in nats, averaged over the targets that are not ignored.

    Parameters
    ----------
    logits
        [batch, time, vocabulary].
    targets
        [batch, time]: indices into the vocabulary, or ``IGNORED``.

    Returns
    -------
    Tensor
        Without dimensions; NaN where every target is ignored.

    Examples
    --------
    Uniform logits over four tokens cost ln 4, however many targets are ignored.

    >>> import torch
    >>> round(token_loss(torch.zeros(1, 3, 4), torch.tensor([[2, 0, IGNORED]])).item(), 4)
    1.3863
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def count_tokens(targets: Tensor) -> int:
    """Return the number of targets that ``token_loss`` averages over.

    >>> import torch
    >>> count_tokens(torch.tensor([[2, 0, IGNORED]]))
    2
    """
    return int((targets != IGNORED).sum())
