"""First names, letter by letter: a language small enough to count."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from deepscope.data._dataset import Dataset, Samples
from deepscope.data._language import IGNORED, count_tokens, token_loss
from deepscope.data._source import RemoteFile, Source

#: Token 0: stands before and after every name.
END = "."


def load(paths: tuple[Path, ...]) -> Dataset:
    """Return one name per row: inputs and targets [n, longest + 1] int64, as makemore has them.

    The input starts with the token ``.`` and is padded with it; the target is the next letter, ``.`` after the last
    one, and ``IGNORED`` beyond. Ten per cent are for testing, chosen by ``split``.
    """
    names = paths[0].read_text(encoding="utf-8").split()
    vocabulary = (END, *sorted(set("".join(names))))
    width = max(map(len, names)) + 1
    train, test = split(names)
    return Dataset(
        name="names",
        train=encode(train, vocabulary, width),
        test=encode(test, vocabulary, width),
        classes=vocabulary,
        loss=token_loss,
        count=count_tokens,
    )


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Shuffle names and return the first 90 % and the rest.

    The order is that of the names' SHA-256, which no library's random generator can change. Names that occur twice
    stay together: none is in both parts, and the first part may be a few names longer than 90 %.
    """
    shuffled = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    cut = len(shuffled) * 9 // 10
    while 0 < cut < len(shuffled) and shuffled[cut] == shuffled[cut - 1]:
        cut += 1
    return shuffled[:cut], shuffled[cut:]


def encode(names: Sequence[str], vocabulary: Sequence[str], width: int) -> Samples:
    """Turn names into padded rows of tokens.

    >>> samples = encode(["ab", "b"], (".", "a", "b"), 3)
    >>> samples.inputs.tolist(), samples.targets.tolist()
    ([[0, 1, 2], [0, 2, 0]], [[1, 2, 0], [2, 0, -100]])
    """
    index = {character: token for token, character in enumerate(vocabulary)}
    inputs, targets = [], []
    for name in names:
        tokens, padding = [index[character] for character in name], width - len(name) - 1
        inputs.append([0, *tokens, *[0] * padding])
        targets.append([*tokens, 0, *[IGNORED] * padding])
    return Samples(torch.tensor(inputs, dtype=torch.int64), torch.tensor(targets, dtype=torch.int64))


SOURCE = Source(
    name="names",
    title="32,033 first names (Karpathy's makemore)",
    licence="MIT",
    load=load,
    files=(
        RemoteFile(
            path="names/names.txt",
            url="https://raw.githubusercontent.com/karpathy/makemore/master/names.txt",
            sha256="0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
        ),
    ),
)
