"""Reference models: one file per architecture family."""

from deepscope.models._additive_attention import AdditiveAttention
from deepscope.models._bidirectional import Bidirectional, bidirectional_lstm
from deepscope.models._deep_bsde import DeepBSDE, hamilton_jacobi_bellman_solver
from deepscope.models._gmdh import GMDH, QuadraticUnits, grow_gmdh
from deepscope.models._hypernetwork import HyperConv2d, HyperNetwork, KernelGenerator
from deepscope.models._lenet import LeNet
from deepscope.models._maxout import Maxout, MaxoutNetwork
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
from deepscope.models._echo_state import EchoStateNetwork, echo_state_400
from deepscope.models._fast_weights import FastWeights, fast_weights_64
from deepscope.models._gru import GRU, GRUCell, gru_100
from deepscope.models._language_model import LanguageModel
from deepscope.models._liquid import ClosedFormContinuous, LiquidTimeConstant, closed_form_32, liquid_32
from deepscope.models._lstm import LSTM, LSTMCell, lstm_large, lstm_medium, lstm_small
from deepscope.models._minimal_gated import MinimalGatedUnit, mgu, mgu1, mgu2, mgu3
from deepscope.models._causal_convolution import CausalConvolution
from deepscope.models._discretise import discretise
from deepscope.models._h3 import H3, FeedForward, H3Mixer, ShiftSSM, h3_125m
from deepscope.models._hippo import HippoLegS, HippoMemory, HippoRNN, hippo_lagt, hippo_legs, hippo_legt, legendre_basis
from deepscope.models._linear_scan import linear_scan
from deepscope.models._lssl import LSSL
from deepscope.models._mamba import Mamba, MambaMixer, mamba_130m
from deepscope.models._mamba2 import Mamba2, Mamba2Mixer, mamba2_130m, state_space_dual
from deepscope.models._mlp import MLP, lenet_300_100
from deepscope.models._mlstm import MLSTM
from deepscope.models._neural_circuit import NeuralCircuitPolicy, Synapses, neural_circuit_19
from deepscope.models._parabolic import AllenCahn, HamiltonJacobiBellman, ParabolicProblem
from deepscope.models._perceptron import Perceptron
from deepscope.models._random_features import (
    RandomFeatureModel,
    RandomFourierFeatures,
    RandomReLUFeatures,
    random_fourier_model,
    random_relu_model,
)
from deepscope.models._self_normalising import SelfNormalisingNetwork
from deepscope.models._self_organising_map import SelfOrganisingMap, square_map
from deepscope.models._sparse_mixture import Routing, SparseMixture
from deepscope.models._threshold import Heaviside, ThresholdNetwork, boolean_network, exclusive_or

__all__ = [
    "GMDH",
from deepscope.models._rnn import RNN, RNNCell, elman_network
from deepscope.models._seq2seq import EncoderDecoder, RNNSearch, Seq2Seq, rnnsearch, sutskever
from deepscope.models._slstm import SLSTM
from deepscope.models._stack import Stack
from deepscope.models._wiring import Wiring, neural_circuit_wiring
from deepscope.models._xlstm import XLSTM, CausalConvolution, MLSTMBlock, SLSTMBlock, xlstm_language_model

    "GRU",
    "LSTM",
from deepscope.models._attention import MultiHeadAttention
from deepscope.models._fftnet import SpectralMixing
from deepscope.models._fnet import FNet, FourierMixing, fnet_base, fnet_large
from deepscope.models._gpt2 import GPT2, gpt2, gpt2_large, gpt2_medium, gpt2_xl
from deepscope.models._linear_attention import LinearAttention
from deepscope.models._llama import GatedFeedForward, Llama, llama3_8b, llama_7b
from deepscope.models._log_linear_attention import LogLinearAttention
from deepscope.models._macaron import MacaronLayer, macaron_base, macaron_encoder
from deepscope.models._modern_hopfield import ModernHopfield
from deepscope.models._positions import (
    ContextualPositions,
    LearnedPositions,
    LinearBiases,
    RotaryPositions,
    SinusoidalPositions,
)
from deepscope.models._quadratic_attention import QuadraticAttention
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

    "GPT2",
    "MLP",
    "MLSTM",
    "RNN",
    "SLSTM",
    "XLSTM",
    "AdditiveAttention",
    "AllenCahn",
    "Bidirectional",
    "CausalConvolution",
    "ClosedFormContinuous",
    "DeepBSDE",
    "EchoStateNetwork",
    "EncoderDecoder",
    "FastWeights",
    "GRUCell",
    "HamiltonJacobiBellman",
    "Heaviside",
    "HyperConv2d",
    "HyperNetwork",
    "KernelGenerator",
    "LeNet",
    "MLPMixer",
    "Maxout",
    "MaxoutNetwork",
    "MixerBlock",
    "MixtureOfExperts",
    "ParabolicProblem",
    "Perceptron",
    "QuadraticUnits",
    "RandomFeatureModel",
    "RandomFourierFeatures",
    "RandomReLUFeatures",
    "Routing",
    "SelfNormalisingNetwork",
    "SelfOrganisingMap",
    "SparseMixture",
    "ThresholdNetwork",
    "boolean_network",
    "exclusive_or",
    "grow_gmdh",
from deepscope.models._residual_stack import ResidualBlock, ResidualStack
from deepscope.models._s4 import S4
from deepscope.models._s4d import DSS, S4D, DiagonalStateSpace, normal_legs
from deepscope.models._selective_ssm import SelectiveSSM, initialise_step_bias, selective_scan
from deepscope.models._state_space import StateSpace, Transfer, convolve

    "DSS",
    "H3",
    "LSSL",
    "S4",
    "S4D",
    "DiagonalStateSpace",
    "FeedForward",
    "H3Mixer",
    "HippoLegS",
    "HippoMemory",
    "HippoRNN",
    "LanguageModel",
    "Mamba",
    "Mamba2",
    "Mamba2Mixer",
    "MambaMixer",
    "ResidualBlock",
    "ResidualStack",
    "SelectiveSSM",
    "ShiftSSM",
    "StateSpace",
    "Transfer",
    "convolve",
    "discretise",
    "h3_125m",
    "hamilton_jacobi_bellman_solver",
    "hippo_lagt",
    "hippo_legs",
    "hippo_legt",
    "initialise_step_bias",
    "legendre_basis",
    "lenet_300_100",
    "mixer_b16",
    "mixer_b32",
    "mixer_h14",
    "mixer_l16",
    "mixer_l32",
    "mixer_s16",
    "mixer_s32",
    "random_fourier_model",
    "random_relu_model",
    "LSTMCell",
    "LanguageModel",
    "LiquidTimeConstant",
    "MLSTMBlock",
    "MinimalGatedUnit",
    "NeuralCircuitPolicy",
    "RNNCell",
    "RNNSearch",
    "SLSTMBlock",
    "Seq2Seq",
    "Stack",
    "Synapses",
    "Wiring",
    "bidirectional_lstm",
    "closed_form_32",
    "echo_state_400",
    "elman_network",
    "fast_weights_64",
    "gru_100",
    "liquid_32",
    "lstm_large",
    "lstm_medium",
    "lstm_small",
    "mgu",
    "mgu1",
    "mgu2",
    "mgu3",
    "neural_circuit_19",
    "neural_circuit_wiring",
    "rnnsearch",
    "square_map",
    "sutskever",
    "xlstm_language_model",
    "ContextualPositions",
    "FNet",
    "FeedForward",
    "FourierMixing",
    "GatedFeedForward",
    "LearnedPositions",
    "LinearAttention",
    "LinearBiases",
    "Llama",
    "LogLinearAttention",
    "MacaronLayer",
    "ModernHopfield",
    "MultiHeadAttention",
    "QuadraticAttention",
    "RotaryPositions",
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
    "llama3_8b",
    "llama_7b",
    "macaron_base",
    "macaron_encoder",
    "transformer_base",
    "transformer_big",
    "vit_28",
    "vit_b_16",
    "vit_b_32",
    "vit_h_14",
    "vit_l_16",
    "linear_scan",
    "mamba2_130m",
    "mamba_130m",
    "normal_legs",
    "selective_scan",
    "state_space_dual",
]
