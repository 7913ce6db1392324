"""What is measured, and how it is read without touching it."""

from deepscope.subject._activation_function import Activation
from deepscope.subject._activations import Watch, watch_layers
from deepscope.subject._agreement import agrees
from deepscope.subject._batches import Batch, batches_of, call, check_reiterable, move, n_batches
from deepscope.subject._checkpoint import Checkpoint, read_checkpoint
from deepscope.subject._collect import Collected, RepresentationStore, collect
from deepscope.subject._collecting import Collector, collecting
from deepscope.subject._columns import layer_of, most_telling
from deepscope.subject._derived import Derived, LowRank
from deepscope.subject._forward_work import ForwardWork, forward_work
from deepscope.subject._generators import (
    GeneratorStates,
    capture_generators,
    generators_kept,
    restore_generators,
    seeded_generators,
)
from deepscope.subject._kernels import without_fused_kernels
from deepscope.subject._layer_output import LayerOutput, is_layer, is_opaque, own_parameters, selected_layers
from deepscope.subject._layout import Layout, Part
from deepscope.subject._live import ModuleWeight, device_of
from deepscope.subject._loss import n_samples, scalar_loss
from deepscope.subject._main_output import main_output
from deepscope.subject._mean_over_terms import NoMeanError
from deepscope.subject._memory import in_chunks, is_out_of_memory
from deepscope.subject._pass import Step, StepResult, measure_alone, measure_weight, split_ledger
from deepscope.subject._per_sample import PerSampleGradients, SampleGradients
from deepscope.subject._per_sample_check import check_mean_over_terms, per_sample_gradients, trained_parameters
from deepscope.subject._recurrent_steps import RecurrentRun, recurrent_runs
from deepscope.subject._row_choices import RowChoices
from deepscope.subject._samples import FirstSamples, each_sampled, is_written, joined, part_of, take_samples, tensors_in
from deepscope.subject._subject import Subject
from deepscope.subject._undisturbed import undisturbed
from deepscope.subject._watched_layers import every_layer_called
from deepscope.subject._weight import FLOAT8_DTYPES, MEASURED_DTYPES, Role, Weight, dtype_name, torch_dtype

__all__ = [
    "FLOAT8_DTYPES",
    "MEASURED_DTYPES",
    "Activation",
    "Batch",
    "Checkpoint",
    "Collected",
    "Collector",
    "Derived",
    "FirstSamples",
    "ForwardWork",
    "GeneratorStates",
    "LayerOutput",
    "Layout",
    "LowRank",
    "ModuleWeight",
    "NoMeanError",
    "Part",
    "PerSampleGradients",
    "RecurrentRun",
    "RepresentationStore",
    "Role",
    "RowChoices",
    "SampleGradients",
    "Step",
    "StepResult",
    "Subject",
    "Watch",
    "Weight",
    "agrees",
    "batches_of",
    "call",
    "capture_generators",
    "check_mean_over_terms",
    "check_reiterable",
    "collect",
    "collecting",
    "device_of",
    "dtype_name",
    "each_sampled",
    "every_layer_called",
    "forward_work",
    "generators_kept",
    "in_chunks",
    "is_layer",
    "is_opaque",
    "is_out_of_memory",
    "is_written",
    "joined",
    "layer_of",
    "main_output",
    "measure_alone",
    "measure_weight",
    "most_telling",
    "move",
    "n_batches",
    "n_samples",
    "own_parameters",
    "part_of",
    "per_sample_gradients",
    "read_checkpoint",
    "recurrent_runs",
    "restore_generators",
    "scalar_loss",
    "seeded_generators",
    "selected_layers",
    "split_ledger",
    "take_samples",
    "tensors_in",
    "torch_dtype",
    "trained_parameters",
    "undisturbed",
    "watch_layers",
    "without_fused_kernels",
]
