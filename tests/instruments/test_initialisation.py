"""Telling a fresh tensor from a trained one."""

import math

import pytest
import torch
from torch import nn

from deepscope.instruments import _anatomy as module
from deepscope.instruments import _initialisation, anatomy
from deepscope.subject import Subject

FRESH = {
    "linear": lambda: nn.Linear(64, 48),
    # Just above the 4,096 values of which the distribution is looked at: nearly all of them are drawn.
    "64 × 72": lambda: nn.Linear(72, 64),
    "80 × 80": lambda: nn.Linear(80, 80),
    "conv": lambda: nn.Conv2d(8, 16, 3),
    "transposed": lambda: nn.ConvTranspose2d(8, 16, 3),
    "embedding": lambda: nn.Embedding(100, 32),
    "bag": lambda: nn.EmbeddingBag(100, 32),
    "lstm": lambda: nn.LSTM(24, 32),
    "projected": lambda: nn.LSTM(24, 32, proj_size=16),
    "gru": lambda: nn.GRU(24, 32),
    "cell": lambda: nn.RNNCell(24, 32),
    "attention": lambda: nn.MultiheadAttention(32, 4),
    "normed": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(64, 48)),
}
INITIALISERS = {
    "xavier uniform": nn.init.xavier_uniform_,
    "xavier normal": nn.init.xavier_normal_,
    "kaiming normal": nn.init.kaiming_normal_,
    "kaiming uniform": nn.init.kaiming_uniform_,
    "0.02": lambda weight: nn.init.normal_(weight, 0.0, 0.02),
}
LAYERS = {"linear": lambda: nn.Linear(64, 48), "conv": lambda: nn.Conv2d(8, 16, 3)}


def initialised(make, initialise):
    layer = make()
    initialise(layer.weight)
    return layer


FRESH |= {
    f"{kind}, {name}": lambda make=make, initialise=initialise: initialised(make, initialise)
    for kind, make in LAYERS.items()
    for name, initialise in INITIALISERS.items()
}


def judged(model):
    """Names of the tensors that are judged, and whether each looks untrained."""
    read = [(weight, weight.read()) for weight in Subject(model).weights() if not weight.why_not_measured]
    steps = [step for weight, tensor in read for step in module._step(weight, tensor)]
    return {step.name: bool(step.initialiser) for step in steps if step.initialiser is not None}


def share_recognised(make, n_seeds):
    recognised = []
    for seed in range(n_seeds):
        torch.manual_seed(seed)
        recognised.append(all(judged(make()).values()))
    return sum(recognised) / n_seeds


@pytest.mark.parametrize("kind", FRESH)
@pytest.mark.parametrize(
    ("n_seeds", "share"), [(12, 0.9), pytest.param(100, 0.97, marks=pytest.mark.verify)], ids=["few", "many"]
)
def test_a_fresh_layer_is_recognised(kind, n_seeds, share):
    """In 97 of 100 seeds at least; four tests with a false-alarm rate of some 0.1 % each let 99.6 pass."""
    assert share_recognised(FRESH[kind], n_seeds) >= share


@pytest.mark.parametrize("kind", ["16 × 16", "64 × 72", "80 × 80", "128 × 128", "embedding"])
@pytest.mark.parametrize(
    ("n_seeds", "missed"), [(300, 0.012), pytest.param(2000, 0.005, marks=pytest.mark.verify)], ids=["few", "many"]
)
def test_the_rate_of_misses_is_the_stated_one(kind, n_seeds, missed):
    """At most 0.5 % are missed; of 300 then three or fewer in 93 of 100 cases, and the seeds are fixed."""
    makes = FRESH | {"16 × 16": lambda: nn.Linear(16, 16), "128 × 128": lambda: nn.Linear(128, 128)}
    assert 1 - share_recognised(makes[kind], n_seeds) <= missed


@pytest.mark.parametrize(("n", "distinct"), [(4097, 4096), (2**20, 4096), (2**20 + 1, 4080)])
def test_the_sample_is_of_different_places(n, distinct):
    """Beyond 2²⁰ values places are drawn with replacement: 4,096²/2 pairs, of which one in 2²⁰ is equal, make 8."""
    places = _initialisation._places(n)
    assert len(places) == 4096
    assert len(set(places.tolist())) >= distinct
    assert places.max() < n


@pytest.mark.parametrize("kind", ["linear", "conv", "lstm", "attention", "embedding"])
def test_every_matrix_of_a_fresh_layer_is_judged(kind):
    layer = FRESH[kind]()
    assert set(judged(layer)) == {name for name, tensor in layer.named_parameters() if tensor.ndim > 1}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_fresh_layer_in_half_precision_is_recognised(dtype):
    assert share_recognised(lambda: nn.Linear(64, 48).to(dtype), 30) >= 0.9


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_is_judged_without_an_error(dtype):
    layer = nn.Linear(100, 100)
    layer.weight = nn.Parameter(layer.weight.detach().to(dtype), requires_grad=False)
    assert set(judged(layer)) == {"weight"}


@pytest.mark.parametrize("kind", ["lstm", "projected", "gru", "cell", "linear"])
def test_a_fresh_layer_of_a_checkpoint_is_recognised(tmp_path, kind):
    """A file does not say which layer a tensor belongs to; its name and shape must do."""
    recognised = []
    for seed in range(20):
        torch.manual_seed(seed)
        torch.save(FRESH[kind]().state_dict(), tmp_path / "a.pt")
        table = anatomy(Subject.from_checkpoint(tmp_path / "a.pt")).table()
        recognised.append(bool(table["looks_untrained"].dropna().all()))
        assert table["looks_untrained"].notna().any()
    # 0.4 % of misses per tensor: two of 20 has a probability below 2 %, and the seeds are fixed.
    assert sum(recognised) >= 18


@pytest.mark.parametrize("factor", [0.8, 0.93, 1.07, 1.3])
def test_another_scale_is_not_taken_for_an_initialiser(factor):
    """64 × 48 values have a root mean square known to 0.8 % (uniform): 7 % is nine standard deviations."""
    torch.manual_seed(0)
    layer = nn.Linear(64, 48)
    with torch.no_grad():
        layer.weight.mul_(factor)
    assert judged(layer) == {"weight": False}


def test_one_value_beyond_the_bound_of_a_uniform_distribution_is_enough():
    torch.manual_seed(0)
    layer = nn.Linear(64, 48)
    assert judged(layer) == {"weight": True}
    with torch.no_grad():
        layer.weight[3, 5] = 1.001 / 8
    assert judged(layer) == {"weight": False}


def test_a_direction_that_stands_out_is_seen_where_the_values_look_the_same():
    torch.manual_seed(0)
    layer = nn.Linear(400, 400)
    nn.init.normal_(layer.weight, 0.0, 0.02)
    assert judged(layer) == {"weight": True}
    with torch.no_grad():
        u, v = torch.randn(400), torch.randn(400)
        # Adds a singular value of 1.2 to noise that ends at 0.02 · 2√400 = 0.8; the root mean square grows by 1.1 %,
        # and the largest singular value becomes 1.2 + 0.02² · 400 / 1.2 = 1.33 (Baik, Ben Arous & Péché).
        layer.weight.add_(1.2 * torch.outer(u / u.norm(), v / v.norm()))
        layer.weight.mul_(0.02 / layer.weight.std())
    assert judged(layer) == {"weight": False}


def test_small_tensors_are_not_judged():
    assert judged(nn.Linear(15, 17)) == {}
    assert set(judged(nn.Linear(16, 16))) == {"weight"}


def test_few_values_at_the_size_of_another_initialiser_decide_nothing():
    """Trained matrices of some hundred values do come to such a size, so neither answer would be safe."""
    torch.manual_seed(0)
    assert judged(initialised(lambda: nn.Linear(20, 30), nn.init.kaiming_normal_)) == {}
    assert judged(nn.Linear(20, 30)) == {"weight": True}


def perceptron(width):
    return nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 30))


def convolutional(width):
    return nn.Sequential(
        nn.Unflatten(1, (1, 20)), nn.Conv1d(1, width, 9), nn.ReLU(), nn.Conv1d(width, width, 5), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * width, 30),
    )  # fmt: skip


def trained(model, *, steps=300, frozen=()):
    """Train on the labels of a random teacher; return by how much each matrix changed, relative to its size."""
    x = torch.randn(512, 20)
    y = (x @ torch.randn(20, 30)).argmax(1)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for step in range(steps):
        batch = slice(step % 8 * 64, step % 8 * 64 + 64)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimiser.step()
    return {name: ((p - before[name]).norm() / before[name].norm()).item() for name, p in model.named_parameters()}


RUNS = [(make, width, seed) for make in (perceptron, convolutional) for width in (16, 32, 64) for seed in range(1, 6)]


@pytest.mark.parametrize(
    ("make", "width", "seed"),
    [(perceptron, 16, 0), (perceptron, 64, 0), (convolutional, 16, 0)]
    + [pytest.param(*run, marks=pytest.mark.verify) for run in RUNS],
)
def test_a_trained_layer_is_never_called_untrained(make, width, seed):
    torch.manual_seed(seed)
    model = make(width)
    change = trained(model, steps=200)
    looks_untrained = judged(model)
    changed = [name for name in looks_untrained if change[name] > 0.05]
    assert len(changed) >= 2
    assert not any(looks_untrained[name] for name in changed)
    assert not any(finding.where for finding in anatomy(Subject(model)).findings() if "untrained" in finding.message)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.verify) for seed in range(1, 6))])
def test_a_layer_that_was_frozen_is_named(seed):
    torch.manual_seed(seed)
    model = perceptron(32)
    trained(model, steps=200, frozen=("2.weight", "2.bias"))
    findings = [finding for finding in anatomy(Subject(model)).findings() if finding.severity != "note"]
    assert [(finding.severity, finding.where) for finding in findings] == [("warning", "2.weight")]
    assert "untrained" in findings[0].message


def encoder():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2, enable_nested_tensor=False)


def recurrent():
    return nn.Sequential(nn.Embedding(50, 16), nn.LSTM(16, 24, 2))


def just_above_the_sample():
    return nn.Sequential(nn.Linear(72, 64), nn.ReLU(), nn.Linear(64, 80), nn.ReLU(), nn.Linear(80, 80))


@pytest.mark.parametrize(
    "make", [lambda: perceptron(48), lambda: convolutional(16), encoder, recurrent, just_above_the_sample]
)
@pytest.mark.parametrize("seed", range(5))
def test_fresh_networks_get_no_problem_and_no_warning(make, seed):
    torch.manual_seed(100 + seed)
    findings = anatomy(Subject(make())).findings()
    assert [finding for finding in findings if finding.severity != "note"] == []
    assert [finding.where for finding in findings if "untrained" in finding.message] == [""]


def findings_of(model, severity="warning"):
    return [finding for finding in anatomy(Subject(model)).findings() if finding.severity == severity]


def linears(n, initialise):
    model = nn.Sequential(*[nn.Linear(64, 64) for _ in range(n)])
    for place, layer in enumerate(model):
        initialise(place, layer.weight)
    return model


def scaled_projections(place, weight):
    """GPT-2's: every other matrix is smaller by √(2 · layers)."""
    nn.init.normal_(weight, std=0.02 / (1 if place % 2 else math.sqrt(8)))


def cut_normals(place, weight):
    """JAX's and Flax's: cut at twice the standard deviation."""
    del place
    nn.init.trunc_normal_(weight, std=0.125 / 0.88, a=-0.25 / 0.88, b=0.25 / 0.88)


def orthogonal_and_normal(place, weight):
    (nn.init.orthogonal_ if place % 2 else nn.init.kaiming_normal_)(weight)


def identity_and_default(place, weight):
    if place % 2:
        nn.init.eye_(weight)


def zero_heads(place, weight):
    if place % 2:
        nn.init.zeros_(weight)


def constants(place, weight):
    if place % 2:
        nn.init.constant_(weight, 0.1)


def cut_and_default(place, weight):
    if place % 2:
        cut_normals(place, weight)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "initialise",
    [
        scaled_projections,
        cut_normals,
        cut_and_default,
        orthogonal_and_normal,
        identity_and_default,
        zero_heads,
        constants,
    ],
)
def test_a_fresh_network_of_mixed_initialisers_has_no_layer_that_still_looks_untrained(initialise, seed):
    torch.manual_seed(seed)
    assert findings_of(linears(6, initialise)) == []
    assert not any(row.trained for row in anatomy(Subject(linears(6, initialise))).tensors)


@pytest.mark.parametrize("shape", [(64, 64), (80, 80), (300, 40), (16, 16), (32, 16, 3, 3)])
@pytest.mark.parametrize("kind", ["normal", "uniform", "cut normal", "orthogonal", "with a padding row"])
@pytest.mark.parametrize(
    ("n_seeds", "most"), [(20, 0), pytest.param(500, 3, marks=pytest.mark.verify)], ids=["few", "many"]
)
def test_values_of_any_size_that_are_independent_are_not_called_trained(shape, kind, n_seeds, most):
    """At the 0.1 % level of either test, and Kolmogorov's is far milder at an estimated size: some 0.5 of 500."""
    wrong = 0
    for seed in range(n_seeds):
        torch.manual_seed(seed)
        tensor = torch.randn(shape)
        if kind == "uniform":
            tensor = torch.rand(shape) - 0.5
        elif kind == "cut normal":
            nn.init.trunc_normal_(tensor, a=-2, b=2)
        elif kind == "orthogonal":
            nn.init.orthogonal_(tensor)
        elif kind == "with a padding row":
            tensor[0] = 0
        tensor *= 0.0371
        rms, max_abs = tensor.double().square().mean().sqrt().item(), tensor.abs().max().item()
        wrong += _initialisation.looks_trained(tensor, rms, max_abs)
    assert wrong <= most


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_a_direction_that_stands_out_shows_training_at_any_size(scale):
    torch.manual_seed(0)
    noise = torch.randn(64, 64, dtype=torch.float64)
    u = torch.ones(64, dtype=torch.float64) / 8
    # The edge of the noise is at 2√64 = 16.
    for strength, trained in ((0.0, False), (40.0, True)):
        tensor = (noise + strength * torch.outer(u, u)) * scale
        rms, max_abs = tensor.abs().max().item() * (tensor / tensor.abs().max()).square().mean().sqrt().item(), 0.0
        max_abs = tensor.abs().max().item()
        assert _initialisation.looks_trained(tensor, rms, max_abs) is trained


def test_the_tensors_that_training_changed_are_shown_to_be_trained():
    torch.manual_seed(0)
    model = perceptron(64)
    trained(model, steps=300)
    rows = {row.name: row for row in anatomy(Subject(model)).tensors}
    assert [rows[f"{place}.weight"].trained for place in (2, 4)] == [True] * 2


def test_a_match_to_a_normal_initialiser_is_a_note_and_says_what_it_hides():
    """Normal values have no bound: that training moved them by a few per cent leaves nothing to see."""
    torch.manual_seed(0)
    model = perceptron(64)
    trained(model, steps=300)
    nn.init.kaiming_normal_(model[2].weight)
    assert findings_of(model) == []
    (note,) = [finding for finding in findings_of(model, "note") if finding.where]
    assert note.where == "2.weight"
    assert "may be untrained" in note.message
    assert "less than some 30 % does not show" in note.message
    model[2].reset_parameters()
    (warning,) = findings_of(model)
    assert warning.message == "2.weight still looks untrained, while other layers do not."


def test_more_fresh_matrices_than_trained_ones_are_one_note():
    torch.manual_seed(0)
    model = perceptron(64)
    trained(model, steps=300)
    model = nn.Sequential(model[2], *[nn.Linear(64, 64) for _ in range(3)])
    assert findings_of(model) == []
    (note,) = findings_of(model, "note")
    assert (note.where, note.message) == (
        "", "3 of 4 matrices look untrained: they cannot be told from a fresh initialisation."
    )  # fmt: skip
    assert "1 shown to be trained" in note.evidence


def test_an_all_zero_matrix_is_neither_fresh_nor_trained():
    model = nn.Linear(64, 64)
    nn.init.zeros_(model.weight)
    (row, _) = anatomy(Subject(model)).tensors
    assert (row.initialiser, row.trained) == (None, False)
