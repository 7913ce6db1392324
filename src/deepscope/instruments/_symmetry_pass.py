"""Run a network on plain and on transformed inputs, and compare what its layers put out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from deepscope.core import Stopwatch, UsageError, derive_seed, first_line
from deepscope.instruments._symmetry_probe import OUTPUT, Probe, Site, is_row
from deepscope.instruments._symmetry_scores import Score, score
from deepscope.instruments._symmetry_transformation import Family, Transformation
from deepscope.subject import (
    Batch,
    LayerOutput,
    RowChoices,
    Subject,
    agrees,
    each_sampled,
    is_out_of_memory,
    tensors_in,
    watch_layers,
)

#: What the values that are compared may take, in bytes; and the fewest and most of them by sample and layer.
_MEMORY, _FEWEST, _MOST = 2**29, 64, 1024

#: Why a layer is not compared that is given some of the samples only, as an expert of a mixture is.
ROUTED = "its rows are not those of all samples in order"

#: ``see(site, tensor, real)``: called with each output as it is made.
See = Callable[[Site, Tensor, Tensor | None], None]


@dataclass(frozen=True)
class SiteScores:
    """What one family of transformations does to one layer's output.

    Attributes
    ----------
    equivariance
        How far the output is from following the transformation; a status where that cannot be said.
    invariance
        How far it is from staying as it is.
    """

    equivariance: Score | str
    invariance: Score | str


@dataclass(frozen=True)
class FamilyScores:
    """What one family does to all layers.

    Attributes
    ----------
    sites
        By key, in forward order.
    members
        Each transformation's score of the network's output, equivariance where there is one, or else invariance.
    refused
        By transformation, what the network said to inputs that it does not take.
    """

    sites: Mapping[str, SiteScores]
    members: tuple[Score | str, ...]
    refused: Mapping[str, str]


class Comparison:
    """Compares the layers of networks of one architecture on the same samples.

    Parameters
    ----------
    probe
        What the inputs and layers are, and the samples.
    transformations
        How many there are in all families.
    seed
        Seeds which values of a layer are compared where it has too many; the same for every network.
    stopwatch
        Counts passes.
    """

    def __init__(self, probe: Probe, transformations: int, seed: int, stopwatch: Stopwatch) -> None:
        self._probe, self._stopwatch = probe, stopwatch
        room = _MEMORY // (4 * max(1, probe.n_samples) * max(1, len(probe.sites)) * 4 * max(1, transformations))
        kept = min(_MOST, max(_FEWEST, room))
        self._sites = {site.key: site for site in probe.sites}
        self._columns: dict[str, Tensor] = {}
        for site in probe.sites:
            width = torch.Size(site.shape).numel()
            if width > kept:
                generator = torch.Generator().manual_seed(derive_seed(seed, "values", site.key))
                self._columns[site.key] = torch.randperm(width, generator=generator)[:kept].sort().values

    @property
    def cut(self) -> Iterator[tuple[str, int, int]]:
        """Name, number of values and how many of them are compared, of layers of which not all are."""
        for key, columns in self._columns.items():
            site = self._sites[key]
            yield site.module if key != OUTPUT else "output", torch.Size(site.shape).numel(), len(columns)

    def run(self, subject: Subject, families: Sequence[Family]) -> list[FamilyScores]:
        """Run families over all samples; the plain inputs once for all of them."""
        lost: set[str] = set()
        rows = [_Rows(family, lost) for family in families]
        with self._watching(subject) as forward:
            for chunk in self._probe.chunks:
                plain, strays = _plain(forward, chunk)
                lost |= strays
                for family, found in zip(families, rows, strict=True):
                    for member in family.members:
                        if member.name not in found.refused:
                            self._moved(forward, chunk, member, plain, found)
        return [found.scores(self._probe.sites) for found in rows]

    def is_random(self, subject: Subject) -> bool:
        """Whether two passes of the same inputs differ by more than rounding."""
        outputs: list[Tensor] = []
        with self._watching(subject) as forward:
            for _ in range(2):
                forward(
                    self._probe.chunks[0].inputs, lambda site, tensor, real: outputs.append(tensor.detach().clone())
                )
        half = len(outputs) // 2
        return any(
            (one - other).norm() > 100 * torch.finfo(one.dtype).eps * one.norm()
            for one, other in zip(outputs[:half], outputs[half:], strict=True)
            if one.isfinite().all()
        )

    @contextmanager
    def _watching(self, subject: Subject) -> Iterator[Callable[[Any, See], None]]:
        see: See | None = None

        def observe(output: LayerOutput) -> None:
            site = self._sites.get(output.site)
            if see is not None and site is not None and is_row(output):
                see(site, output.tensor, output.real)

        with watch_layers(subject, observe) as watch, torch.no_grad():

            def forward(inputs: Any, seeing: See) -> None:
                nonlocal see
                see = seeing
                with watch.forward(inputs):
                    made = subject.predict(inputs)
                self._stopwatch.count(forward=1)
                whole = next(tensors_in(made), None)
                if OUTPUT in self._sites and whole is not None:
                    seeing(self._sites[OUTPUT], whole, watch.output.real if watch.output is not None else None)

            yield forward

    def _moved(
        self,
        forward: Callable[[Any, See], None],
        chunk: Batch,
        member: Transformation,
        plain: Mapping[str, Tensor],
        rows: _Rows,
    ) -> None:
        found: dict[str, tuple[Tensor, ...]] = {}

        def see(site: Site, tensor: Tensor, real: Tensor | None) -> None:
            before = plain.get(site.key)
            if len(tensor) != chunk.n_samples:
                rows.lost.add(site.key)
            if before is not None and site.key not in rows.lost:
                found[site.key] = self._pair(site, member, before, tensor.detach(), real)

        try:
            forward(member.act(chunk.inputs), see)
        except UsageError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            rows.refuse(member.name, first_line(error))
            return
        for key, values in found.items():
            rows.add(key, member.name, values)

    def _pair(
        self, site: Site, member: Transformation, before: Tensor, after: Tensor, real: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Return after and before, and after and ρ(before) where it acts here; without columns where shapes differ."""
        place = replace(site.place, real=real)
        try:
            followed = member.follow(before, place, is_output=site.is_output)
        except Exception as error:
            raise _cannot_follow(member, site, first_line(error)) from error
        empty = torch.empty(len(after), 0)
        plain = [after, before] if after.shape == before.shape else [empty, empty]
        if followed is not None:
            if followed.shape != after.shape:
                shapes = f"it returns {list(followed.shape)}, and there are {list(after.shape)}"
                raise _cannot_follow(member, site, shapes)
            window = member.window(after, place) if member.window is not None else None
            plain += [after, followed] if window is None else [after * window, followed * window]
        return tuple(self._chosen(site, each, real) for each in plain)

    def _chosen(self, site: Site, tensor: Tensor, real: Tensor | None) -> Tensor:
        if real is not None and site.units_dim is not None and tensor.ndim > real.ndim:
            # What padding holds may be NaN, which no factor of 0 takes away.
            shown = real.reshape(*real.shape, *[1] * (tensor.ndim - 1 - real.ndim)).unsqueeze(site.units_dim)
            tensor = tensor.where(shown, 0)
        flat = tensor.reshape(len(tensor), -1)
        columns = self._columns.get(site.key)
        chosen = flat if columns is None else flat[:, columns[columns < flat.shape[1]].to(flat.device)]
        return chosen.to("cpu", torch.float64 if chosen.dtype == torch.float64 else torch.float32, copy=True)


def _plain(forward: Callable[[Any, See], None], chunk: Batch) -> tuple[dict[str, Tensor], set[str]]:
    """Return copies of what the layers put out, by key, and the keys of those that do not show all samples in order."""

    def outputs(inputs: Any) -> dict[str, Tensor]:
        made: dict[str, Tensor] = {}

        def keep(site: Site, tensor: Tensor, real: Tensor | None) -> None:
            del real
            # A later layer may work in place.
            made[site.key] = tensor.detach().clone()

        forward(inputs, keep)
        return made

    n = chunk.n_samples
    with RowChoices() as choices:
        plain = outputs(chunk.inputs)
    strays = {key for key, rows in plain.items() if len(rows) != n}
    if choices.made and n > 1:
        backwards = outputs(each_sampled(chunk.inputs, n, lambda tensor: tensor.flip(0)))
        strays |= {
            key for key, rows in plain.items() if key not in backwards or not agrees(rows, backwards[key].flip(0))
        }
    return {key: rows for key, rows in plain.items() if key not in strays}, strays


class _Rows:
    """Values by layer and transformation, chunk after chunk."""

    def __init__(self, family: Family, lost: set[str]) -> None:
        self._family = family
        #: Keys of layers that do not show all samples, of all families.
        self.lost = lost
        self._values: dict[tuple[str, str], list[tuple[Tensor, ...]]] = {}
        self.refused: dict[str, str] = {}

    def add(self, key: str, member: str, values: tuple[Tensor, ...]) -> None:
        self._values.setdefault((key, member), []).append(values)

    def refuse(self, member: str, why: str) -> None:
        self.refused[member] = f"the network does not take inputs {member}: {why}"

    def scores(self, sites: Sequence[Site]) -> FamilyScores:
        by_site, members = {}, tuple[Score | str, ...]()
        for site in sites:
            pairs = [self._scored(site, member.name) for member in self._family.members]
            by_site[site.key] = SiteScores(mean_of([pair[0] for pair in pairs]), mean_of([pair[1] for pair in pairs]))
            if site.is_output:
                members = tuple(one if isinstance(one, Score) else other for one, other in pairs)
        return FamilyScores(by_site, members, self.refused)

    def _scored(self, site: Site, member: str) -> tuple[Score | str, Score | str]:
        """Return equivariance and invariance."""
        if member in self.refused:
            return self.refused[member], self.refused[member]
        chunks = self._values.pop((site.key, member), [])
        if site.key in self.lost:
            return ROUTED, ROUTED
        if not chunks or len({tuple(each.shape[1] for each in chunk) for chunk in chunks}) > 1:
            why = "its output has not the same length for all samples" if chunks else "it did not run"
            return why, why
        arrays = [torch.cat(parts).double().numpy() for parts in zip(*chunks, strict=True)]
        changed = "its output changes its shape"
        invariance = score(arrays[0], arrays[1], site) if arrays[0].shape[1] else changed
        if len(arrays) < 4:
            return "the transformation does not act on its output", invariance
        return score(arrays[2], arrays[3], site), invariance


def mean_of(scores: Sequence[Score | str]) -> Score | str:
    """Return the mean of the scores there are, or why there is none."""
    found = [each for each in scores if isinstance(each, Score)]
    if found:
        return Score.mean(found)
    return next((each for each in scores if isinstance(each, str)), "no transformation")


def _cannot_follow(member: Transformation, site: Site, why: str) -> UsageError:
    return UsageError(
        f"on_output or on_layer of a transformation failed: {why}",
        where=f"{member.name} at {site.module or 'the output'}",
        todo="Return a tensor of the output's shape for transformed inputs, or None where it does not act.",
    )
