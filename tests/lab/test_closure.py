"""What a trial's code is taken to be: the rules beyond plain names, each on a few lines of code."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import Protocol

import pytest

import deepscope
from deepscope.core import UsageError
from deepscope.lab import _followed
from deepscope.lab._closure import Walk
from deepscope.lab._followed import Modules

PACKAGE = Path(deepscope.__file__).parent


class Taken(Protocol):
    def __call__(self, trial: str, *, texts: tuple[str, ...] = (), **files: str) -> set[str]: ...


@pytest.fixture
def taken(tmp_path: Path) -> Taken:
    """Write files ("a__b" is a/b.py), and say which definitions are taken for the ``trial`` of the first."""
    times = itertools.count(1_700_000_000)

    def write_and_walk(trial: str, *, texts: tuple[str, ...] = (), **files: str) -> set[str]:
        for name, text in {"study": trial, **files}.items():
            path = tmp_path / f"{name.replace('__', '/')}.py".replace("/init.py", "/__init__.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            # A file that is written again is newer, however coarse the clock.
            os.utime(path, (0, next(times)))
        found = Walk(Modules("study", tmp_path / "study.py"), ["trial"], texts).result()
        return {name for name in found if ":import " not in name and not name.endswith(":(order)")}

    return write_and_walk


HELPER = "A = 1\nB = 2\ndef f(): return A\ndef g(): return B\n"
WHOLE = {"helper:A", "helper:B", "helper:f", "helper:g"}


@pytest.mark.parametrize(
    "use",
    [
        "import helper\ndef trial(case, run): return getattr(helper, case.name)()",
        "import helper\ndef trial(case, run): return run(helper)",
        "import helper\ndef trial(case, run): return vars(helper)",
        "import helper\ndef trial(case, run): return helper.__dict__['f']",
        "import helper\nalias = helper\ndef trial(case, run): return alias.f()",
        "import helper as other\ndef trial(case, run): return getattr(other, 'f')",
        "def trial(case, run):\n    import helper\n    return getattr(helper, 'f')",
        "from helper import *\ndef trial(case, run): return f()",
    ],
)
def test_a_module_handed_on_as_an_object_is_taken_whole(taken: Taken, use: str) -> None:
    assert taken(use, helper=HELPER) >= WHOLE


@pytest.mark.parametrize(
    "use",
    [
        "import helper\ndef trial(case, run): return helper.f()",
        "from helper import f\ndef trial(case, run): return f()",
        "from helper import f as g\ndef trial(case, run): return g()",
        "def trial(case, run):\n    from helper import f\n    return f()",
        "def trial(case, run):\n    def inner():\n        import helper as h\n        return h.f\n    return inner()()",
        "import helper\nclass Base:\n    run = helper.f\ndef trial(case, run): return Base.run()",
        "import helper\ndef trial(case, run=helper.f): return run()",
        "import helper\n@helper.f\ndef trial(case, run): return 1",
        "try:\n    from helper import f\nexcept ImportError:\n    f = None\ndef trial(case, run): return f()",
    ],
)
def test_of_a_module_only_what_is_named_is_taken(taken: Taken, use: str) -> None:
    assert {name for name in taken(use, helper=HELPER) if name.startswith("helper")} == {"helper:A", "helper:f"}


def test_a_package_handed_on_as_an_object_comes_with_the_module_it_was_imported_for(taken: Taken) -> None:
    found = taken("import pack.helper\ndef trial(case, run): return getattr(pack, case.name)", pack__helper=HELPER)
    assert found == {"study:trial", "pack.helper:A", "pack.helper:B", "pack.helper:f", "pack.helper:g"}


@pytest.mark.parametrize(
    "look_up",
    [
        "return globals()['f']()",
        "return eval('f()')",
        "exec('f()')",
        "return __import__('study').f()",
        "import importlib\n    return importlib.import_module('study').f()",
        "from importlib import import_module as load\n    return load('study').f()",
        "import sys\n    return sys.modules[__name__].f()",
        "from sys import modules\n    return modules[__name__].f()",
        "import builtins\n    return builtins.eval('f()')",
        "return [each() for each in Base.__subclasses__()]",
    ],
)
def test_code_that_looks_code_up_takes_its_module_but_not_the_verdict(taken: Taken, look_up: str) -> None:
    text = f"""
class Base: pass
def f(): return 1
def judge(trials): return 1
def draw(trials): return 1
def trial(case, run):
    {look_up}
STUDY = Study(trial=trial, judge=judge, draw=draw)
"""
    assert taken(text) == {"study:Base", "study:f", "study:trial"}


@pytest.mark.parametrize(
    "value", ["[i for i in 'ab']", "{i: 1 for i in 'ab'}", "sum(i for i in ())", "lambda: (i := 1)"]
)
def test_a_name_inside_an_expression_is_none_of_the_module(taken: Taken, value: str) -> None:
    assert taken(f"CONSTANT = {value}\ndef trial(case, run): return [i for i in ()]") == {"study:trial"}


@pytest.mark.parametrize(
    "binding",
    [
        "i = 1",
        "i, j = 1, 2",
        "(j, [*i]) = 1, [2]",
        "i: int = 1",
        "j = [(i := 1)]",
        "for i in 'ab': pass",
        "with open('f') as i: pass",
        "match 1:\n    case [*i]: pass",
        "match 1:\n    case {'a': 1, **i}: pass",
        "match 1:\n    case int() as i: pass",
        "if 1:\n    while 0:\n        i = 1",
        "try:\n    j = 1\nfinally:\n    def i(): pass",
        "class i: pass",
        "async def i(): pass",
    ],
)
def test_a_name_is_bound_in_many_ways(taken: Taken, binding: str) -> None:
    labels = taken(f"{binding}\nk = 1\ndef trial(case, run): return i") - {"study:trial"}
    assert [set(label.removeprefix("study:").split(",")) - {"f", "j"} for label in labels] == [{"i"}]


def test_a_method_called_eval_looks_nothing_up(taken: Taken) -> None:
    assert taken("def f(): pass\ndef trial(case, run): return case.eval()") == {"study:trial"}
    assert taken("def eval(x): pass\ndef f(): pass\ndef trial(case, run): return eval(1)") == {
        "study:trial",
        "study:eval",
    }


def test_a_module_that_looks_code_up_is_taken_whole_but_not_its_users(taken: Taken) -> None:
    text = "from helper import f\ndef other(): pass\ndef trial(case, run): return f()"
    found = taken(text, helper=HELPER.replace("return A", "return globals()['A']"))
    assert found == WHOLE | {"study:trial"}


def test_judge_and_draw_are_what_the_study_calls_so(taken: Taken) -> None:
    text = """
LIMIT = 1
def draw(generator): return generator
def criteria(trials): return LIMIT
def figure(trials): return 1
def trial(case, run): return globals(), draw(run)
STUDY = Study(trial=trial, judge=criteria, draw=figure)
"""
    assert taken(text) == {"study:draw", "study:trial", "study:LIMIT"}


def test_a_name_judge_is_nothing_special_outside_a_study(taken: Taken) -> None:
    found = taken("from helper import judge\ndef trial(case, run): return judge()", helper="def judge(): pass\n")
    assert found == {"study:trial", "helper:judge"}


REGISTRY = "FOUND = []\ndef register(f):\n    FOUND.append(f)\n    return f\n"


def test_a_decorator_of_a_followed_module_may_register(taken: Taken) -> None:
    text = "from registry import FOUND\nimport plugins\ndef trial(case, run): return FOUND"
    plugins = "import functools\nfrom registry import register\n@register\ndef a(): return b()\ndef b(): pass\n"
    plugins += "@functools.lru_cache\ndef c(): pass\n"
    found = taken(text, registry=REGISTRY, plugins=plugins)
    assert found == {"study:trial", "registry:FOUND", "registry:register", "plugins:a", "plugins:b"}


def test_a_decorator_that_is_called_may_register_too(taken: Taken) -> None:
    text = "import registry\n@registry.register('a')\ndef a(): pass\ndef trial(case, run): return registry.FOUND"
    registry = "FOUND = {}\ndef register(name): return lambda f: FOUND.setdefault(name, f)\n"
    assert taken(text, registry=registry) == {"study:trial", "study:a", "registry:FOUND", "registry:register"}


def test_a_decorator_of_the_study_may_register_as_well(taken: Taken) -> None:
    text = (
        REGISTRY
        + "@register\ndef a(): pass\ndef trial(case, run): return FOUND\ndef judge(trials): return a()\nSTUDY = 1"
    )
    assert taken(text) == {"study:FOUND", "study:register", "study:a", "study:trial"}


def test_a_decorator_that_serves_the_verdict_alone_registers_nothing_for_the_trial(taken: Taken) -> None:
    text = (
        REGISTRY
        + "@register\ndef a(): pass\ndef trial(case, run): return 1\ndef judge(trials): return FOUND\nSTUDY = 1"
    )
    assert taken(text) == {"study:trial"}


@pytest.mark.parametrize(
    ("action", "felt"),
    [
        ("LIMITS['a'] = 1", False),
        ("LIMITS['a'] = OTHER", False),
        ("LIMITS.note = 1", False),
        ("LIMITS.update(a=1)", False),
        ("del LIMITS['a']", False),
        ("for key in LIMITS: LIMITS[key] *= 2", False),
        ("judge.note = LIMITS", False),
        ("STUDY.scales['quick'] = LIMITS", False),
        ("VALUES['a'] = 1", True),
        ("VALUES['a'] = LIMITS", True),
        ("fill(LIMITS)", True),
        ("_ = fill(LIMITS)", True),
        ("np.seterr(all='raise')", True),
        ("LIMITS['a'] = np.seterr(all='raise')", True),
        ("print(1)", True),
        ("globals()[OTHER] = LIMITS", True),
        ("if OTHER: VALUES.clear()", True),
        ("assert VALUES", True),
        ("while not VALUES: VALUES['a'] = 1", True),
        ("with open('f') as handle: text = handle.read()", True),
        ("try:\n    VALUES.clear()\nexcept KeyError:\n    pass", True),
        ("try:\n    import json\nexcept ImportError:\n    VALUES.clear()", True),
        ("try:\n    import json\nexcept ImportError:\n    json = None", False),
    ],
)
def test_an_action_counts_unless_the_trial_cannot_feel_it(taken: Taken, action: str, felt: bool) -> None:
    text = """
import numpy as np
LIMITS = {}
VALUES = {}
OTHER = "VALUES"
def fill(table): VALUES.update(table)
def trial(case, run): return VALUES
def judge(trials): return LIMITS
def draw(trials): return OTHER
STUDY = Study(trial=trial, judge=judge, draw=draw)
"""
    before = taken(text)
    assert before == {"study:VALUES", "study:trial"}
    assert (taken(text + action + "\n") != before) == felt


def test_every_action_of_another_module_counts(taken: Taken) -> None:
    text = "from helper import f\ndef trial(case, run): return f()"
    assert "helper:(statement)" in taken(text, helper=HELPER + "B.real\n")


def test_what_is_run_by_an_import_counts(taken: Taken) -> None:
    text = "import outer.inner.leaf\nfrom tools import settings\ndef trial(case, run): return 1"
    files = {
        "outer__init": "print(1)",
        "outer__inner__leaf": "from chained import VALUE\nprint(2)",
        "chained": "print(3)\nVALUE = 1",
        "tools__settings": "print(4)",
        "apart": "print(5)",
    }
    statements = {
        "outer:(statement)",
        "outer.inner.leaf:(statement)",
        "chained:(statement)",
        "tools.settings:(statement)",
    }
    assert taken(text, **files) == {"study:trial", *statements}


def test_a_function_that_imports_runs_what_it_imports(taken: Taken) -> None:
    text = "def trial(case, run):\n    import helper"
    assert taken(text, helper="print(1)\ndef f(): pass") == {"study:trial", "helper:(statement)"}
    text = "def trial(case, run): pass\ndef other():\n    import helper"
    assert taken(text, helper="print(1)\ndef f(): pass") == {"study:trial"}


def test_modules_that_import_each_other_come_to_an_end(taken: Taken) -> None:
    text = "from one import f\ndef trial(case, run): return f()"
    one = "from two import g\nimport two\nfrom two import lost\ndef f(): return g() + two.h() + lost"
    two = "from one import f\nimport one\nfrom one import lost\nfrom study import *\n"
    two += "def g(): return f()\ndef h(): return one.f()"
    assert taken(text, one=one, two=two) == {"study:trial", "one:f", "two:g", "two:h"}


def test_a_package_that_loads_its_names_late_says_in_type_checking_where_they_are(taken: Taken) -> None:
    init = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from late.inner import f
else:
    VALUE = 1
def __getattr__(name): return globals()[name]
"""
    inner = "def f(): pass\ndef g(): pass"
    text = "import late\ndef trial(case, run): return late.f()"
    assert taken(text, late__init=init, late__inner=inner) == {"study:trial", "late.inner:f"}
    text = "from late import VALUE\ndef trial(case, run): return VALUE"
    assert taken(text, late__init=init, late__inner=inner) == {"study:trial", "late:VALUE"}
    text = "from late import unknown\ndef trial(case, run): return unknown"
    everything = {"study:trial", "late:VALUE", "late:__getattr__", "late.inner:f"}
    assert taken(text, late__init=init, late__inner=inner) == everything


def test_relative_imports_are_resolved(taken: Taken) -> None:
    text = "import pack.deep.one as one\ndef trial(case, run): return one.f()"
    one = "from . import two\nfrom .two import a\nfrom .. import top\nfrom ..top import b\n"
    one += "def f(): return two.c, a, top.d, b"
    names = "a = 1\nb = 1\nc = 1\nd = 1\n"
    found = taken(text, pack__init="", pack__deep__init="", pack__deep__one=one, pack__deep__two=names, pack__top=names)
    where = {"pack.deep.two:a", "pack.deep.two:c", "pack.top:b", "pack.top:d"}
    assert found == {"study:trial", "pack.deep.one:f", *where}


def test_a_study_inside_a_package_follows_its_package(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/__init__.py").write_text("")
    (tmp_path / "pack/study.py").write_text(
        "from .helper import f\nimport beside\ndef trial(case, run): return f, beside.g"
    )
    (tmp_path / "pack/helper.py").write_text("def f(): pass")
    (tmp_path / "beside.py").write_text("def g(): pass")
    found = Walk(Modules("pack.study", tmp_path / "pack/study.py"), ["trial"]).result()
    assert {"pack.study:trial", "pack.helper:f", "beside:g"} <= found.keys()


def test_installed_packages_are_not_followed(tmp_path: Path) -> None:
    installed = tmp_path / "site-packages"
    (installed / "pack").mkdir(parents=True)
    (installed / "pack/study.py").write_text(
        "from .helper import f\nimport other\ndef trial(case, run): return f, other.g"
    )
    (installed / "pack/helper.py").write_text("def f(): pass")
    (installed / "other.py").write_text("def g(): pass")
    found = Walk(Modules("pack.study", installed / "pack/study.py"), ["trial"]).result()
    assert found.keys() == {"pack.study:trial", "pack.helper:f", "pack.study:import f", "pack.study:import other"}


def test_the_order_of_definitions_counts_only_where_statements_act_or_rebind(tmp_path: Path) -> None:
    def walked(text: str) -> dict[str, str]:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.py"
        path.write_text(text)
        return {k.partition(":")[2]: v for k, v in Walk(Modules("study", path), ["trial"]).result().items()}

    trial = "def trial(case, run): return A, B, f\n"
    assert walked("A = 1\nB = 2\ndef f(): pass\n" + trial) == walked(trial + "def f(): pass\nB = 2\nA = 1\n")
    assert walked("A = 1\nA = B = 2\ndef f(): pass\n" + trial) != walked("A = B = 2\nA = 1\ndef f(): pass\n" + trial)
    acting = "A = {}\nB = dict(A)\nA['a'] = 1\n", "A = {}\nA['a'] = 1\nB = dict(A)\n"
    assert walked(acting[0] + trial) != walked(acting[1] + trial)
    assert walked(acting[0] + trial + "def f(): pass\n") == walked("def f(): pass\n" + acting[0] + trial)


def test_no_name_hides_behind_a_label(taken: Taken) -> None:
    text = "order = {}\nstatement = 1\norder['a'] = 2\ndef trial(case, run): return order, statement"
    assert taken(text) == {"study:order", "study:statement", "study:(statement)", "study:trial"}


def test_a_file_that_is_not_python_is_named(taken: Taken) -> None:
    with pytest.raises(UsageError, match=r"cannot be read \(SyntaxError.*\n?.*helper\.py, line 2"):
        taken("import helper\ndef trial(case, run): return helper.f()", helper="A = 1\nB = (\n")


# deepscope itself


def test_of_deepscope_what_is_used_is_taken(taken: Taken) -> None:
    found = taken(
        "from deepscope.models import MLP\nfrom deepscope.core import Study\ndef trial(case, run): return MLP, Study"
    )
    assert {"deepscope.models._mlp:MLP", "deepscope.models._activation:make_activation"} <= found
    assert not [name for name in found if "_lenet" in name or name.startswith("deepscope.core")]


@pytest.mark.parametrize(
    "use",
    [
        "import deepscope\ndef trial(case, run): return deepscope.models.MLP",
        "import deepscope.models\ndef trial(case, run): return deepscope.models.MLP",
        "import deepscope as ds\ndef trial(case, run): return ds.models.MLP",
        "from deepscope import models\ndef trial(case, run): return models.MLP",
        "import deepscope.models as models\ndef trial(case, run): return models.MLP",
    ],
)
def test_every_way_to_import_leads_to_the_same(taken: Taken, use: str) -> None:
    assert taken(use) == taken("from deepscope.models import MLP\ndef trial(case, run): return MLP")


def test_what_the_package_exports_late_is_followed(taken: Taken) -> None:
    expected = "deepscope.subject._subject:Subject"
    assert expected in taken("from deepscope import Subject\ndef trial(case, run): return Subject")
    assert expected in taken("import deepscope\ndef trial(case, run): return deepscope.Subject")
    found = taken("from deepscope import *\ndef trial(case, run): return Subject")
    assert expected in found
    assert "deepscope.models._mlp:MLP" not in found


def test_the_package_handed_on_as_an_object_is_all_of_it(taken: Taken) -> None:
    found = taken("import deepscope\ndef trial(case, run): return getattr(deepscope, case.part)")
    assert {"deepscope.models._lenet:LeNet", "deepscope.training._fit:fit", "deepscope.data.mnist:SOURCE"} <= found


@pytest.mark.parametrize("module", ["deepscope", "deepscope.data"])
def test_the_datasets_of_a_package_handed_on_are_all_taken_whatever_is_mentioned(taken: Taken, module: str) -> None:
    text = f"import {module} as it\ndef trial(case, run): return getattr(it, case.part), 'digits'"
    assert {"deepscope.data.mnist:SOURCE", "deepscope.data.names:SOURCE", "deepscope.data.digits:SOURCE"} <= set(
        taken(text)
    )


LOADING = "from deepscope.data import load\ndef trial(case, run): return load({})\n"


@pytest.mark.parametrize(
    ("text", "texts", "datasets"),
    [
        (LOADING.format("'digits'"), (), {"digits"}),
        (LOADING.format("case.data"), ("mnist", "relu"), {"mnist"}),
        (LOADING.format("'digits' if case.small else NAME") + "NAME = 'cifar10'\n", (), {"digits", "cifar10"}),
        (LOADING.format("case.data"), (), {"cifar10", "cora", "digits", "mnist", "names", "tinyshakespeare"}),
        (LOADING.format("case.data"), ("relu",), {"cifar10", "cora", "digits", "mnist", "names", "tinyshakespeare"}),
        ("from deepscope.models import MLP\ndef trial(case, run): return MLP, 'digits'\n", ("mnist",), set()),
        ("import deepscope\ndef trial(case, run): return deepscope.data.find('names')\n", (), {"names"}),
        ("from deepscope.data.names import load\ndef trial(case, run): return load(())\n", (), {"names"}),
    ],
)
def test_datasets_count_by_the_names_that_are_mentioned(
    taken: Taken, text: str, texts: tuple[str, ...], datasets: set[str]
) -> None:
    modules = {name.partition(":")[0] for name in taken(text, texts=texts)}
    assert {name for name in datasets | {"digits", "mnist"} if f"deepscope.data.{name}" in modules} == datasets
    assert not [
        name
        for name in modules
        if name.startswith("deepscope.data.") and "._" not in name and name[15:] not in datasets
    ]


def test_a_dataset_that_mentions_another_takes_it_along(taken: Taken, own_copy: Path) -> None:
    (own_copy / "data/noisy_digits.py").write_text(
        "from deepscope.data._source import Source\nfrom deepscope.data._load import load as by_name\n"
        "def load(paths): return by_name('digits')\n"
        "SOURCE = Source(name='noisy-digits', title='', licence='', load=load)\n"
    )
    found = taken(LOADING.format("'noisy-digits'"))
    assert {"deepscope.data.noisy_digits:load", "deepscope.data.digits:load"} <= found
    assert "deepscope.data.mnist:load" not in found


@pytest.fixture
def own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, to edit."""
    folder = tmp_path / "copy" / "deepscope"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(_followed, "FOLDER", folder)
    return folder


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("models/_activation.py", '"relu": nn.ReLU', '"relu": nn.ReLU6', True),
        ("models/_mlp.py", "nn.Flatten()", "nn.Identity()", True),
        ("models/_mlp.py", "Multilayer perceptron: h", "A multilayer perceptron: h", False),
        ("models/_lenet.py", "nn.AvgPool2d(2)", "nn.MaxPool2d(2)", False),
        (
            "models/__init__.py",
            "from deepscope.models._lenet import LeNet\n",
            "from deepscope.models._new import New\n",
            False,
        ),
        ("models/_lenet.py", "class LeNet", "print(1)\nclass LeNet", False),
        ("models/_mlp.py", "class MLP", "print(1)\nclass MLP", True),
        ("data/digits.py", "div_(16)", "div_(15)", True),
        ("data/mnist.py", "div_(255)", "div_(256)", False),
        ("data/_load.py", "offline=offline), **options)", "offline=None), **options)", True),
        ("data/_load.py", "return states(find(name))", "return ()", False),
        ("core/study.py", "import re\n", "import re\nre.purge()\n", False),
    ],
)
def test_editing_deepscope_changes_what_uses_the_edited(
    taken: Taken, own_copy: Path, tmp_path: Path, file: str, old: str, new: str, changed: bool
) -> None:
    taken(LOADING.format("'digits'") + "from deepscope.models import MLP\nMODEL = MLP\ndef other(): return MODEL\n")
    study = tmp_path / "study.py"
    study.write_text(study.read_text().replace("return load", "return MLP, load"))

    def walked() -> dict[str, str]:
        return Walk(Modules("study", study), ["trial"]).result()

    before = walked()
    text = (own_copy / file).read_text()
    assert old in text
    # Another size: the file is read again even where the clock is coarse.
    (own_copy / file).write_text(text.replace(old, new) + "# edited\n")
    assert (walked() != before) == changed


def test_modules_that_python_finds_elsewhere_are_followed_but_for_installed_ones(
    taken: Taken, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    installed = tmp_path_factory.mktemp("environment") / "site-packages"
    (elsewhere / "mine").mkdir()
    (elsewhere / "mine" / "__init__.py").write_text("")
    (elsewhere / "mine" / "deep.py").write_text(HELPER)
    (elsewhere / "single.py").write_text(HELPER)
    installed.mkdir()
    (installed / "theirs.py").write_text(HELPER)
    for folder in (elsewhere, installed):
        monkeypatch.syspath_prepend(str(folder))
    use = "import theirs, single, math\nfrom mine.deep import f\n"
    found = taken(f"{use}def trial(case, run): return f() + single.g() + theirs.f() + math.pi")
    assert found == {"study:trial", "mine.deep:f", "mine.deep:A", "single:g", "single:B"}


def test_a_module_elsewhere_that_is_edited_while_python_runs_the_old_one_is_refused(
    taken: Taken, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "edited.py").write_text(HELPER)
    monkeypatch.syspath_prepend(str(elsewhere))
    trial = "from edited import f\ndef trial(case, run): return f()"
    assert "edited:f" in taken(trial)
    (elsewhere / "edited.py").write_text(HELPER.replace("A = 1", "A = 100"))
    with pytest.raises(UsageError, match="edited while this process runs the old one"):
        taken(trial)
