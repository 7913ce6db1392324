"""One sentence: what was examined, and how it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from deepscope.report._change import verdict
from deepscope.report._numbers import how_many, parameters
from deepscope.report._record import Record, cleaned, isolated, layer_of, layers_of


def sentence(record: Record) -> str:
    """Say in one sentence what was examined and how it stands.

    Parameters
    ----------
    record
        An examination as ``Examination.to_dict`` gives it.

    Returns
    -------
    str
        As "LeNet, 61,706 parameters: 2 problems, 3 warnings, most of them in layers conv2–fc1".
    """
    record = cleaned(record)
    subject = record["subject"]
    what = f"{isolated(subject['name']) or 'A network'}, {parameters(subject.get('parameters'))}"
    failed = record.get("failed") or ()
    broken = f"; {_and(failed)} failed" if failed else ""
    if not record["readings"]:
        return f"{what}: nothing could be measured{broken}"
    severities = Counter(finding["severity"] for finding in record["findings"])
    said = [how_many(severities[each], each) for each in ("problem", "warning") if severities[each]]
    if not said:
        notes = f" ({how_many(severities['note'], 'note')})" if severities["note"] else ""
        return f"{what}: no problems, no warnings{notes}{broken}"
    place = _where(record)
    return f"{what}: {', '.join(said)}{place}{broken}"


def comparison_sentence(record: Record) -> str:
    """Say in one sentence what was compared and what differs.

    As "before against after: 4 of 5 tensors differ; new: 1 warning; gone: 1 problem". A tensor that only one of them
    has, or that could not be compared, is not called equal.
    """
    record = cleaned(record)
    parts = [_tensors(record)]
    for word, key in (("new", "findings_new"), ("gone", "findings_gone")):
        found = _worse(record.get(key) or ())
        parts += [f"{word}: {found}"] if found else []
    if len(parts) == 1:
        parts.append("no problem or warning comes or goes")
    return f"{isolated(record['a']['name'])} against {isolated(record['b']['name'])}: {'; '.join(parts)}"


def _tensors(record: Record) -> str:
    weights = record.get("weights") or ()
    if not weights:
        return "no tensors in common"
    verdicts = Counter(map(verdict, weights))
    total, differ, unknown = len(weights), verdicts["differs"], verdicts["unknown"]
    if differ:
        rest = f", {unknown:,} cannot be compared" if unknown else ""
        return f"{differ:,} of {how_many(total, 'tensor')} differ{rest}"
    if unknown == total:
        return "no tensor can be compared"
    if unknown:
        return f"no tensor differs, {unknown:,} of {total:,} cannot be compared"
    return "all tensors in common are equal" if record.get("left_out") else "all tensors are equal"


def _worse(findings: Sequence[Record]) -> str:
    severities = Counter(finding["severity"] for finding in findings)
    return " and ".join(how_many(severities[each], each) for each in ("problem", "warning") if severities[each])


def _where(record: Record) -> str:
    """Name the shortest stretch of layers that holds most of the problems and warnings, where that says something."""
    layers = {layer: index for index, layer in enumerate(layers_of(record))}
    grave = [finding for finding in record["findings"] if finding["severity"] != "note"]
    found = (layer_of(finding["where"], layers) for finding in grave)
    places = sorted(layers[layer] for layer in found if layer is not None)
    if len(places) * 2 <= len(grave):
        return ""
    most = len(grave) // 2 + 1
    first, last = min(
        ((places[start], places[start + most - 1]) for start in range(len(places) - most + 1)),
        key=lambda ends: ends[1] - ends[0],
    )
    inside = sum(first <= place <= last for place in places)
    if last - first + 1 > max(1, len(layers) // 2):
        return ""
    ordered = list(layers)
    names = isolated(ordered[first]), isolated(ordered[last])
    stretch = f"layer {names[0]}" if first == last else f"layers {names[0]}–{names[1]}"
    if len(grave) == 1:
        return f", in {stretch}"
    return f", {'all' if inside == len(grave) else 'most'} of them in {stretch}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
