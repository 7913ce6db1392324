"""What only a process of its own can show: start-up, interruption, pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [str(Path(sys.executable).parent / "deepscope")]


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "DEEPSCOPE_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    assert "examine" in done.stdout
    program = "import sys; sys.argv = ['deepscope', '--help']\nfrom deepscope.cli import run\nrun(['--help'])\n"
    loaded = subprocess.run(
        [sys.executable, "-c", f"{program}print('torch' in sys.modules, 'numpy' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]
    assert loaded == "False False"


@pytest.mark.parametrize(
    "verb",
    [
        "study list",
        "study list --json",
        "study --help",
        "runs list",
        "runs gc",
        "study new x",
        "study run",
        "atlas coverage",
        "reading",
        "reading mamba --json",
        "atlas build --out site",
        "atlas record --help",
    ],
)
def test_what_lists_does_not_load_torch(tmp_path: Path, verb: str) -> None:
    program = f"import sys\nfrom deepscope.cli import run\nrun({verb.split()})\nsys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(tmp_path), capture_output=True, check=False
    )
    assert done.returncode == 0


def test_importing_deepscope_does_not_load_torch() -> None:
    program = "import sys, deepscope; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_interrupted_in_the_middle(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time, pathlib, torch\n"
        "def network():\n    return torch.nn.Linear(4, 4)\n"
        "class Slow:\n"
        "    def __iter__(self):\n"
        "        pathlib.Path('started').touch()\n"
        "        time.sleep(60)\n"
        "        yield torch.ones(2, 4), torch.ones(2, 4)\n"
        "def data():\n    return Slow()\n"
    )
    process = subprocess.Popen(
        [*COMMAND, "examine", "slow:network", "--data", "slow:data", "--loss", "mse_loss", "--out", "r.html"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for _ in range(600):
        if (tmp_path / "started").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 3
    assert not list(tmp_path.glob("*.html"))
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("verb", ["study list", "runs list", "study run --help"])
def test_a_list_whose_reader_has_left_ends_quietly(tmp_path: Path, verb: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, *verb.split()],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_a_broken_pipe_ends_quietly(tmp_path: Path, flags: list[str]) -> None:
    import numpy as np

    np.savez(tmp_path / "w.npz", **{f"layer{i}.weight": np.ones((30, 30), np.float32) for i in range(200)})
    process = subprocess.Popen(
        [*COMMAND, "examine", "w.npz", "--instruments", "anatomy", *flags],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.wait(timeout=60)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
    assert process.returncode == 0


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_reader_who_leaves_does_not_hide_a_problem(tmp_path: Path, closed: str) -> None:
    import numpy as np

    np.savez(tmp_path / "w.npz", **{"layer.weight": np.full((30, 30), np.nan, np.float32)})
    process = subprocess.Popen(
        [*COMMAND, "examine", "w.npz", "--strict", "--out", "r.html"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    getattr(process, closed).close()
    process.wait(timeout=60)
    assert process.returncode == 1
    assert (tmp_path / "r.html").exists()


@pytest.mark.parametrize("redirection", [">&-", "2>&-"])
def test_closed_streams_are_no_traceback(tmp_path: Path, redirection: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{COMMAND[0]} runs list {redirection}"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_what_a_model_writes_below_python_does_not_spoil_the_json(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import os, torch\ndef network():\n    os.write(1, b'raw noise')\n    return torch.nn.Linear(4, 4)\n"
    )
    done = subprocess.run(
        [*COMMAND, "examine", "noisy:network", "--json"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["schema"]


def test_interrupted_while_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepscope.__main__ import main

    class Interrupted:
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "deepscope.cli", Interrupted())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_an_interrupt_of_code_made_from_a_string_ends_with_the_same_code(tmp_path: Path) -> None:
    """CPython would end the process by a signal: the study of tests/verify/test_study_kill.py met it by chance."""
    (tmp_path / "interrupted.py").write_text("exec('raise KeyboardInterrupt')\n")
    done = subprocess.run(
        [sys.executable, "-m", "deepscope", "study", "show", "interrupted.py"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted; nothing half-written.\n")
