"""Normalisation of weights: torch's parametrisations, with their sources and the tests that pin them.

``weight_norm(layer)`` writes each output's weights as w = g v/‖v‖, so that the gradient of v is orthogonal to v, and v
only grows. ``spectral_norm(layer)`` divides W, flattened to [out, …], by uᵀ W v for vectors u and v which each forward
pass in training brings nearer to W's first singular vectors by a step of power iteration: its largest singular value
comes to 1, from above. Both return the layer, and keep its state.
"""

from __future__ import annotations

from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from deepscope.core import Specimen

__all__ = ["spectral_norm", "weight_norm"]

SPECIMENS = (
    Specimen(
        name="weight-norm",
        title="weight normalisation",
        build=weight_norm,
        formula="w = g v/‖v‖ for each output: g and v are learnt. ∇_g L = ∇_w L · v/‖v‖ and ∇_v L = (g/‖v‖) (∇_w L − "
        "(∇_g L) v/‖v‖), which is orthogonal to v.",
        source="salimans2016weight",
        rows=("norm-survey",),
        pinned_by="tests/training/test_normalisation.py::test_outputs_do_not_depend_on_the_scale_of_the_weights_before",
    ),
    Specimen(
        name="spectral-norm",
        title="spectral normalisation",
        build=spectral_norm,
        formula="W/(uᵀ W v), where each forward pass in training makes u ← W v/‖W v‖, v ← Wᵀ u/‖Wᵀ u‖: the layer's "
        "Lipschitz constant is 1, in the limit.",
        source="miyato2018spectral",
        rows=("spectral-norm",),
        pinned_by="tests/training/test_weight_normalisation.py::test_layers_and_networks_have_lipschitz_constant_one",
    ),
)
