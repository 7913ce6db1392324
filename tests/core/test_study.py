"""Cases, grids and studies as records."""

from __future__ import annotations

import pickle
from typing import Any

import pandas as pd
import pytest

from deepscope.core import Case, Grid, Study, UsageError, per_seed


def study(**changes: Any) -> Study:
    parts: dict[str, Any] = {
        "claim": "It holds.",
        "source": "belkin2019reconciling",
        "topics": ("generalisation",),
        "trial": lambda case, run: {},
        "judge": lambda trials: [],
        "draw": lambda trials: None,
        "scales": {"quick": Grid(seeds=3, width=[1, 2])},
    }
    return Study(**{**parts, **changes})


def test_a_case_is_read_by_name_and_cannot_be_changed() -> None:
    case = Case(width=64, noise=0.5, mode="soft", bias=True)
    assert (case.width, case["noise"], dict(case)["mode"]) == (64, 0.5, "soft")
    with pytest.raises(AttributeError, match="cannot be changed"):
        case.width = 3
    with pytest.raises(AttributeError, match="it has width, noise, mode, bias"):
        _ = case.depth
    assert pickle.loads(pickle.dumps(case)) == case


def test_values_of_different_kinds_are_different_cases() -> None:
    assert len({Case(x=1), Case(x=1.0), Case(x=True), Case(x="1")}) == 4
    assert Case(a=1, b=2) == Case(b=2, a=1)


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 1},
        {"keys": 1},
        {"key": 1},
        {"replace": 1},
        {"_x": 1},
        {"a b": 1},
        {"x": None},
        {"x": float("nan")},
        {"x": (1,)},
    ],
)
def test_what_no_case_can_hold_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Case(**fields)


def test_a_grid_is_every_combination_and_grids_add_up() -> None:
    grid = Grid(seeds=2, width=[1, 2], depth=3) + Grid(seeds=[1, 5], width=2, depth=3)
    assert [(case.width, seed) for case, seed in grid.trials()] == [(1, 0), (1, 1), (2, 0), (2, 1), (2, 5)]
    assert grid.seeds == (0, 1, 5)


def test_defaults_fill_what_a_case_does_not_say() -> None:
    grid = study(defaults={"width": 9, "lr": 0.1}).grid("quick")
    assert [dict(case) for case in grid.cases] == [{"width": 1, "lr": 0.1}, {"width": 2, "lr": 0.1}]


def test_a_bent_grid_merges_cases_that_have_become_one() -> None:
    grid = Grid(seeds=[7, 8], width=[1, 2], depth=3).bent({"width": 5}, None)
    assert list(grid.trials()) == [(Case(width=5, depth=3), 7), (Case(width=5, depth=3), 8)]
    more = Grid(seeds=[7, 9], width=1).bent({}, 4)
    assert [seed for _, seed in more.trials()] == [7, 9, 10, 11]
    assert [seed for _, seed in Grid(seeds=3, width=1).bent({}, 1).trials()] == [0]


@pytest.mark.parametrize("arguments", [{"seeds": 0}, {"seeds": [-1]}, {"seeds": []}, {"seeds": 1, "width": []}])
def test_an_empty_grid_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Grid(**arguments)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"claim": " "}, "claim"),
        ({"topics": "generalisation"}, "topics"),
        ({"topics": ()}, "topics"),
        ({"judge": None}, "judge"),
        ({"scales": {}}, "scales"),
        ({"scales": {"quik": Grid(seeds=1)}}, 'Did you mean "quick"'),
        ({"timeout": 0}, "timeout"),
        ({"defaults": {"seed": 1}}, "seed"),
    ],
)
def test_a_study_that_lacks_something_says_what(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        study(**changes)


def test_an_unknown_scale_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match='Did you mean "quick"'):
        study().grid("quik")


def test_per_seed_picks_a_case_and_pairs_its_seeds() -> None:
    trials = pd.DataFrame({"width": [1, 1, 2, 2], "seed": [1, 0, 0, 2], "risk": [3.0, 1.0, 2.0, None]})
    one, two = per_seed(trials, "risk", width=1), per_seed(trials, "risk", width=2)
    assert one.to_dict() == {0: 1.0, 1: 3.0}
    assert (two - one).dropna().to_dict() == {0: 1.0}
    with pytest.raises(UsageError, match="several trials of one seed"):
        per_seed(trials, "risk")


def test_per_seed_of_nothing_is_empty() -> None:
    assert per_seed(pd.DataFrame(), "risk", width=1).empty
    assert per_seed(pd.DataFrame({"width": [1], "seed": [0]}), "risk", width=1).empty
    assert per_seed(pd.DataFrame({"risk": [1.0], "seed": [0]}), "risk", width=1).empty
