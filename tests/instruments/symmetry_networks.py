"""Networks that have a symmetry, or lack it, by construction."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.instruments import LayerPlace, Transformation
from deepscope.subject import Subject, seeded_generators


class Lift(nn.Module):
    """Convolution of a picture with each filter in four directions: [n, c, h, w] → [n, c′, 4, h, w]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([functional.conv2d(x, self.weight.rot90(r, (2, 3)), padding=1) for r in range(4)], dim=2)


class GroupConvolution(nn.Module):
    """Convolution over positions and directions of Cohen and Welling's group p4."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 4, 3, 3))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        made = []
        for r in range(4):
            # z[r] = Σ_s y[s] ∗ turn_r(w[s − r]).
            weight = self.weight.roll(r, 2).rot90(r, (3, 4)).flatten(1, 2)
            made.append(functional.conv2d(x.flatten(1, 2), weight, padding=1))
        return torch.stack(made, dim=2)


class MeanOver(nn.Module):
    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=self.dims)


def p4_network() -> nn.Module:
    return nn.Sequential(
        Lift(1, 4), nn.ReLU(), GroupConvolution(4, 6), nn.ReLU(), MeanOver(2, 3, 4), nn.Linear(6, 3)
    )  # fmt: skip


def ordinary_network() -> nn.Module:
    first, second = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 6, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), MeanOver(2, 3), nn.Linear(6, 3))


def turned(quarters: int) -> Transformation:
    """A turn of the picture: a map with directions turns in its plane, and its directions move on by one."""

    def on_layer(output: Tensor, place: LayerPlace) -> Tensor | None:
        if output.ndim == 5:
            return output.rot90(quarters, (3, 4)).roll(quarters, 2)
        return output.rot90(quarters, (2, 3)) if output.ndim == 4 else None

    return Transformation(f"turned by {90 * quarters}°", lambda x: x.rot90(quarters, (2, 3)), on_layer=on_layer)


class MaskedSet(nn.Module):
    """A sum over the elements of a set, of which padding is none; padded places hold rubbish."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.all = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.all((torch.relu(self.each(x)) * mask[..., None]).sum(dim=1))


class Positioned(nn.Module):
    """A transformer's encoder with positions to learn, or without."""

    def __init__(self, length: int, *, positions: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 16)
        self.positions = nn.Parameter(torch.randn(length, 16)) if positions else None
        self.block = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0.0)
        self.out = nn.Linear(16, 11)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        x = x if self.positions is None else x + self.positions
        return self.out(self.block(x))


def seeded(make: type[nn.Module] | object, *args: object, **kwargs: object) -> nn.Module:
    with seeded_generators(0):
        return make(*args, **kwargs)  # type: ignore[operator]


def subject_of(make: object, x: Tensor, *args: object, **kwargs: object) -> Subject:
    model = seeded(make, *args, **kwargs).to(x.dtype if x.is_floating_point() else torch.float32)
    return Subject(model, [(x[: len(x) // 2], None), (x[len(x) // 2 :], None)])


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
