"""Training checkpoints: which of their tensors are the weights, and what becomes of the rest."""

import pytest
import torch

from deepscope.core import TargetError
from deepscope.subject._checkpoint import read_checkpoint


def model_and_optimiser():
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    return model.state_dict(), optimiser.state_dict()


def read(folder, content):
    torch.save(content, folder / "m.ckpt")
    return read_checkpoint(folder / "m.ckpt")


def names(checkpoint):
    return [weight.name for weight in checkpoint.weights]


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "module", "ema"])
@pytest.mark.parametrize("legacy", [False, True])
def test_nested_weights(tmp_path, key, legacy):
    state, optimiser = model_and_optimiser()
    content = {"epoch": 3, "loss": 0.5, key: state, "optimizer": optimiser, "lr_schedulers": [{"last_epoch": 3}],
               "args": {"lr": 0.1}, "note": None, "rng_state": torch.get_rng_state()}  # fmt: skip
    torch.save(content, tmp_path / "m.pt", _use_new_zipfile_serialization=not legacy)
    checkpoint = read_checkpoint(tmp_path / "m.pt")
    assert names(checkpoint) == ["weight", "bias"]
    assert all(weight.read().equal(state[weight.name]) for weight in checkpoint.weights)
    assert checkpoint.format.endswith(f", from {key}")
    ledger = dict(checkpoint.left_out)
    assert len(ledger) == len(checkpoint.left_out)
    assert set(ledger) == set(content) - {key}
    # Adam keeps a step and two moments for each of two parameters.
    assert ledger["optimizer"] == "training state (6 tensors), not weights"
    assert ledger["rng_state"] == "training state (1 tensors), not weights"
    assert ledger["epoch"] == ledger["note"] == "a setting or a number, not a tensor"
    assert ledger["args"] == "a dict without tensors"


def test_of_several_sets_one_is_taken_and_the_others_are_named(tmp_path):
    state, _ = model_and_optimiser()
    other = {name: value + 1 for name, value in state.items()}
    checkpoint = read(tmp_path, {"ema": other, "model": {"state_dict": state, "step": torch.tensor(3)}})
    assert names(checkpoint) == ["weight", "bias"]
    assert checkpoint.weights[0].read().equal(state["weight"])
    assert checkpoint.format == "torch, from model.state_dict"
    assert dict(checkpoint.left_out) == {
        "ema": "another set of weights (2 tensors); those under 'model' are measured",
        "model.step": "a tensor beside the weights under 'model.state_dict'",
    }


def test_names_are_as_the_file_has_them(tmp_path):
    content = {"module._orig_mod.0.weight": torch.ones(1), "module.0.model": torch.ones(1)}
    assert names(read(tmp_path, content)) == list(content)


def test_weights_in_nested_mappings_and_lists_get_dotted_names(tmp_path):
    content = {
        "encoder": {"layers": [{"w": torch.ones(1)}, {"w": torch.zeros(2)}]},
        "decoder": {0: {"w": torch.ones(3)}},
        "optim_state": {"x": torch.ones(1)},
        "extra_state": b"abc",
    }
    checkpoint = read(tmp_path, content)
    assert names(checkpoint) == ["encoder.layers.0.w", "encoder.layers.1.w", "decoder.0.w"]
    assert checkpoint.weights[1].read().equal(torch.zeros(2))
    assert [name for name, _ in checkpoint.left_out] == ["optim_state", "extra_state"]


def test_two_ways_to_one_name_are_not_mixed_up(tmp_path):
    checkpoint = read(tmp_path, {"a": {"b": torch.ones(1)}, "a.b": torch.zeros(1)})
    assert names(checkpoint) == ["a.b"]
    assert checkpoint.weights[0].read().equal(torch.ones(1))
    assert checkpoint.left_out == (("a.b", "the name occurs twice"),)


def test_containers_that_hold_themselves_or_are_shared_many_times_end(tmp_path):
    content = {"w": torch.ones(1)}
    content["self"] = content
    # 2^60 ways lead to the one tensor at the bottom.
    shared = {"t": torch.ones(1)}
    for _ in range(60):
        shared = {"a": shared, "b": shared}
    content["laughs"] = shared
    checkpoint = read(tmp_path, content)
    assert names(checkpoint) == ["w"]
    assert "self" in dict(checkpoint.left_out)
    assert len(checkpoint.left_out) < 100


@pytest.mark.parametrize("content", [[torch.ones(1)], torch.ones(2), 3, "text", None])
def test_what_is_not_weights_by_name_is_refused(tmp_path, content):
    with pytest.raises(TargetError, match="not weights by name") as caught:
        read(tmp_path, content)
    assert "state_dict" in caught.value.todo


@pytest.mark.parametrize("content", [{}, {"epoch": 3, "args": {}}, {"optimizer": {"x": torch.ones(1)}}])
def test_no_tensors_at_all(tmp_path, content):
    with pytest.raises(TargetError, match="no tensors"):
        read(tmp_path, content)


def test_a_file_of_optimiser_state(tmp_path):
    with pytest.raises(TargetError, match="optimiser state and no weights"):
        read(tmp_path, model_and_optimiser()[1])


@pytest.mark.parametrize("name", [3, None, ("a", "b"), b"w", "\ud800"])
def test_names_that_are_not_text(tmp_path, name):
    with pytest.raises(TargetError, match="not text") as caught:
        read(tmp_path, {"model": {name: torch.ones(1)}})
    assert caught.value.what.isprintable()


def test_control_characters_in_names_stay_in_the_name_and_out_of_messages(tmp_path):
    name = "a\nb\x1b[31m"
    matrix = torch.ones(1)
    checkpoint = read(tmp_path, {name: matrix, "tied": matrix})
    assert names(checkpoint) == [name]
    assert checkpoint.left_out[0].reason.isprintable()
