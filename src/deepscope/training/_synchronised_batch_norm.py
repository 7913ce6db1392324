"""Batch normalisation whose batch is that of all processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed import is_available, is_initialized

from deepscope.core import Specimen, UsageError
from deepscope.training._rate import above_zero, check, count, rate


class SynchronisedBatchNorm(nn.Module):
    """Batch normalisation with mean and variance over the batches of all processes together, on any device.

    Maps [batch, num_features, …] to the same, y = γ (x − m)/√(v + ε) + β. In training m and v are those of the whole
    batch, of which each process of the default group has a part; parts may differ in size. Where each process
    normalises by its own part of size n its v is too small by 1/n of itself on average. The gradient of a process is
    that of the sum of all processes' losses. If gradients are then averaged over them, as by torch's
    ``DistributedDataParallel``, and the loss is a mean over parts of equal size, it is that of one process with the
    whole batch. Without a group there is one part. In evaluation m and v are running estimates, as of torch's
    ``BatchNorm2d``, whose names the state has; torch's own ``SyncBatchNorm`` computes on accelerators alone. Each call
    sends three small tensors, and the gradients of two. Source: ``ioffe2015batch``.

    Parameters
    ----------
    num_features
        Number of channels.
    eps
        ε.
    momentum
        a of the running estimates r ← (1 − a) r + a m, and of v without bias.

    Raises
    ------
    UsageError
        A number of channels below 1, ε not above 0 or a not in [0, 1); when called: an input of another shape; in
        training: one value for each channel in all processes together.

    Examples
    --------
    >>> layer = SynchronisedBatchNorm(3)
    >>> x = torch.randn(4, 3, 5, 5)
    >>> torch.allclose(layer(x), nn.BatchNorm2d(3)(x), atol=1e-6)
    True
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.num_features = count(num_features, "num_features", "SynchronisedBatchNorm")
        self.eps = above_zero(eps, "eps", "SynchronisedBatchNorm")
        self.momentum = rate(momentum, "momentum", "SynchronisedBatchNorm")
        self.weight, self.bias = nn.Parameter(torch.ones(num_features)), nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised input."""
        fits = x.ndim >= 2 and x.shape[1] == self.num_features
        check(x, fits, f"[batch, {self.num_features}, …]", "SynchronisedBatchNorm")
        shape = (1, -1, *[1] * (x.ndim - 2))
        # Counts and sums of 16 bits overflow, or are rounded to a few hundred.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean, variance = self._moments(wide, shape) if self.training else (self.running_mean, self.running_var)
        scale = self.weight * (variance + self.eps).rsqrt()
        return ((wide - mean.reshape(shape)) * scale.reshape(shape) + self.bias.reshape(shape)).to(x.dtype)

    def _moments(self, x: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        others = [dim for dim in range(x.ndim) if dim != 1]
        number = _over_all(x.new_tensor(float(x.numel() // self.num_features)))
        if number <= 1:
            raise UsageError(
                f"the input is {list(x.shape)}: {int(number)} value for each channel",
                where="SynchronisedBatchNorm",
                todo="Train with more than one, in all processes together.",
            )
        mean = _over_all(x.sum(others)) / number
        # From the mean, not from the squares' mean: it loses no digits where the mean is large.
        variance = _over_all((x - mean.reshape(shape)).square().sum(others)) / number
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((variance * number / (number - 1)).to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked += 1
        return mean, variance

    def extra_repr(self) -> str:
        """Return the number of channels."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


def _over_all(part: Tensor) -> Tensor:
    """Return the sum over all processes; its gradient is the sum of theirs."""
    if not (is_available() and is_initialized()):
        return part
    # A build of torch without processes lacks it.
    from torch.distributed.nn.functional import all_reduce

    whole: Tensor = all_reduce(part)  # type: ignore[no-untyped-call]
    return whole


SPECIMENS = (
    Specimen(
        name="synchronised-batch-norm",
        title="batch normalisation over the batches of all processes",
        build=SynchronisedBatchNorm,
        formula="y = γ (x − m)/√(v + ε) + β for each channel, m and v over the parts of a batch that all processes "
        "have together.",
        source="ioffe2015batch",
        rows=("sync-bn",),
        pinned_by="tests/training/test_synchronised_batch_norm.py::test_parts_of_a_batch_are_normalised_as_the_whole_batch",
    ),
)
