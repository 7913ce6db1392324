"""How much work a sample is, so that a budget can say how many to take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from deepscope.subject._kernels import without_fused_kernels
from deepscope.subject._main_output import main_output
from deepscope.subject._samples import take_samples, tensors_in
from deepscope.subject._subject import Subject

#: Operations that one value costs to be read, changed and written, where it is no product of matrices: a core does a
#: good ten multiplications of a product while it moves one number.
_PER_VALUE = 10


@dataclass(frozen=True)
class ForwardWork:
    """What the forward pass of one sample is.

    Attributes
    ----------
    operations
        Floating-point operations of its products, and ten for every other value that is computed.
    outputs
        Values that the network puts out, as ``main_output`` has them; 0 where there is no such tensor.
    """

    operations: float
    outputs: int


def forward_work(subject: Subject) -> ForwardWork:
    """Run the first sample of the data and count, not time: the same on every machine.

    Raises
    ------
    Exception
        Whatever the forward pass raises.

    Notes
    -----
    Cost: one forward pass of one sample, without fused kernels; of a whole batch where no sample can be run alone, as
    with batch normalisation without running statistics.

    Examples
    --------
    >>> forward_work(Subject(torch.nn.Linear(20, 10), data=[(torch.zeros(8, 20), None)]))
    ForwardWork(operations=500.0, outputs=10)
    """
    with subject.undisturbed(), torch.no_grad(), without_fused_kernels(subject.model, products=True):
        batch = next(iter(subject.batches()))
        try:
            return _counted(subject, take_samples(batch.inputs, batch.n_samples, slice(0, 1)), 1)
        except Exception:
            if batch.n_samples < 2:
                raise
            return _counted(subject, next(iter(subject.batches())).inputs, batch.n_samples)


def _counted(subject: Subject, inputs: Any, n: int) -> ForwardWork:
    products, values = FlopCounterMode(display=False), _Values()
    with products, values:
        outputs = subject.predict(inputs)
    main = main_output(outputs)
    n_outputs = main.numel() // n if main is not None else 0
    return ForwardWork((products.get_total_flops() + _PER_VALUE * values.computed) / n, n_outputs)


class _Values(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the values that are computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.computed = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not _is_view(func):
            self.computed += sum(each.numel() for each in tensors_in(out) if each.is_floating_point())
        return out


def _is_view(operator: Callable[..., Any]) -> bool:
    returns = operator._schema.returns  # type: ignore[attr-defined]
    return any(each.alias_info is not None and not each.alias_info.is_write for each in returns)
