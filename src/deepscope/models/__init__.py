"""Reference models: one file per architecture family."""

from deepscope.models._deep_bsde import DeepBSDE, hamilton_jacobi_bellman_solver
from deepscope.models._gmdh import GMDH, QuadraticUnits
from deepscope.models._gmdh_growth import grow_gmdh
from deepscope.models._hyper_lstm import HyperLSTM
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
from deepscope.models._mlp import MLP, lenet_300_100
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
    "MLP",
    "AllenCahn",
    "DeepBSDE",
    "HamiltonJacobiBellman",
    "Heaviside",
    "HyperConv2d",
    "HyperLSTM",
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
    "hamilton_jacobi_bellman_solver",
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
    "square_map",
]
