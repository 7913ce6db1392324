"""Attention as convolution: layers against twins, bounds against closed forms, planted fakes."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepscope.core import Case, UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.models import QuadraticAttention
from deepscope.studies.attention import _digit_heads, _expression
from deepscope.studies.attention._content import derivative, inner
from deepscope.studies.attention._fewer_heads import in_image, middle_reads, residual
from deepscope.studies.attention._kernels import as_convolution, draw_kernel, rank_bounds, without_places
from deepscope.studies.attention._layers import attention, embedded, free_scores, offsets_of, quadratic_scores
from deepscope.studies.attention.attention_conv import FEWER, STUDY, draw, judge, trial

DOUBLE = torch.float64


def generator(seed=1000):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=1000):
    return torch.randn(*shape, generator=generator(seed), dtype=DOUBLE)


def run(seed=1000):
    torch.manual_seed(seed)
    return SimpleNamespace(seed=seed, device=torch.device("cpu"), generator=generator(seed))


def case(part, **fields):
    return Case(**{**STUDY.defaults, "part": part, **fields})


@pytest.mark.parametrize("size", [3, 5])
def test_the_matrix_of_an_offset_acts_on_the_pixel_there(size):
    kernel, x = draw_kernel("gaussian", size, 2, generator()), normal(1, 2, 6, 6)
    expected = torch.zeros(2, 6, 6, dtype=DOUBLE)
    for (down, right), matrix in zip(offsets_of(size).tolist(), kernel.reshape(-1, 2, 2), strict=True):
        for row, column in itertools.product(range(6), range(6)):
            if 0 <= row + down < 6 and 0 <= column + right < 6:
                expected[:, row, column] += matrix @ x[0, :, row + down, column + right]
    # Sums of at most 50 products of order 1.
    torch.testing.assert_close(as_convolution(kernel)(x)[0], expected, rtol=0, atol=1e-13)


def test_bounds_are_attained_by_leaving_singular_values_out():
    kernel = normal(9, 16)
    u, s, v = torch.linalg.svd(kernel, full_matrices=False)
    for rank, bound in enumerate(rank_bounds(kernel).tolist()):
        assert (kernel - (u[:, :rank] * s[:rank]) @ v[:rank]).norm().item() == pytest.approx(bound, abs=1e-12)
    # Fewer columns than rows: from rank 4 on nothing is left.
    assert rank_bounds(normal(9, 4))[4:].tolist() == [0.0] * 6


def test_gaussian_kernels_keep_the_variance():
    x = normal(2000, 4, 3, 3)
    y = torch.stack(
        [as_convolution(draw_kernel("gaussian", 3, 4, generator(seed)))(x)[:, :, 1, 1] for seed in range(40)]
    )
    # 160 sums of 36 squared weights over 36: standard error √(2/36/160) = 0.019; five of them.
    assert y.var().item() == pytest.approx(1.0, abs=0.1)


def test_scores_are_the_models_and_attention_reads_by_them():
    """Twin: ``QuadraticAttention``, whose softmax is a product of two and whose border is inside."""
    centre, locality = normal(4, 2), torch.tensor([0.2, 1.0, 3.0, 0.0], dtype=DOUBLE)
    model = QuadraticAttention(2, 2, 4, padding=1).double()
    values = normal(4, 2, 2)
    with torch.no_grad():
        model.centre.copy_(centre)
        model.locality.copy_(locality)
        model.output.weight.copy_(values.permute(1, 0, 2).flatten(1))
        model.output.bias.zero_()
    layer = attention(values, quadratic_scores(centre, locality, 6), generator(), content=0.0)
    x = normal(3, 2, 4, 4)
    torch.testing.assert_close(_expression.padded_read(layer, x, 3), model(x).detach(), rtol=0, atol=1e-12)
    middle = model.weights(5, 5)[:, 2, 2, 1:-1, 1:-1]
    # Without a border: renormalised to the image.
    expected = (middle / middle.sum((1, 2), keepdim=True)).flatten(1).T
    torch.testing.assert_close(middle_reads(centre, locality, 5), expected.detach(), rtol=0, atol=1e-13)


def test_content_adds_scores_of_the_given_spread():
    layer = attention(normal(9, 4, 4), None, generator(), content=0.5)
    x = embedded(normal(50, 4, 4, 4), 9)
    queries, keys = layer._split(layer.query(x)), layer._split(layer.key(x))
    # Nine heads' spreads differ by about √(2/16) each; their mean square by a third of it.
    assert (queries @ keys.mT / 2).std().item() == pytest.approx(0.5, rel=0.4)


def test_error_is_the_convolution_of_the_images_laplacian():
    """Blurred by e^−α to the four neighbours; inside, where every pixel has all of them."""
    convolution, x, alpha = as_convolution(draw_kernel("gaussian", 3, 4, generator())), normal(1, 4, 9, 9), 14.0
    x[:, :, :2], x[:, :, -2:], x[..., :2], x[..., -2:] = 0, 0, 0, 0
    around = sum(x.roll(shift, axis) for axis in (2, 3) for shift in (1, -1)) - 4 * x
    found = (QuadraticAttention.from_convolution(convolution, alpha)(x) - convolution(x)) * np.exp(alpha)
    # The next term is e^−α smaller, rounding e^α ε = 3e-10 greater.
    torch.testing.assert_close(found, convolution(around), rtol=0, atol=1e-4)


def test_values_are_held_at_the_least_squares():
    """By finite differences of the whole error: the values' own change does not count at first order."""
    target, centre, alpha = (
        in_image(draw_kernel("gaussian", 3, 4, generator()), 7),
        normal(3, 2),
        torch.ones(3).double(),
    )

    def error(at):
        return residual(middle_reads(at, alpha, 7), target).square().sum()

    centre.requires_grad_()
    (slope,) = torch.autograd.grad(error(centre), centre)
    for row, column in itertools.product(range(3), range(2)):
        step = torch.zeros(3, 2, dtype=DOUBLE)
        step[row, column] = 1e-5
        finite = (error(centre + step) - error(centre - step)).item() / 2e-5
        # Central differences: 1e-10 of third derivatives of order 1, rounding 1e-16/1e-5.
        assert slope[row, column].item() == pytest.approx(finite, abs=1e-8)


def test_fits_meet_the_bound_and_nine_heads_pass_the_one_of_eight():
    few = {"starts": 8, "finalists": 3, "kernel": "orthogonal"}
    four, nine = (trial(case("heads", heads=heads, **few), run(1001)) for heads in (4, 9))
    assert four["bound"] == pytest.approx(55**0.5)
    assert 1 - 1e-9 < four["fitted"] / four["bound"] < 1.01
    assert four["one_hot"] == pytest.approx(four["bound"], rel=1e-9)
    assert four["unfitted"] > 1.5 * four["bound"]
    assert nine["bound_8"] == pytest.approx(1.0)
    assert nine["fitted"] < 0.02 < 1 < nine["unfitted"]


def test_the_rank_at_a_blank_image_is_the_number_of_heads():
    for heads in (1, 4, 8):
        found = trial(case("origin", heads=heads), run())
        assert found["excess"] < 1e-12
        assert found["least"] > 1e-6
    # Planted: a linear layer without heads, and one head more than is said.
    dense = nn.Linear(64 * 4, 64 * 4, dtype=DOUBLE)
    dense.num_heads = 1
    whole = derivative(lambda_layer(dense), 4, 8)
    singular = torch.linalg.svdvals(whole)
    assert singular[8] > 0.1 * singular[0]
    layer = attention(
        normal(9, 4, 4), quadratic_scores(normal(9, 2), torch.ones(9).double(), 8), generator(), content=1
    )
    nine = torch.linalg.svdvals(derivative(layer, 4, 8))
    assert nine[8] > 1e-6 * nine[0] > 1e6 * nine[9]


def lambda_layer(dense):
    class Layer(nn.Module):
        num_heads = 1

        def forward(self, x):
            return dense(x.flatten(1)).reshape(x.shape)

    return Layer()


def test_low_rank_kernels_take_one_head_more_than_their_rank():
    for rank in (1, 2, 4):
        assert trial(case("low rank", rank=rank), run(rank))["low_rank"] < 1e-12
    reads = torch.rand(2, 9, generator=generator(), dtype=DOUBLE)
    weights = free_scores(reads, 5).softmax(-1)[:, 12].unflatten(1, (5, 5))
    expected = reads.unflatten(1, (3, 3)) / reads.sum(1)[:, None, None]
    torch.testing.assert_close(weights[:, 1:4, 1:4], expected, rtol=1e-13, atol=0)
    assert weights.sum((1, 2)).tolist() == pytest.approx([1.0, 1.0])


def test_the_best_layer_without_positions_is_the_mean_over_permutations():
    kernel, x = draw_kernel("gaussian", 3, 1, generator()), normal(1, 9, 1)
    others, outputs = [0, 1, 2, 3, 5, 6, 7, 8], []
    # The eight turns of the others bring each of them to each place once, as all their permutations do equally often.
    for turn in range(8):
        turned = x[0, :, 0].clone()
        turned[others] = turned[others].roll(turn)
        outputs.append((kernel[:, 0] * turned).sum())
    expected = torch.stack(outputs).mean()
    torch.testing.assert_close(without_places(kernel, x)[0, 4, 0], expected, rtol=0, atol=1e-14)


def test_positions_make_the_difference():
    found = trial(case("positions", fit_images=16), run())
    assert found["permuted"] < 1e-12
    assert found["with"] < 1e-10
    assert 0.9 < found["least"] < found["without"] < 1.2
    square = torch.arange(25.0).reshape(1, 25, 1)
    assert inner(square, 5, 3).flatten().tolist() == [6, 7, 8, 11, 12, 13, 16, 17, 18]


def test_digits_are_learned_from_wide_heads():
    found = trial(case("digits", n_train=256, epochs=1, layers=1), run())
    assert found["pixels_before"].min() > 25
    assert found["pixels_read"].shape == found["locality"].shape == (1, 9)
    # A head that reads all alike counts all pixels, one that reads one counts one.
    model = _digit_heads.PixelNetwork(2, 2, 1, 3)
    with torch.no_grad():
        model.layers[0].locality.copy_(torch.tensor([0.0, 200.0]))
        model.layers[0].centre.zero_()
    assert _digit_heads._pixels_read(model, torch.Size([8, 8]))[0].tolist() == pytest.approx([64, 1], abs=1e-3)


def healthy(seeds=(0, 1, 2, 3), **planted):
    """Return trials as theory has them, but for what is planted."""
    alphas = np.array(_expression.LOCALITIES)
    told = {
        "slope": -1.0,
        "floor": 1e-15,
        "standard": 1e-15,
        "least_ratio": 1.0,
        "one_hot": 1.0,
        "fit": 1.01,
        "nine": 0.001,
        "unfitted": 5.0,
        "excess": 1e-16,
        "with": 1e-14,
        "permuted": 1e-15,
        "without": 1.01,
        "borderless": 0.0,
        "low_rank": 1e-14,
        **planted,
    }
    rows = []
    for seed in seeds:
        wobble = 1 + 1e-3 * seed
        for size in (3, 5):
            errors = 10 * np.exp(told["slope"] * alphas)
            errors[-1] = told["floor"]
            rows.append(
                {
                    "part": "expression", "size": size, "seed": seed, "locality": alphas, "error": errors,
                    "borderless": 2 * np.exp(told["borderless"] * alphas), "standard": told["standard"],
                }
            )  # fmt: skip
        for kernel, heads in itertools.product(("gaussian", "orthogonal"), (*FEWER, 9)):
            bound = 10.0 - heads
            # Planted in one kernel and at one number of heads alone: the worst counts, not the mean.
            nine = told["nine"] if kernel == "gaussian" else 0.001
            ratio = told["fit"] if (kernel, heads) == ("orthogonal", 6) else 1.01
            unfitted = told["unfitted"] if kernel == "orthogonal" else 5.0
            fit = wobble * (nine if heads == 9 else bound * ratio)
            if (kernel, heads, seed) == ("gaussian", 4, 1):
                fit = bound * told["least_ratio"]
            rows.append(
                {
                    "part": "heads", "kernel": kernel, "heads": heads, "seed": seed, "fitted": fit, "bound_8": 1.0,
                    "bound": 0.0 if heads == 9 else bound, "unfitted": unfitted * wobble, "norm": 10.0,
                    "one_hot": bound * told["one_hot"], "start": np.zeros((heads, 2)), "places": np.ones((heads, 2)),
                }
            )  # fmt: skip
        rows.append({"part": "origin", "heads": 4, "seed": seed, "excess": told["excess"]})
        rows.append({"part": "low rank", "rank": 4, "seed": seed, "low_rank": told["low_rank"]})
        rows.append(
            {
                "part": "positions", "seed": seed, "permuted": told["permuted"], "with": told["with"],
                "without": 0.95 * told["without"] * wobble, "least": 0.95,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def test_what_theory_says_is_reproduced():
    criteria = judge(healthy())
    assert Verdict.of(criteria, seeds=4).outcome == "reproduced"
    assert sum(criterion.control for criterion in criteria) == 5


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        ({"slope": -0.5}, "slope of log error over α, 8 to 20"),
        ({"slope": 0.0}, "slope of log error over α, 8 to 20"),
        ({"floor": 1e-6}, "largest difference from the convolution"),
        ({"standard": 1e-6}, "multi-head attention with random content"),
        ({"least_ratio": 0.99}, "best fit of 2 to 8 heads"),
        ({"one_hot": 1.001}, "heads on the largest offsets"),
        ({"fit": 2.0}, "best fit over the bound"),
        ({"nine": 1.0}, "nine fitted heads"),
        ({"unfitted": 0.01}, "nine heads at random places"),
        ({"excess": 0.1}, "first singular value beyond"),
        ({"with": 0.9}, "nine heads by content and position"),
        ({"permuted": 0.1}, "without positions: difference"),
        ({"without": 0.1}, "without positions, best values"),
        ({"borderless": -1.0}, "without zeros around"),
        ({"low_rank": 0.1}, "kernels of rank 1 and 4"),
    ],
)
def test_planted_fakes_are_caught(planted, name):
    failed = [criterion.name for criterion in judge(healthy(**planted)) if criterion.holds is False]
    assert len(failed) == 1
    assert name in failed[0]


def test_missing_trials_leave_it_open():
    trials = healthy()
    assert Verdict.of(judge(trials[trials["seed"] < 2]), seeds=2).outcome == "inconclusive"
    lacking = trials[(trials["part"] != "heads") | (trials["seed"] != 0) | (trials["heads"] != 6)]
    by_name = {criterion.name: criterion.holds for criterion in judge(lacking)}
    assert by_name["best fit of 2 to 8 heads over the bound"] is None
    assert all(criterion.holds is None for criterion in judge(trials.iloc[:0]))


def test_the_figure_draws_from_what_there_is():
    trials = healthy()
    assert "no zeros around the image" in to_svg(draw(trials))
    for part in ("heads", "expression", "positions"):
        assert to_svg(draw(trials[trials["part"] == part]))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"part": "head"}, "unknown part"),
        ({"part": "heads", "heads": 10}, "10 heads"),
        ({"part": "heads", "kernel": "orthogonl"}, "orthogonal"),
        ({"part": "heads", "kernel": "orthogonal", "channels": 2}, "cannot be orthogonal"),
        ({"part": "expression", "size": 4}, "kernels of 4"),
        ({"part": "expression", "size": 9}, "kernels of 9"),
        ({"part": "positions", "fit_images": 0}, "fit_images"),
        ({"part": "digits", "pixels": "shuffled"}, "unknown order"),
    ],
)
def test_bad_cases_are_refused(fields, match):
    with pytest.raises(UsageError, match=match):
        trial(Case(**{**STUDY.defaults, **fields}), run())


def test_content_layer_is_the_positions_layer_without_its_scores():
    """The two layers of the comparison draw the same queries and keys."""
    first, second = (attention(normal(9, 4, 4), scores, generator(), content=0.5)
                     for scores in (None, torch.zeros(9, 64, 64, dtype=DOUBLE)))  # fmt: skip
    x = embedded(normal(2, 4, 8, 8), 9)
    torch.testing.assert_close(first(x), second(x), rtol=0, atol=1e-13)
