"""Tiny Shakespeare: a megabyte of plays, character by character."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.data._dataset import Dataset, Samples
from deepscope.data._language import count_tokens, token_loss
from deepscope.data._source import RemoteFile, Source


def load(paths: tuple[Path, ...], *, context: int = 128) -> Dataset:
    """Return windows of text: inputs and targets [n, context] int64, each target the character after its input.

    The first 90 % of the characters are for training, the rest for testing. The windows follow one another without
    overlap, so that every character is a target once; less than a window at the end of each part is dropped.

    Parameters
    ----------
    paths
        The text.
    context
        Characters per window.

    Raises
    ------
    UsageError
        ``context`` is below 1, or too long for a window of the test part.
    """
    text = paths[0].read_text(encoding="utf-8")
    vocabulary = tuple(sorted(set(text)))
    index = {character: token for token, character in enumerate(vocabulary)}
    tokens = torch.tensor([index[character] for character in text], dtype=torch.int64)
    cut = len(text) * 9 // 10
    if not 1 <= context < len(text) - cut:
        raise UsageError(
            f"a window of {context} characters",
            where="context",
            todo=f"Give a whole number from 1 to {len(text) - cut - 1}.",
        )
    return Dataset(
        name="tinyshakespeare",
        train=windows(tokens[:cut], context),
        test=windows(tokens[cut:], context),
        classes=vocabulary,
        loss=token_loss,
        count=count_tokens,
    )


def windows(tokens: Tensor, context: int) -> Samples:
    """Cut a sequence [time] into windows [n, context] that do not overlap, with the next tokens as targets.

    >>> samples = windows(torch.arange(8), 3)
    >>> samples.inputs.tolist(), samples.targets.tolist()
    ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    n_windows = (len(tokens) - 1) // context
    end = n_windows * context
    return Samples(tokens[:end].view(n_windows, context), tokens[1 : end + 1].view(n_windows, context))


SOURCE = Source(
    name="tinyshakespeare",
    title="1.1 million characters of Shakespeare's plays (Karpathy)",
    licence="public domain",
    load=load,
    files=(
        RemoteFile(
            path="tinyshakespeare/input.txt",
            url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
    ),
)
