"""Reference models: one file per architecture family."""

from deepscope.models._lenet import LeNet
from deepscope.models._mlp import MLP

__all__ = ["MLP", "LeNet"]
