"""Sparsely gated mixture of experts: of many, each sample asks a few."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_input, positive


@dataclass(frozen=True, eq=False)
class Routing:
    """Which experts samples ask, and how evenly.

    Attributes
    ----------
    experts, gates
        [n, k]: the experts that each sample asks, and their weights, which sum to 1.
    importance
        [experts]: the sum of each expert's weights over the samples.
    load
        [experts]: how many samples are expected to ask each expert, over the gate's noise; how many do, without noise.
    """

    experts: Tensor
    gates: Tensor
    importance: Tensor
    load: Tensor

    def imbalance(self) -> Tensor:
        """Return CV(importance)² + CV(load)², a loss that is 0 where all experts are asked alike.

        CV is the deviation over the mean. The load has a gradient where the gate is noisy.
        """
        return _squared_variation(self.importance) + _squared_variation(self.load)


class SparseMixture(nn.Module):
    """Sparsely gated mixture of experts: y = Σᵢ Gᵢ(x) Eᵢ(x), with a gate G that is 0 but for k of n experts.

    G = softmax(top k of H(x)), H(x)ᵢ = (W_g x)ᵢ + ε softplus((W_noise x)ᵢ), ε standard normal in training and 0 else.
    Both matrices begin at 0, so that at first noise alone chooses. Each expert is two linear layers with ReLU
    between. Maps […, features] to […, features]. There are n (2 features · hidden + hidden + features) + 2 n features
    parameters. A sample costs 4 k features · hidden operations for its experts, whatever n is, and 4 n features for its
    gate; the samples of an expert are gathered first, so that each expert runs once.

    A gate that is trained by the task alone comes to ask the same few experts. ``mix`` returns what keeps it from this
    as well, the ``Routing`` whose ``imbalance`` is a loss: the sum of squared coefficients of variation of the experts'
    importance Σₓ G(x)ᵢ and load Σₓ P(x, i). P is the probability that i is among the k once its own noise is drawn
    anew, Φ(((W_g x)ᵢ − m) / softplus((W_noise x)ᵢ)), where m is the k-th largest of the others' H. The paper's weight
    of both is 0.1. Source: ``shazeer2017outrageously``.

    Parameters
    ----------
    features
        Numbers of a sample, in and out; 512 in the paper's language models.
    hidden
        Width of each expert's hidden layer; there 1,024.
    experts
        How many there are, n; there 4 to 256 without a hierarchy.
    active
        k, how many a sample asks; there 4.

    Raises
    ------
    UsageError
        A size below 1, more active experts than there are; when called: an input of another size or not of
        floating-point numbers.

    Examples
    --------
    >>> layer = SparseMixture(64, 128, experts=16, active=2)
    >>> layer(torch.zeros(5, 7, 64)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([5, 7, 64]), 267264)
    """

    def __init__(self, features: int = 64, hidden: int = 128, *, experts: int = 16, active: int = 4) -> None:
        super().__init__()
        self.features, self.active = positive(features, "features", self), positive(active, "active", self)
        if active > positive(experts, "experts", self):
            raise UsageError(
                f"active is {active}, experts is {experts}", where="SparseMixture", todo="Give at most all experts."
            )
        positive(hidden, "hidden", self)
        self.gate = nn.Linear(features, experts, bias=False)
        self.noise = nn.Linear(features, experts, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, features)) for _ in range(experts)
        )
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.noise.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, […, features]."""
        return self.mix(x)[0]

    def mix(self, x: Tensor) -> tuple[Tensor, Routing]:
        """Return y, […, features], and who was asked."""
        check_input(x, x.shape[-1:] == (self.features,), f"[…, {self.features}] of {{}} numbers", self)
        samples = x.reshape(-1, self.features)
        routing = self._route(samples)
        # All askings in a row, those of one expert side by side.
        order = routing.experts.flatten().argsort(stable=True)
        asking = order // self.active
        counts = routing.experts.flatten().bincount(minlength=len(self.experts)).tolist()
        answers = [
            expert(asked)
            for expert, asked in zip(self.experts, torch.split(samples[asking], counts), strict=True)
            if len(asked)
        ]
        weighed = torch.cat(answers or [samples]) * routing.gates.flatten()[order].unsqueeze(1)
        return torch.zeros_like(samples).index_add(0, asking, weighed).reshape(x.shape), routing

    def _route(self, x: Tensor) -> Routing:
        clean: Tensor = self.gate(x)
        deviation = F.softplus(self.noise(x))
        noisy = clean + deviation * torch.randn_like(clean) if self.training else clean
        top, experts = noisy.topk(self.active)
        gates = top.softmax(1)
        nobody = torch.zeros_like(clean)
        importance = nobody.scatter(1, experts, gates).sum(0)
        load = _chances(clean, noisy, deviation, self.active) if self.training else nobody.scatter(1, experts, 1)
        return Routing(experts, gates, importance, load.sum(0))


def _chances(clean: Tensor, noisy: Tensor, deviation: Tensor, active: int) -> Tensor:
    """Return each expert's probability to be among the active ones if its own noise is drawn anew, [n, experts]."""
    if active == clean.shape[1]:
        return torch.ones_like(clean)
    top = noisy.topk(active + 1).values
    last, next_one = top[:, active - 1 : active], top[:, active:]
    # The k-th largest of the others: the next one after the k for those among them, the k-th for those outside.
    others = torch.where(noisy >= last, next_one, last)
    chances: Tensor = torch.special.ndtr((clean - others) / deviation)
    return chances


def _squared_variation(values: Tensor) -> Tensor:
    mean = values.mean()
    # Of no samples there is none: no imbalance, rather than 0/0.
    return (values - mean).square().mean() / mean.square().clamp_min(torch.finfo(values.dtype).tiny)


SPECIMENS = (
    Specimen(
        name="sparse-mixture",
        title="sparsely gated mixture of sixteen experts",
        build=SparseMixture,
        inputs=values(64),
        parameters=267_264,
        formula="y = Σᵢ Gᵢ(x) Eᵢ(x) with G = softmax(top k of H(x)) and H(x)ᵢ = (W_g x)ᵢ + ε softplus((W_noise x)ᵢ), ε "
        "standard normal in training: of n experts Eᵢ only k are asked. CV² of the experts' summed weights and CV² of "
        "their expected numbers of samples are losses that keep all in use.",
        source="shazeer2017outrageously",
        pinned_by="tests/models/test_sparse_mixture.py::test_it_is_the_dense_sum_over_the_experts_that_are_asked",
    ),
)
