"""One measurement of curvature, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import LeftOut, MeasurementError, Stopwatch
from deepscope.instruments._curvature_density import negative_directions, spectral_density
from deepscope.instruments._curvature_directions import InexactTraceError
from deepscope.instruments._curvature_likelihood import fisher_curvature
from deepscope.instruments._curvature_loss import MeanLoss
from deepscope.instruments._curvature_outputs import loss_hessian, own_gradients
from deepscope.instruments._curvature_pieces import Pieces, gather
from deepscope.instruments._curvature_products import Linearise, Products, hessian, output_curvature
from deepscope.instruments._curvature_reading import Curvature, ParameterSlot
from deepscope.instruments._curvature_rescaling import Measured, Rescaling, compare, find_rescaling
from deepscope.instruments._curvature_row import Traces, layer_rows
from deepscope.instruments._curvature_sharpness import Sharpness, sharpness, value_and_gradient
from deepscope.instruments._curvature_spectrum import ROUNDING, Spectrum, dense_of, spectrum_of
from deepscope.instruments._curvature_trace import exact_traces
from deepscope.linalg import LinearOperator, block_lanczos, hutchinson_blocks
from deepscope.subject import Subject, n_batches


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured; see ``curvature``."""

    top: int
    bottom: int
    tolerance: float
    max_products: int
    probes: tuple[int, int] | None
    trace_products: int | None
    per_layer: bool
    sharp: bool
    vectors: bool


class Run:
    """The curvature of one subject, with pieces of at most so many samples; run inside ``subject.undisturbed``.

    Parameters
    ----------
    subject, kind, training, dtype, max_samples, seed
        As for ``curvature``.
    most
        Most samples in a piece; None for as many as stay in cache.
    stopwatch
        Counts the passes.
    """

    def __init__(
        self,
        subject: Subject,
        kind: str,
        *,
        training: bool,
        dtype: torch.dtype | None,
        max_samples: int | None,
        most: int | None,
        seed: int,
        stopwatch: Stopwatch,
    ) -> None:
        self.subject, self.kind, self.stopwatch, self.seed = subject, kind, stopwatch, seed
        if training:
            _take_batch_statistics(subject)
        self.loss = MeanLoss(subject, dtype=dtype, seed=seed)
        self.data: Pieces = gather(subject, self.loss, max_samples=max_samples, most=most, whole=training)
        self.value, self.gradient = value_and_gradient(self.loss, self.data.pieces, self.loss.point)
        self._check_gradient()
        alone = all(piece.batch.n_samples == 1 for piece in self.data.pieces)
        if kind == "empirical-fisher" and not (self.data.separable or alone):
            raise MeasurementError(
                "the samples of a batch depend on one another, so that they have no gradients of their own",
                where=subject.name,
                todo='Use kind="hessian" or kind="ggn".',
            )
        self._n_products = 0
        self._why_inexact = ""

    def reading(self, effort: Effort) -> Curvature:
        """Measure."""
        loss, n = self.loss, self.loss.n_parameters
        products = self._products(loss.point)
        spectrum = spectrum_of(
            products.operator(),
            top=min(effort.top, n),
            bottom=0 if self.kind != "hessian" else min(effort.bottom, n),
            tolerance=effort.tolerance,
            max_products=effort.max_products,
            probes=effort.probes,
            vectors=effort.vectors,
            generator=self._generator(),
        )
        self._n_products += spectrum.n_products
        traces = self._traces(products, spectrum.dense, effort)
        layers, taken = layer_rows(
            loss,
            products,
            traces,
            eigenvalues=effort.per_layer,
            tolerance=effort.tolerance,
            generator=self._generator(),
        )
        self._n_products += taken
        sharp = rescaling = None
        if effort.sharp:
            sharp = sharpness(loss, self.data.pieces, loss.point, self.value, self.gradient)
            rescaling = self._rescaling(spectrum, traces, sharp, effort)
        rounding = ROUNDING * float(torch.finfo(loss.dtype).eps)
        measure = spectrum.measure
        self.stopwatch.count(forward=loss.forward_passes, backward=loss.backward_passes)
        return Curvature(
            subject=self.subject.name,
            left_out=self._left_out(effort),
            cost=self.stopwatch.cost,
            kind=self.kind,
            n_parameters=n,
            n_samples=self.data.n_samples,
            n_batches=self.data.n_batches,
            loss=self.value,
            gradient_norm=float(torch.linalg.vector_norm(self.gradient, dtype=torch.float64)),
            eigenvalues=spectrum.largest,
            residuals=spectrum.largest_residuals,
            errors=spectrum.largest_errors,
            lowest=spectrum.smallest,
            lowest_residuals=spectrum.smallest_residuals,
            converged=spectrum.converged,
            status=spectrum.status,
            trace=traces.total,
            trace_stderr=traces.stderr,
            trace_method=traces.method,
            density=None if measure is None else spectral_density(measure, exact=spectrum.dense is not None),
            negative=None if measure is None else negative_directions(measure, rounding),
            sharpness=sharp,
            rescaling=rescaling,
            layers=layers,
            is_random=loss.is_random,
            eigenvectors=None if spectrum.vectors is None else spectrum.vectors.cpu().numpy(),
            parameters=tuple(ParameterSlot(each.name, each.shape) for each in loss.parameters),
            n_products=self._n_products,
        )

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def _products(self, point: Tensor) -> Products:
        makes: dict[str, Callable[..., Any]] = {
            "hessian": hessian,
            "ggn": partial(output_curvature, loss_hessian),
            "fisher": partial(output_curvature, partial(fisher_curvature, self.subject)),
            "empirical-fisher": partial(output_curvature, partial(own_gradients, self.subject)),
        }
        linearise: Linearise = partial(makes[self.kind], self.loss)
        return Products(self.loss, self.data.pieces, linearise, point)

    def _traces(self, products: Products, dense: Tensor | None, effort: Effort) -> Traces:
        """Return every layer's trace: from the matrix if it is there, exactly, or from random signs."""
        loss, layers = self.loss, self.loss.layers
        if effort.trace_products is None:
            return Traces([None] * len(layers), [0.0] * len(layers), 0.0, "not asked for")
        if dense is not None:
            parts = [float(part.sum()) for part in torch.split(dense.diagonal(), loss.sizes)]
            values = [math.fsum(parts[place] for place in places) for places in layers.values()]
            return Traces(values, [0.0] * len(values), 0.0, "exact: the whole diagonal was computed")
        try:
            parts = exact_traces(self.subject, loss, self.data, self.kind, products.point)
        except InexactTraceError as why:
            self._why_inexact = str(why)
            return self._sampled(products, effort.trace_products)
        values = [math.fsum(parts[place] for place in places) for places in layers.values()]
        how = "exact: squared per-sample gradients"
        if self.kind == "hessian":
            how += ", as the outputs are affine in each parameter by itself"
        return Traces(values, [0.0] * len(values), 0.0, how)

    def _sampled(self, products: Products, asked: int) -> Traces:
        """Return the traces of all layers from the same random signs, and with them the scatter of their sum."""
        loss, layers = self.loss, self.loss.layers
        sizes = [sum(loss.sizes[place] for place in places) for places in layers.values()]
        whole = products.operator([place for places in layers.values() for place in places])
        sums: list[Tensor] = []

        def product(block: Tensor) -> Tensor:
            result = whole.matmat(block)
            sums.append((block * result).sum(dim=0, dtype=torch.float64))
            return result

        operator = LinearOperator(product, whole.n, dtype=whole.dtype, device=whole.device)
        found = hutchinson_blocks(operator, sizes, n_products=asked, generator=self._generator())
        self._n_products += whole.n_products
        draws = torch.cat(sums)
        exact = asked >= whole.n
        return Traces(
            [each.value for each in found],
            [each.stderr for each in found],
            0.0 if exact else float(draws.std() / math.sqrt(len(draws))),
            "exact: the whole diagonal was computed" if exact else f"estimated from {asked} products",
        )

    def _rescaling(self, spectrum: Spectrum, traces: Traces, sharp: Sharpness, effort: Effort) -> Rescaling:
        found = find_rescaling(self.loss, self.data.pieces)
        if found is None:
            return Rescaling(status="no two layers can be rescaled so that the network's function stays the same")
        first, second, point = found
        before = _measured(float(spectrum.largest[0]), float(spectrum.largest_errors[0]), traces, sharp)
        products = self._products(point)
        if spectrum.dense is not None:
            dense = dense_of(products.operator())
            top, error = float(torch.linalg.eigvalsh(dense)[-1]), float(spectrum.largest_errors[0])
            self._n_products += len(dense)
        else:
            dense = None
            ends = block_lanczos(
                products.operator(),
                largest=1,
                tolerance=effort.tolerance,
                max_basis=effort.max_products,
                generator=self._generator(),
            )
            top, error = float(ends.largest.values[0]), float(ends.largest.errors[0])
            self._n_products += ends.n_products
        value, gradient = value_and_gradient(self.loss, self.data.pieces, point)
        there = sharpness(self.loss, self.data.pieces, point, value, gradient)
        after = _measured(top, error, self._traces(products, dense, effort), there)
        return Rescaling(status="ok", first=first, second=second, measures=compare(before, after))

    def _check_gradient(self) -> None:
        parts = self.loss.split(self.gradient)
        for handle, part in zip(self.loss.parameters, parts, strict=True):
            if not bool(torch.isfinite(part).all()):
                raise MeasurementError(
                    "the gradient is not finite although the loss is",
                    where=handle.name,
                    todo="Look for a square root or a norm at 0, or a loss that overflows, behind this layer.",
                )

    def _left_out(self, effort: Effort) -> tuple[LeftOut, ...]:
        loss, n = self.loss, self.loss.n_parameters
        out = list(loss.left_out)
        for index, handle in enumerate(loss.parameters):
            if index not in loss.used:
                out.append(LeftOut(handle.name, "the loss does not depend on it: no curvature along it"))
        if effort.top > n:
            out.append(LeftOut("eigenvalues", f"{effort.top} were asked for, but there are {n} parameters"))
        if self._why_inexact:
            out.append(LeftOut("exact trace", self._why_inexact))
        if effort.trace_products is None:
            out.append(LeftOut("trace", "not asked for"))
        if effort.probes is None:
            out.append(LeftOut("density", "not asked for"))
        if not effort.per_layer:
            out.append(LeftOut("layers' eigenvalues", "not asked for"))
        if not effort.sharp:
            out.append(LeftOut("sharpness", "not asked for"))
        if self.data.is_cut or (n_batches(self.subject.data) or 0) > self.data.n_batches:
            out.append(LeftOut("data", f"the samples after the first {self.data.n_samples}"))
        return tuple(out)


def _measured(top: float, error: float, traces: Traces, sharp: Sharpness) -> dict[str, Measured]:
    trace = {} if traces.total is None else {"trace": Measured(traces.total, traces.stderr)}
    return {
        "largest eigenvalue": Measured(top, error),
        **trace,
        "SAM sharpness": Measured(sharp.sam, 0.0),
        "adaptive sharpness": Measured(sharp.adaptive, 0.0),
        "Keskar's sharpness": Measured(sharp.keskar, 0.0),
    }


def _take_batch_statistics(subject: Subject) -> None:
    """Let batch normalisation use each batch's own statistics and keep none."""
    for module in subject.model.modules() if subject.model is not None else ():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats = False
