"""VSGD: variational stochastic gradient descent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor

from deepscope.core import Specimen
from deepscope.training._optimizer_arguments import (
    Parameters,
    checked_parameters,
    require,
    require_gradients,
    require_rate,
    require_real,
    require_settings,
)


@final
class VSGD(torch.optim.Optimizer):
    """Variational SGD: the true gradient is inferred from the noisy ones, and normalised by its own second moment.

    Model, for each weight: the true gradient drifts, gₜ ~ N(gₜ₋₁, 1/ω), and is seen with noise, ĝₜ ~ N(gₜ, 1/ω̂), with
    ω ~ Gamma(γ, γ) and ω̂ ~ Gamma(γ, Kγ). With μ = 0, a = γ, b = γ and b̂ = Kγ before the first step, step t = 1, 2, …
    updates the posteriors N(μ, σ²) of g, Gamma(a, b) of ω and Gamma(a, b̂) of ω̂::

        μ  ← (b̂μ′ + bĝ)/(b + b̂)                        with μ′ the μ of the step before
        σ² ← 1/(a/b + a/b̂)
        a  ← γ + 1/2
        b  ← (1 − ρ)b + ρ[γ + (σ² + (μ − μ′)²)/2]        ρ = t^−κ₁
        b̂  ← (1 − ρ̂)b̂ + ρ̂[Kγ + (σ² + (μ − ĝ)²)/2]       ρ̂ = t^−κ₂
        θ  ← (1 − ηλ)θ − ημ/(√(μ² + σ²) + ε)

    A step is never larger than η. Source: ``chen2025variational``. ε, decoupled weight decay λ and an offset of a are
    the authors' implementation's. Without the offset the prior expects gradients of size 1, and steps along smaller
    ones stay short for long: after 300 steps of a gradient of 0.001 they are 0.01 η, with it 0.6 η.

    Parameters
    ----------
    parameters
        As torch's optimisers take them.
    lr
        η.
    variance_ratio
        K, the variance of the noise over that of the drift, as believed before the first gradient.
    prior_strength
        γ.
    forgetting
        κ₁ and κ₂, above 1/2 and at most 1 for the averages to converge.
    shape_offset
        Added to a; 0 is the paper's algorithm.
    eps, weight_decay
        ε and λ.

    Raises
    ------
    UsageError
        An argument is out of range, there are no parameters, none of them is trained, one is complex or of a precision
        in which γ is 0, or ``step`` finds no gradient.

    Notes
    -----
    Costs three numbers of memory per parameter, and a step some 40 operations per parameter.

    Examples
    --------
    Twenty steps down a parabola, each of at most 0.05:

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = VSGD([weight], lr=0.05)
    >>> for _ in range(20):
    ...     weight.grad = weight.detach().clone()
    ...     _ = optimizer.step()
    >>> [round(each, 1) for each in weight.tolist()]
    [0.2, -1.2]
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 0.1,
        *,
        variance_ratio: float = 30.0,
        prior_strength: float = 1e-8,
        forgetting: tuple[float, float] = (0.81, 0.9),
        shape_offset: float = 5e-5,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        given = checked_parameters(parameters, where="VSGD")
        require_real(given, where="VSGD")
        settings: dict[str, Any] = {
            "lr": lr,
            "variance_ratio": variance_ratio,
            "prior_strength": prior_strength,
            "forgetting": tuple(forgetting),
            "shape_offset": shape_offset,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        require_settings(given, settings, _check)
        super().__init__(given, settings)
        for group in self.param_groups:
            for dtype in {each.dtype for each in group["params"]}:
                strength, smallest = group["prior_strength"], torch.finfo(dtype).tiny
                allowed = f"as at least {smallest:.2g}, the smallest of {dtype}"
                require(strength >= smallest, "prior_strength", strength, allowed, where="VSGD")
        self.register_step_pre_hook(require_gradients)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient; return what the closure returns, where there is one."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return value

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, strength = self.state[parameter], group["prior_strength"]
        prior = {"drift": strength, "noise": group["variance_ratio"] * strength}
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(parameter)
            state |= {name: torch.full_like(parameter, rate) for name, rate in prior.items()}
        shape = strength + group["shape_offset"] + (0.5 if state["step"] else 0.0)
        state["step"] += 1

        before, drift, noise = state["mean"].clone(), state["drift"], state["noise"]
        mean = state["mean"].mul_(noise).addcmul_(drift, gradient).div_(drift + noise)
        variance = drift * noise / (shape * (drift + noise))
        for name, seen, exponent in zip(prior, (before, gradient), group["forgetting"], strict=True):
            rate = prior[name] + (variance + (mean - seen).square()) / 2
            state[name].lerp_(rate, state["step"] ** -exponent)

        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(group["lr"] * mean / ((mean.square() + variance).sqrt() + group["eps"]))


def _check(settings: Mapping[str, Any]) -> None:
    for name in ("lr", "shape_offset", "eps", "weight_decay"):
        require_rate(name, settings[name], where="VSGD")
    for name in ("variance_ratio", "prior_strength"):
        require(0 < settings[name] < math.inf, name, settings[name], "above 0, and finite", where="VSGD")
    forgetting = settings["forgetting"]
    in_range = len(forgetting) == 2 and all(0.5 < each <= 1 for each in forgetting)
    require(in_range, "forgetting", forgetting, "as two numbers above 0.5 and at most 1", where="VSGD")


SPECIMENS = (
    Specimen(
        name="vsgd",
        title="variational SGD: the posterior of the true gradient",
        build=VSGD,
        formula=(
            "μ ← (b̂μ + bĝ)/(b + b̂), σ² = 1/(a/b + a/b̂), b and b̂ moving averages of the squared drift and noise that "
            "this implies; θ ← θ − ημ/√(μ² + σ²). ĝ is the stochastic gradient, a = γ + 1/2."
        ),
        source="chen2025variational",
        rows=("repo-vsgd",),
        pinned_by="tests/training/test_vsgd.py::test_it_follows_the_papers_posteriors_on_a_scripted_sequence",
    ),
)
