"""Spikes planted in noise and found again: where their eigenvalues lie, and how far noise has turned their vectors."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deepscope.core import MeasurementError, UsageError
from deepscope.instruments import spectrum, spike_directions
from deepscope.linalg import bbp_threshold, principal_angles, spike_overlap
from deepscope.subject import Subject

SIGMA = 0.3


def parameters(**tensors):
    model = nn.Module()
    for name, tensor in tensors.items():
        model.register_parameter(name, nn.Parameter(torch.as_tensor(tensor)))
    return Subject(model)


def unit(n, rng):
    vector = rng.standard_normal(n)
    return vector / np.linalg.norm(vector)


def planted(rows, cols, times, seed=0):
    """Noise with a spike of each of so many times the threshold; and the spikes' own vectors."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((side, len(times))))[0] for side in (rows, cols))
    thetas = np.array(times) * bbp_threshold(rows, cols, SIGMA**2)
    return (left * thetas) @ right.T + SIGMA * rng.standard_normal((rows, cols)), left, right


@pytest.mark.parametrize(("rows", "cols"), [(240, 160), (100, 400)])
def test_noise_turns_planted_spikes_as_far_as_the_limit_says(rows, cols):
    times, n_draws = (4.0, 2.0), 12
    seen = []
    for seed in range(n_draws):
        W, left, right = planted(rows, cols, times, seed)
        found = spike_directions(parameters(w=W), "w")
        assert len(found.eigenvalues) == 2
        overlaps = [(found.left * left).sum(0) ** 2, (found.right * right).sum(0) ** 2]
        seen.append([*overlaps, found.left_overlap, found.right_overlap, found.strengths])
    left, right, left_said, right_said, strengths = np.mean(seen, axis=0)
    thetas = np.array(times) * bbp_threshold(rows, cols, SIGMA**2)
    exact = np.array([spike_overlap(theta, rows, cols, SIGMA**2) for theta in thetas])
    # Of a single draw an overlap fluctuates by some 1/√100 · √(1 − overlap), here 0.05, and the mean of 12 by 0.015;
    # the bias at these sizes is of the order of 1/100. What one draw says of itself fluctuates less.
    assert np.stack([left, right], 1) == pytest.approx(exact, abs=0.04)
    assert np.stack([left_said, right_said], 1) == pytest.approx(exact, abs=0.03)
    # θ is the square root of a singular value that fluctuates by σ: a share of σ/θ, less than 1/20 of it.
    assert strengths == pytest.approx(thetas, rel=0.03)
    # The weaker spike is turned further, and what is said of it differs from the other by more than all tolerances.
    assert (exact[0] - exact[1] > 0.1).all()


def test_they_are_the_singular_vectors_with_their_signs():
    W, _, _ = planted(60, 90, (5.0, 3.0, 2.0))
    found = spike_directions(parameters(w=W), "w")
    U, S, Vt = np.linalg.svd(W)
    assert found.eigenvalues == pytest.approx(S[:3] ** 2, rel=1e-12)
    # leftᵀ·W·right is the diagonal of the singular values, up to the stated angle times the largest of them.
    assert found.left.T @ W @ found.right == pytest.approx(np.diag(S[:3]), abs=1e-12 * S[0])
    for ours, theirs in ((found.left, U[:, :3]), (found.right, Vt[:3].T)):
        angles = [principal_angles(ours[:, [i]], theirs[:, [i]])[0] for i in range(3)]
        # Twice for the decomposition's own error, and what angles themselves are computed to.
        assert (angles <= 2 * found.error + 1e-13).all()
    assert (found.left[np.abs(found.left).argmax(0), range(3)] > 0).all()
    assert (found.error < 1e-12).all()


def test_noise_has_none():
    W, _, _ = planted(80, 120, ())
    found = spike_directions(parameters(w=W), "w")
    assert (found.left.shape, found.right.shape) == ((80, 0), (120, 0))
    assert all(len(each) == 0 for each in (found.eigenvalues, found.error, found.strengths, found.left_overlap))
    # The variance of 9,600 entries is known to √(2/9600) of itself.
    assert found.variance == pytest.approx(SIGMA**2, rel=5 * math.sqrt(2 / 9600))


@pytest.mark.parametrize("scale", [1e-150, 1e-3, 1e120])
def test_the_scale_of_a_matrix_is_no_matter(scale):
    W, _, _ = planted(60, 90, (4.0,))
    one, scaled = (spike_directions(parameters(w=factor * W), "w") for factor in (1.0, scale))
    assert scaled.left == pytest.approx(one.left, abs=1e-11)
    assert scaled.strengths == pytest.approx(scale * one.strengths, rel=1e-12)
    assert scaled.left_overlap == pytest.approx(one.left_overlap, rel=1e-11)


def test_parts_and_what_is_made_of_tensors_go_by_the_names_of_the_table(tmp_path):
    query, left, _ = planted(60, 60, (5.0,), seed=1)
    rest = [planted(60, 60, (), seed=seed)[0] for seed in (2, 3)]
    fused = torch.as_tensor(np.concatenate([query, *rest]))
    gain = torch.full((50, 1), 2.0, dtype=torch.float64)
    direction = torch.as_tensor(planted(50, 70, (5.0,), seed=4)[0])
    save_file({"attn.qkv.weight": fused, "fc.weight_g": gain, "fc.weight_v": direction}, tmp_path / "m.safetensors")
    subject = Subject.from_checkpoint(tmp_path / "m.safetensors")
    for row in spectrum(subject).weights:
        assert len(spike_directions(subject, row.name).eigenvalues) == row.n_spikes, row.name
    assert (spike_directions(subject, "attn.qkv.weight[query]").left[:, 0] @ left[:, 0]) ** 2 > 0.9
    effective = 2 * direction / direction.norm(dim=1, keepdim=True)
    top = float(torch.linalg.matrix_norm(effective, ord=2))
    assert spike_directions(subject, "fc.weight").eigenvalues[0] == pytest.approx(top**2, rel=1e-12)
    with pytest.raises(UsageError, match="a factor of"):
        spike_directions(subject, "fc.weight_v")


def test_a_convolution_is_one_matrix_when_it_is_flattened():
    kernel = planted(40, 90, (5.0,))[0].reshape(40, 10, 3, 3)
    layer = nn.Conv2d(10, 40, 3, bias=False).double()
    layer.weight.data.copy_(torch.as_tensor(kernel))
    assert spike_directions(Subject(layer), "weight", conv="flattened").right.shape == (90, 1)
    with pytest.raises(MeasurementError, match="several matrices"):
        spike_directions(Subject(layer), "weight")


def equal_spikes():
    noise = 0.01 * np.random.default_rng(0).standard_normal((30, 20))
    left, singular, right = np.linalg.svd(noise, full_matrices=False)
    singular[:2] = 1.0
    return (left * singular) @ right


@pytest.mark.parametrize(
    ("W", "said"),
    [
        (np.full((30, 20), math.nan), "not finite"),
        (np.zeros((30, 20)), "more than half of the eigenvalues"),
        (np.ones((30, 20)), "more than half of the eigenvalues"),
        (equal_spikes(), "cannot be told apart"),
    ],
)
def test_directions_that_are_not_defined_have_a_reason(W, said):
    with pytest.raises(MeasurementError, match=said):
        spike_directions(parameters(w=W), "w")


def test_a_low_rank_update_has_no_noise(tmp_path):
    save_file({"q.lora_B.weight": torch.ones(8, 2), "q.lora_A.weight": torch.ones(2, 8)}, tmp_path / "m.safetensors")
    with pytest.raises(MeasurementError, match="no noise"):
        spike_directions(Subject.from_checkpoint(tmp_path / "m.safetensors"), "q.weight[lora]")


def test_a_name_that_is_none_says_which_was_meant():
    subject = parameters(weight=planted(30, 20, ())[0], bias=np.ones(20))
    with pytest.raises(UsageError, match='Did you mean "weight"'):
        spike_directions(subject, "wieght")
    with pytest.raises(UsageError, match="no spectrum"):
        spike_directions(subject, "bias")
