"""Whether a forward pass chooses rows by what they hold, as the experts of a mixture are given theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.overrides import TorchFunctionMode

from deepscope.subject._samples import tensors_in

#: Functions that take entries by number or mask, or whose result has as many entries as a condition holds.
_CHOOSING = {
    "argwhere", "gather", "index_select", "masked_select", "nonzero", "repeat_interleave", "take", "take_along_dim",
    "unique", "unique_consecutive",
}  # fmt: skip
#: By these a tensor's values come to where Python decides.
_READING = {"__bool__", "__float__", "__index__", "__int__", "equal", "item", "numpy", "tolist"}


class RowChoices(TorchFunctionMode):
    """Sees, inside ``with``, whether rows may have been chosen by the values of tensors.

    Without such a choice the rows of each layer's output lie as the model's code says, the same for all samples.

    Attributes
    ----------
    made
        Whether a tensor was indexed by another, or its values were read.

    Examples
    --------
    >>> import torch
    >>> x = torch.ones(3, 2)
    >>> with RowChoices() as choices:
    ...     some = x[:2]
    >>> choices.made
    False
    >>> with choices:
    ...     some = x[x[:, 0] > 0]
    >>> choices.made
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self.made = False
        self._watching = True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take no notice of what is done here."""
        self._watching = False
        try:
            yield
        finally:
            self._watching = True

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self._watching and not self.made:
            self.made = _chooses(getattr(func, "__name__", ""), args)
        return func(*args, **(kwargs or {}))


def _chooses(name: str, args: tuple[Any, ...]) -> bool:
    if name == "__getitem__":
        return any(True for _ in tensors_in(args[1:]))
    return name in _CHOOSING or name in _READING or (name == "where" and len(args) == 1)
