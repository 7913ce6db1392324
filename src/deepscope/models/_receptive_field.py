"""What a chain of convolutions and poolings sees, and how large its output is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deepscope.core import UsageError
from deepscope.models._sizes import not_negative, positive


@dataclass(frozen=True, kw_only=True)
class Window:
    """A layer whose output at each place depends on a window of its input: a convolution, or a pooling.

    Attributes
    ----------
    kernel_size, stride, padding, dilation
        Along one axis, as torch has them.

    Raises
    ------
    UsageError
        A size below 1, or a negative padding.
    """

    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        for name in ("kernel_size", "stride", "dilation"):
            positive(getattr(self, name), name, self)
        not_negative(self.padding, "padding", self)

    def output_size(self, size: int) -> int:
        """Return the length of the output: ⌊(size + 2 padding − dilation (kernel_size − 1) − 1) / stride⌋ + 1.

        Raises
        ------
        UsageError
            The window is longer than the padded input.
        """
        room = size + 2 * self.padding - self.dilation * (self.kernel_size - 1) - 1
        if room < 0:
            raise UsageError(
                f"a window of {self.kernel_size} with dilation {self.dilation} does not fit into {size} values",
                where="output_size",
                todo="Give a longer input, or more padding.",
            )
        return room // self.stride + 1


def output_size(size: int, windows: Iterable[Window]) -> int:
    """Return the length of what a chain of layers makes of ``size`` values.

    Raises
    ------
    UsageError
        A window is longer than its padded input.

    Examples
    --------
    >>> output_size(224, [Window(kernel_size=11, stride=4, padding=2), Window(kernel_size=3, stride=2)])
    27
    """
    for window in windows:
        size = window.output_size(size)
    return size


def receptive_field(windows: Iterable[Window]) -> int:
    """Return how many neighbouring inputs one output of a chain of layers can depend on.

    r = 1 + Σ_l dilation_l (kernel_size_l − 1) Π_{m<l} stride_m. Where dilated windows leave gaps it is the distance
    from the first to the last input, both included. Source: ``araujo2019computing``.

    Examples
    --------
    >>> receptive_field([Window(kernel_size=3)] * 3)
    7
    >>> receptive_field(Window(kernel_size=2, dilation=2**layer) for layer in range(10))
    1024
    """
    field, jump = 1, 1
    for window in windows:
        field += window.dilation * (window.kernel_size - 1) * jump
        jump *= window.stride
    return field
