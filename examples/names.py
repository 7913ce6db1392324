"""Climb makemore's ladder on names: a bigram table, a perceptron, one with batch normalisation, a WaveNet.

Run it from the repository: ``python examples/names.py``. Every model sees the letters before the next one and is
trained on 90 % of the names in the same way; the bigram's table is counted, each pair once more than it occurs. The
loss is in nats per letter, on the rest of the names; each step of the ladder is given with its standard error over the
letters of the test part, which are the same for all. It prints one JSON object.
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


def main() -> None:
    """Train each rung, and compare it with the one below."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=int, default=10)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    if min(chosen.epochs, chosen.threads) < 1:
        options.error("--epochs and --threads are numbers of at least 1")
    torch.set_num_threads(chosen.threads)
    names = data.load("names")
    train, test = contexts(names.train), contexts(names.test)
    ladder: dict[str, Callable[[], nn.Module]] = {
        "bigram": lambda: Bigram(train),
        "MLP": lambda: Perceptron(normalised=False),
        "MLP with batch norm": lambda: Perceptron(normalised=True),
        "WaveNet": LastLogits,
    }
    found: dict[str, dict[str, float]] = {}
    below: Tensor | None = None
    before = time.process_time()
    for name, build in ladder.items():
        torch.manual_seed(chosen.seed)
        model = build()
        epochs = train.epochs(BATCH_SIZE, seed=chosen.seed)
        steps = chosen.epochs * len(epochs(0))
        trained = [each for each in model.parameters() if each.requires_grad]
        if trained:
            optimizer = torch.optim.AdamW(trained, lr=RATE)
            schedule = cosine(steps, warmup=steps // 20)
            cross_entropy = functional.cross_entropy
            fit(
                model,
                epochs,
                cross_entropy,
                optimizer=optimizer,
                epochs=chosen.epochs,
                schedule=schedule,
                seed=chosen.seed,
            )
        each = losses(model, test)
        found[name] = {"loss": round(float(each.mean()), 4), "parameters": sum(p.numel() for p in model.parameters())}
        if below is not None:
            gain = below - each
            found[name]["better_by"] = round(float(gain.mean()), 4)
            found[name]["standard_error"] = round(float(gain.std() / len(gain) ** 0.5), 4)
        below = each
    steps_up = [rung for rung in found.values() if "better_by" in rung]
    in_order = all(rung["better_by"] > 2 * rung["standard_error"] for rung in steps_up)
    seconds = round(time.process_time() - before, 1)
    print(json.dumps({"ladder": found, "in_order": in_order, "epochs": chosen.epochs, "cpu_seconds": seconds}))


if __name__ == "__main__":
    main()
