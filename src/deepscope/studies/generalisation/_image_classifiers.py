"""The networks that are asked to learn random labels, and the linear model that cannot."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from deepscope.core import UsageError, nearest
from deepscope.models import MLP

NETWORKS = ("mlp", "cnn", "linear")


def image_classifier(
    network: str, shape: Sequence[int], n_classes: int, *, hidden: int = 512, dropout: float = 0.0
) -> nn.Sequential:
    """Return a network from images [batch, *shape] to logits [batch, n_classes], initialised as torch does.

    With two classes it has one output h, whose sign is the answer: its logits are 0 and h, so that their cross-entropy
    is the logistic loss of h.

    Parameters
    ----------
    network
        ``"mlp"``: two hidden layers; ``"linear"``: none, which is softmax regression; ``"cnn"``: two convolutions of
        3×3, of 16 and 32 channels, with pooling over 2×2 between them, and a hidden layer of 128. Rectified units.
    shape
        Channels, height, width; the last two even.
    n_classes
        Number of classes.
    hidden
        Width of the hidden layers of the MLP.
    dropout
        Probability with which a hidden unit of the MLP is dropped.

    Raises
    ------
    UsageError
        An unknown network, or dropout for one without hidden layers or with convolutions.

    Examples
    --------
    >>> [sum(p.numel() for p in image_classifier(each, (1, 8, 8), 10).parameters()) for each in NETWORKS]
    [301066, 71754, 650]
    """
    if network not in NETWORKS:
        raise UsageError("unknown network", where=network, todo=nearest(network, NETWORKS))
    if dropout and network != "mlp":
        raise UsageError("only the MLP has dropout", where=network, todo="Give dropout=0.")
    outputs = 1 if n_classes == 2 else n_classes
    channels, height, width = shape
    if network == "cnn":
        layers = _convolutional(channels, (height // 2) * (width // 2), outputs)
    else:
        mlp = MLP(channels * height * width, [hidden] * 2 if network == "mlp" else [], outputs)
        layers = _with_dropout(mlp, dropout)
    if n_classes == 2:
        layers["zero_logit"] = nn.ConstantPad1d((1, 0), 0.0)
    return nn.Sequential(layers)


def _with_dropout(mlp: MLP, dropout: float) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in mlp.named_children():
        layers[name] = layer
        if dropout and name.startswith("activation"):
            layers[f"dropout_{name}"] = nn.Dropout(dropout)
    return layers


def _convolutional(channels: int, places: int, outputs: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        convolution1=nn.Conv2d(channels, 16, 3, padding=1),
        activation1=nn.ReLU(),
        pooling=nn.MaxPool2d(2),
        convolution2=nn.Conv2d(16, 32, 3, padding=1),
        activation2=nn.ReLU(),
        flatten=nn.Flatten(),
        hidden=nn.Linear(32 * places, 128),
        activation3=nn.ReLU(),
        output=nn.Linear(128, outputs),
    )
