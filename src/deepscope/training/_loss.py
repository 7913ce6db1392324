"""How many terms a loss averages over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from deepscope.core import DataError
from deepscope.subject import n_samples

Loss = Callable[[Any, Any], Tensor]
Count = Callable[[Any], Any]


def n_terms(inputs: Any, targets: Any, count: Count | None) -> float:
    """Return the number of terms that a batch's loss averages over: the batch length unless ``count`` says it.

    Raises
    ------
    DataError
        There are none.
    """
    terms = float(count(targets)) if count is not None else float(n_samples(targets) or n_samples(inputs))
    if not terms > 0:
        raise DataError(
            f"a batch's loss averages over {terms:g} terms",
            where="count",
            todo="Leave out batches without targets, or give count=….",
        )
    return terms
