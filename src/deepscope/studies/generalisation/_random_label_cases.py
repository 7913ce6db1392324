"""The conditions of the study of random labels, as its judge and its picture pick them out."""

from __future__ import annotations

from deepscope.core import Grid, Value

#: Shares of the labels that are replaced by chance.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: Accuracy of an answer by chance, of ten classes.
CHANCE = 0.1
#: Random labels may take so many times the epochs.
MOST_TIMES = 10
#: Strengths of the least test error.
REGULARISERS: dict[str, dict[str, Value]] = {"weight decay": {"weight_decay": 0.01}, "dropout": {"dropout": 0.5}}
#: The convolutional network learns at a rate of its own.
CNN: dict[str, Value] = {"network": "cnn", "learning_rate": 0.02}
#: Trials that need not fit end here: with weight decay, and of linear models.
DECAYED_EPOCHS, LINEAR_EPOCHS = 50, 100


def plain(network: str, **changes: Value) -> dict[str, Value]:
    """Return the fields of a case: true labels, whole images, no regularisation, but for the changes.

    >>> plain("cnn", inputs="gaussian")["inputs"], plain("cnn")["corruption"]
    ('gaussian', 0.0)
    """
    whole: dict[str, Value] = {"labels": "classes", "corruption": 0.0, "inputs": "images"}
    return {"network": network, **whole, "weight_decay": 0.0, "dropout": 0.0, **changes}


def conditions(seeds: int | range, epochs: int, **shared: Value) -> Grid:
    """Return every condition, each network for at most so many epochs, with the other fields shared."""
    decayed: dict[str, Value] = {**REGULARISERS["weight decay"], "epochs": min(epochs, DECAYED_EPOCHS)}
    linear: dict[str, Value] = {"network": "linear", "epochs": min(epochs, LINEAR_EPOCHS)}
    found = Grid(seeds=seeds, epochs=epochs, corruption=SHARES, **shared)
    changes: list[dict[str, Value]] = [
        {"labels": "signs"},
        decayed,
        REGULARISERS["dropout"],
        CNN,
        {**CNN, "corruption": 1.0},
        {**CNN, "inputs": "shuffled"},
        {**CNN, "inputs": "gaussian"},
        linear,
        {**linear, "corruption": 1.0},
        {**linear, "labels": "signs"},
    ]
    for each in changes:
        found += Grid(seeds=seeds, **{"epochs": epochs, **shared, **each})
    return found
