"""Complex layers against torch's complex numbers; one neuron and XOR; a wave at half the parameters."""

from __future__ import annotations

import itertools

import pytest
import torch
from contract import behaves, overfits
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import ComplexConv2d, ComplexLinear, ComplexMLP, ComplexNeuron


def joined(x: Tensor) -> Tensor:
    """[batch, 2 n, …] to torch's complex numbers, [batch, n, …]."""
    return torch.complex(*x.chunk(2, 1))


def test_layers_compute_with_complex_numbers() -> None:
    """The twin computes in torch's complex dtype."""
    torch.manual_seed(0)
    layer, convolution = ComplexLinear(5, 3).double(), ComplexConv2d(3, 2, 3, stride=2, padding=1).double()
    for each in (layer, convolution):
        nn.init.normal_(each.bias)
    x = torch.randn(4, 10, dtype=torch.float64)
    weight, bias = torch.complex(*layer.weight), torch.complex(*layer.bias.chunk(2))
    # Sums of some tens of products of order 1.
    torch.testing.assert_close(joined(layer(x)), joined(x) @ weight.T + bias, rtol=0, atol=1e-13)
    x = torch.randn(4, 6, 7, 5, dtype=torch.float64)
    weight, bias = torch.complex(*convolution.weight), torch.complex(*convolution.bias.chunk(2))
    expected = functional.conv2d(joined(x), weight, bias, stride=2, padding=1)
    torch.testing.assert_close(joined(convolution(x)), expected, rtol=0, atol=1e-13)
    # A real layer of as many numbers does not compute a product of complex numbers: it has no reason to commute with i.
    real, x = nn.Linear(10, 6, bias=False).double(), torch.randn(4, 10, dtype=torch.float64)
    turned = torch.cat([-x[:, 5:], x[:, :5]], 1)
    assert (joined(real(turned)) - 1j * joined(real(x))).abs().max() > 0.1
    without = ComplexLinear(5, 3, bias=False).double()
    torch.testing.assert_close(joined(without(turned)), 1j * joined(without(x)), rtol=0, atol=1e-13)
    model = ComplexMLP(6, [4, 3], 2).double()
    x = torch.randn(4, 2, 2, 3, dtype=torch.float64)
    h = joined(x.flatten(1))
    for hidden in (model.layers.hidden1, model.layers.hidden2):
        z = h @ torch.complex(*hidden.weight).T
        h = torch.complex(z.real.clamp_min(0), z.imag.clamp_min(0))
    torch.testing.assert_close(model(x), model.layers.output(torch.cat([h.real, h.imag], 1)), rtol=0, atol=1e-13)


CORNERS = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
XOR = torch.tensor([-1.0, 1.0, 1.0, -1.0])


def propagated(fields: Tensor) -> Tensor:
    """Let waves, [n, points] complex, run on by the free-space equation: each of their frequencies turns its phase."""
    frequency = torch.fft.fftfreq(fields.shape[1], dtype=torch.float64) * fields.shape[1]
    return torch.fft.ifft(torch.fft.fft(fields) * torch.exp(-0.3j * frequency**2))


@pytest.mark.demonstrates("complex-nn")
def test_one_neuron_computes_xor_and_a_wave_needs_half_the_parameters() -> None:
    neuron = ComplexNeuron()
    with torch.no_grad():
        # z = −i x₁ + x₂ lies in the first or third quadrant where the inputs differ.
        neuron.linear.weight.copy_(torch.tensor([[[0.0, 1.0]], [[-1.0, 0.0]]]))
        neuron.linear.bias.zero_()
        torch.testing.assert_close(neuron(CORNERS)[:, 0], XOR)
    # It is also found, by gradient descent from random weights.
    for seed in range(5):
        torch.manual_seed(seed)
        neuron = ComplexNeuron()
        optimizer = torch.optim.Adam(neuron.parameters(), lr=0.2)
        for _ in range(60):
            optimizer.zero_grad()
            (neuron(CORNERS)[:, 0] - XOR).square().mean().backward()
            optimizer.step()
        assert torch.equal(neuron(CORNERS)[:, 0].sign(), XOR)
    # With real weights and a monotone activation it cannot be: both pairs of corners have the same centre, so that the
    # sums w·x + b over each are equal; those of the one would have to be larger than those of the other.
    torch.manual_seed(0)
    sums = CORNERS @ torch.randn(2, 1000) + torch.randn(1000)
    assert ((sums[XOR > 0].amin(0) - sums[XOR < 0].amax(0)) <= 0).all()
    # A wave at 8 points moves on by a linear map of complex numbers, which a complex layer of 128 real parameters is.
    # Real networks of one hidden layer with as many have 4 hidden units, whatever the activation: what they return lies
    # in a space of 4 dimensions, and misses what the 12 smallest principal components of the answer hold.
    torch.manual_seed(0)
    fields = torch.randn(400, 8, dtype=torch.complex128)
    answers = propagated(fields)
    x, y = (torch.cat([each.real, each.imag], 1) for each in (fields, answers))
    layer = ComplexLinear(8, 8, bias=False).double()
    network = nn.Sequential(nn.Linear(16, 4, bias=False), nn.ReLU(), nn.Linear(4, 16, bias=False)).double()
    errors = {}
    for name, model in (("complex", layer), ("real", network)):
        assert sum(each.numel() for each in model.parameters()) == 128
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

        def closure(model: nn.Module = model, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        with torch.no_grad():
            errors[name] = float((model(x) - y).square().sum() / y.square().sum())
    shares = torch.linalg.svdvals(y).square() / y.square().sum()
    bound = float(shares[4:].sum())
    assert bound > 0.6
    assert errors["real"] >= bound
    assert errors["complex"] < 1e-6 * bound


def test_it_computes_every_boolean_function_of_two_inputs() -> None:
    torch.manual_seed(0)
    found = set()
    for _ in range(2000):
        neuron = ComplexNeuron()
        with torch.no_grad():
            nn.init.normal_(neuron.linear.bias)
            found.add(tuple(neuron(CORNERS)[:, 0].sign().int().tolist()))
    assert found == set(itertools.product((-1, 1), repeat=4))


@pytest.mark.parametrize("sectors", [2, 4, 6])
def test_the_sign_alternates_between_sectors(sectors: int) -> None:
    neuron = ComplexNeuron(1, sectors=sectors).double()
    with torch.no_grad():
        for step in range(8 * sectors):
            phase = torch.tensor(2 * torch.pi * (step + 0.5) / (8 * sectors), dtype=torch.float64)
            neuron.linear.weight.copy_(torch.stack([phase.cos(), phase.sin()]).view(2, 1, 1))
            answer = neuron(torch.ones(1, 1, dtype=torch.float64)).sign().item()
            assert answer == (-1) ** (step // 8)


def test_the_gradient_is_finite_where_the_phase_is_not_defined() -> None:
    neuron = ComplexNeuron()
    nn.init.zeros_(neuron.linear.weight)
    neuron(CORNERS).sum().backward()
    assert neuron.linear.weight.grad.isfinite().all()


def test_weights_begin_with_the_published_magnitudes() -> None:
    torch.manual_seed(0)
    for layer, fans in ((ComplexLinear(60, 40), 100), (ComplexConv2d(10, 20, 3), 9 * 30)):
        squared = layer.weight.square().sum(0)
        # Rayleigh's square is exponential: of n draws its mean is off by a share of 1 / √n; 1,800 at least, four times.
        assert squared.mean().item() == pytest.approx(2 / fans, rel=4 / 1800**0.5)
        assert not layer.bias.any()


def test_overfit() -> None:
    torch.manual_seed(0)
    model = ComplexMLP(4, [8], 4)
    overfits(model, torch.randn(16, 2, 4), torch.arange(16) % 4, functional.cross_entropy, steps=200)


def test_it_behaves() -> None:
    torch.manual_seed(0)
    behaves(ComplexMLP(4, [3, 2], 4), ComplexMLP(4, [3, 2], 4), torch.randn(3, 2, 2, 2))
    behaves(ComplexNeuron(), ComplexNeuron(), torch.randn(3, 2))
    wrapped = [nn.Sequential(ComplexConv2d(1, 2, 3), nn.Flatten()) for _ in range(2)]
    behaves(*wrapped, torch.randn(3, 2, 5, 5))


def test_parameters_follow_the_formula() -> None:
    expected = 2 * 8 * (16 + 1) + 2 * 5 * (8 + 1) + 10 * (2 * 5 + 1)
    assert sum(each.numel() for each in ComplexMLP(16, [8, 5], 10).parameters()) == expected


def test_wrong_arguments_are_refused() -> None:
    for shape in ((2, 2, 3), (2, 3, 4), (2, 8), (2, 4)):
        with pytest.raises(UsageError, match=r"ComplexMLP\nGive \[batch, 2, …\] .* with 4 of each part"):
            ComplexMLP(4, [2], 3)(torch.zeros(shape))
    with pytest.raises(UsageError, match="int64"):
        ComplexMLP(4, [2], 3)(torch.zeros(2, 2, 4, dtype=torch.int64))
    with pytest.raises(UsageError, match="no hidden layer"):
        ComplexMLP(4, [], 3)
    for wrong in ((0, [2], 3), (4, [0], 3), (4, [2], 0)):
        with pytest.raises(UsageError, match="is 0"):
            ComplexMLP(*wrong)
    with pytest.raises(UsageError, match=r"ComplexLinear\nGive \[..., 6\]"):
        ComplexLinear(3, 2)(torch.zeros(2, 5))
    with pytest.raises(UsageError, match=r"\[batch, 6, height, width\] .* both at least 3"):
        ComplexConv2d(3, 2, 3)(torch.zeros(2, 6, 2, 3))
    for sizes in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(UsageError, match="is 0"):
            ComplexConv2d(*sizes)
    with pytest.raises(UsageError, match="stride is 0"):
        ComplexConv2d(1, 1, 1, stride=0)
    with pytest.raises(UsageError, match="padding is -1"):
        ComplexConv2d(1, 1, 3, padding=-1)
    with pytest.raises(UsageError, match=r"ComplexNeuron\nGive \[batch, 2\]"):
        ComplexNeuron()(torch.zeros(3, 3))
    for sectors in (0, 3):
        with pytest.raises(UsageError, match=f"sectors is {sectors}"):
            ComplexNeuron(sectors=sectors)
