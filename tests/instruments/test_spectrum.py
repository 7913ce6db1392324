"""The spectrum of weight matrices against truth: closed forms, naive twins, planted faults."""

import dataclasses
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deepscope import figures
from deepscope.instruments import SPECTRUM, Spectrum, anatomy, spectrum
from deepscope.instruments._spectrum_findings import spectrum_findings
from deepscope.linalg import fit_power_law
from deepscope.subject import Subject

COLUMNS = [
    *("name", "rows", "cols", "n_matrices", "phase", "alpha", "alpha_low", "alpha_high", "alpha_stderr", "ks_distance"),
    *("x_min", "n_tail", "status", "fit_p_value", "best_alternative", "alternative_ratio", "alternative_p_value"),
    *("alpha_moment", "null_alpha_low", "null_alpha_high", "n_spikes", "spike_p_value", "mp_lower", "mp_upper"),
    *(
        "mp_soft_rank",
        "entry_kurtosis",
        "n_traps",
        "shuffled_alpha",
        "stable_rank",
        "effective_rank",
        "matrix_entropy",
        "rank",
    ),
    *("log_norm", "log_spectral_norm", "log_alpha_norm", "alpha_weighted", "n_unit_determinant"),
]
TEXTS = ("name", "phase", "status", "best_alternative")
NUMBERS = [c for c in COLUMNS if c not in (*TEXTS, "rows", "cols", "n_matrices", "n_traps", "shuffled_alpha")]
MOVED = ["x_min", "mp_lower", "mp_upper", "log_norm", "log_spectral_norm", "log_alpha_norm", "alpha_weighted"]
SCALE_FREE = [c for c in NUMBERS if c not in MOVED]


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def heavy(rows, cols, seed=0):
    """A matrix with a heavy tail and a few strong directions, as training leaves it."""
    strength = torch.arange(1, min(rows, cols) + 1, dtype=torch.float64) ** -0.7
    left, _ = torch.linalg.qr(gaussian(rows, rows, seed=seed))
    right, _ = torch.linalg.qr(gaussian(cols, cols, seed=seed + 1))
    k = min(rows, cols)
    return left[:, :k] @ torch.diag(strength) @ right[:k]


def parameters(**tensors):
    model = nn.Module()
    for name, tensor in tensors.items():
        model.register_parameter(name, nn.Parameter(tensor))
    return Subject(model)


def row_of(tensor):
    (row,) = spectrum(parameters(w=tensor)).table().to_dict("records")
    return row


def pareto_matrix(alpha, n, seed):
    """A matrix whose eigenvalues are a sample of a Pareto law, hidden by rotations."""
    values = (1 - np.random.default_rng(seed).random(n)) ** (-1 / (alpha - 1))
    left, _ = torch.linalg.qr(gaussian(n, n, seed=seed))
    return left @ torch.diag(torch.from_numpy(values).sqrt()), values


@pytest.mark.parametrize("alpha", [2.0, 3.0, 4.0])
def test_pareto_spectrum_gives_its_exponent(alpha):
    found = []
    for seed in range(8):
        matrix, values = pareto_matrix(alpha, 400, seed)
        row = row_of(matrix)
        direct = fit_power_law(values)
        # Through the matrix an eigenvalue is good to n·eps·λ_max, and λ_max is 1e3 to 1e5 times x_min at α = 2.
        assert row["alpha"] == pytest.approx(direct.alpha, rel=1e-6)
        found.append((row["alpha"] - alpha) / row["alpha_stderr"])
    # Eight deviations in standard errors: the mean scatters by 0.35, and x_min chosen shifts it by 0.1.
    assert abs(np.mean(found)) < 1.5


def test_columns_and_round_trip(tmp_path):
    subject = parameters(a=heavy(40, 60), zero=torch.zeros(8, 9), bad=torch.full((9, 9), torch.nan), v=torch.ones(3))
    reading = spectrum(subject)
    table = reading.table()
    assert list(table.columns) == COLUMNS
    assert list(table["name"]) == ["a", "zero", "bad"]
    assert [tuple(entry) for entry in reading.left_out] == [("v", "a vector has no spectrum")]
    reading.save(tmp_path)
    again = Spectrum.load(tmp_path)
    assert again == reading
    assert again.findings() == reading.findings()
    assert pickle.loads(pickle.dumps(reading)) == reading


def test_table_of_nothing_has_its_columns():
    assert list(spectrum(parameters(v=torch.ones(3))).table().columns) == COLUMNS


def test_closed_form():
    # Singular values 3, 2 and 1, one dimension of the shape unused.
    row = row_of(torch.diag(torch.tensor([2.0, 3.0, 1.0]))[:, [2, 0, 1]])
    p = np.array([3, 2, 1]) / 6
    assert row["stable_rank"] == pytest.approx(14 / 9, rel=1e-12)
    assert row["effective_rank"] == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-12)
    assert row["log_norm"] == pytest.approx(math.log10(14), rel=1e-12)
    assert row["log_spectral_norm"] == pytest.approx(math.log10(9), rel=1e-12)
    assert row["rank"] == 3
    assert "too few" in row["status"]
    assert np.isnan(row["alpha"])


def test_edges_and_spike():
    noise = 0.1 * gaussian(150, 250)
    clean = row_of(noise)
    upper = 0.01 * (math.sqrt(150) + math.sqrt(250)) ** 2
    lower = 0.01 * (math.sqrt(150) - math.sqrt(250)) ** 2
    # σ² from the median of 150 eigenvalues: good to two in a hundred.
    assert clean["mp_upper"] == pytest.approx(upper, rel=0.05)
    assert clean["mp_lower"] == pytest.approx(lower, rel=0.05)
    assert clean["n_spikes"] == 0
    # A direction of strength θ leaves the bulk once θ > σ(rows·cols)^¼ = 1.4: two are well above, the third below.
    spiked = noise.clone()
    for k, strength in enumerate([4.0, 3.0, 0.3]):
        spiked += strength * torch.outer(nn.functional.normalize(gaussian(150, seed=k + 1), dim=0), torch.eye(250)[k])
    assert row_of(spiked)["n_spikes"] == 2
    # The bulk is still that of noise, but a matrix with a spike is not called random.
    (finding,) = spectrum(parameters(noise=noise, spiked=spiked)).findings()
    assert finding.where == "noise"


@pytest.mark.parametrize("factor", [1e-6, 1e-40, 1e30, -3.0])
def test_scale_free_numbers_do_not_move(factor):
    one, other = row_of(heavy(60, 90)), row_of(heavy(60, 90) * factor)
    # Rounding of the product moves each entry by eps, each eigenvalue by n·eps·λ_max: the smallest is 3e-3 of the
    # largest, so some 1e-12 relative at worst, and far less in sums over many.
    for column in SCALE_FREE:
        assert other[column] == pytest.approx(one[column], rel=1e-12), column
    for column in ("x_min", "mp_upper", "mp_lower"):
        assert other[column] == pytest.approx(one[column] * factor**2, rel=1e-11), column
    assert other["log_norm"] == pytest.approx(one["log_norm"] + 2 * math.log10(abs(factor)), rel=1e-12)


def test_transposed_and_permuted_matrices_read_alike():
    W, order = heavy(50, 80), torch.randperm(50, generator=torch.Generator().manual_seed(3))
    one = row_of(W)
    for other in (row_of(W.T), row_of(W[order])):
        for column in NUMBERS:
            assert other[column] == pytest.approx(one[column], rel=1e-9), column


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_small_types_read_as_their_values_in_float64(dtype, tmp_path):
    stored = (50 * heavy(40, 70)).to(dtype)
    save_file({"w": stored}, tmp_path / "model.safetensors")
    (row,) = spectrum(Subject.from_checkpoint(tmp_path / "model.safetensors")).table().to_dict("records")
    assert pd.Series(row).equals(pd.Series(row_of(stored.to(torch.float64))))


@pytest.mark.parametrize("shape", [(1, 50), (50, 1), (1, 1), (7, 7)])
def test_small_matrices_have_norms_but_no_exponent(shape):
    W = gaussian(*shape)
    row = row_of(W)
    assert "too few" in row["status"]
    assert np.isnan([row[c] for c in ("alpha", "alpha_stderr", "ks_distance", "x_min", "n_tail")]).all()
    assert row["log_norm"] == pytest.approx(math.log10(float((W**2).sum())), rel=1e-12)
    assert row["rank"] == min(shape)
    assert spectrum(parameters(w=W)).findings()[0].severity == "note"


def test_tied_values_have_one_reading_or_a_reason():
    equal = row_of(torch.linalg.qr(gaussian(64, 64))[0])
    assert "equal" in equal["status"]
    assert np.isnan(equal["alpha"])
    assert equal["stable_rank"] == pytest.approx(64, rel=1e-12)
    # Each value four times; rounding in the solver splits ties by 1e-15, which must not look like a tail.
    pairs = row_of(torch.diag(torch.arange(1.0, 13.0).repeat_interleave(4).double()))
    assert pairs["status"] == "ok"
    assert 1 < pairs["alpha"] < 20


def test_convolution_pools_its_kernel_positions():
    conv = nn.Conv2d(12, 20, (3, 2), bias=False).double()
    reading = spectrum(Subject(conv))
    truth = np.sort(
        [
            value
            for i in range(3)
            for j in range(2)
            for value in np.linalg.svd(conv.weight.detach().numpy()[:, :, i, j], compute_uv=False) ** 2
        ]
    )
    assert reading.eigenvalues["weight"] == pytest.approx(truth, rel=1e-10)
    (row,) = reading.table().to_dict("records")
    assert (row["rows"], row["cols"], row["n_matrices"], row["rank"]) == (20, 12, 6, 72)
    fit = fit_power_law(truth)
    assert (row["alpha"], row["n_tail"]) == (pytest.approx(fit.alpha, rel=1e-9), fit.n_tail)
    assert row["log_norm"] == pytest.approx(math.log10(float((conv.weight.detach() ** 2).sum())), rel=1e-12)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv1d(8, 6, 5), (6, 8, 5)),
        (nn.ConvTranspose2d(8, 6, 3), (8, 6, 9)),
        (nn.Conv2d(8, 8, 3, groups=4), (2, 2, 36)),
        (nn.Conv3d(2, 4, 2), (4, 2, 8)),
        (nn.Embedding(30, 6), (30, 6, 1)),
        (nn.Linear(6, 30), (30, 6, 1)),
        (nn.MultiheadAttention(8, 2), (8, 8, 1)),
        (nn.LSTM(5, 6), (6, 5, 1)),
        (nn.RNN(5, 6), (6, 5, 1)),
    ],
)
def test_matrices_of_a_layer(module, shape):
    first = spectrum(Subject(module)).table().iloc[0]
    assert (first["rows"], first["cols"], first["n_matrices"]) == shape


def test_stack_of_experts_is_one_matrix_per_expert():
    stack = gaussian(3, 10, 16)
    truth = np.sort(np.concatenate([np.linalg.svd(each, compute_uv=False) ** 2 for each in stack.numpy()]))
    reading = spectrum(parameters(experts=stack))
    assert reading.eigenvalues["experts"] == pytest.approx(truth, rel=1e-10)
    assert reading.table()["n_matrices"].tolist() == [3]


def test_every_tensor_is_a_row_or_in_the_ledger():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4), nn.LayerNorm((4, 4)))
    model.register_parameter("token", nn.Parameter(torch.ones(1, 1, 12)))
    model.register_parameter("scale", nn.Parameter(torch.tensor(1.0)))
    model.register_buffer("table", torch.ones(5, 5))
    model.register_buffer("index", torch.ones(5, 5, dtype=torch.long))
    subject = Subject(model)
    reading = spectrum(subject)
    ledger = {entry.name: entry.reason for entry in reading.left_out}
    rows = list(reading.table()["name"])
    assert sorted([*ledger, *rows]) == sorted(weight.name for weight in subject.weights())
    assert rows == ["0.weight", "2.weight"]
    assert ledger["token"] == "a vector in 3 dimensions has no spectrum"
    assert ledger["scale"] == "a number has no spectrum"
    assert ledger["table"] == "a buffer is not a weight matrix"
    assert "int64" in ledger["index"]
    assert "normalisation" in ledger["3.weight"]


def test_matrices_beyond_the_budget_are_in_the_ledger():
    reading = spectrum(parameters(big=gaussian(20, 30), long=gaussian(10, 500)), max_side=10)
    assert list(reading.table()["name"]) == ["long"]
    assert reading.left_out[0].name == "big"
    assert "20" in reading.left_out[0].reason
    assert list(SPECTRUM.efforts) == ["quick", "standard", "deep"]
    for budget in SPECTRUM.efforts:
        spectrum(parameters(w=gaussian(9, 9)), **SPECTRUM.effort(budget))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_leave_a_status_and_no_number(value):
    W = gaussian(20, 30)
    W[3, 4] = value
    reading = spectrum(parameters(w=W))
    (row,) = reading.table().to_dict("records")
    assert "not finite" in row["status"]
    assert np.isnan([row[column] for column in NUMBERS]).all()
    # Anatomy names them; spectrum says nothing on top.
    assert reading.findings() == ()


def test_all_zero_has_rank_zero_and_no_other_number():
    reading = spectrum(parameters(w=torch.zeros(20, 30)))
    (row,) = reading.table().to_dict("records")
    assert (row["status"], row["rank"]) == ("all values are zero", 0)
    assert np.isnan([row[column] for column in NUMBERS if column != "rank"]).all()
    assert reading.findings() == ()


def test_mostly_zero_rows_have_no_random_null():
    W = torch.zeros(40, 60, dtype=torch.float64)
    W[:18] = gaussian(18, 60)
    reading = spectrum(parameters(w=W))
    (row,) = reading.table().to_dict("records")
    assert (row["status"], row["rank"]) == ("ok", 18)
    assert np.isnan([row["mp_upper"], row["n_spikes"]]).all()
    (finding,) = reading.findings()
    assert (finding.severity, finding.where) == ("warning", "w")
    assert "18 of 40" in finding.evidence


@pytest.mark.parametrize(("side", "rank", "warned"), [(64, 31, True), (64, 32, False), (16, 3, False), (16, 1, True)])
def test_collapsed_rank_is_a_warning(side, rank, warned):
    W = gaussian(side, rank) @ gaussian(rank, side, seed=1)
    found = spectrum(parameters(w=W)).findings()
    assert [f.where for f in found if f.severity == "warning"] == (["w"] if warned else [])
    assert spectrum(parameters(w=W)).table()["rank"].tolist() == [rank]


def test_rank_collapse_survives_float32():
    W = (gaussian(96, 4) @ gaussian(4, 64, seed=1)).float()
    # Rounding to float32 leaves singular values of 6e-8·√64, squares of 1e-14 to 1e-13 of the largest: below the cut
    # of 96·2.2e-16 = 2.1e-14 or just above; what counts is that the collapse is seen.
    assert row_of(W)["rank"] < 32


def test_fresh_networks_have_no_warning():
    torch.manual_seed(0)
    fresh = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.Linear(64, 128), nn.Linear(128, 10), nn.Embedding(100, 32), nn.LSTM(32, 64)
    )
    orthogonal = nn.Linear(64, 64)
    nn.init.orthogonal_(orthogonal.weight)
    for model in (fresh, orthogonal, nn.Linear(10, 1), nn.MultiheadAttention(64, 4)):
        found = spectrum(Subject(model)).findings()
        assert {finding.severity for finding in found} <= {"note"}


def test_random_matrices_are_noted_in_one_sentence_and_structured_ones_are_not():
    tensors = {f"fresh{k}": gaussian(64, 96, seed=k + 1) for k in range(6)}
    finding, other = spectrum(parameters(trained=heavy(64, 96), **tensors)).findings()
    assert (other.severity, other.where) == ("note", "trained")
    assert "heavy tail" in other.message
    assert finding.severity == "note"
    assert finding.where == ""
    assert "random" in finding.message
    assert "fresh0" in finding.message
    assert "trained" not in finding.message.partition(":")[0]
    single, _ = spectrum(parameters(trained=heavy(64, 96), fresh=tensors["fresh0"])).findings()
    assert single.where == "fresh"


def test_training_leaves_the_random_null_and_shuffling_returns_to_it():
    from sklearn.datasets import load_digits

    digits = load_digits()
    inputs, labels = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    before = spectrum(Subject(model)).weights[1]
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimiser.step()
    after = spectrum(Subject(model)).weights[1]
    # The same entries in random places; their common mean is a direction of its own, which no shuffle removes.
    entries = model[2].weight.detach().flatten()
    shuffled = (entries - entries.mean())[torch.randperm(128 * 128)].reshape(128, 128)
    returned = spectrum(parameters(w=shuffled)).weights[0]
    assert (before.n_spikes, after.n_spikes > 0, returned.n_spikes) == (0, True, 0)
    assert max(before.mp_distance, returned.mp_distance) < 0.05


def test_the_glance_shows_a_layers_most_telling_matrix_and_the_table_all():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 30), nn.LSTM(30, 30), nn.Linear(30, 2))
    reading = spectrum(Subject(model))
    alpha, stable = reading.glance()
    assert list(alpha.values) == ["0", "1"]
    assert list(stable.values) == ["0", "1", "2"]
    table = reading.table().set_index("name")
    gates = ("input", "forget", "cell", "output")
    of_lstm = table.loc[[f"1.weight_{side}_l0[{gate}]" for side in ("ih", "hh") for gate in gates]]
    assert alpha.values["1"] == of_lstm["alpha"].min() < of_lstm["alpha"].max()
    assert stable.values["1"] == of_lstm["stable_rank"].min() < of_lstm["stable_rank"].max()
    assert alpha.high["1"] == of_lstm["alpha_high"][of_lstm["alpha"].idxmin()]
    for layer, value in alpha.values.items():
        assert alpha.low[layer] < value < alpha.high[layer]


def test_columns_of_anatomy_and_spectrum_meet():
    torch.manual_seed(0)
    parts = {"embed": nn.Embedding(20, 16), "mix": nn.MultiheadAttention(16, 2), "walk": nn.LSTM(16, 16, 2)}
    subject = Subject(nn.ModuleDict(parts | {"head": nn.Linear(16, 20)}))
    expected = ["embed", "mix", "mix.out_proj", "walk", "head"]
    for track in (*anatomy(subject).glance(), *spectrum(subject).glance()):
        assert list(track.values) == expected, track.label


def test_findings_look_layers_up_by_name_and_do_not_compare_each_with_each():
    compared = []

    class Counted(str):
        def __eq__(self, other):
            compared.append(other)
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    (row,) = spectrum(parameters(w=gaussian(40, 60))).weights
    row = dataclasses.replace(row, alpha=None, mp_distance=0.01)
    rows = [dataclasses.replace(row, name=Counted(f"noise.{k}"), phase="random-like") for k in range(200)]
    rows += [dataclasses.replace(row, name=Counted(f"bare.{k}"), phase="bulk+spikes") for k in range(200)]
    random, unfitted = spectrum_findings(rows)
    assert "200 matrices" in random.message
    assert "200 matrices" in unfitted.message
    # Comparing each with each would be 40,000; looking a name up compares it with its like only.
    assert len(compared) < 2000


def test_figure_of_a_thousand_layers_stays_small():
    (row,) = spectrum(parameters(w=heavy(40, 60))).weights
    values = spectrum(parameters(w=heavy(40, 60))).eigenvalues["w"]
    names = [f"encoder.layer.{k}.attention.output.dense.weight" for k in range(1000)]
    many = Spectrum(
        subject="many",
        weights=tuple(dataclasses.replace(row, name=name, layer=name[:-7]) for name in names),
        eigenvalues=dict.fromkeys(names, values),
    )
    assert len(figures.to_svg(many.plot(), prefix="spectrum")) < 400_000


def test_figure_says_so_where_nothing_was_fitted():
    assert "no tail could be fitted" in figures.to_svg(spectrum(parameters(w=torch.ones(3, 3))).plot())


def test_hostile_names_are_drawn_as_they_are():
    svg = figures.to_svg(spectrum(Subject(nn.ModuleDict({"$a^b": nn.Linear(20, 20)}))).plot())
    assert "$a^b" in svg


@pytest.mark.parametrize("known", SPECTRUM.known, ids=lambda known: known.name)
def test_known_answers(known):
    reading = spectrum(known.make())
    assert known.holds(reading)
    worse = {finding.where for finding in reading.findings() if finding.severity != "note"}
    assert worse == (set() if known.fault is None else {known.fault})


def test_a_single_fit_has_no_range():
    one = spectrum(parameters(w=heavy(40, 60)))
    alpha = one.weights[0].alpha
    assert one.summary().startswith(f"1 weight matrix: tail exponent α {alpha:.2f}; ")
    two = spectrum(parameters(w=heavy(40, 60), v=torch.eye(40, dtype=torch.float64)))
    assert two.summary().startswith(f"2 weight matrices: tail exponent α {alpha:.2f} (1 fit); ")
    three = spectrum(parameters(w=heavy(40, 60), v=heavy(40, 50, seed=3)))
    assert "in the median (" in three.summary()
    assert "2 fits)" in three.summary()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-140, 1e-30, 1e30, 1e140])
def test_eigenvalues_of_any_size_are_drawn(size):
    reading = spectrum(parameters(a=heavy(40, 60) * size, b=heavy(40, 60), c=heavy(40, 60) / size))
    assert figures.to_svg(reading.plot()).startswith("<svg")
