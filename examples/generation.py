"""Train a variational autoencoder and a diffusion model on MNIST, draw digits from both, and have a network read them.

Run it from the repository: ``python examples/generation.py``. A LeNet-5 trained on the same images reads what is drawn:
the share to which it gives a class with at least 90 % of the probability, beside that of test images, and of images
whose pixels are drawn each by itself, with the mean of the training images there; and how many classes there are among
them. Writes the images to a file, and prints one JSON object.

The autoencoder has few latent numbers: with more its reconstructions are better, and what is drawn worse. The U-Net is
narrow, so that it can be trained for longer. The autoencoder's size and epochs were chosen by the same reader on other
samples than those that are counted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from deepscope import data
from deepscope.models import DDPM, VAE, LeNet, Objective, UNet, diffusion_loss, negative_elbo
from deepscope.training import Checkpoint, cosine, evaluate, fit

#: Of training: batch size, epochs and rate. Of a reading: what counts as certain.
READER, VARIATIONAL, DIFFUSION = (64, 3, 2e-3), (128, 60, 1e-3), (32, 8, 1e-3)
CERTAIN, SAMPLES, COLUMNS = 0.9, 200, 20


def train(
    model: nn.Module,
    samples: data.Samples,
    loss: Callable[..., Tensor],
    setting: tuple[int, int, float],
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train with Adam and a rate that falls to 0."""
    batch_size, epochs, rate = setting
    fit(
        model,
        samples.epochs(batch_size, seed=0),
        loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=rate),
        epochs=epochs,
        schedule=cosine(epochs * len(samples.batches(batch_size))),
        checkpoint=checkpoint,
    )
    model.eval()


def read(reader: LeNet, images: Tensor) -> dict[str, float]:
    """Return the share of the images that are read with certainty, and how many classes those are of."""
    with torch.no_grad():
        probabilities = reader(images).softmax(1)
    certain, classes = probabilities.max(1)
    return {
        "certain": round(float((certain >= CERTAIN).double().mean()), 4),
        "classes": len(classes[certain >= CERTAIN].unique()),
    }


def show(rows: list[Tensor], path: Path) -> None:
    """Write images, [n, 1, 28, 28] between 0 and 1 each, below one another, with a gap between them."""
    strips = [np.hstack(list(images[:COLUMNS, 0].numpy())) for images in rows]
    gap = np.zeros((6, strips[0].shape[1]))
    picture = np.vstack([part for strip in strips for part in (strip, gap)][:-1])
    scaled = Image.fromarray(np.uint8(255 * (1 - picture.clip(0, 1))))
    scaled.resize((3 * scaled.width, 3 * scaled.height), Image.Resampling.NEAREST).save(path)


def main() -> None:
    """Train, draw, read."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=int, default=DIFFUSION[1], help="of the diffusion model")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--checkpoint", type=Path, help="save the diffusion model here, and go on from here")
    options.add_argument("--images", type=Path, default=Path("generated.png"))
    chosen = options.parse_args()
    if min(chosen.epochs, chosen.threads) < 1:
        options.error("--epochs and --threads are numbers of at least 1")
    torch.set_num_threads(chosen.threads)
    mnist = data.load("mnist")
    before = time.process_time()
    torch.manual_seed(0)
    reader = LeNet(activation="relu")
    variational = VAE(28 * 28, (500, 500), 4, activation="relu")
    diffusion = DDPM(UNet(1, 16, (1, 2, 4), blocks=1, attention=(2,), groups=8, dropout=0.0))
    train(reader, mnist.train, mnist.loss, READER)
    train(Objective(variational, negative_elbo), mnist.train, Objective.value, VARIATIONAL)
    # The noise is that of a unit normal: values spread as far.
    centred = data.Samples(2 * mnist.train.inputs - 1, mnist.train.targets)
    checkpoint = Checkpoint(chosen.checkpoint, every_steps=100) if chosen.checkpoint else None
    setting = (DIFFUSION[0], chosen.epochs, DIFFUSION[2])
    train(Objective(diffusion, diffusion_loss), centred, Objective.value, setting, checkpoint)

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        means = variational.decode(torch.randn(SAMPLES, variational.latent, generator=generator))
    drawn = {
        "test images": mnist.test.inputs[:SAMPLES],
        "autoencoder": means.unflatten(1, (1, 28, 28)),
        "diffusion": (diffusion.sample((SAMPLES, 1, 28, 28), generator=generator) + 1).clamp(0, 2) / 2,
        "pixels alone": torch.bernoulli(mnist.train.inputs.mean(0).expand(SAMPLES, -1, -1, -1), generator=generator),
    }
    show(list(drawn.values()), chosen.images)
    found = evaluate(reader, mnist.test.batches())
    result = {
        "read": {name: read(reader, images) for name, images in drawn.items()},
        "reader_accuracy": found.accuracy,
        "images": str(chosen.images),
        "cpu_seconds": round(time.process_time() - before, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
