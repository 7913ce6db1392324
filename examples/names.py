"""Climb makemore's ladder on names: a bigram table, a perceptron, one with batch normalisation, a WaveNet.

Run it from the repository: ``python examples/names.py``. Every model sees the letters before the next one and is
trained on 90 % of the names in the same way; the bigram's table is counted, each pair once more than it occurs. The
loss is in nats per letter, on the rest of the names, mean over seeds. Each step of the ladder is given with its
standard error over seeds and over the letters of the test part, which are the same for all. It prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope import data
from deepscope.models import WaveNet
from deepscope.training import cosine, fit

CONTEXT, LETTERS = 8, 27
BATCH_SIZE, RATE = 256, 3e-3


class Bigram(nn.Module):
    """A table of what follows the last letter: [batch, context] to logits [batch, letters]."""

    def __init__(self, samples: data.Samples) -> None:
        super().__init__()
        counts = torch.ones(LETTERS, LETTERS)
        counts.index_put_((samples.inputs[:, -1], samples.targets), torch.ones(len(samples)), accumulate=True)
        self.logits = nn.Embedding.from_pretrained(counts.log())

    def forward(self, letters: Tensor) -> Tensor:
        """Return the logits of the next letter."""
        return self.logits(letters[:, -1])


class LastLogits(nn.Module):
    """A WaveNet's logits after the last letter alone."""

    def __init__(self) -> None:
        super().__init__()
        # Dilations of 1, 2 and 4 behind the first convolution see nine letters.
        self.model = WaveNet(LETTERS, channels=64, skip_channels=128, dilations=(1, 2, 4))

    def forward(self, letters: Tensor) -> Tensor:
        """Return the logits of the next letter."""
        return self.model(letters)[:, -1]


class Perceptron(nn.Sequential):
    """Embedding, one hidden layer of 200 tanh units, logits: of the last three letters, as in makemore."""

    def __init__(self, *, normalised: bool) -> None:
        hidden = nn.Linear(3 * 10, 200, bias=not normalised)
        normalisation = [nn.BatchNorm1d(200)] if normalised else []
        layers = [nn.Embedding(LETTERS, 10), nn.Flatten(), hidden, *normalisation, nn.Tanh(), nn.Linear(200, LETTERS)]
        super().__init__(*layers)

    def forward(self, letters: Tensor) -> Tensor:
        """Return the logits of the next letter."""
        return super().forward(letters[:, -3:])


def contexts(samples: data.Samples) -> data.Samples:
    """Return every letter of every name as a target, with the letters before it, ``.`` where there are none."""
    padded = functional.pad(samples.inputs, (CONTEXT - 1, 0))
    windows = padded.unfold(1, CONTEXT, 1)
    kept = samples.targets != data.IGNORED
    return data.Samples(windows[kept], samples.targets[kept])


def losses(model: nn.Module, samples: data.Samples) -> Tensor:
    """Return the loss of each letter, in nats."""
    model.eval()
    with torch.no_grad():
        each = [functional.cross_entropy(model(x), y, reduction="none") for x, y in samples.batches(4096)]
    return torch.cat(each)


def ladder(train: data.Samples) -> dict[str, Callable[[], nn.Module]]:
    """Return how each rung is built, the lowest first."""
    return {
        "bigram": lambda: Bigram(train),
        "MLP": lambda: Perceptron(normalised=False),
        "MLP with batch norm": lambda: Perceptron(normalised=True),
        "WaveNet": LastLogits,
    }


def trained(build: Callable[[], nn.Module], train: data.Samples, epochs: int, seed: int) -> nn.Module:
    """Return a model after its training; a table has none."""
    torch.manual_seed(seed)
    model = build()
    batches = train.epochs(BATCH_SIZE, seed=seed)
    steps = epochs * len(batches(0))
    parameters = [each for each in model.parameters() if each.requires_grad]
    if parameters:
        fit(
            model,
            batches,
            functional.cross_entropy,
            optimizer=torch.optim.AdamW(parameters, lr=RATE),
            epochs=epochs,
            schedule=cosine(steps, warmup=steps // 20),
            seed=seed,
        )
    return model


def gained(below: Tensor, each: Tensor) -> dict[str, float]:
    """Return by how much losses [seeds, letters] fell, and the standard error of that, over letters and over seeds."""
    gain = below - each
    over_letters = gain.mean(0).var() / gain.shape[1]
    over_seeds = gain.mean(1).var() / len(gain) if len(gain) > 1 else torch.zeros(())
    error = float((over_letters + over_seeds).sqrt())
    return {"better_by": round(float(gain.mean()), 4), "standard_error": round(error, 4)}


def main() -> None:
    """Train each rung from each seed, and compare it with the one below."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=int, default=10)
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    if min(chosen.epochs, chosen.threads) < 1:
        options.error("--epochs and --threads are numbers of at least 1")
    torch.set_num_threads(chosen.threads)
    names = data.load("names")
    train, test = contexts(names.train), contexts(names.test)
    found: dict[str, dict[str, float]] = {}
    below: Tensor | None = None
    before = time.process_time()
    for name, build in ladder(train).items():
        models = [trained(build, train, chosen.epochs, seed) for seed in chosen.seeds]
        each = torch.stack([losses(model, test) for model in models])
        size = sum(parameter.numel() for parameter in models[0].parameters())
        found[name] = {"loss": round(float(each.mean()), 4), "parameters": size}
        if below is not None:
            found[name].update(gained(below, each))
        below = each
    steps_up = [rung for rung in found.values() if "better_by" in rung]
    in_order = all(rung["better_by"] > 2 * rung["standard_error"] for rung in steps_up)
    seconds = round(time.process_time() - before, 1)
    settings = {"epochs": chosen.epochs, "seeds": chosen.seeds}
    print(json.dumps({"ladder": found, "in_order": in_order, **settings, "cpu_seconds": seconds}))


if __name__ == "__main__":
    main()
