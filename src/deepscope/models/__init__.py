"""Reference models: one file per architecture family."""

from deepscope.models._additive_attention import AdditiveAttention
from deepscope.models._attention import MultiHeadAttention
from deepscope.models._bidirectional import Bidirectional, bidirectional_lstm
from deepscope.models._causal_convolution import CausalConvolution
from deepscope.models._deep_bsde import DeepBSDE, hamilton_jacobi_bellman_solver
from deepscope.models._discretise import discretise
from deepscope.models._echo_state import EchoStateNetwork, echo_state_400
from deepscope.models._fast_weights import FastWeights, fast_weights_64
from deepscope.models._fftnet import SpectralMixing
from deepscope.models._fnet import FNet, FourierMixing, fnet_base, fnet_large
from deepscope.models._gmdh import GMDH, QuadraticUnits, grow_gmdh
from deepscope.models._gpt2 import GPT2, gpt2, gpt2_large, gpt2_medium, gpt2_xl
from deepscope.models._gru import GRU, GRUCell, gru_100
from deepscope.models._h3 import H3, FeedForwardMixer, H3Mixer, ShiftSSM, h3_125m
from deepscope.models._hippo import HippoLegS, HippoMemory, HippoRNN, hippo_lagt, hippo_legs, hippo_legt, legendre_basis
from deepscope.models._hypernetwork import HyperConv2d, HyperNetwork, KernelGenerator
from deepscope.models._language_model import LanguageModel
from deepscope.models._lenet import LeNet
from deepscope.models._linear_attention import LinearAttention
from deepscope.models._linear_scan import linear_scan
from deepscope.models._liquid import ClosedFormContinuous, LiquidTimeConstant, closed_form_32, liquid_32
from deepscope.models._llama import GatedFeedForward, Llama, llama3_8b, llama_7b
from deepscope.models._log_linear_attention import LogLinearAttention
from deepscope.models._lssl import LSSL
from deepscope.models._lstm import LSTM, LSTMCell, lstm_large, lstm_medium, lstm_small
from deepscope.models._macaron import MacaronLayer, macaron_base, macaron_encoder
from deepscope.models._mamba import Mamba, MambaMixer, mamba_130m
from deepscope.models._mamba2 import Mamba2, Mamba2Mixer, mamba2_130m, state_space_dual
from deepscope.models._maxout import Maxout, MaxoutNetwork
from deepscope.models._minimal_gated import MinimalGatedUnit, mgu, mgu1, mgu2, mgu3
from deepscope.models._mixer import (
    MixerBlock,
    MLPMixer,
    mixer_b16,
    mixer_b32,
    mixer_h14,
    mixer_l16,
    mixer_l32,
    mixer_s16,
    mixer_s32,
)
from deepscope.models._mixture_of_experts import MixtureOfExperts
from deepscope.models._mlp import MLP, lenet_300_100
from deepscope.models._mlstm import MLSTM
from deepscope.models._modern_hopfield import ModernHopfield
from deepscope.models._neural_circuit import NeuralCircuitPolicy, Synapses, neural_circuit_19
from deepscope.models._parabolic import AllenCahn, HamiltonJacobiBellman, ParabolicProblem
from deepscope.models._perceptron import Perceptron
from deepscope.models._positions import (
    ContextualPositions,
    LearnedPositions,
    LinearBiases,
    RotaryPositions,
    SinusoidalPositions,
)
from deepscope.models._quadratic_attention import QuadraticAttention
from deepscope.models._random_features import (
    RandomFeatureModel,
    RandomFourierFeatures,
    RandomReLUFeatures,
    random_fourier_model,
    random_relu_model,
)
from deepscope.models._residual_stack import ResidualBlock, ResidualStack
from deepscope.models._rnn import RNN, RNNCell, elman_network
from deepscope.models._s4 import S4
from deepscope.models._s4d import DSS, S4D, DiagonalStateSpace, normal_legs
from deepscope.models._selective_ssm import SelectiveSSM, initialise_step_bias, selective_scan
from deepscope.models._self_normalising import SelfNormalisingNetwork
from deepscope.models._self_organising_map import SelfOrganisingMap, square_map
from deepscope.models._seq2seq import EncoderDecoder, RNNSearch, Seq2Seq, rnnsearch, sutskever
from deepscope.models._slstm import SLSTM
from deepscope.models._sparse_mixture import Routing, SparseMixture
from deepscope.models._stack import Stack
from deepscope.models._state_space import StateSpace, Transfer, convolve
from deepscope.models._threshold import Heaviside, ThresholdNetwork, boolean_network, exclusive_or
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
from deepscope.models._wiring import Wiring, neural_circuit_wiring
from deepscope.models._xlstm import XLSTM, MLSTMBlock, SLSTMBlock, xlstm_language_model

__all__ = [
    "DSS",
    "GMDH",
    "GPT2",
    "GRU",
    "H3",
    "LSSL",
    "LSTM",
    "MLP",
    "MLSTM",
    "RNN",
    "S4",
    "S4D",
    "SLSTM",
    "XLSTM",
    "AdditiveAttention",
    "AllenCahn",
    "Bidirectional",
    "CausalConvolution",
    "ClosedFormContinuous",
    "ContextualPositions",
    "DeepBSDE",
    "DiagonalStateSpace",
    "EchoStateNetwork",
    "EncoderDecoder",
    "FNet",
    "FastWeights",
    "FeedForward",
    "FeedForwardMixer",
    "FourierMixing",
    "GRUCell",
    "GatedFeedForward",
    "H3Mixer",
    "HamiltonJacobiBellman",
    "Heaviside",
    "HippoLegS",
    "HippoMemory",
    "HippoRNN",
    "HyperConv2d",
    "HyperNetwork",
    "KernelGenerator",
    "LSTMCell",
    "LanguageModel",
    "LeNet",
    "LearnedPositions",
    "LinearAttention",
    "LinearBiases",
    "LiquidTimeConstant",
    "Llama",
    "LogLinearAttention",
    "MLPMixer",
    "MLSTMBlock",
    "MacaronLayer",
    "Mamba",
    "Mamba2",
    "Mamba2Mixer",
    "MambaMixer",
    "Maxout",
    "MaxoutNetwork",
    "MinimalGatedUnit",
    "MixerBlock",
    "MixtureOfExperts",
    "ModernHopfield",
    "MultiHeadAttention",
    "NeuralCircuitPolicy",
    "ParabolicProblem",
    "Perceptron",
    "QuadraticAttention",
    "QuadraticUnits",
    "RNNCell",
    "RNNSearch",
    "RandomFeatureModel",
    "RandomFourierFeatures",
    "RandomReLUFeatures",
    "ResidualBlock",
    "ResidualStack",
    "RotaryPositions",
    "Routing",
    "SLSTMBlock",
    "SelectiveSSM",
    "SelfNormalisingNetwork",
    "SelfOrganisingMap",
    "Seq2Seq",
    "ShiftSSM",
    "SinusoidalPositions",
    "SparseMixture",
    "SpectralMixing",
    "Stack",
    "StateSpace",
    "Synapses",
    "ThresholdNetwork",
    "Transfer",
    "Transformer",
    "TransformerDecoder",
    "TransformerEncoder",
    "TransformerLayer",
    "TransformerStack",
    "VisionTransformer",
    "Wiring",
    "bidirectional_lstm",
    "boolean_network",
    "closed_form_32",
    "convolve",
    "discretise",
    "echo_state_400",
    "elman_network",
    "exclusive_or",
    "fast_weights_64",
    "fnet_base",
    "fnet_large",
    "gpt2",
    "gpt2_large",
    "gpt2_medium",
    "gpt2_xl",
    "grow_gmdh",
    "gru_100",
    "h3_125m",
    "hamilton_jacobi_bellman_solver",
    "hippo_lagt",
    "hippo_legs",
    "hippo_legt",
    "initialise_step_bias",
    "legendre_basis",
    "lenet_300_100",
    "linear_scan",
    "liquid_32",
    "llama3_8b",
    "llama_7b",
    "lstm_large",
    "lstm_medium",
    "lstm_small",
    "macaron_base",
    "macaron_encoder",
    "mamba2_130m",
    "mamba_130m",
    "mgu",
    "mgu1",
    "mgu2",
    "mgu3",
    "mixer_b16",
    "mixer_b32",
    "mixer_h14",
    "mixer_l16",
    "mixer_l32",
    "mixer_s16",
    "mixer_s32",
    "neural_circuit_19",
    "neural_circuit_wiring",
    "normal_legs",
    "random_fourier_model",
    "random_relu_model",
    "rnnsearch",
    "selective_scan",
    "square_map",
    "state_space_dual",
    "sutskever",
    "transformer_base",
    "transformer_big",
    "vit_28",
    "vit_b_16",
    "vit_b_32",
    "vit_h_14",
    "vit_l_16",
    "xlstm_language_model",
]
