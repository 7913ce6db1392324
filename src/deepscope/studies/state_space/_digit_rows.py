"""Networks that read images row by row, and what they answer when rows come at another rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Case, TrialRun, UsageError, derive_seed, nearest
from deepscope.data import Dataset, Samples, load
from deepscope.models import LSTM, S4D, ResidualStack, StateSpaceMixer
from deepscope.studies.state_space._three_views import at_rate
from deepscope.training import Checkpoint, fit

NETWORKS = ("s4d", "lstm")
READOUTS = ("mean", "last")
#: Rates at which networks are tested, in rows of an image over those that they were trained with.
RATES = {"half": 0.5, "double": 2.0}
#: Parameters of a state space that learn more slowly, as in the source.
_OF_THE_SYSTEM = ("log_step", "log_A_real", "A_imag", "B")
_SLOWER = 0.1


class RowNetwork(nn.Module):
    """Two layers that read the rows of an image one after another, and a linear map of their outputs to logits.

    Parameters
    ----------
    kind
        ``"s4d"``: rows are mapped to ``width`` features, for two residual layers of ``StateSpaceMixer`` of ``S4D``;
        ``"lstm"``: an ``LSTM`` of ``width`` units in each of two layers.
    readout
        Whether logits are read from the outputs' ``"mean"`` over time or the ``"last"`` one.
    columns, width, state_size, n_classes
        Sizes.
    """

    def __init__(self, kind: str, readout: str, columns: int, width: int, state_size: int, n_classes: int) -> None:
        super().__init__()
        self.readout = readout
        self.body = (
            LSTM(columns, width, num_layers=2)
            if kind == "lstm"
            else nn.Sequential(
                nn.Linear(columns, width),
                ResidualStack([StateSpaceMixer(S4D(width, state_size)) for _ in range(2)]),
            )
        )
        self.output = nn.Linear(width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, [batch, n_classes], of [batch, rows, columns]."""
        outputs = self.body(x)
        logits: Tensor = self.output(outputs.mean(1) if self.readout == "mean" else outputs[:, -1])
        return logits


def read_at_other_rates(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train a network on images row by row, and test it with half and twice as many rows.

    Returns
    -------
    dict
        ``parameters``; ``accuracy`` on test images, and at the other rates ``half`` and ``double``, with Δ rescaled in
        a network that has one; ``unscaled_half`` and ``unscaled_double``: with Δ as it was trained, None of a network
        that has none.

    Raises
    ------
    UsageError
        There is no such network or readout.
    """
    for name, known in (("network", NETWORKS), ("readout", READOUTS)):
        if case[name] not in known:
            raise UsageError(f"unknown {name}", where=str(case[name]), todo=nearest(str(case[name]), known))
    data = load(case.data)
    train, test = (_rows(part, data.train, run.device) for part in _drawn(data, case, run.seed))
    model = RowNetwork(
        case.network,
        case.readout,
        train.inputs.shape[2],
        case.width if case.network == "s4d" else case.lstm_width,
        case.s4d_states,
        len(data.classes),
    ).to(run.device)
    fit(
        model,
        train.epochs(case.batch_size, seed=derive_seed(run.seed, "batches")),
        functional.cross_entropy,
        optimizer=torch.optim.Adam(_groups(model, case.learning_rate)),
        epochs=case.epochs,
        checkpoint=Checkpoint(run.checkpoint, every_steps=500),
        seed=run.seed,
    )
    has_step = case.network == "s4d"
    found: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "accuracy": accuracy(model, test),
    }
    for name, rate in RATES.items():
        other = Samples(at_other_rate(test.inputs, rate), test.targets)
        unscaled = accuracy(model, other)
        found[name] = accuracy(at_rate(model, rate), other) if has_step else unscaled
        found[f"unscaled_{name}"] = unscaled if has_step else None
    return found


def at_other_rate(x: Tensor, rate: float) -> Tensor:
    """Return every second row of [batch, rows, columns], or twice as many rows, interpolated linearly.

    Examples
    --------
    >>> at_other_rate(torch.tensor([[[0.0], [4.0]]]), 2.0).flatten()
    tensor([0., 1., 3., 4.])
    """
    return x[:, ::2] if rate == 0.5 else functional.interpolate(x.mT, scale_factor=rate, mode="linear").mT


@torch.no_grad()
def accuracy(model: nn.Module, samples: Samples) -> float:
    """Return the share of right answers."""
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in samples.batches(500))
    return right / len(samples)


def _groups(model: nn.Module, rate: float) -> list[dict[str, Any]]:
    named = list(model.named_parameters())
    slow = [parameter for name, parameter in named if name.rpartition(".")[2] in _OF_THE_SYSTEM]
    fast = [parameter for name, parameter in named if name.rpartition(".")[2] not in _OF_THE_SYSTEM]
    groups = [{"params": fast, "lr": rate}, {"params": slow, "lr": _SLOWER * rate}]
    return [group for group in groups if group["params"]]


def _drawn(data: Dataset, case: Case, seed: int) -> tuple[Samples, Samples]:
    """Draw training and test images; networks of one seed get the same."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "images"))
    parts = []
    for part, count in ((data.train, case.n_train), (data.test, case.n_test)):
        if not 1 <= count <= len(part):
            raise UsageError(
                f"{count} images are asked for", where=data.name, todo=f"Give n_train and n_test up to {len(part)}."
            )
        chosen = torch.randperm(len(part), generator=generator)[:count]
        parts.append(Samples(part.inputs[chosen], part.targets[chosen]))
    return parts[0], parts[1]


def _rows(part: Samples, scale: Samples, device: torch.device) -> Samples:
    """Return images as sequences of rows, [n, rows, columns]; the pixels of ``scale`` get moments 0 and 1."""
    deviation, mean = torch.std_mean(scale.inputs)
    return Samples(((part.inputs[:, 0] - mean) / deviation).to(device), part.targets.to(device))
