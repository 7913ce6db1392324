"""Autoencoders: the linear one is principal component analysis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from contract import behaves, overfits
from sklearn.datasets import load_digits, make_swiss_roll
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models import Autoencoder, Objective, reconstruction_error
from deepscope.training import fit


def anisotropic(n: int, variances: list[float]) -> Tensor:
    """Return n Gaussian samples off the origin, float64, whose principal axes are not the coordinates'."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(len(variances), len(variances), generator=generator).double()).Q
    noise = torch.randn(n, len(variances), generator=generator).double()
    return noise * torch.tensor(variances).double().sqrt() @ axes.T + 1


def minimised(model: nn.Module, x: Tensor) -> float:
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=500, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = reconstruction_error(model, x)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(reconstruction_error(model, x).detach())


def trained(x: Tensor, code: int, width: int, seed: int) -> Autoencoder:
    torch.manual_seed(seed)
    model = Autoencoder(x.shape[1], (width,), code, activation="tanh", output_activation="identity")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        reconstruction_error(model, x).backward()
        optimizer.step()
    return model


def curved() -> Iterator[tuple[Tensor, Tensor, int, int, float]]:
    """Give samples to train on and to test on, the code's size, the hidden width, and the share of PCA's error."""
    generator = torch.Generator().manual_seed(0)
    roll = torch.tensor(make_swiss_roll(1000, random_state=0)[0], dtype=torch.float32)
    roll = (roll - roll.mean(0)) / roll.std(0)
    yield roll[:500], roll[500:], 2, 32, 0.7
    digits = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    digits = digits[torch.randperm(len(digits), generator=generator)]
    yield digits[:900], digits[900:], 8, 64, 0.95


@pytest.mark.demonstrates("autoencoder")
def test_a_linear_one_is_pca_and_a_deep_one_beats_it_on_curved_surfaces() -> None:
    """On samples that were held out, with each of three seeds, at the same size of the code."""
    for x, held_out, code, width, share in curved():
        mean, axes = x.mean(0), torch.linalg.eigh(torch.cov(x.T)).eigenvectors[:, -code:]
        centred = held_out - mean
        linear = (centred - centred @ axes @ axes.T).square().sum(1).mean()
        with torch.no_grad():
            linear_one = Autoencoder(x.shape[1], (), code, output_activation="identity")
            linear_one.encoder.output.weight.copy_(axes.T)
            linear_one.encoder.output.bias.copy_(-axes.T @ mean)
            linear_one.decoder.output.weight.copy_(axes)
            linear_one.decoder.output.bias.copy_(mean)
            torch.testing.assert_close(reconstruction_error(linear_one, held_out), linear)
        for seed in range(3):
            model = trained(x, code, width, seed)
            with torch.no_grad():
                assert reconstruction_error(model, held_out) < share * linear
    linear_reaches_the_optimum(2)


def linear_reaches_the_optimum(code: int) -> None:
    """Train from random weights to the least error there is, the sum of the eigenvalues that are left out."""
    x = anisotropic(64, [4, 2, 1, 0.5, 0.25])
    torch.manual_seed(0)
    model = Autoencoder(5, (), code, output_activation="identity").double()
    eigenvalues, eigenvectors = torch.linalg.eigh(torch.cov(x.T, correction=0))
    dropped = float(eigenvalues[: 5 - code].sum())
    # The gradient is at most 1e-10 and the loss quadratic in it near the minimum; eigenvalues are of order 1.
    assert abs(minimised(model, x) - dropped) < 1e-8
    # The map x → x̂ is the projection on the leading axes. Its error is the square root of that of the loss.
    projection = eigenvectors[:, 5 - code :] @ eigenvectors[:, 5 - code :].T
    found = model.decoder.output.weight @ model.encoder.output.weight
    torch.testing.assert_close(found, projection, rtol=0, atol=1e-4)
    # Planted: the axes that follow the first are a stationary point, and no minimum.
    with torch.no_grad():
        model.encoder.output.weight.copy_(eigenvectors[:, 4 - code : 4].T)
        model.decoder.output.weight.copy_(eigenvectors[:, 4 - code : 4])
        model.decoder.output.bias.copy_(x.mean(0) - model.decoder.output.weight @ model.encoder(x.mean(0)[None])[0])
    assert float(reconstruction_error(model, x).detach()) > dropped + 0.1


@pytest.mark.parametrize("code", [1, 4])
def test_a_linear_one_reaches_the_optimum_of_principal_components(code: int) -> None:
    linear_reaches_the_optimum(code)


def test_its_error_is_the_sum_over_values_in_the_mean_over_samples() -> None:
    x = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(0))
    model = Autoencoder(4, (3,), 2)
    naive = sum((a - b) ** 2 for a, b in zip(model(x).flatten().tolist(), x.flatten().tolist(), strict=True)) / 3
    assert reconstruction_error(model, x).item() == pytest.approx(naive, rel=1e-5)


def test_it_computes_its_formula() -> None:
    torch.manual_seed(0)
    model = Autoencoder(6, (5, 4), 2, activation="tanh", code_activation="sigmoid").double()
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    w = dict(model.named_parameters())

    def layer(of: str, h: Tensor) -> Tensor:
        return h @ w[f"{of}.weight"].T + w[f"{of}.bias"]

    h = layer("encoder.hidden2", layer("encoder.hidden1", x.flatten(1)).tanh()).tanh()
    code = layer("encoder.output", h).sigmoid()
    torch.testing.assert_close(model.encode(x), code, rtol=0, atol=1e-14)
    h = layer("decoder.hidden2", layer("decoder.hidden1", code).tanh()).tanh()
    torch.testing.assert_close(model(x), layer("decoder.output", h).sigmoid(), rtol=0, atol=1e-14)
    assert [each.out_features for each in model.modules() if isinstance(each, nn.Linear)] == [5, 4, 2, 4, 5, 6]


def test_it_overfits_sixteen_samples() -> None:
    torch.manual_seed(0)
    model = Autoencoder(8, (32,), 8, activation="tanh")
    x = torch.rand(16, 8, generator=torch.Generator().manual_seed(0))
    overfits(Objective(model, reconstruction_error), x, x, Objective.value, steps=1000, below=1e-2)


def test_fit_trains_it() -> None:
    torch.manual_seed(0)
    model = Autoencoder(4, (), 4, output_activation="identity")
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    objective = Objective(model, reconstruction_error)
    history = fit(objective, lambda epoch: [(x, x)], Objective.value, optimizer=optimizer, epochs=300)
    assert history.loss[0] > 1
    assert history.loss[-1] < 1e-2
    assert [id(each) for each in objective.parameters()] == [id(each) for each in model.parameters()]


def test_it_behaves() -> None:
    models = [Autoencoder(6, (5,), 2) for _ in range(2)]
    behaves(*models, torch.randn(4, 6, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("given", [{"in_features": 0}, {"code": 0}, {"hidden": (3, 0)}, {"code": 2.5}])
def test_sizes_below_one_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(given))):
        Autoencoder(**given)


def test_bad_input_is_refused() -> None:
    model = Autoencoder(6, (5,), 2)
    for x in (torch.zeros(3, 5), torch.zeros(6), torch.zeros(3, 6, dtype=torch.int64)):
        with pytest.raises(UsageError, match="6"):
            model(x)
    with pytest.raises(UsageError, match="2"):
        model.decode(torch.zeros(3, 6))
    with pytest.raises(UsageError, match="x is"):
        reconstruction_error(model, torch.zeros(0, 6))
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict(Autoencoder(6, (5,), 3).state_dict())
