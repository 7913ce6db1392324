"""The contract of DESIGN.md that every instrument keeps; a new one is tested by being listed."""

from __future__ import annotations

import ast
import json
import pickle
import random
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from subjects import SUBJECTS

import deepscope
from deepscope import Instrument, Subject
from deepscope.core import BUDGETS, SEVERITIES, DoesNotApplyError, Known, LeftOut, MeasurementError, cite, pack, unpack
from deepscope.figures import to_svg
from deepscope.instruments import INSTRUMENTS
from deepscope.lab._identity import code_of
from deepscope.subject import measure_weight, move

ROOT = Path(__file__).parents[2]
EACH = pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda i: i.name)
PAIRS = pytest.mark.parametrize(
    ("instrument", "make"),
    [pytest.param(i, make, id=f"{i.name}-{name}") for i in INSTRUMENTS for name, make in SUBJECTS.items()],
)
#: A network that each instrument measures beside the plainest. The convolutional one holds a GELU: where linear regions
#: are counted, there are none.
PLAIN = {each.name: "two inputs" if each.name == "regions" else "convolutional" for each in INSTRUMENTS}
KNOWN = pytest.mark.parametrize(
    ("instrument", "known"), [pytest.param(i, k, id=f"{i.name}-{k.name}") for i in INSTRUMENTS for k in i.known]
)


def measure(instrument: Instrument, subject: Subject, seed: int = 0) -> Any:
    try:
        return instrument.measure(subject, generator=torch.Generator().manual_seed(seed))
    except DoesNotApplyError as error:
        pytest.skip(str(error))


def reading_of(instrument: Instrument, make: Callable[[], Subject]) -> Any:
    """Return what an instrument measures of a fresh subject; what tests only look at is measured once."""
    return _reading(instrument.name, make)


@cache
def _reading(name: str, make: Callable[[], Subject]) -> Any:
    (instrument,) = (each for each in INSTRUMENTS if each.name == name)
    return measure(instrument, make())


@cache
def examined(name: str) -> deepscope.Examination:
    return deepscope.examine(SUBJECTS[name](), seed=0)


@EACH
def test_applies_to_plain_networks_and_says_why_where_it_does_not(instrument: Instrument) -> None:
    for name, make in SUBJECTS.items():
        subject = make()
        before = state_of(subject)
        refusal = None
        try:
            instrument.measure(subject, generator=torch.Generator())
        except DoesNotApplyError as error:
            refusal = error
        assert same(before, state_of(subject))
        if refusal is not None:
            assert name not in ("mlp", PLAIN[instrument.name])
            assert refusal.what
            assert refusal.todo


@KNOWN
def test_known_answers(instrument: Instrument, known: Known) -> None:
    reading = measure(instrument, known.make())
    assert known.holds(reading)
    worse = [finding for finding in reading.findings() if finding.severity != "note"]
    if known.fault is None:
        assert worse == []
    else:
        assert known.fault in {finding.where for finding in worse}


@EACH
def test_has_known_subjects_good_and_bad(instrument: Instrument) -> None:
    assert any(known.fault is None for known in instrument.known)
    assert any(known.fault is not None for known in instrument.known)


@PAIRS
def test_same_generator_same_reading(instrument: Instrument, make: Callable[[], Subject]) -> None:
    assert measure(instrument, make()) == reading_of(instrument, make)


@PAIRS
def test_another_network_gives_another_reading(instrument: Instrument, make: Callable[[], Subject]) -> None:
    other = make()
    with torch.no_grad():
        for parameter in other.model.parameters():
            parameter.mul_(1.5)
    assert reading_of(instrument, make) != measure(instrument, other)


def state_of(subject: Subject) -> dict[str, Any]:
    model = subject.model
    return {
        "parameters": [(n, p.detach().clone(), p._version, p.requires_grad) for n, p in model.named_parameters()],
        "buffers": [(n, b.clone(), id(b)) for n, b in model.named_buffers()],
        "gradients": [(id(p.grad), None if p.grad is None else p.grad.clone()) for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()],
        "attributes": [sorted(vars(m)) for m in model.modules()],
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002 - the legacy generator is what must not move
        "torch": torch.get_rng_state(),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


@PAIRS
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_leaves_the_subject_undisturbed(instrument: Instrument, make: Callable[[], Subject], training: bool) -> None:
    subject = make()
    subject.model.train(training)
    first, *rest = subject.model.parameters()
    first.grad = torch.ones_like(first)
    rest[-1].requires_grad_(False)
    before = state_of(subject)
    measure(instrument, subject)
    assert same(before, state_of(subject))


@EACH
def test_leaves_the_subject_undisturbed_when_it_fails(instrument: Instrument) -> None:
    subject = SUBJECTS["mlp"]()
    subject.data = [(torch.randn(4, 99), torch.zeros(4).long())]
    before = state_of(subject)
    with suppress(MeasurementError):
        measure(instrument, subject)
    assert same(before, state_of(subject))


def doubled(subject: Subject) -> Subject:
    def double(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.double() if value.is_floating_point() else value
        if isinstance(value, dict):
            return {key: double(item) for key, item in value.items()}
        return type(value)(double(item) for item in value) if isinstance(value, (tuple, list)) else value

    subject.model.double()
    data = [double(batch) for batch in subject.data]
    return Subject(subject.model, data, subject.loss, count=subject.count)


def assert_close(single: pd.DataFrame, other: pd.DataFrame) -> None:
    """Check that two tables agree to float32's rounding.

    Each operation in float32 errs by 6e-8; sums of some hundreds of terms, through a handful of layers forward and
    back, by at most some 6e-8 · 300 · 5 = 1e-4 where all errors add up, and nearer 2e-7, the worst seen here, where
    they cancel. A mean near zero errs by a share of its terms, which are of order one: 6e-8 · √300 = 1e-6, and ten
    times that is allowed. A share counts what lies beyond a threshold, where rounding moves some across it: 2 %.
    """
    assert list(single["name"]) == list(other["name"])
    for column in single.columns.drop("name"):
        if single[column].dtype.kind == "f" and column != "bytes":
            rtol = 2e-2 if column.endswith("_fraction") else 1e-4
            a, b = single[column].to_numpy(float), other[column].to_numpy(float)
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-5, equal_nan=True, err_msg=column)


@PAIRS
def test_float64_agrees_with_float32(instrument: Instrument, make: Callable[[], Subject]) -> None:
    assert_close(reading_of(instrument, make).table(), measure(instrument, doubled(make())).table())


@PAIRS
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_cpu(instrument: Instrument, make: Callable[[], Subject]) -> None:
    host, device = make(), make()
    device.model.cuda()
    # The same rounding in another order: TF32, which keeps 11 bits, is off for matrix products unless asked for.
    assert not torch.backends.cuda.matmul.allow_tf32
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        assert_close(measure(instrument, host).table(), measure(instrument, device).table())


@PAIRS
def test_round_trip_through_disk_is_exact(instrument: Instrument, make: Callable[[], Subject], tmp_path: Path) -> None:
    reading = reading_of(instrument, make)
    reading.save(tmp_path)
    again = instrument.reading.load(tmp_path)
    assert again == reading
    assert again.cost == reading.cost
    json.loads((tmp_path / "reading.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


@EACH
def test_unmet_needs_are_a_clear_error(instrument: Instrument, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", w=np.ones((4, 4), np.float32))
    weights_only = Subject.from_checkpoint(tmp_path / "w.npz")
    if instrument.needs & ~weights_only.offers:
        with pytest.raises(MeasurementError, match=f"{instrument.name} needs"):
            measure(instrument, weights_only)
    else:
        assert len(measure(instrument, weights_only).table()) + len(measure(instrument, weights_only).left_out) >= 1


@EACH
def test_a_part_of_the_subject_is_a_part_of_the_table(instrument: Instrument) -> None:
    subject = SUBJECTS["mlp"]()
    whole, part = measure(instrument, subject).table(), measure(instrument, subject.only("3*")).table()
    assert 0 < len(part) < len(whole)
    assert set(part["name"]) == {name for name in whole["name"] if name.startswith("3")}


@PAIRS
def test_shows_itself(instrument: Instrument, make: Callable[[], Subject]) -> None:
    reading = reading_of(instrument, make)
    table = reading.table()
    assert table.columns[0] == "name"
    assert table["name"].is_unique
    assert reading.summary()
    assert "<table" in reading._repr_html_()
    assert table["name"].iloc[0] in str(reading)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = to_svg(reading.plot(), prefix="x")
    assert svg.lstrip().startswith("<svg")
    assert len(svg) < 400_000


@PAIRS
def test_findings_and_ledger_are_complete_sentences_about_real_places(
    instrument: Instrument, make: Callable[[], Subject]
) -> None:
    subject = make()
    reading = reading_of(instrument, make)
    places = {"", *(name for name, _ in subject.model.named_modules()), *(w.name for w in subject.weights())}
    for finding in reading.findings():
        assert finding.severity in SEVERITIES
        assert finding.instrument == instrument.name
        assert finding.where in places
        assert finding.message.endswith(".")
        assert finding.evidence
        assert not finding.source or cite(finding.source)
    for name, reason in reading.left_out:
        assert name
        assert reason


@PAIRS
def test_every_weight_is_measured_or_in_the_ledger(instrument: Instrument, make: Callable[[], Subject]) -> None:
    if instrument.per_weight is None:
        pytest.skip("measures layers' outputs, not tensors")
    subject = make()
    reading = reading_of(instrument, make)
    accounted = {*reading.table()["name"], *(name for name, _ in reading.left_out)}
    every = {name for name, _ in subject.model.named_parameters(remove_duplicate=False)}
    assert every <= accounted


@PAIRS
def test_what_a_tensor_gives_can_be_sent_and_stored(instrument: Instrument, make: Callable[[], Subject]) -> None:
    if instrument.per_weight is None:
        pytest.skip("measures layers' outputs, not tensors")
    seeded = {"seed": 0} if instrument.per_weight.seeded else {}
    step = pickle.loads(pickle.dumps(partial(instrument.per_weight.step, **seeded)))
    for weight in make().weights():
        for record in measure_weight(weight, {"it": step})["it"].records:
            if isinstance(record, LeftOut):
                continue
            assert type(record) is instrument.per_weight.record
            plain, arrays = pack(record)
            again, other = pack(unpack(type(record), json.loads(json.dumps(plain)), arrays))
            assert again == json.loads(json.dumps(plain))
            assert other.keys() == arrays.keys()
    assert code_of(instrument.per_weight.step)


@EACH
def test_examine_and_the_function_alone_agree(instrument: Instrument) -> None:
    name = PLAIN[instrument.name]
    alone = deepscope.examine(SUBJECTS[name](), seed=0, instruments=[instrument])
    assert examined(name).readings[instrument.name] == alone.readings[instrument.name]


@EACH
def test_declares_itself_fully(instrument: Instrument) -> None:
    assert cite(instrument.source)
    assert set(instrument.efforts) <= set(BUDGETS)
    for text in (instrument.title, instrument.formula, instrument.how_to_read, instrument.measure.__doc__):
        assert text
    assert instrument.how_to_read.count(".") >= 2
    for word in ("Parameters", "Returns", "Cost"):
        assert word in instrument.measure.__doc__
    file, _, test = instrument.pinned_by.partition("::")
    functions = [n.name for n in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(n, ast.FunctionDef)]
    assert test in functions


def test_the_comparison_of_states_sees_a_change() -> None:
    subject = SUBJECTS["convolutional"]()
    before = state_of(subject)
    subject.predict(move(next(iter(subject.data))[0], subject.device))
    assert not same(before, state_of(subject)), "a forward pass in training mode moves batch norm's statistics"
