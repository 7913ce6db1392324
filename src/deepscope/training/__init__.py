"""Training: a loop, optimisers, schedules, callbacks, and checkpoints that resume bit for bit."""

from deepscope.training._adan import adan
from deepscope.training._callback import Callback, Evaluate, GradientClipping
from deepscope.training._checkpoint import Checkpoint
from deepscope.training._clipping import ValueClipping
from deepscope.training._cp import cp
from deepscope.training._cross_entropy_method import CrossEntropySearch, cross_entropy_method
from deepscope.training._decay_schedules import inverse_square_root, inverse_time
from deepscope.training._distillation import DistillationLoss, with_teacher
from deepscope.training._evaluate import Evaluation, evaluate
from deepscope.training._factorised import Factorised
from deepscope.training._fit import fit
from deepscope.training._forward_forward import ForwardForward, contrasted_labels, forward_forward_loss, with_label
from deepscope.training._gradual_pruning import GradualPruning
from deepscope.training._lion import lion
from deepscope.training._lottery_ticket import LotteryTicket, Rewind, lottery_tickets
from deepscope.training._low_rank import low_rank
from deepscope.training._masks import KeepMasks, apply_masks, prunable_weights, remaining, shuffled_masks
from deepscope.training._mirror import Mirror, mirror_trial
from deepscope.training._movement_pruning import (
    MovementMask,
    MovementPruning,
    add_movement_masks,
    fix_movement_masks,
    movement_masks,
)
from deepscope.training._muon import muon
from deepscope.training._network_cost import NetworkCost, network_cost
from deepscope.training._pruning import magnitudes, pruning_masks
from deepscope.training._rare_event import RareEvent, rare_event
from deepscope.training._saddle_free_newton import SaddleFreeNewton
from deepscope.training._sam import SAM
from deepscope.training._schedules import Schedule, constant, cosine, linear_warmup, step_decay
from deepscope.training._sparsity_schedules import cubic_sparsity, geometric_sparsity, one_shot_sparsity
from deepscope.training._state import History, TrainingState
from deepscope.training._taylor_pruning import taylor_scores, taylor_unit_scores, unit_masks
from deepscope.training._tensor_train import TensorTrainLinear
from deepscope.training._torch_optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RMSprop
from deepscope.training._trackers import MLflow, TensorBoard, Tracker, WandB, tracker
from deepscope.training._tucker import tucker2
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
    "DistillationLoss",
    "Evaluate",
    "Evaluation",
    "Factorised",
    "ForwardForward",
    "GradientClipping",
    "GradualPruning",
    "History",
    "KeepMasks",
    "LotteryTicket",
    "MLflow",
    "Mirror",
    "MovementMask",
    "MovementPruning",
    "NAdam",
    "NetworkCost",
    "RMSprop",
    "RareEvent",
    "Rewind",
    "SaddleFreeNewton",
    "Schedule",
    "TensorBoard",
    "TensorTrainLinear",
    "Tracker",
    "TrainingState",
    "ValueClipping",
    "WandB",
    "adan",
    "add_movement_masks",
    "apply_masks",
    "constant",
    "contrasted_labels",
    "cosine",
    "cp",
    "cross_entropy_method",
    "cubic_sparsity",
    "evaluate",
    "fit",
    "fix_movement_masks",
    "forward_forward_loss",
    "geometric_sparsity",
    "inverse_square_root",
    "inverse_time",
    "linear_warmup",
    "lion",
    "lottery_tickets",
    "low_rank",
    "magnitudes",
    "mirror_trial",
    "movement_masks",
    "muon",
    "network_cost",
    "one_shot_sparsity",
    "prunable_weights",
    "pruning_masks",
    "rare_event",
    "remaining",
    "shuffled_masks",
    "step_decay",
    "taylor_scores",
    "taylor_unit_scores",
    "tracker",
    "tucker2",
    "unit_masks",
    "with_closure",
    "with_label",
    "with_teacher",
]
