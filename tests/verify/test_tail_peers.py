"""`compare_tails` against powerlaw 1.5, which climbs the same likelihoods with a simplex, in the peers' environment."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from deepscope.linalg import PowerLawFit, compare_tails, fit_power_law

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".peers" / "bin" / "python"

pytestmark = pytest.mark.verify


def heavy_tailed(rng):
    return np.linalg.svd(rng.standard_t(2.5, size=(300, 500)), compute_uv=False) ** 2


def correlated(rng):
    """Columns of falling strength, as training leaves them."""
    return np.linalg.svd(rng.normal(size=(300, 500)) * np.arange(1, 501) ** -0.4, compute_uv=False) ** 2


def pareto(rng):
    return (1 - rng.random(400)) ** -0.5


def exponential(rng):
    return 1 + rng.exponential(size=800)


def lognormal(rng):
    return np.exp(rng.normal(size=800))


@pytest.fixture(scope="module")
def tails():
    """Values in units of the smallest."""
    rng = np.random.default_rng(0)
    found = {}
    for make in (heavy_tailed, correlated, pareto, exponential, lognormal):
        for draw in range(4):
            x = make(rng)
            fit = fit_power_law(x)
            found[f"{make.__name__}_{draw}"] = np.sort(x)[-fit.n_tail :] / fit.x_min
    return found


@pytest.fixture(scope="module")
def ours(tails):
    found = {}
    for name, z in tails.items():
        alpha = 1 + z.size / np.log(z).sum()
        # All of these values are the tail.
        fit = PowerLawFit("ok", z.size, alpha, (alpha - 1) / z.size**0.5, 1.0, 0.1, z.size)
        found[name] = {one.name: one for one in compare_tails(z, fit).alternatives}
    return found


@pytest.fixture(scope="module")
def theirs(tails, tmp_path_factory):
    if not PEER.exists():
        reason = "the peers' environment is missing: make .peers/.ready"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("powerlaw")
    np.savez(folder / "tails.npz", **tails)
    script = ROOT / "benchmarks" / "peer_powerlaw.py"
    done = subprocess.run(
        [str(PEER), str(script), str(folder / "tails.npz"), str(folder / "answer.json")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "answer.json").read_text())


@pytest.mark.parametrize("law", ["truncated_power_law", "lognormal", "exponential"])
def test_ratios_agree(ours, theirs, law):
    compared = 0
    for name, alternatives in ours.items():
        mine, peers = alternatives[law], theirs[name][law]
        if mine.status == "ok":
            # The simplex stops when the likelihood changes by less than 1e-4.
            assert mine.log_likelihood_ratio == pytest.approx(peers["ratio"], abs=1e-3), name
            # p = erfc(√−R) is steepest at R = 0, where an error of 1e-4 in R is one of 0.011 in p.
            assert mine.p_value == pytest.approx(peers["p_value"], abs=0.012), name
            compared += 1
        elif law == "lognormal":
            # There is no best lognormal: the simplex runs towards the power law until floats end its walk.
            mu, sigma = peers["parameters"]
            assert mu / sigma < -20, name
        else:
            # A cutoff only lowers the likelihood: the simplex ends near λ = 0, and at best where it started from.
            assert -1e-3 <= peers["ratio"] <= 0.01, name
    assert compared >= 10
