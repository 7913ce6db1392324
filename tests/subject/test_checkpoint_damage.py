"""Files that are missing, foreign, damaged or hostile: one clear error each, and no more memory than the file has."""

import json
import os
import resource
import signal
import struct
import time
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

from deepscope.core import TargetError
from deepscope.subject._checkpoint import read_checkpoint


@pytest.fixture(autouse=True)
def _no_hang_and_no_hoarding():
    """Ten seconds and 4 GiB of address space more than now for each test."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        used = int(statm.read().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    previous = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("hangs"))
    signal.alarm(10)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**32, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def refused(target, *words):
    with pytest.raises(TargetError) as caught:
        read_checkpoint(target)
    error = caught.value
    assert error.what
    assert error.where
    assert error.todo
    for part in (error.what, error.where, error.todo):
        assert part.isprintable()
        assert len(part) < 600
    for word in words:
        assert word in str(error)
    return error


def write(path, content):
    path.write_bytes(content)
    return path


def safetensors_file(path, header, data=b"", length=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return write(path, struct.pack("<Q", len(raw) if length is None else length) + raw + data)


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_path_that_leads_nowhere(tmp_path):
    refused(tmp_path / "missing.pt", "no such file")
    refused(tmp_path / "a\nb", "no such file")
    refused(str(tmp_path / "nul\0"), "NUL")
    refused(write(tmp_path / "file", b"x") / "below", "cannot be read")
    refused(tmp_path / ("x" * 400), "cannot be read")
    (tmp_path / "loop").symlink_to("loop")
    refused(tmp_path / "loop", "cannot be read")
    (tmp_path / "dangling").symlink_to("nowhere")
    refused(tmp_path / "dangling", "no such file")


@pytest.mark.parametrize("name", ["m.safetensors", "m.pt", "m.npz", "model.safetensors.index.json", "m"])
def test_an_empty_file(tmp_path, name):
    refused(write(tmp_path / name, b""), "empty")


def test_a_pipe_a_device_and_a_socket_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    refused(tmp_path / "model.safetensors", "not a regular file")
    refused(tmp_path, "not a regular file")
    refused("/dev/zero", "not a regular file")
    refused("/dev/stdin" if os.path.realpath("/dev/stdin").startswith("/dev") else "/dev/null", "not a regular file")


def test_a_pipe_as_config_does_not_hang(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "m.pt")
    os.mkfifo(tmp_path / "config.json")
    assert read_checkpoint(tmp_path / "m.pt").left_out == (("config.json", "not a regular file"),)


@pytest.mark.parametrize("folder", [False, True])
def test_no_permission(tmp_path, folder):
    inner = tmp_path / "inner"
    inner.mkdir()
    torch.save({"w": torch.ones(1)}, inner / "m.pt")
    target = inner if folder else inner / "m.pt"
    for parent in tmp_path.parents[:3] if os.geteuid() == 0 else ():
        parent.chmod(0o755)
    tmp_path.chmod(0o755)
    inner.chmod(0o755)
    target.chmod(0)
    root = os.geteuid() == 0
    try:
        # Permissions do not bind root.
        if root:
            os.seteuid(65534)
        refused(target, "permission" if not folder else "ermission")
    finally:
        if root:
            os.seteuid(0)
        target.chmod(0o755)


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors", "m.bin", "m.npz", "m"])
@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"Just text.\n", "text"), ("Zwölf Boxkämpfer\r\n".encode() * 100, "text"), (b'{"a": {"b": 1}}', "text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS"), (b"<!DOCTYPE html>", "web page"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"), (b"GGUF\x03\0\0\0", "GGUF"), (b"\x93NUMPY\x01\0", "NumPy"),
        (b"\x80\x04K\x01.", "pickle"), (b"PK\x05\x06" + 18 * b"\0", "no tensors"), (b"PK\x03\x04rest", "damaged"),
    ],
)  # fmt: skip
def test_other_files_under_a_checkpoint_s_name(tmp_path, name, content, word):
    refused(write(tmp_path / name, content), word)


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors", "m.npz"])
def test_random_bytes(tmp_path, name):
    generator = np.random.default_rng(0)
    for size in (1, 7, 8, 9, 100, 5000):
        refused(write(tmp_path / name, b"\xff" + generator.bytes(size - 1)))


def saved(tmp_path, kind):
    content = {"a.weight": torch.arange(300.0).reshape(20, 15), "b": torch.ones(7)}
    suffix = {"legacy": "pt", "torch": "pt", "npz": "npz", "packed": "npz", "safetensors": "safetensors"}[kind]
    path = tmp_path / f"{kind}.{suffix}"
    arrays = {name: value.numpy() for name, value in content.items()}
    if kind == "safetensors":
        safetensors.torch.save_file(content, path)
    elif kind in ("npz", "packed"):
        (np.savez if kind == "npz" else np.savez_compressed)(path, **arrays)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch")
    return path, content


KINDS = ["safetensors", "torch", "legacy", "npz", "packed"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_at_any_place(tmp_path, kind):
    path, _ = saved(tmp_path, kind)
    whole = path.read_bytes()
    for size in [*range(1, 200, 7), *range(200, len(whole), 97), len(whole) - 1]:
        refused(write(path, whole[:size]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_any_byte_changed_gives_tensors_or_one_error(tmp_path, kind):
    path, _ = saved(tmp_path, kind)
    whole = path.read_bytes()
    generator = np.random.default_rng(1)
    errors = 0
    for place in generator.integers(0, len(whole), 150):
        broken = bytearray(whole)
        broken[place] ^= int(generator.integers(1, 256))
        write(path, broken)
        try:
            for weight in read_checkpoint(path).weights:
                assert tuple(weight.read().shape) == weight.shape
        except TargetError:
            errors += 1
    # Most bytes are values, which no format here guards; some of the others must have been hit.
    assert errors > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_changes_between_listing_and_reading(tmp_path, kind):
    path, content = saved(tmp_path, kind)
    weight = read_checkpoint(path).weights[0]
    assert weight.read().equal(content["a.weight"])
    now = time.time_ns()
    os.utime(path, ns=(now, now + 10**9))
    with pytest.raises(TargetError, match="changed while being read"):
        weight.read()
    assert read_checkpoint(path).weights[0].read().equal(content["a.weight"])
    os.truncate(path, 100)
    with pytest.raises(TargetError, match="changed while being read"):
        weight.read()
    path.unlink()
    with pytest.raises(TargetError, match="no such file"):
        weight.read()


@pytest.mark.parametrize("length", [2**62, 2**63, 2**64 - 1, 2**40, 10_000])
def test_a_safetensors_header_that_claims_more_than_the_file(tmp_path, length):
    refused(safetensors_file(tmp_path / "m.safetensors", {}, length=length), str(length))


@pytest.mark.parametrize(
    ("header", "data", "word"),
    [
        (b"{", b"", "JSON"),
        (b'{"a": \xff}', b"", "JSON"),
        (b'{"a":' * 50_000, b"", "JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", b"", "JSON"),
        (b'{"a": {"dtype":"F32","shape":[1],"data_offsets":[0,4]}, "a": {}}', b"1234", "twice"),
        ({}, b"", "no tensors"),
        ({"__metadata__": {"format": "pt"}}, b"", "no tensors"),
        ({"a": entry([2], 0, 8)}, b"1234", "truncated"),
        ({"a": entry([2], 0, 8)}, b"1" * 12, "belong to no tensor"),
        ({"a": entry([2], 0, 4)}, b"1234", "'a' claims 8 bytes"),
        ({"a": entry([2**62], 0, 4)}, b"1234", "'a' claims"),
        ({"a": entry([2**62], 0, 2**64)}, b"1234", "does not describe"),
        ({"a": entry([2**61], 0, 2**63 - 1)}, b"1234", "'a' claims"),
        ({"a": entry([2**60], 0, 2**62)}, b"1234", "truncated"),
        ({"a": entry([2**40, 2**40, 0], 0, 0)}, b"", "no tensor can have"),
        ({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, b"1234", "overlap"),
        ({"a": entry([1], 0, 4), "b": entry([1], 2, 6)}, b"123456", "overlap"),
        ({"a": entry([1], 4, 8)}, b"12345678", "gaps"),
        ({"a": entry([1], 4, 0)}, b"1234", "'a' claims"),
        ({"a": entry([-1], 0, 4)}, b"1234", "does not describe"),
        ({"a": entry([1.0], 0, 4)}, b"1234", "does not describe"),
        ({"a": entry([True], 0, 4)}, b"1234", "does not describe"),
        ({"a": entry("1", 0, 4)}, b"1234", "does not describe"),
        ({"a": 3}, b"", "does not describe"),
        ({"a": {"shape": [1]}}, b"", "does not describe"),
        ({"a\n\x1b[31m": entry([2], 0, 4)}, b"1234", "claims 8 bytes"),
        ({"\ud800": entry([1], 0, 4)}, b"1234", "not text"),
        ({"n" * 10**6: entry([2], 0, 4)}, b"1234", "claims 8 bytes"),
    ],
)  # fmt: skip
def test_a_safetensors_header_that_is_not_true(tmp_path, header, data, word):
    refused(safetensors_file(tmp_path / "m.safetensors", header, data), word)


def test_a_safetensors_header_larger_than_the_format_allows_is_not_read(tmp_path):
    path = safetensors_file(tmp_path / "m.safetensors", b"{", length=2**40)
    os.truncate(path, 2**41)
    refused(path, "too large")


def rezip(source, target, change=lambda name, data: data, **kwargs):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **kwargs) as new:
        for member in old.infolist():
            data = change(member.filename, old.read(member))
            if data is not None:
                new.writestr(member.filename, data)
    return target


def test_torch_archives_that_are_not_what_they_say(tmp_path):
    path, _ = saved(tmp_path, "torch")
    bad = tmp_path / "bad.pt"
    refused(rezip(path, bad, compression=zipfile.ZIP_DEFLATED), "compressed")
    refused(rezip(path, bad, lambda name, data: None if name.endswith("/data/0") else data), "damaged")
    refused(rezip(path, bad, lambda name, data: data[:-4] if name.endswith("/data/0") else data), "do not fit")
    refused(rezip(path, bad, lambda name, data: b"" if name.endswith("data.pkl") else data), "damaged")
    refused(rezip(path, bad, lambda name, data: b"odd" if name.endswith("byteorder") else data), "damaged")
    refused(rezip(path, bad, lambda name, data: None if name.endswith("data.pkl") else data), "neither torch.save")


def test_a_zip_archive_that_is_no_torch_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "m.pt", "zip archive", "neither torch.save nor numpy.savez")


def test_a_zip_member_without_a_name(tmp_path):
    path, _ = saved(tmp_path, "packed")
    raw = path.read_bytes()
    place = raw.rindex(b"PK\x01\x02")
    # Bytes 28 to 30 are the length of the name; what was the name becomes the comment after it.
    (name,) = struct.unpack("<H", raw[place + 28 : place + 30])
    refused(write(path, raw[: place + 28] + struct.pack("<HHH", 0, 0, name) + raw[place + 34 :]), "no name")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_member_that_is_there_twice(tmp_path):
    path, _ = saved(tmp_path, "npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.npy", b"")
    refused(path, "twice")


def test_an_array_that_no_deflated_member_can_hold(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000, 10000)}\n"
    raw = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    with zipfile.ZipFile(tmp_path / "m.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", raw + b"1234")
    whole = (tmp_path / "m.npz").read_bytes()
    place = whole.index(b"PK\x01\x02") + 24
    claim = struct.pack("<I", len(raw) + 4 * 10**8)
    refused(write(tmp_path / "m.npz", whole[:place] + claim + whole[place + 4 :]), "'w' claims")


def test_a_zip_member_that_claims_to_be_huge(tmp_path):
    path, _ = saved(tmp_path, "packed")
    raw = path.read_bytes()
    place = raw.index(b"PK\x01\x02")
    # Bytes 24 to 28 of an entry of the archive's directory are the member's size when inflated.
    refused(write(path, raw[: place + 24] + struct.pack("<I", 2**32 - 2) + raw[place + 28 :]), "a.weight")


@pytest.mark.parametrize(
    "shape",
    [
        "(4611686018427387904,)",
        "(10000, 10000)",
        "(-1,)",
        "(True,)",
        "'x'",
        "(1, 10**9)",
        f"({'9' * 18}{',999999999999999999' * 300})",
    ],
)
def test_an_array_header_that_is_not_true(tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("w.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"1234")
    refused(tmp_path / "m.npz", "'w'")


def test_an_array_header_that_claims_to_be_huge(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("w.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{}")
    refused(tmp_path / "m.npz", "'w'")


def test_a_torch_checkpoint_whose_pickle_claims_more_values_than_it_has(tmp_path):
    path, _ = saved(tmp_path, "legacy")
    raw = path.read_bytes()
    # The storage of 300 values is announced with 300 as a two-byte integer, M\x2c\x01, and so is nothing before it.
    place = raw.index(b"M\x2c\x01")
    for claim in (b"J" + struct.pack("<i", 2**31 - 1), b"\x8a\x08" + struct.pack("<q", 2**60)):
        refused(write(path, raw[:place] + claim + raw[place + 3 :]))


def test_a_legacy_checkpoint_whose_tensor_reaches_beyond_its_storage(tmp_path):
    path, _ = saved(tmp_path, "legacy")
    raw = path.read_bytes()
    # The shape (20, 15) is pickled as K\x14K\x0f; (20, 16) is small enough to fit the file as a whole.
    assert raw.count(b"K\x14K\x0f\x86") == 1
    refused(write(path, raw.replace(b"K\x14K\x0f\x86", b"K\x14K\x10\x86")), "damaged")


@pytest.mark.parametrize("name", ["mapped.pt", "not-mapped.safetensors"])
def test_a_torch_archive_whose_tensor_reaches_beyond_its_storage(tmp_path, name):
    path, _ = saved(tmp_path, "torch")

    def enlarge(member, data):
        # The shape (20, 15) is pickled as K\x14K\x0f.
        return data.replace(b"K\x14K\x0f\x86", b"K\x14K\x10\x86") if member.endswith(".pkl") else data

    refused(rezip(path, tmp_path / name, enlarge), "damaged")
