"""Reference models: one file per architecture family."""

from deepscope.models._attention import MultiHeadAttention
from deepscope.models._deep_bsde import DeepBSDE, hamilton_jacobi_bellman_solver
from deepscope.models._gpt2 import GPT2, gpt2, gpt2_large, gpt2_medium, gpt2_xl
from deepscope.models._language_model import LanguageModel
from deepscope.models._lenet import LeNet
from deepscope.models._linear_attention import LinearAttention
from deepscope.models._log_linear_attention import LogLinearAttention
from deepscope.models._mlp import MLP, lenet_300_100
from deepscope.models._parabolic import AllenCahn, HamiltonJacobiBellman, ParabolicProblem
from deepscope.models._positions import (
    ContextualPositions,
    LearnedPositions,
    LinearBiases,
    RotaryPositions,
    SinusoidalPositions,
)
from deepscope.models._quadratic_attention import QuadraticAttention
from deepscope.models._self_organising_map import SelfOrganisingMap, square_map
from deepscope.models._transformer import (
    FeedForward,
    Transformer,
    TransformerDecoder,
    TransformerEncoder,
    TransformerLayer,
    TransformerStack,
    transformer_base,
    transformer_big,
)
from deepscope.models._vit import VisionTransformer, vit_28, vit_b_16, vit_b_32, vit_h_14, vit_l_16

__all__ = [
    "GPT2",
    "MLP",
    "AllenCahn",
    "ContextualPositions",
    "DeepBSDE",
    "FeedForward",
    "HamiltonJacobiBellman",
    "LanguageModel",
    "LeNet",
    "LearnedPositions",
    "LinearAttention",
    "LinearBiases",
    "LogLinearAttention",
    "MultiHeadAttention",
    "ParabolicProblem",
    "QuadraticAttention",
    "RotaryPositions",
    "SelfOrganisingMap",
    "SinusoidalPositions",
    "Transformer",
    "TransformerDecoder",
    "TransformerEncoder",
    "TransformerLayer",
    "TransformerStack",
    "VisionTransformer",
    "gpt2",
    "gpt2_large",
    "gpt2_medium",
    "gpt2_xl",
    "hamilton_jacobi_bellman_solver",
    "lenet_300_100",
    "square_map",
    "transformer_base",
    "transformer_big",
    "vit_28",
    "vit_b_16",
    "vit_b_32",
    "vit_h_14",
    "vit_l_16",
]
