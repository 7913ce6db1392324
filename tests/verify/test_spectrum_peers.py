"""`spectrum` against WeightWatcher 0.7.7, an independent implementation of the same fit, in the peers' environment.

An oracle of its own beside the naive twin of the unit tests: it takes singular values where deepscope takes the
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
from deepscope.subject import Subject

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".peers" / "bin" / "python"
SHAPES = {"attn": (768, 2304), "proj": (768, 768), "fc": (768, 3072), "out": (3072, 768)}

pytestmark = pytest.mark.verify


def heavy_tailed(rng, rows, cols):
    return rng.standard_t(2.5, size=(rows, cols)) * 0.05


def correlated(rng, rows, cols):
    """Columns of falling strength, as training leaves them."""
    return rng.normal(size=(rows, cols)) * np.arange(1, cols + 1) ** -0.4


def noise(rng, rows, cols):
    return rng.normal(size=(rows, cols)) * 0.1


@pytest.fixture(scope="module")
def matrices():
    rng = np.random.default_rng(0)
    return {
        f"{make.__name__}_{part}": make(rng, *shape).astype(np.float32)
        for make in (heavy_tailed, correlated, noise)
        for part, shape in SHAPES.items()
    }


@pytest.fixture(scope="module")
def theirs(matrices, tmp_path_factory):
    if not PEER.exists():
        reason = "the peers' environment is missing: make .peers/.ready"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("weightwatcher")
    np.savez(folder / "weights.npz", **matrices)
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


@pytest.fixture(scope="module")
def ours(matrices):
    layers = nn.ModuleDict()
    for name, matrix in matrices.items():
        layers[name] = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
        layers[name].weight = nn.Parameter(torch.from_numpy(matrix))
    return {row.layer: row for row in spectrum(Subject(layers)).weights}


def test_both_measured_all(matrices, ours, theirs):
    assert set(ours) == set(theirs) == set(matrices)


@pytest.mark.parametrize(
    ("mine", "peers"),
    [("alpha", "alpha"), ("ks_distance", "D"), ("x_min", "xmin"), ("alpha_stderr", "sigma")],
)
def test_fits_agree(ours, theirs, mine, peers):
    for name, row in ours.items():
        # Two ways to the same eigenvalues differ by n·eps·λ_max, at most 1e-11 of the values in a tail.
        assert getattr(row, mine) == pytest.approx(theirs[name][peers], rel=1e-9), name


@pytest.mark.parametrize("number", ["stable_rank", "log_norm", "log_spectral_norm"])
def test_norms_and_ranks_agree(ours, theirs, number):
    for name, row in ours.items():
        assert getattr(row, number) == pytest.approx(theirs[name][number], rel=1e-9), name
