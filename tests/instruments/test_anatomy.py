"""Anatomy against closed forms, a naive twin in NumPy, and planted faults."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deepscope.figures import to_svg
from deepscope.instruments import ANATOMY, Anatomy, anatomy
from deepscope.instruments import _anatomy as module
from deepscope.subject import Subject

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2]


def holder(**tensors):
    model = nn.Module()
    for name, tensor in tensors.items():
        setattr(model, name, nn.Parameter(tensor, requires_grad=False))
    return Subject(model)


def row(reading, name):
    return next(tensor for tensor in reading.tensors if tensor.name == name)


def problems(reading):
    return [(finding.severity, finding.where) for finding in reading.findings() if finding.severity != "note"]


def test_every_number_against_a_closed_form():
    """Counts, bytes, norms, ratios and operations of networks for which each can be written down."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5))
    with torch.no_grad():
        model[0].weight.fill_(0.5)
        model[2].weight.copy_(2 * torch.eye(5, 64))
        model[2].bias.copy_(torch.tensor([3.0, -4.0, 0.0, 0.0, 0.0]))
    reading = anatomy(Subject(model, [(torch.ones(7, 3, 6, 6), torch.zeros(7, dtype=torch.int64))]))
    conv, matrix, bias = (row(reading, name) for name in ("0.weight", "2.weight", "2.bias"))
    assert (conv.role, conv.shape, conv.count, conv.nbytes, conv.zeros) == ("convolution", (4, 3, 3, 3), 108, 432, 0)
    # √(108 · 0.5²); the root mean square of a constant is its size; default std 1/√(3 · 27).
    assert conv.norm == pytest.approx(math.sqrt(27), rel=1e-15)
    assert (conv.rms, conv.max_abs) == (pytest.approx(0.5, rel=1e-15), 0.5)
    assert conv.init_ratio == pytest.approx(0.5 * math.sqrt(81), rel=1e-15)
    assert (matrix.zeros, matrix.max_abs, matrix.nonfinite) == (315, 2.0, 0)
    assert matrix.norm == pytest.approx(math.sqrt(20), rel=1e-15)
    assert matrix.init_ratio == pytest.approx(math.sqrt(20 / 320) * math.sqrt(3 * 64), rel=1e-15)
    assert (bias.norm, bias.max_abs, bias.zeros, bias.init_ratio) == (5.0, 4.0, 3, None)
    # 108 + 320 + 5 weights and biases, 2 · 5 of the norm; its buffers are 2 · 5 values and one int64.
    assert reading.parameters == 443
    assert reading.nbytes == 443 * 4 + 10 * 4 + 8
    # 2 · k² · c_in · c_out · h · w, and 2 · in · out.
    assert reading.flops_by_layer == {"0": 2 * 9 * 3 * 4 * 16, "2": 2 * 64 * 5}
    assert reading.flops == 3456 + 640
    assert [entry.name for entry in reading.left_out] == ["3.num_batches_tracked"]


def values(shape, dtype, seed):
    drawn = np.random.default_rng(seed).normal(size=shape)
    drawn.flat[::5] = 0.0
    return torch.from_numpy(drawn).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (13,), (7, 11), (3, 2, 3, 3)], ids=str)
@pytest.mark.parametrize("chunk", [1, 4, 11, 77, 10**6])
def test_every_number_against_a_naive_twin(monkeypatch, dtype, shape, chunk):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    tensor = values(shape, dtype, 1)
    found = row(anatomy(holder(w=tensor)), "w")
    plain = tensor.double().numpy()
    assert (found.status, found.nonfinite, found.zeros) == ("ok", 0, int((plain == 0).sum()))
    # Sums of at most 77 squares in float64, in another order: 77 · 1.1e-16 at the very worst.
    assert found.norm == pytest.approx(np.linalg.norm(plain.ravel()), rel=1e-14)
    assert found.rms == pytest.approx(np.sqrt(np.mean(plain**2)), rel=1e-14)
    assert found.max_abs == np.abs(plain).max()
    assert found.nbytes == tensor.numel() * tensor.element_size()


@pytest.mark.parametrize("chunk", [1, 3, 4, 100])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_that_are_not_finite_are_counted_in_every_chunk(monkeypatch, dtype, chunk):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    tensor = torch.tensor([1.0, math.nan, 0.0, 2.0, math.nan, 0.0, 3.0]).to(dtype)
    if dtype is not torch.float8_e4m3fn:  # which has no infinity
        tensor[3] = torch.tensor(-math.inf).to(dtype)
    found = row(anatomy(holder(w=tensor)), "w")
    assert found.nonfinite == (2 if dtype is torch.float8_e4m3fn else 3)
    assert found.zeros == 2
    assert (found.norm, found.rms, found.max_abs, found.init_ratio) == (None,) * 4
    assert "non-finite" in found.status


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-120, 1.0, 1e120, 1e200, 1e300])
def test_float64_values_whose_squares_are_no_float64(scale):
    found = row(anatomy(holder(w=torch.tensor([[3.0, 0.0], [-4.0, 0.0]], dtype=torch.float64) * scale)), "w")
    # Numbers near 1e-310 are subnormal, with steps of 5e-324: 14 digits are left.
    assert found.norm == pytest.approx(5 * scale, rel=1e-12)
    assert found.rms == pytest.approx(2.5 * scale, rel=1e-12)


def test_a_reading_with_faults_goes_to_disk_and_back(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Embedding(0, 3))
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
    reading = anatomy(Subject(model))
    reading.save(tmp_path)
    assert Anatomy.load(tmp_path) == reading
    assert list(reading.table()["name"]) == [tensor.name for tensor in reading.tensors]


@pytest.mark.parametrize(
    "tensor", [torch.empty(0, 3), torch.ones(2, 2, dtype=torch.int8), torch.ones(2, 2, dtype=torch.complex64)], ids=str
)
def test_what_cannot_be_measured_has_a_row_and_an_entry_in_the_ledger(tensor):
    reading = anatomy(holder(w=tensor, v=torch.ones(1)))
    found = row(reading, "w")
    assert (found.norm, found.nonfinite, found.zeros) == (None, None, None)
    assert reading.left_out == (("w", found.status),)
    assert found.status
    assert reading.findings() == ()


# What a forward pass costs.

TOKENS, WIDTH = 5, 16
ATTENTION = TOKENS * 2 * (WIDTH * 3 * WIDTH + WIDTH * WIDTH) + 2 * 2 * TOKENS * TOKENS * WIDTH


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Functional(nn.Module):
    def forward(self, x):
        return nn.functional.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (nn.Linear(6, 5), (6,), 2 * 6 * 5),
        (nn.Linear(6, 5), (4, 6), 4 * 2 * 6 * 5),
        (nn.Conv2d(3, 4, 3, padding=1), (3, 6, 6), 2 * 9 * 3 * 4 * 36),
        (nn.Conv2d(4, 8, 3, stride=2, groups=2), (4, 7, 7), 2 * 9 * 2 * 8 * 9),
        (nn.ConvTranspose2d(3, 4, 2, stride=2), (3, 5, 5), 2 * 4 * 3 * 4 * 25),
        # Fused kernels hide their products from the counter, which then sees nothing.
        (nn.LSTM(8, WIDTH, batch_first=True), (TOKENS, 8), TOKENS * 2 * 4 * WIDTH * (8 + WIDTH)),
        (nn.GRU(8, WIDTH, batch_first=True), (TOKENS, 8), TOKENS * 2 * 3 * WIDTH * (8 + WIDTH)),
        (SelfAttention(), (TOKENS, WIDTH), ATTENTION),
        (nn.TransformerEncoderLayer(WIDTH, 4, 32, batch_first=True), (TOKENS, WIDTH),
         ATTENTION + TOKENS * 2 * 2 * WIDTH * 32),
        (Functional(), (TOKENS, WIDTH), 2 * 2 * TOKENS * TOKENS * WIDTH),
        (nn.ReLU(), (3,), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)  # fmt: skip
@pytest.mark.parametrize("n_samples", [1, 3])
@pytest.mark.filterwarnings("error")
def test_flops_of_one_sample(model, shape, expected, n_samples):
    fastpath = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    data = [(torch.ones(n_samples, *shape), torch.zeros(n_samples))]
    assert anatomy(Subject(model, data)).flops == expected
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled) == fastpath


class Refusing(nn.Linear):
    def __init__(self, error):
        super().__init__(2, 2)
        self.error = error

    def forward(self, x):
        raise self.error


@pytest.mark.parametrize(
    ("error", "said"),
    [(ValueError("first\nsecond"), "first"), (AssertionError(), "AssertionError"), (RuntimeError("\n\n a"), "a")],
)
def test_a_model_that_refuses_the_data_is_still_measured(error, said):
    reading = anatomy(Subject(Refusing(error), [(torch.ones(1, 2), torch.ones(1))]))
    assert reading.flops is None
    assert reading.left_out == (("FLOPs", f"the forward pass failed: {said}"),)
    assert len(reading.tensors) == 2


# Planted faults.


def test_known_subjects():
    for known in ANATOMY.known:
        reading = ANATOMY.measure(known.make())
        assert known.holds(reading), known.name
        worse = {where for _, where in problems(reading)}
        assert worse == (set() if known.fault is None else {known.fault}), known.name


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_is_a_problem_of_its_tensor(bad):
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20))
    with torch.no_grad():
        model[1].bias[3] = bad
    assert problems(anatomy(Subject(model))) == [("problem", "1.bias")]


def test_an_all_zero_matrix_is_a_problem_but_not_a_zero_bias():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[0].bias)
    assert problems(anatomy(Subject(model))) == [("problem", "1.weight")]


class Bare(nn.Module):
    def __init__(self, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("cls_token", (1, 1, 32)), ("mask_token", (1, 1, 32)), ("pos_embed", (1, 8, 16)), ("position", (8, 32)),
     ("relative_position_bias_table", (49, 4)), ("rel_pos_h", (13, 16)), ("anything", (2, 3, 4))],
)  # fmt: skip
def test_an_all_zero_tensor_that_is_added_is_a_note_that_says_so(name, shape):
    reading = anatomy(Subject(Bare(**{name: shape})))
    assert [(f.severity, f.message) for f in reading.findings()] == [("note", f"{name} is all zero: it adds nothing.")]


@pytest.mark.parametrize(
    ("name", "shape", "severity", "says"),
    [
        ("embeddings.token_type_embeddings.weight", (1, 64), "note", "it adds nothing"),
        ("embeddings.word_embeddings.weight", (9, 64), "problem", "nothing passes through it"),
        ("layers.0.q_proj.weight", (64, 64), "problem", "nothing passes through it"),
        ("layers.0.pos_proj.weight", (64, 64), "problem", "nothing passes through it"),
        ("layers.0.conv.weight", (8, 8, 3, 3), "problem", "nothing passes through it"),
        ("lstm.weight_hh_l0", (64, 16), "problem", "nothing passes through it"),
        ("layers.0.q_proj.lora_B.weight", (64, 8), "warning", "the adapter does nothing yet"),
        ("layers.0.q_proj.lora_A.weight", (8, 64), "problem", "nothing passes through it"),
        ("fc.weight_g", (64, 1), "problem", "the weight that it scales is zero"),
        ("fc.weight", (1, 1), "problem", "nothing passes through it"),
    ],
)  # fmt: skip
def test_an_all_zero_tensor_of_a_checkpoint_is_judged_by_what_it_does(tmp_path, name, shape, severity, says):
    save_file({name: torch.zeros(shape)}, tmp_path / "a.safetensors")
    (finding,) = anatomy(Subject.from_checkpoint(tmp_path / "a.safetensors")).findings()
    assert (finding.severity, finding.where) == (severity, name)
    assert finding.message.endswith(f"is all zero: {says}.") or says in finding.message


def test_a_weight_of_one_zero_is_all_zero_too():
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight)
    (finding,) = anatomy(Subject(model)).findings()
    assert (finding.severity, finding.evidence) == ("problem", "its only value is exactly 0")


def test_a_norm_that_scales_by_zero_is_a_warning_but_not_its_bias_or_a_zero_prelu():
    model = nn.Sequential(nn.LayerNorm(4), nn.PReLU(init=0.0))
    nn.init.zeros_(model[0].weight)
    assert problems(anatomy(Subject(model))) == [("warning", "0.weight")]


@pytest.mark.parametrize(("zeros", "sparse"), [(50, False), (51, True), (99, True)])
def test_a_sparse_matrix_is_noted(zeros, sparse):
    weight = torch.linspace(1, 2, 100)
    weight[:zeros] = 0
    findings = anatomy(holder(weight=weight.reshape(10, 10))).findings()
    assert [(f"is sparse: {zeros} % of" in finding.message) for finding in findings] == ([True] if sparse else [])


def notes(reading, word):
    return [finding.where for finding in reading.findings() if word in finding.message]


def test_tied_tensors_are_one_and_noted():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5, bias=False))
    model[1].weight = model[0].weight
    reading = anatomy(Subject(model))
    assert notes(reading, "are tied") == ["0.weight"]
    assert reading.parameters == 20
    assert reading.duplicates == ()
    assert row(reading, "0.weight").tied == ("1.weight",)


def test_the_same_values_in_two_places_are_noted():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(2, 8, bias=False))
    with torch.no_grad():
        model[2].weight.copy_(model[0].weight)
        model[3].weight.copy_(model[0].weight.reshape(8, 2))
    reading = anatomy(Subject(model))
    assert reading.duplicates == (("0.weight", "2.weight"),)
    assert notes(reading, "exactly the same values") == ["0.weight"]


def test_equal_constants_are_no_duplicates_nor_are_vectors_and_buffers():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.LayerNorm(4))
    for layer in model[:2]:
        nn.init.constant_(layer.weight, 0.3)
        layer.register_buffer("table", torch.arange(6.0).reshape(2, 3))
    nn.init.zeros_(model[0].bias)
    nn.init.zeros_(model[1].bias)
    assert anatomy(Subject(model)).duplicates == ()


def test_a_network_without_tensors():
    reading = anatomy(Subject(nn.ReLU()))
    assert (reading.parameters, reading.nbytes, reading.findings(), reading.glance()) == (0, 0, (), ())
    assert "0 parameters" in reading.summary()
    assert len(reading.table()) == 0
    reading.plot()


def test_the_glance_has_one_value_per_layer():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4))
    (track,) = anatomy(Subject(model)).glance()
    assert list(track.values) == ["0", "2"]


@pytest.mark.parametrize(("factors", "shown"), [((1.0, 0.1), 1), ((3.0, 0.5), 0), ((0.2, 4.0), 0)])
def test_the_glance_shows_the_matrix_of_a_layer_that_is_farthest_from_its_initialisation(factors, shown):
    model = nn.Sequential(nn.LSTM(8, 8))
    with torch.no_grad():
        for factor, name in zip(factors, ("weight_ih_l0", "weight_hh_l0"), strict=True):
            # The default standard deviation is 1/√(3 · 8).
            getattr(model[0], name).fill_(factor / math.sqrt(24))
    (track,) = anatomy(Subject(model)).glance()
    assert track.values == {"0": pytest.approx(factors[shown], rel=1e-6)}


@pytest.mark.parametrize(("ratio", "scale"), [(2.0, "linear"), (9.0, "linear"), (11.0, "log"), (0.05, "log")])
def test_the_plot_has_a_log_axis_where_ratios_span_a_decade(ratio, scale):
    model = nn.Sequential(nn.Linear(12, 12), nn.Linear(12, 12))
    with torch.no_grad():
        model[0].weight.fill_(1.0 / 6)
        model[1].weight.fill_(ratio / 6)
    _, below = anatomy(Subject(model)).plot().axes
    assert below.get_yscale() == scale


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30, 1e300])
def test_values_of_any_size_are_drawn(size):
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20), nn.Linear(20, 20)).double()
    with torch.no_grad():
        model[0].weight.mul_(size)
        model[2].weight.mul_(1 / size)
    assert to_svg(anatomy(Subject(model)).plot()).startswith("<svg")


def test_what_is_said_of_a_part_is_not_said_of_the_whole():
    torch.manual_seed(0)
    subject = Subject(nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)))
    assert "whole network" in anatomy(subject).findings()[0].message
    (finding,) = anatomy(subject.only("0")).findings()
    assert finding.message.startswith("The chosen part looks untrained")


def test_a_reading_shows_itself_briefly():
    reading = anatomy(Subject(nn.Sequential(*(nn.Linear(4, 4) for _ in range(200)))))
    assert repr(reading) == str(reading)
    assert len(repr(reading)) < 10_000
