"""Many tails at once against one tail at a time, which has a naive twin of its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepscope.core import UsageError
from deepscope.linalg import fit_power_law, fit_power_laws


def pareto(alpha, n, seed):
    return (1 - np.random.default_rng(seed).random(n)) ** (-1 / (alpha - 1))


def check_against_single_fits(samples):
    fits = fit_power_laws(samples)
    for row, sample in enumerate(samples):
        single = fit_power_law(sample)
        assert fits.status[row] == single.status
        assert fits.ok[row] == (single.status == "ok")
        if single.status == "ok":
            assert (fits.n_tail[row], fits.x_min[row]) == (single.n_tail, single.x_min)
            # The same sums of the same terms, in blocks.
            assert fits.alpha[row] == pytest.approx(single.alpha, rel=1e-12)
            assert fits.ks_distance[row] == pytest.approx(single.ks_distance, rel=1e-12)


SPECTRA = {
    "pareto": lambda rng: pareto(3.0, 768, 5),
    "lognormal": lambda rng: np.exp(rng.normal(size=768)),
    "marchenko-pastur": lambda rng: np.linalg.svd(rng.normal(size=(200, 500)), compute_uv=False) ** 2,
    "steps": lambda rng: np.repeat(rng.pareto(1.5, 60) + 1, 5),
    "tiny": lambda rng: pareto(2.0, 100, 1) * 1e-300,
    "huge range": lambda rng: 10 ** rng.uniform(-305, 305, size=90),
    "cluster and outlier": lambda rng: np.append(1 + 1e-9 * rng.random(100), 50.0),
    "just enough": lambda rng: rng.random(8) + 0.1,
}


@pytest.mark.parametrize("name", SPECTRA)
def test_resamples_have_the_fits_of_their_rows(name):
    rng = np.random.default_rng(3)
    x = SPECTRA[name](rng)
    # More rows than one block holds, and none of them sorted.
    check_against_single_fits(x[rng.integers(x.size, size=(60, x.size))])


@settings(max_examples=80, deadline=None)
@given(
    st.integers(8, 40).flatmap(
        lambda n: st.lists(
            st.lists(st.floats(1e-300, 1e300) | st.sampled_from([1.0, 2.0, 3.0]), min_size=n, max_size=n),
            min_size=1,
            max_size=4,
        )
    )
)
def test_any_values_have_the_fits_of_their_rows(rows):
    check_against_single_fits(np.array(rows))


def test_rows_without_a_fit_leave_the_others_alone():
    rows = np.tile(pareto(3.0, 50, 0), (5, 1))
    rows[0, 3] = np.nan
    rows[1] = 2.0
    rows[3, 7] = 0.0
    check_against_single_fits(rows)
    fits = fit_power_laws(rows)
    assert fits.ok.tolist() == [False, False, True, False, True]
    assert np.isnan(fits.alpha[~fits.ok]).all()
    assert not fits.n_tail[~fits.ok].any()


@pytest.mark.parametrize("shape", [(0, 20), (3, 5), (3, 0)])
def test_nothing_to_fit(shape):
    fits = fit_power_laws(np.ones(shape))
    assert len(fits.status) == fits.alpha.size == shape[0]
    assert not fits.ok.any()


def test_one_sample_is_a_table_of_one_row():
    with pytest.raises(UsageError, match=r"x\[None\]"):
        fit_power_laws(pareto(3.0, 50, 0))


def test_few_tails_are_evaluated_in_full(monkeypatch):
    from deepscope.linalg import _power_laws

    improve, counted = _power_laws._improve, []
    monkeypatch.setattr(_power_laws, "_improve", lambda *args: counted.append(args[2].size) or improve(*args))
    x = pareto(3.0, 768, 5)
    fit_power_laws(x[np.random.default_rng(0).integers(768, size=(40, 768))])
    # Of 767 tails a row, where pruning is hardest: the tails of Pareto values are all alike.
    assert sum(counted) <= 40 * 50
