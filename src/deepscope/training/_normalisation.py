"""Normalisation of activations: torch's layers, with their sources and the tests that pin them.

All give γ (x − m)/√(v + ε) + β, with a γ and a β for each channel or feature, and differ in what mean m and variance v
are taken over: of [batch, channels, …] the batch and all places for each channel (batch), the places for each channel
of each sample (instance), places and channels of a group for each sample (group); of a vector all its numbers (layer).
RMS normalisation has no mean: γ x/√(mean x² + ε). Batch normalisation in evaluation takes running estimates in place of
m and v: r ← (1 − a) r + a m in training, with a = ``momentum``, and v n/(n − 1), the estimate without bias, for v.

A layer that is normalised does not depend on the scale of its weights, but for ε: with W → c W, c > 0, its outputs are
the same and its gradients 1/c times as large.
"""

from __future__ import annotations

from torch.nn import BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm, RMSNorm

from deepscope.core import Specimen

__all__ = ["BatchNorm2d", "GroupNorm", "InstanceNorm2d", "LayerNorm", "RMSNorm"]

SPECIMENS = (
    Specimen(
        name="batch-norm",
        title="batch normalisation",
        build=BatchNorm2d,
        formula="y = γ (x − m)/√(v + ε) + β for each channel, m and v over the batch and all places in training; in "
        "evaluation running estimates, r ← (1 − a) r + a m, and likewise for v n/(n − 1).",
        source="ioffe2015batch",
        pinned_by="tests/training/test_normalisation.py::test_running_estimates_follow_their_recursion",
    ),
    Specimen(
        name="layer-norm",
        title="layer normalisation",
        build=LayerNorm,
        formula="y = γ (x − m)/√(v + ε) + β, m and v over the features of a sample; the same in training and "
        "evaluation.",
        source="ba2016layer",
        rows=("norm-survey",),
        pinned_by="tests/training/test_normalisation.py::test_outputs_do_not_depend_on_the_scale_of_the_weights_before",
    ),
    Specimen(
        name="group-norm",
        title="group normalisation",
        build=GroupNorm,
        formula="y = γ (x − m)/√(v + ε) + β, m and v over places and the channels of a group, for each sample. One "
        "group is layer normalisation of the whole map, as many groups as channels instance normalisation.",
        source="wu2018group",
        rows=("norm-survey",),
        pinned_by="tests/training/test_normalisation.py::test_outputs_do_not_depend_on_the_scale_of_the_weights_before",
    ),
    Specimen(
        name="instance-norm",
        title="instance normalisation",
        build=InstanceNorm2d,
        formula="y = (x − m)/√(v + ε), m and v over the places of each channel of each sample: what an image's "
        "contrast and brightness are is lost.",
        source="ulyanov2016instance",
        rows=("norm-survey",),
        pinned_by="tests/training/test_normalisation.py::test_outputs_do_not_depend_on_the_scale_of_the_weights_before",
    ),
    Specimen(
        name="rms-norm",
        title="root mean square normalisation",
        build=RMSNorm,
        formula="y = γ x/√(mean x² + ε), the mean over the features of a sample: layer normalisation of what has mean "
        "0.",
        source="zhang2019root",
        pinned_by="tests/training/test_normalisation.py::test_rms_norm_is_layer_norm_of_what_has_mean_zero",
    ),
)
