"""Which file of a model's folder is its checkpoint."""

from __future__ import annotations

import re
from pathlib import Path

from deepscope.core import TargetError
from deepscope.subject._checkpoint_file import shown

#: Names that libraries give, best first.
_PREFERRED = (
    "model.safetensors",
    "model.safetensors.index.json",
    "adapter_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.bin",
)
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".npz")
_INDEX = re.compile(r".+\.(safetensors|bin|pt|pth|ckpt)\.index\.json")
#: What training scripts leave beside a checkpoint under a checkpoint's suffix.
_COMPANION = re.compile(r"training_args|optimizer|scheduler|rng_state|scaler|random_states", re.IGNORECASE)


def checkpoint_in(folder: Path) -> Path:
    """Return the file of a folder that holds, or indexes, its weights.

    Raises
    ------
    TargetError
        The folder cannot be listed, has no weights, or several checkpoints and none with a usual name.
    """
    try:
        names = sorted(each.name for each in folder.iterdir())
    except OSError as error:
        raise TargetError(
            f"the folder cannot be listed ({error.strerror})", where=shown(folder), todo="Change its permissions."
        ) from None
    usual = next((name for name in _PREFERRED if name in names), None)
    if usual is not None:
        return folder / usual
    indexes = [name for name in names if _INDEX.fullmatch(name)]
    files = [name for name in names if name.lower().endswith(_SUFFIXES) and not _COMPANION.match(name)]
    candidates = indexes or files
    if not candidates:
        distributed = any(name.endswith(".distcp") for name in names)
        raise TargetError(
            "the folder holds no weights",
            where=shown(folder),
            todo="Convert the distributed checkpoint with torch.distributed.checkpoint.format_utils.dcp_to_torch_save."
            if distributed
            else f"Give a folder with one of {', '.join(f'*{suffix}' for suffix in _SUFFIXES)}.",
        )
    if len(candidates) > 1:
        listed = ", ".join(shown(name) for name in candidates[:6]) + (", …" if len(candidates) > 6 else "")
        raise TargetError(
            f"the folder holds {len(candidates)} checkpoints",
            where=shown(folder),
            todo=f"Give one of its files: {listed}.",
        )
    return folder / candidates[0]
