"""What health says of a network: every fault at its place and in its gravity, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from health_data import data, noise, problems, row, seeded
from torch import Tensor, nn
from torch.nn import functional

from deepscope.instruments import HEALTH, health
from deepscope.subject import Subject

# --- planted faults beyond the known list ---------------------------------------------------------------------------


def test_a_fault_is_told_once_with_what_follows_from_it() -> None:
    model = seeded(lambda: nn.Sequential(*[m for _ in range(6) for m in (nn.Linear(8, 8), nn.ReLU())], nn.Linear(8, 3)))
    with torch.no_grad():
        model[4].bias.fill_(-100.0)
    reading = health(Subject(model, data=data(8, sizes=(32,)), loss=functional.cross_entropy))
    found = [(f.severity, f.where) for f in reading.findings() if f.severity != "note"]
    # Behind it outputs are constant, before it gradients are zero: neither is a second fault.
    assert found == [("problem", "5")]
    assert "output is constant" in reading.findings()[0].message
    assert reading.output_constant is True
    assert row(reading, "0").gradient_norm == 0


@pytest.mark.parametrize(("units", "severity"), [(1, "warning"), (8, "problem")])
def test_a_shut_gate_of_few_units_beside_the_way_is_a_warning(units: int, severity: str) -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.squeeze, self.relu, self.excite = nn.Linear(4, units), nn.ReLU(), nn.Linear(units, 4)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x * self.excite(self.relu(self.squeeze(x))).sigmoid())

    model = seeded(Gated)
    nn.init.constant_(model.squeeze.bias, -100.0)
    found = health(Subject(model, data=data(4), loss=functional.cross_entropy)).findings()
    assert [(each.severity, each.where) for each in found] == [(severity, "relu")]


def test_the_first_of_non_finite_layers_is_named() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)))
    with torch.no_grad():
        model[2].weight[1, 1] = math.inf
    reading = health(Subject(model, data=data(4), loss=functional.cross_entropy))
    found = problems(reading)
    assert [where for where, _ in found] == ["2"]
    assert "NaN or infinite" in found[0][1]
    assert row(reading, "2").nonfinite_fraction == 1 / 4
    assert row(reading, "2").activation_mean is not None
    assert row(reading, "1").nonfinite_fraction == 0


def test_a_gradient_that_is_not_finite_is_a_problem_where_it_starts() -> None:
    class RootOfZero(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b((self.a(x) * 0).sqrt())

    reading = health(Subject(seeded(RootOfZero), data=data(4), loss=functional.cross_entropy))
    assert row(reading, "a").gradient_norm is None
    assert row(reading, "a").status == "non-finite gradient"
    assert "a" in [where for where, message in problems(reading) if "gradient" in message]


def test_a_constant_output_names_the_layer_from_which_on_nothing_varies() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)))
    with torch.no_grad():
        model[2].weight.zero_()
    found = problems(health(Subject(model, data=data(4), loss=functional.cross_entropy)))
    assert [where for where, _ in found] == ["2"]
    assert found[0][1] == (
        "The network's output is constant: the same for every input; from 2 on nothing depends on the input."
    )


def test_a_constant_last_layer_is_told_without_a_place_further_back() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)))
    nn.init.zeros_(model[2].weight)
    assert problems(health(Subject(model, data=data(4)))) == [
        ("2", "The network's output is constant: the same for every input.")
    ]


def test_evidence_counts_units_and_messages_give_a_percentage() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(8, 25), nn.ReLU(), nn.Linear(25, 3)))
    with torch.no_grad():
        model[0].weight.mul_(0.01)
        model[0].bias.fill_(1.0)[:6].fill_(-100.0)
    (dead,) = health(Subject(model, data=data(8, sizes=(30,)))).findings()
    assert dead.message.startswith("24 % of the units of the ReLU layer 1 are dead")
    assert dead.evidence.startswith("6 of 25 units shut at every one of 30 samples: such a unit is open for fewer than")
    # The rule of three.
    assert "fewer than 0.1 of inputs (95 %)" in dead.evidence
    bounded = nn.Sequential(nn.Linear(8, 10), nn.Tanh(), nn.Linear(10, 3))
    with torch.no_grad():
        bounded[0].weight.mul_(0.001)
        bounded[0].bias.fill_(0.1)[:7].fill_(9.0)
    (stuck,) = health(Subject(bounded, data=data(8, sizes=(30,)))).findings()
    assert stuck.message.startswith("70 % of the units of the Tanh layer 1 are saturated")
    assert stuck.evidence.startswith("7 of 10 units with at least 95 %")
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    (all_dead,) = health(Subject(model, data=data(8, sizes=(30,)))).findings()
    assert all_dead.evidence.startswith("25 of 25 units shut at every one of 30 samples")


def test_a_share_over_several_functions_is_not_told_as_a_count_of_units() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.a(x)
            return self.head(hidden.relu() + (hidden - 50).relu())

    model = seeded(Both)
    nn.init.constant_(model.a.bias, 9.0)
    reading = health(Subject(model, data=data(4, sizes=(30,))))
    # Five gates are open and five are shut: half of ten gates, and 2.5 of 5 units.
    assert row(reading, "a").dead_fraction == 0.5
    (finding,) = reading.findings()
    assert finding.evidence.startswith("50 % of its 5 units shut")


def test_constant_inputs_or_a_constant_side_branch_are_no_fault() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.position, self.head = nn.Embedding(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x + self.position(torch.tensor([2])))

    assert problems(health(Subject(seeded(Positions), data=data(4)))) == []
    same = [(torch.ones(8, 4), torch.zeros(8))]
    reading = health(Subject(seeded(Positions), data=same))
    assert reading.output_constant is None
    assert problems(reading) == []


def test_a_gradient_of_exactly_zero_is_a_warning() -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(x + 0 * self.a(x))

    warned = problems(health(Subject(seeded(Detached), data=data(4), loss=functional.cross_entropy)), "warning")
    assert [where for where, _ in warned] == ["a"]
    assert "exactly zero" in warned[0][1]


def test_a_saturated_output_is_no_fault_and_few_samples_make_no_dead_units() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()))
    with torch.no_grad():
        model[0].weight.mul_(1000)
    reading = health(Subject(model, data=data(4)))
    assert row(reading, "1").saturated_fraction is not None
    assert row(reading, "1").saturated_fraction > 0.5
    assert reading.findings() == ()
    few = health(
        Subject(seeded(lambda: nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))), data=data(4, sizes=(2,)))
    )
    assert row(few, "1").dead_fraction > 0.1
    assert few.findings() == ()


def test_fresh_batch_normalisation_allows_no_verdict_on_depth() -> None:
    layers = [m for _ in range(12) for m in (nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())]
    model = seeded(lambda: nn.Sequential(*layers, nn.Linear(16, 3)))
    reading = health(Subject(model, data=data(16), loss=functional.cross_entropy))
    assert reading.profile.verdict == "cannot say"
    assert "no statistics yet" in reading.profile.status


# --- how bad vanishing and exploding are ------------------------------------------------------------------------------


def deep(activation: type[nn.Module], depth: int, width: int = 64) -> nn.Sequential:
    return nn.Sequential(
        *[m for _ in range(depth) for m in (nn.Linear(width, width), activation())], nn.Linear(width, 3)
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("activation", "depth"), [(nn.GELU, 8), (nn.SiLU, 8), (nn.ReLU, 12), (nn.ReLU, 10)])
def test_deep_default_stacks_that_train_are_at_most_warned_of(
    activation: type[nn.Module], depth: int, seed: int
) -> None:
    subject = Subject(
        seeded(lambda: deep(activation, depth), seed), data=data(64, sizes=(64,)), loss=functional.cross_entropy
    )
    reading = health(subject)
    assert problems(reading) == []
    assert reading.profile.first_to_last is not None
    vanish = [message for _, message in problems(reading, "warning") if "vanish" in message]
    assert bool(vanish) == (reading.profile.first_to_last <= 1e-3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("depth", "xavier"), [(6, False), (10, False), (10, True)])
def test_sigmoid_stacks_are_a_problem(depth: int, xavier: bool, seed: int) -> None:
    model = seeded(lambda: deep(nn.Sigmoid, depth), seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in model[::2] if xavier else ():
            nn.init.xavier_normal_(layer.weight)
    reading = health(Subject(model, data=data(64, sizes=(64,)), loss=functional.cross_entropy))
    assert any("vanish" in message for _, message in problems(reading))


@pytest.mark.parametrize(
    ("factor", "layers", "severity"),
    [
        # At most 0.27 per layer and 1e-4 in all, or 1e-6 in all; else from 1e-3 on a warning.
        (0.26, 8, "problem"),
        (0.26, 7, "warning"),
        (0.28, 9, "warning"),
        (0.28, 12, "problem"),
        (0.5, 15, "warning"),
        (0.5, 22, "problem"),
        (0.5, 9, None),
    ],
)
def test_the_severity_of_vanishing_follows_its_rule(factor: float, layers: int, severity: str | None) -> None:
    model = nn.Sequential(*[nn.Linear(1, 1, bias=False, dtype=torch.float64) for _ in range(layers)])
    with torch.no_grad():
        for layer in model:
            layer.weight.fill_(factor)
    x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    found = health(Subject(model, data=[(x, x)], loss=lambda y, _: y.mean())).findings()
    assert [each.severity for each in found if "vanish" in each.message] == ([severity] if severity else [])


class Unrolled(nn.Module):
    """A recurrent layer whose state grows by a factor per step."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.cell = nn.RNN(1, 32, batch_first=True, nonlinearity="relu")
        self.out = nn.Linear(32, 10)
        nn.init.orthogonal_(self.cell.weight_hh_l0)
        with torch.no_grad():
            self.cell.weight_hh_l0.mul_(factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x)[0][:, -1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("factor", "severity"), [(2.5, "problem"), (1.0, None)])
def test_gradients_that_explode_inside_a_recurrent_layer_are_seen(factor: float, severity: str, seed: int) -> None:
    batches = [(noise(16, 64, 1, seed=seed).abs(), torch.arange(16) % 10)]
    reading = health(Subject(seeded(lambda: Unrolled(factor), seed), data=batches, loss=functional.cross_entropy))
    bad = [f for f in reading.findings() if f.severity != "note"]
    assert [(f.severity, f.where) for f in bad] == ([(severity, "cell")] if severity else [])
    if bad:
        assert "explode" in bad[0].message
        assert row(reading, "cell").gradient_to_weight > 1e6


@pytest.mark.parametrize(("size", "severity"), [(1.0, []), (100.0, []), (1000.0, ["warning"]), (1e7, ["problem"])])
def test_regression_on_large_targets_is_told_where_a_step_would_replace_the_weights(
    size: float, severity: list[str]
) -> None:
    """With targets of size t the gradient is some 3t: a step of 1e-3 moves weights of size 1 by 3 at t = 1,000."""
    model = seeded(lambda: nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)))
    x = noise(128, 20)
    found = health(Subject(model, data=[(x, size * (1 + x[:, :1].tanh()))], loss=functional.mse_loss)).findings()
    assert [each.severity for each in found] == severity


def test_weights_near_zero_do_not_make_their_gradients_explode() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)))
    with torch.no_grad():
        model[2].weight.mul_(1e-9)
    reading = health(Subject(model, data=data(8), loss=functional.cross_entropy))
    assert row(reading, "2").gradient_to_weight > 1e6
    assert not any("explode" in f.message or "too large" in f.message for f in reading.findings())


def test_an_exploding_profile_is_told_once() -> None:
    reading = health(next(known for known in HEALTH.known if "exploding" in known.name).make())
    assert max(layer.gradient_to_weight or 0 for layer in reading.layers) > 1e6
    assert len([f for f in reading.findings() if "explode" in f.message]) == 1


# --- outputs that do not depend on the input --------------------------------------------------------------------------


class Deaf(nn.Module):
    """A language model that sees its positions and not its tokens."""

    def __init__(self, hears: float = 0.0) -> None:
        super().__init__()
        self.embed, self.position, self.head = nn.Embedding(20, 16), nn.Embedding(12, 16), nn.Linear(16, 20)
        self.hears = hears

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.hears * self.embed(ids) + self.position(torch.arange(ids.shape[1])))


class Decoder(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.linear, self.up = nn.Linear(8, 64), nn.ConvTranspose2d(4, 1, 4, 2, 1)
        with torch.no_grad():
            self.linear.weight.mul_(gain)

    def forward(self, z: Tensor) -> Tensor:
        return self.up(self.linear(z).relu().view(-1, 4, 4, 4))


def deaf_gru(gain: float) -> nn.Module:
    gru = nn.GRU(3, 8, batch_first=True)
    with torch.no_grad():
        gru.weight_ih_l0.mul_(gain)
    return gru


def flattened(gain: float) -> nn.Module:
    return nn.Sequential(Deaf(gain), nn.Flatten(0, 1))


TOKENS = [(torch.randint(20, (6, 9), generator=torch.Generator().manual_seed(seed)), torch.zeros(6)) for seed in (1, 2)]
DEAF: dict[str, tuple[Callable[[float], nn.Module], Any]] = {
    "language model": (Deaf, TOKENS),
    "language model, flattened": (flattened, TOKENS),
    "decoder": (Decoder, [(noise(6, 8, seed=seed), torch.zeros(6)) for seed in range(2)]),
    "recurrent": (deaf_gru, [(noise(6, 5, 3, seed=seed), torch.zeros(6)) for seed in range(2)]),
}


@pytest.mark.parametrize("name", DEAF)
def test_an_output_that_depends_on_the_position_alone_is_constant(name: str) -> None:
    make, batches = DEAF[name]
    for gain, constant in ((0.0, True), (1e-3, False), (1.0, False)):
        reading = health(Subject(seeded(lambda g=gain: make(g)), data=batches))
        assert reading.output_constant is constant
        assert any("constant" in message for _, message in problems(reading)) == constant
    same = [(batches[0][0][:1].expand(4, *batches[0][0].shape[1:]), torch.zeros(4))]
    assert health(Subject(seeded(lambda: make(0.0)), data=same)).output_constant is None


@pytest.mark.parametrize("time_first", [False, True])
def test_what_a_deaf_model_makes_of_padding_is_not_its_output(time_first: bool) -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(20, 4)
            self.batch_first = not time_first

        def forward(self, ids: Tensor) -> Tensor:
            out = self.embed(0 * ids + torch.arange(ids.shape[1])) + 100.0 * (ids == 0)[..., None]
            return out.transpose(0, 1) if time_first else out

    ids = torch.tensor([[3, 4, 5, 6, 7], [4, 5, 0, 0, 0], [6, 2, 9, 0, 0]])
    subject = Subject(seeded(Counts), data=[(ids, torch.zeros(3))])
    assert health(subject).output_constant is False
    masked = Subject(seeded(Counts), data=[(ids, torch.zeros(3))], mask=lambda ids: ids != 0)
    assert health(masked).output_constant is True


def test_batches_of_different_lengths_are_not_compared_by_position() -> None:
    ids = [torch.arange(n).repeat(3, 1) + torch.arange(3)[:, None] for n in (4, 6)]
    assert health(Subject(seeded(Deaf), data=[(each, torch.zeros(3)) for each in ids])).output_constant is False


# --- a part of the network --------------------------------------------------------------------------------------------


def with_a_zero_head() -> nn.Module:
    model = seeded(
        lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2), nn.Tanh())
    )
    nn.init.zeros_(model[4].weight)
    return model


@pytest.mark.parametrize(
    ("patterns", "where", "more"),
    [
        (("0",), "", "; where that begins lies outside the chosen part."),
        (("0", "2"), "", "; where that begins lies outside the chosen part."),
        (("5",), "5", "; what comes before it lies outside the chosen part."),
        (("4", "5"), "4", "; what comes before it lies outside the chosen part."),
        (("3", "4", "5"), "4", "; from 4 on nothing depends on the input."),
        (("4",), "", "; where that begins lies outside the chosen part."),
        (("*",), "4", "; from 4 on nothing depends on the input."),
    ],
)
def test_a_fault_outside_the_chosen_part_is_not_put_on_a_chosen_layer(
    patterns: tuple[str, ...], where: str, more: str
) -> None:
    subject = Subject(with_a_zero_head(), data=data(8, classes=2, sizes=(40,)), loss=functional.cross_entropy)
    found = [f for f in health(subject.only(*patterns)).findings() if "output is constant" in f.message]
    assert [(f.where, f.message) for f in found] == [
        (where, f"The network's output is constant: the same for every input{more}")
    ]


def test_what_a_part_does_not_show_is_not_said_of_the_whole() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.b(x) + 0 * self.a(x))

    subject = Subject(seeded(Cut), data=data(4), loss=functional.cross_entropy).only("a")
    (found,) = health(subject).findings()
    assert (found.severity, found.where) == ("warning", "a")
    assert "every layer" not in found.message
    # The last of the chosen layers is not the network's output, where saturation would be wanted.
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)))
    with torch.no_grad():
        model[0].weight.mul_(1e3)
    (stuck,) = [f for f in health(Subject(model, data=data(4)).only("1")).findings() if "saturated" in f.message]
    assert stuck.where == "1"


def test_with_a_forward_of_the_callers_own_a_part_says_nothing_of_the_output() -> None:
    model = with_a_zero_head()
    subject = Subject(model, data=data(8), forward=lambda m, x: m[5](m[4](m[3](m[2](m[1](m[0](x)))))))
    assert health(subject).output_constant is True
    assert health(subject.only("5")).output_constant is None
