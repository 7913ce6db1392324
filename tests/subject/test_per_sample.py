"""Per-sample gradients against plain backpropagation through each sample alone, and what must not pass the proof."""

from __future__ import annotations

import pytest
import torch
from sample_gradients import alone, assert_measured, assert_same, noise, written
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import MeasurementError
from deepscope.subject import Subject, check_mean_over_terms, per_sample_gradients


class Tied(nn.Module):
    """A language model whose table is read by the embedding and by the head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Embedding(7, 4, padding_idx=0), nn.Linear(4, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.embed(tokens))).cumsum(1))


class Repeated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = x + torch.tanh(self.cell(x))
        return self.out(x)


class OwnParameter(nn.Module):
    """A parameter used by a function in the forward pass itself, beside a layer that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.lin, self.idle = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin(torch.cat([x, self.token.expand(len(x), 1, 4)], 1).softmax(-1).mean(1))


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), 4)
        for step in x.unbind(1):
            h, c = self.cell(step, (h, c))
        return self.out(h)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0][:, -1])


class Doubled(nn.Linear):
    """A linear layer whose rule would give half of its gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, 2 * self.weight, self.bias)


class Flattened(nn.Module):
    """Samples and positions in one dimension inside; the second layer has them the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.one(x.reshape(-1, 3))).view(len(x), -1, 4)
        turned = torch.tanh(self.two(hidden.transpose(0, 1).reshape(-1, 4))).view(-1, len(x), 4)
        return self.out(turned.cumsum(0).transpose(0, 1).square().sum(1))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.attention(x, x, x, need_weights=False)[0].mean(1))


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(5, 6), nn.ReLU(inplace=True), nn.Linear(6, 4, bias=False), nn.Tanh(), nn.Linear(4, 3)
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=2), nn.PReLU(6),
        nn.Conv2d(6, 6, 3, padding="same", padding_mode="reflect", groups=6, bias=False),
        nn.Flatten(), nn.LazyLinear(3),
    )  # fmt: skip


def norms() -> nn.Module:
    made = nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.GroupNorm(2, 4), nn.PReLU(), nn.InstanceNorm1d(4, affine=True),
        nn.LayerNorm(6), nn.RMSNorm((4, 6)), nn.Flatten(), nn.Linear(24, 3),
    )  # fmt: skip
    for each in made.parameters():
        nn.init.normal_(each)
    made[1].running_mean.normal_()
    made[1].running_var.uniform_(0.5, 2)
    return made


#: Network, inputs, and the parameters whose gradients must be written out.
NETWORKS = {
    "mlp": (mlp, lambda n: noise(n, 5), set()),
    "cnn": (cnn, lambda n: noise(n, 2, 6, 6), set()),
    "volume": (
        lambda: nn.Sequential(nn.Conv3d(1, 2, 2), nn.Flatten(), nn.Linear(16, 2)),
        lambda n: noise(n, 1, 3, 3, 3), set(),
    ),
    "norms": (norms, lambda n: noise(n, 2, 8), set()),
    "sequence": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)), lambda n: noise(n, 5, 2, 3), set(),
    ),
    "tied": (Tied, lambda n: torch.randint(0, 7, (n, 4)), set()),
    "flattened": (Flattened, lambda n: noise(n, 5, 3), {"two.weight", "two.bias"}),
    "repeated": (Repeated, lambda n: noise(n, 3), set()),
    "own parameter": (OwnParameter, lambda n: noise(n, 3, 4), {"token"}),
    "LSTM cell": (Cell, lambda n: noise(n, 4, 3), set()),
    "LSTM": (Recurrent, lambda n: noise(n, 4, 3), set()),
    "another forward": (
        lambda: nn.Sequential(Doubled(3, 4), nn.Tanh(), nn.Linear(4, 2)), lambda n: noise(n, 3), {"0.weight"},
    ),
    "attention": (Attention, lambda n: noise(n, 3, 4), set()),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose1d(2, 3, 3), nn.Flatten(), nn.Linear(18, 2)),
        lambda n: noise(n, 2, 4), {"0.weight", "0.bias"},
    ),
}  # fmt: skip


def network(name: str, n: int = 5) -> tuple[nn.Module, Tensor, set[str]]:
    torch.manual_seed(0)
    build, make, written = NETWORKS[name]
    model, x = build().double().eval(), make(n)
    with torch.no_grad():
        model(x)
    return model, x, written


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_outputs_are_those_of_each_sample_alone(name: str) -> None:
    model, x, by_hand = network(name)
    assert_measured(model, (x,), by_hand, unused={"idle.weight", "idle.bias"} if name == "own parameter" else set())


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_losses_are_those_of_each_sample_alone(name: str) -> None:
    model, x, _ = network(name)
    parameters = dict(model.named_parameters())

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.flatten(1) - targets).square().mean()

    targets = noise(len(x), model(x).flatten(1).shape[1])
    subject = Subject(model, data=[(x, targets)], loss=loss)
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        (batch,) = subject.batches()
        found = gradients.of_losses(batch)
        check_mean_over_terms(subject, batch)
    assert found.loss == pytest.approx(loss(model(x), targets).item(), rel=1e-12)
    for i in range(len(x)):
        one = torch.autograd.grad(
            loss(model(x[i : i + 1]), targets[i : i + 1]), parameters.values(), materialize_grads=True
        )
        scale = max(float(each.abs().max()) for each in one)
        for parameter, expected in zip(parameters, one, strict=True):
            if parameter in found.factors:
                assert_same(written(found.factors[parameter])[i, 0], expected.flatten(), scale)
            else:
                assert not expected.any()


def pass_over(model: nn.Module, x: Tensor, **given: object) -> None:
    subject = Subject(model, data=[(x, None)], **given)
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        gradients.of_outputs(x, len(x))


def test_a_parameter_that_is_frozen_or_not_chosen_is_not_measured() -> None:
    model, x, _ = network("mlp")
    model[0].bias.requires_grad_(False)
    subject = Subject(model, data=[(x, None)]).only("0", "4")
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        assert set(gradients.of_outputs(x, 5).factors) == {"0.weight", "4.weight", "4.bias"}


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no trainable parameters"):
        pass_over(nn.Linear(2, 1).requires_grad_(False), torch.ones(3, 2))


def test_outputs_without_a_gradient_are_refused() -> None:
    with pytest.raises(MeasurementError, match="do not depend on any trainable"):
        pass_over(nn.Linear(2, 1), torch.ones(3, 2), forward=lambda model, x: model(x).detach())


def test_random_outputs_are_refused() -> None:
    with pytest.raises(MeasurementError, match="not deterministic"):
        pass_over(nn.Linear(2, 4), torch.ones(3, 2), forward=lambda model, x: functional.dropout(model(x)))


def test_dropout_and_batch_normalisation_are_measured_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1)).train()
    pass_over(model, torch.randn(3, 2))
    assert model.training


@pytest.mark.parametrize(
    ("mixing", "said"),
    [
        (nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4, track_running_stats=False)), "cannot be run alone"),
        (nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (4, 1)), nn.Softmax(0)), "depend on the other samples"),
        (nn.LSTM(2, 4), "depend on the other samples"),
    ],
    ids=["batch statistics", "softmax over samples", "time before samples"],
)
def test_samples_that_depend_on_one_another_are_refused(mixing: nn.Module, said: str) -> None:
    recurrent = isinstance(mixing, nn.LSTM)
    x = torch.randn(3, 5, 2) if recurrent else torch.randn(3, 2)
    with pytest.raises(MeasurementError, match=said):
        pass_over(mixing, x, forward=lambda model, x: model(x)[0] if recurrent else model(x))


def test_several_outputs_are_refused_where_one_is_to_be_measured() -> None:
    with pytest.raises(MeasurementError, match="2 such tensors"):
        pass_over(nn.Linear(2, 2), torch.randn(3, 2), forward=lambda model, x: (model(x), model(x)))


def test_a_model_that_refuses_the_data_is_told() -> None:
    with pytest.raises(MeasurementError, match="the model refuses the inputs"):
        pass_over(nn.Linear(2, 2), torch.randn(3, 7))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_factors_in_single(dtype: torch.dtype) -> None:
    model, x, _ = network("mlp")
    expected = alone(model, (x,))
    subject = Subject(model.to(dtype), data=[(x.to(dtype), None)])
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        found = gradients.of_outputs(x.to(dtype), len(x)).factors
    assert not gradients.written_out
    for name, rows in expected.items():
        made = written(found[name])
        assert made.dtype == torch.float32
        # Every number in it is rounded to 2⁻⁸ of itself at worst (bfloat16), through three layers and back.
        assert (made - rows).norm() <= 6 * 2**-8 * rows.norm()


def test_a_sum_is_no_mean_over_terms() -> None:
    model, x, _ = network("mlp")
    targets = noise(5, 3)
    for loss, fits in (
        (nn.MSELoss(), True),
        (nn.MSELoss(reduction="sum"), False),
        (lambda out, wanted: (out - wanted).square().sum(1).mean(), True),
    ):
        subject = Subject(model, [(x, targets)], loss)
        (batch,) = subject.batches()
        if fits:
            check_mean_over_terms(subject, batch)
        else:
            with pytest.raises(MeasurementError, match="not a mean over its terms"):
                check_mean_over_terms(subject, batch)


def test_terms_that_are_not_samples_are_counted() -> None:
    model, x, _ = network("tied")
    targets = x.clone()
    targets[0, 1:] = -100

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(outputs.flatten(0, 1), wanted.flatten(), ignore_index=-100)

    subject = Subject(model, [(x, targets)], loss)
    (batch,) = subject.batches()
    with pytest.raises(MeasurementError, match="not a mean over its terms"):
        check_mean_over_terms(subject, batch)
    counted = Subject(model, [(x, targets)], loss, count=lambda wanted: (wanted != -100).sum())
    (batch,) = counted.batches()
    check_mean_over_terms(counted, batch)
    with counted.undisturbed(), per_sample_gradients(counted) as gradients:
        found = gradients.of_losses(batch).factors["embed.weight"]
    for i, terms in enumerate((targets != -100).sum(1)):
        one = torch.autograd.grad(loss(model(x[i : i + 1]), targets[i : i + 1]), model.embed.weight)[0]
        assert_same(written(found)[i, 0], terms * one.flatten())
