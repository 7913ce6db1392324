"""Subject: what is measured, and what of it."""

import pickle

import pytest
import torch
from torch import nn

from deepscope.core import MeasurementError, Needs, UsageError
from deepscope.subject import Subject

X, Y = torch.ones(4, 3), torch.zeros(4, 2)


def loss_of_first(subject: Subject) -> torch.Tensor:
    batch = next(iter(subject.batches()))
    return subject.loss_of(batch, subject.predict(batch.inputs))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(4, 4), nn.Linear(4, 4)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.fc1, self.fc10 = Attention(), nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 3), nn.Linear(3, 5)
        self.head.weight = self.embedding.weight


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(3, 2), nn.Linear(4, 2)

    def forward(self, a, b):
        return self.left(a) + self.right(b)


def names(subject):
    return [weight.name for weight in subject.weights()]


@pytest.fixture
def blocks():
    return Subject(nn.Sequential(Block(), Block()))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["0.fc1.weight"], ["0.fc1.weight"]),
        (["0.fc1"], ["0.fc1.weight", "0.fc1.bias"]),
        (["0.fc1.*"], ["0.fc1.weight", "0.fc1.bias"]),
        (["0.fc1?"], ["0.fc10.weight", "0.fc10.bias"]),
        (["*.attention.*.weight"], [f"{i}.attention.{part}.weight" for i in (0, 1) for part in ("query", "key")]),
        (["1.attention"], [f"1.attention.{part}.{leaf}" for part in ("query", "key") for leaf in ("weight", "bias")]),
        (["0.fc1.weight", "1.fc1.bias"], ["0.fc1.weight", "1.fc1.bias"]),
        (["0.norm.running_*"], ["0.norm.running_mean", "0.norm.running_var"]),
        (["[0].fc1.b*"], ["0.fc1.bias"]),
    ],
)
def test_only_takes_tensor_and_layer_patterns(blocks, patterns, expected):
    part = blocks.only(*patterns)
    assert names(part) == expected
    assert len(names(blocks)) > len(expected), "the whole is left as it was"
    assert part.model is blocks.model


def test_only_narrows_further(blocks):
    assert names(blocks.only("0").only("*.fc1")) == ["0.fc1.weight", "0.fc1.bias"]
    with pytest.raises(UsageError):
        blocks.only("0").only("1")


@pytest.mark.parametrize("pattern", ["2", "fc1", "0.fc", "weight", "", "0.FC1"])
def test_only_refuses_what_matches_nothing_and_shows_names(blocks, pattern):
    with pytest.raises(UsageError, match="no layer or tensor matches") as caught:
        blocks.only(pattern)
    assert "0.attention.query.weight" in caught.value.todo


@pytest.mark.parametrize("pattern", ["0.fc1", "0.fc1.*", "*.fc1", "0", "0.*"])
def test_a_part_selects_its_layers_too(blocks, pattern):
    part = blocks.only(pattern)
    assert part.selects("0.fc1")
    assert part.selects("1.fc1") == (pattern == "*.fc1")
    assert not part.selects("1.fc10")


def test_a_pattern_of_all_in_a_layer_selects_no_other_layer(blocks):
    part = blocks.only("0.fc1.*")
    assert not part.selects("0.fc10")
    assert not part.selects("0")


def test_a_tied_tensor_is_found_by_each_of_its_names():
    subject = Subject(Tied())
    assert names(subject.only("head")) == ["embedding.weight", "head.bias"]
    assert [entry.name for entry in subject.only("head").left_out] == ["head.weight"]
    assert names(subject.only("embedding")) == ["embedding.weight"]
    assert subject.only("embedding").left_out == ()


def test_layers_in_order(blocks):
    assert blocks.layers()[:4] == ("0.attention.query", "0.attention.key", "0.fc1", "0.fc10")
    assert Subject(nn.Linear(2, 2)).layers() == ("weight", "bias")


def test_a_model_of_two_inputs():
    subject = Subject(TwoInputs(), [((torch.ones(4, 3), torch.ones(4, 4)), Y)], nn.functional.mse_loss)
    (batch,) = subject.batches()
    assert subject.predict(batch.inputs).shape == (4, 2)
    assert subject.loss_of(batch, subject.predict(batch.inputs)).shape == ()


def test_forward_overrides_how_the_model_is_called():
    subject = Subject(nn.Linear(3, 2), forward=lambda model, inputs: 2 * model(inputs["x"]))
    torch.testing.assert_close(subject.predict({"x": X}), 2 * subject.model(X))


def test_mask_is_kept():
    subject = Subject(nn.Linear(3, 2), mask=lambda inputs: inputs["attention_mask"].bool())
    assert subject.mask({"attention_mask": torch.tensor([1, 0])}).tolist() == [True, False]


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (lambda out, _: out, r"not a scalar but \[4, 2\]"),
        (lambda out, _: out.sum().item(), "not a scalar but float"),
        (lambda out, _: out.sum() * float("nan"), "loss is nan"),
        (lambda out, _: out.sum() * float("inf"), "loss is -?inf"),
    ],
)
def test_a_loss_that_cannot_be_used_is_refused(loss, what):
    subject = Subject(nn.Linear(3, 2), [(X, Y)], loss)
    with pytest.raises(MeasurementError, match=what):
        loss_of_first(subject)


def test_a_loss_of_one_value_is_a_scalar():
    subject = Subject(nn.Linear(3, 2), [(X, Y)], lambda out, _: out.mean().reshape(1, 1))
    assert loss_of_first(subject).shape == ()


def test_what_is_missing_is_said():
    weights_only, with_data = Subject(nn.Linear(3, 2)), Subject(nn.Linear(3, 2), [(X, Y)])
    with pytest.raises(MeasurementError, match="there is no loss"):
        loss_of_first(with_data)
    with_data.require(Needs.WEIGHTS | Needs.MODEL | Needs.DATA, "x")
    with pytest.raises(MeasurementError, match="health needs data and a loss"):
        weights_only.require(Needs.WEIGHTS | Needs.DATA | Needs.LOSS, "health")


def test_what_it_offers():
    model = nn.Linear(3, 2)
    assert Subject(model).offers == Needs.WEIGHTS | Needs.MODEL
    assert Subject(model, [(X, Y)]).offers == Needs.WEIGHTS | Needs.MODEL | Needs.DATA
    assert Subject(model, [(X, Y)], len).offers == Needs.WEIGHTS | Needs.MODEL | Needs.DATA | Needs.LOSS
    assert Subject(model, loss=len).offers == Needs.WEIGHTS | Needs.MODEL | Needs.LOSS


def test_a_checkpoint_alone_offers_weights_and_cannot_be_run(tmp_path):
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "a.pt")
    subject = Subject.from_checkpoint(tmp_path / "a.pt")
    assert subject.offers == Needs.WEIGHTS
    assert subject.device == torch.device("cpu")
    assert names(subject.only("weight")) == ["weight"]
    with pytest.raises(MeasurementError, match="cannot be run"):
        subject.predict(X)
    with pytest.raises(MeasurementError, match="needs a model"):
        subject.require(Needs.MODEL, "x")
    with subject.undisturbed():
        pass
    handles = pickle.loads(pickle.dumps(subject.weights()))
    assert torch.equal(handles[0].read(), subject.weights()[0].read())


@pytest.mark.parametrize("model", [nn.Linear, None, {"weight": X}, "model.pt"])
def test_what_is_no_module_is_refused(model):
    with pytest.raises(UsageError, match=r"must be a torch\.nn\.Module"):
        Subject(model)


def test_its_name_is_the_models_class_unless_given():
    assert Subject(Tied()).name == "Tied"
    assert Subject(Tied(), name="mine").name == "mine"
    assert repr(Subject(Tied(), name="mine")) == "Subject(mine, 2 tensors, offers weights and a model)"


def test_only_finds_a_layer_without_weights():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    part = Subject(model).only("1")
    assert part.weights() == ()
    assert part.selects("1")
    assert not part.selects("0")
