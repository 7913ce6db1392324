"""What is said when a network or its loss cannot be run."""

from __future__ import annotations

from deepscope.core import MeasurementError, first_line
from deepscope.subject import Subject


def refusal(error: Exception, index: int, subject: Subject, *, ran: bool) -> MeasurementError:
    """Explain what a model, or after it has run its loss, raised at a batch."""
    who = "loss refuses the targets" if ran else "model refuses the inputs"
    return MeasurementError(
        f"the {who} of batch {index}: {first_line(error)}",
        where=subject.name,
        todo="Check that the labels fit the model's outputs, in type and range."
        if ran
        else "Check that the data has the shape and type that the model takes.",
    )
