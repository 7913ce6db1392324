"""Training: a loop, schedules, callbacks, and checkpoints that resume bit for bit."""

from deepscope.training._callback import Callback, Evaluate, GradientClipping
from deepscope.training._checkpoint import Checkpoint
from deepscope.training._evaluate import Evaluation, evaluate
from deepscope.training._fit import fit
from deepscope.training._schedules import Schedule, constant, cosine, linear_warmup, step_decay
from deepscope.training._state import History, TrainingState

__all__ = [
    "Callback",
    "Checkpoint",
    "Evaluate",
    "Evaluation",
    "GradientClipping",
    "History",
    "Schedule",
    "TrainingState",
    "constant",
    "cosine",
    "evaluate",
    "fit",
    "linear_warmup",
    "step_decay",
]
