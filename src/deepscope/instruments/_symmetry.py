"""How far a network and its layers are from symmetric under transformations of the input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from deepscope.core import Instrument, LeftOut, MeasurementError, Needs, Stopwatch, UsageError
from deepscope.instruments._symmetry_baseline import Networks, own_constants, random_networks
from deepscope.instruments._symmetry_budget import fitted
from deepscope.instruments._symmetry_groups import Group, families_of, thinned
from deepscope.instruments._symmetry_known import KNOWN
from deepscope.instruments._symmetry_layout import main_tensor
from deepscope.instruments._symmetry_pass import ROUTED, Comparison, FamilyScores, mean_of
from deepscope.instruments._symmetry_probe import OUTPUT, Probe, Site, probe
from deepscope.instruments._symmetry_reading import FamilySymmetry, LayerSymmetry, Symmetry
from deepscope.instruments._symmetry_scores import Score, SymmetryError, symmetry_error
from deepscope.instruments._symmetry_transformation import Family
from deepscope.linalg import paired_distance
from deepscope.subject import Subject

__all__ = ["SYMMETRY", "Symmetry", "symmetry"]


def symmetry(
    subject: Subject,
    group: Group | None = None,
    *,
    angles: Sequence[float] = (90.0, 180.0, 270.0),
    factors: Sequence[float] = (0.5, 2.0),
    networks: int = 4,
    max_samples: int = 128,
    transformations: int | None = None,
    generator: torch.Generator | None = None,
) -> Symmetry:
    """Measure how far a network's output, and that of each layer, is from symmetric.

    For a transformation g of the input and ρ(g), how the output of a symmetric network would follow, the error is

        E‖f(gx) − ρ(g) f(x)‖² / E‖f(gx) − ρ(g) f(x′)‖²,

    with x′ another sample than x: 0 where f is equivariant, and 1 where f(gx) is no nearer to what it should be than to
    what it should be for another sample. With ρ = 1 it is the error of invariance. For independent samples it is one
    minus the concordance correlation of f(gx) and ρ(g) f(x), and so from 0 to 2. It is compared with networks of the
    same architecture and random weights, so that what the architecture gives is told from what was learnt.

    Parameters
    ----------
    subject
        A model with data.
    group
        What is done to the inputs: one or several of

        * ``"translations"``: shifts by powers of two up to a quarter of the input along all axes, cyclic, so that no
          content is lost and what is undone is exactly undone; a feature map follows by the shift over its stride, and
          is left out where that is no whole number;
        * ``"rotations"``: by ``angles``; ``"flips"``: along each axis; feature maps follow in their own plane;
        * ``"permutations"``: four random ones of positions (padding keeps its place), or of the features of vectors,
          for which only invariance is measured;
        * ``"scalings"``: by ``factors``, which all outputs follow (positive homogeneity of degree 1); ``"signs"``:
          x → −x, likewise (an odd function);
        * a ``Transformation`` of your own.

        Unless given: translations, rotations and flips of images [n, c, h, w]; translations and permutations of
        sequences, [n, length, features] or, before a convolution, [n, channels, length]; permutations of tokens; signs,
        scalings and permutations of vectors.
    angles
        Of rotations, in degrees. Multiples of 90 are exact. Others are interpolated bilinearly, and feature maps are
        compared within the inscribed circle; what interpolation loses is measured by turning the inputs there and back
        (``.of("rotations").interpolation``).
    factors
        Of scalings.
    networks
        With random weights, for the baseline; 0 for none, and from 3 on there is an interval.
    max_samples
        The first so many samples are run.
    transformations
        How many of each family, evenly from the last on; all unless given.
    generator
        Its initial seed seeds permutations, random weights, which values of a large layer are compared, and what is
        random in the model's evaluation mode.

    Returns
    -------
    Symmetry
        ``error`` and ``baseline``, the mean over families, ``of(family)`` and by layer the columns ``name, kind,
        equivariance, equivariance_stderr, equivariance_baseline, equivariance_baseline_low,
        equivariance_baseline_high``, the same for ``invariance``, and ``status``.

    Raises
    ------
    UsageError
        An unknown group, or too few samples or networks; a user's transformation fails.
    DoesNotApplyError
        None of the transformations can be applied to such inputs.
    MeasurementError
        There is no model or no data, the model refuses the data, or is random in evaluation mode.

    Notes
    -----
    The model runs in evaluation mode. Random weights come from ``reset_parameters`` of the modules that have it, in a
    copy of the network; parameters without it have their entries shuffled (``.shuffled``). ``baseline_low`` and
    ``baseline_high`` hold one more such network with 95 % confidence (Student t, of the roots). Standard errors are
    over samples, by the delta method. A symmetry holds to float accuracy where the error is at most
    2 (32 ε L)² E(‖f(gx)‖² + ‖ρ f(x)‖²) over the same denominator: L layers of relative rounding error 32 ε, the root of
    a thousand terms.
    A layer's output is that of a leaf module; it follows in space where it has as many dimensions as the input. Of a
    layer with many values some are compared, drawn at random, the same for all networks.
    Where random weights are symmetric to float accuracy and the network is not, one network more is run: with random
    weights, and the network's own values of what begins constant. That tells a symmetry of the architecture from one
    of biases that begin at 0.
    Cost: (1 + networks) · (1 + transformations) forward passes. Memory: the outputs of all layers for a part of the
    samples (256 MB), up to 512 MB of values, and a copy of the network.
    Sources: ``lenc2015understanding``, ``goodfellow2009measuring``, ``cohen2016group``.

    Examples
    --------
    >>> x = torch.tensor([[1.0, -2.0], [0.5, 1.0], [2.0, 2.0], [-1.0, 0.0]])
    >>> network = torch.nn.Sequential(torch.nn.Linear(2, 8, bias=False), torch.nn.ReLU())
    >>> seen = symmetry(Subject(network, data=[(x, None)]), ["scalings", "signs"])
    >>> seen.of("scalings").output.value, seen.of("signs").output.value > 0.5
    (0.0, True)
    """
    subject.require(Needs.MODEL | Needs.DATA, "symmetry")
    for name, value, least in (
        ("max_samples", max_samples, 1),
        ("networks", networks, 0),
        ("transformations", transformations, 1),
    ):
        if value is not None and value < least:
            raise UsageError(f"{name} must be at least {least}, not {value}", where="symmetry")
    if not all(math.isfinite(each) for each in (*angles, *factors)) or 0 in factors:
        raise UsageError(
            f"angles={angles}, factors={factors}", where="symmetry", todo="Give finite numbers, factors not 0."
        )
    seed = generator.initial_seed() if generator is not None else 0
    stopwatch = Stopwatch()
    with stopwatch, subject.undisturbed(seed=seed):
        seen = probe(subject, max_samples)
        stopwatch.count(forward=1)
        families = [
            thinned(family, transformations) for family in families_of(seen.layout, group, angles, factors, seed)
        ]
        comparison = Comparison(seen, sum(len(family.members) for family in families), seed, stopwatch)
        if comparison.is_random(subject):
            raise MeasurementError(
                "the network's outputs are random in evaluation mode",
                where=subject.name,
                todo="Switch the randomness off, or fix its seed in the forward pass.",
            )
        own = comparison.run(subject, families)
        others, shuffled, status = random_networks(subject, comparison, families, networks, seed)
        interpolation = [_interpolation(seen, family) for family in families]
        sites = [site for site in seen.sites if not site.is_output]
        measured = [
            _family(family, scores, [each[index] for each in others], sites, lost)
            for index, (family, scores, lost) in enumerate(zip(families, own, interpolation, strict=True))
        ]
        constants = own_constants(subject, comparison, families, measured, seed)
        inputs_differ = _inputs_differ(seen)
    return Symmetry(
        subject=subject.name,
        left_out=tuple(_left_out(subject, seen, comparison, families, own, others, shuffled)),
        cost=stopwatch.cost,
        inputs=seen.layout.kind,
        families=tuple(replace(each, own_constants=constants.get(each.name)) for each in measured),
        layers=tuple(_layer(site, own, others) for site in sites),
        n_samples=seen.n_samples,
        n_networks=len(others),
        shuffled=shuffled,
        inputs_differ=inputs_differ,
        baseline_status=status,
    )


def _family(
    family: Family, own: FamilyScores, others: Sequence[FamilyScores], sites: Sequence[Site], lost: float | None
) -> FamilySymmetry:
    missing = "the network puts out no floating-point tensor with a row per sample"
    equivariance, invariance = _errors(OUTPUT, [own], [[each] for each in others], missing)
    is_equivariance = equivariance.value is not None
    said = [*([family.status] if family.status != "ok" else []), *own.refused.values()]
    return FamilySymmetry(
        name=family.name,
        kind="equivariance" if is_equivariance else "invariance",
        output=equivariance if is_equivariance else invariance,
        invariance=invariance,
        members=tuple(member.name for member in family.members),
        member_errors=tuple(each.value if isinstance(each, Score) else None for each in own.members)
        or (None,) * len(family.members),
        layers=tuple(_layer(site, [own], [[each] for each in others]) for site in sites),
        own_constants=None,
        interpolation=lost,
        status="; ".join(dict.fromkeys(said)) or "ok",
    )


def _layer(site: Site, own: Sequence[FamilyScores], others: Networks) -> LayerSymmetry:
    equivariance, invariance = _errors(site.key, own, others, "it did not run")
    return LayerSymmetry(
        name=site.key, kind=site.kind, module=site.module, equivariance=equivariance, invariance=invariance
    )


def _errors(
    key: str, own: Sequence[FamilyScores], others: Networks, missing: str
) -> tuple[SymmetryError, SymmetryError]:
    """Return equivariance and invariance of one output, the mean over families."""

    def of(scores: Sequence[FamilyScores], what: str) -> Score | str:
        return mean_of([getattr(each.sites[key], what) if key in each.sites else missing for each in scores])

    return (
        symmetry_error(of(own, "equivariance"), [of(each, "equivariance") for each in others]),
        symmetry_error(of(own, "invariance"), [of(each, "invariance") for each in others]),
    )


def _interpolation(seen: Probe, family: Family) -> float | None:
    """Return how far inputs are from themselves after an interpolated turn there and back, the mean over angles."""
    found = []
    for member in family.members:
        if member.undo is None:
            continue
        pairs = [
            [
                main_tensor(inputs, chunk.n_samples).flatten(1)
                for inputs in (chunk.inputs, member.undo(member.act(chunk.inputs)))
            ]
            for chunk in seen.chunks
        ]
        arrays = [torch.cat(parts).double().cpu().numpy() for parts in zip(*pairs, strict=True)]
        distance = paired_distance(*arrays)
        if distance is not None:
            found.append(distance.value)
    return sum(found) / len(found) if found else None


def _inputs_differ(seen: Probe) -> bool:
    tensors = [main_tensor(chunk.inputs, chunk.n_samples) for chunk in seen.chunks]
    first = tensors[0][:1]
    return any(bool((tensor != first).any()) for tensor in tensors)


def _left_out(
    subject: Subject,
    seen: Probe,
    comparison: Comparison,
    families: Sequence[Family],
    own: Sequence[FamilyScores],
    others: Networks,
    shuffled: Sequence[str],
) -> Iterator[LeftOut]:
    yield from seen.left_out
    for family, scores in zip(families, own, strict=True):
        if family.status != "ok":
            yield LeftOut(family.name, family.status)
        for member, why in scores.refused.items():
            yield LeftOut(f"{family.name}: {member}", why)
    for name, width, kept in comparison.cut:
        yield LeftOut(name, f"all but {kept:,} of its {width:,} values, by chance")
    for site in seen.sites:
        if any(scores.sites[site.key].invariance == ROUTED for network in others for scores in network):
            yield LeftOut(site.key, f"no baseline: with random weights {ROUTED}")
    for name in shuffled:
        yield LeftOut(name, "no reset_parameters: for the baseline its entries are in a random order")
    yield from subject.left_out


def _expected_cost(
    subject: Subject, *, networks: int = 4, max_samples: int = 128, transformations: int | None = None
) -> str:
    del subject
    passes = "some dozen forward passes" if transformations is None else "a few forward passes"
    random = f" and of {networks} random ones" if networks else ""
    return f"{passes} of the network{random} over up to {max_samples:,} samples"


SYMMETRY = Instrument(
    name="symmetry",
    title="Symmetry",
    measure=symmetry,
    reading=Symmetry,
    needs=Needs.MODEL | Needs.DATA,
    formula=(
        "E‖f(gx) − ρ(g) f(x)‖² / E‖f(gx) − ρ(g) f(x′)‖² over samples x and x′ ≠ x, the mean over the transformations g "
        "of a family: 0 symmetric, 1 as different as another sample's output. Equivariance: ρ(g) moves feature maps as "
        "g moves the input, by the shift over the stride, and multiplies outputs as g multiplies inputs; invariance: "
        "ρ = 1. Baseline: networks of the same architecture with random weights, with the 95 % interval of one more of "
        "them. To float accuracy: at most 2 (32 ε L)² E(‖f(gx)‖² + ‖ρ f(x)‖²) over the same denominator, L layers "
        "deep. A problem where outputs of different samples are equal to rounding, and with random weights are not; a "
        "warning where random weights are symmetric to float accuracy and these are not; a note where random weights "
        "are not so either with this network's own values of what begins constant, such as biases of 0."
    ),
    how_to_read=(
        "For each family of transformations, how far each layer, and at the right the whole network, is from following "
        "it (or from not noticing it, where following means nothing), and the grey range of networks with random "
        "weights. Below the grey a symmetry was learnt, within it the architecture gives it; 1 is as different as "
        "another sample."
    ),
    source="lenc2015understanding",
    expected_cost=_expected_cost,
    fit=fitted,
    efforts={
        "quick": {"networks": 4, "max_samples": 32},
        "standard": {"networks": 8, "max_samples": 128},
        "deep": {"networks": 16, "max_samples": 1024},
    },
    rows=("gdl-blueprint",),
    pinned_by="tests/instruments/test_symmetry_domains.py::test_every_layer_of_five_domains_follows_its_symmetry",
    known=KNOWN,
)
