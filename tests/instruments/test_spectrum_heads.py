"""Attention split by head: each layout against heads that were never fused, each doubt left whole."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deepscope.instruments import spectrum, spike_directions
from deepscope.linalg import spike_overlap
from deepscope.subject import Subject

HEADS, SIZE, FEATURES = 4, 6, 24
QKV = ("query", "key", "value")
GPT2 = {"model_type": "gpt2", "n_head": HEADS}


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def checkpoint(folder, tensors, **config):
    folder.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return Subject.from_checkpoint(folder)


def measured(subject, *, heads=True):
    return spectrum(subject, heads=heads, bootstrap=0, null=None, alternatives=False)


def ledger(reading):
    return {entry.name: entry.reason for entry in reading.left_out}


def head_matrices(n_heads=HEADS, key_value=HEADS):
    """A matrix [head_dim, in] for each head of each role, each of another scale."""
    counts = dict(zip(QKV, (n_heads, key_value, key_value), strict=True))
    names = [(role, head) for role, count in counts.items() for head in range(count)]
    return {(role, head): (1 + k) * gaussian(SIZE, FEATURES, seed=k) for k, (role, head) in enumerate(names)}


def of_role(matrices, role):
    return torch.cat([matrix for (its, _), matrix in matrices.items() if its == role])


def rows(matrices):
    return torch.cat([of_role(matrices, role) for role in QKV])


def columns(matrices):
    return torch.cat([of_role(matrices, role).T for role in QKV], 1)


def by_group(matrices):
    """As GPT-NeoX, Falcon and InternLM2: the query heads of a group, then its key and its value."""
    groups = sum(role == "key" for role, _ in matrices)
    sharing = sum(role == "query" for role, _ in matrices) // groups
    stacked = []
    for group in range(groups):
        stacked += [matrices["query", group * sharing + j] for j in range(sharing)]
        stacked += [matrices["key", group], matrices["value", group]]
    return torch.cat(stacked)


def assert_heads(reading, tensor, expected):
    assert [row.name for row in reading.weights] == [f"{tensor}[{name}]" for name in expected]
    for name, matrix in expected.items():
        theirs = np.sort(np.linalg.svd(matrix.numpy(), compute_uv=False) ** 2)
        # Through the Gram an eigenvalue is good to n·eps·λ_max, 24 · 2e-16.
        assert reading.eigenvalues[f"{tensor}[{name}]"] == pytest.approx(theirs, rel=0, abs=1e-13 * theirs[-1]), name


@pytest.mark.parametrize(
    ("name", "stack", "key_value", "config"),
    [
        ("h.0.attn.c_attn.weight", columns, HEADS, GPT2),
        ("h.0.attn.c_attn.weight", rows, HEADS, GPT2),
        ("attn.qkv.weight", rows, HEADS, {"num_heads": HEADS}),
        ("self_attn.in_proj_weight", rows, HEADS, {"num_attention_heads": HEADS}),
        ("attn.Wqkv.weight", rows, 2, {"n_heads": HEADS, "attn_config": {"kv_n_heads": 2}}),
        ("attention.query_key_value.weight", by_group, HEADS, {"model_type": "gpt_neox", "num_attention_heads": HEADS}),
        ("attention.wqkv.weight", by_group, 2,
         {"model_type": "internlm2", "num_attention_heads": HEADS, "num_key_value_heads": 2}),
        ("attention.query_key_value.weight", rows, 1,
         {"model_type": "falcon", "num_attention_heads": HEADS, "num_kv_heads": HEADS, "multi_query": True}),
    ],
)  # fmt: skip
def test_each_head_is_a_matrix_of_its_own(tmp_path, name, stack, key_value, config):
    matrices = head_matrices(key_value=key_value)
    subject = checkpoint(tmp_path / "model", {name: stack(matrices)}, **config)
    reading = measured(subject)
    assert_heads(reading, name, {f"{role} {head}": matrix for (role, head), matrix in matrices.items()})
    last = f"value {key_value - 1}"
    n_parts = HEADS + 2 * key_value
    listed = f"{n_parts}, query 0 to {last}" if n_parts > 6 else "query 0, query 1, query 2, query 3, key 0 and value 0"
    assert ledger(reading) == {name: f"measured in parts: {listed}"}
    # Without being asked for heads, it is split by role alone.
    assert_heads(measured(subject, heads=False), name, {role: of_role(matrices, role) for role in QKV})


def test_heads_of_a_live_multihead_attention():
    layer = nn.MultiheadAttention(FEATURES, HEADS, bias=False).double()
    matrices = head_matrices()
    layer.in_proj_weight.data.copy_(rows(matrices))
    reading = measured(Subject(layer).only("in_proj_weight"))
    assert_heads(reading, "in_proj_weight", {f"{role} {head}": each for (role, head), each in matrices.items()})


def test_turning_a_head_within_itself_changes_none_and_moving_it_renames_it(tmp_path):
    matrices = head_matrices()
    turned = {**matrices, ("key", 1): torch.linalg.qr(gaussian(SIZE, SIZE, seed=99)).Q @ matrices["key", 1]}
    moved = {**matrices, ("key", 1): matrices["key", 2], ("key", 2): matrices["key", 1]}
    name = "h.0.attn.c_attn.weight"
    first, second, third = (
        measured(checkpoint(tmp_path / f"{k}", {name: columns(each)}, **GPT2)).eigenvalues
        for k, each in enumerate((matrices, turned, moved))
    )
    renamed = {"key 1": "key 2", "key 2": "key 1"}
    for row, values in first.items():
        head = row.partition("[")[2][:-1]
        # Eigenvalues of 6 × 24 lie within a factor of ten, so that n·eps·λ_max is 1e-13 of each.
        assert second[row] == pytest.approx(values, rel=1e-11)
        assert third[f"{name}[{renamed.get(head, head)}]"] == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "count"), [("q_proj.weight", HEADS), ("k_proj.weight", 2), ("self.query.weight", HEADS)]
)
def test_projections_that_are_not_fused_have_heads_too(tmp_path, name, count):
    matrices = [(1 + k) * gaussian(SIZE, FEATURES, seed=k) for k in range(count)]
    config = {"num_attention_heads": HEADS, "num_key_value_heads": 2}
    subject = checkpoint(tmp_path / "model", {name: torch.cat(matrices)}, **config)
    assert_heads(measured(subject), name, {f"head {k}": matrix for k, matrix in enumerate(matrices)})
    assert [row.name for row in measured(subject, heads=False).weights] == [name]


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        ({}, (72, 24)),
        # 5 does not divide 24; 6 heads of 8 are 48.
        ({"n_head": 5}, (72, 24)),
        ({"n_head": 6, "head_dim": 8}, (72, 24)),
    ],
)
def test_heads_that_are_not_told_or_do_not_fit_are_not_guessed(tmp_path, config, shape):
    reading = measured(checkpoint(tmp_path / "model", {"attn.qkv.weight": gaussian(*shape)}, **config))
    assert [row.part for row in reading.weights] == list(QKV)
    assert ledger(reading)["attn.qkv.weight[heads]"] == "measured by role alone: the number of its heads is not told"


def test_a_width_that_is_not_that_of_the_heads_is_no_head(tmp_path):
    # Keys and values of another network's features: 40 inputs say nothing of a head's size.
    subject = checkpoint(tmp_path / "model", {"attn.kv.weight": gaussian(48, 40)}, num_heads=HEADS)
    assert [row.part for row in measured(subject).weights] == ["key", "value"]


def test_what_has_no_heads_is_as_before(tmp_path):
    layer = nn.Sequential(nn.LSTM(8, 8), nn.Linear(8, 8))
    one, other = (measured(Subject(layer), heads=heads) for heads in (True, False))
    assert one.weights == other.weights
    assert one.left_out == other.left_out


def test_a_merged_adapter_is_split_by_head(tmp_path):
    matrices = head_matrices()
    up, down = gaussian(72, 2, seed=50), gaussian(2, 24, seed=51)
    name = "attn.qkv"
    tensors = {
        f"{name}.base_layer.weight": rows(matrices),
        f"{name}.lora_B.weight": up,
        f"{name}.lora_A.weight": down,
    }
    reading = measured(checkpoint(tmp_path / "model", tensors, num_heads=HEADS, lora_alpha=2))
    merged = rows(matrices) + up @ down
    found = reading.eigenvalues[f"{name}.base_layer.weight[merged][value 3]"]
    assert found == pytest.approx(np.linalg.svd(merged[-SIZE:].numpy(), compute_uv=False)[::-1] ** 2, rel=1e-11)


def test_the_spike_of_one_head_is_found_by_its_name(tmp_path):
    fused = gaussian(3 * 128, 128)
    direction = nn.functional.normalize(gaussian(128, seed=7), dim=0)
    fused[128 + 32 : 128 + 64] += 40 * torch.outer(torch.full((32,), 32**-0.5, dtype=torch.float64), direction)
    subject = checkpoint(tmp_path / "model", {"attn.qkv.weight": fused}, num_heads=4)
    found = spike_directions(subject, "attn.qkv.weight[key 1]")
    # 0.92, with a fluctuation of √(1 − 0.92)/√128, 0.025.
    expected = spike_overlap(40.0, 32, 128, 1.0)[1]
    assert (found.right[:, 0] @ direction.numpy()) ** 2 == pytest.approx(expected, abs=0.06)
    assert len(spike_directions(subject, "attn.qkv.weight[key 0]").eigenvalues) == 0
