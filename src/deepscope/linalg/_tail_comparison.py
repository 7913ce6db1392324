"""Whether other laws describe the tail better than the power law."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepscope.linalg._power_law import MIN_VALUES, Floats, PowerLawFit, split_at_tail
from deepscope.linalg._tail_families import LIMIT, TailLaw, exponential, lognormal
from deepscope.linalg._truncated_power_law import truncated_power_law


@dataclass(frozen=True)
class TailAlternative:
    """The power law against one other law, both fitted to the values from x_min up.

    Attributes
    ----------
    name
        ``"truncated_power_law"``, ``"lognormal"`` or ``"exponential"``.
    status
        ``"ok"``; or that the law is at its best where it is the power law itself, with ratios 0 and p = 1; or why there
        is no comparison, and the numbers are None.
    log_likelihood_ratio
        Sum over the tail of ln p_power(x) − ln p_other(x): negative where the other law is the likelier.
    normalised_ratio
        The same, over its standard deviation √n_tail · σ of ln p_power(x) − ln p_other(x).
    p_value
        Probability of a ratio this far from 0 if both laws were equally good.
    parameters
        Of the other law, for x / x_min: ``alpha`` and ``rate`` λ; ``mu`` and ``sigma``; ``rate``.
    """

    name: str
    status: str
    log_likelihood_ratio: float | None
    normalised_ratio: float | None
    p_value: float | None
    parameters: dict[str, float]


@dataclass(frozen=True)
class TailComparison:
    """The power law against each alternative.

    Attributes
    ----------
    status
        ``"ok"``, or why nothing was compared.
    alternatives
        The comparisons, in a fixed order.
    best_alternative
        Name of the alternative with the highest likelihood; whether it beats the power law is said by the sign of its
        ratio and its p-value. None where nothing could be compared.
    """

    status: str
    alternatives: tuple[TailAlternative, ...] = ()
    best_alternative: str | None = None

    @property
    def best(self) -> TailAlternative | None:
        """The comparison with ``best_alternative``."""
        return next((one for one in self.alternatives if one.name == self.best_alternative), None)


def compare_tails(x: NDArray[Any] | Tensor, fit: PowerLawFit) -> TailComparison:
    """Compare the fitted power law with a truncated power law, a lognormal and an exponential, by their likelihoods.

    All laws are densities on [x_min, ∞), fitted to the n_tail values there by maximum likelihood:

        truncated power law   ∝ x^−α e^(−λx), α ≥ 1, λ ≥ 0
        lognormal             ∝ (1/x) exp(−(ln x − μ)² / 2σ²)
        exponential           ∝ e^(−λx)

    With R = Σ l_i, l_i = ln p_power(x_i) − ln p_other(x_i), and σ² the variance of l_i, p = erfc(|R| / √(2 n_tail) σ)
    for lognormal and exponential. The truncated power law contains the power law: R ≤ 0, and p is the probability that
    χ² with one degree of freedom exceeds −2R.

    Parameters
    ----------
    x
        The values that were fitted, any order, any scale, any shape.
    fit
        What :func:`fit_power_law` found for them.

    Returns
    -------
    TailComparison
        A comparison, or a status: there is no fit, or its tail has fewer than 8 values.

    Raises
    ------
    UsageError
        The fit is not one of x.

    Notes
    -----
    The power law is also the limit of lognormals whose mode moves far below x_min; where the likelihood rises towards
    it, no lognormal is best, and the same holds at λ = 0. Near those limits both p-values err on the side of the
    power law: λ = 0 is the end of its range, where −2R is 0 half the time, and Vuong's normal approximation needs laws
    that differ. At 5 % the best alternative beats a true power law less often than that: how often, ``pytest -s
    tests/verify/test_tail_calibration.py`` prints. Multiplying x by a constant changes nothing. Cost: about a
    millisecond. Sources: ``clauset2009power``, ``vuong1989likelihood``.

    Examples
    --------
    >>> from deepscope.linalg import fit_power_law
    >>> x = np.arange(1.0, 1001.0)
    >>> best = compare_tails(x, fit_power_law(x)).best
    >>> best.name, best.log_likelihood_ratio < 0, best.p_value < 0.05
    ('lognormal', True, True)
    """
    if fit.alpha is None:
        return TailComparison(fit.status)
    tail = split_at_tail(x, fit)[1]
    if tail.size < MIN_VALUES:
        return TailComparison(f"too few values in the tail ({tail.size}, at least {MIN_VALUES} are needed)")
    with np.errstate(over="ignore"):
        # z − 1, where z = x / x_min: for values close to x_min it has digits that z has not.
        excess = (tail - tail[0]) / tail[0]
    if not np.isfinite(excess[-1]):
        return TailComparison("the tail spans more than 308 decades")
    power = math.log(fit.alpha - 1) - fit.alpha * np.log1p(excess)
    alternatives = (
        _against("truncated_power_law", power, truncated_power_law(excess, fit.alpha)),
        _against("lognormal", power, lognormal(excess)),
        _against("exponential", power, exponential(excess)),
    )
    # Of equals the first: min keeps it.
    compared = [(one.log_likelihood_ratio, one.name) for one in alternatives if one.log_likelihood_ratio is not None]
    return TailComparison("ok", alternatives, min(compared, key=lambda pair: pair[0])[1])


def _against(name: str, power: Floats, law: TailLaw) -> TailAlternative:
    """Compare the densities of the power law and another law at every value."""
    if law.status == LIMIT:
        return TailAlternative(name, law.status, 0.0, 0.0, 1.0, law.parameters)
    if law.log_density is None:
        return TailAlternative(name, law.status, None, None, None, law.parameters)
    differences = power - law.log_density
    ratio, scatter = float(differences.sum()), math.sqrt(power.size) * float(differences.std())
    normalised = ratio / scatter if scatter > 0 else 0.0
    if name == "truncated_power_law":
        # P(χ²₁ > −2R) = erfc(√−R).
        p_value = math.erfc(math.sqrt(max(0.0, -ratio)))
    else:
        p_value = math.erfc(abs(normalised) / math.sqrt(2))
    return TailAlternative(name, "ok", ratio, normalised, p_value, law.parameters)
