"""Training: a loop, optimisers, schedules, callbacks, and checkpoints that resume bit for bit."""

from deepscope.training._adan import adan
from deepscope.training._callback import Callback, Evaluate, GradientClipping
from deepscope.training._checkpoint import Checkpoint
from deepscope.training._clipping import ValueClipping
from deepscope.training._concrete_dropout import ConcreteDropout
from deepscope.training._cross_entropy_method import CrossEntropySearch, cross_entropy_method
from deepscope.training._cutmix import CutMix
from deepscope.training._decay_schedules import inverse_square_root, inverse_time
from deepscope.training._dropblock import DropBlock2d
from deepscope.training._dropconnect import DropConnect
from deepscope.training._dropout import Dropout, Dropout2d
from deepscope.training._evaluate import Evaluation, evaluate
from deepscope.training._fit import fit
from deepscope.training._forward_forward import ForwardForward, contrasted_labels, forward_forward_loss, with_label
from deepscope.training._gaussian_dropout import GaussianDropout
from deepscope.training._label_smoothing import label_smoothing
from deepscope.training._lion import lion
from deepscope.training._mirror import Mirror, mirror_trial
from deepscope.training._mixup import Mixup
from deepscope.training._muon import muon
from deepscope.training._normalisation import BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm, RMSNorm
from deepscope.training._rare_event import RareEvent, rare_event
from deepscope.training._saddle_free_newton import SaddleFreeNewton
from deepscope.training._sam import SAM
from deepscope.training._schedules import Schedule, constant, cosine, linear_warmup, step_decay
from deepscope.training._sequence_dropout import SequenceDropout, VariationalRecurrence
from deepscope.training._state import History, TrainingState
from deepscope.training._synchronised_batch_norm import SynchronisedBatchNorm
from deepscope.training._torch_optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RMSprop
from deepscope.training._trackers import MLflow, TensorBoard, Tracker, WandB, tracker
from deepscope.training._variational_dropout import VariationalLinear
from deepscope.training._vsgd import VSGD
from deepscope.training._weight_normalisation import spectral_norm, weight_norm
from deepscope.training._with_closure import with_closure
from deepscope.training._zoneout import Zoneout

__all__ = [
    "SAM",
    "SGD",
    "VSGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "BatchNorm2d",
    "Callback",
    "Checkpoint",
    "ConcreteDropout",
    "CrossEntropySearch",
    "CutMix",
    "DropBlock2d",
    "DropConnect",
    "Dropout",
    "Dropout2d",
    "Evaluate",
    "Evaluation",
    "ForwardForward",
    "GaussianDropout",
    "GradientClipping",
    "GroupNorm",
    "History",
    "InstanceNorm2d",
    "LayerNorm",
    "MLflow",
    "Mirror",
    "Mixup",
    "NAdam",
    "RMSNorm",
    "RMSprop",
    "RareEvent",
    "SaddleFreeNewton",
    "Schedule",
    "SequenceDropout",
    "SynchronisedBatchNorm",
    "TensorBoard",
    "Tracker",
    "TrainingState",
    "ValueClipping",
    "VariationalLinear",
    "VariationalRecurrence",
    "WandB",
    "Zoneout",
    "adan",
    "constant",
    "contrasted_labels",
    "cosine",
    "cross_entropy_method",
    "evaluate",
    "fit",
    "forward_forward_loss",
    "inverse_square_root",
    "inverse_time",
    "label_smoothing",
    "linear_warmup",
    "lion",
    "mirror_trial",
    "muon",
    "rare_event",
    "spectral_norm",
    "step_decay",
    "tracker",
    "weight_norm",
    "with_closure",
    "with_label",
]
