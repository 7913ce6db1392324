"""The frequency instrument: waves and straight lines, intervals, targets and errors, bad input, findings."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import DoesNotApplyError, MeasurementError, UsageError
from deepscope.instruments import Frequency, frequency
from deepscope.linalg import filtered_errors, line_spectrum
from deepscope.subject import Subject


class Function(nn.Module):
    """Is a given function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(*widths: int, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.Tanh())]
        return nn.Sequential(*parts[:-1])


def of(model: nn.Module, x: Tensor | None = None, y: Tensor | None = None, loss: Any = None) -> Subject:
    x = noise(40, 3) if x is None else x
    return Subject(
        model, data=[(x[:25], None if y is None else y[:25]), (x[25:], None if y is None else y[25:])], loss=loss
    )


def test_a_network_that_is_a_wave_has_its_frequency() -> None:
    """In cycles per unit along a direction, whatever the line: within the window's width of one cycle per line."""
    wave = torch.tensor([2.0, -1.0, 0.5])
    subject = of(Function(lambda x: torch.sin(2 * math.pi * (x @ wave) + 0.3)[:, None]))
    a, b = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([4.0, -3.0, 1.0])
    found = frequency(subject, line=(a, b))
    cycles = abs(float(wave @ (b - a)))
    assert found.length == pytest.approx(float((b - a).norm()), rel=1e-6)
    assert abs(found.output.centroid - cycles) < 0.5
    assert found.output.spectrum[math.floor(cycles) - 1 : math.ceil(cycles) + 2].sum() > 0.98
    assert abs(found.output.centroid / found.length - cycles / float((b - a).norm())) < 0.5 / found.length
    assert found.layers[0].centroid == found.output.centroid
    assert (found.n_lines, found.lines, found.output.status) == (1, "as given", "one line: no standard error")


def test_each_output_has_its_own() -> None:
    model = Function(lambda x: torch.cat([torch.sin(2 * math.pi * k * x) for k in (4, 9, 15)], dim=1))
    found = frequency(of(model, torch.linspace(0, 1, 40)[:, None]), line=([0.0], [1.0]))
    assert [round(each.centroid, 1) for each in found.outputs] == [4, 9, 15]
    # Each has the variance ½: together the mean.
    assert found.output.centroid == pytest.approx(28 / 3, abs=0.05)
    assert found.output.units == 3


def test_linear_networks_have_none_and_hidden_units_bend() -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    found = frequency(of(model), generator=seeded())
    first, rectified, *_ = found.layers
    # The rounding of single precision has no frequency.
    assert (first.centroid, first.centroid_low, first.centroid_high) == (0, 0, 0)
    assert first.straight_share == pytest.approx(1, rel=1e-12)
    assert not first.spectrum.any()
    assert dict(found.glance()[0].values)["0"] == 0
    assert rectified.centroid > 0.01
    assert list(found.table()["name"]) == ["0", "1", "2", "3", "4"]
    for layer in found.layers:
        assert layer.straight_share + layer.spectrum.sum() == pytest.approx(1, rel=1e-9)
        assert layer.high_share == pytest.approx(layer.spectrum[5:].sum(), rel=1e-9)
        assert layer.centroid == pytest.approx(layer.spectrum @ found.frequencies, rel=1e-9)


def test_what_bends_more_than_rounding_does_has_a_frequency() -> None:
    """x + δ sin(2π·3x): the sine's share of the variance is of the order of δ²."""
    for delta in (1e-7, 1e-4):
        model = Function(lambda x, delta=delta: x + delta * torch.sin(6 * math.pi * x)).double()
        found = frequency(of(model, noise(8, 1).double()), line=([0.0], [1.0]), points=64).output.centroid
        assert found == 0 if delta == 1e-7 else delta**2 < found < 100 * delta**2


def test_rows_are_what_the_layers_put_out_along_the_lines() -> None:
    """A twin: the very lines by hand, every layer's outputs, sums over lines."""
    model, x = network(3, 6, 2), noise(9, 3)
    found = frequency(of(model, x), lines=4, points=32, length=2.0, generator=seeded(5))
    inputs = []

    class Spy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            inputs.append(x)
            return model(x)

    frequency(of(Spy(), x), lines=4, points=32, length=2.0, generator=seeded(5))
    along = inputs[0].reshape(4, 32, 3)
    for name, count in (("1", 2), ("2", 3)):
        spectra = [line_spectrum(model[:count](each)) for each in along]
        power = sum(each.power.sum(dim=0) for each in spectra).numpy()
        whole = power.sum() + sum(float(each.straight.sum()) for each in spectra)
        row = next(each for each in found.layers if each.name == name)
        np.testing.assert_allclose(row.spectrum, power / whole, rtol=1e-6, atol=1e-12)
        without = []
        for left_out in range(4):
            kept = [each for index, each in enumerate(spectra) if index != left_out]
            total = sum(float(each.power.sum() + each.straight.sum()) for each in kept)
            without.append(sum(float((each.power @ torch.arange(17.0).double()).sum()) for each in kept) / total)
        expected = math.sqrt(3 / 4 * np.sum((np.array(without) - np.mean(without)) ** 2))
        assert row.centroid_stderr == pytest.approx(expected, rel=1e-5)
    # Points at (j + ½)/32 of a length of 2, centred halfway between two samples, along their difference.
    for points in along:
        steps = (points[1:] - points[:-1]).norm(dim=1)
        torch.testing.assert_close(steps, torch.full((31,), 2 / 32), rtol=1e-4, atol=0)
        middle, way = points[15:17].mean(dim=0), (points[-1] - points[0]) / (points[-1] - points[0]).norm()
        pairs = [(i, j) for i in range(9) for j in range(9) if i < j]
        fits = [
            torch.allclose((x[i] + x[j]) / 2, middle, atol=1e-5)
            and abs(float((x[j] - x[i]) @ way)) == pytest.approx(float((x[j] - x[i]).norm()), rel=1e-4)
            for i, j in pairs
        ]
        assert sum(fits) == 1


def test_intervals_hold_what_many_lines_find() -> None:
    model, x = network(4, 30, 30, 1, seed=1), noise(400, 4)
    with torch.no_grad():
        model[0].weight.mul_(6)
    subject = of(model, x)
    truth = frequency(subject, lines=600, points=32, generator=seeded(1000)).output.centroid
    inside = 0
    for seed in range(40):
        row = frequency(subject, lines=24, points=32, generator=seeded(seed)).output
        inside += row.centroid_low <= truth <= row.centroid_high
    # Binomial with 95 % of 40, of which 33 or fewer come once in 150; the truth has a fifth of an interval's error.
    assert inside >= 34


def test_units_of_the_inputs_do_not_matter() -> None:
    x, y = noise(40, 3), noise(40, 2, seed=1)
    model = network(3, 20, 2)
    scaled = Function(lambda x: model(x / 50))
    one, other = (frequency(of(each, s * x, y), generator=seeded()) for each, s in ((model, 1), (scaled, 50)))
    assert other.output.centroid == pytest.approx(one.output.centroid, rel=1e-4)
    assert other.length == pytest.approx(50 * one.length, rel=1e-6)
    for a, b in zip(one.bands, other.bands, strict=True):
        assert b.width == pytest.approx(50 * a.width, rel=1e-6)
        assert b.e_low == pytest.approx(a.e_low, rel=1e-4)


def test_directions_and_seeds() -> None:
    subject = of(network(3, 20, 2))
    random, again = (frequency(subject, directions="random", lines=6, generator=seeded()) for _ in range(2))
    assert random == again
    assert random.lines == "in random directions"
    assert random.length == pytest.approx(frequency(subject, lines=2).length)
    other = frequency(subject, directions="random", lines=6, generator=seeded(1))
    assert other.output.centroid != random.output.centroid
    inputs, x = [], noise(40, 3)

    class Spy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            inputs.append(x)
            return x.sum(dim=1, keepdim=True)

    frequency(of(Spy(), x), directions="random", lines=6, points=32, length=2.0, generator=seeded())
    ways = []
    for line in inputs[0].reshape(6, 32, 3):
        steps = (line[1:] - line[:-1]).norm(dim=1)
        torch.testing.assert_close(steps, torch.full((31,), 2 / 32), rtol=1e-4, atol=0)
        assert (x - line[15:17].mean(dim=0)).norm(dim=1).min() < 1e-6
        ways.append((line[-1] - line[0]) / (line[-1] - line[0]).norm())
    # Of six directions in three dimensions no two are the same, and none is an axis.
    cosines = torch.stack(ways) @ torch.cat([torch.stack(ways), torch.eye(3)]).T
    assert ((cosines.abs() > 0.999).sum(dim=1) == 1).all()


def test_the_spectrum_of_a_target_function_and_of_what_is_missed() -> None:
    x = torch.linspace(0, 1, 40)[:, None]

    def wave(k: int) -> Callable[[Tensor], Tensor]:
        return lambda x: torch.sin(2 * math.pi * k * x)

    found = frequency(of(Function(wave(5)), x), line=([0.0], [1.0]), target=lambda x: wave(5)(x) + 0.5 * wave(12)(x))
    assert found.output.centroid == pytest.approx(5, abs=0.05)
    assert found.error.centroid == pytest.approx(12, abs=0.05)
    # Variances ½ and ⅛.
    assert found.target.centroid == pytest.approx((5 + 12 / 4) / 1.25, abs=0.05)
    with pytest.raises(UsageError, match="target function"):
        frequency(of(Function(wave(5)), x), target=lambda x: x.repeat(1, 2))


def test_low_and_high_parts_are_those_of_the_filter_on_the_data() -> None:
    x, y = noise(40, 3), noise(40, 2, seed=1)
    model = network(3, 20, 2)
    found = frequency(of(model, x, y), widths=[2.0, 0.7], generator=seeded())
    squared = torch.cdist(x.double(), x.double()).square().numpy()
    for band, width in zip(found.bands, (0.7, 2.0), strict=True):
        expected = filtered_errors(squared, width, y.numpy(), model(x).detach().numpy())
        assert band.e_low == pytest.approx(expected.e_low, rel=1e-6)
        assert band.e_high_stderr == pytest.approx(expected.e_high_stderr, rel=1e-6)
        assert band.target.null_mean == pytest.approx(expected.target.null_mean, rel=1e-9)
    assert (found.n_samples, found.bands_status) == (40, "ok")
    assert len(found.bands_table()) == 2


@pytest.mark.parametrize(
    ("loss", "outputs", "read_as"),
    [
        (functional.cross_entropy, lambda p: p.log(), "softmax"),
        (None, lambda p: p.log() + 3, "softmax"),
        (nn.CrossEntropyLoss(), lambda p: p.log() - 7, "softmax"),
        (functional.nll_loss, lambda p: p.log(), "softmax"),
        (None, lambda p: p, "as they are"),
        (functional.mse_loss, lambda p: p, "as they are"),
    ],
)
def test_classes_are_compared_to_probabilities(loss: Any, outputs: Callable[[Tensor], Tensor], read_as: str) -> None:
    x, classes = noise(40, 3), torch.arange(40) % 3
    model = network(3, 8, 3)

    def probabilities(x: Tensor) -> Tensor:
        return torch.softmax(model(x), dim=1)

    found = frequency(of(Function(lambda x: outputs(probabilities(x))), x, classes, loss), widths=[1.0])
    squared = torch.cdist(x.double(), x.double()).square().numpy()
    expected = filtered_errors(squared, 1.0, np.eye(3)[classes], probabilities(x).detach().numpy())
    assert found.bands[0].e_low == pytest.approx(expected.e_low, rel=1e-5)
    assert read_as in found.read_as


def test_one_logit_for_two_classes() -> None:
    x = noise(40, 3)
    classes = (x[:, 0] > 0).long()
    for loss, steep in ((None, 20.0), (functional.binary_cross_entropy_with_logits, 20.0)):
        found = frequency(of(Function(lambda x, s=steep: s * x[:, :1]), x, classes, loss))
        assert found.bands[0].e_low < 0.2
        assert "logistic" in found.read_as
    values = frequency(
        of(Function(lambda x: 20 * x[:, :1]), x, classes[:, None].float(), functional.binary_cross_entropy_with_logits)
    )
    assert values.bands[0].e_low < 0.2


def test_smooth_labels_beat_the_null_and_shuffled_ones_do_not() -> None:
    x = noise(128, 2)
    classes = (x[:, 0] > 0).long()
    shuffled = classes[torch.randperm(128, generator=seeded())]
    right, wrong = (
        frequency(of(network(2, 8, 2), x, each, functional.cross_entropy), lines=4) for each in (classes, shuffled)
    )
    assert right.middle_band.target.value > 2 * right.middle_band.target.null_high
    assert wrong.middle_band.target.value < wrong.middle_band.target.null_high
    said = [[each.message for each in found.findings()] for found in (right, wrong)]
    assert any("vary smoothly" in each for each in said[0])
    assert any("no smoother over the inputs than noise" in each for each in said[1])


def test_a_network_that_has_learned_the_smooth_part_and_one_that_has_not() -> None:
    x = noise(128, 2)
    smooth = torch.sin(1.5 * x[:, :1])
    y = smooth + 0.3 * noise(128, 1, seed=1)
    found = [
        frequency(of(Function(function), x, y), lines=4)
        for function in (
            lambda x: torch.sin(1.5 * x[:, :1]),
            lambda x: 1 + 0 * x[:, :1],
            lambda x: 0.5 * torch.sin(1.5 * x[:, :1]),
            lambda x: 0.1 * x[:, 1:],
        )
    ]
    assert found[0].middle_band.e_low < 0.3 < 0.8 < found[0].middle_band.e_high
    words = ("no smoother than noise", "gives one answer to all samples", "still misses is smooth", "misses the smooth")
    said = [next(f for f in each.findings() if word in f.message) for each, word in zip(found, words, strict=True)]
    # What has not been trained has not learned the smooth part: that alone is no more than a note.
    assert [each.severity for each in said] == ["note", "warning", "note", "note"]
    assert sum(f.severity != "note" for each in found for f in each.findings()) == 1


@pytest.mark.parametrize("seed", range(4))
def test_an_untrained_network_gets_notes_only(seed: int) -> None:
    torch.manual_seed(seed)
    x = noise(128, 2, seed=seed)
    found = frequency(of(network(2, 8, 2), x, (x[:, 0] > 0).long(), functional.cross_entropy), lines=8)
    assert found.middle_band.target.value > found.middle_band.target.null_high
    assert {each.severity for each in found.findings()} == {"note"}


def test_the_layer_where_frequency_rises_is_named() -> None:
    model = nn.Sequential(nn.Linear(3, 5), Function(lambda x: torch.sin(6 * x)), nn.Linear(5, 2))
    notes = [each for each in frequency(of(model)).findings() if "rises most" in each.message]
    assert [each.where for each in notes] == ["1"]
    straight = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    assert not [each for each in frequency(of(straight)).findings() if "rises" in each.message]


class _Tuple(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return x, None


class _Odd(nn.Module):
    """Reuses a module, calls one that returns a tuple and one that returns nothing, and has an output by the way."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.pair, self.none = nn.Linear(3, 3), nn.Tanh(), _Tuple(), Function(lambda x: None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.first(x))
        self.none(y)
        return self.pair(self.act(y) if float(x.sum()) > -1e9 else y)[0]


def test_layers_that_are_used_again_or_return_tuples_or_nothing() -> None:
    found = frequency(of(_Odd()))
    assert list(found.table()["name"]) == ["first", "act", "pair"]
    reasons = dict(found.left_out)
    assert "several times" in reasons["act"]
    assert "no tensor" in reasons["none"]


def test_whole_numbers_have_no_lines_but_may_stand_beside_numbers() -> None:
    tokens = torch.arange(20).reshape(5, 4)
    with pytest.raises(DoesNotApplyError, match="whole numbers"):
        frequency(Subject(nn.Embedding(20, 3), data=[(tokens, None)]))

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(20, 3), nn.Linear(3, 2)

        def forward(self, tokens: Tensor, x: Tensor) -> Tensor:
            return self.out(self.embed(tokens).mean(dim=1) + x)

    data = [({"tokens": torch.arange(20).reshape(5, 4), "x": noise(5, 3)}, None)]
    found = frequency(Subject(Both(), data=data))
    row = next(each for each in found.layers if each.name == "embed")
    assert (row.status, row.centroid) == ("does not vary along the lines", None)
    assert "stay those of its first sample" in dict(found.left_out)["inputs"]


def test_samples_that_make_no_line() -> None:
    for x, words in ((noise(1, 3), "one sample"), (torch.ones(6, 3), "the same")):
        subject = Subject(network(3, 4, 1), data=[(x, noise(len(x), 1))])
        with pytest.raises(MeasurementError, match=words):
            frequency(subject)
        found = frequency(subject, line=([0.0, 0, 0], [1.0, 1, 1]))
        assert found.layers[0].status == "one line: no standard error"
        assert found.bands == ()
        assert found.bands_status
    some = torch.cat([torch.ones(30, 3), noise(2, 3)])
    assert frequency(Subject(network(3, 4, 1), data=[(some, None)])).n_lines == 32


def test_targets_that_say_nothing() -> None:
    x = noise(40, 3)
    none = frequency(of(network(3, 4, 2), x))
    single = frequency(of(network(3, 4, 2), x, torch.zeros(40).long(), functional.cross_entropy))
    too_many = frequency(of(network(3, 4, 2), x, torch.arange(40), functional.cross_entropy))
    absent = frequency(of(network(3, 4, 9), x, torch.arange(40) % 3, functional.cross_entropy))
    assert none.bands_status == "there are no targets"
    assert single.bands_status == "all samples are of one class"
    assert too_many.bands_status == "hardly any label comes twice"
    assert absent.bands_status == "ok"
    assert "9 outputs" not in absent.read_as
    unlike = frequency(of(network(3, 4, 2), x, noise(40, 5)))
    assert (unlike.bands[0].e_low, unlike.read_as) == (None, "2 outputs do not fit 5 targets")
    assert unlike.bands[0].target is not None


def test_outputs_that_are_no_tensor() -> None:
    class Choices(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"chosen": self.body(x).argmax(dim=1)}

    found = frequency(of(Choices(), y=noise(40, 2)))
    assert found.output is None
    assert "not a floating-point tensor" in dict(found.left_out)["output"]
    assert (found.bands[0].e_low, found.layers[0].name) == (None, "body")
    found.plot()


def test_samples_of_another_shape_are_passed_over() -> None:
    class Any3(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.tanh(x).mean(dim=1, keepdim=True))

    data = [(noise(6, 3), None), (noise(6, 5), None), (noise(4, 3, seed=1), None)]
    found = frequency(Subject(Any3(), data=data))
    assert found.n_samples == 10
    assert ("data", "6 samples of another shape than the first") in found.left_out


def test_wide_layers_are_measured_on_some_features() -> None:
    wide = Function(lambda x: torch.sin(2 * math.pi * x[:, :1] * torch.tensor([4.0] * 4000 + [14.0] * 1000)))
    model = nn.Sequential(wide, nn.Linear(5000, 100))
    found = frequency(of(model), line=([0.0, 0, 0], [1.0, 0, 0]))
    assert "all but 4,096 of its 5,000 features, by chance" in dict(found.left_out)["0"]
    assert found.layers[0].units == 5000
    # A fifth are fast; 4,096 of 5,000 by chance tell that share to √(0.2 · 0.8/4096 · 904/4999) = 0.0027, times ten.
    assert found.layers[0].centroid == pytest.approx(0.8 * 4 + 0.2 * 14, abs=0.1)
    assert len(found.outputs) == 64
    assert dict(found.left_out)["output"] == "rows of the outputs after the first 64"


def test_lines_of_large_samples_are_run_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(108, 2))

        def forward(self, x: Tensor) -> Tensor:
            lengths.append(len(x))
            return self.body(x)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Spy()
    subject = Subject(model, data=[(noise(6, 1, 8, 8), None)])
    whole = frequency(subject, lines=3, points=32)
    module = importlib.import_module("deepscope.instruments._frequency_along")
    monkeypatch.setattr(module, "_VALUES", 64 * 12)
    lengths.clear()
    pieces = frequency(subject, lines=3, points=32)
    assert lengths[:3] == [12, 12, 8]
    # Three lines in one pass, or each in three; and the data.
    assert (whole.cost.forward_passes, pieces.cost.forward_passes) == (2, 10)
    pd.testing.assert_frame_equal(whole.table(), pieces.table(), rtol=1e-5, atol=1e-9)
    assert pieces.output.centroid == pytest.approx(whole.output.centroid, rel=1e-5)


def test_a_model_that_refuses_its_inputs_says_so() -> None:
    with pytest.raises(MeasurementError, match="refuses the inputs"):
        frequency(of(nn.Linear(4, 2)))


def test_arguments_out_of_range() -> None:
    subject = of(network(3, 4, 2))
    for wrong in (
        {"samples": 0}, {"lines": 0}, {"points": 8}, {"points": 17}, {"length": 0.0}, {"cutoff": 32.0},
        {"cutoff": -1.0},
        {"directions": "sideways"}, {"line": (torch.zeros(3),)}, {"line": (torch.zeros(2), torch.ones(2))},
        {"line": (torch.zeros(3), torch.zeros(3))}, {"line": ((torch.zeros(3),), (torch.ones(3),))},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            frequency(subject, **wrong)


def test_lines_of_several_inputs() -> None:
    model = Function(lambda a, b: torch.sin(2 * math.pi * (4 * a[:, :1] + 3 * b[:, :1])))
    data = [((noise(8, 2), noise(8, 3, seed=1)), None)]
    ends = ((torch.zeros(2), torch.zeros(3)), (torch.ones(2), torch.ones(3)))
    found = frequency(Subject(model, data=data), line=ends)
    assert found.output.centroid == pytest.approx(7, abs=0.05)
    assert found.length == pytest.approx(math.sqrt(5))


def test_what_is_not_one_row_per_sample_is_passed_on() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(3, 2)

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            assert scale.shape == (3,)
            return self.out(torch.tanh(x * scale))

    data = [({"x": noise(8, 3), "scale": torch.tensor([1.0, 2, 3])}, None)]
    found = frequency(Subject(Scaled(), data=data), directions="random")
    assert found.output.centroid > 0
    with pytest.raises(UsageError, match="not made as a sample"):
        frequency(Subject(Scaled(), data=data), line=(torch.zeros(3), torch.ones(3)))


def test_what_it_shows() -> None:
    x = noise(64, 3)
    found: Frequency = frequency(of(network(3, 20, 2), x, (x[:, 0] > 0).long(), functional.cross_entropy))
    (track,) = found.glance()
    assert set(track.values) == set(track.low) == {"0", "1", "2"}
    assert "cycles per line" in found.summary()
    assert "smooth part" in found.summary()
    labels = [axes.get_ylabel() for axes in found.plot().axes]
    assert len(labels) == 4
    assert "relative error" in labels
