"""Autoencoders: networks that reproduce their input from a code of few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._activation import make_activation
from deepscope.models._inputs import values
from deepscope.models._mlp import MLP
from deepscope.models._sizes import check_vectors, positive


class Autoencoder(nn.Module):
    """Autoencoder: a perceptron to a code h = s(f(x)), and its mirror image back, x̂ = s′(g(h)).

    Maps [batch, …] to reconstructions, [batch, in_features]: what follows the batch dimension is flattened. With widths
    d₀ = in_features, d₁, …, d_k = code it has Σᵢ (2 dᵢ dᵢ₋₁ + dᵢ + dᵢ₋₁) parameters; an evaluation costs 4 Σᵢ dᵢ dᵢ₋₁
    operations a sample. Source: ``hinton2006reducing``.

    A linear one, ``hidden=()`` and identities, has no local minimum of the squared error but the projection on the
    leading principal components, where the error is the sum of the other eigenvalues of the covariance
    (``baldi1989neural``). The paper's network is pre-trained by restricted Boltzmann machines; this one begins as torch
    initialises its layers.

    Parameters
    ----------
    in_features
        Number of values per sample.
    hidden
        Widths of the encoder's hidden layers; the decoder's are the same in reverse.
    code
        Number of values of the code.
    activation
        Of the hidden layers, as ``MLP`` takes it.
    code_activation, output_activation
        s and s′: ``"sigmoid"`` for codes or values between 0 and 1.

    Raises
    ------
    UsageError
        A size below 1, an unknown activation; when called: inputs of another size or precision.

    Examples
    --------
    >>> import torch
    >>> model = Autoencoder(64, (32,), 4)
    >>> model(torch.zeros(5, 8, 8)).shape, model.encode(torch.zeros(5, 64)).shape
    (torch.Size([5, 64]), torch.Size([5, 4]))
    >>> sum(p.numel() for p in model.parameters())
    4484
    """

    def __init__(
        self,
        in_features: int = 784,
        hidden: Sequence[int] = (1000, 500, 250),
        code: int = 30,
        *,
        activation: str = "sigmoid",
        code_activation: str = "identity",
        output_activation: str = "sigmoid",
    ) -> None:
        super().__init__()
        self.in_features, self.code = positive(in_features, "in_features", self), positive(code, "code", self)
        for width in hidden:
            positive(width, "hidden", self)
        self.encoder = MLP(in_features, hidden, code, activation=activation)
        self.code_activation = make_activation(code_activation)
        self.decoder = MLP(code, tuple(reversed(hidden)), in_features, activation=activation)
        self.output_activation = make_activation(output_activation)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes, [batch, code]."""
        check_vectors(x, self.in_features, self)
        return cast(Tensor, self.code_activation(self.encoder(x)))

    def decode(self, code: Tensor) -> Tensor:
        """Return what codes, [batch, code], stand for, [batch, in_features]."""
        check_vectors(code, self.code, self)
        return cast(Tensor, self.output_activation(self.decoder(code)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstructions."""
        return self.decode(self.encode(x))


def reconstruction_error(model: nn.Module, x: Tensor) -> Tensor:
    """Return the squared error of a sample's reconstruction, summed over its values, in the mean over samples.

    Parameters
    ----------
    model
        Maps x to reconstructions, [batch, features].
    x
        [batch, …].

    Raises
    ------
    UsageError
        No samples.

    Examples
    --------
    >>> import torch
    >>> reconstruction_error(nn.Flatten(), torch.ones(5, 2, 2)).item()
    0.0
    """
    return squared_distance(model(check_batch(x, "reconstruction_error")), x)


def squared_distance(reconstructions: Tensor, x: Tensor) -> Tensor:
    """Return ‖x̂ − x‖² in the mean over samples."""
    return (reconstructions - x.flatten(1)).square().sum(1).mean()


def check_batch(x: Tensor, where: str) -> Tensor:
    """Return a batch, or refuse one without samples, whose mean is no number.

    Raises
    ------
    UsageError
        It has none.
    """
    if not len(x):
        raise UsageError(f"x is {list(x.shape)}", where=where, todo="Give at least one sample.")
    return x


SPECIMENS = (
    Specimen(
        name="deep-autoencoder",
        title="deep autoencoder of handwritten digits",
        build=Autoencoder,
        inputs=values(1, 28, 28),
        parameters=2_837_314,
        formula="h = f(x), x̂ = σ(g(h)) with perceptrons f of 784-1000-500-250-30 units and g of 30-250-500-1000-784; "
        "training lowers ‖x̂ − x‖². A linear one finds the principal components.",
        source="hinton2006reducing",
        rows=("autoencoder",),
        pinned_by="tests/models/test_autoencoder.py::test_a_linear_one_is_pca_and_a_deep_one_beats_it_on_curved_surfaces",
    ),
)
