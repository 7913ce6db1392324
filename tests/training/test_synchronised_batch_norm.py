"""Synchronised batch normalisation: parts of a batch as the whole, and what parts by themselves get wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from deepscope.core import UsageError
from deepscope.training import SynchronisedBatchNorm

SHARDED = Path(__file__).with_name("sharded.py")


def with_scale(layer: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer.double()


def in_processes(folder: Path, parts: list[torch.Tensor], directions: list[torch.Tensor], layer: nn.Module) -> list:
    torch.save({"parts": parts, "directions": directions, "state": layer.state_dict()}, folder / "given.pt")
    done = subprocess.run(
        [sys.executable, str(SHARDED), str(folder), str(len(parts))],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"found{rank}.pt") for rank in range(len(parts))]


@pytest.mark.demonstrates("sync-bn")
def test_parts_of_a_batch_are_normalised_as_the_whole_batch(tmp_path: Path) -> None:
    """Outputs, gradients and running estimates in three processes, with parts of 2, 5 and 9 samples, are one's to 1e-6.

    Parts by themselves take variances that are too small by 1/n of themselves on average.
    """
    torch.manual_seed(0)
    x = torch.randn(16, 4, 3, dtype=torch.float64) * 2 + 5
    direction = torch.randn(16, 4, 3, dtype=torch.float64)
    whole = with_scale(nn.BatchNorm1d(4))
    sizes = [2, 5, 9]
    found = in_processes(tmp_path, list(x.split(sizes)), list(direction.split(sizes)), whole)
    whole_x = x.clone().requires_grad_()
    y = whole(whole_x)
    (y * direction).sum().backward()
    # Far within the row's 1e-6: sums of 48 terms of order ten.
    exact = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(torch.cat([each["y"] for each in found]), y.detach(), **exact)
    torch.testing.assert_close(torch.cat([each["x"] for each in found]), whole_x.grad, **exact)
    for name, expected in (("weight", whole.weight.grad), ("bias", whole.bias.grad)):
        torch.testing.assert_close(sum(each[name] for each in found), expected, **exact)
    for each in found:
        torch.testing.assert_close(each["state"], dict(whole.state_dict()), **exact)

    alone = torch.cat([with_scale(nn.BatchNorm1d(4))(part) for part in x.split(sizes)])
    assert (alone - y).abs().amax() > 0.1

    # Many parts side by side, as channels; v without bias is what a momentum of 1 keeps.
    n = 20_000
    for size in (4, 16, 64):
        layer = nn.BatchNorm1d(n, momentum=1.0).double()
        layer(torch.randn(size, n, dtype=torch.float64))
        variances = layer.running_var * (size - 1) / size
        # Five standard deviations of the mean of n variances of parts, each √(2 (size − 1))/size of itself.
        assert abs(1 - variances.mean().item() - 1 / size) < 5 * (2 / size / n) ** 0.5


def test_running_estimates_and_evaluation_are_torchs() -> None:
    ours, twin = with_scale(SynchronisedBatchNorm(4, momentum=0.3)), with_scale(nn.BatchNorm2d(4, momentum=0.3))
    ours.load_state_dict(twin.state_dict())
    generator = torch.Generator().manual_seed(0)
    for step in range(4):
        x = torch.randn(step + 2, 4, 3, 2, generator=generator, dtype=torch.float64) * 3 + 100
        torch.testing.assert_close(ours(x), twin(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(dict(ours.state_dict()), dict(twin.state_dict()), rtol=1e-13, atol=0)
    torch.testing.assert_close(ours.eval()(x), twin.eval()(x), rtol=0, atol=1e-12)
    # Evaluation moves no estimate.
    torch.testing.assert_close(dict(ours.state_dict()), dict(twin.state_dict()), rtol=1e-13, atol=0)


def test_in_float32_a_large_mean_loses_no_digits() -> None:
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shifted = (x + 1000).float()
    expected = nn.BatchNorm1d(3).double()(shifted.double())
    # The input is rounded to 6e-5; its mean as well, and the difference is of order 1.
    assert (SynchronisedBatchNorm(3)(shifted).double() - expected).abs().amax() < 5e-4
    naive = shifted.square().mean(0) - shifted.mean(0).square()
    assert (naive.double() / shifted.double().var(0, correction=0) - 1).abs().amax() > 5e-4


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_inputs_of_16_bits_are_normalised_as_torch_does(dtype: torch.dtype, whole: bool) -> None:
    """Of a network in 16 bits as a whole, and of one whose layers alone are, as under autocast."""
    x = (torch.rand(80, 2, 30, 30, generator=torch.Generator().manual_seed(0)) + 3).to(dtype)
    ours, twin = SynchronisedBatchNorm(2), nn.BatchNorm2d(2)
    if whole:
        ours, twin = ours.to(dtype), twin.to(dtype)
    # 72,000 values for each channel, more than float16 can count; results of order 2 are rounded once or twice.
    for _ in range(2):
        found, expected = ours(x), twin(x)
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected, rtol=0, atol=4 * torch.finfo(dtype).eps)
    tolerance = 2 * torch.finfo(dtype).eps if whole else 1e-5
    torch.testing.assert_close(ours.running_mean, twin.running_mean, rtol=tolerance, atol=0)
    torch.testing.assert_close(ours.running_var, twin.running_var, rtol=tolerance, atol=0)
    torch.testing.assert_close(ours.eval()(x), twin.eval()(x), rtol=0, atol=8 * torch.finfo(dtype).eps * 4)


def test_nan_is_not_hidden() -> None:
    x = torch.randn(4, 3)
    x[1, 0] = torch.nan
    y = SynchronisedBatchNorm(3)(x)
    assert y[:, 0].isnan().all()
    assert y[:, 1:].isfinite().all()


def test_bad_input_is_named() -> None:
    for wrong in ({"num_features": 0}, {"eps": 0.0}, {"momentum": 1.5}, {"momentum": -0.1}):
        (name, value) = next(iter(wrong.items()))
        with pytest.raises(UsageError, match=f"{name} is {value}"):
            SynchronisedBatchNorm(**{"num_features": 3, **wrong})
    layer = SynchronisedBatchNorm(3)
    for x in (torch.zeros(3), torch.zeros(4, 2), torch.zeros(4, 3, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"Give \[batch, 3, …\]"):
            layer(x)
    with pytest.raises(UsageError, match=r"\[1, 3\]: 1 value for each channel"):
        layer(torch.zeros(1, 3))
    assert torch.equal(layer.running_var, torch.ones(3))
    assert layer.eval()(torch.zeros(1, 3)).shape == (1, 3)
