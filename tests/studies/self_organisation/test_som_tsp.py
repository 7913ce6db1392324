"""Tours by a self-organising ring: the references against brute force, the criteria against planted fakes."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from deepscope.core import UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.studies.self_organisation import _instances, som_tsp
from deepscope.studies.self_organisation._instances import drawn, instances
from deepscope.studies.self_organisation._local_search import _Tour, search
from deepscope.studies.self_organisation._one_tree import _shortest_one_tree, lower_bound
from deepscope.studies.self_organisation._som_tsp_criteria import READING_ERROR
from deepscope.studies.self_organisation._tours import (
    around,
    is_permutation,
    length,
    nearest_neighbour,
    shortest_length,
)
from deepscope.studies.self_organisation._tsplib import distances, read, write
from deepscope.studies.self_organisation.som_tsp import STUDY, n_steps, visiting_order


def rng(seed=0):
    return np.random.default_rng(seed)


def uniform(n, seed=0):
    return distances(drawn("random", n, rng(seed)))


def brute_force(distance):
    """Every tour from city 0."""
    others = range(1, len(distance))
    return min(length(distance, np.array([0, *order])) for order in itertools.permutations(others))


FOUR = """NAME: four
COMMENT : any text: with colons
TYPE: TSP
DIMENSION: 4
EDGE_WEIGHT_TYPE:EUC_2D
NODE_COORD_SECTION
1 0 0
2   3.0  4.0
3 1e1 -2.5

4 0.5 0
EOF
"""


def test_tsplib_files_are_read_however_their_colons_stand():
    cities = read(FOUR)
    np.testing.assert_array_equal(cities, [[0, 0], [3, 4], [10, -2.5], [0.5, 0]])
    # EUC_2D: 5; √106.25 = 10.31; ½ is rounded up, as in TSPLIB's nint.
    assert distances(cities)[0].tolist() == [0, 5, 10, 1]
    np.testing.assert_array_equal(distances(cities), distances(cities).T)
    no_end = FOUR.partition("EOF")[0]
    np.testing.assert_array_equal(read(no_end), cities)


def test_what_is_written_is_read():
    cities = drawn("random", 30, rng())
    np.testing.assert_allclose(read(write("x", cities)), cities, rtol=0, atol=5.1e-7)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("EUC_2D", "GEO", "the distance is GEO"),
        ("EDGE_WEIGHT_TYPE", "WEIGHTS", "the distance is None"),
        ("NODE_COORD_SECTION", "SECTION", "no NODE_COORD_SECTION"),
        ("DIMENSION: 4", "DIMENSION: 5", "4 cities, DIMENSION 5"),
        ("3.0", "three", "three"),
        ("4 0.5 0", "4 0.5", "cannot be read"),
    ],
)
def test_other_files_are_refused(old, new, message):
    with pytest.raises(UsageError, match=message):
        read(FOUR.replace(old, new))


def test_the_dynamic_programme_finds_the_shortest_of_all_tours():
    for n, seed in itertools.product((2, 3, 4, 7), range(3)):
        assert shortest_length(uniform(n, seed)) == brute_force(uniform(n, seed))
    for n in (1, 17):
        with pytest.raises(UsageError, match=f"{n} cities"):
            shortest_length(uniform(n))


def test_around_an_ellipse_is_the_shortest_tour():
    for seed in range(3):
        cities = drawn("ellipse", 9, rng(seed))
        assert length(distances(cities), around(cities)) == shortest_length(distances(cities))
    x, y = ((drawn("ellipse", 1000, rng()) - 5e5) / 5e5).T
    np.testing.assert_allclose(x**2 + (10 * y) ** 2, 1, rtol=0, atol=1e-12)
    assert np.abs(np.mean(np.exp(1j * np.arctan2(10 * y, x)))) < 4 / math.sqrt(1000)


def test_nearest_neighbour_goes_to_the_nearest():
    points = np.array([[0.0, 0], [10, 0], [1, 0], [3, 0], [-2.5, 0]])
    assert nearest_neighbour(distances(points)).tolist() == [0, 2, 3, 4, 1]


def settled(distance):
    """Return a tour that no move at any city shortens."""
    tour, before = _Tour(distance, list(range(len(distance)))), math.inf
    while tour.length < before:
        before = tour.length
        tour.improve(set(range(len(distance))))
    return np.array(tour.order)


def test_the_local_search_finds_the_shortest_of_few_and_leaves_no_short_cut():
    for seed in range(5):
        small = uniform(9, seed)
        assert length(small, search(small, 100, rng(seed))) == shortest_length(small)
    distance = uniform(60)
    tour = settled(distance)
    own = length(distance, tour)
    assert is_permutation(tour, 60)
    near = np.argsort(distance, axis=1)[:, 1:9]
    for i, j in itertools.combinations(range(60), 2):
        turned = np.concatenate([tour[:i], tour[i : j + 1][::-1], tour[j + 1 :]])
        # Only edges to a near city are tried.
        new = [(tour[i - 1], tour[j]), (tour[i], tour[(j + 1) % 60])]
        if all(b in near[a] and a in near[b] for a, b in new):
            assert length(distance, turned) >= own, (i, j)
    assert own < length(distance, nearest_neighbour(distance))
    with_kicks = [length(distance, search(distance, kicks, rng())) for kicks in (0, 20, 200)]
    assert with_kicks[0] >= with_kicks[1] >= with_kicks[2] < with_kicks[0]


def test_the_local_search_moves_up_to_three_cities_elsewhere():
    for seed in range(3):
        distance = uniform(40, seed)
        tour = settled(distance)
        own = length(distance, tour)
        near = np.argsort(distance, axis=1)[:, 1:9]
        for start, count in itertools.product(range(40), (1, 2, 3)):
            turned = np.roll(tour, -start)
            segment, rest = turned[:count], turned[count:]
            for place, piece in itertools.product(range(1, len(rest)), (segment, segment[::-1])):
                a, b = rest[place - 1], rest[place]
                if piece[0] in near[a] and piece[-1] in near[b]:
                    moved = np.concatenate([rest[:place], piece, rest[place:]])
                    # A new edge longer than both that it replaces wins nothing, and is not tried.
                    if distance[a, piece[0]] < distance[a, b]:
                        assert length(distance, moved) >= own


def test_the_local_search_copes_with_cities_at_one_place():
    twice = np.repeat(drawn("random", 10, rng()), 2, axis=0)
    tour = search(distances(twice), 50, rng())
    assert is_permutation(tour, 20)
    assert length(distances(twice), tour) == shortest_length(distances(twice[::2]))


def test_the_length_that_the_local_search_keeps_is_the_tours():
    distance, draws = uniform(40), rng(1)
    tour = _Tour(distance, list(range(40)))
    tour.improve(set(range(40)))
    for _ in range(30):
        tour.improve(tour.kick(draws))
        assert tour.length == length(distance, np.array(tour.order))
        assert is_permutation(np.array(tour.order), 40)


def test_a_kick_exchanges_two_neighbouring_parts():
    for seed in range(20):
        tour = _Tour(uniform(30), list(range(30)))
        changed = tour.kick(rng(seed))
        edges = {frozenset(pair) for pair in zip(tour.order, tour.order[1:] + tour.order[:1], strict=True)}
        lost = {frozenset((i, (i + 1) % 30)) for i in range(30)} - edges
        assert len(lost) == 3
        assert changed == {city for edge in lost for city in edge}


def test_a_one_tree_is_a_spanning_tree_and_two_edges():
    from scipy.sparse.csgraph import minimum_spanning_tree

    stack = np.stack([uniform(15, seed) for seed in range(4)]).astype(float)
    found, degree = _shortest_one_tree(stack)
    for each, total, edges in zip(stack, found, degree, strict=True):
        tree = minimum_spanning_tree(each[1:, 1:]).toarray()
        two = np.argsort(each[0, 1:])[:2]
        assert total == pytest.approx(tree.sum() + each[0, 1:][two].sum(), rel=1e-14)
        counted = (tree > 0).sum(0) + (tree > 0).sum(1)
        counted[two] += 1
        np.testing.assert_array_equal(edges, [2, *counted])


def test_the_lower_bound_is_below_the_shortest_tour_and_close():
    stack = np.stack([uniform(11, seed) for seed in range(8)])
    shortest = np.array([shortest_length(each) for each in stack])
    for target in (shortest, 3.0 * shortest):
        bound = lower_bound(stack, target)
        # Potentials add 2 Σπ and take it off again: rounding, of at most 1e-9 of the length.
        assert np.all(bound <= shortest * (1 + 1e-9))
    assert np.mean(lower_bound(stack, shortest) / shortest) > 0.98
    assert np.mean(lower_bound(stack, shortest, steps=1) / shortest) < 0.95


def test_instances_hold_the_shortest_length_or_bounds():
    few = instances("random", 8, 2, 1, 5)
    np.testing.assert_array_equal(few["lower"], [shortest_length(distances(each)) for each in few["cities"]])
    np.testing.assert_array_equal(few["lower"], few["upper"])
    ellipse = instances("ellipse", 14, 2, 1, 5)
    np.testing.assert_array_equal(ellipse["lower"], [shortest_length(distances(each)) for each in ellipse["cities"]])
    many = instances("random", 30, 2, 2, 5)
    assert many["cities"].shape == (2, 30, 2)
    assert np.all(many["lower"] <= many["upper"] * (1 + 1e-9))
    assert np.all(many["upper"] < 1.05 * many["lower"])
    assert not np.array_equal(many["cities"][0], many["cities"][1])
    without_kicks, with_kicks = (instances("random", 60, 3, kicks, 5)["upper"] for kicks in (0, 3))
    assert np.all(with_kicks <= without_kicks)
    assert with_kicks.sum() < without_kicks.sum()
    with pytest.raises(UsageError, match="unknown layout"):
        drawn("elipse", 5, rng())


def test_a_reader_that_loses_digits_is_found(monkeypatch):
    right = instances("random", 8, 2, 1, 5)["misread"]
    assert right.shape == (2,)
    # Of 16 coordinates the largest rounding is hardly ever less than a fifth of half a unit: with chance 0.2¹⁶.
    assert np.all((right > 1e-7) & (right <= READING_ERROR))
    monkeypatch.setattr(_instances, "read", lambda text: np.round(read(text), 5))
    assert instances("random", 8, 2, 1, 5)["misread"].max() > READING_ERROR


def test_what_other_orders_score():
    """The numbers that thresholds are set by: means over instances, within four of their standard errors."""
    found = {"angle 10": [], "angle 12": [], "nearest 10": [], "nearest ellipse": []}
    draws = rng(7)
    for n in (10, 12):
        for _ in range(120):
            cities = drawn("random", n, draws)
            shortest = shortest_length(distances(cities))
            found[f"angle {n}"].append(length(distances(cities), around(cities)) / shortest - 1)
            if n == 10:
                nearest = nearest_neighbour(distances(cities))
                found["nearest 10"].append(length(distances(cities), nearest) / shortest - 1)
    for _ in range(200):
        cities = drawn("ellipse", 100, draws)
        distance = distances(cities)
        found["nearest ellipse"].append(
            length(distance, nearest_neighbour(distance)) / length(distance, around(cities)) - 1
        )
    said = {"angle 10": 0.04, "angle 12": 0.05, "nearest 10": 0.10, "nearest ellipse": 0.20}
    for name, values in found.items():
        assert abs(np.mean(values) - said[name]) < 4 * np.std(values) / math.sqrt(len(values)), name
    hundred = uniform(100)
    random_order = np.mean([length(hundred, draws.permutation(100)) for _ in range(20)])
    assert random_order / length(hundred, search(hundred, 100, draws)) > 6


def test_the_settings_are_those_of_the_source():
    given = {}

    class Watched(som_tsp.SelfOrganisingMap):
        def __init__(self, *shape, **settings):
            super().__init__(*shape, **settings)
            given.update(units=len(self.weights[0]), periodic=settings["periodic"])

        def fit_online(self, inputs, **settings):
            given.update(settings)

    for n in (10, 100):
        full = STUDY.grid("full").cases[0].replace(n=n, instances=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(som_tsp, "SelfOrganisingMap", Watched)
            som_tsp.fitted(drawn("random", n, rng())[None], full, run())
        assert (given["learning_rate"], given["learning_rate_decay"]) == (0.8, 0.99997)
        assert (given["radius"], given["radius_decay"], given["least_radius"]) == (0.8 * n, 0.9997, 1)
        assert (given["units"], given["periodic"]) == (8 * n, True)
        assert given["steps"] == math.ceil(math.log(8 * n) / -math.log(0.9997))


def test_the_number_of_steps_is_what_the_source_reports():
    # Its two small instances with a decay of 0.9995, its two large ones with 0.9997; it prints means of 5 runs.
    for n, decay, reported in (
        (194, 0.9995, 14_690),
        (734, 0.9995, 17_351),
        (10_639, 0.9997, 37_833),
        (16_862, 0.9997, 39_368),
    ):
        assert abs(n_steps(n, decay) - reported) <= 2


def test_cities_are_visited_in_the_order_of_their_units_and_none_is_lost():
    best = np.array([[5, 2, 9, 2], [7, 7, 7, 7]])
    assert visiting_order(best).tolist() == [[1, 3, 0, 2], [0, 1, 2, 3]]
    # Long enough that a sort which is not stable would show it.
    two_units = np.arange(500)[None] % 2
    assert visiting_order(two_units)[0].tolist() == [*range(0, 500, 2), *range(1, 500, 2)]


def run(seed=1000):
    return SimpleNamespace(
        seed=seed,
        generator=torch.Generator().manual_seed(seed),
        device=torch.device("cpu"),
        shared=lambda make, **key: make(**key),
    )


def case(**fields):
    found = STUDY.grid("smoke").cases[0].replace(instances=2, radius_decay=0.98)
    return found.replace(**fields)


def test_a_trial_measures_what_its_names_say(monkeypatch):
    seen = {}
    real = som_tsp.fitted

    def watched(cities, case, run):
        seen["ring"], seen["scaled"] = real(cities, case, run)
        return seen["ring"], seen["scaled"]

    monkeypatch.setattr(som_tsp, "fitted", watched)
    found = STUDY.trial(case(n=10), run())
    given = instances("random", 10, 2, 1, 1000)
    assert torch.equal(seen["scaled"].amin(1), torch.zeros(2, 2, dtype=torch.float64))
    # One factor for both coordinates.
    longest = np.ptp(given["cities"], axis=1).max(axis=-1)
    moved = given["cities"] - given["cities"].min(axis=1, keepdims=True)
    np.testing.assert_allclose(seen["scaled"].numpy() * longest[:, None, None], moved, rtol=1e-14, atol=0)
    assert seen["ring"].weights.shape == (2, 80, 2)
    over, nearest, angle = [], [], []
    for index, cities in enumerate(given["cities"]):
        units = [
            int(np.linalg.norm(seen["ring"].weights[index].numpy() - city, axis=1).argmin())
            for city in seen["scaled"][index].numpy()
        ]
        tour = sorted(range(10), key=lambda city: units[city])
        walked = sum(math.dist(cities[a], cities[b]) for a, b in zip(tour, tour[1:] + tour[:1], strict=True))
        over.append(walked / given["lower"][index] - 1)
        if index == 0:
            np.testing.assert_array_equal(found["example"], cities[tour])
        nearest.append(length(distances(cities), nearest_neighbour(distances(cities))) / given["upper"][index] - 1)
        angle.append(length(distances(cities), around(cities)) / given["upper"][index] - 1)
    # Distances are rounded to whole numbers, of which a tour has millions.
    assert found["over_lower"] == pytest.approx(np.mean(over), abs=1e-5)
    assert found["worst"] == pytest.approx(max(over), abs=1e-5)
    assert found["example_over"] == pytest.approx(over[0], abs=1e-5)
    assert found["nearest_neighbour"] == pytest.approx(np.mean(nearest), abs=1e-12)
    assert found["by_angle"] == pytest.approx(np.mean(angle), abs=1e-12)
    assert (found["gap"], found["valid_tours"], found["misread"]) == (0, 1, given["misread"].max())


def test_the_median_is_over_instances(monkeypatch):
    real = som_tsp.instances

    def one_far_off(**key):
        found = real(**key)
        return {**found, "lower": found["lower"] * np.array([1, 1, 0.1])}

    monkeypatch.setattr(som_tsp, "instances", one_far_off)
    found = STUDY.trial(case(n=10, instances=3), run())
    assert found["median_over_lower"] < 0.5
    assert found["over_lower"] > 3


def test_of_a_long_and_narrow_country_short_tours_are_found():
    """Stretched to a square, its cities would be visited in an order half as long again as the shortest."""
    cities = np.stack([drawn("random", 60, rng(seed)) * [1, 0.2] for seed in range(3)])
    ring, scaled = som_tsp.fitted(cities, case(n=60, instances=3, radius_decay=0.995), run())
    over = []
    for each, tour in zip(cities, visiting_order(ring(scaled).numpy()), strict=True):
        distance = distances(each)
        over.append(length(distance, tour) / length(distance, search(distance, 100, rng())) - 1)
    assert np.mean(over) < 0.1


def test_excesses_are_measured_from_either_bound():
    found = STUDY.trial(case(n=40), run())
    assert found["gap"] > 0
    assert found["over_upper"] < found["over_lower"] <= found["worst"]


def test_the_neighbourhood_makes_the_tour():
    over = {
        rule: STUDY.trial(case(n=60, neighbourhood=rule, radius_decay=0.99), run())["over_upper"]
        for rule in som_tsp.RADII
    }
    assert over["shrinking"] < 0.2
    assert over["fixed"] > 1
    assert over["none"] > 1
    assert over["fixed"] > over["narrow"] > over["shrinking"]
    assert STUDY.trial(case(layout="ellipse", n=30, radius_decay=0.995), run())["worst"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neighbourhood": "shrinkin"}, "unknown neighbourhood"),
        ({"layout": "elipse"}, "unknown layout"),
        ({"n": 2}, "n is 2"),
        ({"n": 10.5}, "n is 10.5"),
        ({"instances": 0}, "instances is 0"),
        ({"kicks": -1}, "kicks is -1"),
        ({"radius_decay": 1.0}, "radius_decay is 1.0"),
        ({"radius_decay": 0.0}, "radius_decay is 0.0"),
    ],
)
def test_wrong_settings_are_named(change, message):
    with pytest.raises(UsageError, match=message):
        STUDY.trial(case(**change), run())


def test_tours_that_lose_cities_are_found(monkeypatch):
    """As when a unit could stand for one city only."""

    def losing(best):
        order = np.argsort(best, axis=-1, kind="stable")
        taken = np.take_along_axis(best, order, axis=-1)
        return np.where(np.diff(taken, prepend=-1) == 0, order[:, :1], order)

    monkeypatch.setattr(som_tsp, "visiting_order", losing)
    assert STUDY.trial(case(n=60, neighbourhood="none"), run())["valid_tours"] < 1


def test_tours_shorter_than_the_lower_bound_are_found(monkeypatch):
    real = som_tsp.instances

    def too_long(**key):
        found = real(**key)
        return {**found, "lower": found["lower"] * np.array([1, 9])}

    monkeypatch.setattr(som_tsp, "instances", too_long)
    assert STUDY.trial(case(n=10), run())["valid_tours"] == 0.5


TRUE = {
    "few": 0.006,
    "many": 0.06,
    "worst": 0.0,
    "gap": 0.01,
    "median": 0.06,
    "valid_tours": 1.0,
    "misread": 4e-7,
    "none": 5.0,
    "fixed": 4.0,
    "narrow": 0.3,
    "by_angle": 0.04,
    "nearest_few": 0.1,
    "nearest": 0.25,
    "nearest_ellipse": 0.2,
}


def table(seeds=5, **changes):
    """What trials of a true claim return, but for the changes."""
    draws, values = rng(), {**TRUE, **changes}
    rows = []
    for seed in range(seeds):

        def trial(layout, n, rule, over, gap, nearest, seed=seed):
            over = over * (1 + 0.05 * draws.standard_normal())
            return {
                **{"layout": layout, "n": n, "neighbourhood": rule, "seed": seed},
                **{"over_lower": over, "over_upper": over - gap, "gap": gap, "worst": values["worst"]},
                **{"nearest_neighbour": nearest, "by_angle": values["by_angle"], "misread": values["misread"]},
                **{"valid_tours": values["valid_tours"], "median_over_lower": values["median"]},
                **{"example": draws.random((n, 2)), "example_over": over},
            }

        near, gap = values["nearest"], values["gap"]
        rows += [trial("random", n, "shrinking", values["few"], 0.0, values["nearest_few"]) for n in (10, 12)]
        rows += [trial("random", n, "shrinking", values["many"], gap, near) for n in (100, 200)]
        rows += [trial("ellipse", n, "shrinking", 0.0, 0.0, values["nearest_ellipse"]) for n in (50, 100)]
        rows += [trial("random", 100, rule, values[rule], gap, near) for rule in ("none", "fixed", "narrow")]
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique())


def test_a_true_claim_is_reproduced():
    found = verdict(table())
    assert found.outcome == "reproduced", found.reasons
    assert sum(criterion.control for criterion in found.criteria) == 11


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"many": 0.12}, ["100 uniform cities: mean", "200 uniform cities: mean"]),
        ({"few": 0.05}, ["10 uniform cities: mean", "12 uniform cities: mean"]),
        ({"worst": 1e-3}, ["50 cities on a thin", "100 cities on a thin"]),
        ({"gap": 0.04}, ["100 uniform cities: upper", "200 uniform cities: upper"]),
        ({"median": 0.12}, ["100 uniform cities: median", "200 uniform cities: median"]),
        ({"valid_tours": 0.9}, ["share of all tours"]),
        ({"misread": 6e-7}, ["largest difference of a coordinate"]),
        ({"narrow": 0.06}, ["100 uniform cities, radius from 8"]),
        ({"by_angle": 0.01}, ["10 uniform cities, tour by angle", "12 uniform cities, tour by angle"]),
        ({"nearest_few": 0.01}, ["10 uniform cities, nearest", "12 uniform cities, nearest"]),
        ({"none": 0.06}, ["100 uniform cities, no neighbourhood"]),
        ({"fixed": 0.06}, ["100 uniform cities, radius 1"]),
        ({"nearest": 0.05}, ["100 uniform cities, nearest", "200 uniform cities, nearest"]),
        ({"nearest_ellipse": 0.0}, ["50 cities on a thin ellipse, near", "100 cities on a thin ellipse, near"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_planted_fakes_are_not_reproduced(changes, failing):
    found = verdict(table(**changes))
    assert found.outcome == "not reproduced"
    assert len(found.reasons) == len(failing)
    is_control = not {"many", "median", "few", "worst", "gap", "valid_tours", "misread"} & set(changes)
    for reason, start in zip(found.reasons, failing, strict=True):
        assert reason.startswith(start)
        assert reason.endswith("the control shows the effect") == is_control


def test_tours_in_any_order_fail_every_criterion_of_tours():
    found = verdict(table(few=0.8, many=6.0, median=6.0, worst=6.0))
    assert sum(criterion.holds is False for criterion in found.criteria) == 8


@pytest.mark.parametrize(
    ("layout", "n", "column", "value", "start"),
    [
        ("random", 500, "over_lower", 0.2, "500 uniform cities: mean"),
        ("random", 500, "median_over_lower", 0.2, "500 uniform cities: median"),
        ("random", 500, "gap", 0.04, "500 uniform cities: upper"),
        ("random", 500, "nearest_neighbour", 0.05, "500 uniform cities, nearest"),
        ("ellipse", 200, "worst", 0.01, "200 cities on a thin ellipse: largest"),
        ("ellipse", 200, "nearest_neighbour", 0.05, "200 cities on a thin ellipse, nearest"),
    ],
)
def test_larger_cases_are_judged_where_there_are_any(layout, n, column, value, start):
    trials = table()
    like = trials["n"].eq(200 if layout == "random" else 100) & trials["layout"].eq(layout)
    more = trials[like & trials["neighbourhood"].eq("shrinking")].assign(n=n)
    assert verdict(pd.concat([trials, more])).outcome == "reproduced"
    found = verdict(pd.concat([trials, more.assign(**{column: value})]))
    assert found.outcome == "not reproduced"
    (reason,) = found.reasons
    assert reason.startswith(start)


@pytest.mark.parametrize(
    ("column", "value"),
    [("layout", "ellipse"), ("layout", "random"), ("neighbourhood", "none"), ("n", 200), ("n", 10)],
)
def test_missing_cases_leave_it_open(column, value):
    trials = table()
    rest = trials[trials[column] != value]
    assert verdict(rest).outcome == "inconclusive"
    assert STUDY.draw(rest).axes


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_decide_nothing(seeds):
    assert verdict(table(seeds)).outcome == "inconclusive"
    assert STUDY.draw(table(seeds)).axes


def test_nothing_at_all_is_judged_and_drawn():
    nothing = pd.DataFrame({"seed": []})
    assert all(criterion.holds is None for criterion in STUDY.judge(nothing))
    assert STUDY.draw(nothing).axes


def test_the_figure_names_its_curves():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in (
        "nearest neighbour",
        "nearest neighbour, ellipse",
        "radius from 8",
        "no neighbourhood",
        "local search",
        "claimed",
        "longer than the shortest trip (%)",
        "cities",
    ):
        assert name in svg
