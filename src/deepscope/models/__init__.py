"""Reference models: one file per architecture family."""

from deepscope.models._deep_bsde import DeepBSDE
from deepscope.models._lenet import LeNet
from deepscope.models._mlp import MLP
from deepscope.models._parabolic import AllenCahn, HamiltonJacobiBellman, ParabolicProblem
from deepscope.models._self_organising_map import SelfOrganisingMap

__all__ = [
    "MLP",
    "AllenCahn",
    "DeepBSDE",
    "HamiltonJacobiBellman",
    "LeNet",
    "ParabolicProblem",
    "SelfOrganisingMap",
]
