"""Train an LSTM, a Transformer and Mamba of equal size on Shakespeare's plays, character by character; examine one.

Run it from the repository: ``python examples/tinyshakespeare.py``. All see the same windows in the same order, under
the same optimiser and schedule; the widths are chosen so that they have the same number of parameters, within 1 %. It
also shows batches whose inputs are mappings, and targets of which some are ignored. It prints one JSON object, with the
bits per character of each model on the tenth of the text that it was not trained on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

import deepscope
from deepscope import data
from deepscope.models import LSTM, LanguageModel, Mamba, TransformerEncoder
from deepscope.training import Evaluate, GradientClipping, cosine, fit

#: The first characters of a window have too little before them to be predicted.
UNPREDICTABLE = 8
#: The width of each, and what reads a sequence [batch, time, width].
BODIES: dict[str, tuple[int, Callable[[int], nn.Module]]] = {
    "lstm": (78, lambda width: LSTM(width, width, num_layers=2)),
    "transformer": (
        64,
        lambda width: TransformerEncoder(
            width, 4, 4 * width, 2, causal=True, positions="rotary", activation=nn.GELU, pre_norm=True
        ),
    ),
    "mamba": (80, lambda width: Mamba(width, 2)),
}


class Windows:
    """Batches ``({"tokens": …}, targets)`` without the unpredictable targets; re-iterable."""

    def __init__(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        for tokens, targets in self.batches:
            kept = targets.clone()
            kept[:, :UNPREDICTABLE] = data.IGNORED
            yield {"tokens": tokens}, kept


def build(kind: str, vocabulary: int) -> nn.Module:
    """Return a model of this kind."""
    width, body = BODIES[kind]
    return LanguageModel(vocabulary, width, body(width))


def trained(kind: str, text: data.Dataset, test: Windows, epochs: int, seed: int) -> tuple[nn.Module, dict[str, float]]:
    """Return a model, and what it reached at what cost."""
    batches = text.train.epochs(32, seed=seed)
    steps = epochs * len(batches(0))
    torch.manual_seed(seed)
    model = build(kind, len(text.classes))
    before = time.process_time()
    history = fit(
        model,
        lambda epoch: Windows(batches(epoch)),
        text.loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        epochs=epochs,
        schedule=cosine(steps, warmup=steps // 10, final=0.1),
        callbacks=[GradientClipping(1.0), Evaluate(test, text.loss, count=text.count)],
        count=text.count,
        seed=seed,
    )
    return model, {
        "bits_per_character": round(history.curve("test_loss")[-1] / math.log(2), 3),
        "steps": steps,
        "parameters": sum(each.numel() for each in model.parameters()),
        "cpu_seconds": round(time.process_time() - before, 1),
    }


def main() -> None:
    """Train, compare, examine."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--models", nargs="+", choices=BODIES, default=list(BODIES))
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--report", type=Path, default=Path("tinyshakespeare-report.html"), help="of the last model")
    chosen = options.parse_args()
    if min(chosen.epochs, chosen.threads) < 1:
        options.error("--epochs and --threads are numbers of at least 1")

    torch.set_num_threads(chosen.threads)
    text = data.load("tinyshakespeare")
    test = Windows(text.test.batches(64))
    found = {}
    for kind in chosen.models:
        model, found[kind] = trained(kind, text, test, chosen.epochs, chosen.seed)
    some = Windows(text.test.batches(64, limit=256))
    deepscope.examine(deepscope.Subject(model, data=some, loss=text.loss, count=text.count)).save(chosen.report)
    print(json.dumps({"models": found, "epochs": chosen.epochs, "report": str(chosen.report)}))


if __name__ == "__main__":
    main()
