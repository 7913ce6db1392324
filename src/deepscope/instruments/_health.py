"""The health of a network: activations and gradients, layer by layer, over data."""

from __future__ import annotations

from collections.abc import Iterator, Set, Sized
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import DeepscopeError, Instrument, LeftOut, MeasurementError, Needs, Stopwatch, first_line
from deepscope.instruments._affordable import Keywords, affordable
from deepscope.instruments._health_gradients import MeanGradient
from deepscope.instruments._health_known import KNOWN
from deepscope.instruments._health_profile import depth_profile
from deepscope.instruments._health_reading import Health
from deepscope.instruments._health_row import LayerHealth, layer_health
from deepscope.instruments._health_statistics import LayerStatistics, SampleRange, UnitRange, Variation
from deepscope.instruments._refusal import refusal
from deepscope.subject import Batch, LayerOutput, Subject, Watch, forward_work, is_layer, is_opaque, watch_layers

__all__ = ["HEALTH", "Health", "health"]


def health(subject: Subject, *, generator: torch.Generator | None = None, max_samples: int | None = 2048) -> Health:
    """Measure every layer's activations over the data, and its gradients where there is a loss.

    Each layer's output y is a row: mean and standard deviation of y over samples and positions (padding excluded),
    dead, saturated and constant units, non-finite values; and ‖∂L/∂θ‖₂ with its standard error and ‖∂L/∂W‖/‖W‖ for
    the layer's own parameters θ and matrices W, where L is the mean loss over all terms of all batches. The depth
    profile is a least-squares line through log₁₀ of the gradient with respect to y over the layers with weight
    matrices: unlike ‖∂L/∂θ‖, which grows with a layer's size and input, that gradient keeps its size from layer to
    layer in a network that is initialised to keep it (He et al. 2015), whatever the layers' widths.

    Parameters
    ----------
    subject
        A model with data; with a loss gradients are measured too.
    generator
        Its initial seed seeds what is random in the model's evaluation mode.
    max_samples
        Whole batches are run until so many samples have been seen; None for all data.

    Returns
    -------
    Health
        With the columns ``name, kind, units, activation_mean, activation_std, dead_fraction, saturated_fraction,
        constant_fraction, nonfinite_fraction, gradient_norm, gradient_norm_stderr, gradient_to_weight, status``;
        see ``LayerHealth`` for their definitions and ``DepthProfile`` for the verdict.

    Raises
    ------
    MeasurementError
        There is no model or no data, no layer can be seen, the model or the loss refuses a batch, or the loss is not
        finite although every layer's output is.

    Notes
    -----
    Shares of dead, saturated and constant units are those among the samples seen, without an interval: a unit that is
    shut on all n of them is open on fewer than 3/n of all inputs (95 %; the rule of three), where samples are
    independent.
    The model runs in evaluation mode. Before a first training step batch normalisation passes everything through
    there, so that gradients say nothing about training: no verdict is given. Fused kernels are off where they would
    hide layers or gradients; what torch computes inside recurrent and attention layers is not. A tied weight has the
    gradient of all its uses.
    Cost: one forward pass and, with a loss, one backward pass per batch; one copy of the gradient in memory.
    Sources: ``bengio1994learning``, ``glorot2010understanding``, ``he2015delving``.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 4), nn.ReLU())
    >>> with torch.no_grad():
    ...     _ = model[0].bias.copy_(torch.tensor([-9.0, 9.0, 9.0, 9.0]))
    >>> health(Subject(model, data=[(torch.rand(8, 2), torch.zeros(8))])).table()["dead_fraction"].tolist()
    [nan, 0.25]
    """
    subject.require(Needs.MODEL | Needs.DATA, "health")
    run = _Run(subject)
    stopwatch = Stopwatch()
    seed = generator.initial_seed() if generator is not None else 0
    with (
        stopwatch,
        subject.undisturbed(seed=seed),
        torch.inference_mode(False),
        torch.set_grad_enabled(subject.loss is not None),
        watch_layers(subject, run.observe) as watch,
    ):
        for index, batch in enumerate(subject.batches(max_samples)):
            run.see(watch, index, batch)
        stopwatch.count(forward=run.n_batches, backward=run.gradient.batches if run.gradient else 0)
        layers = run.layers(watch)
    if not layers:
        raise MeasurementError(
            "none of the model's layers can be seen",
            where=subject.name,
            todo="Give a model of torch.nn modules that run on this data, not TorchScript.",
        )
    profiled = [each for each in layers if each.in_profile]
    names = [each.name for each in profiled]
    caveat = "batch normalisation has no statistics yet" if _has_fresh_norms(subject) else ""
    return Health(
        subject=subject.name,
        left_out=run.left_out(watch),
        cost=stopwatch.cost,
        layers=layers,
        n_samples=run.n_samples,
        n_batches=run.n_batches,
        loss=run.loss,
        inputs_vary=run.inputs.varies,
        output_site=run.output_site if run.output_site is not None else "" if run.partial else layers[-1].name,
        partial=run.partial,
        ran=tuple(watch.ran),
        output_constant=run.output_constant(layers),
        profile=depth_profile(names, [each.output_gradient for each in profiled], caveat),
        weight_profile=depth_profile(names, [each.gradient_norm for each in profiled], caveat),
    )


class _Run:
    """All batches of one measurement."""

    def __init__(self, subject: Subject) -> None:
        assert subject.model is not None
        self.subject, self.model = subject, subject.model
        self.statistics: dict[str, LayerStatistics] = {}
        self.gradient: MeanGradient | None = None
        self.inputs, self.output, self.samples = Variation(), UnitRange(), SampleRange()
        self.output_site: str | None = None
        self.n_samples = self.n_batches = 0
        self._ledger: dict[LeftOut, None] = {}
        self._loss_sum = self._count = self._terms = 0.0
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._has_loss = subject.loss is not None
        # The root's name is empty and matches no pattern but one that matches everything.
        self.partial = not subject.selects("")
        if not self._has_loss:
            self._leave_out("gradients", "no loss was given")
        else:
            self.gradient = MeanGradient(
                [(name, each) for name, each in self.model.named_parameters() if each.is_floating_point()]
            )

    def observe(self, output: LayerOutput) -> None:
        seen = self.statistics.get(output.site)
        if seen is None:
            seen = self.statistics[output.site] = LayerStatistics(output)
        seen.see(output)
        if self.gradient is not None and not output.functional and output.tensor.requires_grad:
            handle = output.tensor.register_hook(partial(self._see_gradient, seen))  # type: ignore[no-untyped-call]
            self._handles.append(handle)

    def _see_gradient(self, seen: LayerStatistics, gradient: Tensor) -> None:
        seen.see_gradient(torch.linalg.vector_norm(gradient.detach(), dtype=torch.float64), self._count)

    def see(self, watch: Watch, index: int, batch: Batch) -> None:
        """Run one batch forward and, with a loss, backward."""
        self.inputs.see(batch.inputs)
        self._count = batch.count
        try:
            loss = self._forward(watch, index, batch)
            if loss is not None:
                self._backward(index, loss)
        finally:
            for handle in self._handles:
                handle.remove()
            self._handles.clear()
        self.n_samples += batch.n_samples
        self.n_batches += 1

    def _forward(self, watch: Watch, index: int, batch: Batch) -> Tensor | None:
        with watch.forward(batch.inputs):
            try:
                outputs = self.subject.predict(batch.inputs)
            except DeepscopeError:
                raise
            except Exception as error:
                raise refusal(error, index, self.subject, ran=False) from error
            if watch.output is not None:
                self.output_site = watch.output.site
                seen = watch.output.by_unit(watch.output.tensor)
                if len(seen):
                    self.output.see(seen.amin(0), seen.amax(0))
                    self.samples.see(watch.output, batch.n_samples)
        # Outside the watch: what a loss calls is no part of the network. A batch whose terms are all ignored has none.
        return self._loss_of(index, batch, outputs) if self._has_loss and batch.count else None

    def _loss_of(self, index: int, batch: Batch, outputs: Any) -> Tensor | None:
        try:
            return self.subject.loss_of(batch, outputs)
        except DeepscopeError as error:
            if not any(seen.nonfinite for seen in self.statistics.values()):
                raise
            # The layers tell where it comes from; a gradient there is not.
            self.gradient, self._has_loss = None, False
            self._leave_out("gradients", error.what)
            return None
        except Exception as error:
            raise refusal(error, index, self.subject, ran=True) from error

    def _backward(self, index: int, loss: Tensor) -> None:
        self._loss_sum += float(loss.detach()) * self._count
        self._terms += self._count
        if self.gradient is None or not self.gradient.parameters:
            return
        if not loss.requires_grad:
            self.gradient = None
            self._leave_out("gradients", "the loss has no gradient")
            return
        try:
            self.gradient.see(loss, self._count)
        except Exception as error:
            raise MeasurementError(
                f"no gradient can be had for batch {index}: {first_line(error)}",
                where=self.subject.name,
                todo="Give a model and a loss that torch can differentiate, or leave the loss out.",
            ) from error

    @property
    def loss(self) -> float | None:
        # A loss that broke off is no mean over all terms; one without a gradient is.
        return self._loss_sum / self._terms if self._terms and self._has_loss else None

    def layers(self, watch: Watch) -> tuple[LayerHealth, ...]:
        """Make the rows, in forward order."""
        canonical = {id(each): name for name, each in self.model.named_parameters()}
        owned: dict[str, dict[str, nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            owner = self._owner(name.rpartition(".")[0], watch.ran)
            if owner is not None:
                owned.setdefault(owner, {})[canonical[id(parameter)]] = parameter
        return tuple(
            layer_health(seen, owned.get(seen.name, {}), self.gradient, self.n_samples)
            for seen in self.statistics.values()
        )

    def _owner(self, path: str, ran: Set[str]) -> str | None:
        """Return the layer with which a module's parameters count: itself, or what runs it from within."""
        path = self._holder(path)
        if path in ran:
            return path
        while path:
            path = path.rpartition(".")[0]
            if path in ran and is_opaque(self.model.get_submodule(path)):
                return path
        return None

    def _holder(self, path: str) -> str:
        """Return the module that a list or dictionary of parameters belongs to; a module's own path otherwise."""
        while path and isinstance(self.model.get_submodule(path), (nn.ParameterList, nn.ParameterDict)):
            path = path.rpartition(".")[0]
        return path

    def output_constant(self, layers: tuple[LayerHealth, ...]) -> bool | None:
        """Say whether the network's output is the same for all data."""
        if self.n_samples < 2 or not self.inputs.varies:
            return None
        if self.output_site is not None:
            constant = self.output.constant()
            everywhere = None if constant is None else constant == self.output.units
            at_each_position = self.samples.constant()
            return everywhere if everywhere or at_each_position is None else at_each_position
        if self.partial:
            return None
        # A forward of the caller's own does not call the model: its last layer stands for its output.
        last = layers[-1].constant_fraction
        return None if last is None else last == 1

    def left_out(self, watch: Watch) -> tuple[LeftOut, ...]:
        """Name everything that was not measured."""
        for name, module in self.model.named_modules():
            if is_layer(name, module) and name not in watch.ran and self.subject.selects(name):
                owner = self._owner(name, watch.ran)
                self._leave_out(
                    name, "did not run on this data" if owner is None else f"runs inside {owner} and counts with it"
                )
        for name, parameter in self.model.named_parameters() if self.gradient is not None else ():
            if not self.subject.selects(name):
                continue
            if not parameter.requires_grad:
                self._leave_out(name, "gradient: frozen (requires_grad=False)")
            elif self._has_no_place(name, watch.ran):
                holder = self._holder(name.rpartition(".")[0]) or "the network itself"
                self._leave_out(name, f"gradient: belongs to {holder}, not to one of its layers")
        if self.gradient is not None and self.gradient.batches == 1:
            self._leave_out("gradient_norm_stderr", "one batch only: there is no spread between batches")
        if isinstance(self.subject.data, Sized) and len(self.subject.data) > self.n_batches:
            self._leave_out("data", f"the batches after the first {self.n_batches} ({self.n_samples} samples)")
        return (*self._ledger, *watch.left_out)

    def _has_no_place(self, name: str, ran: Set[str]) -> bool:
        """Whether a parameter is in no layer's row, and in none that the ledger names."""
        path = self._holder(name.rpartition(".")[0])
        module = self.model.get_submodule(path)
        told = is_layer(path, module) or isinstance(module, torch.jit.ScriptModule)
        return not told and self._owner(path, ran) is None

    def _leave_out(self, name: str, reason: str) -> None:
        self._ledger[LeftOut(name, reason)] = None


def _has_fresh_norms(subject: Subject) -> bool:
    """Whether batch normalisation stands on its first guess, mean 0 and variance 1: it would do nothing at all here."""
    norms = nn.modules.batchnorm._BatchNorm
    counts = [each.num_batches_tracked for each in _modules(subject) if isinstance(each, norms)]
    return any(count is not None and int(count) == 0 for count in counts)


def _modules(subject: Subject) -> Iterator[nn.Module]:
    return subject.model.modules() if subject.model is not None else iter(())


def _expected_cost(subject: Subject, *, max_samples: int | None = 2048) -> str:
    passes = "forward passes" if subject.loss is None else "forward and backward passes"
    return f"{passes} over {'all samples' if max_samples is None else f'up to {max_samples:,} samples'}"


def _fit(subject: Subject, effort: Keywords, operations: float) -> Keywords:
    # A gradient takes as much as three forward passes.
    passes = 1 if subject.loss is None else 3
    return affordable([effort], "max_samples", lambda _: passes * forward_work(subject).operations, operations)


HEALTH = Instrument(
    name="health",
    title="Activations and gradients",
    measure=health,
    reading=Health,
    needs=Needs.MODEL | Needs.DATA,
    formula=(
        "Over all samples and positions, padding excluded: mean and standard deviation of a layer's outputs; dead: "
        "share of a rectifier's units that let nothing through on any sample seen; saturated: share of a bounded "
        "function's units with 95 % of outputs within 1 % of its range from an end; constant: share of units that vary "
        "by at most 1e-6 of their magnitude. Gradient norm ‖∂L/∂θ‖₂ of the mean loss L, standard error at most "
        "√(Σ c_b ‖g_b − g‖² / ((B − 1) Σ c_b)) over batches b of c_b terms. Depth: least squares of log₁₀ of the "
        "gradient with respect to a layer's output against its place, Student t interval; vanishing where the whole "
        "interval shrinks toward the input and the first layer has at most 1e-3 of the last one's, exploding likewise "
        "from 1e3. Vanishing is a problem from 1e-6, or from 1e-4 where at most 0.27 is left per layer; gradients of "
        "1e3 times their weights are a warning, of 1e6 times a problem. The output is constant where no unit varies "
        "over samples, at any position, by more than 1e-6 of its magnitude."
    ),
    how_to_read=(
        "Above, the gradient of each layer's parameters with its 95 % interval, and the gradient that arrives at its "
        "output, whose fitted line tells by how much it changes per layer: a healthy network keeps it level. Below, "
        "the share of units that never open (dead) or are stuck at an end of their range (saturated); both belong "
        "near zero."
    ),
    source="glorot2010understanding",
    expected_cost=_expected_cost,
    fit=_fit,
    efforts={"quick": {"max_samples": 256}, "standard": {"max_samples": 2048}, "deep": {"max_samples": None}},
    rows=("relu",),
    pinned_by="tests/instruments/test_health.py::test_sigmoid_layers_lose_the_gradient_and_relu_layers_keep_it",
    known=KNOWN,
)
