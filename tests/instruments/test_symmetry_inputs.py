"""Inputs of every kind, and networks that are hard to measure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from symmetry_networks import MaskedSet, MeanOver, noise, ordinary_network, seeded, subject_of
from torch import Tensor, nn

from deepscope import examine
from deepscope.core import DoesNotApplyError, MeasurementError, UsageError
from deepscope.instruments import Transformation, symmetry
from deepscope.instruments import _symmetry_pass as passes
from deepscope.instruments import _symmetry_probe as probes
from deepscope.subject import Subject


def measured(model: nn.Module, x: Any, group: Any = None, **options: Any) -> Any:
    return symmetry(Subject(model, [(x, None)]), group, networks=0, **options)


def test_pictures_that_are_not_square_are_turned_by_half_a_circle_only() -> None:
    seen = symmetry(subject_of(ordinary_network, noise(12, 1, 8, 6)), networks=0)
    rotations = seen.of("rotations")
    assert rotations.members == ("turned by 180°",)
    assert rotations.status == "without 90°, 270°: pictures of 8 × 6 would have another shape"
    assert ("rotations", rotations.status) in [tuple(entry) for entry in seen.left_out]
    assert rotations.output.value is not None
    assert seen.of("flips").output.value is not None
    with pytest.raises(DoesNotApplyError, match="another shape"):
        symmetry(subject_of(ordinary_network, noise(12, 1, 8, 6)), "rotations", angles=[90], networks=0)


def test_a_transformation_that_the_network_does_not_take_leaves_the_others() -> None:
    longer = Transformation("twice as long", lambda x: torch.cat([x, x], 1))
    reversed_ = Transformation("reversed", lambda x: x.flip(1))
    model = seeded(nn.Linear, 4, 2).double()
    seen = measured(model, noise(10, 4), [longer, reversed_])
    assert seen.of("twice as long").output.value is None
    assert seen.of("twice as long").status.startswith("the network does not take inputs twice as long: mat1 and mat2")
    assert seen.of("reversed").output.value > 0.1
    assert seen.error == seen.of("reversed").output.value
    assert any(entry.name == "twice as long: twice as long" for entry in seen.left_out)


def test_outputs_that_change_their_shape_are_equivariant_or_nothing() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Tanh())
    across = Transformation("transposed", lambda x: x.mT, on_output=lambda y: y.mT)
    x = noise(10, 1, 4, 6)
    seen = measured(model, x, across)
    assert seen.error == 0.0
    assert seen.of("transposed").invariance.status == "its output changes its shape"
    alone = measured(model, x, Transformation("transposed", lambda x: x.mT))
    assert alone.error is None
    assert alone.of("transposed").output.status == "its output changes its shape"


def test_channels_may_stand_first_or_last() -> None:
    channels = nn.Sequential(nn.Conv1d(3, 5, 3, padding=1, padding_mode="circular"), nn.ReLU(), MeanOver(2))
    seen = measured(seeded(lambda: channels).double(), noise(10, 3, 8))
    assert seen.inputs == "sequences"
    assert seen.of("translations").output.is_exact
    assert not seen.of("permutations").output.is_exact
    assert seen.of("translations").layers[0].equivariance.is_exact
    last = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), MeanOver(1)).double()
    both = measured(last, noise(10, 8, 3))
    assert both.of("permutations").output.is_exact
    assert both.of("translations").output.is_exact


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0][:, -1])


def test_order_matters_to_a_recurrent_network_whose_layers_return_tuples() -> None:
    seen = measured(seeded(Recurrent).double(), noise(10, 7, 3))
    assert seen.of("permutations").output.value > 0.1
    assert [layer.name for layer in seen.layers] == ["lstm", "out"]
    assert seen.layers[0].equivariance.value > 0.1


def test_padding_keeps_its_place() -> None:
    lengths = torch.tensor([2, 3, 5, 7, 7, 4, 6, 5])
    mask = torch.arange(7) < lengths[:, None]
    x = noise(8, 7, 3)
    x[~mask] = 1e3
    model = seeded(MaskedSet).double()
    data = [({"x": x, "mask": mask}, None)]
    masked = symmetry(Subject(model, data, mask=lambda inputs: inputs["mask"]), "permutations", networks=0)
    assert masked.of("permutations").output.is_exact
    assert masked.layers[0].equivariance.is_exact
    assert masked.layers[0].invariance.value > 0.1
    # Without it the mask travels with its element, which is as good for a sum.
    assert symmetry(Subject(model, data), "permutations", networks=0).of("permutations").output.is_exact


def test_integers_have_positions_only() -> None:
    tokens = torch.randint(0, 9, (12, 6), generator=torch.Generator().manual_seed(0))
    model = seeded(lambda: nn.Sequential(nn.Embedding(9, 4), MeanOver(1), nn.Linear(4, 2))).double()
    assert measured(model, tokens).error < 1e-25
    for group in ("rotations", "scalings", "signs"):
        with pytest.raises(DoesNotApplyError):
            measured(model, tokens, group)
    with pytest.raises(DoesNotApplyError, match="nothing to put into another order"):
        measured(nn.Embedding(9, 4), tokens[:, 0])


class Forgetful(nn.Module):
    """Layers that return nothing, a tuple, or run twice; and one that only some inputs reach."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing, self.pair, self.again, self.rare = Nothing(), Pair(), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        self.nothing(x)
        x = self.again(self.again(self.pair(x)[0]))
        return (self.rare(x) if x.sum() > 1e6 else x), None


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> None:
        del x


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(x), x


def test_odd_layers_are_measured_or_in_the_ledger() -> None:
    seen = measured(seeded(Forgetful).double(), noise(10, 4), ["signs"])
    assert [layer.name for layer in seen.layers] == ["pair", "again"]
    assert seen.layers[0].equivariance.value == 0
    said = {entry.name: entry.reason for entry in seen.left_out}
    assert said["nothing"] == "its output holds no tensor"
    assert "several times" in said["again"]
    assert seen.error > 0


def test_one_sample_and_samples_that_are_all_the_same() -> None:
    model = seeded(nn.Linear, 4, 2).double()
    one = measured(model, noise(1, 4))
    assert one.error is None
    assert one.families[0].output.status == "one sample has no other to be compared with"
    assert one.findings() == ()
    same = measured(model, noise(1, 4).repeat(12, 1), "signs")
    assert same.error is None
    assert same.families[0].output.status == "its output is the same for all samples"
    # It is the data that are constant, not the network.
    assert same.findings() == ()
    same.plot()


def test_outputs_that_are_not_finite_are_said_to_be() -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sqrt()

    seen = measured(Root(), noise(10, 4).abs(), "signs")
    assert seen.error is None
    assert seen.families[0].output.status == "its output is not finite"
    assert seen.findings() == ()


def test_lengths_that_vary_are_measured_on_those_of_the_first() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), MeanOver(1))).double()
    subject = Subject(model, [(noise(6, 5, 3), None), (noise(4, 7, 3), None), (noise(3, 5, 3, seed=1), None)])
    seen = symmetry(subject, networks=0)
    assert seen.n_samples == 9
    assert ("data", "4 samples of another shape than the first") in [tuple(entry) for entry in seen.left_out]
    cut = symmetry(subject, networks=0, max_samples=4)
    assert cut.n_samples == 4
    assert ("data", "the samples after the first 4") in [tuple(entry) for entry in cut.left_out]


def test_large_layers_are_sampled_and_the_error_is_nearly_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of(ordinary_network, noise(24, 1, 16, 16))
    whole = symmetry(subject, "flips", networks=0)
    assert any(entry.reason == "all but 1,024 of its 4,096 values, by chance" for entry in whole.left_out)
    monkeypatch.setattr(passes, "_MOST", 256)
    monkeypatch.setattr(probes, "_MEMORY", 4 * 16 * 16 * 16 * 20)
    part = symmetry(subject, "flips", networks=0)
    # 256 of 4,096 values that are alike but for their neighbours: 1/√256 of the error's own size at worst.
    np.testing.assert_allclose(part.layers[0].equivariance.value, whole.layers[0].equivariance.value, rtol=0.2)
    # The output is whole in both, whatever the chunks.
    assert part.error == pytest.approx(whole.error, rel=1e-12)


def test_no_more_samples_run_at_once_than_their_layers_outputs_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    class Counting(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            lengths.append(len(x))
            return super().forward(x)

    model = nn.Sequential(Counting(4, 50), nn.Tanh()).double()
    x = noise(40, 4)
    whole = measured(model, x)
    assert max(lengths) == 40
    lengths.clear()
    # Two layers and the output, of 50 numbers each, for seven samples.
    monkeypatch.setattr(probes, "_MEMORY", 4 * 3 * 50 * 7)
    assert measured(model, x).error == pytest.approx(whole.error, rel=1e-12)
    assert max(lengths) == 7


def test_layers_that_work_in_place_do_not_change_what_was_seen() -> None:
    def network(*, inplace: bool) -> nn.Module:
        first, second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        return nn.Sequential(first, nn.ReLU(inplace=inplace), second, nn.ELU(inplace=inplace), MeanOver(2, 3))

    x = noise(12, 1, 8, 8)
    tables = [symmetry(subject_of(network, x, inplace=each), "flips", networks=0).table() for each in (True, False)]
    assert tables[0].equals(tables[1])


def test_half_precision_claims_no_exactness_that_it_cannot_know() -> None:
    x = noise(16, 6, dtype=torch.bfloat16)
    deep = [part for _ in range(6) for part in (nn.Linear(6, 6, bias=False), nn.Tanh())]
    seen = measured(seeded(lambda: nn.Sequential(*deep)).bfloat16(), x, "signs")
    assert seen.error == 0.0
    assert seen.families[0].output.rounding is None
    assert seen.findings() == ()


def test_networks_that_are_random_or_refuse_their_data_are_clear_errors() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.randn_like(x)

    with pytest.raises(MeasurementError, match="random in evaluation mode"):
        measured(Noisy(), noise(8, 4))
    with pytest.raises(MeasurementError, match="refuses the inputs"):
        measured(nn.Linear(3, 2).double(), noise(8, 4))
    with pytest.raises(MeasurementError, match="no input tensor has a row"):
        measured(nn.Identity(), torch.tensor(1.0))


def test_wrong_calls_are_clear_errors() -> None:
    model = seeded(nn.Linear, 4, 2).double()
    x = noise(8, 4)
    with pytest.raises(UsageError, match="rotations"):
        measured(model, x, "rotation")
    with pytest.raises(UsageError, match="networks must be at least 0, not -1"):
        symmetry(Subject(model, [(x, None)]), networks=-1)
    with pytest.raises(UsageError, match="factors"):
        measured(model, x, "scalings", factors=[0.0])
    with pytest.raises(UsageError, match="on_output or on_layer of a transformation failed"):
        measured(model, x, Transformation("bad", lambda x: x, on_output=lambda y: y[:, :1]))
    with pytest.raises(UsageError, match="at the output"):
        measured(model, x, Transformation("bad", lambda x: x, on_output=lambda y: y.no_such_thing))
    with pytest.raises(UsageError, match="was not measured"):
        measured(model, x).of("rotations")
    with pytest.raises(DoesNotApplyError, match="vectors have no plane to turn in"):
        measured(model, x, "rotations")


def test_a_network_of_whole_batches_only_is_measured() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(80, 4).tanh()

    assert measured(Fixed(), noise(80, 4), "signs").error == 0.0


def test_a_single_class_and_absent_classes_do_not_matter() -> None:
    subject = subject_of(ordinary_network, noise(12, 1, 8, 8, dtype=torch.float32))
    subject.data = [(inputs, torch.zeros(len(inputs)).long()) for inputs, _ in subject.data]
    subject.loss = nn.functional.cross_entropy
    found = examine(subject, instruments=["symmetry"], budget="quick")
    assert found.not_run == ()
    assert found.readings["symmetry"].error > 0
