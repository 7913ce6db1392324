"""One tensor's anatomy."""

from __future__ import annotations

from dataclasses import dataclass

from deepscope.subject import Role


@dataclass(frozen=True)
class TensorAnatomy:
    """One parameter or buffer.

    Attributes
    ----------
    nonfinite, zeros
        How many values are NaN or infinite, and exactly zero; None where the dtype is not measured.
    norm, rms, max_abs
        Euclidean norm, root mean square and largest magnitude of the values; None unless all are finite.
    init_ratio
        ``rms`` over the standard deviation of PyTorch's default initialisation for this layer.
    initialiser
        The initialiser that the values cannot be told from, ``""`` where they can, None where there are too few, all
        are zero, or they are quantised.
    initialiser_is_sharp
        Whether it is uniform, so that the least training would show; training that moves values of a normal one by
        less than some 30 % does not.
    trained
        Whether the values are shown not to be independent draws of one size; False says nothing.
    digest
        Hash of the values of a matrix, by which duplicates are found; ``""`` where all values are equal.
    status
        ``"ok"``, or why there are no numbers.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    count: int
    nbytes: int
    tied: tuple[str, ...]
    status: str
    nonfinite: int | None = None
    zeros: int | None = None
    norm: float | None = None
    rms: float | None = None
    max_abs: float | None = None
    init_ratio: float | None = None
    initialiser: str | None = None
    initialiser_is_sharp: bool = False
    trained: bool = False
    digest: str = ""

    @property
    def is_matrix(self) -> bool:
        """Whether it is a weight of two or more dimensions."""
        return len(self.shape) >= 2 and self.role != Role.BUFFER
