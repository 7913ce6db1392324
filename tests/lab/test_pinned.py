"""The tests that pin: found without running them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepscope.lab._pinned import Pin, pin

TESTS = """
import pytest
from pytest import mark

@pytest.mark.demonstrates("relu", "lstm")
@pytest.mark.parametrize("x", [1])
def test_it(x): ...

def test_runs(): ...

@mark.skip(reason="slow")
def test_skipped(): ...

@pytest.mark.skipif("torch" == "torch", reason="never")
def test_skipped_if(): ...

@pytest.mark.xfail
def test_fails(): ...

def helper(): ...

class TestAll:
    @mark.demonstrates("gru")
    def test_it(self): ...

class All:
    def test_it(self): ...

@mark.skip
class TestSkipped:
    def test_it(self): ...

@mark.demonstrates("gan")
class TestMarked:
    pytestmark = mark.slow

    @mark.demonstrates("vae")
    def test_it(self): ...

    class TestInner:
        pytestmark = [mark.slow, mark.skipif(True, reason="never")]

        def test_it(self): ...

def test_ends():
    '''Only that.'''
    pytest.skip("later")

def test_may_end(x):
    if x:
        pytest.skip("not here")
    assert not x

def test_raises():
    raise unittest.SkipTest("later")
    assert True

@unittest.skip("no")
def test_unittest(): ...
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text(TESTS)
    return tmp_path


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("tests/test_x.py::test_it", Pin(rows=("relu", "lstm"))),
        ("tests/test_x.py::test_it[1]", Pin(rows=("relu", "lstm"))),
        ("tests/test_x.py::TestAll::test_it", Pin(rows=("gru",))),
        ("tests/test_x.py::test_runs", Pin()),
        ("", Pin(fault="no test is named")),
        ("tests/test_y.py::test_it", Pin(fault="there is no file tests/test_y.py")),
        ("tests/test_x.py::test_gone", Pin(fault="there is no test test_gone in tests/test_x.py")),
        ("tests/test_x.py::helper", Pin(fault="there is no test helper in tests/test_x.py")),
        ("tests/test_x.py", Pin(fault="there is no test (none is named) in tests/test_x.py")),
        ("tests/test_x.py::test_skipped", Pin(fault="the test is marked skip")),
        ("tests/test_x.py::test_skipped_if", Pin(fault="the test is marked skipif")),
        ("tests/test_x.py::test_fails", Pin(fault="the test is marked xfail")),
        ("tests/test_x.py::All::test_it", Pin(fault="there is no test All::test_it in tests/test_x.py")),
        ("tests/test_x.py::TestSkipped::test_it", Pin(fault="the test is marked skip")),
        ("tests/test_x.py::TestMarked::test_it", Pin(rows=("vae", "gan"))),
        ("tests/test_x.py::TestMarked::TestInner::test_it", Pin(fault="the test is marked skipif")),
        ("tests/test_x.py::test_ends", Pin(fault="the test skips itself")),
        ("tests/test_x.py::test_may_end", Pin()),
        ("tests/test_x.py::test_raises", Pin(fault="the test skips itself")),
        ("tests/test_x.py::test_unittest", Pin(fault="the test is marked skip")),
    ],
)
def test_a_pin(root: Path, test: str, expected: Pin) -> None:
    assert pin(root, test) == expected


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("pytestmark = pytest.mark.skip(reason='slow')", "the test is marked skip"),
        ("pytestmark = [mark.slow, mark.skipif(True, reason='never')]", "the test is marked skipif"),
        ("pytestmark: list = [mark.xfail]", "the test is marked xfail"),
        ("pytest.skip('none of it', allow_module_level=True)", "the test skips itself"),
        ("raise unittest.SkipTest('none of it')", "the test skips itself"),
        ("pytestmark = mark.slow", ""),
        ("pytest.importorskip('torch')", ""),
    ],
)
def test_what_a_file_says_of_all_its_tests(root: Path, line: str, fault: str) -> None:
    (root / "tests" / "test_x.py").write_text(TESTS + line + "\n")
    for test in ("test_it", "TestAll::test_it"):
        assert pin(root, f"tests/test_x.py::{test}").fault == fault


def test_an_edited_file_is_read_again(root: Path) -> None:
    path = root / "tests" / "test_x.py"
    assert pin(root, "tests/test_x.py::test_new").fault
    path.write_text(TESTS + "\ndef test_new(): ...\n")
    assert not pin(root, "tests/test_x.py::test_new").fault
