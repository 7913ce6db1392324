"""Reference models: one file per architecture family."""

from deepscope.models._attention import MultiHeadAttention
from deepscope.models._deep_bsde import DeepBSDE, hamilton_jacobi_bellman_solver
from deepscope.models._fftnet import SpectralMixing
from deepscope.models._fnet import FNet, FourierMixing, fnet_base, fnet_large
from deepscope.models._gpt2 import GPT2, gpt2, gpt2_large, gpt2_medium, gpt2_xl
from deepscope.models._language_model import LanguageModel
from deepscope.models._lenet import LeNet
from deepscope.models._linear_attention import LinearAttention
from deepscope.models._llama import GatedFeedForward, Llama, llama3_8b, llama_7b
from deepscope.models._log_linear_attention import LogLinearAttention
from deepscope.models._macaron import MacaronLayer, macaron_base, macaron_encoder
from deepscope.models._mlp import MLP, lenet_300_100
from deepscope.models._modern_hopfield import ModernHopfield
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
    Transformer,
    TransformerDecoder,
    TransformerEncoder,
    transformer_base,
    transformer_big,
)
from deepscope.models._transformer_layer import FeedForward, TransformerLayer, TransformerStack
from deepscope.models._vit import VisionTransformer, vit_28, vit_b_16, vit_b_32, vit_h_14, vit_l_16

__all__ = [
    "GPT2",
    "MLP",
    "AllenCahn",
    "ContextualPositions",
    "DeepBSDE",
    "FNet",
    "FeedForward",
    "FourierMixing",
    "GatedFeedForward",
    "HamiltonJacobiBellman",
    "LanguageModel",
    "LeNet",
    "LearnedPositions",
    "LinearAttention",
    "LinearBiases",
    "Llama",
    "LogLinearAttention",
    "MacaronLayer",
    "ModernHopfield",
    "MultiHeadAttention",
    "ParabolicProblem",
    "QuadraticAttention",
    "RotaryPositions",
    "SelfOrganisingMap",
    "SinusoidalPositions",
    "SpectralMixing",
    "Transformer",
    "TransformerDecoder",
    "TransformerEncoder",
    "TransformerLayer",
    "TransformerStack",
    "VisionTransformer",
    "fnet_base",
    "fnet_large",
    "gpt2",
    "gpt2_large",
    "gpt2_medium",
    "gpt2_xl",
    "hamilton_jacobi_bellman_solver",
    "lenet_300_100",
    "llama3_8b",
    "llama_7b",
    "macaron_base",
    "macaron_encoder",
    "square_map",
    "transformer_base",
    "transformer_big",
    "vit_28",
    "vit_b_16",
    "vit_b_32",
    "vit_h_14",
    "vit_l_16",
]
