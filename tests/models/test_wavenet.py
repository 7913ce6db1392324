"""WaveNet: causality, the receptive field to the step, and generation by cached states."""

from __future__ import annotations

import pytest
import torch
from contract import overfits
from recurrences import reads_step_by_step, refuses_what_does_not_fit, scans_in_sight, sees_no_later_step
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import DilatedStack, GatedConvolution, WaveNet

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and there is none")


def small(**arguments: object) -> WaveNet:
    settings = {"channels": 6, "skip_channels": 8, "dilations": (1, 2, 4, 1, 2, 4)}
    return WaveNet(**{"classes": 5, **settings, **arguments})


def drawn(*shape: int, classes: int = 5) -> Tensor:
    return torch.randint(classes, shape)


def seen_by_the_last(model: nn.Module, steps: int) -> list[int]:
    """Return how far back the last output's gradient is not 0."""
    x = torch.randn(1, steps, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x)[0, -1].square().sum(), x)
    return [steps - 1 - step for step in gradient[0].abs().sum(1).nonzero().flatten().tolist()]


@pytest.mark.parametrize("kernel_size", [2, 3])
@pytest.mark.parametrize("dilations", [(1,), (1, 2, 4, 8), (1, 2, 4, 1, 2, 4)])
def test_an_output_sees_its_receptive_field_and_nothing_else(kernel_size: int, dilations: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    stack = DilatedStack(3, channels=4, skip_channels=2, kernel_size=kernel_size, dilations=dilations).double()
    field = 1 + (kernel_size - 1) * (1 + sum(dilations))
    assert stack.receptive_field == field
    # Dilations that double leave no gap: all of it is seen, and nothing beyond.
    assert seen_by_the_last(stack, field + 5) == list(reversed(range(field)))
    # Nothing of what comes later: what is drawn for the end leaves all before it as it was, bit for bit.
    x = torch.randn(2, 20, 3, dtype=torch.float64)
    changed = x.clone()
    changed[:, 12:] = torch.randn(2, 8, 3, dtype=torch.float64)
    assert torch.equal(stack(x)[:, :12], stack(changed)[:, :12])
    # A convolution that is centred, as torch's "same" padding makes it, is caught.
    centred = nn.Conv1d(3, 2, 3, padding="same").double()
    y = [centred(each.transpose(1, 2))[..., :12] for each in (x, changed)]
    assert not torch.equal(*y)


def test_reference_receptive_field() -> None:
    with torch.device("meta"):
        model = WaveNet()
    # Three rounds of 1 + 2 + … + 512 = 1023, the first convolution, and the step itself.
    assert model.receptive_field == 3 * 1023 + 1 + 1
    c, s, k, v, layers = 32, 256, 2, 256, 30
    expected = k * v * c + c + layers * (2 * c * (k * c + 1) + (s + c) * (c + 1)) - c * (c + 1)
    expected += s * (s + 1) + v * (s + 1)
    assert sum(each.numel() for each in model.parameters()) == expected == 556_864


def test_it_computes_its_formula() -> None:
    """The twin reads one step after another, with each convolution as a sum over its taps."""
    torch.manual_seed(0)
    model = small(kernel_size=3, dilations=(1, 3)).double()
    x = drawn(2, 9)
    w = dict(model.named_parameters())

    def causal(h: list[Tensor], name: str, t: int, dilation: int) -> Tensor:
        weight = w[f"stack.{name}.weight"]
        taps = [t - (weight.shape[2] - 1 - tap) * dilation for tap in range(weight.shape[2])]
        total = sum(h[step] @ weight[:, :, tap].T for tap, step in enumerate(taps) if step >= 0)
        return total + w[f"stack.{name}.bias"]

    h = [functional.one_hot(x[:, t], 5).double() for t in range(9)]
    h = [causal(h, "convolution", t, 1) for t in range(9)]
    skips = [torch.zeros(2, 8, dtype=torch.float64) for _ in range(9)]
    for layer, dilation in (("layers.layer1", 1), ("layers.layer2", 3)):
        both = [causal(h, f"{layer}.convolution", t, dilation) for t in range(9)]
        z = [each[:, :6].tanh() * each[:, 6:].sigmoid() for each in both]
        skips = [skips[t] + causal(z, f"{layer}.skip", t, 1) for t in range(9)]
        if layer == "layers.layer1":
            h = [h[t] + causal(z, f"{layer}.residual", t, 1) for t in range(9)]
    logits = []
    for skip in skips:
        a = skip.clamp_min(0) @ w["head.linear1.weight"].T + w["head.linear1.bias"]
        logits.append(a.clamp_min(0) @ w["head.output.weight"].T + w["head.output.bias"])
    torch.testing.assert_close(model(x), torch.stack(logits, 1), rtol=1e-10, atol=1e-12)


def test_steps_and_halves_compute_what_one_pass_does() -> None:
    torch.manual_seed(0)
    model = small().double()
    x = drawn(3, 25)
    whole, end = model.scan(x)
    first, state = model.scan(x[:, :11])
    second, last = model.scan(x[:, 11:], state)
    # The same products, which a convolution of another length may sum in another order.
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(torch.cat([first, second], 1), whole, **close)
    for a, b in zip(last, end, strict=True):
        torch.testing.assert_close(a, b, **close)
    state, outputs = model.stack.initial_state(3), []
    hot = functional.one_hot(x, 5).double()
    for t in range(25):
        output, state = model.stack.step(hot[:, t], state)
        outputs.append(model.head(output))
    torch.testing.assert_close(torch.stack(outputs, 1), whole, **close)
    # The state is what it is said to be: no longer than the receptive field.
    assert sum(each.shape[2] for each in end) == model.receptive_field - 1


def test_the_stack_is_a_recurrence() -> None:
    torch.manual_seed(0)
    stack = DilatedStack(3, channels=4, skip_channels=2, kernel_size=3, dilations=(1, 2, 4))
    reads_step_by_step(stack, steps=25)
    scans_in_sight(stack)
    assert sees_no_later_step(stack)
    refuses_what_does_not_fit(stack)


def test_generation_draws_from_the_logits_of_the_full_pass() -> None:
    torch.manual_seed(0)
    model = small().double()
    with torch.no_grad():
        model.head.output.weight.mul_(20)
    x = drawn(4, 3)
    y = model.generate(x, 12, generator=torch.Generator().manual_seed(1))
    assert y.shape == (4, 12)
    generator, given = torch.Generator().manual_seed(1), x
    for _ in range(12):
        probabilities = model(given)[:, -1].softmax(1)
        given = torch.cat([given, torch.multinomial(probabilities, 1, generator=generator)], 1)
    assert torch.equal(given[:, 3:], y)
    assert not torch.equal(y, model.generate(x, 12, generator=torch.Generator().manual_seed(2)))
    with pytest.raises(UsageError, match="steps is 0"):
        model.generate(x, 0)


def test_overfit() -> None:
    torch.manual_seed(0)
    model, x = small(dilations=(1, 2, 4), channels=16, skip_channels=32), drawn(16, 9)
    # What cannot be known is left out: the first integers.
    inputs, targets = x[:, :-1], x[:, 1:]

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(logits[:, 4:].flatten(0, 1), wanted[:, 4:].flatten())

    overfits(model, inputs, targets, loss, steps=250)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_CUDA)])
def test_state_dtype_and_device(device: str) -> None:
    torch.manual_seed(0)
    model, other, x = small().to(device), small().to(device), drawn(2, 9).to(device)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))
    assert model(x).device.type == device
    exact = model.double()(x)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(other(x).double(), exact, rtol=1e-4, atol=1e-5)
    assert torch.equal(model(x.int()), exact)
    assert model(x[:, :1]).shape == (2, 1, 5)


def test_nan_comes_out_as_nan_from_then_on() -> None:
    torch.manual_seed(0)
    stack = DilatedStack(3, channels=4, skip_channels=2, dilations=(1, 2))
    x = torch.randn(2, 12, 3)
    x[0, 5, 1] = torch.nan
    spoilt = stack(x).isnan().any(2)
    # Its receptive field is 5 steps.
    assert spoilt[0].tolist() == [5 <= step < 10 for step in range(12)]
    assert not spoilt[1].any()


def test_wrong_arguments_are_refused() -> None:
    model = small()
    for wrong in (drawn(2, 0), drawn(3), drawn(2, 3, 4), torch.zeros(2, 3)):
        with pytest.raises(UsageError, match=r"WaveNet\nGive \[batch, time\] of int64 or int32 from 0 to 4"):
            model(wrong)
    for wrong in (torch.tensor([[0, 5]]), torch.tensor([[-1, 0]])):
        with pytest.raises(UsageError, match="tokens run from"):
            model(wrong)
    for state in (small(channels=7), small(dilations=(1, 2)), small(dilations=(1, 2, 4, 1, 2, 8))):
        with pytest.raises(UsageError, match="the state's shapes are"):
            model(drawn(2, 3), state.stack.initial_state(2))
    with pytest.raises(UsageError, match="the state's shapes are"):
        model(drawn(2, 3), model.stack.initial_state(3))
    with pytest.raises(UsageError, match="there are no dilations"):
        small(dilations=())
    for name in ("classes", "channels", "skip_channels", "kernel_size"):
        with pytest.raises(UsageError, match=f"{name} is 0"):
            small(**{name: 0})
    with pytest.raises(UsageError, match="dilation is 0"):
        small(dilations=(1, 0))
    with pytest.raises(UsageError, match="skip_channels is 0"):
        GatedConvolution(1, 0)
    with pytest.raises(UsageError, match="the past has 1 steps"):
        GatedConvolution(2, 3, dilation=4)(torch.zeros(1, 2, 9), torch.zeros(1, 2, 1))
