"""Reference models: one file per architecture family."""

from deepscope.models._causal_convolution import CausalConvolution
from deepscope.models._deep_bsde import DeepBSDE, hamilton_jacobi_bellman_solver
from deepscope.models._discretise import discretise
from deepscope.models._h3 import H3, H3Mixer, PerceptronMixer, ShiftSSM, h3_125m
from deepscope.models._hippo import HippoLegS, HippoMemory, HippoRNN, hippo_lagt, hippo_legs, hippo_legt, legendre_basis
from deepscope.models._language_model import LanguageModel
from deepscope.models._lenet import LeNet
from deepscope.models._linear_scan import linear_scan
from deepscope.models._lssl import LSSL
from deepscope.models._mamba import Mamba, MambaMixer, mamba_130m
from deepscope.models._mamba2 import Mamba2, Mamba2Mixer, mamba2_130m, state_space_dual
from deepscope.models._mlp import MLP, lenet_300_100
from deepscope.models._parabolic import AllenCahn, HamiltonJacobiBellman, ParabolicProblem
from deepscope.models._residual_stack import ResidualRecurrence, ResidualStack
from deepscope.models._s4 import S4
from deepscope.models._s4d import DSS, S4D, DiagonalStateSpace, normal_legs
from deepscope.models._selective_ssm import SelectiveSSM, initialise_step_bias, selective_scan
from deepscope.models._self_organising_map import SelfOrganisingMap, square_map
from deepscope.models._state_space import StateSpace, Transfer, convolve
from deepscope.models._state_space_mixer import StateSpaceMixer

__all__ = [
    "DSS",
    "H3",
    "LSSL",
    "MLP",
    "S4",
    "S4D",
    "AllenCahn",
    "CausalConvolution",
    "DeepBSDE",
    "DiagonalStateSpace",
    "H3Mixer",
    "HamiltonJacobiBellman",
    "HippoLegS",
    "HippoMemory",
    "HippoRNN",
    "LanguageModel",
    "LeNet",
    "Mamba",
    "Mamba2",
    "Mamba2Mixer",
    "MambaMixer",
    "ParabolicProblem",
    "PerceptronMixer",
    "ResidualRecurrence",
    "ResidualStack",
    "SelectiveSSM",
    "SelfOrganisingMap",
    "ShiftSSM",
    "StateSpace",
    "StateSpaceMixer",
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
    "linear_scan",
    "mamba2_130m",
    "mamba_130m",
    "normal_legs",
    "selective_scan",
    "square_map",
    "state_space_dual",
]
