"""`kernel` and `noise` beside torch's own ways: a tangent kernel by whole Jacobians, gradient norms by `vmap(grad)`.

The kernel of 256 samples and 10 outputs by the Jacobian contraction of torch's tutorial on tangent kernels, and the
gradient norms of 1,000 samples, MNIST-shaped, on networks trained for 60 steps. Each measurement runs in a process of
its own, with one thread.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from process import OURS, Costs, answer, medians, runs

SAMPLES, STEPS, KERNEL_SAMPLES = 1000, 60, 256
SMALL = {"samples": 200, "kernel_samples": 32}
NETWORKS = ("mlp", "cnn")
WHAT = ("contraction", "gram", "kernel", "vmap(grad)", "norms", "noise", "gradient")
#: CPU time of the peer over ours, with the proof on two samples that each measurement begins with.
PROMISED = {("mlp", "gram"): 150, ("cnn", "gram"): 8, ("mlp", "norms"): 25}


def data(samples: int) -> tuple[Any, Any]:
    """Return MNIST-shaped images, and labels that a random linear map gives them."""
    import torch

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(samples, 1, 28, 28, generator=generator)
    teacher = torch.randn(784, 10, generator=generator)
    return images, (images.flatten(1) @ teacher).argmax(1)


def network(name: str, images: Any, labels: Any) -> Any:
    """Return a multilayer perceptron 784-256-256-10, or a convolutional network of 99,550 parameters, trained."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    if name == "mlp":
        layers = [nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
    else:
        layers = []
        for inputs, outputs in ((1, 16), (16, 32)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Linear(1568, 60), nn.ReLU(), nn.Linear(60, 10)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(STEPS):
        batch = slice(step * 100 % len(images), step * 100 % len(images) + 100)
        optimizer.zero_grad()
        functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    return model.eval()


def worker(what: str, name: str, samples: str, kernel_samples: str) -> None:
    """Measure one thing in this process; print its cost and a few of the numbers that it found."""
    import torch
    from meter import Meter

    torch.set_num_threads(1)
    images, labels = data(int(samples))
    model = network(name, images, labels)
    first, known = images[: int(kernel_samples)], labels[: int(kernel_samples)]
    actions: dict[str, Callable[[Any, Any, Any], Any]] = {
        "contraction": _contraction, "gram": _gram, "kernel": _kernel,
        "vmap(grad)": _vmap_grad, "norms": _norms, "noise": _noise, "gradient": _gradient,
    }  # fmt: skip
    of_kernel = what in WHAT[:3]
    run = actions[what]
    # Once before with a few samples, so that what is loaded or compiled on first use is not timed.
    run(model, images[:8], labels[:8])
    with Meter() as meter:
        found = run(model, first, known) if of_kernel else run(model, images, labels)
    print(json.dumps({**meter.cost, "check": float(found)}))


def _contraction(model: Any, x: Any, y: Any) -> Any:
    import torch
    from torch.func import functional_call, jacrev, vmap

    del y
    parameters = {name: each.detach() for name, each in model.named_parameters()}

    def outputs(values: Any, sample: Any) -> Any:
        return functional_call(model, values, (sample.unsqueeze(0),)).squeeze(0)

    rows = [each.flatten(2) for each in vmap(jacrev(outputs), (None, 0))(parameters, x).values()]
    return torch.stack([torch.einsum("Naf,Mbf->NMab", each, each) for each in rows]).sum(0).square().sum().sqrt()


def _gram(model: Any, x: Any, y: Any) -> Any:
    from deepscope.instruments._kernel_gram import samples_of, tangent_gram
    from deepscope.subject import Subject, per_sample_gradients

    subject = Subject(model, [(x, y)])
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        return tangent_gram(gradients, samples_of(subject, len(x)).pieces, trace=False).gram.square().sum().sqrt()


def _kernel(model: Any, x: Any, y: Any) -> Any:
    from deepscope.instruments import kernel
    from deepscope.subject import Subject

    return (kernel(Subject(model, [(x, y)]), samples=len(x)).gram ** 2).sum() ** 0.5


def _vmap_grad(model: Any, x: Any, y: Any) -> Any:
    from torch.func import functional_call, grad, vmap
    from torch.nn import functional

    parameters = {name: each.detach() for name, each in model.named_parameters()}

    def loss(values: Any, sample: Any, label: Any) -> Any:
        return functional.cross_entropy(functional_call(model, values, (sample.unsqueeze(0),)), label.unsqueeze(0))

    rows = vmap(grad(loss), (None, 0, 0))(parameters, x, y).values()
    return sum(each.flatten(1).square().sum(1) for each in rows).sqrt().sum()


def _norms(model: Any, x: Any, y: Any) -> Any:
    from torch.nn import functional

    from deepscope.linalg import squared_norms
    from deepscope.subject import Subject, in_chunks, part_of, per_sample_gradients

    subject = Subject(model, [(x, y)], functional.cross_entropy)
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        (batch,) = subject.batches()
        parts = in_chunks(len(x), 128, lambda some: gradients.of_losses(part_of(subject, batch, some)).factors.values())
        return sum(sum(squared_norms(each) for each in part).sqrt().sum() for part in parts)


def _noise(model: Any, x: Any, y: Any) -> Any:
    from torch.nn import functional

    from deepscope.instruments import noise
    from deepscope.subject import Subject

    return noise(Subject(model, [(x, y)], functional.cross_entropy), probes=0).per_sample_norms.sum()


def _gradient(model: Any, x: Any, y: Any) -> Any:
    import torch
    from torch.nn import functional

    loss = functional.cross_entropy(model(x), y)
    torch.autograd.grad(loss, list(model.parameters()))
    return loss.detach()


def bench(repeats: int, samples: int = SAMPLES, kernel_samples: int = KERNEL_SAMPLES) -> dict[str, Any]:
    """Return the medians over the repeats, how many times faster than its peer each is, and the largest deviation."""
    gathered: dict[str, dict[str, list[Costs]]] = {name: {what: [] for what in WHAT} for name in NETWORKS}
    # Interleaved, so that a slow moment of the machine hits all alike.
    for _ in range(repeats):
        for name in NETWORKS:
            for what in WHAT:
                gathered[name][what].append(answer(OURS, "kernel.py", what, name, samples, kernel_samples))
    costs = {name: {what: medians(each) for what, each in found.items()} for name, found in gathered.items()}
    peers = {"gram": "contraction", "kernel": "contraction", "norms": "vmap(grad)", "noise": "vmap(grad)"}
    compared = {
        name: {
            what: {
                "times_faster": found[peer]["cpu_seconds"] / found[what]["cpu_seconds"],
                "memory_share": found[what]["extra_bytes"] / max(found[peer]["extra_bytes"], 1),
                "deviation": abs(found[what]["check"] / found[peer]["check"] - 1),
            }
            for what, peer in peers.items()
        }
        for name, found in costs.items()
    }
    return {
        "samples": samples,
        "kernel_samples": kernel_samples,
        "repeats": repeats,
        "costs": costs,
        "compared": compared,
    }


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say which of the promises do not hold: speed beside the peers, and the same numbers."""
    broken = []
    for (name, what), times in PROMISED.items():
        reached = result["compared"][name][what]["times_faster"]
        if reached < times:
            broken.append(f"{what} on the {name} is {reached:.0f} times faster than its peer, not {times}")
    worst = max(each["deviation"] for found in result["compared"].values() for each in found.values())
    # Sums in single precision, in another order.
    return broken if worst < 1e-4 else [*broken, f"results differ from the peers' by {worst:.1g}"]


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and one sentence."""
    names = {
        "contraction": "tangent kernel by whole Jacobians (`vmap(jacrev)`)",
        "gram": "its Gram matrix by structure",
        "kernel": "`kernel`, with spectrum, alignment and regression",
        "vmap(grad)": "gradient norms by `vmap(grad)`",
        "norms": "by structure",
        "noise": "`noise`, with scale and intervals",
        "gradient": "one gradient of all samples, as a measure",
    }
    lines = [
        "| one thread | MLP | memory | CNN | memory |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for what, name in names.items():
        cells = [
            f"{cost['cpu_seconds']:.2g} s | {cost['extra_bytes'] / 1e6:.0f} MB"
            for cost in (result["costs"][network][what] for network in NETWORKS)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    faster = {name: result["compared"][name]["gram"]["times_faster"] for name in NETWORKS}
    return "\n".join(
        [
            *lines,
            "",
            f"Kernels of {result['kernel_samples']} samples × 10 outputs, norms of {result['samples']:,} samples; MLP "
            f"784-256-256-10 and a CNN of 99,550 parameters, 60 steps trained, {runs(result['repeats'])}. "
            f"The Gram matrix takes 1/{faster['mlp']:.0f} and 1/{faster['cnn']:.0f} of whole Jacobians' CPU time.",
        ]
    )


if __name__ == "__main__":
    worker(*sys.argv[1:])
