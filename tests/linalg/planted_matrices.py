"""Symmetric matrices with planted eigenvalues, and the generators that every draw comes from."""

import numpy as np
import torch


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def eigenvectors(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def with_spectrum(values, seed=0):
    """The matrix that has these eigenvalues on the columns of ``eigenvectors``."""
    Q = eigenvectors(len(values), seed)
    A = (Q * values) @ Q.T
    return (A + A.T) / 2
