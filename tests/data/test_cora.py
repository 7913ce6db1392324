from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepscope.core import DataError
from deepscope.data import IGNORED, GraphDataset, cora, fetch, verify

ARRAYS = {
    "feature_row": [0, 0, 1, 3, 3, 3, 3],
    "feature_col": [1, 4, 0, 0, 1, 2, 3],
    "n_features": 5,
    "labels": [2, 0, 1, 0],
    "edges": [[0, 1], [1, 3]],
    "train_index": [0],
    "val_index": [3],
    "test_index": [1, 2],
}


def written(folder: Path, **changed: Any) -> tuple[Path, ...]:
    path = folder / "cora.npz"
    np.savez(path, **{name: np.asarray(each) for name, each in {**ARRAYS, **changed}.items() if each is not None})
    return (path,)


def test_the_graph_is_the_one_sample_and_the_nodes_of_other_parts_are_ignored(tmp_path):
    data = cora.load(written(tmp_path))
    assert isinstance(data, GraphDataset)
    # The third paper holds no word.
    expected = [[0, 0.5, 0, 0, 0.5], [1, 0, 0, 0, 0], [0] * 5, [0.25] * 4 + [0]]
    assert data.train.inputs.tolist() == [expected]
    assert data.train.inputs is data.test.inputs is data.validation.inputs
    assert data.train.targets.tolist() == [[2, IGNORED, IGNORED, IGNORED]]
    assert data.validation.targets.tolist() == [[IGNORED, IGNORED, IGNORED, 0]]
    assert data.test.targets.tolist() == [[IGNORED, 0, 1, IGNORED]]
    assert data.edges.tolist() == [[0, 1, 1, 3], [1, 3, 0, 1]]
    assert cora.load(written(tmp_path), normalised=False).train.inputs[0, 3].tolist() == [1, 1, 1, 1, 0]


def test_the_loss_is_the_mean_over_the_nodes_of_a_part(tmp_path):
    data = cora.load(written(tmp_path))
    logits = torch.zeros(1, 4, 7)
    logits[0, 0] = torch.nan
    assert data.count(data.test.targets) == 2
    # Uniform over seven classes.
    assert data.loss(logits, data.test.targets).item() == pytest.approx(np.log(7), rel=1e-6)


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not hold the arrays of Cora"):
        cora.load(written(tmp_path, labels=None))
    path = tmp_path / "other.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="does not hold the arrays of Cora"):
        cora.load((path,))


def test_without_the_file_one_error_says_where_it_comes_from(folders, no_network):
    with pytest.raises(DataError, match="cora is not on this machine") as caught:
        fetch("cora", offline=True)
    assert "cora/cora.npz" in caught.value.where
    (folders.own / "cora").mkdir()
    (folders.own / "cora" / "cora.npz").write_bytes(b"another file")
    (state,) = verify("cora")
    assert state.status == "wrong"
    assert "it is made from the pickles ind.cora.*" in state.detail


def test_the_real_graph(real):
    data = real("cora")
    assert isinstance(data, GraphDataset)
    assert data.train.name == "cora (train)"
    assert data.train.inputs.shape == (1, 2708, 1433)
    # Every paper holds at least one word; rounding of a sum of at most 30 numbers.
    torch.testing.assert_close(data.train.inputs.sum(-1), torch.ones(1, 2708), rtol=0, atol=1e-6)
    assert data.edges.shape == (2, 10_556)
    assert torch.equal(data.edges[:, :5278], data.edges[:, 5278:].flip(0))
    assert (data.edges[0] != data.edges[1]).all()
    parts = (data.train, data.validation, data.test)
    assert [data.count(each.targets) for each in parts] == [140, 500, 1000]
    shown = torch.stack([each.targets != IGNORED for each in parts])
    assert (shown.sum(0) <= 1).all()
    assert torch.bincount(data.train.targets[data.train.targets != IGNORED]).tolist() == [20] * 7
    # The sizes of the classes that the literature states.
    with np.load(fetch("cora", offline=True)[0]) as file:
        sizes = dict(zip(data.classes, np.bincount(file["labels"]).tolist(), strict=True))
    assert sizes["neural networks"] == 818
    assert (sizes["probabilistic methods"], sizes["genetic algorithms"], sizes["theory"]) == (426, 418, 351)
    assert (sizes["case-based reasoning"], sizes["reinforcement learning"], sizes["rule learning"]) == (298, 217, 180)
