"""Quantised weights: each convention against a twin that undoes it block by block, each doubt left in the ledger."""

import itertools
import json
import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deepscope.instruments import anatomy
from deepscope.instruments import spectrum as full_spectrum
from deepscope.lab import compare
from deepscope.lab._target import load_weights
from deepscope.subject import Subject, read_checkpoint

FLOAT8 = torch.float8_e4m3fn
#: Which values are read is asked here, not what noise of their shape would give.
spectrum = partial(full_spectrum, bootstrap=0, null=None, alternatives=False)


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def positive(*shape, seed=1):
    """Scales of a few sizes, none of them a power of two."""
    return 0.01 * (1 + torch.rand(shape, generator=torch.Generator().manual_seed(seed)))


def checkpoint(folder, tensors, **config):
    folder.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return Subject.from_checkpoint(folder)


def ledger(reading):
    return {entry.name: entry.reason for entry in reading.left_out}


def by_blocks(values, scale, block):
    """Multiply each block with its scale, one after another, in float64."""
    undone = values.double().clone()
    for place in itertools.product(*(range(-(-size // side)) for size, side in zip(values.shape, block, strict=True))):
        where = tuple(slice(i * side, (i + 1) * side) for i, side in zip(place, block, strict=True))
        undone[where] *= scale.double().reshape([-(-s // b) for s, b in zip(values.shape, block, strict=True)])[place]
    return undone


def assert_rounded_once(found, exact):
    # The factors are exact in float32, their product is rounded.
    torch.testing.assert_close(found.double(), exact.double(), rtol=2**-24, atol=0.0)


WHOLE, ROWS, BLOCKS = (300, 200), (1, 200), (128, 128)
CONVENTIONS = {
    "a number": ("w.weight_scale", (), WHOLE, "one for all"),
    "a vector of one": ("w.weight_scale", (1,), WHOLE, "one for all"),
    "a row's, flat": ("w.weight_scale", (300,), ROWS, "one a row"),
    "a row's, as a column": ("w.weight_scale", (300, 1), ROWS, "one a row"),
    "blocks that the edges cut": ("w.weight_scale_inv", (3, 2), BLOCKS, "one for each block of 128×128"),
    "blocks of a row": ("w.weight_scale", (300, 2), (1, 128), "one for each block of 1×128"),
}


@pytest.mark.parametrize("dtype", [FLOAT8, torch.float8_e5m2, torch.int8])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_values_are_multiplied_with_the_scale_that_they_share(tmp_path, convention, dtype):
    name, shape, block, share = CONVENTIONS[convention]
    values = (gaussian(300, 200) * 30).to(dtype)
    scale = positive(*shape)
    subject = checkpoint(tmp_path / "model", {"w.weight": values, name: scale})
    twin = by_blocks(values, scale, block)
    weight = next(each for each in subject.weights() if each.name == "w.weight")
    assert_rounded_once(weight.read(), twin)
    assert (weight.dtype, weight.nbytes) == (str(dtype).removeprefix("torch."), 60_000)
    reading = spectrum(subject)
    assert [row.name for row in reading.weights] == ["w.weight"]
    # Each entry is off by 6e-8 of itself, and so is the matrix: ‖E‖ ≤ 6e-8·‖W‖_F, some 8 times the spectral norm.
    expected = np.sort(np.linalg.svd(twin.numpy(), compute_uv=False) ** 2)
    assert reading.eigenvalues["w.weight"] == pytest.approx(expected, abs=1e-6 * expected[-1])
    assert ledger(reading) == {name: f"the scale of w.weight, applied: value · scale, {share}"}


def test_what_quantising_lost_is_all_that_is_lost(tmp_path):
    W = gaussian(256, 384) * 10 ** gaussian(256, 1, seed=2)
    rows = W.abs().amax(1)
    blocks = W.view(2, 128, 3, 128).abs().amax((1, 3)) / 448
    tensors = {
        "a.weight": torch.round(127 * W / rows[:, None]).to(torch.int8),
        "a.SCB": rows,
        "a.weight_format": torch.tensor(0, dtype=torch.uint8),
        "b.weight": (W / blocks.repeat_interleave(128, 0).repeat_interleave(128, 1)).to(FLOAT8),
        "b.weight_scale_inv": blocks,
    }
    read = {each.name: each.read() for each in checkpoint(tmp_path / "model", tensors).weights()}
    # Half a step of a row's 127; and of float8, with its 3 bits, a sixteenth, or half of its smallest step of 2⁻⁹.
    assert ((read["a.weight"] - W).abs() <= rows[:, None] / 254 * (1 + 1e-5)).all()
    assert ((read["b.weight"] - W).abs() <= torch.maximum(W.abs() / 16, blocks.max() * 2**-10) * (1 + 1e-5)).all()


def test_the_largest_magnitudes_of_bitsandbytes_stand_for_127(tmp_path):
    values = (gaussian(20, 30) * 30).to(torch.int8)
    tensors = {"w.weight": values, "w.SCB": positive(20), "w.weight_format": torch.tensor(0, dtype=torch.uint8)}
    subject = checkpoint(tmp_path / "model", tensors)
    (row,) = spectrum(subject).weights
    twin = values.double() * tensors["w.SCB"].double()[:, None] / 127
    # log₁₀ of the squared norm of entries that are off by 6e-8 each, rounded twice.
    assert row.log_norm == pytest.approx(math.log10(float(twin.square().sum())), abs=1e-6)
    assert ledger(spectrum(subject)) == {
        "w.SCB": "the scale of w.weight, applied: value · scale / 127, one a row",
        "w.weight_format": "says that w.weight is stored row by row",
    }


def test_a_zero_point_is_taken_off_first(tmp_path):
    values = (gaussian(20, 30) * 30 + 40).to(torch.int8)
    zero = torch.arange(20, dtype=torch.int8)[:, None] + 30
    tensors = {"w.weight": values, "w.weight_scale": positive(20, 1), "w.weight_zero_point": zero}
    subject = checkpoint(tmp_path / "model", tensors)
    (weight,) = (each for each in subject.weights() if each.name == "w.weight")
    twin = (values.double() - zero.double()) * tensors["w.weight_scale"].double()
    assert_rounded_once(weight.read(), twin)
    assert ledger(spectrum(subject)) == {
        "w.weight_scale": "the scale of w.weight, applied: (value − zero point) · scale, one a row",
        "w.weight_zero_point": "the zero point of w.weight, applied",
    }


def test_stacks_of_experts_and_convolutions(tmp_path):
    values = {
        "experts.down_proj": (gaussian(3, 256, 130) * 9).to(FLOAT8),
        "conv.weight": torch.ones(8, 4, 3, 3).to(FLOAT8),
    }
    scales = {"experts.down_proj_scale_inv": positive(3, 2, 2), "conv.weight_scale": positive(8)}
    subject = checkpoint(tmp_path / "model", {**values, **scales})
    read = {each.name: each.read().double() for each in subject.weights()}
    blocks = by_blocks(values["experts.down_proj"], scales["experts.down_proj_scale_inv"], (1, 128, 128))
    assert_rounded_once(read["experts.down_proj"], blocks)
    rows = by_blocks(values["conv.weight"], scales["conv.weight_scale"], (1, 4, 3, 3))
    assert_rounded_once(read["conv.weight"], rows)
    assert {row.name: row.n_matrices for row in spectrum(subject).weights} == {"experts.down_proj": 3, "conv.weight": 9}


def test_the_config_tells_other_blocks(tmp_path):
    values, scale = (gaussian(96, 64) * 9).to(FLOAT8), positive(3, 2)
    tensors = {"w.weight": values, "w.weight_scale_inv": scale}
    (weight, _) = checkpoint(tmp_path / "told", tensors, quantization_config={"weight_block_size": [32, 32]}).weights()
    assert_rounded_once(weight.read(), by_blocks(values, scale, (32, 32)))
    assert not spectrum(checkpoint(tmp_path / "untold", tensors)).weights


def test_powers_of_two_as_scales(tmp_path):
    scale = torch.tensor([[0.25], [2.0]]).to(torch.float8_e8m0fnu)
    torch.save({"w.weight": torch.ones(2, 3).to(FLOAT8), "w.weight_scale": scale}, tmp_path / "m.pt")
    (weight, _) = read_checkpoint(tmp_path / "m.pt").weights
    assert weight.read().tolist() == [[0.25] * 3, [2.0] * 3]


DOUBTS = {
    "no scale": (torch.int8, {}, "no scale is beside it"),
    "a scale of another shape": (torch.int8, {"w.weight_scale": positive(7)}, "w.weight_scale (float32, [7]) applies"),
    "a scale of columns": (FLOAT8, {"w.weight_scale": positive(30)}, "is not known"),
    "blocks of no known size": (FLOAT8, {"w.weight_scale_inv": positive(4, 3)}, "is not known"),
    "two scales": (FLOAT8, {"w.weight_scale": positive(1), "w.weight_scale_inv": positive(1)}, "is not known"),
    "a scale in integers": (
        FLOAT8,
        {"w.weight_scale": torch.full((20, 1), 120, dtype=torch.uint8)},
        "(uint8, [20, 1])",
    ),
    "columns in another order": (
        torch.int8,
        {"w.weight_scale": positive(20, 1), "w.weight_g_idx": torch.arange(30)},
        "is not known",
    ),
    "a zero point of another shape": (
        torch.int8,
        {"w.weight_scale": positive(20, 1), "w.weight_zero_point": torch.zeros(1, dtype=torch.int8)},
        "is not known",
    ),
    "tiles of a GPU": (
        torch.int8,
        {"w.SCB": positive(20), "w.weight_format": torch.tensor(2, dtype=torch.uint8)},
        "w.SCB (float32, [20]) applies",
    ),
    **{
        f"a format of {number}": (torch.int8, {"w.SCB": positive(20), "w.weight_format": torch.tensor(number)}, "w.SCB")
        for number in (0.5, math.nan, math.inf, 1j)
    },
    "a complex zero point": (
        torch.int8,
        {"w.weight_scale": positive(20, 1), "w.weight_zero_point": torch.full((20, 1), 1j)},
        "is not known",
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_convention_that_is_not_certain_is_not_guessed(tmp_path, doubt):
    dtype, beside, why = DOUBTS[doubt]
    subject = checkpoint(tmp_path / "model", {"w.weight": (gaussian(20, 30) * 9).to(dtype), **beside})
    reading = spectrum(subject)
    assert not reading.weights
    assert why in ledger(reading)["w.weight"]
    assert {entry.name for entry in reading.left_out} == {"w.weight", *beside}
    seen = {each.name: each for each in anatomy(subject).tensors}["w.weight"]
    assert (seen.rms, seen.status) == (None, ledger(reading)["w.weight"])


def test_a_vector_beside_a_stack_could_be_one_for_each_expert_or_each_row(tmp_path):
    tensors = {"experts.up_proj": torch.ones(20, 20, 30).to(FLOAT8), "experts.up_proj_scale": positive(20)}
    assert not spectrum(checkpoint(tmp_path / "model", tensors)).weights


def test_float8_without_a_scale_is_measured_as_it_is_and_says_so(tmp_path):
    values = gaussian(20, 30).to(FLOAT8)
    reading = spectrum(checkpoint(tmp_path / "model", {"w.weight": values}))
    assert reading.weights[0].log_norm == pytest.approx(math.log10(float(values.double().square().sum())), rel=1e-12)
    assert ledger(reading) == {"w.weight[scale]": "measured as stored, in float8_e4m3fn: no scale is beside it"}


def integers(*shape, dtype):
    return torch.ones(shape, dtype=dtype)


PACKED = {
    "GPTQ": {
        "w.qweight": integers(4, 32, dtype=torch.int32),
        "w.qzeros": integers(1, 4, dtype=torch.int32),
        "w.scales": positive(1, 32),
        "w.g_idx": integers(32, dtype=torch.int32),
    },
    "AWQ": {
        "w.qweight": integers(32, 4, dtype=torch.int32),
        "w.qzeros": integers(1, 4, dtype=torch.int32),
        "w.scales": positive(1, 32),
    },
    "compressed-tensors": {
        "w.weight_packed": integers(32, 4, dtype=torch.int32),
        "w.weight_scale": positive(32, 1),
        "w.weight_shape": torch.tensor([32, 32]),
    },
    "bitsandbytes": {
        "w.weight": integers(512, 1, dtype=torch.uint8),
        "w.weight.absmax": positive(16),
        "w.weight.quant_map": positive(16),
        "w.weight.quant_state.bitsandbytes__nf4": integers(9, dtype=torch.uint8),
    },
    "NVFP4": {
        "w.weight": integers(32, 16, dtype=torch.uint8),
        "w.weight_scale": positive(32, 2).to(FLOAT8),
        "w.weight_scale_2": positive(1),
    },
    "MXFP4": {
        "w.proj_blocks": integers(2, 32, 1, 16, dtype=torch.uint8),
        "w.proj_scales": integers(2, 32, 1, dtype=torch.uint8),
    },
}


@pytest.mark.parametrize("kind", PACKED)
def test_packed_values_are_in_the_ledger_by_what_they_are(tmp_path, kind):
    reading = spectrum(checkpoint(tmp_path / "model", PACKED[kind]))
    assert not reading.weights
    packed, *beside = PACKED[kind]
    said = ledger(reading)
    assert "packed" in said[packed]
    assert kind in said[packed]
    assert {said[name] for name in beside} == {f"belongs to {packed}, whose values are packed"}


def test_bytes_without_what_packs_them_are_bytes(tmp_path):
    reading = spectrum(checkpoint(tmp_path / "model", {"w.weight": integers(8, 8, dtype=torch.uint8)}))
    assert ledger(reading) == {"w.weight": "uint8 is not a floating-point type that is measured"}


def test_a_scale_that_is_not_finite_leaves_a_status(tmp_path):
    scale = positive(20)
    scale[3] = math.inf
    tensors = {"w.weight": torch.ones(20, 30).to(FLOAT8), "w.weight_scale": scale}
    (row,) = spectrum(checkpoint(tmp_path / "model", tensors)).weights
    assert (row.status, row.log_norm) == ("the matrix holds values that are not finite", None)


def test_what_is_quantised_is_split_and_merged_as_what_is_not(tmp_path):
    values = (gaussian(36, 12) * 30).to(torch.int8)
    up, down = gaussian(36, 2, seed=3), gaussian(2, 12, seed=4)
    tensors = {
        "attn.qkv.base_layer.weight": values,
        "attn.qkv.base_layer.SCB": positive(36),
        "attn.qkv.lora_B.weight": up,
        "attn.qkv.lora_A.weight": down,
    }
    W = values.double() * tensors["attn.qkv.base_layer.SCB"].double()[:, None] / 127
    reading = spectrum(checkpoint(tmp_path / "model", tensors, lora_alpha=4))
    parts = ("query", "key", "value")
    expected = {f"attn.qkv.base_layer.weight[{part}]": each for part, each in zip(parts, W.chunk(3), strict=True)}
    merged = W + 2.0 * up.double() @ down.double()
    name = "attn.qkv.base_layer.weight[merged]"
    expected |= {f"{name}[{part}]": each for part, each in zip(parts, merged.chunk(3), strict=True)}
    for row, matrix in expected.items():
        # As above: entries off by 6e-8, here of 12 × 12 matrices.
        largest = float(torch.linalg.matrix_norm(matrix, ord=2)) ** 2
        singular = np.sort(np.linalg.svd(matrix.numpy(), compute_uv=False) ** 2)
        assert reading.eigenvalues[row] == pytest.approx(singular, abs=1e-6 * largest), row


def test_a_quantised_copy_is_near_its_original(tmp_path):
    W = gaussian(64, 128)
    scale = W.abs().amax() / 448
    original = checkpoint(tmp_path / "original", {"w.weight": W})
    copy = checkpoint(tmp_path / "copy", {"w.weight": (W / scale).to(FLOAT8), "w.weight_scale": scale})
    (row,) = compare(original, copy, instruments=["anatomy"]).weights.to_dict("records")
    # A uniform error of at most 1/16 of each value is 1/(16·√3) of it in the mean square, at most.
    assert 0 < row["relative_change"] < 1 / (16 * math.sqrt(3))


def test_anatomy_sees_the_values_and_does_not_judge_their_levels(tmp_path):
    layer = nn.Linear(200, 300)
    rows = layer.weight.detach().abs().amax(1)
    values = torch.round(127 * layer.weight.detach() / rows[:, None]).to(torch.int8)
    subject = checkpoint(tmp_path / "model", {"fc.weight": values, "fc.SCB": rows})
    seen = {each.name: each for each in anatomy(subject).tensors}["fc.weight"]
    # Half a step of 1/127 of the largest value changes the mean square by less than 1e-4.
    assert seen.rms == pytest.approx(float(layer.weight.detach().square().mean().sqrt()), rel=1e-3)
    assert (seen.dtype, seen.nbytes, seen.initialiser, seen.trained) == ("int8", 60_000, None, False)


class Quantised(nn.Module):
    def __init__(self, values, scale):
        super().__init__()
        self.weight = nn.Parameter(values, requires_grad=False)
        self.weight_scale_inv = nn.Parameter(scale, requires_grad=False)


def test_a_live_module_holds_its_scale_as_a_parameter():
    values, scale = (gaussian(20, 30) * 9).to(FLOAT8), positive(1)
    reading = spectrum(Subject(nn.Sequential(Quantised(values, scale))))
    twin = values.double() * scale.double()
    assert reading.weights[0].log_norm == pytest.approx(math.log10(float(twin.square().sum())), abs=1e-6)
    assert ledger(reading) == {"0.weight_scale_inv": "the scale of 0.weight, applied: value · scale, one for all"}


def test_a_module_is_loaded_with_the_values_as_they_are_stored(tmp_path):
    values, scale = (gaussian(20, 30) * 9).to(FLOAT8), positive(1)
    save_file({"weight": values, "weight_scale_inv": scale}, tmp_path / "m.safetensors")
    model = Quantised(torch.zeros(20, 30).to(FLOAT8), torch.ones(1))
    load_weights(model, str(tmp_path / "m.safetensors"))
    assert model.weight.double().equal(values.double())
    assert model.weight_scale_inv.equal(scale)


def test_a_quantised_handle_travels(tmp_path):
    tensors = {"w.weight": (gaussian(20, 30) * 9).to(FLOAT8), "w.weight_scale": positive(20, 1)}
    (weight, _) = checkpoint(tmp_path / "model", tensors).weights()
    assert pickle.loads(pickle.dumps(weight)).read().equal(weight.read())
