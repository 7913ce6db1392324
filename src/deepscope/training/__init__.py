"""Training: a loop, schedules, callbacks, and checkpoints that resume bit for bit."""

from deepscope.training._callback import Callback, Evaluate, GradientClipping
from deepscope.training._checkpoint import Checkpoint
from deepscope.training._evaluate import Evaluation, evaluate
from deepscope.training._fit import fit
from deepscope.training._mirror import Mirror, mirror_trial
from deepscope.training._schedules import Schedule, constant, cosine, linear_warmup, step_decay
from deepscope.training._state import History, TrainingState
from deepscope.training._trackers import MLflow, TensorBoard, Tracker, WandB, tracker

__all__ = [
    "Callback",
    "Checkpoint",
    "Evaluate",
    "Evaluation",
    "GradientClipping",
    "History",
    "MLflow",
    "Mirror",
    "Schedule",
    "TensorBoard",
    "Tracker",
    "TrainingState",
    "WandB",
    "constant",
    "cosine",
    "evaluate",
    "fit",
    "linear_warmup",
    "mirror_trial",
    "step_decay",
    "tracker",
]
