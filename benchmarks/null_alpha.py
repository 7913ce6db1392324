"""What `fit_power_law` says of pure Gaussian noise: writes the table that `null_alpha_band` reads.

    python benchmarks/null_alpha.py

Every cell of the table (short side, ratio of the sides, number of pooled matrices) has a seed of its own, so that no
cell depends on the others' order or number. One thread takes about a quarter of an hour.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from deepscope.linalg import fit_power_law, random_gram_eigenvalues

TABLE = Path(__file__).parents[1] / "src/deepscope/linalg/null_alpha.json"
SEED = 0
RATIOS = (1, 2, 4, 8, 32, 128)
# Pooled spectra of large matrices cost too much to draw often; kernels with many slices are seldom wide.
LARGEST = {1: 4096, 9: 512, 49: 128}
SMALLEST = 16
PERCENTILES = (2.5, 97.5)
# A draw takes n·s² operations: no cell takes much longer than ten seconds.
MOST_DRAWS, OPERATIONS = 2000, 1_000_000_000
DEGREE = 4


def n_draws(short: int, n_matrices: int) -> int:
    return min(MOST_DRAWS, OPERATIONS // (n_matrices * short * short))


def draw(short: int, ratio: float, n_matrices: int) -> np.ndarray:
    """Return exponent and distance of each draw, [draws, 2]."""
    rng = np.random.default_rng([SEED, short, round(short * ratio), n_matrices])
    found = []
    for _ in range(n_draws(short, n_matrices)):
        values = random_gram_eigenvalues(short, round(short * ratio), rng, n_matrices)
        # One square matrix in 100,000 has an eigenvalue that rounds to 0.
        fit = fit_power_law(values[values > 0])
        found.append((fit.alpha, fit.ks_distance))
    return np.array(found)


def band(short: int, ratio: float, n_matrices: int) -> list[float]:
    """Return alpha_low, alpha_high, ks_low, ks_high."""
    alpha, distance = draw(short, ratio, n_matrices).T
    return [rounded(value) for each in (alpha, distance) for value in np.percentile(each, PERCENTILES)]


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def smoothed(shorts: list[int], n_matrices: int, bands: list[list[list[float]]]) -> list[list[list[float]]]:
    """Return the limits' logarithms fitted by a quartic in those of short side and ratio.

    2,000 draws leave a standard error of 1 % in the lower and 3 % in the upper limit of α, 1 % and 0.4 % in those of
    the distance; the 59 draws of the largest shape leave six times that. The quartic's residuals are of this size: it
    describes the limits as well as the draws do, with about a half of their error.
    """
    x, y = np.meshgrid(np.log2(shorts), np.log2(RATIOS), indexing="ij")
    terms = np.stack([x**a * y**b for a in range(DEGREE + 1) for b in range(DEGREE + 1 - a)], axis=-1)
    weights = np.sqrt([n_draws(short, n_matrices) for short in shorts])[:, None, None]
    n_cells = x.size
    weighted = [(weights * each).reshape(n_cells, -1) for each in (terms, np.log(bands))]
    fitted = np.exp(terms @ np.linalg.lstsq(*weighted)[0])
    return [[[rounded(value) for value in cell] for cell in row] for row in fitted]


def table() -> list[dict[str, object]]:
    slabs = []
    for n_matrices, largest in LARGEST.items():
        shorts, bands = [], []
        short = SMALLEST
        while short <= largest:
            shorts.append(short)
            bands.append([band(short, ratio, n_matrices) for ratio in RATIOS])
            print(n_matrices, short, n_draws(short, n_matrices), bands[-1], file=sys.stderr)
            short *= 2
        bands = smoothed(shorts, n_matrices, bands)
        slabs.append({"n_matrices": n_matrices, "short": shorts, "ratio": RATIOS, "bands": bands})
    return slabs


def write(slabs: list[dict[str, object]]) -> None:
    text = json.dumps(slabs).replace("[[[", "\n[[[").replace("]], [[", "]],\n [[").replace("}, {", "},\n{")
    TABLE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(table())
