"""What a trial may use: one thread, so much memory."""

from __future__ import annotations

import os
import resource
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from deepscope.lab._machine import peak_memory_bytes

#: Read by the BLAS and OpenMP libraries when they are loaded.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

#: What a process that runs trials is started with. With a fixed seed of text's hashes, sets are gone through in one
#: order in every worker.
CHILD_ENVIRONMENT = {**dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONHASHSEED": "0"}


@contextmanager
def same_conditions() -> Iterator[None]:
    """Compute as in a fresh process with one thread, whatever the caller or an earlier trial has set.

    One thread of BLAS, OpenMP and torch: the order of a sum, and so its last bit, is then always the same. torch's
    default type is float32 and its device the CPU, gradients are on, its switches of precision and of algorithms are
    as they come, NumPy only warns. Afterwards all is as it was, the working folder, the environment and the filters of
    warnings too.
    """
    import numpy as np
    import torch
    from threadpoolctl import threadpool_limits

    folder, environment = Path.cwd(), dict(os.environ)
    settings = _torch_settings()
    before = [setting.get() for setting in settings]
    _put(settings, [setting.fresh for setting in settings])
    try:
        with (
            threadpool_limits(1),
            warnings.catch_warnings(),
            torch.enable_grad(),
            np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"),
        ):
            yield
    finally:
        _put(settings, before)
        os.chdir(folder)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)


class _Setting(NamedTuple):
    get: Callable[[], Any]
    put: Callable[[Any], object]
    fresh: Any


def _torch_settings() -> list[_Setting]:
    """Return torch's settings of a whole process that change numbers, and what they are in a fresh one."""
    import torch
    from torch.backends import cudnn, mkldnn

    def flag(module: Any, name: str, fresh: bool) -> _Setting:
        return _Setting(lambda: getattr(module, name), lambda value: setattr(module, name, value), fresh)

    def set_device(device: torch.device) -> None:
        # None rather than the CPU: a default device that was given slows down every call.
        torch.set_default_device(None if device == torch.device("cpu") else device)

    return [
        _Setting(torch.get_num_threads, torch.set_num_threads, 1),
        _Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        _Setting(torch.get_default_device, set_device, torch.device("cpu")),
        _Setting(torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, False),
        _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
        _Setting(_flushes_denormals, torch.set_flush_denormal, False),
        flag(cudnn, "enabled", True),
        flag(cudnn, "benchmark", False),
        flag(cudnn, "deterministic", False),
        flag(mkldnn, "enabled", True),
    ]


def _put(settings: list[_Setting], values: list[Any]) -> None:
    import torch

    for setting, value in zip(settings, values, strict=True):
        # Only where it changes something: deterministic algorithms load torch's compiler, which takes seconds. The
        # number of threads in any case: torch says OpenMP's, and MKL, which it sets too, may still have another.
        if setting.put is torch.set_num_threads or setting.get() != value:
            setting.put(value)


def _flushes_denormals() -> bool:
    """Whether numbers too small to be normal count as 0; torch does not say, so a sum of such is asked."""
    import numpy as np

    return not np.float32(1e-39) * np.float32(0.5)


@contextmanager
def one_thread_for_children() -> Iterator[None]:
    """Let processes started meanwhile load BLAS and OpenMP with one thread, and hash text alike."""
    before = {name: os.environ.get(name) for name in CHILD_ENVIRONMENT}
    os.environ.update(CHILD_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def memory_limit(allowed: int | None) -> Iterator[None]:
    """Let this process allocate no more than so many bytes beyond what it has; an allocation past that fails.

    Linux only, where ``RLIMIT_DATA`` counts every private writable mapping; elsewhere there is no limit.
    """
    if allowed is None or sys.platform != "linux":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _status("VmData") + allowed
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def free_memory() -> int:
    """Return the bytes that are free on this machine, or in the container that this process is in."""
    import psutil

    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):
        # No such group, or one without a limit ("max").
        return free


def restart_peak_memory() -> None:
    """Let ``peak_memory_since`` count from here, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def peak_memory_since() -> int:
    """Largest resident size, in bytes, since ``restart_peak_memory``; of the whole process where that cannot be had."""
    return _status("VmHWM") or peak_memory_bytes()


def _status(field: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)
