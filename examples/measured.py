"""Run the examples whose results README.md shows, and write them there.

python examples/measured.py [NAME ...] [--write]

Without names all are run, one after the other, which takes three hours. ``--write`` measures nothing and writes the
table anew from results.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS, README = HERE / "results.json", HERE / "README.md"
MARKS = ("<!-- results -->", "<!-- /results -->")


def accuracy(result: dict[str, Any]) -> str:
    """Return the accuracy on the test part."""
    return f"{result['test_accuracy']:.2%} of the test images right"


def ladder(result: dict[str, Any]) -> str:
    """Return the loss of each rung, and whether every step is twice its standard error."""
    rungs = ", ".join(f"{name} {rung['loss']:.3f}" for name, rung in result["ladder"].items())
    order = "each better than the one before" if result["in_order"] else "not in order"
    return f"{rungs} nats per letter: {order}"


def papers(result: dict[str, Any]) -> str:
    """Return the mean accuracy over the seeds with its deviation, and what is found without the graph."""
    return (
        f"{result['test_accuracy']:.1%} ± {result['deviation']:.1%} of the test papers over {len(result['seeds'])} "
        f"seeds; {result['without_citations']:.1%} without citations"
    )


def languages(result: dict[str, Any]) -> str:
    """Return the bits per character of each model."""
    return (
        ", ".join(
            f"{name} {found['bits_per_character']:.3f} ({found['parameters']:,} parameters)"
            for name, found in result["models"].items()
        )
        + " bits per character"
    )


def pruned(result: dict[str, Any]) -> str:
    """Return what is left of the accuracy, beside the controls."""
    found = result["accuracy"]
    return (
        f"a ninth of the weights, {found['pruned']:.2%}; all of them {found['dense']:.2%}, difference "
        f"{-100 * result['cost']:+.2f} ± {100 * result['standard_error']:.2f} points (standard error, "
        f"{result['seeds']} seeds); a ninth at random places {found['random']:.2%}; "
        f"not trained on {found['untrained']:.2%}"
    )


def distilled(result: dict[str, Any]) -> str:
    """Return the errors of teacher and students, and how much of the gap is closed."""
    errors = result["errors"]
    labels, soft = (", ".join(str(each) for each in errors[name]) for name in ("labels", "distilled"))
    return (
        f"errors of 10,000: teacher {errors['teacher']}, student by labels {labels}, distilled {soft}: "
        f"{result['gap_closed']:.0%} of the gap closed"
    )


def drawn(result: dict[str, Any]) -> str:
    """Return how many of the drawn images a classifier reads with certainty."""
    return "read with certainty: " + ", ".join(
        f"{name} {found['certain']:.0%} ({found['classes']} classes)" for name, found in result["read"].items()
    )


#: What is run; what it is; what was promised; how its result reads.
EXAMPLES: dict[str, tuple[list[str], str, str, Callable[[dict[str, Any]], str]]] = {
    "mnist": (["--epochs", "15", "--shift", "1"], "LeNet-5 on MNIST", "99.2 % within 10 CPU-minutes", accuracy),
    "cifar10": ([], "ResNet-20 on CIFAR-10", "80 % within an hour", accuracy),
    "tinyshakespeare": ([], "LSTM, Transformer and Mamba of one size on Shakespeare", "", languages),
    "cora": ([], "GCN on Cora, public split", "81.5 ± 1 %", papers),
    "pruning": ([], "LeNet-300-100 on MNIST, pruned to a ninth of its weights", "no loss", pruned),
    "distillation": ([], "1,200 units with dropout distilled into 800, on MNIST", "half of the gap", distilled),
    "generation": (
        ["--images", "docs/images/drawn-digits.png"],
        "Digits by an autoencoder and a diffusion model",
        "one can read them",
        drawn,
    ),
    "names": (["--seeds", "0", "1", "2"], "makemore's ladder on names", "in order", ladder),
}


def command(name: str) -> list[str]:
    """Return what is typed after ``python``."""
    return [f"examples/{name}.py", *EXAMPLES[name][0]]


def seconds(result: dict[str, Any]) -> float:
    """Return the CPU time of all that was trained."""
    if "cpu_seconds" in result:
        return float(result["cpu_seconds"])
    return float(sum(found["cpu_seconds"] for found in result["models"].values()))


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    lines = ["| what, and the command | promised | measured | CPU time |", "| --- | --- | --- | ---: |"]
    for name, (_, what, promised, words) in EXAMPLES.items():
        if name in results:
            result = results[name]
            cost = f"{seconds(result) / 60:.1f} min"
            typed = f"python {' '.join(command(name))}"
            lines.append(f"| {what}: `{typed}` | {promised or '–'} | {words(result)} | {cost} |")
    return "\n".join(lines)


def with_table(text: str, results: dict[str, dict[str, Any]]) -> str:
    """Return a page with the table between its marks replaced."""
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}\n\n{table(results)}\n\n{MARKS[1]}{after}"


def main() -> None:
    """Run, keep, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("names", nargs="*", choices=[*EXAMPLES, []], metavar="NAME")
    options.add_argument("--write", action="store_true", help="measure nothing")
    chosen = options.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in () if chosen.write else chosen.names or EXAMPLES:
        done = subprocess.run(
            [sys.executable, *command(name)], cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True
        )
        results[name] = json.loads(done.stdout)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(name, EXAMPLES[name][3](results[name]), flush=True)
    README.write_text(with_table(README.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
