"""Training: a loop, optimisers, schedules, callbacks, and checkpoints that resume bit for bit."""

from deepscope.training._adan import adan
from deepscope.training._adversarial_training import AdversarialTraining, with_targets
from deepscope.training._batch_scaling import gradual_warmup, scaled_rate
from deepscope.training._callback import Callback, Evaluate, GradientClipping
from deepscope.training._checkpoint import Checkpoint
from deepscope.training._clipping import ValueClipping
from deepscope.training._concrete_dropout import ConcreteDropout
from deepscope.training._coordinate_check import CoordinateCheck, coordinate_check
from deepscope.training._cp import cp
from deepscope.training._cross_entropy_method import CrossEntropySearch, cross_entropy_method
from deepscope.training._cutmix import CutMix
from deepscope.training._decay_schedules import inverse_square_root, inverse_time
from deepscope.training._deep_ensemble import (
    DeepEnsemble,
    GaussianEnsemble,
    GaussianOutput,
    disagreement,
    gaussian_nll,
    predictive_entropy,
)
from deepscope.training._distillation import DistillationLoss, with_teacher
from deepscope.training._dropblock import DropBlock2d
from deepscope.training._dropconnect import DropConnect
from deepscope.training._dropout import Dropout, Dropout2d
from deepscope.training._early_stopping import EarlyStopping
from deepscope.training._evaluate import Evaluation, evaluate
from deepscope.training._factorised import Factorised
from deepscope.training._fit import fit
from deepscope.training._fit_distributed import fit_distributed
from deepscope.training._fit_many import Trainings, fit_many
from deepscope.training._forward_forward import ForwardForward, contrasted_labels, forward_forward_loss, with_label
from deepscope.training._gaussian_dropout import GaussianDropout
from deepscope.training._gradual_pruning import GradualPruning
from deepscope.training._label_smoothing import label_smoothing
from deepscope.training._lion import lion
from deepscope.training._lottery_ticket import LotteryTicket, Rewind, lottery_tickets
from deepscope.training._low_rank import low_rank
from deepscope.training._masks import KeepMasks, apply_masks, prunable_weights, remaining, shuffled_masks
from deepscope.training._maximal_update import maximal_update
from deepscope.training._mirror import Mirror, mirror_trial
from deepscope.training._mixup import Mixup
from deepscope.training._movement_pruning import (
    MovementMask,
    MovementPruning,
    add_movement_masks,
    fix_movement_masks,
    movement_masks,
)
from deepscope.training._muon import muon
from deepscope.training._network_cost import NetworkCost, network_cost
from deepscope.training._normalisation import BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm, RMSNorm
from deepscope.training._pruning import magnitudes, pruning_masks
from deepscope.training._rare_event import RareEvent, rare_event
from deepscope.training._rate_finder import LearningRates, find_learning_rate
from deepscope.training._saddle_free_newton import SaddleFreeNewton
from deepscope.training._sam import SAM
from deepscope.training._schedules import Schedule, constant, cosine, linear_warmup, step_decay
from deepscope.training._sequence_dropout import SequenceDropout, VariationalRecurrence
from deepscope.training._sparsity_schedules import cubic_sparsity, geometric_sparsity, one_shot_sparsity
from deepscope.training._state import History, TrainingState
from deepscope.training._synchronised_batch_norm import SynchronisedBatchNorm
from deepscope.training._taylor_pruning import taylor_scores, taylor_unit_scores, unit_masks
from deepscope.training._tensor_train import TensorTrainLinear
from deepscope.training._torch_optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RMSprop
from deepscope.training._trackers import MLflow, TensorBoard, Tracker, WandB, tracker
from deepscope.training._tucker import tucker2
from deepscope.training._variational_dropout import VariationalLinear
from deepscope.training._vsgd import VSGD
from deepscope.training._weight_averaging import WeightAveraging, cyclical
from deepscope.training._weight_normalisation import spectral_norm, weight_norm
from deepscope.training._width_factors import WidthFactors, width_factors
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
    "AdversarialTraining",
    "BatchNorm2d",
    "Callback",
    "Checkpoint",
    "ConcreteDropout",
    "CoordinateCheck",
    "CrossEntropySearch",
    "CutMix",
    "DeepEnsemble",
    "DistillationLoss",
    "DropBlock2d",
    "DropConnect",
    "Dropout",
    "Dropout2d",
    "EarlyStopping",
    "Evaluate",
    "Evaluation",
    "Factorised",
    "ForwardForward",
    "GaussianDropout",
    "GaussianEnsemble",
    "GaussianOutput",
    "GradientClipping",
    "GradualPruning",
    "GroupNorm",
    "History",
    "InstanceNorm2d",
    "KeepMasks",
    "LayerNorm",
    "LearningRates",
    "LotteryTicket",
    "MLflow",
    "Mirror",
    "Mixup",
    "MovementMask",
    "MovementPruning",
    "NAdam",
    "NetworkCost",
    "RMSNorm",
    "RMSprop",
    "RareEvent",
    "Rewind",
    "SaddleFreeNewton",
    "Schedule",
    "SequenceDropout",
    "SynchronisedBatchNorm",
    "TensorBoard",
    "TensorTrainLinear",
    "Tracker",
    "TrainingState",
    "Trainings",
    "ValueClipping",
    "VariationalLinear",
    "VariationalRecurrence",
    "WandB",
    "WeightAveraging",
    "WidthFactors",
    "Zoneout",
    "adan",
    "add_movement_masks",
    "apply_masks",
    "constant",
    "contrasted_labels",
    "coordinate_check",
    "cosine",
    "cp",
    "cross_entropy_method",
    "cubic_sparsity",
    "cyclical",
    "disagreement",
    "evaluate",
    "find_learning_rate",
    "fit",
    "fit_distributed",
    "fit_many",
    "fix_movement_masks",
    "forward_forward_loss",
    "gaussian_nll",
    "geometric_sparsity",
    "gradual_warmup",
    "inverse_square_root",
    "inverse_time",
    "label_smoothing",
    "linear_warmup",
    "lion",
    "lottery_tickets",
    "low_rank",
    "magnitudes",
    "maximal_update",
    "mirror_trial",
    "movement_masks",
    "muon",
    "network_cost",
    "one_shot_sparsity",
    "predictive_entropy",
    "prunable_weights",
    "pruning_masks",
    "rare_event",
    "remaining",
    "scaled_rate",
    "shuffled_masks",
    "spectral_norm",
    "step_decay",
    "taylor_scores",
    "taylor_unit_scores",
    "tracker",
    "tucker2",
    "unit_masks",
    "weight_norm",
    "width_factors",
    "with_closure",
    "with_label",
    "with_targets",
    "with_teacher",
]
