"""The identity of a trial: what changes it, and what does not."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepscope.core import Case, UsageError
from deepscope.lab._identity import closure, code_of, trial_identity
from deepscope.studies import load_file

STUDY = '''\
"""What is claimed."""
import functools
import math
import numbers
import deepscope.linalg
from deepscope.core import Grid, Study
from helper import *  # everything
from package import exported, moved as renamed
import package.module as pm
import package.deep.leaf
from package import sub

RATE = 0.1
FIRST, *REST = 1, 2, 3
ANNOTATED: float = 2.0
COUNT = 1
COUNT += 1
THRESHOLD = 0.5
TABLE = {"a": 1}
COLOURS = {"a": "red"}
COLOURS["b"] = "blue"
if RATE > 0:
    def sign(x):
        return 1
else:
    def sign(x):
        return -1
try:
    import fast_maths
except ImportError:
    fast_maths = None
for each in (1, 2):
    TOTAL = each


def decorate(function):
    @functools.wraps(function)
    def inner(*arguments):
        return function(*arguments) + 1
    return inner


class Base:
    def value(self):
        return 1


class Fields(Base):
    """Some fields."""

    size: int = 3
    """Its size."""

    def area(self, scale: float = 2.0) -> float:
        """Return the area."""
        area: float = self.size * scale  # in squares
        return area


@decorate
def decorated(x):
    return x


def steps(n, rate=RATE):
    if n == 0:
        return 0
    return 1 + back(n - 1)


def back(n):
    return steps(n)


def unrelated():
    return 0


def trial(case, run):
    """Run one trial."""
    import local_module
    from local_package.inner import deep

    found = [steps(3), sign(1), TOTAL, COUNT, FIRST, REST, ANNOTATED, fast_maths, decorated(1), Fields().area()]
    found += [helped(2), pm.in_module(), package.deep.leaf.at_leaf(), exported(), renamed(), sub.in_sub()]
    found += [local_module.local(), deep(), math.pi, "word", 1]
    return {"found": len(found)}


def limit():
    return THRESHOLD


def marker():
    return COLOURS


def judge(trials):
    return [limit()]


def draw(trials):
    return marker()


STUDY = Study(
    claim="c",
    source="s",
    topics=("t",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={"smoke": Grid(seeds=1, width=3)},
)

if __name__ == "__main__":
    print(STUDY)
'''
UNUSED = "\n\ndef unused():\n    return 1\n"
FILES = {
    "study.py": STUDY,
    "helper.py": '"""Help."""\nfrom third import further\n\n\ndef helped(x):\n    return further(x)\n' + UNUSED,
    "third.py": "SCALE = 2\n\n\ndef further(x):\n    return x * SCALE\n" + UNUSED,
    "package/__init__.py": "from package.parts import exported, moved\nfrom . import sub\n",
    "package/parts.py": (
        "from package import sub\nfrom .sub import in_sub\n\n\ndef exported():\n    return 1\n"
        "\n\ndef moved():\n    return in_sub()\n\n\ndef unused():\n    return sub\n"
    ),
    "package/sub.py": (
        "import package.parts\n\n\ndef in_sub():\n    return 1\n\n\ndef unused():\n    return package.parts.moved()\n"
    ),
    "package/module.py": "def in_module():\n    return 1\n" + UNUSED,
    "package/deep/leaf.py": "def at_leaf():\n    return 1\n" + UNUSED,
    "local_module.py": "def local():\n    return 1\n" + UNUSED,
    "local_package/__init__.py": "from .inner import deep\n",
    "local_package/inner.py": "def deep():\n    return 1\n",
    "fast_maths.py": "",
}

SAME = {
    "judge": ("study.py", "return [limit()]", "return [limit(), 1]"),
    "draw": ("study.py", "return marker()", "return None"),
    "STUDY": ("study.py", 'claim="c"', 'claim="d"'),
    "grid": ("study.py", "seeds=1, width=3", "seeds=5, width=[3, 4]"),
    "threshold of judge": ("study.py", "THRESHOLD = 0.5", "THRESHOLD = 0.7"),
    "helper of judge": ("study.py", "return THRESHOLD", "return THRESHOLD + 1"),
    "helper of draw": ("study.py", "return COLOURS", "return dict(COLOURS)"),
    "constant of draw": ("study.py", '"red"', '"green"'),
    "what is done to draw's constant": ("study.py", '"blue"', '"black"'),
    "function nobody calls": ("study.py", "return 0\n\n\ndef trial", "return 7\n\n\ndef trial"),
    "constant nobody reads": ("study.py", 'TABLE = {"a": 1}', 'TABLE = {"a": 2}'),
    "import nobody uses": ("study.py", "import numbers\n", ""),
    "comment": ("study.py", "# in squares", "# in metres"),
    "new comment": ("study.py", "RATE = 0.1", "# how fast\nRATE = 0.1  # per step"),
    "docstring of the module": ("study.py", "What is claimed.", "What is really claimed."),
    "docstring of a function": ("study.py", "Run one trial.", "Run it."),
    "docstring of a function, gone": ("study.py", '    """Run one trial."""\n', ""),
    "docstring of a class": ("study.py", "Some fields.", "Its fields."),
    "docstring of a method": ("study.py", "Return the area.", "Area."),
    "docstring of a field": ("study.py", "Its size.", "How large."),
    "formatting": ("study.py", "FIRST, *REST = 1, 2, 3", "(\n    FIRST,\n    *REST,\n) = (1, 2, 0x3,)"),
    "quotes": ("study.py", '"word"', "'word'"),
    "annotation of an argument": ("study.py", "scale: float = 2.0", "scale: int = 2.0"),
    "annotation of what is returned": ("study.py", ") -> float:", "):"),
    "annotation of a variable": ("study.py", "area: float = self", "area = self"),
    "annotation of a constant": ("study.py", "ANNOTATED: float = 2.0", "ANNOTATED = 2.0"),
    "annotation that uses a name": ("study.py", "def trial(case, run):", "def trial(case: unrelated, run) -> TABLE:"),
    "type checking": (
        "study.py",
        "RATE = 0.1",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from third import unused\nRATE = 0.1",
    ),
    "main": ("study.py", "print(STUDY)", "print(RATE, TABLE)"),
    "function in a module of a module": ("third.py", "return 1", "return 2"),
    "function in a package": ("package/parts.py", "return sub\n", "return [sub]\n"),
    "function in a module by alias": (
        "package/module.py",
        "def unused():\n    return 1",
        "def unused():\n    return 2",
    ),
    "function in a dotted module": (
        "package/deep/leaf.py",
        "def unused():\n    return 1",
        "def unused():\n    return 2",
    ),
    "function in a submodule": ("package/sub.py", "return package.parts.moved()", "return 1"),
    "function in a local module": ("local_module.py", "def unused():\n    return 1", "def unused():\n    return 2"),
    "export": ("package/__init__.py", "from . import sub\n", "from . import sub\nfrom package.module import unused\n"),
    "comment in a module": ("helper.py", '"""Help."""', '"""Help well."""  # so'),
}
OTHER = {
    "trial": ("study.py", '"word", 1', '"word", 2'),
    "type of a constant": ("study.py", '"word", 1', '"word", True'),
    "float for integer": ("study.py", '"word", 1', '"word", 1.0'),
    "text": ("study.py", '"word"', '"words"'),
    "name of what is returned": ("study.py", '{"found"', '{"sum"'),
    "helper": ("study.py", "return 1 + back", "return 2 + back"),
    "helper of a helper": ("study.py", "return steps(n)", "return steps(n) + 1"),
    "constant of a default": ("study.py", "RATE = 0.1", "RATE = 0.2"),
    "default argument": ("study.py", "rate=RATE", "rate=0.1"),
    "one of several targets": ("study.py", "FIRST, *REST = 1, 2, 3", "FIRST, *REST = 1, 2, 4"),
    "annotated constant": ("study.py", "ANNOTATED: float = 2.0", "ANNOTATED: float = 3.0"),
    "augmented constant": ("study.py", "COUNT += 1", "COUNT += 2"),
    "first value of a constant": ("study.py", "COUNT = 1", "COUNT = 2"),
    "value in a loop": ("study.py", "TOTAL = each", "TOTAL = 2 * each"),
    "definition in a branch": ("study.py", "return -1", "return -2"),
    "condition of a branch": ("study.py", "if RATE > 0:", "if RATE >= 0:"),
    "fallback of an import": ("study.py", "fast_maths = None", "fast_maths = 0"),
    "method": ("study.py", "self.size * scale", "self.size + scale"),
    "field": ("study.py", "size: int = 3", "size: int = 4"),
    "annotation of a field": ("study.py", "size: int = 3", "size: float = 3"),
    "base class": ("study.py", "def value(self):\n        return 1", "def value(self):\n        return 2"),
    "bases": ("study.py", "class Fields(Base)", "class Fields(object)"),
    "decorator": ("study.py", "function(*arguments) + 1", "function(*arguments) + 2"),
    "no decorator": ("study.py", "@decorate\n", ""),
    "function by a star": ("helper.py", "return further(x)", "return further(x) + 1"),
    "anything by a star": ("helper.py", "return 1", "return 2"),
    "function in a third module": ("third.py", "return x * SCALE", "return x + SCALE"),
    "constant in a third module": ("third.py", "SCALE = 2", "SCALE = 3"),
    "function behind an export": ("package/parts.py", "def exported():\n    return 1", "def exported():\n    return 2"),
    "function behind another name": ("package/parts.py", "return in_sub()", "return in_sub() + 1"),
    "function behind a relative import": ("package/sub.py", "return 1", "return 2"),
    "other export": (
        "package/__init__.py",
        "from package.parts import exported, moved",
        "from package.parts import exported\nfrom package.module import in_module as moved",
    ),
    "exports swapped": ("package/__init__.py", "exported, moved", "exported as moved, moved as exported"),
    "function of a module with an alias": (
        "package/module.py",
        "in_module():\n    return 1",
        "in_module():\n    return 2",
    ),
    "function of a dotted module": ("package/deep/leaf.py", "at_leaf():\n    return 1", "at_leaf():\n    return 2"),
    "function of a local import": ("local_module.py", "local():\n    return 1", "local():\n    return 2"),
    "function of a local package": ("local_package/inner.py", "return 1", "return 2"),
    "meaning of a name from elsewhere": ("study.py", "import math\n", "import cmath as math\n"),
    "local import": ("study.py", "    import local_module\n", "    import third as local_module\n"),
    "action in the study": ("study.py", "RATE = 0.1", "import gc\ngc.disable()\nRATE = 0.1"),
    "action that trial's constant feels": ("study.py", "RATE = 0.1", "RATE = 0.1\nREST_OF = [RATE]\nREST_OF.append(1)"),
    "action in a module": ("third.py", "SCALE = 2", "SCALE = 2\nprint(SCALE)"),
    "action in a package around a module": ("package/__init__.py", "from . import sub", "from . import sub\nprint(1)"),
    "action in a module that is only imported": ("fast_maths.py", "", "import gc\ngc.freeze()\n"),
    "deleted name": ("study.py", "RATE = 0.1", "RATE = 0.1\ndel FIRST"),
    "attribute set": ("study.py", "RATE = 0.1", "RATE = 0.1\nmath.tau = 6"),
}


class Folder:
    """Files of a user, and the functions in them; a file that is written again is always newer."""

    def __init__(self, path: Path) -> None:
        self.path, self._time = path, 1_700_000_000

    def write(self, **files: str) -> None:
        for name, text in files.items():
            self.put(f"{name}.py", text)

    def put(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self._time += 1
        os.utime(path, (self._time, self._time))

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.path / name).read_text(encoding="utf-8")
        assert old in text or not text
        self.put(name, text.replace(old, new, 1) if old else new)

    def trial(self) -> Callable[..., Any]:
        return load_file(self.path / "study.py").trial


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    modules, path = set(sys.modules), list(sys.path)
    yield Folder(tmp_path)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(
            getattr(sys.modules[name], "__file__", "") or getattr(sys.modules[name], "__path__", "")
        ):
            del sys.modules[name]


@pytest.fixture
def study(folder: Folder) -> tuple[Folder, Callable[..., Any]]:
    for name, text in FILES.items():
        folder.put(name, text)
    return folder, folder.trial()


@pytest.mark.parametrize("edit", SAME)
def test_what_changes_no_trial(study: tuple[Folder, Callable[..., Any]], edit: str) -> None:
    folder, trial = study
    before = code_of(trial)
    folder.edit(*SAME[edit])
    assert code_of(trial) == before


@pytest.mark.parametrize("edit", OTHER)
def test_what_changes_the_trial(study: tuple[Folder, Callable[..., Any]], edit: str) -> None:
    folder, trial = study
    before = code_of(trial)
    folder.edit(*OTHER[edit])
    assert code_of(trial) != before


def test_definitions_in_another_order_are_the_same(study: tuple[Folder, Callable[..., Any]]) -> None:
    folder, trial = study
    before = code_of(trial)
    first, second = STUDY.index("def back(n)"), STUDY.index("def unrelated()")
    folder.put("study.py", STUDY[:first] + STUDY[second:] + "\n\n" + STUDY[first:second])
    assert code_of(trial) == before


def test_constants_in_another_order_are_the_same(folder: Folder) -> None:
    text = "A = 1\nB = 2\ndef trial(case, run): return {'a': A, 'b': B}\n" + STUDY[STUDY.index("def judge") :]
    head = "from deepscope.core import Grid, Study\ndef limit(): pass\ndef marker(): pass\n"
    folder.put("study.py", head + text)
    trial = folder.trial()
    before = code_of(trial)
    folder.put("study.py", head + text.replace("A = 1\nB = 2\n", "B = 2\nA = 1\n"))
    assert code_of(trial) == before


def test_code_is_the_same_in_every_process_and_folder(
    study: tuple[Folder, Callable[..., Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, trial = study
    # Without torch the new processes start faster.
    light = STUDY.replace("import deepscope.linalg\n", "")
    folder.put("study.py", light)
    other = Folder(tmp_path_factory.mktemp("other"))
    for name, text in {**FILES, "study.py": light}.items():
        other.put(name, text)
    script = (
        "import sys; from pathlib import Path; from deepscope.studies import load_file\n"
        "from deepscope.lab._identity import code_of; print(code_of(load_file(Path(sys.argv[1])).trial))"
    )
    command = [sys.executable, "-c", script, str(other.path / "study.py")]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.strip() == code_of(trial)
    # Run as a program, its module is __main__.
    code = "\nfrom deepscope.lab._identity import code_of\nif __name__ == '__main__':\n    print(code_of(trial))\n"
    other.put("study.py", light.replace("    print(STUDY)\n", "    pass\n") + code)
    command = [sys.executable, str(other.path / "study.py")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.strip() == code_of(trial)


def test_a_program_of_a_package_keeps_its_name(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """``python -m pack.study`` calls the module __main__, and its specification by its name."""
    folder.put("pack/study.py", "from .helper import f\n\n\ndef trial(case, run):\n    return f()\n")
    folder.put("pack/helper.py", "def f():\n    return {}\n")
    module = ModuleType("program")
    module.__file__, module.__spec__ = str(folder.path / "pack/study.py"), ModuleSpec("pack.study", None)
    monkeypatch.setitem(sys.modules, "program", module)
    exec("def trial(case, run): ...", names := {"__name__": "program"})
    assert {"pack.study:trial", "pack.helper:f"} <= closure(names["trial"]).keys()


def test_a_decorated_function_is_found_by_its_own_name(folder: Folder) -> None:
    folder.put("study.py", STUDY.replace("def trial", "@functools.lru_cache\ndef trial"))
    for name, text in FILES.items():
        if name != "study.py":
            folder.put(name, text)
    assert "study:trial" in closure(folder.trial())


def test_the_closure_names_what_is_taken(study: tuple[Folder, Callable[..., Any]]) -> None:
    _, trial = study
    found = closure(trial)
    assert found["study:import math"] == "math"
    assert found["study:import renamed"] == "package.moved"
    assert found["package:import moved"] == "package.parts.moved"
    assert {"study:steps", "study:back", "study:FIRST,REST", "study:COUNT (2)", "third:SCALE"} <= found.keys()
    assert not {"study:judge", "study:draw", "study:STUDY", "study:unrelated", "study:limit"} & found.keys()
    assert list(found) == sorted(found)


def outer() -> Callable[..., Any]:
    def inner(case: object, run: object) -> dict[str, Any]:
        return {}

    return inner


class Holder:
    def trial(self, run: object) -> dict[str, Any]:
        return {}


exec("def typed(case, run): return {}", typed_names := {"__name__": "typed_at_a_prompt"})


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda case, run: {}, "a lambda"),
        (outer(), "a function inside another"),
        (functools.partial(code_of), "a partial function"),
        (Holder.trial, "a method"),
        (Holder().trial, "a method"),
        (typed_names["typed"], "typed at a prompt"),
        (len, "compiled"),
    ],
    ids=["lambda", "nested", "partial", "method", "bound method", "typed", "compiled"],
)
def test_a_function_that_cannot_be_told_apart_is_refused(function: Callable[..., Any], what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        code_of(function)
    assert "at the top of a .py file" in caught.value.todo


def test_a_function_that_its_file_no_longer_has_is_refused(study: tuple[Folder, Callable[..., Any]]) -> None:
    folder, trial = study
    folder.edit("study.py", "def trial", "def renamed_trial")
    with pytest.raises(UsageError, match=r"no definition of trial at its top: .*study\.py"):
        code_of(trial)
    (folder.path / "study.py").unlink()
    with pytest.raises(UsageError, match=r"cannot be read \(FileNotFoundError"):
        code_of(trial)


DEFAULTS = {"width": 64, "noise": 0.0, "name": "relu", "flag": True}


def test_the_identity_of_a_trial_is_the_hash_of_what_was_agreed() -> None:
    case = {**DEFAULTS, "width": 8, "rate": 0.1}
    text = '[1,"double-descent","abc",{"rate":0.1,"width":8},3]'
    expected = hashlib.sha256(text.encode()).hexdigest()[:20]
    assert trial_identity("double-descent", "abc", case, DEFAULTS, 3) == expected


def test_a_field_with_its_default_changes_nothing() -> None:
    with_more = {**DEFAULTS, "added": "later"}
    assert trial_identity("s", "c", DEFAULTS, DEFAULTS, 0) == trial_identity("s", "c", with_more, with_more, 0)
    assert trial_identity("s", "c", Case(**DEFAULTS), DEFAULTS, 0) == trial_identity("s", "c", {}, DEFAULTS, 0)


@pytest.mark.parametrize("change", [{"width": 64.0}, {"noise": 0}, {"noise": -0.0}, {"flag": 1}, {"name": "Relu"}])
def test_the_type_and_every_bit_of_a_value_count(change: dict[str, Any]) -> None:
    assert trial_identity("s", "c", {**DEFAULTS, **change}, DEFAULTS, 0) != trial_identity("s", "c", {}, DEFAULTS, 0)


VALUES = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
TRIALS = st.tuples(
    st.sampled_from(["a", "b"]),
    st.sampled_from(["c", "d"]),
    st.dictionaries(st.sampled_from(["x", "y"]), VALUES | st.sampled_from([0, 0.0, False, 1, 1.0, True, "1"])),
    st.integers(0, 3),
)


@given(TRIALS, TRIALS)
def test_two_trials_have_one_identity_only_if_they_are_the_same(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    def told(trial: tuple[Any, ...]) -> object:
        study, code, case, seed = trial
        return study, code, sorted((name, type(value), repr(value)) for name, value in case.items()), seed

    def identity(trial: tuple[Any, ...]) -> str:
        study, code, case, seed = trial
        return trial_identity(study, code, case, {}, seed)

    assert (identity(one) == identity(other)) == (told(one) == told(other))
