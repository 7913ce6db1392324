from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import torch

from deepscope.core import DataError
from deepscope.data import find, verify
from deepscope.data.cifar10 import fault, load

pa = pytest.importorskip("pyarrow", reason='needs the extra "data"')


def picture(*, size: tuple[int, int] = (32, 32), mode: str = "RGB", colour: object = (255, 0, 51)) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new(mode, size, colour).save(stream, "PNG")
    return stream.getvalue()


def table(path, images: list[bytes], labels: list[int]):
    from pyarrow import parquet

    rows = [{"bytes": image, "path": None} for image in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    parquet.write_table(pa.table({"img": pa.array(rows, kind), "label": labels}), path)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.parquet"


BALANCED = [label for label in range(10) for _ in range(2)]


def test_a_balanced_table_of_small_photographs_is_accepted(path):
    assert fault(table(path, [picture()] * 20, BALANCED), n_rows=20) == ""


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([picture()] * 19, BALANCED[:19], "19 rows instead of 20"),
        ([picture()] * 20, [0, *BALANCED[:19]], "3 images with label 0 instead of 2"),
        ([*[picture()] * 19, picture(size=(32, 31))], BALANCED, "row 19 is 32×31 RGB instead of 32×32 RGB"),
        ([picture(mode="L", colour=3), *[picture()] * 19], BALANCED, "row 0 is 32×32 L"),
        ([*[picture()] * 3, b"no image", *[picture()] * 16], BALANCED, "row 3 holds no image"),
    ],
)
def test_planted_faults_are_named(path, images, labels, message):
    assert message in fault(table(path, images, labels), n_rows=20)


def test_other_tables_and_other_files_are_refused(path):
    from pyarrow import parquet

    parquet.write_table(pa.table({"text": ["a"], "label": [1]}), path)
    assert "no table of images and labels" in fault(path, n_rows=1)
    parquet.write_table(pa.table({"img": ["a"], "label": [1]}), path)
    assert "no table of images and labels" in fault(path, n_rows=1)
    path.write_bytes(b"text")
    assert "no table of images and labels" in fault(path, n_rows=1)


def test_channels_come_first_and_pixels_lie_in_the_unit_interval(path):
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[3, 5] = (255, 0, 51)
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    table(path, [stream.getvalue()], [4])
    cifar = load((path, path))
    assert cifar.train.inputs.shape == (1, 3, 32, 32)
    assert torch.equal(cifar.train.inputs[0, :, 3, 5], torch.tensor([1.0, 0.0, 51 / 255]))
    assert cifar.train.inputs.count_nonzero() == 2
    assert cifar.classes[cifar.train.targets[0]] == "deer"


def test_a_photograph_with_damaged_pixels_is_a_data_error(path):
    table(path, [picture()[:60]], [0])
    with pytest.raises(DataError, match="row 0 cannot be decoded"):
        load((path, path))


def test_without_pyarrow_the_extra_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r'pip install "deepscope\[data\]"'):
        load((path, path))


def test_the_files_at_hand_are_right(real_files):
    paths = real_files("cifar10")
    assert [(state.status, state.path) for state in verify("cifar10")] == [("right", path) for path in paths]


@pytest.mark.verify
def test_the_real_photographs(real):
    cifar = real("cifar10")
    assert cifar.train.inputs.shape == (50_000, 3, 32, 32)
    assert torch.bincount(cifar.train.targets).tolist() == [5000] * 10
    assert torch.bincount(cifar.test.targets).tolist() == [1000] * 10
    # The channel means that the literature states; the files at hand may be JPEG copies, which moves a mean by less
    # than half a grey level of 255.
    means = cifar.train.inputs.mean(dim=(0, 2, 3))
    assert torch.allclose(means, torch.tensor([0.4914, 0.4822, 0.4465]), rtol=0, atol=2e-3)


@pytest.mark.verify
def test_the_judge_accepts_the_real_files_and_not_one_for_the_other(real_files):
    train, test = real_files("cifar10")
    judge_train, judge_test = (file.judge for file in find("cifar10").files)
    assert (judge_train(train), judge_test(test)) == ("", "")
    assert "10,000 rows instead of 50,000" in judge_train(test)
