from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deepscope.core import DataError, UsageError
from deepscope.data import catalog, find
from deepscope.data._catalog import sources_in

SOURCE = """
from deepscope.data import Source
SOURCE = Source(name="{name}", title="", licence="", load=lambda paths: None)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    """Write a package of datasets and list it."""
    name = f"planted_{request.node.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))

    def listing(**modules: str):
        for stem, text in modules.items():
            (tmp_path / name / f"{stem}.py").write_text(text)
        return sources_in(name)

    yield listing
    for module in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[module]


def test_every_dataset_is_listed_in_order_and_complete():
    names = [source.name for source in catalog()]
    assert names == sorted(names)
    assert {"cifar10", "digits", "mnist", "names", "tinyshakespeare"} <= set(names)
    for source in catalog():
        assert source.title
        assert source.licence
        for file in source.files:
            assert file.path.startswith(f"{source.name}/")
            assert file.url.startswith("https://")
            assert len(bytes.fromhex(file.sha256)) == 32


def test_unknown_names_get_a_suggestion():
    with pytest.raises(UsageError, match='Did you mean "mnist"'):
        find("minst")


def test_sorted_by_name_and_private_files_left_aside(package):
    listed = package(b=SOURCE.format(name="one"), a=SOURCE.format(name="two"), _c="raise RuntimeError")
    assert [source.name for source in listed] == ["one", "two"]


def test_import_errors_are_raised(package):
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        package(a=SOURCE.format(name="one"), b="import no_such_module")


def test_duplicate_names_are_refused(package):
    with pytest.raises(DataError, match='two datasets are called "one"') as caught:
        package(a=SOURCE.format(name="one"), b=SOURCE.format(name="one"))
    assert ".a and " in caught.value.where


def test_a_file_without_a_source_is_refused(package):
    with pytest.raises(DataError, match="has no SOURCE"):
        package(a="")


def test_importing_and_listing_stays_light():
    code = (
        "import sys, deepscope.data; deepscope.data.catalog();"
        "print([m for m in ('sklearn', 'pyarrow', 'pooch', 'PIL', 'requests') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
