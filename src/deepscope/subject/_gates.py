"""The gates that a recurrent layer's weights stack."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import nn

from deepscope.subject._layout import Layout, stacked

#: Gates in PyTorch's order, by their number.
_GATES = {4: ("input", "forget", "cell", "output"), 3: ("reset", "update", "new"), 1: ()}
_STACKED = re.compile(r"(?P<layer>(?:.+[./])?)weight_(?P<side>ih|hh)(?P<which>(_l\d+)?(_reverse)?)")


def gate_layout(
    name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]], module: nn.Module | None
) -> Layout | None:
    """Return how a recurrent layer's weight stacks its gates; None where it is no such weight.

    Their number is the module's, else the height of ``weight_hh`` over the hidden size (4 for LSTM, 3 for GRU, 1 for
    a plain RNN), which is its width, or that of the projection ``weight_hr``. Where there is no ``weight_hh``, the
    layer's name must tell.

    Parameters
    ----------
    name, shape
        The tensor's.
    shapes
        Shapes of all tensors by name.
    module
        The layer where there is one.
    """
    found = _STACKED.fullmatch(name)
    if found is None or len(shape) != 2:
        return None
    n_gates = _of_module(module) or _of_shapes(found, shapes) or _of_name(found["layer"])
    if n_gates is None or shape[0] % n_gates:
        return Layout(why_whole="neither shape nor name tells whether these are the gates of an LSTM, a GRU or none")
    names = _GATES[n_gates]
    return Layout(parts=stacked(names, shape, 0) if names else ())


def _of_module(module: nn.Module | None) -> int | None:
    for kinds, n_gates in (
        ((nn.LSTM, nn.LSTMCell), 4),
        ((nn.GRU, nn.GRUCell), 3),
        ((nn.RNN, nn.RNNCell), 1),
    ):
        if isinstance(module, kinds):
            return n_gates
    return None


def _of_shapes(found: re.Match[str], shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    recurrent = shapes.get(f"{found['layer']}weight_hh{found['which']}", ())
    projection = shapes.get(f"{found['layer']}weight_hr{found['which']}", recurrent)
    if len(recurrent) != 2 or len(projection) != 2 or not projection[1]:
        return None
    n_gates, rest = divmod(recurrent[0], projection[1])
    return n_gates if not rest and n_gates in _GATES else None


def _of_name(layer: str) -> int | None:
    kinds = {4: "lstm" in layer.lower(), 3: "gru" in layer.lower()}
    told = [n_gates for n_gates, is_told in kinds.items() if is_told]
    return told[0] if len(told) == 1 else None
