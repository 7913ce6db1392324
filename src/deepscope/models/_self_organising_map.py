"""Kohonen's self-organising map."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from numbers import Integral

import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.core.specimen import Specimen
from deepscope.models._inputs import values

#: Below this radius a neighbour's e^(−1/2σ²) is 0 in every dtype.
_REACHES_NOBODY = 0.02


class SelfOrganisingMap(nn.Module):
    """Self-organising map: units of a chain, ring or grid learn to lie among the inputs, neighbours near each other.

    Unit r has a weight vector w_r in the space of the inputs. The best matching unit of an input x is the nearest one,
    c(x) = argmin_r |x − w_r|. The neighbourhood of two units is a Gaussian of their distance on the lattice, in units
    of its spacing: h_rc = exp(−|r − c|² / 2σ²) with radius σ, and for σ = 0 the identity. There are two rules:

    * online, after each input: w_r ← w_r + η h_rc(x) (x − w_r), with learning rate η;
    * batch, after a pass over all inputs: w_r ← Σₓ h_rc(x) x / Σₓ h_rc(x).

    Both rate and radius shrink geometrically while the map learns. There are ∏ shape · features weights. They are a
    buffer, as nothing here is a gradient. Source: ``kohonen1982self``.

    Parameters
    ----------
    shape
        Units along each axis of the lattice: ``[100]`` is a chain, ``[20, 20]`` a grid.
    features
        Number of values per input.
    periodic
        Whether each axis of the lattice closes on itself: a chain becomes a ring, a grid a torus.
    batch_shape
        Maps that learn side by side, each from inputs of its own; none for one map.
    generator
        Draws the initial weights, uniform in [0, 1). torch's global one unless given.
    device, dtype
        Of the weights; torch's defaults unless given.

    Attributes
    ----------
    weights : torch.Tensor
        [*batch_shape, units, features]; the units of a grid row by row.

    Raises
    ------
    UsageError
        A size below 1; inputs of another shape or dtype, none, or not finite; a number of steps or epochs that is not
        whole; one of them, a rate, a radius or a decay that is negative or not finite.

    Examples
    --------
    >>> import torch
    >>> inputs = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
    >>> chart = SelfOrganisingMap([6, 6], 2, generator=torch.Generator().manual_seed(0))
    >>> chart.topographic_error(inputs).item() > 0.8
    True
    >>> chart.fit_batch(inputs, epochs=40, radius=3.0, radius_decay=0.95)
    >>> chart.topographic_error(inputs).item() < 0.05, chart(inputs).shape
    (True, torch.Size([1000]))
    """

    weights: Tensor
    coordinates: Tensor
    _squared: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        *,
        periodic: bool = False,
        batch_shape: Sequence[int] = (),
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not shape or min(*shape, *batch_shape, features, math.inf) < 1:
            raise UsageError(
                f"the lattice is {list(shape)}, with {features} features and batch shape {list(batch_shape)}",
                where="SelfOrganisingMap",
                todo="Give sizes of at least 1, and at least one axis.",
            )
        self.shape, self.batch_shape = torch.Size(shape), torch.Size(batch_shape)
        size = (*self.batch_shape, self.shape.numel(), features)
        drawn = torch.rand(size, generator=generator, dtype=dtype, device=generator.device if generator else None)
        axes = torch.meshgrid(*(torch.arange(length) for length in self.shape), indexing="ij")
        self.register_buffer("weights", drawn.to(device))
        #: [axes, units]: where each unit stands on the lattice.
        self.register_buffer("coordinates", torch.stack(axes).flatten(1).to(device))
        squared = torch.cat([_squared_distances(length, periodic) for length in self.shape])
        self.register_buffer("_squared", squared.to(device), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the best matching unit of each input: [*batch_shape, n, features] to [*batch_shape, n]."""
        return self._distances(inputs).argmin(-1)

    def quantisation_error(self, inputs: Tensor) -> Tensor:
        """Return the mean distance of inputs [*batch_shape, n, features] from their best unit, of shape batch_shape."""
        return self._distances(inputs).amin(-1).mean(-1)

    def topographic_error(self, inputs: Tensor) -> Tensor:
        """Return for which part of the inputs the two nearest units are not adjacent, of shape batch_shape.

        Units are adjacent that are one step along one axis apart: two on a chain, four on a grid. The inputs are
        [*batch_shape, n, features].
        """
        if len(self.coordinates[0]) < 2:
            raise UsageError("the map has one unit", where="topographic_error", todo="Give it at least 2.")
        first, second = self._distances(inputs).topk(2, largest=False).indices.unbind(-1)
        squared = torch.zeros_like(first)
        for table, along in self._axes():
            squared += table[along[first] - along[second] + len(table) // 2]
        return (squared > 1).to(self.weights.dtype).mean(-1)

    def neighbourhood(self, units: Tensor, radius: float) -> Tensor:
        """Return h of some units with all: of any shape […] to […, units]. Cost: one exponential per axis and place."""
        values: Tensor | None = None
        for table, along in self._axes():
            if radius < _REACHES_NOBODY:
                profile = table == 0
            else:
                profile = torch.exp(table.to(self.weights.dtype) * (-0.5 / (radius * radius)))
            # Along an axis h depends on the offset alone: rows are windows of one profile, not new exponentials.
            windows = profile.to(self.weights.dtype).unfold(0, len(table) // 2 + 1, 1)
            rows = windows[len(table) // 2 - along[units]]
            values = rows if values is None else (values.unsqueeze(-1) * rows.unsqueeze(-2)).flatten(-2)
        assert values is not None
        return values

    def fit_online(
        self,
        inputs: Tensor,
        *,
        steps: int,
        learning_rate: float,
        radius: float,
        learning_rate_decay: float = 1.0,
        radius_decay: float = 1.0,
        least_radius: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        """Learn from one input at a time, drawn with replacement.

        Parameters
        ----------
        inputs
            [*batch_shape, n, features]. Each map draws its own.
        steps
            Number of inputs presented.
        learning_rate, radius
            η and σ of the first step.
        learning_rate_decay, radius_decay
            Their factor from step to step.
        least_radius
            Below it the radius does not shrink.
        generator
            Draws the inputs. torch's global one unless given.

        Notes
        -----
        Cost: O(units · features) a step, and a dozen calls of torch.
        """
        self._check(inputs)
        _check_settings(steps, learning_rate, learning_rate_decay, radius, radius_decay, least_radius)
        samples = inputs.detach().reshape(-1, *inputs.shape[-2:])
        maps = torch.arange(len(samples), device=samples.device)
        # Features before units: the sum over features then runs along memory.
        weights = self.weights.reshape(-1, *self.weights.shape[-2:]).mT.contiguous()
        source = generator.device if generator else None
        drawn = torch.randint(samples.shape[1], (steps, len(samples)), generator=generator, device=source)
        for presented in drawn.to(samples.device):
            pull = samples[maps, presented].unsqueeze(-1) - weights
            best = pull.square().sum(-2).min(-1).indices
            weights.addcmul_(pull, self.neighbourhood(best, radius).unsqueeze(-2), value=learning_rate)
            learning_rate *= learning_rate_decay
            radius = max(radius * radius_decay, least_radius)
        self.weights.copy_(weights.mT.reshape(self.weights.shape))

    def fit_batch(
        self, inputs: Tensor, *, epochs: int, radius: float, radius_decay: float = 1.0, least_radius: float = 0.0
    ) -> None:
        """Learn from all inputs at once; a unit without inputs in its neighbourhood stays.

        Parameters
        ----------
        inputs
            [*batch_shape, n, features].
        epochs
            Number of passes.
        radius, radius_decay, least_radius
            As in ``fit_online``, the decay from pass to pass.

        Notes
        -----
        Cost of a pass: O((n + units) · units · features) in time, O((n + units) · units) in memory.
        """
        self._check(inputs)
        _check_settings(epochs, radius, radius_decay, least_radius)
        inputs = inputs.detach()
        everyone = torch.arange(self.weights.shape[-2], device=self.weights.device)
        ones = inputs.new_ones((*inputs.shape[:-1], 1))
        for _ in range(epochs):
            best = self(inputs).unsqueeze(-1)
            sums = torch.zeros_like(self.weights).scatter_add(-2, best.expand_as(inputs), inputs)
            counts = torch.zeros_like(self.weights[..., :1]).scatter_add(-2, best, ones)
            near = self.neighbourhood(everyone, radius)
            mass = near @ counts
            # A quotient of numbers that are less than normal has few right digits.
            reached = mass >= torch.finfo(mass.dtype).tiny
            self.weights.copy_(torch.where(reached, (near @ sums) / mass, self.weights))
            radius = max(radius * radius_decay, least_radius)

    def _axes(self) -> Iterator[tuple[Tensor, Tensor]]:
        """For each axis of the lattice, the squared distances by offset and the places of the units."""
        return zip(torch.split(self._squared, [2 * length - 1 for length in self.shape]), self.coordinates, strict=True)

    def _distances(self, inputs: Tensor) -> Tensor:
        self._check(inputs)
        # The fast way by matrix products loses digits where an input lies close to a unit.
        return torch.cdist(inputs, self.weights, compute_mode="donot_use_mm_for_euclid_dist")

    def _check(self, inputs: Tensor) -> None:
        wanted = (*self.batch_shape, self.weights.shape[-1])
        if inputs.dim() < 2 or (*inputs.shape[:-2], inputs.shape[-1]) != wanted or not inputs.shape[-2]:
            raise UsageError(
                f"the inputs have shape {list(inputs.shape)}",
                where="SelfOrganisingMap",
                todo=f"Give [{', '.join(map(str, [*self.batch_shape, 'n', wanted[-1]]))}] with n of at least 1.",
            )
        if inputs.dtype != self.weights.dtype:
            raise UsageError(
                f"the inputs are {inputs.dtype}, the weights {self.weights.dtype}",
                where="SelfOrganisingMap",
                todo="Give inputs.to(map.weights.dtype).",
            )
        if not inputs.isfinite().all():
            raise UsageError("some inputs are not finite", where="SelfOrganisingMap", todo="Leave these inputs out.")


def _check_settings(count: int, *settings: float) -> None:
    if not isinstance(count, Integral) or count < 0:
        raise UsageError(
            f"the number of steps or epochs is {count}",
            where="SelfOrganisingMap",
            todo="Give a whole number of at least 0.",
        )
    if any(not 0 <= value < math.inf for value in settings):
        raise UsageError(
            f"rates, radii and their decays are {', '.join(map(str, settings))}",
            where="SelfOrganisingMap",
            todo="Give finite numbers of at least 0.",
        )


def _squared_distances(length: int, periodic: bool) -> Tensor:
    """Return the squared lattice distance of two units by their offset, −(length − 1) … length − 1."""
    offsets = torch.arange(1 - length, length).abs()
    return torch.minimum(offsets, length - offsets).square() if periodic else offsets.square()


def square_map() -> SelfOrganisingMap:
    """Return a map of 20 × 20 units of the plane."""
    return SelfOrganisingMap((20, 20), 2)


SPECIMENS = (
    Specimen(
        name="self-organising-map",
        title="Self-organising map",
        build=square_map,
        inputs=values(2),
        parameters=0,
        formula="w_r ← w_r + η h_rc (x − w_r), where c is the unit whose weights w_c are nearest to the input x and "
        "h_rc = exp(−|r − c|² / 2σ²) is a Gaussian of the distance of units r and c on the lattice; the learning rate "
        "η and the radius σ shrink while the map learns.",
        source="kohonen1982self",
        rows=("som",),
        pinned_by="tests/models/test_self_organising_map.py::"
        "test_density_of_units_follows_the_power_law_and_neighbours_stay_neighbours",
    ),
)
