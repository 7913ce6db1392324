"""One trial: students learn from labels and from a teacher's logits, all of a seed at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Case, TrialRun, Value, derive_seed
from deepscope.data import Samples
from deepscope.models import MLP
from deepscope.studies.compression._drawn_images import draw_images, row_batches
from deepscope.studies.compression._stacked_mlp import StackedMLP
from deepscope.subject import seeded_generators
from deepscope.training import DistillationLoss, Dropout, cosine, fit


class Arm(NamedTuple):
    """What a student learns from: whose logits, at which temperature, and how much they count beside the labels."""

    logits: str
    temperature: float
    soft_weight: float = 1.0


#: The temperature that is judged, fixed beforehand.
JUDGED = 8
ARMS = {
    "hard": Arm("teacher", 1, 0.0),
    "soft": Arm("teacher", JUDGED),
    "permuted": Arm("permuted", JUDGED),
    "soft_1": Arm("teacher", 1),
    "soft_2": Arm("teacher", 2),
    "soft_20": Arm("teacher", 20),
}
#: Beside them where a class is omitted: the teacher has not seen it either.
IGNORANT = {"ignorant": Arm("ignorant", JUDGED)}
OMITTED = 3
N_CLASSES = 10
#: Fields of a case on which its teacher depends.
_OF_THE_TEACHER = ("data", "n_train", "n_test", "teacher_width", "dropout", "batch_size", "steps", "learning_rate")


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train one student of each arm on the same images, from the same weights, in the same order.

    Returns
    -------
    dict
        ``teacher_accuracy`` and ``{arm}_accuracy``, on the test images. Where a class is omitted also ``{arm}_plain``:
        its recall, the share of its images that are called so; and ``{arm}_recall`` and ``{arm}_matched``: recall and
        accuracy when its bias is such that it is named as often as it occurs (``at_true_rate``).
    """
    train, test = _images(case, run.seed)
    teachers = {"teacher": _taught(case, run, omitted=-1)}
    arms, kept = dict(ARMS), torch.arange(len(train)) < case.n_transfer
    if case.transfer == "omitted":
        arms |= IGNORANT
        teachers["ignorant"] = _taught(case, run, omitted=OMITTED)
        kept &= train.targets != OMITTED
    logits = {name: torch.from_numpy(each["logits"])[kept] for name, each in teachers.items()}
    generator = torch.Generator().manual_seed(derive_seed(run.seed, "permuted"))
    logits["permuted"] = permuted_others(logits["teacher"], train.targets[kept], generator)
    transfer = Samples(train.inputs[kept].to(run.device), train.targets[kept].to(run.device))
    students = train_students(
        case, transfer, list(arms.values()), torch.stack([logits[arm.logits] for arm in arms.values()]), run.seed
    )
    with torch.no_grad():
        outputs = students(test.inputs.to(run.device)).cpu()
    found = {"teacher_accuracy": teachers["teacher"]["accuracy"]}
    for arm, each in zip(arms, outputs, strict=True):
        found |= {f"{arm}_{name}": value for name, value in _scores(each, test.targets, case.transfer).items()}
    return found


def _scores(logits: Tensor, targets: Tensor, transfer: str) -> dict[str, float]:
    predicted, third = logits.argmax(1), targets == OMITTED
    found = {"accuracy": _share(predicted == targets)}
    if transfer == "omitted":
        matched = at_true_rate(logits, OMITTED, int(third.sum()))
        found |= {
            "plain": _share(predicted[third] == OMITTED),
            "recall": _share(matched[third] == OMITTED),
            "matched": _share(matched == targets),
        }
    return found


def _share(right: Tensor) -> float:
    return right.double().mean().item()


def at_true_rate(logits: Tensor, class_: int, count: int) -> Tensor:
    """Return the predicted classes when the bias of one is such that it is predicted so many times.

    Those samples are it in which it is least behind the best other class. An unbounded bias would find all of its
    samples, and call all others so too.

    >>> logits = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]])
    >>> at_true_rate(logits, 1, 1).tolist(), at_true_rate(logits, 1, 2).tolist()
    ([1, 0, 0], [1, 0, 1])
    """
    best, predicted = logits.index_fill(1, torch.tensor([class_]), -torch.inf).max(1)
    behind = best - logits[:, class_]
    predicted[behind.argsort(stable=True)[:count]] = class_
    return predicted


def permuted_others(logits: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """Return logits [samples, classes] whose values of the other classes than the target are permuted, by sample.

    >>> row = permuted_others(torch.tensor([[9.0, 1.0, 2.0]]), torch.tensor([0]), torch.Generator().manual_seed(0))
    >>> row[0, 0].item(), sorted(row[0, 1:].tolist())
    (9.0, [1.0, 2.0])
    """
    others = functional.one_hot(targets, logits.shape[1]) == 0
    values = logits[others].view(len(logits), -1)
    order = torch.rand(values.shape, generator=generator).argsort(1)
    found = logits.clone()
    found[others] = values.gather(1, order).flatten()
    return found


def train_students(case: Case, transfer: Samples, arms: Sequence[Arm], logits: Tensor, seed: int) -> StackedMLP:
    """Return one trained student for each arm.

    Parameters
    ----------
    case
        ``student_width``, ``steps``, ``batch_size``, ``learning_rate``.
    transfer
        Images and labels.
    arms
        What is learned from.
    logits
        Of whom each arm learns, [arms, samples, classes].
    seed
        Of initial weights and batches.
    """
    with seeded_generators(derive_seed(seed, "student")):
        student = MLP(transfer.inputs[0].numel(), [case.student_width], N_CLASSES)
    students = StackedMLP([student] * len(arms)).to(transfer.inputs.device)
    losses = [DistillationLoss(arm.temperature, arm.soft_weight) for arm in arms]
    logits = logits.to(transfer.inputs.device)

    def data(epoch: int) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor]]]:
        for rows in row_batches(len(transfer), case.batch_size, case.steps, derive_seed(seed, "student batches")):
            yield transfer.inputs[rows], (transfer.targets[rows], logits[:, rows])

    def loss(outputs: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
        labels, soft = targets
        each = zip(losses, outputs, soft, strict=True)
        return torch.stack([one(output, (labels, taught)) for one, output, taught in each]).sum()

    _fit(students, data, loss, case)
    return students.eval()


def teacher(seed: int, omitted: int, **fields: Value) -> dict[str, Any]:
    """Return a teacher's logits for all training images, [images, classes], and its accuracy on the test images.

    A perceptron of two hidden layers with dropout after each, trained with the labels.

    Parameters
    ----------
    seed
        Of images, weights and batches.
    omitted
        Class that it is not shown; -1 for none.
    **fields
        Those of a case on which it depends.
    """
    case = Case(**fields)
    train, test = _images(case, seed)
    shown = (train.targets != omitted).nonzero().squeeze(1)
    with seeded_generators(derive_seed(seed, "teacher")):
        model = _with_dropout(MLP(train.inputs[0].numel(), [case.teacher_width] * 2, N_CLASSES), case.dropout)

    def data(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in row_batches(len(shown), case.batch_size, case.steps, derive_seed(seed, "teacher batches")):
            yield train.inputs[shown[rows]], train.targets[shown[rows]]

    _fit(model, data, functional.cross_entropy, case, seed=derive_seed(seed, "dropout"))
    model.eval()
    with torch.no_grad():
        logits = model(train.inputs)
        return {"logits": logits, "accuracy": _share(model(test.inputs).argmax(1) == test.targets)}


def _taught(case: Case, run: TrialRun, omitted: int) -> Any:
    fields = {name: case[name] for name in _OF_THE_TEACHER}
    return run.shared(teacher, seed=run.seed, omitted=omitted, **fields)


def _images(case: Case, seed: int) -> tuple[Samples, Samples]:
    generator = torch.Generator().manual_seed(derive_seed(seed, "images"))
    return draw_images(case.data, case.n_train, case.n_test, generator)


def _with_dropout(mlp: MLP, p: float) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in mlp.named_children():
        layers[name] = layer
        if name.startswith("activation"):
            layers[f"dropout_{name}"] = Dropout(p)
    return nn.Sequential(layers)


def _fit(model: nn.Module, data: Any, loss: Any, case: Case, seed: int = 0) -> None:
    """Train by Adam at a rate that falls to 0 along half a cosine."""
    optimizer = torch.optim.Adam(model.parameters(), lr=case.learning_rate, fused=True)
    fit(model, data, loss, optimizer=optimizer, epochs=1, schedule=cosine(case.steps), seed=seed)
