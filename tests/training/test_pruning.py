from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from deepscope.core import UsageError
from deepscope.training import apply_masks, magnitudes, prunable_weights, pruning_masks, remaining, shuffled_masks
from deepscope.training._pruning import share_of


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 2)
    )


@pytest.mark.parametrize("scope", ["network", "layer"])
@pytest.mark.parametrize("ratio", [0.01, 0.29, 0.5, 0.9, 0.999])
def test_it_drops_exactly_the_lowest(scope: str, ratio: float) -> None:
    scores = magnitudes(network())
    masks = pruning_masks(scores, ratio, scope=scope)
    assert list(masks) == ["0.weight", "4.weight", "5.weight"]
    groups = [list(masks)] if scope == "network" else [[name] for name in masks]
    for names in groups:
        values = sorted(
            (score, kept)
            for n in names
            for score, kept in zip(scores[n].flatten().tolist(), masks[n].flatten().tolist(), strict=True)
        )
        gone = math.floor(ratio * len(values) + 1e-9)
        assert [kept for _, kept in values] == [False] * gone + [True] * (len(values) - gone)


def test_it_is_what_torch_prunes_where_the_counts_agree() -> None:
    model = network()
    masks = pruning_masks(magnitudes(model), 0.25)
    layers = {name: model[int(name[0])] for name in masks}
    # 124 weights, of which 31 go.
    prune.global_unstructured([(each, "weight") for each in layers.values()], prune.L1Unstructured, amount=0.25)
    assert sum(mask.numel() for mask in masks.values()) == 124
    for name, layer in layers.items():
        assert torch.equal(masks[name], layer.weight_mask.bool())


def test_of_equal_scores_the_first_go_and_the_count_is_exact() -> None:
    scores = {"a": torch.ones(2, 5), "b": torch.ones(10)}
    masks = pruning_masks(scores, 0.6)
    assert masks["a"].sum() == 0
    assert masks["b"].tolist() == [False] * 2 + [True] * 8
    masks = pruning_masks(scores, 0.29, scope="layer")
    assert masks["a"].flatten().tolist() == masks["b"].tolist() == [False] * 2 + [True] * 8
    # 0.29 · 100 is 28.999999999999996 in floating point.
    assert pruning_masks({"a": torch.ones(100)}, 0.29)["a"].sum() == 71
    # As is 28999999.999999996 of a hundred million; and two rounds of 0.2 make 0.3599999999999999.
    assert (share_of(10**8, 0.29), share_of(100, 1 - (1 - 0.2) ** 2)) == (29_000_000, 36)


def test_a_weight_that_is_made_from_others_is_named_and_a_shared_one_is_pruned_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    with pytest.raises(UsageError, match=r"made from others(?s:.)*1\.weight"):
        magnitudes(model)
    assert list(magnitudes(model, ["0.weight"])) == ["0.weight"]
    model[1] = nn.Linear(2, 2)
    model[1].weight = model[0].weight
    assert list(magnitudes(model)) == ["0.weight"]


def test_one_always_stays() -> None:
    masks = pruning_masks({"a": torch.tensor([1.0]), "b": torch.tensor([1.0, 2.0])}, 1 - 1e-12, scope="layer")
    assert masks["a"].tolist() == [True]
    assert masks["b"].tolist() == [False, True]


def test_rounds_prune_what_remains() -> None:
    generator = torch.Generator().manual_seed(1)
    scores = {"a": torch.rand(100, generator=generator), "b": torch.rand(50, generator=generator)}
    masks, counts = None, []
    for _ in range(4):
        before = masks
        # What is already pruned has the highest scores now, and must not come back.
        again = {name: each if masks is None else each + 10.0 * ~masks[name] for name, each in scores.items()}
        masks = pruning_masks(again, 0.2, scope="layer", masks=masks)
        counts.append([int(each.sum()) for each in masks.values()])
        assert before is None or all(bool((masks[name] <= before[name]).all()) for name in masks)
    assert counts == [[80, 40], [64, 32], [52, 26], [42, 21]]
    assert remaining(masks) == 63 / 150
    once = pruning_masks(scores, 0.58, scope="layer")
    assert torch.equal(masks["a"], once["a"])


def test_each_layer_may_have_its_ratio() -> None:
    scores = {"a": torch.arange(10.0), "b": torch.arange(10.0)}
    masks = pruning_masks(scores, {"a": 0.2, "b": 0.1}, scope="layer")
    assert [int(each.sum()) for each in masks.values()] == [8, 9]
    with pytest.raises(UsageError, match="one for each"):
        pruning_masks(scores, {"a": 0.2}, scope="layer")
    with pytest.raises(UsageError, match="one for each"):
        pruning_masks(scores, {"a": 0.2, "b": 0.1})


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_ratio_out_of_range_is_named(ratio: float) -> None:
    with pytest.raises(UsageError, match=r"ratio is.*(?s:.)*above 0 and below 1"):
        pruning_masks({"a": torch.ones(3)}, ratio)


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="scope"):
        pruning_masks({"a": torch.ones(3)}, 0.5, scope="filter")
    with pytest.raises(UsageError, match="NaN"):
        pruning_masks({"a": torch.tensor([1.0, math.nan])}, 0.5)
    with pytest.raises(UsageError, match="no scores"):
        pruning_masks({}, 0.5)
    with pytest.raises(UsageError, match="no such weights"):
        pruning_masks({"a": torch.ones(3)}, 0.5, masks={"b": torch.ones(3, dtype=torch.bool)})
    with pytest.raises(UsageError, match="boolean"):
        pruning_masks({"a": torch.ones(3)}, 0.5, masks={"a": torch.ones(3)})
    with pytest.raises(UsageError, match="no such parameter"):
        magnitudes(network(), ["0.wieght"])
    with pytest.raises(UsageError, match="no weights to prune"):
        prunable_weights(nn.ReLU())
    with pytest.raises(UsageError, match="of no weights"):
        remaining({})
    with pytest.raises(UsageError, match=r"boolean one of shape \[2, 5\]"):
        apply_masks(network(), {"5.weight": torch.ones(5, 2, dtype=torch.bool)})


def test_masks_are_applied_and_shuffled() -> None:
    model = network()
    masks = pruning_masks(magnitudes(model), 0.5, scope="layer")
    apply_masks(model, masks)
    for name, mask in masks.items():
        assert torch.equal(model.get_parameter(name) != 0, mask)
    other = shuffled_masks(masks, generator=torch.Generator().manual_seed(0))
    again = shuffled_masks(masks, generator=torch.Generator().manual_seed(0))
    for name, mask in masks.items():
        assert other[name].sum() == mask.sum()
        assert other[name].shape == mask.shape
        assert torch.equal(other[name], again[name])
    assert any(not torch.equal(other[name], mask) for name, mask in masks.items())
