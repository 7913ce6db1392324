"""Weighted alpha: its numbers against twins, the zoo against its description, the criteria against planted fakes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from deepscope.core import Case, UsageError, Verdict, derive_seed
from deepscope.data import load
from deepscope.figures import to_svg
from deepscope.linalg import fit_power_law
from deepscope.studies.generalisation import _model_zoo
from deepscope.studies.generalisation._model_zoo import BASE, SERIES, network
from deepscope.studies.generalisation._randomised_images import randomise
from deepscope.studies.generalisation._rank_correlation import kendall_tau, resamples
from deepscope.studies.generalisation._weight_metrics import hidden_weights, log_path_norm, weight_metrics
from deepscope.studies.generalisation._zoo_ranking import (
    POOLED,
    accuracy_range,
    by_zoo,
    counted,
    lead,
    lower_end,
    networks,
    resampled_tau,
    tau,
    upper_end,
)
from deepscope.studies.generalisation.alpha_hat_quality import RIVALS, STUDY

CASE = Case(**{**STUDY.defaults, "part": "zoo", "data": "digits", "n_train": 96, "epochs": 2, "width": 20})
NUMBERS = ("alpha_hat", *RIVALS, "log_distance", "path", "train_accuracy")


class Run:
    """What a trial is handed, as the lab does it."""

    device = torch.device("cpu")

    def __init__(self, folder, seed=1000):
        self.seed = seed
        self.checkpoint = folder / "checkpoint"

    @property
    def generator(self):
        return torch.Generator().manual_seed(derive_seed(self.seed, "trial"))


@pytest.mark.parametrize("levels", [1000, 4])
def test_tau_is_scipys_with_and_without_ties(levels):
    rng = np.random.default_rng(levels)
    x, y = rng.integers(0, levels, (2, 12))
    # Sums of integers; one square root and one division.
    assert kendall_tau(x, y)[0] == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-14)


def test_tau_of_a_resample_is_that_of_its_list():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 9))
    counts = resamples(9, 20, rng)
    assert set(counts.sum(axis=1)) == {9}
    twins = [stats.kendalltau(np.repeat(x, row), np.repeat(y, row)).statistic for row in counts]
    assert kendall_tau(x, y, counts) == pytest.approx(twins, abs=1e-14)


def test_resamples_draw_each_one_once_on_average():
    counts = resamples(5, 20_000, np.random.default_rng(2))
    # Binomial(5, 1/5): variance 4/5; four standard errors.
    assert counts.mean(axis=0) == pytest.approx(1.0, abs=4 * math.sqrt(0.8 / 20_000))
    assert counts.var(axis=0) == pytest.approx(0.8, abs=0.05)


def test_tau_knows_only_the_order():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, 15))
    assert kendall_tau(np.exp(x), y**3) == kendall_tau(x, y) == -kendall_tau(-x, y)
    assert (kendall_tau(x, x), kendall_tau(x, -x)) == (1, -1)


def test_tau_of_what_orders_nothing_is_0_and_of_what_is_missing_is_none():
    assert kendall_tau([1, 1, 1], [1, 2, 3]) == kendall_tau([1, 2, 3], [5, 5, 5]) == 0
    assert np.isnan(kendall_tau([1, np.nan, 1], [1, 2, 3], np.ones((2, 3)))).all()


def perceptron(*widths, seed=0):
    torch.manual_seed(seed)
    layers = itertools.chain(*((nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(widths)))
    return nn.Sequential(nn.Flatten(), *list(layers)[:-1])


def test_metrics_are_those_of_their_definitions():
    """Twin: singular values, layer by layer."""
    model, moved = perceptron(40, 30, 25, 5), perceptron(40, 30, 25, 5, seed=1)
    found = weight_metrics(moved, hidden_weights(model))
    weights = [moved[1].weight.detach(), moved[3].weight.detach()]
    values = [torch.linalg.svdvals(weight.double()).numpy() ** 2 for weight in weights]
    alphas = [fit_power_law(each).alpha for each in values]
    largest = [math.log10(each[0]) for each in values]
    distance = [math.log10(float((weight - start).norm().double() ** 2)) for weight, start in
                zip(weights, hidden_weights(model), strict=True)]  # fmt: skip
    twins = {
        "alpha": np.mean(alphas),
        "alpha_hat": np.mean(np.multiply(alphas, largest)),
        "log_frobenius": np.mean([math.log10(each.sum()) for each in values]),
        "log_spectral": np.mean(largest),
        "stable_rank": np.mean([each.sum() / each[0] for each in values]),
    }
    # Eigenvalues of Gram matrices: relative 1e-12 in the tail; the distance is a float32 norm.
    assert {name: found[name] for name in twins} == pytest.approx(twins, rel=1e-9)
    assert found["log_distance"] == pytest.approx(np.mean(distance), abs=1e-5)


def test_a_mean_over_layers_does_not_count_them():
    one, two = perceptron(30, 30, 3), perceptron(30, 30, 30, 3)
    with torch.no_grad():
        for layer in (two[1], two[3]):
            layer.weight.copy_(one[1].weight)
    start = [torch.zeros(30, 30)] * 2
    found, twin = weight_metrics(two, start), weight_metrics(one, start[:1])
    for name in ("alpha_hat", "alpha", "log_frobenius", "log_spectral", "stable_rank", "log_distance"):
        assert found[name] == pytest.approx(twin[name], rel=1e-12)


def test_what_has_no_value_is_none():
    model = perceptron(30, 20, 3)
    assert weight_metrics(model, hidden_weights(model))["log_distance"] is None
    nn.init.orthogonal_(model[1].weight)
    found = weight_metrics(model, [torch.zeros(20, 30)])
    assert (found["alpha"], found["alpha_hat"]) == (None, None)
    assert found["stable_rank"] == pytest.approx(20)
    # The other layer's exponent alone would be a mean over fewer layers.
    deeper = perceptron(30, 20, 20, 3)
    nn.init.orthogonal_(deeper[1].weight)
    assert weight_metrics(deeper, [torch.zeros(20, 30), torch.zeros(20, 20)])["alpha_hat"] is None


def test_the_path_norm_sums_over_paths():
    model = perceptron(3, 4, 2, 2)
    first, second, third = (layer.weight.detach().double() for layer in model if isinstance(layer, nn.Linear))
    paths = itertools.product(range(3), range(4), range(2), range(2))
    twin = sum(float((third[o, k] * second[k, j] * first[j, i]) ** 2) for i, j, k, o in paths)
    assert log_path_norm(model) == pytest.approx(math.log10(twin), rel=1e-12)


def test_scaling_layers_changes_weighted_alpha_but_not_the_network():
    """A planted fake: α̂ can be given any value without touching what the network does; the path norm can not."""
    model = perceptron(40, 30, 30, 5)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    x, start = torch.randn(50, 40), hidden_weights(perceptron(40, 30, 30, 5, seed=1))
    before, outputs = weight_metrics(model, start), model(x)
    with torch.no_grad():
        model[1].weight.mul_(8.0)
        model[5].weight.div_(8.0)
    after = weight_metrics(model, start)
    torch.testing.assert_close(model(x), outputs)
    alpha = fit_power_law(torch.linalg.svdvals(model[1].weight.detach().double()) ** 2).alpha
    assert after["alpha_hat"] - before["alpha_hat"] == pytest.approx(alpha * math.log10(64) / 2, rel=1e-9)
    assert after["alpha"] == pytest.approx(before["alpha"], rel=1e-9)
    assert after["log_path"] == pytest.approx(before["log_path"], abs=1e-12)


def test_a_zoo_holds_each_setting_twice_and_the_base_once_for_all_series():
    cases = STUDY.grid("quick").cases
    for labels, n_settings in (("true", 26), ("random", 21)):
        zoo = [case for case in cases if case.part == "zoo" and case.labels == labels]
        settings = [tuple(case[name] for name in SERIES) for case in zoo]
        assert len(zoo) == 2 * n_settings == 2 * len(set(settings))
        base = {**BASE, "noise": 1.0} if labels == "random" else BASE
        for case in zoo:
            assert [name for name in SERIES if case[name] != base[name]] == (
                [case.series] if case.series != "base" else []
            )
            # The tail of a layer is fitted to its eigenvalues.
            assert min(case.width, 784) >= 128
    assert sum(case.part == "planted" for case in cases) == 1


def test_a_network_has_the_layers_of_its_case():
    model = network(64, 10, CASE.replace(depth=3, dropout=0.3))
    shapes = [tuple(layer.weight.shape) for layer in model if isinstance(layer, nn.Linear)]
    assert shapes == [(20, 64), (20, 20), (20, 20), (10, 20)]
    assert [layer.p for layer in model if isinstance(layer, nn.Dropout)] == [0.3] * 3


def test_a_trial_is_that_of_a_loop_written_out(tmp_path):
    case, run = CASE.replace(replica=1, noise=0.5), Run(tmp_path)
    found = STUDY.trial(case, run)
    data = load("digits")
    images = randomise(data, n_train=96, n_held_out=0, corruption=0.5, generator=run.generator)
    seed = derive_seed(1000, "replica", 1)
    torch.manual_seed(seed)
    model = network(64, 10, case)
    start = [weight.clone() for weight in hidden_weights(model)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, fused=True)
    for epoch in range(2):
        for inputs, targets in images.train.epochs(64, seed=seed)(epoch):
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    right = (model(images.test.inputs).argmax(1) == data.test.targets).double().mean().item()
    assert found["test_accuracy"] == pytest.approx(right, abs=1e-12)
    assert found["path"] == pytest.approx(4 * 0.03)
    assert {name: found[name] for name in weight_metrics(model, start)} == weight_metrics(model, start)


def seen(monkeypatch, tmp_path, case, seed=1000):
    """Return the images, labels and initial weights that a network is trained from."""
    caught = {}

    def remember(model, data, *_, **__):
        caught.update(start=[p.clone() for p in model.parameters()], train=data.samples)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_model_zoo, "fit", remember)
        with pytest.raises(KeyboardInterrupt):
            STUDY.trial(case, Run(tmp_path, seed))
    return caught["train"].inputs, caught["train"].targets, caught["start"][0]


def test_what_networks_of_a_zoo_share(monkeypatch, tmp_path):
    base, twin, noisy, other = (
        seen(monkeypatch, tmp_path, CASE.replace(**changed), seed)
        for changed, seed in (({}, 1000), ({"replica": 1}, 1000), ({"noise": 0.8}, 1000), ({}, 1001))
    )
    assert torch.equal(base[0], twin[0])
    assert torch.equal(base[1], twin[1])
    assert not torch.equal(base[2], twin[2])
    assert torch.equal(base[0], noisy[0])
    assert torch.equal(base[2], noisy[2])
    # Of 0.8 of the labels nine in ten become another: Binomial(96, 0.72), four standard deviations.
    assert (base[1] != noisy[1]).sum().item() == pytest.approx(69, abs=18)
    assert not torch.equal(base[0], other[0])


def test_random_labels_are_each_networks_own(monkeypatch, tmp_path):
    random = CASE.replace(labels="random", noise=1.0)
    _, labels, _ = seen(monkeypatch, tmp_path, random)
    for changed in ({"replica": 1}, {"depth": 3}):
        _, others, _ = seen(monkeypatch, tmp_path, random.replace(**changed))
        # A tenth agrees by chance: Binomial(96, 0.1) has a standard deviation of 2.9.
        assert (labels == others).sum().item() < 10 + 5 * 2.9


def test_planted_exponents_are_those_of_a_pareto_law(tmp_path):
    case = CASE.replace(part="planted", draws=3)
    found, uniform = STUDY.trial(case, Run(tmp_path, 7)), 1 - np.random.default_rng(7).random((3, 3, 1000))
    for alpha, each in zip((2, 3, 4), uniform, strict=True):
        law = stats.pareto(alpha - 1)
        assert found[f"alpha_{alpha}"] == pytest.approx(
            np.mean([fit_power_law(law.isf(row)).alpha for row in each]), rel=1e-9
        )


def test_unknown_parts_are_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown part"):
        STUDY.trial(CASE.replace(part="zzo"), Run(tmp_path))


def table(seeds=6, *, planted=0.0, on_true=(), on_random=()):
    """Return the trials of a study that reproduces, but for changed columns, each a function of (networks, rng)."""
    rng = np.random.default_rng(0)
    trials = pd.DataFrame([{**case, "seed": seed} for case in STUDY.grid("quick").cases for seed in range(seeds)])

    def noise(scale):
        return scale * rng.standard_normal(len(trials))

    zoo, random = trials["part"] == "zoo", trials["labels"] == "random"
    for alpha in (2, 3, 4):
        trials[f"alpha_{alpha}"] = alpha + planted + noise(0.01)
    # The place of a network's setting in its series; that of the others is the base's.
    quality = sum(trials[name].map({value: at for at, value in enumerate(SERIES[name])}).fillna(0) for name in SERIES)
    trials["quality"] = quality + noise(0.1)
    trials["test_accuracy"] = np.where(random, 0.1 + noise(0.01), 0.6 + 0.02 * trials["quality"])
    trials["train_accuracy"] = 1.0 + noise(0.001)
    trials["alpha_hat"] = -trials["quality"]
    for number in (*RIVALS, "log_distance", "path"):
        trials[number] = trials["quality"] + noise(2.0)
    for changes, chosen in ((on_true, zoo & ~random), (on_random, zoo & random)):
        for name, values in dict(changes).items():
            trials.loc[chosen, name] = values(trials[chosen], rng)
    trials.loc[zoo, ["alpha_2", "alpha_3", "alpha_4"]] = np.nan
    trials.loc[~zoo, [*NUMBERS, "test_accuracy"]] = np.nan
    return trials.drop(columns="quality")


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique())


def test_a_zoo_that_weighted_alpha_orders_is_reproduced():
    found = verdict(table())
    assert found.outcome == "reproduced", found.reasons
    assert [criterion.control for criterion in found.criteria] == [False] * 5 + [True] * 2


def accuracy(zoo, rng):
    return zoo["test_accuracy"]


def nothing(zoo, rng):
    return rng.standard_normal(len(zoo))


def wrong_in(*series):
    return lambda zoo, rng: np.where(zoo["series"].isin(series), 1, -1) * (zoo["test_accuracy"] - 0.7)


def between(zoo):
    return zoo["series"].map({name: place for place, name in enumerate(["base", *SERIES])})


#: Weighted alpha rises with the accuracy within each series, and falls from one series to the next while that rises.
SIMPSON = {
    "test_accuracy": lambda zoo, rng: 0.1 * zoo["test_accuracy"] + 0.1 * between(zoo),
    "alpha_hat": lambda zoo, rng: zoo["test_accuracy"] - between(zoo),
}
#: A norm that is always right, where weighted alpha errs a little.
ERRING = {"alpha_hat": lambda zoo, rng: zoo["alpha_hat"] + rng.standard_normal(len(zoo))}
MEDIAN, LEAD, RANDOM = (
    "median over series",
    "lead of weighted alpha",
    "the median τ of networks trained on random labels",
)


@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({"planted": 0.2}, ["planted exponent"] * 3),
        ({"on_true": {"alpha_hat": nothing}}, [MEDIAN, LEAD]),
        ({"on_true": {"alpha_hat": accuracy}}, [MEDIAN, LEAD]),
        ({"on_true": {"alpha_hat": wrong_in("epochs", "width", "dropout")}}, [MEDIAN, LEAD]),
        ({"on_true": {**ERRING, "log_path": accuracy}}, [LEAD]),
        ({"on_true": {**ERRING, "log_path": lambda zoo, rng: -zoo["test_accuracy"]}}, [LEAD]),
        ({"on_random": {"test_accuracy": lambda zoo, rng: 0.1 - 0.001 * zoo["alpha_hat"]}}, [RANDOM]),
        ({"on_true": SIMPSON}, [MEDIAN, LEAD]),
    ],
    ids=["estimator", "nothing", "wrong sign", "wrong in most", "norm", "norm, falling", "leak", "simpson"],
)
def test_planted_fakes_are_not_reproduced(changed, failing):
    found = verdict(table(**changed))
    wrong = [criterion.name for criterion in found.criteria if criterion.holds is False]
    assert found.outcome == "not reproduced"
    assert len(wrong) == len(failing)
    assert all(name.startswith(start) for name, start in zip(wrong, failing, strict=True))


def test_over_all_networks_at_once_an_order_can_be_right_that_is_wrong_in_each_series():
    trials = table(on_true=SIMPSON)
    assert by_zoo(trials, [POOLED], tau("alpha_hat")).max() < -0.3
    assert all(by_zoo(trials, [name], tau("alpha_hat")).min() > 0.3 for name in SERIES)


def test_series_of_equal_accuracies_are_not_judged():
    trials = table(on_true={"test_accuracy": lambda zoo, rng: 0.9 + 0.002 * rng.standard_normal(len(zoo))})
    assert counted(trials) == []
    found = verdict(trials)
    assert found.outcome == "inconclusive"
    assert [criterion.measured for criterion in found.criteria[3:]] == [None] * 4


def test_a_range_is_one_of_means_in_deviations_within_a_setting():
    trials = table(2)
    members = networks(trials, "depth")
    by_hand = {
        depth: [members[(members["depth"] == depth) & (members["seed"] == seed)]["test_accuracy"] for seed in (0, 1)]
        for depth in SERIES["depth"]
    }
    means = [np.mean(np.concatenate(pairs)) for pairs in by_hand.values()]
    squares = [(pair.iloc[0] - pair.iloc[1]) ** 2 / 2 for pairs in by_hand.values() for pair in pairs]
    assert accuracy_range(trials, "depth") == pytest.approx((max(means) - min(means)) / math.sqrt(np.mean(squares)))


def test_the_median_over_series_is_taken_zoo_by_zoo():
    trials = table(3)
    twin = {
        seed: np.median([
            stats.kendalltau(zoo["log_path"], zoo["test_accuracy"]).statistic
            for name in SERIES
            for zoo in [networks(trials[trials["seed"] == seed], name)]
        ])
        for seed in range(3)
    }  # fmt: skip
    assert by_zoo(trials, list(SERIES), tau("log_path")).to_dict() == pytest.approx(twin, abs=1e-14)


def test_the_interval_of_one_zoo_covers_its_tau_and_is_narrower_with_more_networks():
    trials = table(1)
    ends = [
        [by_zoo(trials, series, resampled_tau("log_path"), reduce=end)[0] for end in (lower_end, upper_end)]
        for series in (["depth"], [POOLED])
    ]
    for (low, high), series in zip(ends, ("depth", POOLED), strict=True):
        assert low < by_zoo(trials, [series], tau("log_path"))[0] < high
    assert ends[1][1] - ends[1][0] < ends[0][1] - ends[0][0]


@pytest.mark.parametrize("labels", ["true", "random"])
def test_a_missing_network_leaves_it_open(labels):
    trials = table()
    gone = (trials["labels"] == labels) & (trials["depth"] == 4) & (trials["replica"] == 0) & (trials["seed"] == 2)
    found = verdict(trials[~gone])
    assert found.outcome == "inconclusive"
    assert {each.missing for each in found.criteria[3:]} == {0, 1}


def test_a_network_without_an_exponent_leaves_it_open():
    trials = table()
    place = trials.index[(trials["labels"] == "true") & (trials["depth"] == 4)][0]
    trials.loc[place, ["alpha", "alpha_hat"]] = None
    assert verdict(trials).outcome == "inconclusive"


def test_the_best_rival_is_chosen_by_the_other_zoos():
    numbers = pd.Series({0: -0.5, 1: -0.4, 2: -0.6})
    rivals = pd.DataFrame({"rising": [0.9, 0.1, 0.2], "falling": [-0.1, -0.5, -0.6]})
    # Zoo 0 is told "falling" by (−0.55 against 0.15), zoo 1 "rising" (0.55 against −0.35), zoo 2 "rising" (0.5, −0.3).
    assert lead(numbers, rivals).to_dict() == pytest.approx({0: 0.5 - 0.1, 1: 0.4 - 0.1, 2: 0.6 - 0.2})
    assert lead(numbers.iloc[:1], rivals.iloc[:1]).isna().all()


def test_among_numbers_that_know_nothing_the_best_rival_has_no_lead():
    rng = np.random.default_rng(5)
    n, numbers = 400, rng.normal(0, 0.2, 400)
    rivals = rng.normal(0, 0.2, (n, 20))
    fair = lead(pd.Series(numbers), pd.DataFrame(rivals))
    # √2 · 0.2 is the deviation of one difference; four standard errors.
    assert fair.mean() == pytest.approx(0, abs=4 * 0.2 * math.sqrt(2 / n))
    # Chosen by the zoo itself, the largest of 20 would lead by more than a deviation.
    assert (-numbers - np.abs(rivals).max(axis=1)).mean() < -0.2


def test_what_is_missing_is_not_drawn():
    for trials in (pd.DataFrame({"seed": []}), table(1).iloc[:1], table(1).iloc[-40:]):
        assert STUDY.draw(trials).axes


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table(3, on_true={"train_accuracy": nothing})), "x")
    for name in ("training epochs", "label noise", "hidden layers", "units per layer", "dropout", "median of series",
                 "accuracies dealt out", "random labels", "log path norm", "steps × rate"):  # fmt: skip
        assert name in svg
    assert "not judged" not in svg
