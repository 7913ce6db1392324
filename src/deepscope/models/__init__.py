"""Reference models: one file per architecture family."""

from deepscope.models._additive_attention import AdditiveAttention
from deepscope.models._adversarial_training import AdversarialHistory, train_adversarially
from deepscope.models._affine_coupling import AffineCoupling
from deepscope.models._alexnet import AlexNet
from deepscope.models._annealed_importance import PartitionEstimate, annealed_importance_sampling
from deepscope.models._antisymmetric import AntisymmetricLayer, AntisymmetricResNet
from deepscope.models._antisymmetric_rnn import AntisymmetricRNN, antisymmetric_rnn_128, antisymmetric_rnn_gated_128
from deepscope.models._attention import MultiHeadAttention
from deepscope.models._autoencoder import Autoencoder, reconstruction_error
from deepscope.models._bidirectional import Bidirectional, bidirectional_lstm
from deepscope.models._binary import all_bits, bars_and_stripes
from deepscope.models._born_machine import BornMachine
from deepscope.models._born_machine_training import fit_born_machine
from deepscope.models._capsules import CapsNet, RoutingCapsules, capsnet_without_reconstruction, margin_loss, squash
from deepscope.models._causal_convolution import CausalConvolution
from deepscope.models._chebnet import ChebNet, ChebyshevConvolution
from deepscope.models._complex import ComplexConv2d, ComplexLinear, ComplexMLP, ComplexNeuron, complex_300_100
from deepscope.models._contractive_autoencoder import (
    contractive_autoencoder_1000,
    contractive_loss,
    contractive_penalty,
    encoder_jacobian,
)
from deepscope.models._dbn import DBN
from deepscope.models._dbn_training import fit_dbn, turned
from deepscope.models._deep_bsde import DeepBSDE, hamilton_jacobi_bellman_solver
from deepscope.models._deep_equilibrium import (
    DeepEquilibrium,
    EquilibriumCell,
    InjectedLayer,
    deq_transformer,
    equilibrium_87,
)
from deepscope.models._denoising_autoencoder import (
    denoising_autoencoder_1000,
    denoising_loss,
    gaussian_noise,
    masking_noise,
    salt_and_pepper,
)
from deepscope.models._densenet import (
    DenseBlock,
    DenseNet,
    densenet40_12,
    densenet100_12,
    densenet121,
    densenet_bc100_12,
    densenet_bc190_40,
)
from deepscope.models._diffusion import DDPM, ddpm_28, ddpm_cifar10, diffusion_loss
from deepscope.models._dir_gnn import DirectedConvolution, DirGNN
from deepscope.models._discretise import discretise
from deepscope.models._echo_state import EchoStateNetwork, echo_state_400
from deepscope.models._evidence_bound import (
    LatentVariableModel,
    elbo,
    importance_bound,
    negative_elbo,
    unit_divergences,
)
from deepscope.models._fast_weights import FastWeights, fast_weights_64
from deepscope.models._fftnet import SpectralMixing
from deepscope.models._fixed_point import Anderson, FixedPoint
from deepscope.models._fixed_point_gnn import FixedPointGNN
from deepscope.models._fnet import FNet, FourierMixing, fnet_base, fnet_large
from deepscope.models._gan import GAN, binary_discrimination, discriminator_loss, gan_784, generator_loss
from deepscope.models._gat import GAT, GraphAttention
from deepscope.models._gcn import GCN, GraphConvolution
from deepscope.models._gin import GIN, IsomorphismLayer
from deepscope.models._gmdh import GMDH, QuadraticUnits
from deepscope.models._gmdh_growth import grow_gmdh
from deepscope.models._gpt2 import GPT2, gpt2, gpt2_large, gpt2_medium, gpt2_xl
from deepscope.models._graphsage import GraphSAGE, SAGELayer, sample_neighbours
from deepscope.models._group_convolution import GroupCNN, GroupConvolution, LiftingConvolution, p4_cnn, p4m_cnn, z2_cnn
from deepscope.models._gru import GRU, GRUCell, gru_100
from deepscope.models._h3 import H3, H3Mixer, PerceptronMixer, ShiftSSM, h3_125m
from deepscope.models._hamiltonian import HamiltonianBranch, HamiltonianCNN, HamiltonianStack, hamiltonian_cnn
from deepscope.models._helmholtz import HelmholtzMachine
from deepscope.models._helmholtz_training import fit_helmholtz, sleep_direction, wake_direction
from deepscope.models._hippo import HippoLegS, HippoMemory, HippoRNN, hippo_lagt, hippo_legs, hippo_legt, legendre_basis
from deepscope.models._hopfield import Hopfield, Retrieval
from deepscope.models._hyper_lstm import HyperLSTM
from deepscope.models._hypergraph import HGNN, HypergraphConvolution
from deepscope.models._hypernetwork import HyperConv2d, HyperNetwork, KernelGenerator
from deepscope.models._language_model import LanguageModel
from deepscope.models._lenet import LeNet
from deepscope.models._linear_attention import LinearAttention
from deepscope.models._linear_multistep import LinearMultistepStack, LMResNet, lm_resnet20, lm_resnet56
from deepscope.models._linear_scan import linear_scan
from deepscope.models._linear_vae import LinearVAE, ppca_log_likelihood
from deepscope.models._liquid import ClosedFormContinuous, LiquidTimeConstant, closed_form_32, liquid_32
from deepscope.models._llama import GatedFeedForward, Llama, llama3_8b, llama_7b
from deepscope.models._log_linear_attention import LogLinearAttention
from deepscope.models._lssl import LSSL
from deepscope.models._lstm import LSTM, LSTMCell, lstm_large, lstm_medium, lstm_small
from deepscope.models._macaron import MacaronLayer, macaron_base, macaron_encoder
from deepscope.models._mamba import Mamba, MambaMixer, mamba_130m
from deepscope.models._mamba2 import Mamba2, Mamba2Mixer, mamba2_130m, state_space_dual
from deepscope.models._maxout import Maxout, MaxoutNetwork
from deepscope.models._mgnet import MgCycle, MgNet, SmoothingStep, poisson_cycle
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
from deepscope.models._neural_ode import ConvolutionalField, NeuralODE, ODENet, PerceptronField, augmented_ode, odenet
from deepscope.models._noise_predictor import NoiseMLP, TimeEmbedding
from deepscope.models._noise_schedule import NoiseSchedule, cosine_betas, linear_betas
from deepscope.models._objective import Objective
from deepscope.models._ode_block import ODEBlock
from deepscope.models._on_graph import OnGraph
from deepscope.models._parabolic import AllenCahn, HamiltonJacobiBellman, ParabolicProblem
from deepscope.models._parabolic_resnet import (
    HyperbolicStack,
    ParabolicStack,
    PDENet,
    SymmetricLayer,
    hyperbolic_cnn,
    parabolic_cnn,
)
from deepscope.models._perceptron import Perceptron
from deepscope.models._plane_group import PlaneGroup, plane_group
from deepscope.models._positions import (
    ContextualPositions,
    LearnedPositions,
    LinearBiases,
    RotaryPositions,
    SinusoidalPositions,
)
from deepscope.models._preactivation_resnet import (
    PreActivationBlock,
    PreActivationResNet,
    preact_resnet110,
    preact_resnet164,
)
from deepscope.models._quadratic_attention import QuadraticAttention
from deepscope.models._quaternion import (
    QuaternionConv2d,
    QuaternionLinear,
    QuaternionMLP,
    hamilton_product,
    quaternion_300_100,
)
from deepscope.models._random_features import (
    RandomFeatureModel,
    RandomFourierFeatures,
    RandomReLUFeatures,
    random_fourier_model,
    random_relu_model,
)
from deepscope.models._rbm import RBM
from deepscope.models._rbm_direction import RBMDirection
from deepscope.models._rbm_exact import expected_contrastive_divergence, gibbs_kernel, likelihood_gradient
from deepscope.models._rbm_training import contrastive_divergence, fit_rbm
from deepscope.models._realnvp import RealNVP, negative_log_likelihood
from deepscope.models._receptive_field import Window, output_size, receptive_field
from deepscope.models._residual_stack import ResidualRecurrence, ResidualStack
from deepscope.models._resnet import (
    ResidualBlock,
    ResNet,
    plain20,
    plain56,
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet44,
    resnet50,
    resnet56,
    resnet110,
)
from deepscope.models._reversible import ReversibleStack
from deepscope.models._revnet import RevNet, revnet38
from deepscope.models._rnn import RNN, RNNCell, elman_network
from deepscope.models._s4 import S4
from deepscope.models._s4d import DSS, S4D, DiagonalStateSpace, normal_legs
from deepscope.models._selective_ssm import SelectiveSSM, initialise_step_bias, selective_scan
from deepscope.models._self_normalising import SelfNormalisingNetwork
from deepscope.models._self_organising_map import SelfOrganisingMap, square_map
from deepscope.models._seq2seq import EncoderDecoder, RNNSearch, Seq2Seq, rnnsearch, sutskever
from deepscope.models._shortcut import PaddedShortcut
from deepscope.models._slstm import SLSTM
from deepscope.models._sparse_autoencoder import sparse_autoencoder_64, sparse_loss, sparsity_penalty
from deepscope.models._sparse_mixture import Routing, SparseMixture
from deepscope.models._stack import Stack
from deepscope.models._state_space import StateSpace, Transfer, convolve
from deepscope.models._state_space_mixer import StateSpaceMixer
from deepscope.models._threshold import Heaviside, ThresholdNetwork, boolean_network, exclusive_or
from deepscope.models._transformer import (
    Transformer,
    TransformerDecoder,
    TransformerEncoder,
    transformer_base,
    transformer_big,
)
from deepscope.models._transformer_layer import FeedForward, TransformerLayer, TransformerStack
from deepscope.models._unet import UNet
from deepscope.models._vae import VAE, ConditionalVAE
from deepscope.models._vgg import VGG, vgg11, vgg13, vgg16, vgg19
from deepscope.models._vit import VisionTransformer, vit_28, vit_b_16, vit_b_32, vit_h_14, vit_l_16
from deepscope.models._wavenet import DilatedStack, GatedConvolution, WaveNet
from deepscope.models._wgan_gp import critic_loss, gradient_penalty, wasserstein_generator_loss, wgan_gp_2
from deepscope.models._wiring import Wiring, neural_circuit_wiring
from deepscope.models._xlstm import XLSTM, MLSTMBlock, SLSTMBlock, xlstm_language_model

__all__ = [
    "DBN",
    "DDPM",
    "DSS",
    "GAN",
    "GAT",
    "GCN",
    "GIN",
    "GMDH",
    "GPT2",
    "GRU",
    "H3",
    "HGNN",
    "LSSL",
    "LSTM",
    "MLP",
    "MLSTM",
    "RBM",
    "RNN",
    "S4",
    "S4D",
    "SLSTM",
    "VAE",
    "VGG",
    "XLSTM",
    "AdditiveAttention",
    "AdversarialHistory",
    "AffineCoupling",
    "AlexNet",
    "AllenCahn",
    "Anderson",
    "AntisymmetricLayer",
    "AntisymmetricRNN",
    "AntisymmetricResNet",
    "Autoencoder",
    "Bidirectional",
    "BornMachine",
    "CapsNet",
    "CausalConvolution",
    "ChebNet",
    "ChebyshevConvolution",
    "ClosedFormContinuous",
    "ComplexConv2d",
    "ComplexLinear",
    "ComplexMLP",
    "ComplexNeuron",
    "ConditionalVAE",
    "ContextualPositions",
    "ConvolutionalField",
    "DeepBSDE",
    "DeepEquilibrium",
    "DenseBlock",
    "DenseNet",
    "DiagonalStateSpace",
    "DilatedStack",
    "DirGNN",
    "DirectedConvolution",
    "EchoStateNetwork",
    "EncoderDecoder",
    "EquilibriumCell",
    "FNet",
    "FastWeights",
    "FeedForward",
    "FixedPoint",
    "FixedPointGNN",
    "FourierMixing",
    "GRUCell",
    "GatedConvolution",
    "GatedFeedForward",
    "GraphAttention",
    "GraphConvolution",
    "GraphSAGE",
    "GroupCNN",
    "GroupConvolution",
    "H3Mixer",
    "HamiltonJacobiBellman",
    "HamiltonianBranch",
    "HamiltonianCNN",
    "HamiltonianStack",
    "Heaviside",
    "HelmholtzMachine",
    "HippoLegS",
    "HippoMemory",
    "HippoRNN",
    "Hopfield",
    "HyperConv2d",
    "HyperLSTM",
    "HyperNetwork",
    "HyperbolicStack",
    "HypergraphConvolution",
    "InjectedLayer",
    "IsomorphismLayer",
    "KernelGenerator",
    "LMResNet",
    "LSTMCell",
    "LanguageModel",
    "LatentVariableModel",
    "LeNet",
    "LearnedPositions",
    "LiftingConvolution",
    "LinearAttention",
    "LinearBiases",
    "LinearMultistepStack",
    "LinearVAE",
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
    "MgCycle",
    "MgNet",
    "MinimalGatedUnit",
    "MixerBlock",
    "MixtureOfExperts",
    "ModernHopfield",
    "MultiHeadAttention",
    "NeuralCircuitPolicy",
    "NeuralODE",
    "NoiseMLP",
    "NoiseSchedule",
    "ODEBlock",
    "ODENet",
    "Objective",
    "OnGraph",
    "PDENet",
    "PaddedShortcut",
    "ParabolicProblem",
    "ParabolicStack",
    "PartitionEstimate",
    "Perceptron",
    "PerceptronField",
    "PerceptronMixer",
    "PlaneGroup",
    "PreActivationBlock",
    "PreActivationResNet",
    "QuadraticAttention",
    "QuadraticUnits",
    "QuaternionConv2d",
    "QuaternionLinear",
    "QuaternionMLP",
    "RBMDirection",
    "RNNCell",
    "RNNSearch",
    "RandomFeatureModel",
    "RandomFourierFeatures",
    "RandomReLUFeatures",
    "RealNVP",
    "ResNet",
    "ResidualBlock",
    "ResidualRecurrence",
    "ResidualStack",
    "Retrieval",
    "RevNet",
    "ReversibleStack",
    "RotaryPositions",
    "Routing",
    "RoutingCapsules",
    "SAGELayer",
    "SLSTMBlock",
    "SelectiveSSM",
    "SelfNormalisingNetwork",
    "SelfOrganisingMap",
    "Seq2Seq",
    "ShiftSSM",
    "SinusoidalPositions",
    "SmoothingStep",
    "SparseMixture",
    "SpectralMixing",
    "Stack",
    "StateSpace",
    "StateSpaceMixer",
    "SymmetricLayer",
    "Synapses",
    "ThresholdNetwork",
    "TimeEmbedding",
    "Transfer",
    "Transformer",
    "TransformerDecoder",
    "TransformerEncoder",
    "TransformerLayer",
    "TransformerStack",
    "UNet",
    "VisionTransformer",
    "WaveNet",
    "Window",
    "Wiring",
    "all_bits",
    "annealed_importance_sampling",
    "antisymmetric_rnn_128",
    "antisymmetric_rnn_gated_128",
    "augmented_ode",
    "bars_and_stripes",
    "bidirectional_lstm",
    "binary_discrimination",
    "boolean_network",
    "capsnet_without_reconstruction",
    "closed_form_32",
    "complex_300_100",
    "contractive_autoencoder_1000",
    "contractive_loss",
    "contractive_penalty",
    "contrastive_divergence",
    "convolve",
    "cosine_betas",
    "critic_loss",
    "ddpm_28",
    "ddpm_cifar10",
    "denoising_autoencoder_1000",
    "denoising_loss",
    "densenet40_12",
    "densenet100_12",
    "densenet121",
    "densenet_bc100_12",
    "densenet_bc190_40",
    "deq_transformer",
    "diffusion_loss",
    "discretise",
    "discriminator_loss",
    "echo_state_400",
    "elbo",
    "elman_network",
    "encoder_jacobian",
    "equilibrium_87",
    "exclusive_or",
    "expected_contrastive_divergence",
    "fast_weights_64",
    "fit_born_machine",
    "fit_dbn",
    "fit_helmholtz",
    "fit_rbm",
    "fnet_base",
    "fnet_large",
    "gan_784",
    "gaussian_noise",
    "generator_loss",
    "gibbs_kernel",
    "gpt2",
    "gpt2_large",
    "gpt2_medium",
    "gpt2_xl",
    "gradient_penalty",
    "grow_gmdh",
    "gru_100",
    "h3_125m",
    "hamilton_jacobi_bellman_solver",
    "hamilton_product",
    "hamiltonian_cnn",
    "hippo_lagt",
    "hippo_legs",
    "hippo_legt",
    "hyperbolic_cnn",
    "importance_bound",
    "initialise_step_bias",
    "legendre_basis",
    "lenet_300_100",
    "likelihood_gradient",
    "linear_betas",
    "linear_scan",
    "liquid_32",
    "llama3_8b",
    "llama_7b",
    "lm_resnet20",
    "lm_resnet56",
    "lstm_large",
    "lstm_medium",
    "lstm_small",
    "macaron_base",
    "macaron_encoder",
    "mamba2_130m",
    "mamba_130m",
    "margin_loss",
    "masking_noise",
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
    "negative_elbo",
    "negative_log_likelihood",
    "neural_circuit_19",
    "neural_circuit_wiring",
    "normal_legs",
    "odenet",
    "output_size",
    "p4_cnn",
    "p4m_cnn",
    "parabolic_cnn",
    "plain20",
    "plain56",
    "plane_group",
    "poisson_cycle",
    "ppca_log_likelihood",
    "preact_resnet110",
    "preact_resnet164",
    "quaternion_300_100",
    "random_fourier_model",
    "random_relu_model",
    "receptive_field",
    "reconstruction_error",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet110",
    "revnet38",
    "rnnsearch",
    "salt_and_pepper",
    "sample_neighbours",
    "selective_scan",
    "sleep_direction",
    "sparse_autoencoder_64",
    "sparse_loss",
    "sparsity_penalty",
    "square_map",
    "squash",
    "state_space_dual",
    "sutskever",
    "train_adversarially",
    "transformer_base",
    "transformer_big",
    "turned",
    "unit_divergences",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "vit_28",
    "vit_b_16",
    "vit_b_32",
    "vit_h_14",
    "vit_l_16",
    "wake_direction",
    "wasserstein_generator_loss",
    "wgan_gp_2",
    "xlstm_language_model",
    "z2_cnn",
]
