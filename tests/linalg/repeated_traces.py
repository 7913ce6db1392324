"""Repeated estimates of a trace, and the judgement whether they are unbiased."""

import numpy as np
from planted_matrices import seeded

from deepscope.linalg import LinearOperator


def repeated(estimator, A, draws, **arguments):
    """Values and standard errors of independent estimates."""
    operator, generator = LinearOperator.from_matrix(A), seeded()
    found = [estimator(operator, generator=generator, **arguments) for _ in range(draws)]
    return np.array([each.value for each in found]), np.array([each.stderr for each in found])


def z_of_the_mean(values, truth):
    """How many of its standard errors the mean of independent values lies from the truth."""
    return float((values.mean() - truth) / (values.std(ddof=1) / len(values) ** 0.5))
