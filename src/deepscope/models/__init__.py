"""Reference models: one file per architecture family."""

from deepscope.models._deep_bsde import DeepBSDE, hamilton_jacobi_bellman_solver
from deepscope.models._language_model import LanguageModel
from deepscope.models._lenet import LeNet
from deepscope.models._mlp import MLP, lenet_300_100
from deepscope.models._parabolic import AllenCahn, HamiltonJacobiBellman, ParabolicProblem
from deepscope.models._self_organising_map import SelfOrganisingMap, square_map

__all__ = [
    "MLP",
    "AllenCahn",
    "DeepBSDE",
    "HamiltonJacobiBellman",
    "LanguageModel",
    "LeNet",
    "ParabolicProblem",
    "SelfOrganisingMap",
    "hamilton_jacobi_bellman_solver",
    "lenet_300_100",
    "square_map",
]
