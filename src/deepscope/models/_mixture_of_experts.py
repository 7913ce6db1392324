"""Mixture of local experts: networks that compete for samples, and a gate that says whose each one is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._mlp import MLP
from deepscope.models._sizes import check_vectors, positive


class MixtureOfExperts(nn.Module):
    """Mixture of experts: y = Σᵢ pᵢ(x) oᵢ(x), the outputs of experts weighed by a gate p = softmax(g(x)).

    Maps [batch, …] to [batch, out_features]; what follows the batch dimension is flattened. Each expert is a perceptron
    without a hidden layer unless given, the gate g a linear map. With n experts of e parameters it has n (e +
    in_features + 1) parameters; a sample costs twice as many operations, as all experts are asked.

    It is trained by ``surprise``, −log Σᵢ pᵢ exp(−½ |t − oᵢ|²) for a target t: the experts compete, because the
    gradient of each is that of its own error, hᵢ (oᵢ − t), with the posterior probability hᵢ = pᵢ exp(−½ |t − oᵢ|²) /
    Σⱼ pⱼ exp(−½ |t − oⱼ|²) that it made the target. With the squared error of y all experts would have to mend what is
    left of one common error. The defaults are the paper's network for vowels: 2 formants, 4 classes, 4 linear experts;
    60 parameters. Source: ``jacobs1991adaptive``.

    Parameters
    ----------
    in_features
        Number of values per sample.
    out_features
        Number of outputs.
    experts
        How many, n.
    hidden
        Widths of each expert's hidden layers.
    activation
        Of the hidden layers, as in ``MLP``.

    Raises
    ------
    UsageError
        A size below 1, an unknown activation; when called: an input of another size or not of floating-point numbers.

    Examples
    --------
    >>> model = MixtureOfExperts()
    >>> model(torch.zeros(5, 2)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 4]), 60)
    """

    def __init__(
        self,
        in_features: int = 2,
        out_features: int = 4,
        *,
        experts: int = 4,
        hidden: Sequence[int] = (),
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features", self)
        self.out_features = positive(out_features, "out_features", self)
        self.experts = nn.ModuleList(
            MLP(in_features, hidden, out_features, activation=activation)
            for _ in range(positive(experts, "experts", self))
        )
        self.gate = MLP(in_features, (), experts)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of the experts' outputs by the gate's probabilities, [batch, out_features]."""
        log_gates, outputs = self._asked(x)
        return (log_gates.exp().unsqueeze(-1) * outputs).sum(1)

    def gates(self, x: Tensor) -> Tensor:
        """Return the probabilities p of the experts, [batch, experts]."""
        return self._asked(x)[0].exp()

    def responsibilities(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the posterior probabilities h of the experts once the targets are known, [batch, experts]."""
        return self._joint(x, targets).softmax(1)

    def surprise(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of −log Σᵢ pᵢ exp(−½ |t − oᵢ|²), the loss that makes experts compete.

        Parameters
        ----------
        x
            [batch, …].
        targets
            t, [batch, out_features].

        Raises
        ------
        UsageError
            Targets of another shape.
        """
        return -self._joint(x, targets).logsumexp(1).mean()

    def _asked(self, x: Tensor) -> tuple[Tensor, Tensor]:
        check_vectors(x, self.in_features, self)
        return self.gate(x).log_softmax(1), torch.stack([expert(x) for expert in self.experts], 1)

    def _joint(self, x: Tensor, targets: Tensor) -> Tensor:
        log_gates, outputs = self._asked(x)
        if targets.shape != (len(x), self.out_features):
            raise UsageError(
                f"the targets are {list(targets.shape)}",
                where="MixtureOfExperts",
                todo=f"Give one for each output, {[len(x), self.out_features]}.",
            )
        return log_gates - (targets.unsqueeze(1) - outputs).square().sum(-1) / 2


SPECIMENS = (
    Specimen(
        name="mixture-of-experts",
        title="mixture of four local experts, for vowels",
        build=MixtureOfExperts,
        inputs=values(2),
        parameters=60,
        formula="y = Σᵢ pᵢ(x) oᵢ(x) with p = softmax(g(x)), where experts oᵢ and gate g are trained by "
        "−log Σᵢ pᵢ exp(−½ |t − oᵢ|²) for targets t: each expert by its own error, times the posterior probability "
        "that the target is its.",
        source="jacobs1991adaptive",
        pinned_by="tests/models/test_mixture_of_experts.py::test_each_expert_learns_from_its_own_error_by_its_share",
    ),
)
