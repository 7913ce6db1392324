"""What is wrong with a network's tensors at first sight, in plain sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from deepscope.core import Finding, Severity
from deepscope.instruments._anatomy_tensor import TensorAnatomy
from deepscope.subject import Role

_MOSTLY_ZERO = 0.5
_MULTIPLIES = (Role.LINEAR, Role.CONVOLUTION, Role.ATTENTION, Role.RECURRENT, Role.EMBEDDING)
_ADDED = re.compile(
    r"(^|_)(wpe|pos|position|positional|positions)(_|$)|(^|_)pos_?emb|position_emb|positional_emb|token_type|segment_emb"
    r"|^(cls|dist|reg|register|mask|class)_tokens?$|class_embedding|rel(ative)?_(pos|position|attention_bias)"
    r"|relative_attention_bias|bias"
)
_ADAPTER_B = re.compile(r"(^|[./_])lora_(embedding_)?B([./]|$)")
_HIDDEN = "in which training that moved the values by less than some 30 % does not show"
_GAIN = re.compile(r"(\.original0|[._]weight_g|_g)$")


def anatomy_findings(
    tensors: Sequence[TensorAnatomy], duplicates: Sequence[Sequence[str]], *, partial: bool
) -> tuple[Finding, ...]:
    """Broken, empty, untrained, tied and duplicated tensors, worst first."""
    found = [
        *(finding for tensor in tensors for finding in _faults(tensor)),
        *_untrained(tensors, partial=partial),
        *_tied(tensors),
        *_duplicated(duplicates),
    ]
    return tuple(sorted(found, key=lambda finding: finding.rank))


def _faults(tensor: TensorAnatomy) -> Iterator[Finding]:
    if tensor.nonfinite:
        yield Finding(
            "problem",
            "anatomy",
            tensor.name,
            f"{tensor.name} holds values that are NaN or infinite: every output that depends on it is lost.",
            evidence=f"{tensor.nonfinite:,} of {tensor.count:,} values",
            action="Go back to a checkpoint before it; lower the learning rate or clip gradients.",
        )
    elif tensor.zeros == tensor.count > 0:
        yield from _all_zero(tensor)
    elif tensor.is_matrix and tensor.zeros is not None and tensor.zeros > _MOSTLY_ZERO * tensor.count:
        yield Finding(
            "note",
            "anatomy",
            tensor.name,
            f"{tensor.name} is sparse: {100 * tensor.zeros / tensor.count:.0f} % of its values are exactly zero.",
            evidence=f"{tensor.zeros:,} of {tensor.count:,} values are 0",
            action="Expected after pruning; store it as sparse if so.",
        )


def _all_zero(tensor: TensorAnatomy) -> Iterator[Finding]:
    severity: Severity
    if tensor.role == Role.NORM and tensor.name.endswith("weight"):
        severity, effect = "warning", "scales everything by zero: the branch it ends passes nothing"
        action = "Expected only in a fresh network with zero-initialised residual branches."
    elif not tensor.is_matrix:
        return
    elif _ADAPTER_B.search(tensor.name):
        severity, effect = "warning", "is all zero: the adapter does nothing yet"
        action = "Expected before the adapter's training; otherwise check that it was trained and loaded."
    elif _GAIN.search(tensor.name):
        severity, effect = "problem", "is all zero: the weight that it scales is zero, and nothing passes through it"
        action = "Check that it was loaded and trained."
    elif tensor.role in _MULTIPLIES and not _is_added(tensor):
        severity, effect = "problem", "is all zero: nothing passes through it"
        action = "Check that it was loaded and trained; a zero-initialised layer should have moved."
    else:
        severity, effect = "note", "is all zero: it adds nothing"
        action = "Expected of a fresh or unused token, position or bias; otherwise check that it was trained."
    count = "its only value is" if tensor.count == 1 else f"all {tensor.count:,} values are"
    yield Finding(
        severity,
        "anatomy",
        tensor.name,
        f"{tensor.name} {effect}.",
        evidence=f"{count} exactly 0",
        action=action,
    )


def _is_added(tensor: TensorAnatomy) -> bool:
    """Whether it is added to a signal (positions, class and mask tokens, types), going by its name."""
    *layers, last = re.split(r"[./]", tensor.name.lower())
    if last not in {"weight", "embedding"}:
        return bool(_ADDED.search(last))
    return tensor.role == Role.EMBEDDING and bool(layers) and bool(_ADDED.search(layers[-1]))


def _untrained(tensors: Sequence[TensorAnatomy], *, partial: bool) -> Iterator[Finding]:
    judged = [t for t in tensors if t.initialiser is not None]
    fresh = [t for t in judged if t.initialiser]
    trained = [t for t in judged if t.trained]
    if not fresh:
        return
    if len(trained) < len(fresh):
        whole = "chosen part" if partial else "whole network"
        yield Finding(
            "note",
            "anatomy",
            "",
            f"The {whole} looks untrained: no matrix can be told from a fresh initialisation."
            if len(fresh) == len(judged)
            else f"{len(fresh)} of {len(judged)} matrices look untrained: they cannot be told from a fresh "
            f"initialisation{'' if all(t.initialiser_is_sharp for t in fresh) else f', {_HIDDEN}'}.",
            evidence=f"{len(fresh)} of {len(judged)} matrices match the distribution of an initialiser"
            + (f"; {len(trained)} shown to be trained" if len(fresh) < len(judged) else ""),
            source="glorot2010understanding",
            action="Expected before training; otherwise check that the trained weights were loaded.",
        )
        return
    for tensor in fresh:
        yield Finding(
            "warning" if tensor.initialiser_is_sharp else "note",
            "anatomy",
            tensor.name,
            f"{tensor.name} still looks untrained, while other layers do not."
            if tensor.initialiser_is_sharp
            else f"{tensor.name} may be untrained, while other layers are not: it looks like normal noise of an "
            f"initialiser's size, {_HIDDEN}.",
            evidence=(
                f"its {tensor.count:,} values cannot be told from {tensor.initialiser} initialisation "
                f"(size, largest value, distribution and largest singular value)"
            ),
            source="glorot2010understanding",
            action="Check that it is not frozen, that the optimiser has it, and that its weights were loaded.",
        )


def _tied(tensors: Sequence[TensorAnatomy]) -> Iterator[Finding]:
    for tensor in tensors:
        if tensor.tied:
            others = ", ".join(tensor.tied)
            yield Finding(
                "note",
                "anatomy",
                tensor.name,
                f"{tensor.name} and {others} are tied: one tensor under {len(tensor.tied) + 1} names.",
                evidence="the same memory",
                source="press2017using",
                action="Nothing, if meant; it is measured once.",
            )


def _duplicated(groups: Sequence[Sequence[str]]) -> Iterator[Finding]:
    for first, *others in groups:
        yield Finding(
            "note",
            "anatomy",
            first,
            f"{first} and {', '.join(others)} hold exactly the same values.",
            evidence="equal bytes in separate memory",
            source="press2017using",
            action="Tied weights saved twice look like this; two layers trained apart never do.",
        )
