"""Training: a loop, schedules, callbacks, and checkpoints that resume bit for bit."""

from deepscope.training._callback import Callback, Evaluate, GradientClipping
from deepscope.training._checkpoint import Checkpoint
from deepscope.training._concrete_dropout import ConcreteDropout
from deepscope.training._cutmix import CutMix
from deepscope.training._dropblock import DropBlock2d
from deepscope.training._dropconnect import DropConnect
from deepscope.training._dropout import Dropout, Dropout2d
from deepscope.training._evaluate import Evaluation, evaluate
from deepscope.training._fit import fit
from deepscope.training._gaussian_dropout import GaussianDropout
from deepscope.training._label_smoothing import label_smoothing
from deepscope.training._mirror import Mirror, mirror_trial
from deepscope.training._mixup import Mixup
from deepscope.training._normalisation import BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm, RMSNorm
from deepscope.training._schedules import Schedule, constant, cosine, linear_warmup, step_decay
from deepscope.training._sequence_dropout import SequenceDropout, VariationalRecurrence
from deepscope.training._state import History, TrainingState
from deepscope.training._synchronised_batch_norm import SynchronisedBatchNorm
from deepscope.training._trackers import MLflow, TensorBoard, Tracker, WandB, tracker
from deepscope.training._variational_dropout import VariationalLinear
from deepscope.training._weight_normalisation import spectral_norm, weight_norm
from deepscope.training._zoneout import Zoneout

__all__ = [
    "BatchNorm2d",
    "Callback",
    "Checkpoint",
    "ConcreteDropout",
    "CutMix",
    "DropBlock2d",
    "DropConnect",
    "Dropout",
    "Dropout2d",
    "Evaluate",
    "Evaluation",
    "GaussianDropout",
    "GradientClipping",
    "GroupNorm",
    "History",
    "InstanceNorm2d",
    "LayerNorm",
    "MLflow",
    "Mirror",
    "Mixup",
    "RMSNorm",
    "Schedule",
    "SequenceDropout",
    "SynchronisedBatchNorm",
    "TensorBoard",
    "Tracker",
    "TrainingState",
    "VariationalLinear",
    "VariationalRecurrence",
    "WandB",
    "Zoneout",
    "constant",
    "cosine",
    "evaluate",
    "fit",
    "label_smoothing",
    "linear_warmup",
    "mirror_trial",
    "spectral_norm",
    "step_decay",
    "tracker",
    "weight_norm",
]
