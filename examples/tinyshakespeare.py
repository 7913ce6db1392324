"""Train a small causal language model on Shakespeare's plays, character by character, and examine it.

Run it from the repository: ``python examples/tinyshakespeare.py``. It shows batches whose inputs are mappings, and
targets of which some are ignored. It prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

import deepscope
from deepscope import data
from deepscope.training import Evaluate, GradientClipping, cosine, fit

#: The first characters of a window have too little before them to be predicted.
UNPREDICTABLE = 8


class Block(nn.Module):
    """Causal self-attention and a two-layer perceptron, each added to its normalised input."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, n_heads, batch_first=True)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, time, width] to the same shape; no position sees a later one."""
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device)
        h = self.norm1(x)
        x = x + self.attention(h, h, h, attn_mask=mask, is_causal=True, need_weights=False)[0]
        return x + self.perceptron(self.norm2(x))


class LanguageModel(nn.Module):
    """Transformer decoder: tokens [batch, time] to logits [batch, time, vocabulary]."""

    def __init__(self, n_tokens: int, context: int, *, width: int = 64, n_heads: int = 4, n_blocks: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, width)
        self.position = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, n_heads) for _ in range(n_blocks)))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, n_tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of each next token."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        return self.output(self.norm(self.blocks(self.embedding(tokens) + self.position(positions))))


class Windows:
    """Batches ``({"tokens": …}, targets)`` without the unpredictable targets; re-iterable."""

    def __init__(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        for tokens, targets in self.batches:
            kept = targets.clone()
            kept[:, :UNPREDICTABLE] = data.IGNORED
            yield {"tokens": tokens}, kept


def main() -> None:
    """Train, examine, report."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--report", type=Path, default=Path("tinyshakespeare-report.html"))
    chosen = options.parse_args()

    torch.set_num_threads(chosen.threads)
    text = data.load("tinyshakespeare")
    epochs = text.train.epochs(32, seed=chosen.seed)
    test = Windows(text.test.batches(64, limit=256))
    n_steps = chosen.epochs * len(epochs(0))

    torch.manual_seed(chosen.seed)
    model = LanguageModel(len(text.classes), context=text.train.inputs.shape[1])
    before = time.process_time()
    history = fit(
        model,
        lambda epoch: Windows(epochs(epoch)),
        text.loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        epochs=chosen.epochs,
        schedule=cosine(n_steps, warmup=n_steps // 10, final=0.1),
        callbacks=[GradientClipping(1.0), Evaluate(test, text.loss, count=text.count)],
        count=text.count,
        seed=chosen.seed,
    )
    seconds = time.process_time() - before

    deepscope.examine(deepscope.Subject(model, data=test, loss=text.loss, count=text.count)).save(chosen.report)
    result = {
        "test_bits_per_character": round(history.curve("test_loss")[-1] / math.log(2), 3),
        "steps": n_steps,
        "cpu_seconds": round(seconds, 1),
        "report": str(chosen.report),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
