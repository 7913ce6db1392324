"""Which layers have an open form."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from deepscope.subject._open_attention import open_attention
from deepscope.subject._open_form import OpenForm
from deepscope.subject._open_recurrent import open_cell, open_recurrent

_FORMS: tuple[tuple[type[nn.Module], OpenForm], ...] = (
    (nn.MultiheadAttention, open_attention),
    (nn.RNN, open_recurrent),
    (nn.GRU, open_recurrent),
    (nn.LSTM, open_recurrent),
    (nn.RNNCell, open_cell),
    (nn.GRUCell, open_cell),
    (nn.LSTMCell, open_cell),
)


def open_form_of(module: nn.Module) -> OpenForm | None:
    """Return a layer's open form; None where there is none, as for a layer with a forward pass of its own.

    >>> open_form_of(nn.GRU(2, 3)).__name__, open_form_of(nn.Linear(2, 3))
    ('open_recurrent', None)
    """
    forward = type(module).forward
    return next((form for kind, form in _FORMS if isinstance(module, kind) and forward is kind.forward), None)


def parameters_of(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters that a layer uses itself, by name.

    An attention never calls its output layer, but uses that layer's weight and bias.

    >>> [name for name, _ in parameters_of(nn.MultiheadAttention(2, 1))]
    ['in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias']
    """
    yield from module.named_parameters(recurse=False, remove_duplicate=False)
    if isinstance(module, nn.MultiheadAttention):
        yield from module.out_proj.named_parameters("out_proj", recurse=False, remove_duplicate=False)
