"""Data: one file per dataset, found on this machine or fetched once with a checksum."""

from deepscope.data._augmentation import Augmented
from deepscope.data._catalog import catalog, find
from deepscope.data._dataset import Batches, Dataset, Epochs, Samples
from deepscope.data._folders import home
from deepscope.data._graph import GraphDataset
from deepscope.data._language import IGNORED, count_tokens, token_loss
from deepscope.data._load import FileState, fetch, load, verify
from deepscope.data._source import RemoteFile, Source
from deepscope.data._store import Location, locate

__all__ = [
    "IGNORED",
    "Augmented",
    "Batches",
    "Dataset",
    "Epochs",
    "FileState",
    "GraphDataset",
    "Location",
    "RemoteFile",
    "Samples",
    "Source",
    "catalog",
    "count_tokens",
    "fetch",
    "find",
    "home",
    "load",
    "locate",
    "token_loss",
    "verify",
]
