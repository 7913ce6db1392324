"""How many layers and samples a budget allows the shapes of to be measured."""

from __future__ import annotations

from deepscope.instruments._affordable import FEWEST, Keywords
from deepscope.instruments._labels import labels_of
from deepscope.instruments._topology_clouds import LARGEST
from deepscope.subject import FirstSamples, Subject, collect, forward_work

#: What an effort is first relieved of: layers beyond these, evenly spaced, and random divisions beyond those.
_LAYERS, _PERMUTATIONS = 16, 20
#: Clouds of a layer at most, where samples have classes.
_CLASSES = 10


def fitted(subject: Subject, effort: Keywords, operations: float) -> Keywords:
    """Return as much of an effort as the operations allow.

    Random divisions beyond 20 go first, then layers beyond 16, then samples. What is no product of matrices is counted
    as the products that a core does in the same time: measured.
    """
    with subject.undisturbed():
        widths = collect(subject, 1).widths
    forward = forward_work(subject).operations
    clouds = _CLASSES if _has_classes(subject) else 1
    layers = min(len(widths), effort.get("max_layers", len(widths)))
    # Of wide layers 4,096 features at most are kept.
    width = sum(min(each, 4096) for each in widths.values()) / max(1, len(widths))

    def of_layer(each: Keywords) -> float:
        m = min(LARGEST, each["samples"] / (2 * clouds))
        shape = 260.0 * m**2 + 16_000.0 * min(each["landmarks"], m) ** 2
        mixed = each["permutations"] if clouds > 1 else 0
        return float(each["samples"] ** 2 * (1300.0 + width) + clouds * (each["subsamples"] + mixed) * shape)

    def within(each: Keywords) -> int:
        """Return of how many layers."""
        return int((operations - forward * each["samples"]) / of_layer(each))

    fewer = {**effort, "permutations": min(_PERMUTATIONS, effort["permutations"])}
    for each in (effort, fewer):
        if within(each) >= layers:
            return each
    least = min(_LAYERS, layers)
    if within(fewer) >= least:
        return {**fewer, "max_layers": within(fewer)}
    low, high = FEWEST, effort["samples"]
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if within({**fewer, "samples": middle}) >= least else (low, middle - 1)
    return {**fewer, "max_layers": least, "samples": low}


def _has_classes(subject: Subject) -> bool:
    first = next(iter(FirstSamples(subject, FEWEST)))
    return labels_of([first.targets], first.n_samples).classes is not None
