"""Training: a loop, optimisers, schedules, callbacks, and checkpoints that resume bit for bit."""

from deepscope.training._adan import adan
from deepscope.training._callback import Callback, Evaluate, GradientClipping
from deepscope.training._checkpoint import Checkpoint
from deepscope.training._clipping import ValueClipping
from deepscope.training._cross_entropy_method import CrossEntropySearch, cross_entropy_method
from deepscope.training._decay_schedules import inverse_square_root, inverse_time
from deepscope.training._evaluate import Evaluation, evaluate
from deepscope.training._fit import fit
from deepscope.training._forward_forward import ForwardForward, contrasted_labels, forward_forward_loss, with_label
from deepscope.training._lion import lion
from deepscope.training._mirror import Mirror, mirror_trial
from deepscope.training._muon import muon
from deepscope.training._rare_event import RareEvent, rare_event
from deepscope.training._saddle_free_newton import SaddleFreeNewton
from deepscope.training._sam import SAM
from deepscope.training._schedules import Schedule, constant, cosine, linear_warmup, step_decay
from deepscope.training._state import History, TrainingState
from deepscope.training._torch_optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RMSprop
from deepscope.training._trackers import MLflow, TensorBoard, Tracker, WandB, tracker
from deepscope.training._vsgd import VSGD
from deepscope.training._with_closure import with_closure

__all__ = [
    "SAM",
    "SGD",
    "VSGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Callback",
    "Checkpoint",
    "CrossEntropySearch",
    "Evaluate",
    "Evaluation",
    "ForwardForward",
    "GradientClipping",
    "History",
    "MLflow",
    "Mirror",
    "NAdam",
    "RMSprop",
    "RareEvent",
    "SaddleFreeNewton",
    "Schedule",
    "TensorBoard",
    "Tracker",
    "TrainingState",
    "ValueClipping",
    "WandB",
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
    "linear_warmup",
    "lion",
    "mirror_trial",
    "muon",
    "rare_event",
    "step_decay",
    "tracker",
    "with_closure",
    "with_label",
]
