"""Lottery tickets: prune what training leaves small, and start again from the weights of long before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.training._callback import Callback
from deepscope.training._masks import KeepMasks, apply_masks, prunable_weights, remaining
from deepscope.training._optimizer_arguments import require
from deepscope.training._pruning import Scope, magnitudes, pruning_masks, ratios_of, require_scope
from deepscope.training._state import TrainingState


@final
class Rewind(Callback):
    """Remember the network as it is after so many updates, and take it back there.

    Parameters
    ----------
    step
        Number of updates; 0 is before the first.

    Attributes
    ----------
    weights
        Parameters and buffers by name, copies; empty until they are reached.

    Raises
    ------
    UsageError
        ``step`` is negative.

    Examples
    --------
    >>> import torch
    >>> from deepscope.training import fit
    >>> model, rewind = nn.Linear(1, 1), Rewind()
    >>> before = model.weight.item()
    >>> _ = fit(
    ...     model,
    ...     lambda epoch: [(torch.ones(1, 1), torch.ones(1, 1))],
    ...     nn.functional.mse_loss,
    ...     optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    ...     epochs=2,
    ...     callbacks=[rewind],
    ... )
    >>> rewind.restore(model)
    >>> model.weight.item() == before
    True
    """

    def __init__(self, step: int = 0) -> None:
        require(step >= 0, "step", step, "0 or more", where="Rewind")
        self.step = step
        self.weights: dict[str, Tensor] = {}

    def on_start(self, state: TrainingState) -> None:
        """Remember the network before the first update."""
        self._remember(state)

    def on_step(self, state: TrainingState) -> None:
        """Remember the network when the updates are made."""
        self._remember(state)

    def restore(self, model: nn.Module) -> None:
        """Take the network back.

        Raises
        ------
        UsageError
            The step was not reached.
        """
        if not self.weights:
            raise UsageError(
                f"training ended before {self.step} updates were made",
                where="Rewind",
                todo="Train longer, or rewind to an earlier step.",
            )
        model.load_state_dict(self.weights)

    def configuration(self) -> Mapping[str, object]:
        """Return the step."""
        return {"step": self.step}

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered."""
        return {"weights": dict(self.weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what is remembered."""
        self.weights = dict(state["weights"])

    def _remember(self, state: TrainingState) -> None:
        if state.step == self.step:
            self.weights = {name: each.detach().clone() for name, each in state.model.state_dict().items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class LotteryTicket:
    """A pruned network at the weights of long before.

    Attributes
    ----------
    masks
        Parameter's name to which of its weights are kept.
    weights
        Parameters and buffers from which it is trained, 0 where pruned.
    remaining
        Share of the weights that is kept.
    trained
        What the training returned from which it was pruned.
    """

    masks: dict[str, Tensor]
    weights: dict[str, Tensor]
    remaining: float
    trained: Any


def lottery_tickets(
    model: nn.Module,
    train: Callable[[nn.Module, list[Callback]], Any],
    *,
    rounds: int,
    ratio: float | Mapping[str, float] = 0.2,
    scope: Scope = "layer",
    rewind_to: int = 0,
    names: Iterable[str] | None = None,
) -> tuple[LotteryTicket, ...]:
    """Find tickets by iterative magnitude pruning, one for each round.

    From the weights θ₀: train, note θ_k after k updates; drop the share p of the weights that remain with the smallest
    magnitudes; go back to θ_k where they are kept, 0 where not; train again with the mask kept, and so on. After n
    rounds (1 − p)ⁿ remain. Source: ``frankle2019lottery`` (k = 0), ``frankle2019stabilizing`` (k > 0).

    Parameters
    ----------
    model
        On return the last ticket, to be trained; its weights are θ₀ when called.
    train
        ``train(model, callbacks)`` trains the model by ``fit`` with these callbacks before its own, with a new
        optimiser each time.
    rounds
        How many times is trained and pruned.
    ratio
        p; for the scope ``"layer"`` also one for each parameter's name: the paper prunes the last layer half as fast.
    scope
        Whether the weights of each layer compete among themselves, or all of the network.
    rewind_to
        k, of the first training.
    names
        Of the parameters to prune; the weights of linear and convolutional layers unless given.

    Returns
    -------
    tuple
        The tickets, of ever fewer weights.

    Raises
    ------
    UsageError
        An argument is out of range, or the first training made fewer than k updates.

    Notes
    -----
    Costs ``rounds`` trainings. The schedule of a ticket that starts from θ_k starts at 0, as ``train`` has it.
    Batch normalisation's running averages are taken back with the weights.

    Examples
    --------
    >>> import torch
    >>> from deepscope.training import fit
    >>> _ = torch.manual_seed(0)
    >>> model, x = nn.Linear(10, 1), torch.randn(16, 10)
    >>> def train(model, callbacks):
    ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ...     data, loss = lambda epoch: [(x, x[:, :1])], nn.functional.mse_loss
    ...     return fit(model, data, loss, optimizer=optimizer, epochs=20, callbacks=callbacks)
    >>> tickets = lottery_tickets(model, train, rounds=2, ratio=0.5)
    >>> [round(each.remaining, 2) for each in tickets], tickets[-1].masks["weight"][0, 0].item()
    ([0.5, 0.3], True)
    """
    require(rounds >= 1, "rounds", rounds, "1 or more", where="lottery_tickets")
    require_scope(scope, where="lottery_tickets")
    chosen = list(prunable_weights(model, names))
    # Before a training is spent, not after it.
    ratios_of(ratio, chosen, scope)
    rewind = Rewind(rewind_to)
    masks: dict[str, Tensor] = {}
    tickets: list[LotteryTicket] = []
    for number in range(rounds):
        trained = train(model, [KeepMasks(masks) if number else rewind])
        masks = pruning_masks(magnitudes(model, chosen), ratio, scope=scope, masks=masks or None)
        rewind.restore(model)
        apply_masks(model, masks)
        weights = {name: each.detach().clone() for name, each in model.state_dict().items()}
        tickets.append(LotteryTicket(masks=masks, weights=weights, remaining=remaining(masks), trained=trained))
    return tuple(tickets)


SPECIMENS = (
    Specimen(
        name="lottery-ticket",
        title="iterative magnitude pruning with rewinding",
        build=lottery_tickets,
        formula="Train; of the weights that remain drop the share p with least |w|; go back to those after k updates.",
        source="frankle2019lottery",
        pinned_by="tests/training/test_lottery_ticket.py::test_it_is_the_loop_of_the_paper",
    ),
)
