"""Subject: what is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from deepscope.core import LeftOut, MeasurementError, Needs, UsageError
from deepscope.subject._batches import Batch, Inputs, Targets, batches_of, call, check_reiterable
from deepscope.subject._checkpoint import read_checkpoint
from deepscope.subject._live import device_of, module_weights
from deepscope.subject._loss import scalar_loss
from deepscope.subject._undisturbed import undisturbed
from deepscope.subject._weight import Weight


class Subject:
    """A network to be measured: a model, with data and a loss where there are some.

    Parameters
    ----------
    model
        Any PyTorch module. It is left exactly as it is.
    data
        Batches ``(inputs, targets)``, re-iterable in the same order: a list, a DataLoader, a ``deepscope.data`` split.
        Inputs that are a tensor are passed as ``model(x)``, a tuple as ``model(*x)``, a mapping as ``model(**x)``.
    loss
        ``loss(outputs, targets)``, a mean over ``count(targets)`` terms.
    forward
        ``forward(model, inputs) -> outputs`` in place of the rule above.
    count
        Number of terms the loss averages over in a batch; the batch length unless given. For a language model with
        ignored targets: ``lambda targets: (targets != -100).sum()``.
    mask
        ``mask(inputs)`` -> boolean tensor, True where a position is real and False where it is padding.
    name
        What it is called in readings and reports; the model's class unless given.

    Raises
    ------
    TargetError
        Parameters on the meta device, sharded over processes, or not yet initialised.
    UsageError
        Data that can be iterated only once.

    Examples
    --------
    >>> import torch
    >>> subject = Subject(torch.nn.Linear(3, 2), data=[(torch.ones(4, 3), torch.zeros(4, 2))])
    >>> [(weight.name, weight.shape) for weight in subject.weights()]
    [('weight', (2, 3)), ('bias', (2,))]
    """

    def __init__(
        self,
        model: nn.Module,
        data: Iterable[Any] | None = None,
        loss: Callable[[Any, Targets], Tensor] | None = None,
        *,
        forward: Callable[[nn.Module, Inputs], Any] | None = None,
        count: Callable[[Targets], Any] | None = None,
        mask: Callable[[Inputs], Tensor] | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"a subject's model must be a torch.nn.Module, not a {type(model).__name__}",
                todo="Give a module, or a checkpoint with Subject.from_checkpoint(path).",
            )
        if data is not None:
            check_reiterable(data)
        self.model: nn.Module | None = model
        self.data, self.loss, self.count, self.mask = data, loss, count, mask
        self.name = name or type(model).__name__
        self.path: Path | None = None
        self.config: Mapping[str, Any] = {}
        self.forward = forward
        #: Where a checkpoint's tensors are put.
        self._device = torch.device("cpu")
        self._weights: tuple[Weight, ...]
        self._weights, self._left_out = module_weights(model)
        self._patterns: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def from_checkpoint(cls, path: str | PathLike[str], *, device: str | torch.device = "cpu") -> Self:
        """Make a subject of the weights in a file or directory, without reading their values.

        Formats: ``.safetensors`` (one file, sharded with its index, a model directory), ``.pt .pth .bin .ckpt``
        (read memory-mapped and without running any code), ``.npz``.

        Parameters
        ----------
        path
            The file or directory.
        device
            Where each tensor is put to be measured.

        Raises
        ------
        TargetError
            The path cannot be read as a checkpoint.
        """
        checkpoint = read_checkpoint(path)
        self = cls.__new__(cls)
        self.model = self.data = self.loss = self.count = self.mask = self.forward = None
        self.name, self.path, self.config = checkpoint.name, checkpoint.path, checkpoint.config
        self._device = torch.device(device)
        self._weights, self._left_out = checkpoint.weights, checkpoint.left_out
        self._patterns = ()
        return self

    def with_data(
        self,
        data: Iterable[Any] | None = None,
        loss: Callable[[Any, Targets], Tensor] | None = None,
        *,
        count: Callable[[Targets], Any] | None = None,
    ) -> Self:
        """Return the same subject with other data, loss or count; what is not given stays.

        Raises
        ------
        UsageError
            Data that can be iterated only once.
        """
        if data is not None:
            check_reiterable(data)
        other = type(self).__new__(type(self))
        given = {"data": data, "loss": loss, "count": count}
        other.__dict__.update(self.__dict__, **{key: value for key, value in given.items() if value is not None})
        return other

    def only(self, *patterns: str) -> Self:
        """Return the part of the subject whose layers or tensors match a shell-style pattern.

        A tied tensor belongs to the part where any of its names does. The whole model still runs; instruments measure
        and report only the part.

        Raises
        ------
        UsageError
            Nothing matches.

        Examples
        --------
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        >>> [weight.name for weight in Subject(model).only("1.*").weights()]
        ['1.weight', '1.bias']
        """
        part = type(self).__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._patterns = (*self._patterns, patterns)
        names = [name for weight in self.weights() for name in (weight.name, *weight.tied)]
        modules = [name for name, _ in self.model.named_modules() if name] if self.model is not None else []
        if not any(part.selects(name) for name in [*names, *self.layers(), *modules]):
            raise UsageError(
                "no layer or tensor matches",
                where=", ".join(patterns),
                todo=f"Names look like {', '.join(names[:3]) or '(none)'}; use * for any part of a name.",
            )
        part._weights = tuple(w for w in self._weights if any(part.selects(name) for name in (w.name, *w.tied)))
        part._left_out = tuple(entry for entry in self._left_out if part.selects(entry.name))
        return part

    def selects(self, name: str) -> bool:
        """Whether a layer or tensor belongs to the part chosen by ``only``.

        A pattern for a layer selects all that is in it, and one for all that is in a layer selects the layer:
        ``"fc1"`` and ``"fc1.*"`` mean the same.
        """
        return all(
            any(fnmatchcase(f"{name}.", f"{pattern.removesuffix('.*')}.*") for pattern in patterns)
            for patterns in self._patterns
        )

    def weights(self) -> tuple[Weight, ...]:
        """Return handles of all parameters and buffers, each tensor once, in the order of the model or file."""
        return self._weights

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What a checkpoint holds besides weights, and further names of tied tensors."""
        return self._left_out

    def layers(self) -> tuple[str, ...]:
        """Names of the layers that hold weights, in the order of the model or file."""
        return tuple(dict.fromkeys(weight.layer for weight in self._weights))

    @property
    def offers(self) -> Needs:
        """What of an instrument's needs the subject can meet."""
        offers = Needs.WEIGHTS
        if self.model is not None:
            offers |= Needs.MODEL
            if self.data is not None:
                offers |= Needs.DATA
            if self.loss is not None:
                offers |= Needs.LOSS
        return offers

    @property
    def device(self) -> torch.device:
        """Where it is measured: where the model is, or where a checkpoint's tensors are put."""
        return device_of(self.model) if self.model is not None else self._device

    @property
    def put_on(self) -> torch.device | None:
        """Where each tensor is put to be measured; None for a model's, which stay where they are."""
        return None if self.model is not None else self._device

    def require(self, needs: Needs, instrument: str) -> None:
        """Check that an instrument's needs are met.

        Raises
        ------
        MeasurementError
            Says what is missing.
        """
        missing = needs & ~self.offers
        if missing:
            raise MeasurementError(
                f"{instrument} needs {_words(missing)}",
                where=self.name,
                todo="Examine a model rather than a checkpoint alone."
                if Needs.MODEL in missing
                else f"Give {_words(missing)}.",
            )

    def batches(self, max_samples: int | None = None) -> Iterator[Batch]:
        """Iterate over the data's batches on the model's device, until ``max_samples`` samples have been seen.

        Raises
        ------
        MeasurementError
            There is no data, or it is not made of pairs (inputs, targets).
        """
        if self.data is None:
            raise MeasurementError("there is no data", where=self.name, todo="Give data=…, batches (inputs, targets).")
        return batches_of(self.data, device=self.device, count=self.count, max_samples=max_samples)

    def predict(self, inputs: Inputs) -> Any:
        """Run the model on a batch's inputs; gradients as the caller has set them."""
        if self.model is None:
            raise MeasurementError("a checkpoint alone cannot be run", where=self.name, todo="Give the model.")
        return self.forward(self.model, inputs) if self.forward is not None else call(self.model, inputs)

    def loss_of(self, batch: Batch, outputs: Any) -> Tensor:
        """Return the loss of a batch's outputs, a scalar: a mean over ``batch.count`` terms.

        Raises
        ------
        MeasurementError
            The loss is missing, not a scalar, or not finite.
        """
        if self.loss is None:
            raise MeasurementError("there is no loss", where=self.name, todo="Give loss=….")
        value = scalar_loss(self.loss, outputs, batch.targets)
        if not torch.isfinite(value).item():
            raise MeasurementError(
                f"the loss is {value.item()}", todo="Look at the inputs, the targets and anatomy's findings first."
            )
        return value

    def undisturbed(self, *, training: bool = False, seed: int = 0) -> AbstractContextManager[None]:
        """Context in which the subject may be run; afterwards all is as it was. See ``undisturbed``."""
        return undisturbed(self.model, training=training, seed=seed)

    def __repr__(self) -> str:
        return f"Subject({self.name}, {len(self._weights)} tensors, offers {_words(self.offers)})"


def _words(needs: Needs) -> str:
    names = {Needs.WEIGHTS: "weights", Needs.MODEL: "a model", Needs.DATA: "data", Needs.LOSS: "a loss"}
    return " and ".join(names[need] for need in needs)
