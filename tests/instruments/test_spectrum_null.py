"""Spectra beside their null: phases, shuffled entries, WeightWatcher's convention, and what cannot be said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from deepscope.core import UsageError
from deepscope.instruments import spectrum
from deepscope.instruments._spectrum import _shuffled
from deepscope.instruments._spectrum_findings import spectrum_findings
from deepscope.instruments._spectrum_phase import phase_of
from deepscope.linalg import fit_power_law, fit_power_law_weightwatcher
from deepscope.subject import Subject


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def parameters(**tensors):
    model = nn.Module()
    for name, tensor in tensors.items():
        model.register_parameter(name, nn.Parameter(tensor))
    return Subject(model)


def row_of(tensor, **options):
    (row,) = spectrum(parameters(w=tensor), **options).weights
    return row


def rotated(values, cols, seed=0):
    """A matrix with these singular values, in random directions."""
    left, _ = torch.linalg.qr(gaussian(len(values), len(values), seed=seed))
    right, _ = torch.linalg.qr(gaussian(cols, cols, seed=seed + 1))
    return left @ torch.diag(torch.as_tensor(values)) @ right[: len(values)]


def spiked(*strengths):
    """Noise of variance 1, 128 × 256, with spikes of so many times the strength at which they leave the bulk."""
    found = gaussian(128, 256)
    for k, strength in enumerate(strengths):
        u, v = (nn.functional.normalize(gaussian(side, seed=10 + k), dim=0) for side in (128, 256))
        found += strength * (128 * 256) ** 0.25 * torch.outer(u, v)
    return found


PHASES = {
    "random-like": lambda: gaussian(128, 256),
    # λ at 1.5 times the threshold is (1 + θ²)(β + θ²)/θ² = 1.06 of the edge; at 4 times it is 4.
    "bleeding-out": lambda: spiked(1.5),
    "bulk+spikes": lambda: spiked(4.0, 3.0),
    "heavy-tailed": lambda: rotated((1 - np.random.default_rng(0).random(200)) ** (-1 / 3), 300),
    # Exponential: decays, with no power law.
    "bulk-decay": lambda: rotated(np.sqrt(np.random.default_rng(0).exponential(size=400) + 0.5), 400),
    "rank-collapse": lambda: gaussian(64, 20) @ gaussian(20, 64, seed=1),
    "degenerate": lambda: torch.linalg.qr(gaussian(64, 64))[0],
    "unknown": lambda: gaussian(8, 40),
}


@pytest.mark.parametrize("phase", PHASES)
def test_planted_phases(phase):
    row = row_of(PHASES[phase]())
    assert row.phase == phase
    assert row_of(1e-6 * PHASES[phase]()).phase == phase


@pytest.mark.parametrize(("shape", "n_spikes"), [((256, 64), 9), ((64, 256), 15), ((128, 128), 12)])
def test_noise_with_a_dozen_spikes_is_noise_with_spikes(shape, n_spikes):
    """Each spike takes a dimension with it: the rest follows the law of a smaller matrix."""
    generator = torch.Generator().manual_seed(0)
    strengths = torch.linspace(1.6, 6.0, n_spikes, dtype=torch.float64) * (shape[0] * shape[1]) ** 0.25
    for _ in range(20):
        left, right = (
            torch.linalg.qr(torch.randn(side, n_spikes, dtype=torch.float64, generator=generator))[0] for side in shape
        )
        noise = torch.randn(shape, dtype=torch.float64, generator=generator)
        row = row_of(noise + (left * strengths) @ right.T, bootstrap=0, alternatives=False)
        assert (row.phase, row.n_spikes) == ("bulk+spikes", n_spikes)


@pytest.mark.parametrize("shape", [(256, 64), (128, 128)])
def test_entries_without_a_variance_are_not_noise_with_spikes(shape):
    for seed in range(10):
        entries = np.random.default_rng(seed).standard_t(1.2, size=shape)
        assert row_of(torch.from_numpy(entries)).phase in ("heavy-tailed", "bulk-decay")


def test_zeros_are_degenerate_and_what_is_not_finite_is_unknown():
    assert row_of(torch.zeros(40, 40)).phase == "degenerate"
    assert row_of(torch.full((40, 40), torch.nan)).phase == "unknown"


def test_a_phase_needs_its_tests():
    heavy = PHASES["heavy-tailed"]()
    assert row_of(heavy, bootstrap=0).phase == "unknown"
    assert row_of(heavy, null=None).phase == "unknown"
    row = row_of(heavy)
    for change in (
        {"fit_p_value": 0.05},
        {"alternative_ratio": -3.0, "alternative_p_value": 0.003},
        {"null_alpha_low": row.alpha_high - 0.01},
        {"alpha": 6.5},
    ):
        assert phase_of(dataclasses.replace(row, **change)) == "bulk-decay"
    # An alternative that is likelier by chance, or less likely, rules nothing out.
    for change in ({"alternative_p_value": 0.3}, {"alternative_ratio": 3.0, "alternative_p_value": 0.003}):
        assert phase_of(dataclasses.replace(row, **change)) == "heavy-tailed"


def test_shuffling_keeps_what_single_entries_make_and_destroys_the_rest():
    structured = row_of(spiked(4.0, 3.0), null="permutation")
    assert (structured.n_spikes, structured.n_traps) == (2, 0)
    trapped = gaussian(128, 256)
    trapped[5, 7] = 60.0
    row = row_of(trapped, null="permutation")
    assert (row.n_spikes, row.n_traps) == (1, 1)
    assert row.shuffled_alpha is not None
    (finding,) = spectrum_findings([row])
    assert (finding.severity, finding.where) == ("warning", "w")
    assert "shuffled" in finding.evidence


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_a_shuffle_is_the_permutation_that_its_generator_draws(dtype):
    # A view with strides, as a part of a fused projection is.
    matrices = gaussian(1, 6, 30).to(dtype)[:, :, 10:20]
    before = matrices.clone()
    order = np.random.default_rng(3).permutation(60)
    expected = matrices.reshape(-1)[torch.from_numpy(order)].view(1, 6, 10)
    assert not expected.double().equal(before.double())
    assert _shuffled(matrices, np.random.default_rng(3)).double().equal(expected.double())
    assert matrices.double().equal(before.double())


def test_seeds_decide_what_is_random_and_nothing_else():
    W = PHASES["heavy-tailed"]()
    one, same, other = (
        row_of(W, null="permutation", generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert one == same
    random = {"alpha_low", "alpha_high", "fit_p_value", "shuffled_alpha", "n_traps"}
    changed = {f.name for f in dataclasses.fields(one) if getattr(one, f.name) != getattr(other, f.name)}
    assert changed <= random
    assert "alpha_low" in changed


def test_what_is_not_asked_for_is_missing():
    row = row_of(PHASES["heavy-tailed"](), null=None, bootstrap=0, alternatives=False)
    absent = ("alpha_low", "fit_p_value", "best_alternative", "null_alpha_low", "n_spikes", "mp_upper", "n_traps")
    assert [getattr(row, name) for name in absent] == [None] * len(absent)
    assert row.alpha is not None
    low, high = row.interval
    assert high - low == pytest.approx(2 * 1.96 * row.alpha_stderr)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"convention": "weight-watcher"}, "unknown convention"),
        ({"null": "shuffle"}, "unknown null"),
        ({"conv": "circulant", "convention": "weightwatcher"}, "in slices"),
        ({"bootstrap": 5}, "5 resamples are too few"),
        ({"bootstrap": -1}, "too few"),
    ],
)
def test_what_cannot_be_asked_for(options, said):
    with pytest.raises(UsageError, match=said):
        spectrum(parameters(w=torch.ones(3, 3)), **options)


def test_weightwatchers_convention():
    torch.manual_seed(0)
    model = nn.ModuleDict({"small": nn.Linear(12, 30), "large": nn.Linear(60, 80), "kernel": nn.Conv2d(20, 30, 3)})
    rows = {row.layer: row for row in spectrum(Subject(model), convention="weightwatcher").weights}
    for name, fit in (("small", fit_power_law_weightwatcher), ("large", fit_power_law)):
        values = np.linalg.svd(model[name].weight.detach().double().numpy(), compute_uv=False) ** 2
        twin = fit(values)
        assert (rows[name].alpha, rows[name].n_tail) == (twin.alpha, twin.n_tail)
    slices = model["kernel"].weight.detach().double().permute(2, 3, 0, 1).flatten(0, 1).numpy()
    pooled = np.concatenate([np.linalg.svd(each, compute_uv=False) ** 2 / 2 for each in slices])
    twin = fit_power_law(pooled)
    assert rows["kernel"].alpha == pytest.approx(twin.alpha, rel=1e-12)
    assert rows["kernel"].x_min == pytest.approx(twin.x_min, rel=1e-12)
    # The cut is absolute: a layer of small weights has no exponent there.
    with torch.no_grad():
        model["large"].weight.mul_(2.0**-13)
    assert spectrum(Subject(model), convention="weightwatcher").weights[1].alpha is None
    assert spectrum(Subject(model)).weights[1].alpha == pytest.approx(rows["large"].alpha, rel=1e-9)


def test_weightwatchers_convention_resamples_only_what_it_fits():
    # Some of the eigenvalues lie between 0 and the absolute cut: they are in the ranks, and in no fit.
    wide = nn.Linear(100, 100, bias=False, dtype=torch.float64)
    values = np.geomspace(1e-7, 10, 100)
    wide.weight.data = torch.diag(torch.from_numpy(values).sqrt())
    small = nn.Linear(40, 12, bias=False)
    large, few = spectrum(Subject(nn.ModuleDict({"wide": wide, "small": small})), convention="weightwatcher").weights
    assert large.rank == 100
    assert large.n_tail <= np.sum(values > 1e-5)
    assert None not in (large.alpha_low, large.alpha_high, large.fit_p_value, large.best_alternative)
    # Below 20 values its rule is not the one that resamples are fitted by.
    assert few.alpha is not None
    assert (few.alpha_low, few.alpha_high, few.fit_p_value) == (None, None, None)


def test_weightwatcher_reads_in_float32():
    weight = torch.randn(40, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    double, single = parameters(w=weight), parameters(w=weight.float())
    theirs = [spectrum(each, convention="weightwatcher").weights[0] for each in (double, single)]
    ours = [spectrum(each).weights[0] for each in (double, single)]
    assert theirs[0].alpha == theirs[1].alpha
    assert ours[0].alpha != ours[1].alpha


def test_operators_on_a_grid_have_no_null():
    (row,) = spectrum(Subject(nn.Conv2d(8, 16, 3, bias=False)), conv="circulant").weights
    assert row.alpha is not None
    assert (row.n_spikes, row.null_alpha_low, row.phase) == (None, None, "unknown")


def test_an_exponent_of_what_is_no_power_law_is_called_doubtful():
    row = dataclasses.replace(row_of(PHASES["bulk-decay"]()), fit_p_value=0.02)
    (finding,) = spectrum_findings([row])
    assert finding.severity == "note"
    assert "says little" in finding.message


def test_a_tail_without_a_mean_is_a_warning():
    row = dataclasses.replace(row_of(PHASES["heavy-tailed"]()), alpha=1.5, alpha_low=1.4, alpha_high=1.7)
    (finding,) = spectrum_findings([row])
    assert (finding.severity, finding.where) == ("warning", "w")
    assert "1.50 (95 % interval 1.40 to 1.70)" in finding.evidence


def test_hill_plot_of_a_power_law_is_level():
    values = (np.arange(1, 401) / 401) ** -0.5
    reading = spectrum(parameters(w=rotated(np.sqrt(values), 400)))
    found = reading.hill("w")
    assert list(found.columns) == ["k", "eigenvalue", "alpha"]
    assert len(found) == 399
    np.testing.assert_allclose(found["eigenvalue"], np.sort(values)[:0:-1], rtol=1e-9)
    # p(x) ∝ x^−3 above its quantiles; the discrete quantiles leave a few hundredths.
    assert found["alpha"][100:].to_numpy() == pytest.approx(3.0, abs=0.05)
    with pytest.raises(UsageError, match="no eigenvalues of this name"):
        reading.hill("v")


def test_a_solver_that_does_not_converge_is_a_status(monkeypatch):
    def fail(*_, **__):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", fail)
    row = row_of(gaussian(30, 40), convention="weightwatcher")
    assert (row.alpha, row.status) == (None, "the singular value solver did not converge")


def test_heavy_entries_without_a_spike_are_not_called_random():
    # Of a sixth-power tail, whose few large entries make no eigenvalue of their own.
    entries = np.random.default_rng(0).standard_t(6, size=(256, 256))
    layer = nn.Linear(256, 256, bias=False)
    layer.weight.data = torch.from_numpy(entries)
    reading = spectrum(Subject(layer), bootstrap=0)
    (row,) = reading.weights
    assert row.n_spikes == 0
    assert row.phase == "unknown"
    # Theory: 6 / (ν - 4) = 3.
    assert row.entry_kurtosis == pytest.approx(stats.kurtosis(entries, axis=None), rel=1e-9)
    assert 1.5 < row.entry_kurtosis < 6
    (found,) = reading.findings()
    assert found.severity == "note"
    assert "its entries are not those of noise" in found.message
    assert spectrum(Subject(layer), bootstrap=0, null=None).weights[0].entry_kurtosis is None
