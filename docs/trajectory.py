"""Make the how-to's figure: the spectra of LeNet-5 over its training on MNIST, and print the phases.

.venv/bin/python docs/trajectory.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from deepscope import data
from deepscope.figures import to_svg
from deepscope.lab import trajectory
from deepscope.models import LeNet
from deepscope.training import Callback, TrainingState, cosine, fit

STEPS = (0, 10, 30, 100, 300, 938, 2814)
BATCH_SIZE, EPOCHS = 64, 3
PICTURE = Path(__file__).parent / "images" / "mnist-trajectory.svg"


class Keep(Callback):
    """Save the weights at chosen steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: list[Path] = []

    def on_start(self, state: TrainingState) -> None:
        """Save the weights as they begin."""
        self.on_step(state)

    def on_step(self, state: TrainingState) -> None:
        """Save them where this step was chosen."""
        if state.step in STEPS:
            self.kept.append(self.folder / f"step {state.step}.safetensors")
            save_file(state.model.state_dict(), self.kept[-1])


def main() -> None:
    """Train as examples/mnist.py does, measure, draw."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    mnist = data.load("mnist")
    model = LeNet(activation="relu")
    n_steps = EPOCHS * len(mnist.train.batches(BATCH_SIZE))
    with tempfile.TemporaryDirectory() as folder:
        keep = Keep(Path(folder))
        fit(
            model,
            mnist.train.epochs(BATCH_SIZE, seed=0),
            mnist.loss,
            optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
            epochs=EPOCHS,
            schedule=cosine(n_steps, warmup=n_steps // 20),
            callbacks=[keep],
            seed=0,
        )
        found = trajectory(keep.kept)
        PICTURE.write_text(to_svg(found.plot(), prefix="mnist-"), encoding="utf-8")
        names = [path.stem for path in keep.kept]
    phases = found.table.pivot_table(index="name", columns="step", values="phase", aggfunc="first", sort=False)
    print(phases.set_axis(names, axis="columns").to_string())


if __name__ == "__main__":
    main()
