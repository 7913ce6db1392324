"""How each layer represents a batch: its output, one row per sample."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from deepscope.core import DeepscopeError, LeftOut, MeasurementError, first_line
from deepscope.subject._agreement import agrees
from deepscope.subject._batches import Inputs
from deepscope.subject._layer_output import (
    PARAMETER_CONTAINERS,
    first_tensor,
    is_opaque,
    selected_layers,
    units_dim_of,
    why_not_measured,
)
from deepscope.subject._main_output import main_output
from deepscope.subject._padding import real_positions
from deepscope.subject._row_choices import RowChoices
from deepscope.subject._samples import each_sampled, tensors_in
from deepscope.subject._subject import Subject
from deepscope.subject._watched_layers import Sites, every_layer_called

_NO_REPRESENTATION = (
    nn.modules.dropout._DropoutNd,
    nn.Sequential,
    nn.ModuleList,
    nn.ModuleDict,
    *PARAMETER_CONTAINERS,
)

#: ``reduce(name, representation)``: what is kept of a layer's representation of a batch, [samples, features].
Reduce = Callable[[str, Tensor], Any]


@contextmanager
def collecting(
    subject: Subject, layers: Collection[str] | None = None, *, reduce: Reduce | None = None
) -> Iterator[Collector]:
    """Collect how each layer represents batch after batch: the outputs of leaf modules, one row per sample.

    Leaf modules are those without children; containers and dropout are not shown. One without parameters that is used
    again behind another layer is a row of its own, ``name#2``; what is called several times otherwise, such as a
    recurrent cell, is seen at its last call.

    A row holds the output at all positions; where the subject has a mask, the mean over those that are real. Hooks live
    inside the context only; fused kernels that would hide layers are off, and compiled models run eagerly.

    Parameters
    ----------
    subject
        Run inside its ``undisturbed()``, which is the caller's to enter.
    layers
        Names of modules; all that the subject selects unless given.
    reduce
        Called with each representation as it is made, so that nothing else of it is kept: its result takes the
        representation's place. It must not change the tensor, whose memory the network goes on to use. Without it,
        copies are kept.

    Yields
    ------
    collector
        ``collector.run(batch.inputs, batch.n_samples)`` for each batch.

    Notes
    -----
    Where inputs are dual tensors of forward-mode differentiation, so are the rows.
    Where the network chooses rows by their values, as a mixture of experts does, the batch is run again with its
    samples in reverse, and layers whose rows are not reversed with them are left out.
    Cost: a forward pass without gradients, and the copies; two passes where rows are chosen.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(), nn.Flatten(), nn.Linear(8, 5))
    >>> subject = Subject(model, data=[(torch.zeros(6, 1, 4, 4), None)])
    >>> with subject.undisturbed(), collecting(subject) as collector:
    ...     for batch in subject.batches():
    ...         for name, rows in collector.run(batch.inputs, batch.n_samples).items():
    ...             print(name, tuple(rows.shape))
    0 (6, 8)
    2 (6, 8)
    3 (6, 5)
    """
    collector = Collector(subject, layers, reduce)
    with ExitStack() as stack:
        stack.enter_context(every_layer_called(subject.model))
        for handle in collector._hook():
            stack.callback(handle.remove)
        yield collector


class Collector:
    """The passes of a subject whose layers' outputs are collected. See ``collecting``.

    Attributes
    ----------
    output
        What the network as a whole put out for the latest batch, as ``main_output`` has it; None before.
    reduce
        What is kept of a representation, as given; it may be set until the first batch.
    """

    def __init__(self, subject: Subject, layers: Collection[str] | None, reduce: Reduce | None) -> None:
        self.output: Tensor | None = None
        self._subject, self.reduce = subject, reduce
        modules = [] if subject.model is None else list(subject.model.named_modules())
        self._leaves = [(name, module) for name, module in modules if _is_leaf(name, module)]
        self._chosen = set(selected_layers(subject) if layers is None else layers)
        self._notes: dict[LeftOut, None] = {}
        self._found: dict[str, Any] = {}
        self._choices = RowChoices()
        self._sites = Sites()
        self._n_batches = 0
        self._begin(0, ())

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What was not seen as asked so far, and why."""
        return tuple(self._notes)

    def run(self, inputs: Inputs, n_samples: int) -> dict[str, Any]:
        """Run a batch and return what its layers put out, by name, in forward order.

        Returns
        -------
        dict
            Name to [samples, features], a copy without gradients in single precision or better; or to what ``reduce``
            made of it.

        Raises
        ------
        MeasurementError
            The network does not take the inputs.
        """
        self._begin(n_samples, inputs)
        try:
            with torch.no_grad(), self._choices:
                self.output = main_output(self._subject.predict(inputs))
            if self._prints:
                self._leave_out_routed(inputs, n_samples)
        except DeepscopeError:
            raise
        except Exception as error:
            raise MeasurementError(
                f"the model refuses the inputs of batch {self._n_batches}: {first_line(error)}",
                where=self._subject.name,
                todo="Check that the data has the shape and type that the model takes.",
            ) from error
        else:
            self._n_batches += 1
            return self._found
        finally:
            self._begin(0, ())

    def _leave_out_routed(self, inputs: Inputs, n_samples: int) -> None:
        """Leave out layers whose rows do not follow the samples into the reverse order."""
        found, prints = self._found, self._prints
        if n_samples < 2 or not any(each.ndim and len(each) == n_samples for each in tensors_in(inputs)):
            return
        backwards = each_sampled(inputs, n_samples, lambda tensor: tensor.flip(0))
        self._begin(n_samples, backwards, keep=False)
        with torch.no_grad(), self._choices:
            self._subject.predict(backwards)
        for site, (name, rows) in prints.items():
            _, others = self._prints.get(site, (name, rows[:0]))
            if not agrees(rows, others.flip(0)):
                found.pop(site, None)
                self._note(name, "its rows are not those of all samples in order")
        self._found = found

    def _begin(self, n_samples: int, inputs: Inputs, *, keep: bool = True) -> None:
        mask = self._subject.mask(inputs) if self._subject.mask is not None and n_samples else None
        self._n, self._mask, self._keep = n_samples, None if mask is None else mask.bool(), keep
        self._found = {}
        #: By place: the layer, and a number for each row of its output, of those behind a choice of rows.
        self._prints: dict[str, tuple[str, Tensor]] = {}
        self._choices = RowChoices()
        self._sites.begin()
        self._units_dims: dict[int, int | None] = {}
        self._active = n_samples > 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modules that are watched, in the order of ``named_modules``."""
        return tuple(name for name, _ in self._leaves if name in self._chosen)

    def _hook(self) -> Iterator[torch.utils.hooks.RemovableHandle]:
        for name, module in self._leaves:
            if isinstance(module, torch.jit.ScriptModule):
                self._note(name, "TorchScript: its outputs cannot be seen")
            else:
                # Modules that are not chosen say where the units of later ones lie.
                yield module.register_forward_hook(partial(self._after, name))

    def _after(self, name: str, module: nn.Module, _: Any, result: Any) -> None:
        if self._active:
            with self._choices.paused():
                self._see(name, module, result)

    def _see(self, name: str, module: nn.Module, result: Any) -> None:
        tensor = first_tensor(result)
        site = self._sites.of(name, module)
        why_not = why_not_measured(tensor)
        if tensor is None or why_not:
            self._note(name, why_not)
            return
        units_dim = units_dim_of(module, tensor.ndim, self._units_dims)
        self._units_dims[tensor.ndim] = units_dim
        if name not in self._chosen:
            return
        rows = self._rows(name, module, _detached(tensor), units_dim)
        if rows is None:
            self._note(name, f"its output, {list(tensor.shape)}, is not one row for each of {self._n} samples")
            return
        if rows.dtype.itemsize < 4:
            rows = rows.float()
        if self._choices.made or not self._keep:
            self._prints[site] = name, _printed(rows)
        if not self._keep:
            return
        if self._found.pop(site, None) is not None:
            self._note(name, "called several times in a pass: its last output is taken")
        if self.reduce is not None:
            self._found[site] = self.reduce(site, rows)
        else:
            # A later layer may work in place.
            self._found[site] = rows.clone(memory_format=torch.contiguous_format)

    def _rows(self, name: str, module: nn.Module, tensor: Tensor, units_dim: int | None) -> Tensor | None:
        """Return [samples, features] of an output, or None where samples cannot be told."""
        n = self._n
        if self._mask is not None:
            real = real_positions(self._mask, module, tensor, units_dim)
            if real is not None:
                return _mean_over(tensor, *real, units_dim)
            if tensor.ndim - (units_dim is not None) >= self._mask.ndim and not self._mask.all():
                self._note(name, "padding is counted here: the mask does not fit its output")
        time_first = getattr(module, "batch_first", True) is False
        if tensor.ndim > 2 and tensor.shape[1] == n and (time_first or tensor.shape[0] != n):
            return tensor.movedim(1, 0).flatten(1)
        # Samples and positions may lie in one dimension, samples first.
        return tensor.reshape(n, -1) if n and len(tensor) % n == 0 else None

    def _note(self, name: str, reason: str) -> None:
        if name in self._chosen:
            self._notes[LeftOut(name, reason)] = None


def _is_leaf(name: str, module: nn.Module) -> bool:
    # What computes a parametrised weight is no layer; its name says where it stands.
    return (
        is_opaque(module) and not isinstance(module, _NO_REPRESENTATION) and "parametrizations" not in name.split(".")
    )


def _printed(rows: Tensor) -> Tensor:
    """Return a number for each row by which rows are told apart."""
    rows = rows.detach()
    signs = torch.cos(torch.arange(rows.shape[1], dtype=torch.float64)).to(rows)
    return rows @ signs


def _detached(tensor: Tensor) -> Tensor:
    """Return a tensor without its graph; the tangent of forward-mode differentiation, which ``detach`` drops, stays."""
    value: Tensor
    value, tangent = forward_ad.unpack_dual(tensor)  # type: ignore[no-untyped-call]
    if tangent is None:
        return value.detach()
    value = forward_ad.make_dual(value.detach(), tangent.detach())  # type: ignore[no-untyped-call]
    return value


def _mean_over(tensor: Tensor, real: Tensor, samples_dim: int, units_dim: int | None) -> Tensor:
    """Return the mean of an output over each sample's real positions, [samples, units]."""
    values = tensor.unsqueeze(-1) if units_dim is None else tensor.movedim(units_dim, -1)
    values, real = values.movedim(samples_dim, 0), real.movedim(samples_dim, 0)
    real = real.reshape(*real.shape, *[1] * (values.ndim - real.ndim))
    # What padding holds may be NaN, which no weight of 0 takes away. A sample that is all padding is 0.
    total = values.where(real, 0).flatten(1, -2).sum(1) if values.ndim > 2 else values.where(real, 0)
    count = real.expand(*values.shape[:-1], 1).flatten(1).sum(1, keepdim=True)
    return total / count.clamp(min=1)
