"""Reference models: one file per architecture family."""

from deepscope.models._alexnet import AlexNet
from deepscope.models._capsules import CapsNet, RoutingCapsules, capsnet_without_reconstruction, margin_loss, squash
from deepscope.models._complex import ComplexConv2d, ComplexLinear, ComplexMLP, ComplexNeuron, complex_300_100
from deepscope.models._deep_bsde import DeepBSDE, hamilton_jacobi_bellman_solver
from deepscope.models._densenet import (
    DenseBlock,
    DenseNet,
    densenet40_12,
    densenet100_12,
    densenet121,
    densenet_bc100_12,
    densenet_bc190_40,
)
from deepscope.models._group_convolution import GroupCNN, GroupConvolution, LiftingConvolution, p4_cnn, p4m_cnn, z2_cnn
from deepscope.models._lenet import LeNet
from deepscope.models._mlp import MLP, lenet_300_100
from deepscope.models._parabolic import AllenCahn, HamiltonJacobiBellman, ParabolicProblem
from deepscope.models._plane_group import PlaneGroup, plane_group
from deepscope.models._preactivation_resnet import (
    PreActivationBlock,
    PreActivationResNet,
    preact_resnet110,
    preact_resnet164,
)
from deepscope.models._quaternion import (
    QuaternionConv2d,
    QuaternionLinear,
    QuaternionMLP,
    hamilton_product,
    quaternion_300_100,
)
from deepscope.models._receptive_field import Window, output_size, receptive_field
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
from deepscope.models._self_organising_map import SelfOrganisingMap, square_map
from deepscope.models._shortcut import PaddedShortcut
from deepscope.models._vgg import VGG, vgg11, vgg13, vgg16, vgg19
from deepscope.models._wavenet import DilatedStack, GatedConvolution, WaveNet

__all__ = [
    "MLP",
    "VGG",
    "AlexNet",
    "AllenCahn",
    "CapsNet",
    "ComplexConv2d",
    "ComplexLinear",
    "ComplexMLP",
    "ComplexNeuron",
    "DeepBSDE",
    "DenseBlock",
    "DenseNet",
    "DilatedStack",
    "GatedConvolution",
    "GroupCNN",
    "GroupConvolution",
    "HamiltonJacobiBellman",
    "LeNet",
    "LiftingConvolution",
    "PaddedShortcut",
    "ParabolicProblem",
    "PlaneGroup",
    "PreActivationBlock",
    "PreActivationResNet",
    "QuaternionConv2d",
    "QuaternionLinear",
    "QuaternionMLP",
    "ResNet",
    "ResidualBlock",
    "RoutingCapsules",
    "SelfOrganisingMap",
    "WaveNet",
    "Window",
    "capsnet_without_reconstruction",
    "complex_300_100",
    "densenet40_12",
    "densenet100_12",
    "densenet121",
    "densenet_bc100_12",
    "densenet_bc190_40",
    "hamilton_jacobi_bellman_solver",
    "hamilton_product",
    "lenet_300_100",
    "margin_loss",
    "output_size",
    "p4_cnn",
    "p4m_cnn",
    "plain20",
    "plain56",
    "plane_group",
    "preact_resnet110",
    "preact_resnet164",
    "quaternion_300_100",
    "receptive_field",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet110",
    "square_map",
    "squash",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "z2_cnn",
]
