"""H3: a shift and a diagonal state space between multiplications."""

from __future__ import annotations

import math
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import tokens
from deepscope.models._language_model import LanguageModel
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._residual_stack import ResidualStack
from deepscope.models._s4d import S4D
from deepscope.models._sizes import positive
from deepscope.models._state_space import StateSpace, Transfer


class ShiftSSM(StateSpace):
    """State space model of each feature whose A shifts its state by one: s_k = (B_1 x_k, s_{k−1,1} + B_2 x_k, …).

    Maps [batch, time, features] to as many numbers: y_k = C s_k + D x_k. Its kernel is the correlation of B and C,
    K_l = Σ_n C_{n+l} B_n, and 0 from N steps on: with B = (1, 0, …, 0), as it begins, the state is that of the last N
    inputs, which C weighs. For H features it has H (2N + 1) parameters. The kernel costs O(H N log N). The state is s,
    [batch, features, N]. Source: ``fu2023hungry``.

    C begins as N(0, 1/N).

    Parameters
    ----------
    features
        H.
    state_size
        N.

    Raises
    ------
    UsageError
        A size below 1; when called: an input or a state that does not fit.

    Examples
    --------
    >>> model = ShiftSSM(4, 16)
    >>> model(torch.zeros(2, 7, 4)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 4]), 132)
    """

    def __init__(self, features: int, state_size: int = 64) -> None:
        super().__init__(features, state_size)
        self.B = nn.Parameter(torch.eye(1, state_size).repeat(features, 1))
        self.C = nn.Parameter(torch.randn(features, state_size) / math.sqrt(state_size))

    def initial_state(self, batch: int) -> Tensor:
        """Return s = 0, [batch, features, N]."""
        return self.D.new_zeros(batch, self.input_size, self.state_size)

    def kernel(self, length: int) -> Tensor:
        """Return K_l for l < length, [features, length]."""
        size = 2 * self.state_size
        spectrum = torch.fft.rfft(self.C, size) * torch.fft.rfft(self.B, size).conj()
        return _fitted(torch.fft.irfft(spectrum, size)[:, : self.state_size], length)

    def transfer(self, length: int) -> Transfer:
        """Return what some steps do."""
        n = self.state_size
        index = torch.arange(n, device=self.D.device)
        ages = torch.arange(length, device=self.D.device)
        # C A^(l+1) is C moved l + 1 to the left, A^(k−1−l) B is B moved k − 1 − l to the right.
        reads = _moved(self.C, index + ages[:, None] + 1)
        writes = _moved(self.B, index[:, None] - ages.flip(0))
        leap = torch.eye(n, device=self.D.device, dtype=self.D.dtype).roll(length, 0).tril(-length)
        return Transfer(self.kernel(length), reads, writes, leap.expand(self.input_size, n, n))


def _moved(values: Tensor, index: Tensor) -> Tensor:
    """Return the entries of each row, [H, N], at an index of any shape; 0 outside."""
    inside = (index >= 0) & (index < values.shape[1])
    return values[:, index.clamp(0, values.shape[1] - 1)] * inside


def _fitted(kernel: Tensor, length: int) -> Tensor:
    return nn.functional.pad(kernel, (0, length - kernel.shape[1])) if kernel.shape[1] < length else kernel[:, :length]


class H3Mixer(Recurrence):
    """The mixer of H3: attention's three projections, with state spaces in place of the softmax.

    Maps [batch, time, width] to as many numbers. With q, k and v linear in the input and heads of m channels::

        y = W_o (q ⊙ S4D(Shift(k) ⊙ v))                     for m = 1
        y_t = W_o [q_tᵀ S4D(Shift(k) vᵀ)_t]                 for each head: S4D reads its m × m products

    The shift lets k say what came one step before, the product with v stores it in the diagonal state space, and that
    with q looks it up: a sequence's "after a came b" is recalled when a comes again. It has 4 w (w + 1) parameters for
    ``query``, ``key``, ``value`` and ``output``, w (2N + 1) for ``shift`` and m w (3N + 2) for ``diagonal``, with the
    width w and N states. A call costs O(T w (w + m log T)) operations. The state is that of the two state spaces.
    Source: ``fu2023hungry``.

    It differs from the paper's code in that the channels of a head share nothing: every product has its own kernel.

    Parameters
    ----------
    width
        w.
    state_size
        N, even.
    head_size
        m, a divisor of the width.

    Raises
    ------
    UsageError
        A size below 1, an odd state size, or a head size that does not divide; when called: an input or a state that
        does not fit.

    Examples
    --------
    >>> model = H3Mixer(8, state_size=4)
    >>> model(torch.zeros(2, 7, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 8]), 472)
    """

    def __init__(self, width: int, *, state_size: int = 64, head_size: int = 1) -> None:
        super().__init__(width)
        self.head_size = positive(head_size, "head_size", self)
        if width % head_size:
            raise UsageError(
                f"head_size is {head_size}", where="H3Mixer", todo=f"Give a divisor of the width, {width}."
            )
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.shift = ShiftSSM(width, state_size)
        self.diagonal = S4D(width * head_size, state_size)
        self.output = nn.Linear(width, width)

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return the state of the shift and that of the diagonal state space."""
        return self.shift.initial_state(batch), self.diagonal.initial_state(batch)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, width] and a state to an output and the next state."""
        shifted, moved = self.shift.step(self.key(x), state[0])
        stored, kept = self.diagonal.step(self._stored(x, shifted), state[1])
        return self._looked_up(x, stored), (cast(Tensor, moved), cast(Tensor, kept))

    def _outputs(self, x: Tensor) -> Tensor:
        return self._looked_up(x, self.diagonal(self._stored(x, self.shift(self.key(x)))))

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        shifted, moved = self.shift.scan(self.key(x), state[0])
        stored, kept = self.diagonal.scan(self._stored(x, shifted), state[1])
        return self._looked_up(x, stored), (cast(Tensor, moved), cast(Tensor, kept))

    def _stored(self, x: Tensor, key: Tensor) -> Tensor:
        """Return k vᵀ of each head, its m × m products after one another, [..., w m]."""
        key, value = self._heads(key), self._heads(self.value(x))
        return (key[..., None] * value[..., None, :]).flatten(-3)

    def _looked_up(self, x: Tensor, stored: Tensor) -> Tensor:
        query, m = self._heads(self.query(x)), self.head_size
        stored = stored.reshape(*query.shape, m)
        return cast(Tensor, self.output((query[..., None] * stored).sum(-2).flatten(-2)))

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.input_size // self.head_size, self.head_size)


class PerceptronMixer(Recurrence):
    """A perceptron of one hidden layer at each step, in the place of a mixer: y = W₂ φ(W₁ x + b₁) + b₂.

    Maps [batch, time, width] to as many numbers, with width × hidden_size × 2 + hidden_size + width parameters. It has
    no state. φ is GELU in its tanh approximation. Source: ``fu2023hungry``.

    Parameters
    ----------
    width
        Of the input and the output.
    hidden_size
        Units of the hidden layer; four times the width unless given.

    Raises
    ------
    UsageError
        A size below 1; when called: an input that does not fit.

    Examples
    --------
    >>> model = PerceptronMixer(8)
    >>> model(torch.zeros(2, 7, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 8]), 552)
    """

    def __init__(self, width: int, hidden_size: int | None = None) -> None:
        super().__init__(width)
        size = positive(4 * width if hidden_size is None else hidden_size, "hidden_size", self)
        self.hidden, self.activation, self.output = nn.Linear(width, size), nn.GELU("tanh"), nn.Linear(size, width)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return no tensors."""
        return ()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, width] to as many numbers."""
        return cast(Tensor, self.output(self.activation(self.hidden(x)))), state

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.step(x, state)


class H3(ResidualStack):
    """H3: residual blocks of H3 mixers and perceptrons in turn, x + f(norm(x)), and a norm.

    Maps [batch, time, width] to as many numbers: the body of a ``LanguageModel``. Each of the layers has the parameters
    of an ``H3Mixer`` and a ``PerceptronMixer`` and 4 w of two layer norms; the last norm has 2 w.
    Source: ``fu2023hungry``.

    Parameters
    ----------
    width
        w.
    num_layers
        Mixers, and perceptrons.
    state_size, head_size
        As in ``H3Mixer``.
    hidden_size
        As in ``PerceptronMixer``.

    Raises
    ------
    UsageError
        A size below 1 or one that does not fit; when called: an input or a state that does not fit.

    Examples
    --------
    >>> model = H3(8, 2, state_size=4)
    >>> model(torch.zeros(2, 7, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 8]), 2128)
    """

    def __init__(
        self, width: int, num_layers: int, *, state_size: int = 64, head_size: int = 1, hidden_size: int | None = None
    ) -> None:
        layers: list[Recurrence] = []
        for _ in range(positive(num_layers, "num_layers", self)):
            layers += [H3Mixer(width, state_size=state_size, head_size=head_size), PerceptronMixer(width, hidden_size)]
        super().__init__(layers, norm=partial(nn.LayerNorm, eps=1e-5))


def h3_125m() -> LanguageModel:
    """Return the H3 language model of 12 layers and 768 channels, without attention; 126,635,520 parameters.

    Maps tokens [batch, time] below 50,264 (the 50,257 of GPT-2, made a multiple of 8) to logits of the next. Head and
    embedding are tied. The model that is published with its weights has attention in place of the mixer of one layer,
    and 126,387,456 parameters. Source: ``fu2023hungry``.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     model = h3_125m()
    >>> sum(p.numel() for p in model.parameters())
    126635520
    """
    return LanguageModel(50_264, 768, H3(768, 12), tied=True)


SPECIMENS = (
    Specimen(
        name="h3-125m",
        title="language model of shift and diagonal state spaces between multiplications",
        build=h3_125m,
        inputs=tokens(50_264, 128),
        parameters=126_635_520,
        formula=(
            "y = W (q ⊙ S4D(Shift(k) ⊙ v)) with q, k, v linear in the input: 12 such mixers and as many perceptrons of "
            "3,072 hidden units as residual blocks with layer norms, width 768, 64 states."
        ),
        source="fu2023hungry",
        pinned_by="tests/models/test_h3.py::test_it_recalls_what_followed_a_token",
    ),
)
