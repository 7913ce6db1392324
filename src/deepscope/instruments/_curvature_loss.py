"""The mean loss over the data, as a function of the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from deepscope.core import DeepscopeError, LeftOut, MeasurementError, UsageError
from deepscope.instruments._refusal import refusal
from deepscope.subject import Batch, Subject, dtype_name, layer_of, seeded_generators
from deepscope.subject import ModuleWeight as Parameter


@dataclass(frozen=True)
class Piece:
    """A batch, a part of one, or several together.

    Attributes
    ----------
    batch
        Inputs, targets and number of terms.
    number, first
        Of its batch, and of its first sample in the data, counted from 0: for errors, and to seed what is random.
    weight
        Share of all terms.
    """

    batch: Batch
    number: int
    first: int
    weight: float = 1.0


class MeanLoss:
    """L(θ) = Σ_b c_b·ℓ_b(θ)/Σ_b c_b over batches of c_b terms, at any parameters θ, without touching the model.

    θ are the trainable parameters that the subject selects, each tied tensor once, as one vector [n]. All other
    parameters and buffers stay what they are. Weights of half precision, and whatever goes in with them, are computed
    in float32.

    Parameters
    ----------
    subject
        A model with data and a loss, undisturbed by the caller.
    dtype
        In which to compute; None for float64 where a parameter has it, else float32.
    seed
        From which a random forward pass draws; the same for a batch each time.

    Attributes
    ----------
    parameters
        Handles of θ, in the order of the model.
    point
        The model's own θ, [n].
    casts
        Whether the model has another dtype, so that whatever goes in is converted.
    is_random
        Whether the forward pass draws random numbers: set by who finds out; it is then seeded.
    used
        Places of the parameters on which the loss has been seen to depend.
    forward_passes, backward_passes
        How many have been made, each over one batch or part of one.

    Raises
    ------
    MeasurementError
        There is nothing to train.
    UsageError
        The dtype is neither float32 nor float64.
    """

    def __init__(self, subject: Subject, *, dtype: torch.dtype | None = None, seed: int = 0) -> None:
        assert subject.model is not None
        if dtype not in (None, torch.float32, torch.float64):
            raise UsageError(f"curvature cannot be computed in {dtype}", todo="Use torch.float32 or torch.float64.")
        self._subject, self._net, self._seed = subject, _Net(subject), seed
        self.parameters, self.left_out = _trainable(subject)
        if not self.parameters:
            raise MeasurementError(
                "there are no trainable parameters",
                where=subject.name,
                todo="Set requires_grad on some, or choose a part of the network that has them.",
            )
        held = [each for each in (*subject.model.parameters(), *subject.model.buffers()) if each.is_floating_point()]
        wide = torch.float64 if any(each.dtype == torch.float64 for each in held) else torch.float32
        self.dtype = dtype or wide
        self.device = self.parameters[0].tensor.device
        self.casts = any(each.dtype != self.dtype for each in held)
        places = _places(subject.model)
        self._names = [[places[name] for name in (each.name, *each.tied) if name in places] for each in self.parameters]
        self._fixed = self._fixed_tensors(subject.model, places)
        self.shapes = [each.shape for each in self.parameters]
        self.sizes = [each.tensor.numel() for each in self.parameters]
        self.point = torch.cat([each.tensor.detach().to(self.dtype).reshape(-1) for each in self.parameters])
        self.is_random = self._searched = False
        self.used: set[int] = set()
        self.forward_passes = self.backward_passes = 0

    @property
    def n_parameters(self) -> int:
        """Length of θ."""
        return len(self.point)

    @property
    def layers(self) -> dict[str, list[int]]:
        """Layer names, in the order of the model, and which of the parameters each holds."""
        found: dict[str, list[int]] = {}
        for index, each in enumerate(self.parameters):
            found.setdefault(layer_of(each.name), []).append(index)
        return found

    def split(self, vector: Tensor) -> list[Tensor]:
        """Return a vector [n] as one view per parameter, of its shape."""
        parts = torch.split(vector, self.sizes)
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def leaves(self, vector: Tensor) -> list[Tensor]:
        """Return parameters with the values of a vector [n], of which gradients can be taken."""
        return [part.detach().requires_grad_() for part in self.split(vector)]

    def outputs(self, tensors: Sequence[Tensor], piece: Piece) -> Any:
        """Run the network with other parameters."""
        named = dict(self._fixed)
        for names, tensor in zip(self._names, tensors, strict=True):
            named.update(dict.fromkeys(names, tensor))
        self.forward_passes += 1
        seeded = seeded_generators(self._seed + piece.number) if self.is_random else nullcontext()
        try:
            with seeded:
                return functional_call(self._net, named, (self.cast(piece.batch.inputs),), tie_weights=False)
        except (DeepscopeError, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise refusal(error, piece.number, self._subject, ran=False) from error

    def of(self, outputs: Any, piece: Piece) -> Tensor:
        """Return the loss of a piece's outputs, a scalar."""
        batch = piece.batch
        cast = Batch(batch.inputs, self.cast(batch.targets), batch.n_samples, batch.count)
        try:
            return self._subject.loss_of(cast, outputs)
        except DeepscopeError as error:
            found = nonfinite_sample(outputs, batch.n_samples)
            if found is None or "the loss is" not in error.what:
                raise
            raise MeasurementError(
                f"{error.what}: the network's output for sample {piece.first + found} of the data is not finite",
                where=self._subject.name,
                todo="Look at that sample's inputs, and at what health says of the layers.",
            ) from error
        except Exception as error:
            raise refusal(error, piece.number, self._subject, ran=True) from error

    def gradients(self, value: Tensor, wanted: Sequence[Tensor], *, create_graph: bool) -> list[Tensor | None]:
        """Return the gradients of a scalar; None for what it does not depend on."""
        self.backward_passes += 1
        if not value.requires_grad:
            return [None] * len(wanted)
        try:
            found = torch.autograd.grad(value, wanted, create_graph=create_graph, allow_unused=True)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise not_differentiable(error, self._subject) from error
        return list(found)

    @contextmanager
    def differentiating(self) -> Iterator[None]:
        """Explain what goes wrong where a product is taken."""
        self.backward_passes += 1
        try:
            yield
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise not_differentiable(error, self._subject) from error

    def refuse_lost_derivatives(self, gradients: Sequence[Tensor | None]) -> None:
        """Refuse a graph through which torch would lose derivatives without a word.

        What a custom function computes in a ``once_differentiable`` backward pass is cut off from its arguments: a
        second derivative leaves it out, and no error is raised unless something behind the cut is asked for. The graph
        is searched once.
        """
        if not self._searched and any(node.name().endswith("::Error") for node in _graph(gradients)):
            raise MeasurementError(
                "the loss cannot be differentiated twice: a custom function is once_differentiable",
                where=self._subject.name,
                todo="Write its backward pass with functions that torch can differentiate.",
            )
        self._searched = True

    @property
    def fixed(self) -> dict[str, Tensor]:
        """The parameters and buffers that are not part of θ."""
        return self._fixed

    def _fixed_tensors(self, model: nn.Module, places: Mapping[str, str]) -> dict[str, Tensor]:
        moving = {name for names in self._names for name in names}
        return {
            place: self.cast(tensor.detach())
            for name, tensor in _tensors_of(model)
            for place in [places.get(name)]
            if place is not None and place not in moving
        }

    def cast(self, value: Any) -> Any:
        """Return inputs or targets in the dtype of the computation."""
        if not self.casts:
            return value
        if isinstance(value, Tensor):
            return value.to(self.dtype) if value.is_floating_point() else value
        if isinstance(value, dict):
            return {key: self.cast(item) for key, item in value.items()}
        if isinstance(value, (tuple, list)):
            cast = [self.cast(item) for item in value]
            return type(value)(*cast) if hasattr(value, "_fields") else type(value)(cast)
        return value


class _Net(nn.Module):
    """The network as the subject runs it, so that a forward of the caller's own takes other parameters too."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.model, self._subject = subject.model, subject

    def forward(self, inputs: Any) -> Any:
        return self._subject.predict(inputs)


def _graph(tensors: Sequence[Tensor | None]) -> Iterator[Any]:
    """Iterate over the nodes of the graph that made some tensors, each once."""
    waiting = [each.grad_fn for each in tensors if each is not None and each.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        yield node
        new = {each for each, _ in node.next_functions if each is not None} - seen
        seen |= new
        waiting.extend(new)


def _tensors_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _places(model: nn.Module) -> dict[str, str]:
    """Return the names of tensors as ``functional_call`` is to have them.

    One name for each attribute of each module: under two names of one module it would put back the replaced tensor.
    """
    seen, places = set(), {}
    # Not get_submodule, which scripted modules do not have.
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, _ in _tensors_of(model):
        path, _, leaf = name.rpartition(".")
        place = (id(modules[path]), leaf)
        if place not in seen:
            seen.add(place)
            places[name] = f"model.{name}"
    return places


def _trainable(subject: Subject) -> tuple[list[Parameter], list[LeftOut]]:
    assert subject.model is not None
    own = dict(subject.model.named_parameters(remove_duplicate=False))
    kept, left_out = [], []
    for weight in subject.weights():
        if not isinstance(weight, Parameter) or weight.name not in own:
            continue
        if not weight.tensor.is_floating_point():
            left_out.append(LeftOut(weight.name, f"{dtype_name(weight.tensor.dtype)}, not floating-point"))
        elif not any(own[name].requires_grad for name in (weight.name, *weight.tied)):
            left_out.append(LeftOut(weight.name, "frozen (requires_grad=False)"))
        elif weight.tensor.numel():
            kept.append(weight)
    return kept, left_out


def nonfinite_sample(outputs: Any, n_samples: int) -> int | None:
    """Return the first sample whose output holds NaN or infinity; None where there is none or samples cannot be told.

    >>> nonfinite_sample(torch.tensor([[1.0], [float("nan")]]), 2)
    1
    """
    if not isinstance(outputs, Tensor) or not outputs.ndim or len(outputs) != n_samples:
        return None
    broken = ~torch.isfinite(outputs.detach().reshape(n_samples, -1)).all(dim=1)
    return int(broken.nonzero()[0, 0]) if bool(broken.any()) else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no more memory; torch has no class of its own for the CPU's."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def not_differentiable(error: Exception, subject: Subject) -> MeasurementError:
    """Explain that a derivative does not exist."""
    line = next((each for each in str(error).splitlines() if each.strip()), type(error).__name__)
    return MeasurementError(
        f"the loss cannot be differentiated twice: {line}",
        where=subject.name,
        todo="Give a model and a loss of functions that torch can differentiate twice.",
    )
