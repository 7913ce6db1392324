"""Which matrices a tensor is made of: each split against layers that were never fused, each doubt left whole."""

import itertools
import json
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from deepscope.core import UsageError
from deepscope.instruments import SPECTRUM, Spectrum, spectrum
from deepscope.instruments._spectrum_matrices import matrices_of, matrix_shapes
from deepscope.subject import Subject

HEADS, SIZE, FEATURES = 4, 6, 24
QKV = ("query", "key", "value")


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def singular(matrix):
    """Squared singular values, ascending, by another route than the instrument's."""
    return np.sort(np.linalg.svd(np.asarray(matrix), compute_uv=False) ** 2)


def checkpoint(folder, tensors, **config):
    folder.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return Subject.from_checkpoint(folder)


def ledger(reading):
    return {entry.name: entry.reason for entry in reading.left_out}


def assert_rows(reading, expected):
    """Every row has the eigenvalues of the matrix expected under its name, and there are no others."""
    assert [row.name for row in reading.weights] == list(expected)
    for name, matrix in expected.items():
        # Through the Gram an eigenvalue is good to n·eps·λ_max, 24 · 2e-16; the smallest of these is 1e-5 of λ_max.
        assert reading.eigenvalues[name] == pytest.approx(singular(matrix), rel=1e-8), name


def three(heads=(HEADS, HEADS), features=FEATURES):
    """Query, key and value projections of a layer that was never fused, [out, in]."""
    n_heads, key_value = heads
    return [gaussian(n * SIZE, features, seed=seed) for seed, n in enumerate((n_heads, key_value, key_value))]


def by_head(q, k, v, key_value):
    """Interleave as GPT-NeoX and Falcon do, one row at a time."""
    sharing = q.shape[0] // SIZE // key_value
    rows = []
    for group in range(key_value):
        rows += [q[(group * sharing + j) * SIZE + i] for j in range(sharing) for i in range(SIZE)]
        rows += [k[group * SIZE + i] for i in range(SIZE)]
        rows += [v[group * SIZE + i] for i in range(SIZE)]
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("name", "layout", "config"),
    [
        ("h.0.attn.c_attn.weight", "conv1d", {}),
        ("h.0.attn.c_attn.weight", "rows", {}),
        ("h.0.attn.c_attn.weight", "by head", {"model_type": "gpt_bigcode", "n_head": HEADS}),
        ("blocks.0.attn.qkv.weight", "rows", {}),
        ("encoder.self_attn.in_proj_weight", "rows", {}),
        ("layers.0.attn.Wqkv.weight", "rows", {}),
        ("layers.0.attn.Wqkv.weight", "rows", {"n_heads": HEADS}),
        ("block.to_qkv.weight", "rows", {}),
        ("h.0.attention.query_key_value.weight", "by head", {"model_type": "gpt_neox", "num_attention_heads": HEADS}),
        ("gpt_neox.layers.0.attention.query_key_value.weight", "by head", {"num_attention_heads": HEADS}),
        ("h.0.self_attention.query_key_value.weight", "by head", {"model_type": "bloom", "n_head": HEADS}),
        ("h.0.self_attention.query_key_value.weight", "by head", {"model_type": "falcon", "n_head": HEADS}),
        ("l.0.query_key_value.weight", "rows", {"model_type": "chatglm", "num_attention_heads": HEADS}),
        ("layers.0.self_attn.qkv_proj.weight", "rows", {"model_type": "phi3", "num_attention_heads": HEADS}),
    ],
)
def test_fused_projections_read_as_three_layers(tmp_path, name, layout, config):
    q, k, v = three()
    fused = {"rows": torch.cat([q, k, v]), "conv1d": torch.cat([q.T, k.T, v.T], 1), "by head": by_head(q, k, v, HEADS)}
    reading = spectrum(checkpoint(tmp_path / "model", {name: fused[layout]}, **config))
    assert_rows(reading, {f"{name}[{part}]": matrix for part, matrix in zip(QKV, (q, k, v), strict=True)})
    assert {row.layer for row in reading.weights} == {name.rpartition(".")[0]}
    assert ledger(reading) == {name: "measured in parts: query, key and value"}


@pytest.mark.parametrize(
    ("name", "layout", "config"),
    [
        ("a.Wqkv.weight", "rows", {"n_heads": 4, "attn_config": {"kv_n_heads": 2}}),
        ("a.qkv_proj.weight", "rows", {"model_type": "phi3", "num_attention_heads": 4, "num_key_value_heads": 2}),
        ("a.wqkv.weight", "by head", {"model_type": "internlm2", "num_attention_heads": 4, "num_key_value_heads": 2}),
        ("a.query_key_value.weight", "by head",
         {"model_type": "falcon", "num_attention_heads": 4, "num_kv_heads": 2, "new_decoder_architecture": True}),
        ("a.query_key_value.weight", "rows",
         {"model_type": "chatglm", "num_attention_heads": 4, "multi_query_group_num": 2, "multi_query_attention": True,
          "kv_channels": SIZE}),
    ],
)  # fmt: skip
def test_grouped_queries_are_parts_of_unequal_size(tmp_path, name, layout, config):
    q, k, v = three(heads=(4, 2))
    fused = torch.cat([q, k, v]) if layout == "rows" else by_head(q, k, v, 2)
    reading = spectrum(checkpoint(tmp_path / "model", {name: fused}, **config))
    assert_rows(reading, {f"{name}[{part}]": matrix for part, matrix in zip(QKV, (q, k, v), strict=True)})
    assert [row.rows for row in reading.weights] == [24, 12, 12]


@pytest.mark.parametrize("config", [{"model_type": "falcon"}, {"model_type": "gpt_bigcode"}])
def test_multi_query_attention_has_one_key_and_value_head(tmp_path, config):
    q, k, v = three(heads=(4, 1))
    name = "a.query_key_value.weight" if config["model_type"] == "falcon" else "a.c_attn.weight"
    # Falcon's config tells num_kv_heads as well, which multi_query overrules.
    told = {"num_attention_heads": 4, "num_kv_heads": 4, "multi_query": True, **config}
    reading = spectrum(checkpoint(tmp_path / "model", {name: torch.cat([q, k, v])}, **told))
    assert_rows(reading, {f"{name}[{part}]": matrix for part, matrix in zip(QKV, (q, k, v), strict=True)})


@pytest.mark.parametrize(
    ("name", "stack"), [("a.kv.weight", torch.vstack), ("a.to_kv.weight", torch.vstack), ("a.c_attn.weight", None)]
)
def test_key_and_value_alone(tmp_path, name, stack):
    _, k, v = three()
    fused = stack([k, v]) if stack else torch.cat([k.T, v.T], 1)
    reading = spectrum(checkpoint(tmp_path / "model", {name: fused}))
    assert_rows(reading, {f"{name}[key]": k, f"{name}[value]": v})


@pytest.mark.parametrize(
    ("name", "shape", "config", "why"),
    [
        ("a.query_key_value.weight", (72, 24), {}, "order"),
        ("a.query_key_value.weight", (72, 24), {"num_attention_heads": 4}, "order"),
        ("a.query_key_value.weight", (72, 24), {"model_type": "gpt_neox"}, "number"),
        ("a.query_key_value.weight", (72, 24), {"model_type": "bloom", "n_head": 5}, "number"),
        ("a.query_key_value.weight", (71, 24), {"model_type": "bloom", "n_head": 4}, "do not make up"),
        ("a.qkv_proj.weight", (72, 24), {}, "order"),
        ("a.qkv_proj.weight", (72, 24), {"model_type": "codegen", "n_head": 4}, "order"),
        ("a.wqkv.weight", (72, 24), {"num_attention_heads": 4}, "order"),
        ("a.wqkv.weight", (72, 24), {"model_type": "internlm2", "num_attention_heads": 3}, ""),
        ("a.Wqkv.weight", (48, 24), {}, "number"),
        ("a.Wqkv.weight", (48, 24), {"n_heads": 4}, "do not make up"),
        ("a.Wqkv.weight", (72, 24), {"n_heads": True}, ""),
        ("a.qkv.weight", (96, 24), {}, "shape"),
        ("stages.2.blocks.0.attn.qkv.weight", (72, 24), {}, "order"),
        ("a.qkv.weight", (72, 24, 1, 1), {}, "order"),
        ("a.to_qkv.weight", (70, 24), {}, "shape"),
        ("a.kv.weight", (71, 24), {}, "shape"),
        ("a.c_attn.weight", (24, 50), {}, "shape"),
        ("in_proj_weight", (70, 24), {}, "shape"),
    ],
)
def test_a_split_that_is_not_known_is_not_guessed(tmp_path, name, shape, config, why):
    reading = spectrum(checkpoint(tmp_path / "model", {name: gaussian(*shape)}, **config))
    if why:
        assert [row.name for row in reading.weights] == [name]
        ((entry, reason),) = ledger(reading).items()
        assert entry == f"{name}[parts]"
        assert reason.startswith("measured whole: ")
        assert why in reason
    else:
        assert [row.part for row in reading.weights] == list(QKV)
        assert list(ledger(reading)) == [name]


def test_names_that_only_look_fused_stay_as_they_are(tmp_path):
    names = ("a.kv_proj.weight", "a.in_proj.weight", "a.qkv_bias_table.weight", "qkv.linear.weight", "kvs.weight")
    reading = spectrum(checkpoint(tmp_path / "model", {name: gaussian(72, 24) for name in names}))
    assert sorted(row.name for row in reading.weights) == sorted(names)
    assert reading.left_out == ()


class Attention(nn.Module):
    def __init__(self, fused, **told):
        super().__init__()
        self.qkv = nn.Linear(fused.shape[1], fused.shape[0], bias=False).double()
        self.qkv.weight.data.copy_(fused)
        self.__dict__.update(told)


@pytest.mark.parametrize("told", [{}, {"num_heads": HEADS, "head_first": False}])
def test_a_live_module_tells_that_its_thirds_are_in_a_row(told):
    q, k, v = three()
    model = nn.ModuleDict({"stages": Attention(torch.cat([q, k, v]), **told)})
    expected = {f"stages.qkv.weight[{part}]": matrix for part, matrix in zip(QKV, (q, k, v), strict=True)}
    assert_rows(spectrum(Subject(model)), expected)


def test_a_live_module_tells_that_its_heads_come_first():
    q, k, v = three()
    model = Attention(by_head(q, k, v, HEADS), num_heads=HEADS, head_first=True)
    expected = {f"qkv.weight[{part}]": matrix for part, matrix in zip(QKV, (q, k, v), strict=True)}
    assert_rows(spectrum(Subject(model)), expected)


def test_a_live_model_carries_its_config():
    class Config:
        def to_dict(self):
            return {"model_type": "gpt_neox", "num_attention_heads": HEADS}

    q, k, v = three()
    model = nn.ModuleDict({"query_key_value": nn.Linear(FEATURES, 3 * FEATURES, bias=False).double()})
    model["query_key_value"].weight.data.copy_(by_head(q, k, v, HEADS))
    assert [row.part for row in spectrum(Subject(model)).weights] == [""]
    model.config = Config()
    expected = {f"query_key_value.weight[{part}]": matrix for part, matrix in zip(QKV, (q, k, v), strict=True)}
    assert_rows(spectrum(Subject(model)), expected)


def test_multihead_attention_reads_as_three_linear_layers():
    layer = nn.MultiheadAttention(FEATURES, HEADS).double()
    reading = spectrum(Subject(layer))
    parts = layer.in_proj_weight.detach().chunk(3)
    expected = {f"in_proj_weight[{part}]": matrix for part, matrix in zip(QKV, parts, strict=True)}
    assert_rows(reading, expected | {"out_proj.weight": layer.out_proj.weight.detach()})
    # A root's parameters share a column with what other instruments say of them.
    assert list(reading.glance()[1].values) == ["in_proj_weight", "out_proj"]


@pytest.mark.parametrize(
    ("make", "gates"),
    [
        (nn.LSTM, ("input", "forget", "cell", "output")),
        (nn.GRU, ("reset", "update", "new")),
        (nn.RNN, ()),
        (nn.LSTMCell, ("input", "forget", "cell", "output")),
        (nn.GRUCell, ("reset", "update", "new")),
        (nn.RNNCell, ()),
    ],
)
@pytest.mark.parametrize("live", [True, False])
def test_gates_are_matrices_of_their_own(tmp_path, make, gates, live):
    # 12 rows a gate: every stack of them can be cut into three and into four.
    layer = make(7, 12).double()
    state = {f"walk.{name}": tensor for name, tensor in layer.state_dict().items()}
    reading = spectrum(Subject(nn.ModuleDict({"walk": layer})) if live else checkpoint(tmp_path / "model", state))
    expected = {}
    for name in [each.name.partition("[")[0] for each in reading.weights]:
        for place, gate in enumerate(gates):
            expected[f"{name}[{gate}]"] = state[name][12 * place : 12 * (place + 1)]
        if not gates:
            expected[name] = state[name]
    assert_rows(reading, expected)
    assert len(reading.weights) == 2 * max(1, len(gates))


def test_both_directions_and_a_projection(tmp_path):
    layer = nn.LSTM(7, 12, num_layers=2, bidirectional=True, proj_size=4)
    state = {f"walk.{name}": tensor for name, tensor in layer.state_dict().items()}
    live = spectrum(Subject(nn.ModuleDict({"walk": layer})))
    stored = spectrum(checkpoint(tmp_path / "model", state))
    assert sorted(row.name for row in live.weights) == sorted(row.name for row in stored.weights)
    # Two layers, two directions, two stacks of four gates and a projection.
    assert len(live.weights) == 2 * 2 * (2 * 4 + 1)
    assert {row.rows for row in live.weights} == {12, 4}


@pytest.mark.parametrize(
    ("name", "rows", "n_parts"),
    [
        ("decoder.lstm.weight_ih_l0", 24, 4),
        ("decoder.gru.weight_ih_l0", 24, 3),
        ("decoder.weight_ih_l0", 24, 1),
        ("gru_lstm.weight_ih_l0", 24, 1),
        ("decoder.lstm.weight_ih_l0", 26, 1),
    ],
)
def test_gates_without_their_recurrent_weight_need_a_name(tmp_path, name, rows, n_parts):
    reading = spectrum(checkpoint(tmp_path / "model", {name: gaussian(rows, 7)}))
    assert len(reading.weights) == n_parts
    assert list(ledger(reading)) == [name if n_parts > 1 else f"{name}[parts]"]


def test_a_recurrent_weight_of_no_known_height_stays_whole(tmp_path):
    # Five gates: a cell that is not PyTorch's.
    state = {"walk.weight_hh_l0": gaussian(60, 12), "walk.weight_ih_l0": gaussian(60, 7)}
    reading = spectrum(checkpoint(tmp_path / "model", state))
    assert [row.part for row in reading.weights] == ["", ""]
    assert len(reading.left_out) == 2


def unrolled(kernel, grid):
    """The matrix of a convolution on a periodic grid, one entry at a time."""
    out, features, *size = kernel.shape
    points = list(itertools.product(*(range(n) for n in grid)))
    place = {point: index for index, point in enumerate(points)}
    matrix = np.zeros((out, len(points), features, len(points)))
    for point in points:
        for offset in itertools.product(*(range(k) for k in size)):
            source = tuple((p + o) % n for p, o, n in zip(point, offset, grid, strict=True))
            matrix[:, place[point], :, place[source]] += kernel[(..., *offset)].numpy()
    return matrix.reshape(out * len(points), features * len(points))


@pytest.mark.parametrize(
    ("make", "shape", "grid"),
    [
        (nn.Conv1d, (3, 2, 5), (16,)),
        (nn.Conv1d, (2, 3, 17), (17,)),
        (nn.Conv2d, (3, 2, 3, 2), (16, 16)),
        (nn.ConvTranspose1d, (3, 2, 4), (16,)),
    ],
)
def test_circulant_spectrum_is_that_of_the_unrolled_operator(make, shape, grid):
    features, out = (shape[0], shape[1]) if make is nn.ConvTranspose1d else (shape[1], shape[0])
    layer = make(features, out, shape[2:], bias=False).double()
    reading = spectrum(Subject(layer), conv="circulant")
    (row,) = reading.weights
    dense = singular(unrolled(layer.weight.detach(), grid))
    # A transposed convolution is the adjoint of the one with its stored kernel, of equal singular values.
    values = reading.eigenvalues["weight"]
    assert values.size == dense.size == np.prod(grid) * min(shape[:2])
    # Blocks and operator are good to their sides' n·eps·λ_max each: 512 · 2e-16 at most.
    assert values == pytest.approx(dense, abs=1e-12 * dense[-1])
    assert (row.n_matrices, row.rows, row.cols) == (np.prod(grid), *shape[:2])
    assert row.read_as == f"circulant {'×'.join(map(str, grid))}"
    # Each point of the grid holds the kernel once.
    assert row.log_norm == pytest.approx(np.log10(np.prod(grid) * float((layer.weight.detach() ** 2).sum())), rel=1e-12)


def test_a_circulant_operator_in_three_dimensions_keeps_its_norm():
    layer = nn.Conv3d(2, 3, 2, bias=False).double()
    (row,) = spectrum(Subject(layer), conv="circulant").weights
    assert (row.n_matrices, row.read_as) == (512, "circulant 8×8×8")
    # 512 frequencies of 4 · (2²·3 + 4/3·2³) operations.
    assert SPECTRUM.expected_cost(Subject(layer), conv="circulant") == "eigenvalues of 1 tensor, 4.6e+04 operations"
    assert 10**row.log_norm == pytest.approx(512 * float((layer.weight.detach() ** 2).sum()), rel=1e-12)


def test_a_frequency_that_a_convolution_blocks_is_zero():
    layer = nn.Conv1d(1, 1, 2, bias=False).double()
    layer.weight.data.copy_(torch.tensor([[[1.0, -1.0]]]))
    reading = spectrum(Subject(layer), conv="circulant")
    # |1 − exp(2πik/16)|² = 4 sin²(πk/16): nothing of a constant passes.
    truth = np.sort(4 * np.sin(np.pi * np.arange(16) / 16) ** 2)
    assert reading.eigenvalues["weight"] == pytest.approx(truth, abs=1e-14)
    assert reading.weights[0].rank == 15


def test_frequencies_that_cancel_but_for_rounding_are_zero():
    layer = nn.Conv1d(1, 1, 4, bias=False).double()
    layer.weight.data.fill_(1.0)
    # A mean over four points blocks k = 4, 8 and 12 of 16: 1 − i − 1 + i, where the cosine of π/2 is 6e-17.
    assert spectrum(Subject(layer), conv="circulant").weights[0].rank == 13


@pytest.mark.parametrize("conv", ["slices", "flattened", "circulant"])
def test_shapes_are_known_without_reading(conv):
    parts = {"conv": nn.Conv2d(6, 9, (2, 3), groups=3), "walk": nn.GRU(5, 6), "mix": nn.MultiheadAttention(8, 2)}
    for weight in Subject(nn.ModuleDict(parts)).weights():
        if len(weight.shape) > 1:
            made = {part: tuple(each.shape) for part, each in matrices_of(weight, weight.read(), conv)}
            assert made == matrix_shapes(weight, conv), weight.name


@pytest.mark.parametrize("make", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("conv", ["slices", "flattened", "circulant"])
def test_groups_are_layers_of_their_own(make, conv):
    layer = make(6, 9, (2, 3), groups=3, bias=False).double()
    alone = []
    for kernel in layer.weight.detach().chunk(3):
        one = make(2, 3, (2, 3), bias=False).double()
        one.weight.data.copy_(kernel)
        alone.append(spectrum(Subject(one), conv=conv).eigenvalues["weight"])
    reading = spectrum(Subject(layer), conv=conv)
    assert reading.eigenvalues["weight"] == pytest.approx(np.sort(np.concatenate(alone)), rel=1e-12)
    assert reading.weights[0].rank == sum(each.size for each in alone)


def test_a_flattened_convolution_is_the_matrix_of_its_patches():
    layer = nn.Conv2d(4, 6, 3, bias=False).double()
    reading = spectrum(Subject(layer), conv="flattened")
    patches = torch.eye(36, dtype=torch.float64).reshape(36, 4, 3, 3)
    matrix = layer(patches).detach().reshape(36, 6).T
    assert_rows(reading, {"weight": matrix})
    (row,) = reading.weights
    assert (row.n_matrices, row.rows, row.cols, row.read_as) == (1, 6, 36, "flattened")


def test_depthwise_convolutions_are_in_the_ledger_and_single_channels_are_not():
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv1d(8, 16, 3, groups=8))
    reading = spectrum(Subject(model))
    assert [row.name for row in reading.weights] == ["0.weight"]
    assert "depthwise" in ledger(reading)["1.weight"]
    assert "depthwise" in ledger(reading)["2.weight"]


def test_how_a_convolution_is_read_changes_no_other_tensor():
    model = nn.Sequential(nn.Linear(30, 20), nn.Embedding(40, 8), nn.LSTM(8, 12))
    one, *others = (spectrum(Subject(model), conv=conv) for conv in ("slices", "flattened", "circulant"))
    for other in others:
        assert other.weights == one.weights
    assert {row.read_as for row in one.weights} == {""}


def test_an_unknown_way_to_read_convolutions_is_refused():
    with pytest.raises(UsageError, match="convolution"):
        spectrum(Subject(nn.Conv1d(2, 2, 2)), conv="unrolled")


@pytest.mark.parametrize("turned", [False, True])
def test_experts_read_alike_in_either_orientation(tmp_path, turned):
    experts = gaussian(3, 10, 16)
    stack = experts.mT if turned else experts
    reading = spectrum(checkpoint(tmp_path / "model", {"mlp.experts.up_proj": stack}))
    truth = np.sort(np.concatenate([singular(each) for each in experts]))
    assert reading.eigenvalues["mlp.experts.up_proj"] == pytest.approx(truth, rel=1e-8)
    assert reading.weights[0].n_matrices == 3


def test_tied_tensors_are_measured_once():
    model = nn.ModuleDict({"embed": nn.Embedding(30, 8), "head": nn.Linear(8, 30, bias=False)})
    model["head"].weight = model["embed"].weight
    reading = spectrum(Subject(model))
    assert [row.name for row in reading.weights] == ["embed.weight"]
    assert ledger(reading) == {"head.weight": "the same tensor as embed.weight"}


def test_a_budget_is_one_for_each_part(tmp_path):
    q, k, v = three(heads=(4, 1))
    told = {"model_type": "falcon", "num_attention_heads": 4, "multi_query": True}
    subject = checkpoint(tmp_path / "model", {"a.query_key_value.weight": torch.cat([q, k, v])}, **told)
    reading = spectrum(subject, max_side=6)
    assert [row.part for row in reading.weights] == ["key", "value"]
    assert "24" in ledger(reading)["a.query_key_value.weight[query]"]
    # Two matrices 6 × 24: 2 · (6²·24 + 4/3·6³) = 2,304 operations.
    assert SPECTRUM.expected_cost(subject, max_side=6) == "eigenvalues of 1 tensor, 2.3e+03 operations"


def test_layouts_travel_with_handles_and_readings(tmp_path):
    subject = Subject(nn.ModuleDict({"mix": nn.MultiheadAttention(8, 2), "conv": nn.Conv2d(4, 4, 2, groups=2)}))
    weights = subject.weights()
    assert [each.layout for each in pickle.loads(pickle.dumps(weights))] == [each.layout for each in weights]
    reading = spectrum(subject)
    reading.save(tmp_path)
    assert Spectrum.load(tmp_path) == reading


def test_every_tensor_of_two_dimensions_is_a_row_or_in_the_ledger():
    model = nn.ModuleDict(
        {
            "conv": nn.Conv2d(4, 4, 3, groups=4),
            "mix": nn.MultiheadAttention(8, 2),
            "walk": nn.GRU(8, 8),
            "norm": nn.LayerNorm((4, 4)),
        }
    )
    reading = spectrum(Subject(model))
    told = {row.name for row in reading.weights} | set(ledger(reading))
    assert {name for name, tensor in model.named_parameters() if tensor.ndim >= 2} <= told


def test_a_finding_on_a_part_names_the_part_and_points_to_its_tensor():
    layer = nn.MultiheadAttention(40, 4).double()
    with torch.no_grad():
        layer.in_proj_weight[40:80] = torch.outer(gaussian(40), gaussian(40, seed=1))
    (warning,) = [each for each in spectrum(Subject(layer)).findings() if each.severity == "warning"]
    assert warning.where == "in_proj_weight"
    assert warning.message.startswith("in_proj_weight[key] has rank 1")


def weight_normed(layer, live):
    """A layer with a gain that is not the norm of its direction, in the new form or the old."""
    layer = parametrizations.weight_norm(layer) if live else weight_norm(layer)
    with torch.no_grad():
        for name, tensor in layer.named_parameters():
            if name.endswith(("original0", "_g")):
                tensor.mul_(torch.linspace(0.5, 3, tensor.numel()).reshape(tensor.shape))
    # The old form computes the weight anew only in a forward pass.
    for hook in layer._forward_pre_hooks.values():
        hook(layer, None)
    return layer


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(9, 6), lambda: nn.Conv1d(5, 6, 3), lambda: nn.ConvTranspose2d(5, 6, 2)]
)
def test_a_weight_normed_layer_reads_as_its_effective_weight(tmp_path, make, new, live):
    model = nn.ModuleDict({"conv": weight_normed(make().double(), new)})
    plain = make().double()
    plain.weight.data.copy_(model["conv"].weight)
    expected = spectrum(Subject(nn.ModuleDict({"conv": plain})))
    reading = spectrum(Subject(model) if live else checkpoint(tmp_path / "model", model.state_dict()))
    assert [row.name for row in reading.weights] == ["conv.weight"]
    # The same product in another order: a few roundings of 2e-16, amplified by the condition of the small values.
    assert reading.eigenvalues["conv.weight"] == pytest.approx(expected.eigenvalues["conv.weight"], rel=1e-9)
    factors = (
        ("conv.parametrizations.weight.original0", "conv.parametrizations.weight.original1")
        if new
        else ("conv.weight_g", "conv.weight_v")
    )
    for factor in factors:
        assert ledger(reading)[factor] == "a factor of conv.weight, which is measured"


def test_gates_and_groups_of_normed_layers():
    lstm = parametrizations.weight_norm(nn.LSTM(5, 6).double(), "weight_hh_l0")
    conv = parametrizations.weight_norm(nn.Conv1d(4, 6, 3, groups=2).double())
    reading = spectrum(Subject(nn.ModuleDict({"walk": lstm, "conv": conv})))
    gates = lstm.weight_hh_l0.detach().chunk(4)
    for gate, matrix in zip(("input", "forget", "cell", "output"), gates, strict=True):
        assert reading.eigenvalues[f"walk.weight_hh_l0[{gate}]"] == pytest.approx(singular(matrix), rel=1e-8)
    (row,) = [each for each in reading.weights if each.layer == "conv"]
    assert (row.rows, row.cols, row.n_matrices) == (3, 2, 6)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_norm_over_all_dimensions():
    layer = weight_norm(nn.Linear(7, 5, bias=False).double(), dim=None)
    with torch.no_grad():
        layer.weight_g.fill_(3.0)
    (row,) = spectrum(Subject(layer)).weights
    # ‖W‖_F is the gain.
    assert row.log_norm == pytest.approx(np.log10(9), rel=1e-12)


@pytest.mark.parametrize("wrap", [parametrizations.spectral_norm, spectral_norm])
@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(9, 6), lambda: nn.Conv2d(5, 6, 3), lambda: nn.ConvTranspose1d(5, 6, 3)]
)
def test_a_spectrally_normed_layer_reads_as_its_effective_weight(tmp_path, make, wrap, live):
    model = nn.ModuleDict({"conv": wrap(make().double())}).eval()
    for hook in model["conv"]._forward_pre_hooks.values():
        hook(model["conv"], None)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    reading = spectrum(Subject(model) if live else checkpoint(tmp_path / "model", before), conv="flattened")
    assert_rows(reading, {"conv.weight": model["conv"].weight.detach().flatten(1)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_equal_sides_leave_an_undivided_weight_as_it_is_stored(tmp_path):
    model = parametrizations.spectral_norm(nn.ConvTranspose1d(4, 4, 3).double())
    assert [row.name for row in spectrum(Subject(model)).weights] == ["weight"]
    stored = spectrum(checkpoint(tmp_path / "model", model.state_dict()))
    # Along which side the norm was taken is not told there.
    assert [row.name for row in stored.weights] == ["parametrizations.weight.original"]


def test_what_only_looks_normed_stays_as_it_is_stored(tmp_path):
    tensors = {
        "alone.weight_v": gaussian(6, 5),
        "wrong.weight_v": gaussian(6, 5),
        "wrong.weight_g": gaussian(4, 1),
        "whole.weight_v": gaussian(6, 5),
        "whole.weight_g": gaussian(6, 5),
    }
    reading = spectrum(checkpoint(tmp_path / "model", tensors))
    assert {row.name for row in reading.weights} == set(tensors)


def test_two_parametrisations_in_a_row_are_not_taken_for_one():
    class Doubled(nn.Module):
        def forward(self, weight):
            return 2 * weight

    layer = parametrizations.weight_norm(nn.Linear(6, 6).double())
    nn.utils.parametrize.register_parametrization(layer, "weight", Doubled())
    assert "weight" not in {row.name for row in spectrum(Subject(layer)).weights}


RANK = 3


def adapted(out=10, features=7, base=None):
    up, down = gaussian(out, RANK), gaussian(RANK, features, seed=1)
    return up, down, gaussian(out, features, seed=2) if base is None else base


def adapter_checkpoint(folder, tensors, config):
    folder.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **config}))
    return Subject.from_checkpoint(folder)


def assert_product(reading, name, product):
    values = reading.eigenvalues[name]
    # Values other than 0 of the dense product; its n·eps is 1e-15 of the largest.
    assert values == pytest.approx(singular(product)[-RANK:], rel=1e-9)
    (row,) = [each for each in reading.weights if each.name == name]
    assert (row.rows, row.cols, row.rank, row.read_as) == (RANK, RANK, RANK, "low-rank core")


@pytest.mark.parametrize("between", [".", ".default."])
@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"lora_alpha": 6, "r": 3}, 2.0),
        # The rank is the tensors' own.
        ({"lora_alpha": 6, "r": 8, "rank_pattern": {"q_proj": 3}}, 2.0),
        ({"lora_alpha": 6, "use_rslora": True}, 6 / 3**0.5),
        ({"lora_alpha": 6, "alpha_pattern": {"attn.q_proj": 12}}, 4.0),
        ({"lora_alpha": 6, "alpha_pattern": {"proj": 12, "v_proj": 24}}, 2.0),
    ],
)
def test_an_adapter_is_its_scaled_product(tmp_path, between, config, scale):
    up, down, _ = adapted()
    layer = "base_model.model.h.0.attn.q_proj"
    names = (f"{layer}.lora_B{between}weight", f"{layer}.lora_A{between}weight")
    reading = spectrum(adapter_checkpoint(tmp_path / "a", dict(zip(names, (up, down), strict=True)), config))
    assert_product(reading, f"{layer}.weight[lora]", scale * up @ down)
    for name in names:
        assert ledger(reading)[name] == f"a factor of {layer}.weight[lora], which is measured"
    assert len(reading.left_out) == 2
    assert not [each for each in reading.findings() if each.severity == "warning"]


@pytest.mark.parametrize("config", [{}, {"lora_alpha": True}, {"lora_alpha": 6, "alpha_pattern": {"(q|v)_proj": 12}}])
def test_a_scale_that_is_not_told_is_one_and_nothing_is_merged(tmp_path, config):
    up, down, base = adapted()
    tensors = {"q.lora_B.weight": up, "q.lora_A.weight": down, "q.weight": base}
    reading = spectrum(adapter_checkpoint(tmp_path / "a", tensors, {"fan_in_fan_out": False, **config}))
    assert {row.name for row in reading.weights} == {"q.weight", "q.weight[lora]"}
    assert_product(reading, "q.weight[lora]", up @ down)
    assert ledger(reading)["q.weight[lora][scale]"].startswith("measured without its scale")


@pytest.mark.parametrize("base_name", ["q.weight", "q.base_layer.weight"])
@pytest.mark.parametrize("fan_in_fan_out", [True, False])
def test_base_and_adapter_are_measured_alone_and_merged(tmp_path, base_name, fan_in_fan_out):
    up, down, base = adapted(out=8, features=8)
    tensors = {"q.lora_B.weight": up, "q.lora_A.weight": down, base_name: base}
    config = {"lora_alpha": 6, "fan_in_fan_out": fan_in_fan_out}
    reading = spectrum(adapter_checkpoint(tmp_path / "a", tensors, config))
    update = 2 * up @ down
    merged = base + (update.T if fan_in_fan_out else update)
    assert reading.eigenvalues[base_name] == pytest.approx(singular(base), rel=1e-8)
    assert reading.eigenvalues[f"{base_name}[merged]"] == pytest.approx(singular(merged), rel=1e-8)
    assert_product(reading, "q.weight[lora]", update)


def test_a_square_update_of_untold_orientation_is_not_merged(tmp_path):
    up, down, base = adapted(out=8, features=8)
    tensors = {"q.lora_B.weight": up, "q.lora_A.weight": down, "q.weight": base}
    reading = spectrum(adapter_checkpoint(tmp_path / "a", tensors, {"lora_alpha": 6}))
    assert {row.name for row in reading.weights} == {"q.weight", "q.weight[lora]"}


def test_a_merged_fused_projection_is_split_as_its_base(tmp_path):
    q, k, v = three()
    up, down = gaussian(72, RANK), gaussian(RANK, 24, seed=9)
    fused = torch.cat([q.T, k.T, v.T], 1)
    tensors = {"c_attn.lora_B.default.weight": up, "c_attn.lora_A.default.weight": down,
               "c_attn.base_layer.weight": fused}  # fmt: skip
    reading = spectrum(adapter_checkpoint(tmp_path / "a", tensors, {"lora_alpha": 3, "fan_in_fan_out": True}))
    for place, (part, matrix) in enumerate(zip(QKV, (q, k, v), strict=True)):
        update = (up @ down)[24 * place : 24 * (place + 1)]
        assert reading.eigenvalues[f"c_attn.base_layer.weight[{part}]"] == pytest.approx(singular(matrix), rel=1e-8)
        merged = reading.eigenvalues[f"c_attn.base_layer.weight[merged][{part}]"]
        assert merged == pytest.approx(singular(matrix + update), rel=1e-8)


def test_adapters_of_convolutions_and_embeddings(tmp_path):
    conv_up, conv_down, conv = gaussian(5, RANK, 1, 1), gaussian(RANK, 4, 3, 3, seed=1), gaussian(5, 4, 3, 3, seed=2)
    up, down, table = gaussian(6, RANK), gaussian(RANK, 20, seed=1), gaussian(20, 6, seed=2)
    tensors = {
        "conv.lora_B.weight": conv_up, "conv.lora_A.weight": conv_down, "conv.weight": conv,
        "embed.lora_embedding_B": up, "embed.lora_embedding_A": down, "embed.weight": table,
    }  # fmt: skip
    subject = adapter_checkpoint(tmp_path / "a", tensors, {"lora_alpha": 3, "fan_in_fan_out": False})
    reading = spectrum(subject, conv="flattened")
    update = nn.functional.conv2d(conv_down.transpose(0, 1), conv_up).transpose(0, 1)
    assert_product(reading, "conv.weight[lora]", update.flatten(1))
    assert reading.eigenvalues["conv.weight[merged]"] == pytest.approx(singular((conv + update).flatten(1)), rel=1e-8)
    assert_product(reading, "embed.weight[lora]", up @ down)
    assert reading.eigenvalues["embed.weight[merged]"] == pytest.approx(singular(table + (up @ down).T), rel=1e-8)


class LoraLayer(nn.Module):
    """The attributes of PEFT's layers that tell how an update is used."""

    def __init__(self, **told):
        super().__init__()
        up, down, base = adapted(out=8, features=8)
        self.base_layer = nn.Linear(8, 8, bias=False)
        self.lora_A, self.lora_B = (nn.ModuleDict({"style": nn.Linear(8, 8, bias=False)}) for _ in "AB")
        for module, tensor in ((self.base_layer, base), (self.lora_A["style"], down), (self.lora_B["style"], up)):
            module.weight = nn.Parameter(tensor)
        self.scaling, self.fan_in_fan_out, self.merged_adapters = {"style": 0.5}, False, []
        self.__dict__.update(told)


def test_a_live_layer_tells_its_scale_and_whether_it_is_merged():
    up, down, base = adapted(out=8, features=8)
    reading = spectrum(Subject(nn.ModuleDict({"q": LoraLayer()})))
    assert_product(reading, "q.weight[lora style]", 0.5 * up @ down)
    merged = reading.eigenvalues["q.base_layer.weight[merged style]"]
    assert merged == pytest.approx(singular(base + 0.5 * up @ down), rel=1e-8)
    again = spectrum(Subject(nn.ModuleDict({"q": LoraLayer(merged_adapters=["style"])})))
    assert {row.name for row in again.weights} == {"q.base_layer.weight", "q.weight[lora style]"}


@pytest.mark.parametrize("ending", ["", ".weight", ".default.weight"])
@pytest.mark.parametrize("fan_in_fan_out", [True, False])
def test_a_magnitude_beside_the_factors_is_the_norm_of_each_output(tmp_path, fan_in_fan_out, ending):
    up, down, base = adapted()
    magnitude = torch.arange(1.0, 11.0, dtype=torch.float64)
    name = f"q.lora_magnitude_vector{ending}"
    tensors = {
        "q.lora_B.default.weight": up,
        "q.lora_A.default.weight": down,
        "q.weight": base.T if fan_in_fan_out else base,
        name: magnitude,
    }
    reading = spectrum(adapter_checkpoint(tmp_path / "a", tensors, {"lora_alpha": 6, "fan_in_fan_out": fan_in_fan_out}))
    merged = base + 2 * up @ down
    rows = [m * row / row.norm() for m, row in zip(magnitude, merged, strict=True)]
    assert reading.eigenvalues["q.weight[merged]"] == pytest.approx(singular(torch.stack(rows)), rel=1e-8)
    # Each row has its norm, whatever the factors are: Σλ = Σm².
    assert reading.eigenvalues["q.weight[merged]"].sum() == pytest.approx(float(magnitude.square().sum()), rel=1e-12)
    assert ledger(reading)[name] == "a factor of q.weight[merged], which is measured"


def test_magnitudes_of_a_convolution(tmp_path):
    up, down, conv = gaussian(5, RANK, 1, 1), gaussian(RANK, 4, 3, 3, seed=1), gaussian(5, 4, 3, 3, seed=2)
    magnitude = torch.arange(1.0, 6.0, dtype=torch.float64)
    tensors = {"c.lora_B.weight": up, "c.lora_A.weight": down, "c.weight": conv,
               "c.lora_magnitude_vector": magnitude.view(1, 5, 1, 1)}  # fmt: skip
    subject = adapter_checkpoint(tmp_path / "a", tensors, {"lora_alpha": 3, "fan_in_fan_out": False})
    update = nn.functional.conv2d(down.transpose(0, 1), up).transpose(0, 1)
    merged = (conv + update).flatten(1)
    expected = magnitude[:, None] * nn.functional.normalize(merged)
    assert spectrum(subject, conv="flattened").eigenvalues["c.weight[merged]"] == pytest.approx(
        singular(expected), rel=1e-8
    )


def test_a_magnitude_of_another_length_is_not_applied(tmp_path):
    up, down, base = adapted()
    tensors = {"q.lora_B.weight": up, "q.lora_A.weight": down, "q.weight": base, "q.lora_magnitude_vector": gaussian(7)}
    subject = adapter_checkpoint(tmp_path / "a", tensors, {"lora_alpha": 6, "fan_in_fan_out": False})
    assert {row.name for row in spectrum(subject).weights} == {"q.weight", "q.weight[lora]"}


def test_adapters_by_kohyas_names(tmp_path):
    layer, conv = "lora_unet_mid_block_attentions_0_to_q", "lora_unet_down_blocks_0_resnets_0_conv1"
    up, down, _ = adapted()
    conv_up, conv_down = gaussian(5, RANK, 1, 1), gaussian(RANK, 4, 3, 3, seed=1)
    tensors = {
        f"{layer}.alpha": torch.tensor(6.0), f"{layer}.lora_up.weight": up, f"{layer}.lora_down.weight": down,
        f"{conv}.lora_up.weight": conv_up, f"{conv}.lora_down.weight": conv_down,
    }  # fmt: skip
    reading = spectrum(checkpoint(tmp_path / "a", tensors))
    assert len(reading.weights) == 2
    assert_product(reading, f"{layer}.weight[lora]", 2 * up @ down)
    update = nn.functional.conv2d(conv_down.transpose(0, 1), conv_up).transpose(0, 1)
    assert_product(reading, f"{conv}.weight[lora]", update.flatten(1))
    said = ledger(reading)
    assert said[f"{layer}.alpha"] == f"the scale of {layer}.weight[lora], applied: alpha / 3"
    assert said[f"{conv}.weight[lora][scale]"] == "measured without its scale: no alpha is beside it"
    assert said[f"{layer}.lora_up.weight"] == f"a factor of {layer}.weight[lora], which is measured"


@pytest.mark.parametrize("alpha", [torch.tensor(1j), torch.tensor(torch.nan), torch.ones(2)])
def test_an_alpha_of_kohya_that_is_no_number_is_no_scale(tmp_path, alpha):
    up, down, _ = adapted()
    tensors = {"q.lora_up.weight": up, "q.lora_down.weight": down, "q.alpha": alpha}
    said = ledger(spectrum(checkpoint(tmp_path / "a", tensors)))
    assert said["q.weight[lora][scale]"] == "measured without its scale: no alpha is beside it"


@pytest.mark.parametrize("other", ["lora_mid.weight", "dora_scale"])
def test_an_update_of_kohya_that_is_no_product_of_two_is_measured_by_its_factors(tmp_path, other):
    up, down, _ = adapted()
    tensors = {"q.lora_up.weight": up, "q.lora_down.weight": down, f"q.{other}": gaussian(3, 3, seed=5)}
    names = {row.name for row in spectrum(checkpoint(tmp_path / "a", tensors)).weights}
    assert {"q.lora_up.weight", "q.lora_down.weight"} <= names
    assert "q.weight[lora]" not in names


def test_factors_that_do_not_fit_are_measured_as_they_are(tmp_path):
    tensors = {"q.lora_B.weight": gaussian(10, 4), "q.lora_A.weight": gaussian(3, 7), "v.lora_B.weight": gaussian(9, 4)}
    reading = spectrum(adapter_checkpoint(tmp_path / "a", tensors, {"lora_alpha": 6}))
    assert {row.name for row in reading.weights} == set(tensors)


def test_a_fresh_adapter_has_rank_zero(tmp_path):
    tensors = {"q.lora_B.weight": torch.zeros(10, 3), "q.lora_A.weight": gaussian(3, 7)}
    (row,) = spectrum(adapter_checkpoint(tmp_path / "a", tensors, {"lora_alpha": 6})).weights
    assert (row.name, row.status, row.rank) == ("q.weight[lora]", "all values are zero", 0)


def test_large_tensors_are_read_once_and_derived_ones_travel(tmp_path, monkeypatch):
    up, down, base = adapted()
    tensors = {"q.lora_B.weight": up, "q.lora_A.weight": down, "q.weight": base,
               "n.weight_v": gaussian(6, 5), "n.weight_g": torch.ones(6, 1)}  # fmt: skip
    subject = adapter_checkpoint(tmp_path / "a", tensors, {"lora_alpha": 6, "fan_in_fan_out": False})
    weights = pickle.loads(pickle.dumps(subject.weights()))
    assert weights == subject.weights()
    counts = Counter()
    kind = type(weights[0])
    original = kind.read
    monkeypatch.setattr(kind, "read", lambda self: (counts.update([self.name]), original(self))[1])
    spectrum(subject)
    assert counts["q.weight"] == counts["n.weight_v"] == 1
    # The small factors once for themselves, and once for each matrix that another tensor makes with them.
    assert counts == {"q.weight": 1, "n.weight_v": 1, "n.weight_g": 2, "q.lora_B.weight": 2, "q.lora_A.weight": 3}


def test_values_that_are_not_finite_leave_a_status(tmp_path):
    up, down, base = adapted()
    up[0, 0] = torch.nan
    tensors = {"q.lora_B.weight": up, "q.lora_A.weight": down, "q.weight": base,
               "n.weight_v": torch.zeros(6, 5), "n.weight_g": torch.ones(6, 1)}  # fmt: skip
    subject = adapter_checkpoint(tmp_path / "a", tensors, {"lora_alpha": 6, "fan_in_fan_out": False})
    status = {row.name: row.status for row in spectrum(subject).weights}
    for name in ("q.weight[lora]", "q.weight[merged]", "n.weight"):
        assert "not finite" in status[name], name
    assert "not finite" not in status["q.weight"]


def test_what_is_made_of_tensors_counts_in_the_cost(tmp_path):
    up, down, base = adapted()
    tensors = {"q.lora_B.weight": up, "q.lora_A.weight": down, "q.weight": base}
    subject = adapter_checkpoint(tmp_path / "a", tensors, {"lora_alpha": 6, "fan_in_fan_out": False})
    # 10 × 7 twice: 2 · (7²·10 + 4/3·7³); 3 × 3 once: 3³ + 4/3·3³. Sum 1,958.
    assert SPECTRUM.expected_cost(subject) == "eigenvalues of 2 tensors, 2.0e+03 operations"
    reading = spectrum(subject, max_side=5)
    assert [row.name for row in reading.weights] == ["q.weight[lora]"]
    assert "q.weight[merged]" in ledger(reading)
