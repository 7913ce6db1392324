"""`spectrum` against WeightWatcher 0.7.7, an independent implementation of the same fit, in the peers' environment.

An oracle of its own beside the naive twins of the unit tests: it takes singular values where deepscope takes the
eigenvalues of the Gram matrix, sums logarithms where deepscope sums steps, and scans every tail where deepscope prunes.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepscope.instruments import spectrum
from deepscope.linalg import MIN_VALUES, WEIGHTWATCHER_CUT
from deepscope.subject import Subject

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".peers" / "bin" / "python"

# Square, wide and tall; in the second row fewer than 20 eigenvalues, where WeightWatcher has a rule of its own.
MATRICES = [(24, 24), (64, 64), (20, 500), (300, 40), (128, 200), (256, 128), (30, 1500), (320, 320), (100, 784)]
MATRICES += [(8, 8), (10, 12), (9, 60), (200, 15), (19, 19), (16, 300)]
# [out, in, *kernel]; the last three have fewer than 20 values in all slices together.
KERNELS = [(64, 32, 1, 1), (24, 96, 1, 1), (32, 16, 3, 3), (12, 48, 3, 3), (96, 64, 3, 3), (16, 3, 3, 3), (20, 8, 5, 5)]
KERNELS += [(6, 14, 5, 5), (10, 18, 1, 1), (30, 16, 1, 1), (9, 2, 3, 3)]
LARGE = [(768, 2304), (768, 768), (768, 3072), (3072, 768)]

pytestmark = pytest.mark.verify


def heavy_tailed(rng, shape):
    return rng.standard_t(2.5, size=shape) * 0.05


def correlated(rng, shape):
    """Columns of falling strength, as training leaves them."""
    return rng.normal(size=shape) * np.arange(1, shape[1] + 1).reshape(-1, *[1] * (len(shape) - 2)) ** -0.4


def spiked(rng, shape):
    """A few strong directions in noise."""
    left, right = rng.normal(size=(3, shape[0])), rng.normal(size=(3, *shape[1:]))
    return 0.02 * rng.normal(size=shape) + 0.1 * np.tensordot(left, right, axes=(0, 0)) / shape[0] ** 0.5


def noise(rng, shape):
    return rng.normal(size=shape) * 0.1


def uniform(rng, shape):
    """What torch begins with."""
    bound = float(np.prod(shape[1:])) ** -0.5
    return rng.uniform(-bound, bound, size=shape)


MAKERS = (heavy_tailed, correlated, spiked, noise, uniform)


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    found = {}
    for shapes, makers in ((MATRICES + KERNELS, MAKERS), (LARGE, (heavy_tailed, correlated, noise))):
        for shape in shapes:
            for make in makers:
                # Beside every kind and shape in float32, the small matrices in float64.
                for dtype in (np.float32, np.float64) if shape in MATRICES else (np.float32,):
                    name = "x".join(map(str, shape))
                    found[f"{make.__name__}_{name}_{np.dtype(dtype).name}"] = make(rng, shape).astype(dtype)
    return found


@pytest.fixture(scope="module")
def theirs(weights, tmp_path_factory):
    if not PEER.exists():
        reason = "the peers' environment is missing: make .peers/.ready"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("weightwatcher")
    np.savez(folder / "weights.npz", **weights)
    script = ROOT / "benchmarks" / "peer_weightwatcher.py"
    done = subprocess.run(
        [str(PEER), str(script), str(folder / "weights.npz"), str(folder / "answer.json")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["version"] == "0.7.7"
    return answer["rows"]


def subject(weights):
    layers = nn.ModuleDict()
    for name, weight in weights.items():
        out, into, *kernel = weight.shape
        layer = nn.Conv2d(into, out, kernel, bias=False) if kernel else nn.Linear(into, out, bias=False)
        layer.weight = nn.Parameter(torch.from_numpy(weight))
        layers[name] = layer
    return Subject(layers)


def measured(weights, **options):
    reading = spectrum(subject(weights), bootstrap=0, null=None, alternatives=False, **options)
    return {row.layer: (row, reading.eigenvalues[row.name]) for row in reading.weights}


@pytest.fixture(scope="module")
def by_their_convention(weights):
    return measured(weights, convention="weightwatcher")


@pytest.fixture(scope="module")
def through_the_gram(weights):
    """Those that both conventions read alike: matrices with 20 values or more, none of them below the absolute cut."""
    # WeightWatcher rounds every tensor to float32.
    rounded = {name: weight.astype(np.float32).astype(weight.dtype) for name, weight in weights.items()}
    found = measured({name: weight for name, weight in rounded.items() if weight.ndim == 2 and min(weight.shape) >= 20})
    return {name: row for name, (row, values) in found.items() if values[0] > 2 * WEIGHTWATCHER_CUT}


def test_both_measured_all(weights, by_their_convention, theirs):
    assert set(by_their_convention) == set(theirs) == set(weights)


def test_their_convention_is_theirs(by_their_convention, theirs):
    compared = 0
    for name, (row, values) in by_their_convention.items():
        peer = theirs[name]
        if np.sum(values > WEIGHTWATCHER_CUT) < MIN_VALUES:
            # There the peer takes all values for the tail, and deepscope says that they are too few.
            assert row.alpha is None, name
            assert "too few" in row.status, name
            assert peer["num_pl_spikes"] < MIN_VALUES, name
            continue
        assert row.n_tail == peer["num_pl_spikes"], name
        # Both solvers are backward stable: they differ by a few eps·σ_max. No tail begins below σ_max/150, so that its
        # values are good to 2·150 times that, 2e-13 or less; α and D are means of their logarithms and powers.
        assert values[-1] / row.x_min < 150**2, name
        for mine, its in (("alpha", "alpha"), ("ks_distance", "D"), ("x_min", "xmin"), ("alpha_stderr", "sigma")):
            assert getattr(row, mine) == pytest.approx(peer[its], rel=1e-12, abs=0), (name, mine)
        compared += 1
    assert compared >= 200


def test_own_convention_agrees_through_the_gram(through_the_gram, theirs):
    assert len(through_the_gram) >= 85
    for name, row in through_the_gram.items():
        peer = theirs[name]
        assert row.n_tail == peer["num_pl_spikes"], name
        # Through the Gram an eigenvalue is good to n·eps·λ_max, at most 1e-11 of the values in a tail.
        for mine, its in (("alpha", "alpha"), ("ks_distance", "D"), ("x_min", "xmin"), ("alpha_stderr", "sigma")):
            assert getattr(row, mine) == pytest.approx(peer[its], rel=1e-9, abs=0), (name, mine)
        for number in ("stable_rank", "log_norm", "log_spectral_norm"):
            assert getattr(row, number) == pytest.approx(peer[number], rel=1e-9), (name, number)
