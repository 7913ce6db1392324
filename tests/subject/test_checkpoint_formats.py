"""What is read from each format, value for value."""

import json
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

from deepscope.core import LeftOut
from deepscope.subject._checkpoint import read_checkpoint
from deepscope.subject._weight import Role

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
          torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)  # fmt: skip
OTHERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64)


def tensors():
    """Tensors of every type, an odd number of bytes between them, so that nothing is aligned by luck."""
    generator = torch.Generator().manual_seed(0)
    made = {"0.odd": torch.tensor([1, 2, 3], dtype=torch.uint8)}
    for dtype in (*FLOATS, *OTHERS):
        made[f"layer.{str(dtype)[6:]}.weight"] = (4 * torch.randn(3, 5, generator=generator)).to(dtype)
        made[f"layer.{str(dtype)[6:]}.one"] = torch.ones((), dtype=torch.uint8)
    made["empty"] = torch.empty(0, 4)
    made["scalar"] = torch.tensor(2.5)
    return made


def same(one, other):
    """Bit for bit, through the bytes: float8 has no equality, and NaN is not equal to itself."""
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and one.contiguous().reshape(-1).view(torch.uint8).equal(other.contiguous().reshape(-1).view(torch.uint8))
    )


def check(checkpoint, expected):
    assert [weight.name for weight in checkpoint.weights] == list(expected)
    for weight in checkpoint.weights:
        truth = expected[weight.name]
        assert weight.shape == tuple(truth.shape)
        assert weight.dtype == str(truth.dtype).removeprefix("torch.")
        assert weight.nbytes == truth.nbytes
        assert same(weight.read(), truth), weight.name


def test_safetensors(tmp_path):
    expected = tensors()
    safetensors.torch.save_file(expected, tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = read_checkpoint(tmp_path / "model.safetensors")
    by_name = {weight.name: weight for weight in checkpoint.weights}
    check(checkpoint, {name: expected[name] for name in by_name})
    assert set(by_name) == set(expected)
    assert (checkpoint.name, checkpoint.format, checkpoint.left_out) == ("model.safetensors", "safetensors", ())
    measured = {name for name, weight in by_name.items() if not weight.why_not_measured}
    assert measured == {f"layer.{str(dtype)[6:]}.weight" for dtype in FLOATS} | {"scalar"}


def test_safetensors_of_an_unknown_type_is_in_the_ledger(tmp_path):
    header = {"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]},
              "b": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]}}  # fmt: skip
    raw = json.dumps(header).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + b"\0\0" + np.float32(7).tobytes())
    checkpoint = read_checkpoint(path)
    assert checkpoint.left_out == (LeftOut("a", "its type 'F4' is not known"),)
    check(checkpoint, {"b": torch.tensor([7.0])})


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_torch(tmp_path, suffix, legacy):
    # torch itself cannot load its older format with the types that came after it.
    expected = {name: value for name, value in tensors().items() if not (legacy and "float8" in name)}
    path = tmp_path / f"model{suffix}"
    torch.save(expected, path, _use_new_zipfile_serialization=not legacy)
    checkpoint = read_checkpoint(path)
    check(checkpoint, expected)
    assert checkpoint.format == ("torch, legacy" if legacy else "torch")


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_views_parameters_and_lazy_signs(tmp_path, legacy):
    matrix = torch.arange(100.0).reshape(10, 10)
    complex_vector = torch.randn(3, dtype=torch.complex64)
    expected = {
        "strided": matrix[2:5, 1::3],
        "transposed": matrix.T,
        "expanded": torch.tensor([5.0]).expand(4),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
        "conjugate": complex_vector.conj(),
        "negated": torch.randn(3, dtype=torch.complex64).conj().imag,
    }
    torch.save(expected, tmp_path / "m.pt", _use_new_zipfile_serialization=not legacy)
    checkpoint = read_checkpoint(tmp_path / "m.pt")
    for weight in checkpoint.weights:
        read = weight.read()
        assert read.equal(expected[weight.name]), weight.name
        assert not read.requires_grad
    assert {weight.name for weight in checkpoint.weights} == set(expected)


def test_only_the_tensors_themselves_are_read_from_a_torch_archive(tmp_path):
    # Were the archive loaded instead, an offset would be missing.
    torch.save(tensors(), tmp_path / "m.pt")
    assert all(weight.offset is not None for weight in read_checkpoint(tmp_path / "m.pt").weights)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_a_quantised_tensor_is_listed_but_not_measured(tmp_path):
    quantised = torch.quantize_per_tensor(torch.randn(3, 3), 0.1, 0, torch.qint8)
    torch.save({"q": quantised, "w": torch.ones(2)}, tmp_path / "m.pt")
    weight = read_checkpoint(tmp_path / "m.pt").weights[0]
    assert "qint8" in weight.why_not_measured
    assert weight.read().dequantize().equal(quantised.dequantize())


def test_a_torch_archive_of_the_other_byte_order(tmp_path):
    value = torch.tensor([1.0, 2.0])
    torch.save({"w": value}, tmp_path / "native.pt")
    with zipfile.ZipFile(tmp_path / "native.pt") as native, zipfile.ZipFile(tmp_path / "big.pt", "w") as big:
        for member in native.infolist():
            data = native.read(member)
            if member.filename.endswith("byteorder"):
                data = b"big"
            if "/data/" in member.filename:
                data = np.frombuffer(data, "<f4").astype(">f4").tobytes()
            big.writestr(member.filename, data)
    assert read_checkpoint(tmp_path / "big.pt").weights[0].read().equal(value)


def test_a_checkpoint_saved_on_a_gpu_is_read_without_one(tmp_path):
    value = torch.tensor([1.0, 2.0])
    torch.save({"w": value}, tmp_path / "cpu.pt")
    with zipfile.ZipFile(tmp_path / "cpu.pt") as here, zipfile.ZipFile(tmp_path / "cuda.pt", "w") as there:
        for member in here.infolist():
            # The text "cpu" as pickle protocol 2 has it: X, its length, itself.
            data = here.read(member).replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0")
            there.writestr(member.filename, data)
    (weight,) = read_checkpoint(tmp_path / "cuda.pt").weights
    assert weight.read().equal(value)
    assert weight.read().device.type == "cpu"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    generator = np.random.default_rng(0)
    arrays = {
        "w": generator.normal(size=(30, 4)),
        "fortran": np.asfortranarray(generator.normal(size=(3, 4)).astype("f4")),
        "big_endian": generator.normal(size=3).astype(">f8"),
        "half": np.float16([[1.5]]),
        "i": np.arange(3),
        "flag": np.array([True, False]),
        "z": np.array([1j]),
        "scalar": np.array(3.0),
        "empty": np.zeros((0, 2)),
        "params/Dense_0/kernel": np.zeros((400, 400), "f4"),
    }
    save(tmp_path / "m.npz", text=np.array(["a"]), **arrays)
    checkpoint = read_checkpoint(tmp_path / "m.npz")
    assert checkpoint.left_out == (LeftOut("text", "its type str32 has no counterpart in torch"),)
    check(checkpoint, {name: torch.from_numpy(a.astype(a.dtype.newbyteorder("="))) for name, a in arrays.items()})


@pytest.mark.filterwarnings("error")
def test_an_array_that_python_2_wrote(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L,)}\n"
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + np.float32([1, 2]).tobytes()
        archive.writestr("w.npy", content)
    check(read_checkpoint(tmp_path / "m.npz"), {"w": torch.tensor([1.0, 2.0])})


def test_the_content_decides_not_the_name(tmp_path):
    value = {"w": torch.arange(6.0).reshape(2, 3)}
    safetensors.torch.save_file(value, tmp_path / "a.bin")
    torch.save(value, tmp_path / "b.safetensors")
    torch.save(value, tmp_path / "c.safetensors", _use_new_zipfile_serialization=False)
    np.savez(tmp_path / "d.npz", w=value["w"].numpy())
    (tmp_path / "d.npz").rename(tmp_path / "d.pt")
    torch.save(value, tmp_path / "no-suffix")
    found = {path.name: read_checkpoint(path) for path in tmp_path.iterdir()}
    assert {name: each.format for name, each in found.items()} == {
        "a.bin": "safetensors", "b.safetensors": "torch", "c.safetensors": "torch, legacy", "d.pt": "npz",
        "no-suffix": "torch",
    }  # fmt: skip
    for each in found.values():
        check(each, value)


def save_all(folder):
    value = {"a.weight": torch.arange(6.0).reshape(2, 3)}
    safetensors.torch.save_file(value, folder / "m.safetensors")
    torch.save(value, folder / "m.pt")
    torch.save(value, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    np.savez(folder / "m.npz", **{"a.weight": value["a.weight"].numpy()})
    return [folder / name for name in ("m.safetensors", "m.pt", "legacy.pt", "m.npz")]


def test_handles_are_small_and_survive_pickle_and_another_process(tmp_path):
    handles = [read_checkpoint(path).weights[0] for path in save_all(tmp_path)]
    pickled = pickle.dumps(handles)
    assert pickle.loads(pickled) == handles
    assert all(len(pickle.dumps(handle)) < 700 + len(str(tmp_path)) for handle in handles)
    (tmp_path / "handles").write_bytes(pickled)
    code = (
        "import pickle, sys\n"
        "for handle in pickle.load(open(sys.argv[1], 'rb')): print(handle.name, handle.read().flatten().tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "handles"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["a.weight [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]"] * 4


def test_a_path_may_be_relative_and_the_handle_outlives_the_folder_it_was_made_in(tmp_path, monkeypatch):
    save_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    weight = read_checkpoint("m.safetensors").weights[0]
    monkeypatch.chdir("/")
    assert weight.read().shape == (2, 3)


def test_config_stands_beside_the_checkpoint(tmp_path):
    save_all(tmp_path)
    assert read_checkpoint(tmp_path / "m.pt").config == {}
    (tmp_path / "config.json").write_bytes(b'{\r\n"n_head": 12}\r\n')
    assert read_checkpoint(tmp_path / "m.pt").config == {"n_head": 12}
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    (tmp_path / "m.pt").rename(tmp_path / "adapter_model.bin")
    assert read_checkpoint(tmp_path / "adapter_model.bin").config == {"r": 8}


@pytest.mark.parametrize(
    ("content", "reason"), [("{", "not valid JSON"), ("", "empty"), ("[1]", "no JSON object"), ("[" * 100_000, "JSON")]
)
def test_a_broken_config_is_in_the_ledger(tmp_path, content, reason):
    save_all(tmp_path)
    (tmp_path / "config.json").write_text(content)
    checkpoint = read_checkpoint(tmp_path / "m.pt")
    assert checkpoint.config == {}
    ((name, found),) = checkpoint.left_out
    assert name == "config.json"
    assert reason in found


def test_roles_and_ties(tmp_path):
    embedding = torch.nn.Embedding(10, 4)
    model = torch.nn.ModuleDict({"wte": embedding, "lm_head": torch.nn.Linear(4, 10, bias=False)})
    model["lm_head"].weight = embedding.weight
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    state["module.wte.part"] = embedding.weight.detach()[:5]
    torch.save(state, tmp_path / "m.pt")
    checkpoint = read_checkpoint(tmp_path / "m.pt")
    wte, part = checkpoint.weights
    assert (wte.name, wte.role, wte.tied) == ("module.wte.weight", Role.EMBEDDING, ("module.lm_head.weight",))
    assert (part.name, part.tied) == ("module.wte.part", ())
    assert checkpoint.left_out == (
        LeftOut("module.lm_head.weight", "tied: the very same tensor as 'module.wte.weight'"),
    )


def test_tensors_that_are_not_dense_or_have_no_values_are_in_the_ledger(tmp_path):
    content = {
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.empty(3, device="meta"),
        "expanded": torch.zeros(1).expand(10**12),
        "w": torch.ones(2),
    }
    torch.save(content, tmp_path / "m.pt")
    checkpoint = read_checkpoint(tmp_path / "m.pt")
    assert [weight.name for weight in checkpoint.weights] == ["w"]
    assert {entry.name for entry in checkpoint.left_out} == {"sparse", "meta", "expanded"}


MEMORY = """
import sys, psutil
from deepscope.subject._checkpoint import read_checkpoint
resident = lambda: psutil.Process().memory_info().rss
read_checkpoint(sys.argv[2]).weights[0].read()
before = resident()
weight = read_checkpoint(sys.argv[1]).weights[3]
value = weight.read()
print((resident() - before) / 2**20, value[0, 0].item())
"""


@pytest.mark.verify
@pytest.mark.parametrize("kind", ["m.safetensors", "m.pt", "m.npz"])
def test_reading_one_tensor_takes_the_memory_of_that_tensor(tmp_path, kind):
    # 10 tensors of 20 MiB; one of them, 4 MiB for the reader's pieces and 16 for the allocator's and imports' noise.
    small = {"small": torch.ones(2, 2)}
    large = {f"layer.{index}": torch.full((2048, 2560), float(index)) for index in range(10)}
    for name, content in (("small-", small), ("", large)):
        path = tmp_path / f"{name}{kind}"
        if kind.endswith("npz"):
            np.savez(path, **{key: value.numpy() for key, value in content.items()})
        elif kind.endswith("pt"):
            torch.save(content, path)
        else:
            safetensors.torch.save_file(content, path)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / kind, tmp_path / f"small-{kind}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    grown, value = map(float, done.stdout.split())
    assert value == 3.0
    assert 19 < grown < 40
