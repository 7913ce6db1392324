"""Sequences whose end asks for what stood in them: copying at random places, at fixed ones, and induction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from deepscope.core import Case, UsageError, derive_seed, nearest

#: What carries no information, in copying; what the values begin after.
BLANK = 0


class Task(NamedTuple):
    """A kind of sequences, as ``sequences`` makes them.

    Attributes
    ----------
    name
        ``"selective"``: values at random places among blanks; ``"fixed"``: values first, blanks after them;
        ``"induction"``: random values, one of them behind a mark that ends the sequence as well.
    positions
        Steps before the end that asks.
    tokens
        Values that are asked for, one a step; 1 in induction.
    n_values
        Number of different values; they are the tokens 1, 2, …, and the mark the one after them.
    """

    name: str
    positions: int
    tokens: int
    n_values: int

    @property
    def vocabulary(self) -> int:
        """Blank, values, and the mark."""
        return self.n_values + 2

    @property
    def length(self) -> int:
        """Steps of a sequence."""
        return self.positions + self.tokens

    def stretched(self, factor: int) -> Task:
        """Return the same with so many times the steps before the end, and as many tokens."""
        return self._replace(positions=factor * self.positions)


TASKS = ("selective", "fixed", "induction")


def task_of(case: Case) -> Task:
    """Return the task of a case.

    Raises
    ------
    UsageError
        An unknown task, sizes below 1, more tokens than places, or an induction of several tokens.
    """
    if case.task not in TASKS:
        raise UsageError("unknown task", where=str(case.task), todo=nearest(str(case.task), TASKS))
    task = Task(case.task, case.positions, case.tokens, case.n_values)
    room = task.positions if task.name != "induction" else min(1, task.positions - 1)
    if min(task[1:]) < 1 or task.tokens > room:
        raise UsageError(
            f"{task.tokens} tokens of {task.n_values} values in {task.positions} steps",
            where=task.name,
            todo="Give at least 1 of each, and no more tokens than steps; induction has 1 token, 2 steps or more.",
        )
    return task


def sequences(task: Task, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw sequences and what they ask for.

    Parameters
    ----------
    task
        Which.
    n
        Number of sequences.
    generator
        Draws them.

    Returns
    -------
    tuple[Tensor, Tensor]
        Tokens, [n, length]; and the tokens that the outputs at the last steps should name, [n, tokens]. In copying
        the last steps are marks, one for each value that stood before, in their order.

    Examples
    --------
    >>> x, y = sequences(Task("fixed", 4, 2, 6), 1, torch.Generator().manual_seed(0))
    >>> x.tolist(), y.tolist()
    ([[3, 4, 0, 0, 7, 7]], [[3, 4]])
    """
    mark = task.n_values + 1
    if task.name == "induction":
        inputs = torch.randint(1, mark, (n, task.length), generator=generator)
        # The mark stands anywhere but in the last step before the end, which is its answer at the latest.
        place = torch.randint(0, task.positions - 1, (n, 1), generator=generator)
        inputs.scatter_(1, place, mark)
        inputs[:, -1] = mark
        return inputs, inputs.gather(1, place + 1)
    asked = torch.randint(1, mark, (n, task.tokens), generator=generator)
    if task.name == "fixed":
        places = torch.arange(task.tokens).expand(n, -1)
    else:
        chosen = torch.rand(n, task.positions, generator=generator).topk(task.tokens, 1).indices
        places = chosen.sort(1).values
    inputs = torch.full((n, task.length), BLANK)
    inputs.scatter_(1, places, asked)
    inputs[:, task.positions :] = mark
    return inputs, asked


def stream(task: Task, steps: int, batch_size: int, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw the batches of a stretch of training; each stretch of a seed is another, and the same each time."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "sequences", epoch))
    for _ in range(steps):
        yield sequences(task, batch_size, generator)


def right(logits: Tensor, asked: Tensor) -> Tensor:
    """Return for each token asked for, [n, tokens], whether it has the largest logit, of [n, length, vocabulary].

    Examples
    --------
    >>> right(torch.eye(3)[None], torch.tensor([[1, 1]]))
    tensor([[ True, False]])
    """
    return logits[:, -asked.shape[1] :].argmax(-1) == asked
