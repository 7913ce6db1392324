"""Finding studies: by listing the folders, and in a user's own file."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from deepscope.core import DeepscopeError, Study, UsageError, first_line, nearest, plain_fields
from deepscope.studies._from_source import FromSource, import_from_source

FOLDER = Path(__file__).parent
#: The folder of the user's own study that this process imported last, if any.
_last_folder: list[Path] = []


@dataclass(frozen=True)
class Heading:
    """What a study's file says about it, read without running it.

    Attributes
    ----------
    id
        Name of the file, with hyphens.
    claim, source, topics, rows, protocol, caption
        As in ``Study``.
    path
        The file.
    """

    id: str
    claim: str
    source: str
    topics: tuple[str, ...]
    rows: tuple[str, ...]
    protocol: str
    caption: str
    path: Path


def study_id(path: Path) -> str:
    """Return the id of the study in a file.

    >>> study_id(Path("studies/generalisation/double_descent_rff.py"))
    'double-descent-rff'
    """
    return path.stem.replace("_", "-")


def catalog(folder: Path = FOLDER) -> tuple[Heading, ...]:
    """List all studies by id. Nothing is imported, so that listing never loads torch.

    Raises
    ------
    DeepscopeError
        A file is no study, or two have one id.
    """
    found: dict[str, Heading] = {}
    for path in sorted(folder.glob("*/*.py")):
        if path.name.startswith("_"):
            continue
        heading = _heading(path)
        if heading.id in found:
            raise DeepscopeError(
                "two studies have one id",
                where=heading.id,
                todo=f"Rename {path} or {found[heading.id].path}.",
            )
        found[heading.id] = heading
    return tuple(found[name] for name in sorted(found))


def load_study(name: str) -> Study:
    """Import a study of the atlas, anew each time: what was edited since is seen.

    Raises
    ------
    UsageError
        There is no such study.
    DeepscopeError
        Its file does not import, or is no study.
    """
    headings = {heading.id: heading for heading in catalog()}
    if name not in headings:
        raise UsageError("unknown study", where=name, todo=nearest(name, headings))
    path = headings[name].path
    import_from_source(FOLDER)
    folder = f"{__package__}.{path.parent.name}"
    for loaded in [name for name in sys.modules if name.startswith(f"{folder}.")]:
        del sys.modules[loaded]
        # "from folder import module" would find the old one there, beside the new ones that the others import.
        vars(sys.modules[folder]).pop(loaded.rpartition(".")[2], None)
    return _study_of(_imported(path, lambda: importlib.import_module(f"{folder}.{path.stem}")), path)


def load_file(path: Path) -> Study:
    """Import a study from a user's own file; modules beside it can be imported from it.

    The file and the modules beside it are imported anew each time, the file under a name of its own: what was edited
    since is seen.

    Raises
    ------
    UsageError
        There is no such file.
    DeepscopeError
        It does not import, or is no study.
    """
    path = path.resolve()
    if not path.is_file() or path.suffix != ".py":
        raise UsageError(
            "no such study file", where=str(path), todo='Give a .py file; "deepscope study new NAME" writes one.'
        )
    name = _module_name(path)

    def run() -> ModuleType:
        import_from_source(path.parent)
        specification = importlib.util.spec_from_file_location(name, path, loader=FromSource(name, str(path)))
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[name] = module
        _put_first(path.parent)
        try:
            specification.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    return _study_of(_imported(path, run), path)


def _put_first(folder: Path) -> None:
    """Let modules be found in this folder first, and forget those that the last study and this one have imported."""
    for each in {*_last_folder, folder}:
        with suppress(ValueError):
            sys.path.remove(str(each))
        for name in [name for name, module in list(sys.modules.items()) if _stands_beside(name, module, each)]:
            del sys.modules[name]
    _last_folder[:] = [folder]
    sys.path.insert(0, str(folder))


def _stands_beside(name: str, module: ModuleType, folder: Path) -> bool:
    top, file = name.partition(".")[0], getattr(module, "__file__", None) or ""
    if not file.startswith(f"{folder}{os.sep}") or top in (__name__.partition(".")[0], "__main__"):
        return False
    # A virtual environment in the same folder holds modules too, but not under their own names.
    return Path(file).relative_to(folder).parts[0] in (top, f"{top}.py")


def _module_name(path: Path) -> str:
    """Return the name under which a user's file is imported: never that of an installed module."""
    return f"deepscope_user_study_{path.stem}"


def _imported(path: Path, run: Any) -> ModuleType:
    try:
        module: ModuleType = run()
    except DeepscopeError as error:
        raise DeepscopeError(
            f"the study is wrong ({error.what})", where=_place(error, path, error.where), todo=error.todo
        ) from error
    except (Exception, SystemExit) as error:
        raise DeepscopeError(
            f"the study does not import ({type(error).__name__}: {first_line(error)})",
            where=_place(error, path),
            todo="Mend the file.",
        ) from error
    return module


def _place(error: BaseException, path: Path, what: str = "") -> str:
    """Return the line of the study's file from which the error came."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    place = f"{path}, line {frames[-1].lineno}" if frames else str(path)
    return f"{place}: {what}" if what else place


def _study_of(module: ModuleType, path: Path) -> Study:
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise DeepscopeError("the file holds no study", where=str(path), todo="Write STUDY = Study(…) in it.")
    return study


def _heading(path: Path) -> Heading:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        call = next(call for call in map(_study_call, tree.body) if call is not None)
        said = _said(call)
    except (OSError, SyntaxError, ValueError, StopIteration) as error:
        raise DeepscopeError(
            f"the file holds no study that can be listed ({type(error).__name__}: {first_line(error)})",
            where=str(path),
            todo="Write STUDY = Study(claim=…, source=…, topics=(…), rows=(…), …) with plain text.",
        ) from error
    return Heading(
        id=study_id(path),
        claim=said["claim"],
        source=said["source"],
        topics=tuple(said["topics"]),
        rows=tuple(said["rows"]),
        protocol=said["protocol"],
        caption=said["caption"],
        path=path,
    )


def _said(call: ast.Call) -> dict[str, Any]:
    """Return what a heading is made of; what may be missing is empty, what is there must be plain."""
    plain, given = plain_fields(call), {each.arg for each in call.keywords}
    said = {"rows": (), "protocol": "", "caption": "", **plain}
    for name in ("claim", "source", "topics", "rows", "protocol", "caption"):
        if name not in said or (name in given and name not in plain):
            raise ValueError(f"{name} is {'not plain text' if name in given else 'missing'}")
    return said


def _study_call(statement: ast.stmt) -> ast.Call | None:
    if (
        isinstance(statement, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "STUDY" for target in statement.targets)
        and isinstance(statement.value, ast.Call)
    ):
        return statement.value
    return None
