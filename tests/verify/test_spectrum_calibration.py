"""How often `spectrum` warns of, or praises, what was never trained, and how often it sees what is there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import beta
from torch import nn

from deepscope.instruments import spectrum
from deepscope.linalg import bbp_threshold
from deepscope.subject import Subject

pytestmark = pytest.mark.verify

# The law of each test depends on the shape only through corrections that fall with it: most layers are small ones.
LAYERS = {(64, 64): 100, (128, 128): 50, (64, 256): 50, (256, 64): 50, (256, 256): 30, (512, 512): 15, (1024, 1024): 5}
LARGER = [(128, 128), (128, 512), (512, 128), (200, 300), (256, 256)]


def gaussian(rows, cols):
    layer = nn.Linear(cols, rows, bias=False)
    nn.init.normal_(layer.weight, std=0.02)
    return layer


def uniform(rows, cols):
    """What torch begins with."""
    return nn.Linear(cols, rows, bias=False)


def orthogonal(rows, cols):
    layer = nn.Linear(cols, rows, bias=False)
    nn.init.orthogonal_(layer.weight)
    return layer


def embedding(rows, cols):
    return nn.Embedding(rows, cols)


def student(rows, cols):
    layer = nn.Linear(cols, rows, bias=False)
    layer.weight.data = torch.from_numpy(np.random.default_rng(torch.initial_seed()).standard_t(3, size=(rows, cols)))
    return layer


def spiked(rows, cols, times):
    """Noise with orthogonal directions of so many times the strength at which they leave the bulk."""
    sides = [torch.linalg.qr(torch.randn(side, len(times)))[0] for side in (rows, cols)]
    strengths = torch.tensor(times) * bbp_threshold(rows, cols, 1.0)
    layer = nn.Linear(cols, rows, bias=False)
    layer.weight.data = 0.02 * (torch.randn(rows, cols) + (sides[0] * strengths) @ sides[1].T)
    return layer


def readings(make, shape, draws, seed, **options):
    """One reading per layer, so that each is judged by itself."""
    with torch.random.fork_rng(devices=[]):
        layers = []
        for draw in range(draws):
            torch.manual_seed(1000 * seed + draw)
            layers.append(make(*shape))
    together = spectrum(Subject(nn.ModuleList(layers)), **options)
    assert len(together.weights) == draws
    return [dataclasses.replace(together, weights=(row,)) for row in together.weights]


def judged(reading):
    """Whether a layer is warned of, or called well trained."""
    return any(
        each.severity != "note" or "well-trained" in each.message or "heavy tail" in each.message
        for each in reading.findings()
    )


def upper_limit(hits, draws):
    """Clopper and Pearson's: so many hits or fewer would be seen in 2.5 % of samples if the rate were this."""
    return float(beta.ppf(0.975, hits + 1, draws - hits))


def lower_limit(hits, draws):
    return float(beta.ppf(0.025, hits, draws - hits + 1))


@pytest.fixture(scope="module")
def untrained():
    """1,000 layers, with every test switched on."""
    found = {}
    for i, make in enumerate((gaussian, uniform, orthogonal)):
        found[make.__name__] = [
            reading
            for j, (shape, draws) in enumerate(LAYERS.items())
            for reading in readings(make, shape, draws, 100 * i + j, null="permutation")
        ]
    found["embedding"] = readings(embedding, (2000, 64), 100, 300, null="permutation")
    assert sum(map(len, found.values())) == 1000
    return found


def test_untrained_layers_are_neither_warned_of_nor_praised(untrained):
    # Two tests at 1 % each, of spikes and of traps, and 0.1 % for the distance; uniform entries, which have no large
    # ones, show a spike in 0.4 % of 3,000 draws of 64 × 64, normal ones in 1.1 %. A spike alone is no warning.
    hits = {name: sum(map(judged, each)) for name, each in untrained.items()}
    total = sum(hits.values())
    print(f"\njudged of 1,000 untrained layers: {total} {hits}, at most {upper_limit(total, 1000):.1%}")
    assert upper_limit(total, 1000) <= 0.065


def test_noise_is_called_random(untrained):
    noise = [*untrained["gaussian"], *untrained["uniform"], *untrained["embedding"]]
    random = sum(reading.weights[0].phase == "random-like" for reading in noise)
    print(f"\nrandom-like: {random} of {len(noise)}, at least {lower_limit(random, len(noise)):.1%}")
    # One matrix in a hundred shows a spike, and one in a thousand is farther from the law than the limit.
    assert random >= 0.97 * len(noise)


def test_orthogonal_layers_are_degenerate_and_have_no_exponent(untrained):
    rows = [reading.weights[0] for reading in untrained["orthogonal"]]
    assert {(row.phase, row.alpha) for row in rows} == {("degenerate", None)}


# No bootstrap below: it decides only between the phases that are not random-like, and counts no spikes.
def test_untrained_kernels_are_called_random():
    kernels = {
        "3 × 3": lambda: nn.Conv2d(64, 64, 3, bias=False),
        "7 × 7, of colours": lambda: nn.Conv2d(3, 64, 7, bias=False),
        "3 × 3, in 32 groups": lambda: nn.Conv2d(512, 512, 3, groups=32, bias=False),
    }
    for i, (name, make) in enumerate(kernels.items()):
        rows = [reading.weights[0] for reading in readings(make, (), 60, 700 + i, bootstrap=0)]
        random = sum(row.phase == "random-like" for row in rows)
        print(f"\nkernels of {name}: {random} of 60 random-like")
        # At most 1 % are not: 4 of 60 have a probability of 0.4 %.
        assert random >= 57


def test_one_spike_at_twice_the_threshold_is_seen():
    rows = [
        reading.weights[0]
        for i, shape in enumerate(LARGER)
        for reading in readings(lambda *sides: spiked(*sides, [2.0]), shape, 40, 400 + i, bootstrap=0)
    ]
    told = sum(row.phase != "random-like" for row in rows)
    print(
        f"\none spike: {told} of {len(rows)} told from random, {sum(row.n_spikes == 1 for row in rows)} counted as one"
    )
    assert len(rows) == 200
    assert told >= 190


def test_student_entries_are_told_from_random():
    rows = [
        reading.weights[0]
        for i, shape in enumerate([(64, 64), *LARGER])
        for reading in readings(student, shape, 40, 500 + i, bootstrap=0)
    ]
    told = [row.phase != "random-like" for row in rows]
    print(f"\nStudent-t(3): {sum(told[40:])} of 200 told from random, and {sum(told[:40])} of 40 of 64 × 64")
    assert sum(told) >= 228
    # About 90 % of draws of 64 × 64 show a spike; of the rest the entries themselves tell.
    assert sum(told[:40]) >= 38


def test_three_spikes_are_counted():
    found = readings(lambda *sides: spiked(*sides, [2.0, 2.6, 3.2]), (1000, 800), 100, 600, bootstrap=0)
    counts = [reading.weights[0].n_spikes for reading in found]
    print(f"\nthree spikes: counted right in {counts.count(3)} of 100 draws at 1000 × 800")
    assert counts.count(3) >= 95


def test_the_judge_sees_a_warning_and_a_praise():
    """The planted bad cases of the first test: what it counts is there to be counted."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(256, 256, generator=generator))[0] for _ in range(2))

    def with_tail(alpha):
        values = ((torch.arange(256) + 0.5) / 256) ** (-1 / (alpha - 1))
        layer = nn.Linear(256, 256, bias=False)
        layer.weight.data = (left * values.sqrt()) @ right
        return layer

    collapsed = nn.Linear(256, 256, bias=False)
    collapsed.weight.data = left[:, :20] @ right[:20]
    single = gaussian(256, 256)
    with torch.no_grad():
        single.weight[3, 5] = 2.0
    for layer in (collapsed, single, with_tail(1.6), with_tail(3.0)):
        assert judged(spectrum(Subject(layer), null="permutation"))
