"""The perceptron: the bound on its mistakes, attained and kept, and scikit-learn's as its twin."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import Perceptron


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def separable(seed: int) -> tuple[Tensor, Tensor, float]:
    """Return integer samples in three to ten dimensions, targets, and (R/γ)² by the unit vector that gave the targets.

    Any separating vector's γ gives a bound that holds; samples very near the hyperplane are left out, for fewer passes.
    """
    draws = generator(seed)
    features = int(torch.randint(3, 11, (), generator=draws))
    teacher = torch.randn(features, dtype=torch.float64, generator=draws)
    inputs = torch.randint(-9, 10, (60, features), generator=draws).double()
    margins = inputs @ teacher / teacher.norm()
    kept = margins.abs() > 0.5
    bound = inputs[kept].norm(dim=1).amax() / margins[kept].abs().amin()
    return inputs[kept], margins[kept].sign()[:, None], float(bound**2)


def test_mistakes_are_at_most_the_squared_ratio_of_radius_to_margin() -> None:
    """Samples are integers, so that all sums are exact: a mistake is no matter of rounding."""
    for seed in range(200):
        inputs, targets, bound = separable(seed)
        unit = Perceptron(inputs.shape[1], 1, bias=False).double()
        mistakes = unit.fit(inputs, targets, passes=100_000)
        assert mistakes[-1] == 0
        assert 0 < sum(mistakes) <= bound
        assert (targets * unit(inputs) > 0).all()


@pytest.mark.parametrize("n", [1, 5, 30])
def test_the_bound_is_attained_by_orthogonal_samples(n: int) -> None:
    """Of n orthonormal samples the largest margin is 1/√n: each must be added, and n mistakes are (R/γ)²."""
    targets = torch.where(torch.arange(n) % 3 == 0, 1.0, -1.0)[:, None]
    assert Perceptron(n, 1, bias=False).fit(torch.eye(n), targets) == [n, 0]


def test_without_a_start_at_zero_the_bound_breaks() -> None:
    """A planted fault: the bound is of the rule that begins at 0."""
    unit = Perceptron(5, 1, bias=False)
    torch.nn.init.constant_(unit.response.weight, -10.0)
    assert sum(unit.fit(torch.eye(5), torch.ones(5, 1))) > 5


def test_exclusive_or_is_never_learnt() -> None:
    """Weights that begin a pass as they began another repeat for ever."""
    inputs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    targets = torch.tensor([[-1.0], [1.0], [1.0], [-1.0]])
    unit = Perceptron(2, 1)
    seen = set()
    for _ in range(100):
        assert unit.fit(inputs, targets, passes=1)[0] > 0
        state = tuple(torch.cat([p.flatten() for p in unit.parameters()]).tolist())
        if state in seen:
            return
        seen.add(state)
    raise AssertionError("no cycle")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("passes", [1, 7])
def test_it_is_the_perceptron_of_scikit_learn(bias: bool, passes: int) -> None:
    from sklearn.linear_model import Perceptron as Twin

    inputs = torch.randint(-5, 6, (150, 2, 4), generator=generator(1)).double()
    targets = torch.where(torch.randn(150, 3, generator=generator(2)) > 0, 1, -1)
    units = Perceptron(8, 3, bias=bias).double()
    mistakes = units.fit(inputs, targets, passes=passes)
    assert len(mistakes) == passes
    assert min(mistakes) > 0
    for k in range(3):
        twin = Twin(fit_intercept=bias, shuffle=False, tol=None, max_iter=passes)
        twin.fit(inputs.flatten(1).numpy(), targets[:, k].numpy())
        assert units.response.weight[k].tolist() == twin.coef_[0].tolist()
        if bias:
            assert units.response.bias[k].item() == twin.intercept_[0]


def test_sixteen_samples_are_learnt() -> None:
    """More inputs than samples: any targets are separable."""
    inputs = torch.randn(16, 20, generator=generator(0))
    targets = torch.where(torch.randn(16, 4, generator=generator(1)) > 0, 1, -1)
    units = Perceptron(20, 4)
    assert not (targets * units(inputs) > 0).any()
    assert units.fit(inputs, targets)[-1] == 0
    assert (targets * units(inputs) > 0).all()


def test_nan_is_not_hidden() -> None:
    unit = Perceptron(2, 1)
    assert unit(torch.tensor([[torch.nan, 0.0]])).isnan().all()


def test_bad_input_is_named() -> None:
    unit, x, t = Perceptron(3, 2), torch.zeros(4, 3), torch.ones(4, 2)
    with pytest.raises(UsageError, match="out_features is 0"):
        Perceptron(3, 0)
    for wrong in (x[0], x[:, :2], x.long()):
        with pytest.raises(UsageError, match=r"Give \[batch, 3\]"):
            unit(wrong)
        with pytest.raises(UsageError, match=r"Give \[batch, 3\]"):
            unit.fit(wrong, t)
    for wrong in (t[:3], t[:, :1], 0 * t, torch.nan * t):
        with pytest.raises(UsageError, match=r"Give −1 or 1 for each sample and unit, \[4, 2\]"):
            unit.fit(x, wrong)
    for wrong in (x[:0], torch.nan + x):
        with pytest.raises(UsageError, match="Give finite numbers"):
            unit.fit(wrong, t[: len(wrong)])
    with pytest.raises(UsageError, match="passes is 0"):
        unit.fit(x, t, passes=0)
