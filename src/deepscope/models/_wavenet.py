"""WaveNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import tokens
from deepscope.models._receptive_field import Window, receptive_field
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import check_tokens, positive

_DILATIONS = tuple(2**layer for layer in range(10)) * 3


class GatedConvolution(nn.Module):
    """Layer of WaveNet: z_t = tanh(W_f * x)_t ⊙ σ(W_g * x)_t, of which one part is added to x and one is handed out.

    The convolutions are causal: they see x_t, x_{t−d}, …, x_{t−(k−1)d} for dilation d and kernel size k. With c
    channels and s skip channels there are 2 c (k c + 1) + (s + c) (c + 1) parameters; the last layer of a stack, whose
    sum nobody reads, has c (c + 1) less. Source: ``vandenoord2016wavenet``.

    Parameters
    ----------
    channels, skip_channels
        Channels of the input and the sum; channels handed out.
    kernel_size, dilation
        k and d.
    last
        Whether nothing follows that reads the sum.

    Raises
    ------
    UsageError
        A size below 1; when called: a past of another length.

    Examples
    --------
    >>> import torch
    >>> layer = GatedConvolution(8, 16, kernel_size=2, dilation=4)
    >>> total, skip = layer(torch.zeros(5, 8, 10), torch.zeros(5, 8, 4))
    >>> total.shape, skip.shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([5, 8, 10]), torch.Size([5, 16, 10]), 488)
    """

    def __init__(
        self, channels: int, skip_channels: int, *, kernel_size: int = 2, dilation: int = 1, last: bool = False
    ) -> None:
        super().__init__()
        positive(channels, "channels", self)
        positive(skip_channels, "skip_channels", self)
        self.reach = positive(dilation, "dilation", self) * (positive(kernel_size, "kernel_size", self) - 1)
        # The filter, then the gate.
        self.convolution = nn.Conv1d(channels, 2 * channels, kernel_size, dilation=dilation)
        self.tanh = nn.Tanh()
        self.sigmoid = nn.Sigmoid()
        self.residual = None if last else nn.Conv1d(channels, channels, 1)
        self.skip = nn.Conv1d(channels, skip_channels, 1)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum and what is handed out at all steps of x, [batch, channels, time].

        ``past`` is what came before, [batch, channels, (k − 1) d].
        """
        if past.shape[2] != self.reach:
            raise UsageError(f"the past has {past.shape[2]} steps", where="past", todo=f"Give {self.reach}, (k − 1) d.")
        signal, gate = self.convolution(torch.cat([past, x], 2)).chunk(2, 1)
        z = self.tanh(signal) * self.sigmoid(gate)
        return x if self.residual is None else x + self.residual(z), self.skip(z)


class DilatedStack(Recurrence):
    """Stack of dilated causal convolutions with gates, WaveNet without its head: the sum of what all layers hand out.

    Maps [batch, time, input_size] to [batch, time, skip_channels]. A causal convolution leads to the residual channels;
    ``GatedConvolution`` layers follow, one per dilation. An output sees its own step and those before it,
    1 + (k − 1) (1 + Σ_l d_l) in all. Before the first step there are zeros.

    The state is what each convolution still has to see of the past: a window of (k − 1) d steps per layer. So one step
    costs what one output of each convolution does, whatever came before, and memory is of order channels · Σ_l d_l. A
    sequence costs time · (parameters but for the biases) multiplications, all steps at once.
    Source: ``vandenoord2016wavenet``.

    Parameters
    ----------
    input_size
        Features of the input at each step.
    channels, skip_channels, kernel_size
        As for ``GatedConvolution``.
    dilations
        d of each layer.

    Raises
    ------
    UsageError
        A size below 1; no layers; when called: an input that is not [batch, time, input_size] with at least one step,
        or a state of other shapes than ``initial_state`` gives.

    Examples
    --------
    >>> import torch
    >>> stack = DilatedStack(3, channels=8, skip_channels=16, dilations=[1, 2, 4])
    >>> stack(torch.zeros(5, 20, 3)).shape, stack.receptive_field
    (torch.Size([5, 20, 16]), 9)
    """

    def __init__(
        self,
        input_size: int,
        *,
        channels: int = 32,
        skip_channels: int = 256,
        kernel_size: int = 2,
        dilations: Sequence[int] = _DILATIONS,
    ) -> None:
        super().__init__(input_size)
        if not dilations:
            raise UsageError("there are no dilations", where="DilatedStack", todo="Give that of each layer.")
        width = positive(channels, "channels", self)
        self.convolution = nn.Conv1d(input_size, width, positive(kernel_size, "kernel_size", self))
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            (
                f"layer{index}",
                GatedConvolution(
                    width,
                    skip_channels,
                    kernel_size=kernel_size,
                    dilation=dilation,
                    last=index == len(dilations),
                ),
            )
            for index, dilation in enumerate(dilations, start=1)
        )
        self.layers = nn.Sequential(layers)
        self.receptive_field = receptive_field(
            Window(kernel_size=kernel_size, dilation=dilation) for dilation in (1, *dilations)
        )

    def initial_state(self, batch: int) -> State:
        """Return zeros: for each convolution [batch, channels, (k − 1) d]."""
        weight = self.convolution.weight
        first = weight.new_zeros(batch, self.input_size, weight.shape[2] - 1)
        return first, *(weight.new_zeros(batch, len(weight), layer.reach) for layer in self._layers())

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, input_size] and a state to [batch, skip_channels] and the next state."""
        outputs, state = self._scan(x[:, None], state)
        return outputs[:, 0], state

    def _layers(self) -> list[GatedConvolution]:
        return [layer for layer in self.layers if isinstance(layer, GatedConvolution)]

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (first, *pasts), x = state, x.transpose(1, 2)
        after = [_last(first, x)]
        h: Tensor = self.convolution(torch.cat([first, x], 2))
        total: Tensor | None = None
        for layer, past in zip(self._layers(), pasts, strict=True):
            after.append(_last(past, h))
            h, skip = layer(h, past)
            # In place: a new tensor for each layer's sum would cost more than its convolution.
            total = skip.clone() if total is None else total.add_(skip)
        assert total is not None
        return total.transpose(1, 2), tuple(after)


def _last(past: Tensor, x: Tensor) -> Tensor:
    # As many steps as the past has. A copy, so that the state of a long sequence does not hold on to all of it.
    steps, time = past.shape[2], x.shape[2]
    return torch.cat([past[..., time:], x[..., max(time - steps, 0) :]], 2)


class WaveNet(nn.Module):
    """WaveNet: the logits of each sample of a sound from those before it, by dilated causal convolutions with gates.

    Maps [batch, time] integers to logits for the next one, [batch, time, classes]: 256 amplitudes of a sound, by the
    µ-law, or the letters of a text. A ``DilatedStack`` sees the integers one-hot; ReLU, 1×1 convolution, ReLU and 1×1
    convolution make logits of its output. With c channels, s skip channels, kernel size k, v classes and L layers there
    are k v c + c + L (2 c (k c + 1) + (s + c) (c + 1)) − c (c + 1) + s (s + 1) + v (s + 1) parameters, and about as
    many multiplications per step.

    The paper gives dilations, 1, 2, 4, …, 512 and again, and no widths; here there are three rounds, 32 channels and
    256 skip channels: 556,864 parameters and a receptive field of 3,071 steps. The paper's conditioning on a speaker or
    a text is left out. Weights begin as torch's. Source: ``vandenoord2016wavenet``.

    Parameters
    ----------
    classes
        Number of different integers.
    channels, skip_channels, kernel_size, dilations
        As for ``DilatedStack``.

    Raises
    ------
    UsageError
        A size below 1; no layers; when called: an input that is not [batch, time] integers below ``classes`` with at
        least one step, or a state of another model.

    Examples
    --------
    >>> import torch
    >>> model = WaveNet()
    >>> logits = model(torch.zeros(2, 10, dtype=torch.int64))
    >>> logits.shape, sum(p.numel() for p in model.parameters()), model.receptive_field
    (torch.Size([2, 10, 256]), 556864, 3071)
    """

    def __init__(
        self,
        classes: int = 256,
        *,
        channels: int = 32,
        skip_channels: int = 256,
        kernel_size: int = 2,
        dilations: Sequence[int] = _DILATIONS,
    ) -> None:
        super().__init__()
        self.classes = positive(classes, "classes", self)
        self.stack = DilatedStack(
            classes, channels=channels, skip_channels=skip_channels, kernel_size=kernel_size, dilations=dilations
        )
        self.head = nn.Sequential(
            OrderedDict(
                activation1=nn.ReLU(),
                linear1=nn.Linear(skip_channels, skip_channels),
                activation2=nn.ReLU(),
                output=nn.Linear(skip_channels, classes),
            )
        )

    @property
    def receptive_field(self) -> int:
        """How many integers an output can depend on, its own included."""
        return self.stack.receptive_field

    def forward(self, x: Tensor, state: State | None = None) -> Tensor:
        """Return the logits of what follows each integer, [batch, time, classes]."""
        return self.scan(x, state)[0]

    def scan(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the logits of what follows each integer, and the state after the last, from which a call goes on.

        Parameters
        ----------
        x
            [batch, time] integers.
        state
            Where to begin; ``stack.initial_state`` unless given.
        """
        check_tokens(x, self.classes, self)
        hot = functional.one_hot(x.long(), self.classes).to(self.stack.convolution.weight)
        features, state = self.stack.scan(hot, state)
        return self.head(features), state

    @torch.no_grad()
    def generate(self, x: Tensor, steps: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw what follows some integers, each from the logits after the last, [batch, steps].

        It costs one pass over what is given and one step per integer. The model is used as it is, in training or
        evaluation mode.

        Parameters
        ----------
        x
            What is given, [batch, time] with at least one step.
        steps
            How many are drawn.
        generator
            Draws them; torch's global one unless given.
        """
        drawn = []
        logits, state = self.scan(x)
        for _ in range(positive(steps, "steps", self)):
            drawn.append(torch.multinomial(logits[:, -1].softmax(1), 1, generator=generator))
            logits, state = self.scan(drawn[-1], state)
        return torch.cat(drawn, 1)


SPECIMENS = (
    Specimen(
        name="wavenet",
        title="generative network of dilated causal convolutions with gates",
        build=WaveNet,
        inputs=tokens(256, 200),
        parameters=556_864,
        formula=(
            "z = tanh(W_f * x) ⊙ σ(W_g * x), x ← x + W_r z with causal convolutions of dilation 1, 2, …, 512, three "
            "times; logits from the sum of all W_s z."
        ),
        source="vandenoord2016wavenet",
        pinned_by="tests/models/test_wavenet.py::test_an_output_sees_its_receptive_field_and_nothing_else",
    ),
)
