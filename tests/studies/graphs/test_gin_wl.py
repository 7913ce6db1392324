"""What networks and refinements tell apart: networkx's tests, naive twins, planted fakes."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import networkx
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepscope.core import UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.models import GIN
from deepscope.studies.graphs import _atlas_trials
from deepscope.studies.graphs._aggregation_trials import labelled_graphs
from deepscope.studies.graphs._atlas_trials import differences
from deepscope.studies.graphs._graph_networks import (
    PairLayer,
    PairNetwork,
    as_one_graph,
    neighbour_maximum,
    neighbour_mean,
    with_activation,
    with_aggregation,
    without_biases,
)
from deepscope.studies.graphs._graph_stacks import HARD, atlas, cai_fuerer_immerman, hard_pairs, relabelled
from deepscope.studies.graphs._graph_tellers import EXPECTED, build_network
from deepscope.studies.graphs._refinement import node_counts, refined_nodes, refined_pairs, walk_counts
from deepscope.studies.graphs.gin_wl import STUDY


@pytest.fixture(scope="module")
def small():
    """The graphs of at most five nodes; only the largest sizes are told apart with more than counts."""
    return atlas(5)


def graph_of(matrix):
    return networkx.from_numpy_array(matrix)


def partition(labels):
    """The classes as the first place of each one's equal."""
    return [list(labels).index(each) for each in labels]


def classes(seen):
    return partition([tuple(row) for row in seen])


def run(seed=1000):
    memory = {}

    def shared(make, **key):
        return memory.setdefault((make, *key.items()), make(**key))

    return SimpleNamespace(seed=seed, device=torch.device("cpu"), shared=shared)


def case(**changed):
    return STUDY.grid("smoke").cases[0].replace(**changed)


def test_the_hard_pairs_are_not_isomorphic_and_one_of_them_is_another_form_of_rook_and_shrikhande():
    stacks = dict(zip(HARD, hard_pairs(), strict=True))
    assert [stack.shape[1] for stack in stacks.values()] == [6, 12, 28, 16]
    for stack in stacks.values():
        assert not networkx.is_isomorphic(*map(graph_of, stack))
        assert (stack == stack.transpose(0, 2, 1)).all()
    for graph in stacks["rook, Shrikhande"]:
        assert networkx.is_strongly_regular(graph_of(graph))
    # Joining (v, S) where they share an (e, b), and dropping the latter, makes these of the graphs over 4 nodes.
    for twisted, twin in zip((False, True), stacks["rook, Shrikhande"], strict=True):
        whole = cai_fuerer_immerman(networkx.complete_graph(4), twisted)
        ends = [node for node in whole if isinstance(node[0], int)]
        joined = networkx.Graph(
            pair
            for pair in itertools.combinations(ends, 2)
            if pair[0][0] != pair[1][0] and set(whole[pair[0]]) & set(whole[pair[1]])
        )
        assert networkx.is_isomorphic(joined, graph_of(twin))


def test_copies_are_isomorphic_and_differ_in_order(small):
    copies = relabelled(small["5"], np.random.default_rng(0))
    assert all(networkx.is_isomorphic(graph_of(a), graph_of(b)) for a, b in zip(small["5"], copies, strict=True))
    assert (copies != small["5"]).any((1, 2)).sum() > 20
    # Each graph has an order of its own.
    path = networkx.to_numpy_array(networkx.path_graph(5), dtype=int)
    same = relabelled(np.tile(path, (20, 1, 1)), np.random.default_rng(0))
    assert len(np.unique(same, axis=0)) > 5


@pytest.mark.filterwarnings("ignore:The hashes produced")
def test_refined_nodes_are_networkx_hashes(small):
    for stack in (atlas(6)["6"], *hard_pairs()):
        hashes = [networkx.weisfeiler_lehman_graph_hash(graph_of(graph), iterations=stack.shape[1]) for graph in stack]
        assert classes(refined_nodes(stack)) == partition(hashes)
    assert classes(refined_nodes(small["5"]))[-1] == 33


def naive_pairs(stack, rounds=6):
    """Two-dimensional folklore Weisfeiler–Leman by its definition."""
    nodes = range(stack.shape[1])
    colours = [{(u, v): (u == v, int(g[u, v])) for u in nodes for v in nodes} for g in stack]
    for _ in range(rounds):
        seen = [{(u, v): (c[u, v], tuple(sorted((c[u, w], c[w, v]) for w in nodes))) for u, v in c} for c in colours]
        names = {each: name for name, each in enumerate(sorted({x for graph in seen for x in graph.values()}))}
        colours = [{pair: (names[x],) for pair, x in graph.items()} for graph in seen]
    return [tuple(sorted(graph.values())) for graph in colours]


def test_refined_pairs_are_those_of_the_definition(small):
    assert classes(refined_pairs(small["4"])) == partition(naive_pairs(small["4"])) == list(range(11))
    six = np.concatenate([hard_pairs()[0], atlas(6)["6"][60:80]])
    assert classes(refined_pairs(six)) == partition(naive_pairs(six))


def test_counts_are_those_of_their_names(small):
    stack = small["5"]
    walks = walk_counts(stack, 3)
    for graph, counts in zip(stack, walks, strict=True):
        matrix = np.eye(5, dtype=int) + graph
        assert counts.tolist() == [int(np.linalg.matrix_power(matrix, k).sum()) for k in range(4)]
    for graph, counts in zip(stack, node_counts(stack), strict=True):
        assert counts.tolist() == [5, len(list(networkx.isolates(graph_of(graph))))]


def test_aggregations_are_those_written_out(small):
    edges, graphs = as_one_graph(small["4"])
    x = torch.randn(len(graphs), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for node in range(len(graphs)):
        around = x[edges[0, edges[1] == node]]
        mean, largest = (around.mean(0), around.amax(0)) if len(around) else (torch.zeros(3),) * 2
        torch.testing.assert_close(neighbour_mean(x, edges)[node], mean.double())
        torch.testing.assert_close(neighbour_maximum(x, edges)[node], largest.double())
    # A sum in the sum's place is the network itself.
    network = GIN(3, 2, hidden=4, layers=2).double().eval()
    wanted = network(x, edges, graphs)

    def neighbour_sum(x, edges):
        return torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])

    torch.testing.assert_close(with_aggregation(network, neighbour_sum)(x, edges, graphs), wanted)


def test_activations_and_biases_are_replaced_everywhere():
    network = with_activation(build_network("ReLU", 2, 4), nn.Identity())
    assert not any(isinstance(module, nn.ReLU) for module in network.modules())
    # All maps are affine then.
    x, edges = torch.randn(2, 6, 1), torch.tensor([[0, 1], [1, 0]])
    network.eval()
    middle = network(x.mean(0), edges)
    torch.testing.assert_close(network(x, edges).mean(0), middle, rtol=1e-4, atol=1e-5)
    homogeneous = without_biases(GIN(1, 3, hidden=4, layers=2)).eval()
    x = torch.rand(6, 1)
    torch.testing.assert_close(homogeneous(3 * x, edges), 3 * homogeneous(x, edges))


def test_a_pair_layer_is_its_formula_and_follows_the_order_of_nodes(small):
    torch.manual_seed(0)
    layer = PairLayer(2, 3).double()
    h = torch.randn(1, 4, 4, 2, dtype=torch.float64)
    for u, v in itertools.product(range(4), repeat=2):
        third = sum(layer.left(h[0, u, w]).tanh() * layer.right(h[0, w, v]).tanh() for w in range(4))
        wanted = layer.mix(torch.cat([h[0, u, v], third])).tanh()
        torch.testing.assert_close(layer(h)[0, u, v], wanted)
    stack, network = small["5"], PairNetwork(4, 2).double()
    copies = relabelled(stack, np.random.default_rng(0))
    a, b = (network(torch.from_numpy(each).double()) for each in (stack, copies))
    # Sums of 25 terms of order 1.
    torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize("teller", [each for each in EXPECTED if each != "GCN"])
def test_copies_are_not_told_apart_and_stronger_ones_tell_more(teller):
    found = STUDY.trial(case(part="atlas", teller=teller, nodes=4, layers=3, hidden=8), run())
    # All 18 graphs of at most four nodes are different to 1-WL. Of those of 4 nodes 7 have none that is isolated, and 2
    # have one; of those of 3 nodes 2 have none: 21 + 1 + 1 pairs.
    confounded = {"isomorphism": 0, "1-WL": 0, "walks": 0, "counts": 23}[EXPECTED[teller]]
    assert (found["confounded"], found["otherwise"], found["copies"]) == (confounded, 0, 0)
    assert found["least"] > 1e-9
    assert found["most"] < 1e-13
    told = [True, True, False, False] if teller in ("2-FWL", "pairs") else [False] * 4
    assert (found["hard"] > 1e-12).tolist() == told


def test_what_tells_all_apart_is_found_out(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(_atlas_trials, "make_teller", lambda case, run: lambda stack: rng.random((len(stack), 3)))
    found = STUDY.trial(case(part="atlas", teller="tanh", nodes=4), run())
    assert found["copies"] == 18
    assert (found["hard"] > 1e-6).all()
    monkeypatch.setattr(_atlas_trials, "make_teller", lambda case, run: lambda stack: np.ones((len(stack), 3)))
    found = STUDY.trial(case(part="atlas", teller="tanh", nodes=4), run())
    assert found["confounded"] == found["otherwise"] == 153
    assert found["least"] == found["copies"] == 0


def test_differences_are_parts_of_the_larger():
    rows = np.array([[1.0, -4.0], [1.0, 4.0], [0.5, 4.0]])
    assert differences(rows, rows).tolist() == [[0, 2, 2], [2, 0, 0.125], [2, 0.125, 0]]


@pytest.mark.parametrize(("teller", "told"), [("sum", [True, True]), ("mean", [False, True]), ("maximum", [False] * 2)])
def test_neighbourhoods_are_told_apart_as_the_source_says(teller, told):
    found = STUDY.trial(case(part="neighbourhoods", teller=teller, layers=3, hidden=8), run())
    assert (found["hard"] > 1e-12).tolist() == told


def test_sums_learn_labels_and_means_give_one_answer():
    settings = {"part": "labels", "nodes": 5, "graphs": 8, "layers": 2, "hidden": 16, "steps": 40}
    found = {teller: STUDY.trial(case(teller=teller, **settings), run()) for teller in ("sum", "mean", "maximum")}
    assert found["sum"]["accuracy"] > 0.8
    for teller in ("mean", "maximum"):
        assert set(found[teller]["curve"]) <= {0.375, 0.625}
        assert len(found[teller]["curve"]) == 11


def test_labelled_graphs_can_all_be_told_apart(small):
    stack, labels = labelled_graphs(small["5"], 16, np.random.default_rng(0))
    assert len(np.unique(refined_nodes(stack), axis=0)) == 16
    assert (stack.sum(-1) > 0).all()
    assert labels.sum() == 6
    assert not np.array_equal(stack, labelled_graphs(small["5"], 16, np.random.default_rng(1))[0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"part": "graphs"}, "no such part"),
        ({"teller": "median"}, "unknown network"),
        ({"part": "labels", "teller": "median"}, "unknown aggregation"),
        ({"part": "labels", "teller": "sum", "steps": 15}, "15"),
        ({"part": "labels", "teller": "sum", "graphs": 100}, "100"),
        ({"nodes": 8}, "it is 8"),
        ({"layers": 0}, "it is 0"),
    ],
)
def test_what_cannot_be_done_is_refused(changed, message):
    with pytest.raises(UsageError, match=message):
        STUDY.trial(case(**changed), run())


def table(seeds=5, **changes):
    """Return the trials of a study that reproduces, but for the changes, by ``part_teller``."""
    confounded = {"1-WL": 26, "walks": 50, "counts": 409438, "isomorphism": 0}
    rows = []
    for seed in range(seeds):
        for teller, test in EXPECTED.items():
            on_pairs = test == "isomorphism"
            numbers = {
                "confounded": confounded[test],
                "otherwise": 0,
                "least": 1e-7,
                "most": 1e-16,
                "copies": 0,
                "hard": np.array([1e-3, 1e-5, 0, 1e-15]) if on_pairs else np.array([0, 0, 1e-16, 0]),
            }
            rows.append({"part": "atlas", "teller": teller, **numbers})
        for teller, hard, right in (
            ("sum", [0.1, 0.2], 1.0),
            ("mean", [1e-16, 0.1], 0.625),
            ("maximum", [0, 0], 0.625),
        ):
            rows.append({"part": "neighbourhoods", "teller": teller, "hard": np.array(hard)})
            curve = np.array([0.375, 0.625, right])
            rows.append({"part": "labels", "teller": teller, "accuracy": right, "curve": curve, "steps": 20})
        for row in rows[-len(EXPECTED) - 6 :]:
            row.update({"seed": seed, **changes.get(f"{row['part']}_{row['teller']}", {})})
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique()).outcome


def failed(**changes):
    return [each.name for each in STUDY.judge(table(**changes)) if each.holds is False]


def test_what_is_planted_is_reproduced():
    assert verdict(table()) == "reproduced"
    assert sum(each.control for each in STUDY.judge(table())) == 5
    assert verdict(table(seeds=2)) == "inconclusive"


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"atlas_tanh": {"otherwise": 783_100}}, ["sums, tanh"]),
        ({"atlas_SiLU": {"otherwise": 26}}, ["sums, SiLU"]),
        ({"atlas_sin": {"hard": np.array([0, 0, 0, 1e-8])}}, ["sums: largest"]),
        ({"atlas_mean": {"otherwise": 409_412}}, ["means: pairs"]),
        ({"atlas_maximum": {"otherwise": 1}}, ["maxima: pairs"]),
        ({"neighbourhoods_sum": {"hard": np.array([0.1, 0])}}, ["sums: least"]),
        ({"neighbourhoods_mean": {"hard": np.array([0.1, 0.1])}}, ["means: difference of {a, b} from {a, a, b, b}"]),
        ({"neighbourhoods_mean": {"hard": np.array([0, 0])}}, ["means: difference of {a, b} from {a, a, b}"]),
        ({"neighbourhoods_maximum": {"hard": np.array([0, 1e-3])}}, ["maxima: largest"]),
        ({"labels_sum": {"accuracy": 0.625}}, ["sums: labels"]),
        ({"labels_mean": {"curve": np.array([0.375, 0.64, 0.625])}}, ["means: labels"]),
        ({"atlas_2-FWL": {"confounded": 26}}, ["2-FWL: pairs"]),
        ({"atlas_pairs": {"hard": np.array([1e-3, 0, 0, 0])}}, ["network on pairs: least"]),
        ({"atlas_pairs": {"hard": np.array([1e-3, 1e-3, 1e-3, 0])}}, ["network on pairs: largest"]),
        ({"atlas_2-FWL": {"hard": np.array([0.5, 0.5, 0.5, 0.5])}}, ["2-FWL: largest"]),
        ({"atlas_maximum": {"copies": 1}}, ["graphs told apart from their copies"]),
        ({"atlas_1-WL": {"confounded": 0}}, ["1-WL: pairs"]),
        ({"atlas_ReLU, no biases": {"confounded": 26}}, ["sums, ReLU without biases: pairs of graphs confounded"]),
        ({"atlas_ReLU, no biases": {"otherwise": 3}}, ["sums, ReLU without biases: pairs of graphs on which"]),
    ],
)
def test_each_criterion_can_fail(changes, names):
    found = failed(**changes)
    assert len(found) == len(names)
    assert all(name.startswith(start) for name, start in zip(found, names, strict=True))


def test_what_is_shown_beside_it_decides_nothing():
    shown = {key: {"otherwise": 5, "copies": 5, "confounded": 700} for key in ("atlas_ReLU", "atlas_GCN")}
    assert STUDY.judge(table(**shown)) == STUDY.judge(table())


def test_a_missing_network_leaves_it_open():
    for teller in ("tanh", "pairs", "mean", "sum"):
        trials = table()
        assert verdict(trials[trials["teller"] != teller]) == "inconclusive"


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in (
        "network on pairs",
        "GraphSAGE, mean",
        "409,438",
        "rook, Shrikhande",
        "relative difference",
        "maximum",
    ):
        assert name in svg
    assert STUDY.draw(pd.DataFrame({"seed": []})).axes


def test_seeds_that_were_explored_are_not_used():
    assert max(max(STUDY.grid(scale).seeds) for scale in ("smoke", "quick", "full")) < 1000
