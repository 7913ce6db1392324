"""Cora: papers that cite one another, and what they are about.

The file ``cora.npz`` is made from the public pickles ``ind.cora.*``, which are not read here because a pickle can run
code: ``feature_row`` and ``feature_col``, the paper and the word of each 1 among the features; ``n_features``;
``labels``; ``edges`` [citations, 2], each once; ``train_index``, ``val_index``, ``test_index``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from deepscope.core import DataError
from deepscope.data._graph import GraphDataset, part
from deepscope.data._language import count_tokens, token_loss
from deepscope.data._source import RemoteFile, Source

#: In the order of the labels in the public files.
CLASSES = (
    "theory",
    "reinforcement learning",
    "genetic algorithms",
    "neural networks",
    "probabilistic methods",
    "case-based reasoning",
    "rule learning",
)


def load(paths: tuple[Path, ...], *, normalised: bool = True) -> GraphDataset:
    """Return Cora with the public split: 2,708 papers, 1,433 words that each holds or not, 5,278 citations.

    Inputs [1, 2708, 1433] float32; targets [1, 2708] int64, the 140 papers of the train part (20 of each class), 500 of
    validation and 1,000 of the test part, ``IGNORED`` elsewhere; edges [2, 10556] int64, each citation in both
    directions, without loops. 16 MB in memory. Source: ``yang2016revisiting``.

    Parameters
    ----------
    paths
        The file.
    normalised
        Whether each paper's words sum to 1, as in Kipf's and Welling's experiments, rather than being 0 and 1.

    Raises
    ------
    DataError
        The file holds something else.
    """
    try:
        with np.load(paths[0], allow_pickle=False) as file:
            arrays = {
                name: torch.from_numpy(file[name].astype(np.int64))
                for name in ("feature_row", "feature_col", "n_features", "labels", "edges")
            }
            nodes = {
                name: torch.from_numpy(file[f"{name}_index"].astype(np.int64)) for name in ("train", "val", "test")
            }
    except (KeyError, OSError, ValueError) as error:
        raise DataError(
            f"it does not hold the arrays of Cora ({error})", where=str(paths[0]), todo="Put the right file there."
        ) from error
    labels = arrays["labels"]
    words = torch.zeros(1, len(labels), int(arrays["n_features"]))
    words[0, arrays["feature_row"], arrays["feature_col"]] = 1
    if normalised:
        # A paper without a word stays 0.
        words /= words.sum(-1, keepdim=True).clamp(min=1)
    there = arrays["edges"].T
    return GraphDataset(
        name="cora",
        train=part(words, labels, nodes["train"]),
        validation=part(words, labels, nodes["val"], "cora (validation)"),
        test=part(words, labels, nodes["test"]),
        classes=CLASSES,
        loss=token_loss,
        count=count_tokens,
        edges=torch.cat([there, there.flip(0)], 1),
    )


def _judge(path: Path) -> str:
    return (
        "no public file has this form: it is made from the pickles ind.cora.* at this address, as the text of "
        "deepscope.data.cora says"
    )


SOURCE = Source(
    name="cora",
    title="2,708 papers and the citations between them, of seven fields (Planetoid's split)",
    licence="MIT",
    load=load,
    files=(
        RemoteFile(
            path="cora/cora.npz",
            url="https://github.com/kimiyoung/planetoid",
            sha256="788afa57f902fc4ffd6c34ad84dcd3069a4c53a872a81224eb3ea515996bc66b",
            judge=_judge,
        ),
    ),
)
