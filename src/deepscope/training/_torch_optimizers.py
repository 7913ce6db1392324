"""torch's optimisers that the literature starts from: momentum, Adam, and the two weight decays."""

from __future__ import annotations

from torch.optim import SGD, Adam, AdamW

from deepscope.core import Specimen

__all__ = ["SGD", "Adam", "AdamW"]

SPECIMENS = (
    Specimen(
        name="sgd",
        title="gradient descent with momentum, Nesterov's, and coupled weight decay",
        build=SGD,
        formula=(
            "g ← g + λθ; v ← μv + (1 − d)g (v = g at first, d the dampening); θ ← θ − ηv, or θ ← θ − η(g + μv) for "
            "Nesterov's momentum; η learning rate, λ weight decay."
        ),
        source="sutskever2013importance",
        rows=("nesterov",),
        pinned_by="tests/training/test_torch_optimizers.py::test_nesterovs_momentum_has_its_rate_and_is_torchs_after_a_shift",
    ),
    Specimen(
        name="adam",
        title="adaptive moments, with coupled weight decay",
        build=Adam,
        formula=(
            "g ← g + λθ; m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; θ ← θ − η m̂/(√v̂ + ε), the hats dividing by 1 − βᵗ. "
            "The decay passes through the scaling: it acts less where gradients are large."
        ),
        source="kingma2015adam",
        rows=("adam",),
        pinned_by="tests/training/test_torch_optimizers.py::test_adams_step_is_bounded_and_scale_free_and_it_can_diverge",
    ),
    Specimen(
        name="adamw",
        title="Adam with decoupled weight decay",
        build=AdamW,
        formula="θ ← (1 − ηλ)θ − η m̂/(√v̂ + ε) with Adam's m̂ and v̂ of the gradient alone; λ weight decay.",
        source="loshchilov2019decoupled",
        pinned_by="tests/training/test_torch_optimizers.py::test_decoupled_decay_acts_alike_on_all_weights_and_coupled_does_not",
    ),
)
