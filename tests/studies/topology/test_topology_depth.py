"""Topology over depth: the mathematics against closed forms, the criteria against planted fakes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepscope.core import Case, UsageError, Verdict
from deepscope.studies.topology._deep_narrow_network import network, representations
from deepscope.studies.topology._labelled_shapes import circle, disc, labelled_points
from deepscope.studies.topology._loops import shape_of
from deepscope.studies.topology.topology_depth import STUDY


def generator(seed: int = 1000) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("shape", "dimensions"), [("annuli", 2), ("tori", 3)])
def test_each_class_is_one_part_with_one_loop(shape: str, dimensions: int) -> None:
    points, classes = labelled_points(shape, 500, generator())
    assert points.shape == (1000, dimensions)
    for each in (0, 1):
        found = shape_of(points[classes == each], 50)
        assert (found.parts, found.loops) == (1, 1)
        assert found.bar > 0.4


def test_annuli_have_their_radii_and_tori_are_linked() -> None:
    points, classes = labelled_points("annuli", 2000, generator())
    radii = points.norm(dim=1)
    for each, (inner, outer) in enumerate([(0.5, 0.75), (1.0, 1.25)]):
        assert inner <= radii[classes == each].min() < inner + 0.01
        assert outer - 0.01 < radii[classes == each].max() <= outer
    points, classes = labelled_points("tori", 2000, generator())
    first, second = points[classes == 0], points[classes == 1]
    assert (first[:, :2].norm(dim=1) - 1).square().add(first[:, 2].square()).max() <= 0.25**2 + 1e-6
    # The second goes through the middle of the first, and is nowhere in it.
    assert second.norm(dim=1).min() < 0.1
    assert torch.cdist(first, second).min() > 0.25


def test_a_thin_loop_is_filled_at_a_third_of_its_length() -> None:
    """Its diameter is half of its length; it opens at the widest gap between 50 landmarks, less than 2π/25."""
    found = shape_of(circle(500, generator()), 50)
    assert 2 / 3 - (2 * math.pi / 25) / math.pi < found.bar < 2 / 3
    assert shape_of(disc(500, generator()), 50).bar < 0.15


def test_a_cloud_of_one_point_has_no_loop() -> None:
    assert shape_of(torch.ones(30, 3), 10) == (1, 0, 0.0)


def test_a_map_that_bends_keeps_the_loop_and_one_that_folds_does_not() -> None:
    points = circle(500, generator())
    bent = torch.cat([points, (2 * points[:, :1]).sin(), points[:, 1:].exp()], dim=1)
    assert shape_of(bent, 50).loops == 1
    folded = torch.stack([points[:, 0], points[:, 1].abs()], dim=1)
    assert shape_of(folded, 50).loops == 0


@pytest.mark.parametrize(("activation", "of"), [("tanh", torch.tanh), ("relu", torch.relu)])
def test_representations_are_those_of_the_layers(activation: str, of: Any) -> None:
    model = network(activation, 2, depth=3, width=5, generator=generator())
    points = torch.randn(7, 2, generator=generator())
    found = representations(model, points)
    value = points
    expected = [points]
    for layer in [each for each in model if isinstance(each, nn.Linear)][:-1]:
        value = of(layer(value))
        expected.append(value)
    expected.append(model[-1](value))
    assert len(found) == 5
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, theirs.detach())


def test_fresh_weights_are_as_said() -> None:
    tanh = network("tanh", 2, depth=3, width=40, generator=generator())
    assert isinstance(tanh[2], nn.Linear)
    torch.testing.assert_close(tanh[2].weight @ tanh[2].weight.T, 1.44 * torch.eye(40), atol=1e-5, rtol=0)
    relu = network("relu", 2, depth=3, width=200, generator=generator())
    assert isinstance(relu[2], nn.Linear)
    # A variance of 40,000 entries is known to √(2/40000) = 0.7 %.
    assert float(relu[2].weight.detach().var()) == pytest.approx(2 / 200, rel=0.03)


def test_unknown_words_are_refused() -> None:
    case = Case(**STUDY.defaults, activation="tanh")
    for name in ("shape", "activation"):
        with pytest.raises(UsageError, match=f"unknown {name}"):
            STUDY.trial(case.replace(**{name: "no"}), None)  # type: ignore[arg-type]


def planted(**changes: Any) -> Verdict:
    """Judge twelve seeds of what the claim predicts, with some numbers changed for one network or for both."""
    rng = np.random.default_rng(0)
    rows = []
    for activation in ("tanh", "relu"):
        for seed in range(12):
            row = {
                "activation": activation, "seed": seed, "final_loss": 0.0049, "accuracy": 1.0,
                "inner_bar": 0.09, "inner_ratio": 0.15, "outer_ratio": 0.75, "kept": 1.19, "loops_untrained": 1,
                "loops_trained": 0, "parts": 1, "circle": 0.62, "disc": 0.1,
            }  # fmt: skip
            for name, value in changes.items():
                only, _, column = name.rpartition("__")
                if only in ("", activation):
                    row[column] = value
            noisy = ("inner_bar", "inner_ratio", "outer_ratio", "kept")
            rows.append({k: v * (1 + 0.02 * rng.normal()) if k in noisy else v for k, v in row.items()})
    return Verdict.of(STUDY.judge(pd.DataFrame(rows)), seeds=12)


def test_what_the_claim_predicts_is_reproduced() -> None:
    assert planted().outcome == "reproduced"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"inner_ratio": 1.0, "inner_bar": 0.6, "loops_trained": 1, "outer_ratio": 1.0}, id="no training"),
        pytest.param({"final_loss": 0.69, "accuracy": 0.5}, id="nothing learned"),
        pytest.param({"tanh__inner_bar": 0.3}, id="half a loop is left"),
        pytest.param({"tanh__inner_ratio": 0.6}, id="the untrained network has lost it too"),
        pytest.param({"relu__inner_bar": 0.4}, id="ReLU keeps the loop"),
        pytest.param({"tanh__outer_ratio": 1.1}, id="the enclosing loop grows"),
        pytest.param({"parts": 2}, id="classes are torn"),
        pytest.param({"tanh__kept": 0.5}, id="control: the architecture alone loses it"),
        pytest.param({"tanh__loops_untrained": 0}, id="control: no loop is seen before training"),
        pytest.param({"circle": 0.3}, id="control: the measure does not see a circle"),
        pytest.param({"disc": 0.3}, id="control: the measure sees loops in a disc"),
    ],
)
def test_fakes_are_caught(changes: dict[str, Any]) -> None:
    assert planted(**changes).outcome == "not reproduced"
