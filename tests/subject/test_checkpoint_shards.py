"""Checkpoints in several files, and folders."""

import json
import os

import pytest
import safetensors.torch
import torch

from deepscope.core import TargetError
from deepscope.subject._checkpoint import read_checkpoint

CONTENT = {
    "embed.weight": torch.arange(8.0).reshape(4, 2),
    "h.2.weight": torch.ones(2, 2),
    "h.10.weight": torch.full((2, 2), 10.0),
    "norm.weight": torch.ones(2),
}
SHARDS = {"one": ["embed.weight", "h.2.weight"], "two": ["h.10.weight", "norm.weight"]}
TOTAL = sum(value.nbytes for value in CONTENT.values())


def save_shards(folder, suffix="safetensors", stem="model", **changes):
    """Write two shards and their index; `changes` go into the index."""
    save = safetensors.torch.save_file if suffix == "safetensors" else torch.save
    for shard, names in SHARDS.items():
        save({name: CONTENT[name] for name in names}, folder / f"{shard}.{suffix}")
    places = {name: f"{shard}.{suffix}" for shard, names in SHARDS.items() for name in names}
    index = {"metadata": {"total_size": TOTAL}, "weight_map": dict(sorted(places.items())), **changes}
    path = folder / f"{stem}.{suffix}.index.json"
    path.write_text(json.dumps(index))
    return path


def refused(target, *words):
    with pytest.raises(TargetError) as caught:
        read_checkpoint(target)
    assert caught.value.todo
    assert str(caught.value).count("\n") == 1
    for word in words:
        assert word in str(caught.value)
    return caught.value


@pytest.mark.parametrize("suffix", ["safetensors", "bin", "pt"])
def test_shards_from_the_index_or_the_folder(tmp_path, suffix):
    index = save_shards(tmp_path, suffix)
    (tmp_path / "config.json").write_text('{"a": 1}')
    for target in (index, tmp_path):
        checkpoint = read_checkpoint(target)
        assert [weight.name for weight in checkpoint.weights] == list(CONTENT)
        assert all(weight.read().equal(CONTENT[weight.name]) for weight in checkpoint.weights)
        assert checkpoint.format == f"sharded {'safetensors' if suffix == 'safetensors' else 'torch'}"
        assert (checkpoint.name, checkpoint.config, checkpoint.left_out) == (target.name, {"a": 1}, ())


def test_names_with_more_digits_than_python_counts(tmp_path):
    safetensors.torch.save_file({"9" * 5000: torch.ones(1), "a": torch.ones(1)}, tmp_path / "m.safetensors")
    assert len(read_checkpoint(tmp_path).weights) == 2


def test_layer_2_stands_before_layer_10(tmp_path):
    safetensors.torch.save_file(CONTENT, tmp_path / "m.safetensors")
    assert [weight.name for weight in read_checkpoint(tmp_path).weights] == list(CONTENT)


@pytest.mark.parametrize("total", [TOTAL * 2, TOTAL * 4, TOTAL // 2, TOTAL // 4, float(TOTAL), None])
def test_a_size_that_only_another_precision_explains_is_fine(tmp_path, total):
    assert len(read_checkpoint(save_shards(tmp_path, metadata={"total_size": total})).weights) == 4


@pytest.mark.parametrize("total", [0, TOTAL - 4, TOTAL * 3, -1, float("nan"), 2**70, 10**4000])
def test_another_size_is_refused(tmp_path, total):
    refused(save_shards(tmp_path, metadata={"total_size": total}), "truncated or of the wrong shape")


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_shard_of_the_wrong_shape(tmp_path, suffix):
    index = save_shards(tmp_path, suffix)
    save = safetensors.torch.save_file if suffix == "safetensors" else torch.save
    save(
        {**{name: CONTENT[name] for name in SHARDS["one"]}, "embed.weight": torch.zeros(3, 2)},
        tmp_path / f"one.{suffix}",
    )
    refused(index, "wrong shape", str(tmp_path))


def test_tied_tensors_in_one_shard_count_once_or_twice(tmp_path):
    matrix = torch.ones(3, 3)
    torch.save({"a": matrix, "b": matrix}, tmp_path / "x.bin")
    index = tmp_path / "m.bin.index.json"
    for total, fits in ((36, True), (72, True), (108, False)):
        index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": {"a": "x.bin", "b": "x.bin"}}))
        if fits:
            assert [(weight.name, weight.tied) for weight in read_checkpoint(index).weights] == [("a", ("b",))]
        else:
            refused(index, "108")


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_an_index_whose_shards_are_not_there_or_hold_less(tmp_path, suffix):
    index = save_shards(tmp_path, suffix)
    content = json.loads(index.read_text())
    content["weight_map"]["x\n\x1b[2J"] = f"one.{suffix}"
    index.write_text(json.dumps(content))
    error = refused(index, "it does not", "one.")
    assert error.what.isprintable()
    (tmp_path / f"two.{suffix}").unlink()
    refused(index, f"'two.{suffix}', which is missing")


def test_a_truncated_shard(tmp_path):
    index = save_shards(tmp_path)
    shard = tmp_path / "two.safetensors"
    shard.write_bytes(shard.read_bytes()[:-4])
    refused(index, "truncated", "two.safetensors")


@pytest.mark.parametrize(
    "place", ["../x.safetensors", "/etc/passwd", "a/../../x", "..\\x", "C:\\x", "", "a\0b", 3, None]
)
def test_a_shard_outside_of_the_folder(tmp_path, place):
    folder = tmp_path / "inner"
    folder.mkdir()
    safetensors.torch.save_file(CONTENT, tmp_path / "x.safetensors")
    refused(save_shards(folder, weight_map={"embed.weight": place}), "out of its own folder")


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"{", "JSON"), (b"\xff\xfe", "JSON"), (b"[]", "weight_map"), (b"{}", "weight_map"), (b"[" * 10**5, "JSON"),
     (b'{"weight_map": 3}', "weight_map"), (b'{"weight_map": {}}', "weight_map"), (b"", "empty"),
     (b'{"weight_map": {"\\ud800": "a"}}', "not text"), (b"9" * 10_000, "JSON")],
)  # fmt: skip
def test_an_index_that_is_none(tmp_path, content, word):
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(content)
    refused(path, word)
    refused(tmp_path, word)


def test_an_index_that_claims_to_be_huge_is_not_read(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    path.touch()
    os.truncate(path, 2**40)
    refused(path, "too large")


def test_the_same_tensor_in_two_shards(tmp_path):
    index = save_shards(tmp_path)
    again = {"norm.weight": torch.zeros(2)}
    safetensors.torch.save_file(
        {**{name: CONTENT[name] for name in SHARDS["one"]}, **again}, tmp_path / "one.safetensors"
    )
    checkpoint = read_checkpoint(index)
    assert checkpoint.weights[-1].read().equal(CONTENT["norm.weight"])
    assert [entry.name for entry in checkpoint.left_out] == ["norm.weight"]
    again["norm.weight"] = torch.zeros(1, 2)
    safetensors.torch.save_file(
        {**{name: CONTENT[name] for name in SHARDS["one"]}, **again}, tmp_path / "one.safetensors"
    )
    refused(index, "different shapes", "norm.weight")


def test_a_tensor_that_the_index_does_not_name_is_in_the_ledger(tmp_path):
    places = dict.fromkeys(SHARDS["one"], "one.safetensors") | {"norm.weight": "two.safetensors"}
    checkpoint = read_checkpoint(save_shards(tmp_path, weight_map=places))
    assert [entry.name for entry in checkpoint.left_out] == ["h.10.weight"]
    assert len(checkpoint.weights) == 3


def test_which_file_of_a_folder_is_taken(tmp_path):
    def save(name):
        torch.save({name: torch.ones(1)}, tmp_path / name)

    def taken():
        return read_checkpoint(tmp_path).weights[0].name

    refused(tmp_path, "no weights")
    for name in ("optimizer.pt", "training_args.bin", "rng_state_0.pth", "scheduler.pt", "README.md"):
        save(name)
    refused(tmp_path, "no weights")
    save("only.ckpt")
    assert taken() == "only.ckpt"
    save("second.pt")
    error = refused(tmp_path, "2 checkpoints")
    assert "only.ckpt, second.pt" in error.todo
    for name in ("adapter_model.bin", "pytorch_model.bin", "adapter_model.safetensors"):
        save(name)
        assert taken() == name
    save_shards(tmp_path)
    assert taken() == "embed.weight"
    save("model.safetensors")
    assert taken() == "model.safetensors"


def test_a_damaged_checkpoint_is_not_passed_over_for_another(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    refused(tmp_path, "model.safetensors", "truncated")


def test_a_distributed_checkpoint_says_how_to_convert_it(tmp_path):
    (tmp_path / "__0_0.distcp").write_bytes(b"x")
    assert "dcp_to_torch_save" in refused(tmp_path, "no weights").todo
