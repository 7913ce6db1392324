"""torch's own optimisers: momentum, the adaptive family, and the two weight decays."""

from __future__ import annotations

from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RMSprop

from deepscope.core import Specimen

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RMSprop"]

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
        rows=("adam", "repo-tf-keras"),
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
    Specimen(
        name="adagrad",
        title="rates that fall with the sum of squared gradients",
        build=Adagrad,
        formula="G ← G + g²; θ ← θ − ηg/(√G + ε), all by component.",
        source="duchi2011adaptive",
        rows=("gd-overview",),
        pinned_by="tests/training/test_torch_optimizers.py::test_ten_rules_follow_their_trajectories_on_rosenbrock_and_beale",
    ),
    Specimen(
        name="adadelta",
        title="steps in the units of the weights, without a learning rate",
        build=Adadelta,
        formula="v ← ρv + (1 − ρ)g²; Δ = g√(u + ε)/√(v + ε); u ← ρu + (1 − ρ)Δ²; θ ← θ − Δ.",
        source="zeiler2012adadelta",
        rows=("gd-overview",),
        pinned_by="tests/training/test_torch_optimizers.py::test_ten_rules_follow_their_trajectories_on_rosenbrock_and_beale",
    ),
    Specimen(
        name="rmsprop",
        title="gradients divided by their running root mean square",
        build=RMSprop,
        formula="v ← ρv + (1 − ρ)g²; θ ← θ − ηg/(√v + ε).",
        source="tieleman2012lecture",
        rows=("gd-overview",),
        pinned_by="tests/training/test_torch_optimizers.py::test_ten_rules_follow_their_trajectories_on_rosenbrock_and_beale",
    ),
    Specimen(
        name="adamax",
        title="Adam with the largest gradient in place of the root mean square",
        build=Adamax,
        formula="m ← β₁m + (1 − β₁)g; u ← max(β₂u, |g|); θ ← θ − η m̂/u, m̂ = m/(1 − β₁ᵗ).",
        source="kingma2015adam",
        rows=("gd-overview",),
        pinned_by="tests/training/test_torch_optimizers.py::test_ten_rules_follow_their_trajectories_on_rosenbrock_and_beale",
    ),
    Specimen(
        name="nadam",
        title="Adam with Nesterov's momentum",
        build=NAdam,
        formula=(
            "θ ← θ − η[(1 − μₜ)g/(1 − Πμ) + μₜ₊₁m/(1 − μₜ₊₁Πμ)]/(√v̂ + ε) with Adam's m and v, "
            "μₜ = β₁(1 − 0.96^(ψt)/2), the product over 1 to t."
        ),
        source="dozat2016incorporating",
        rows=("gd-overview",),
        pinned_by="tests/training/test_torch_optimizers.py::test_ten_rules_follow_their_trajectories_on_rosenbrock_and_beale",
    ),
)
