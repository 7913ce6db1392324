"""A small network as it is really examined and compared, and made-up records: hostile, large, with known places.

What is made up has the columns and quantities of the real ones; only its numbers, names and findings are invented.
"""

import copy
import functools
import math
import random
from collections import OrderedDict

import pytest

from deepscope import figures
from deepscope.report import comparison_page, examination_page

LENET = ("conv1", "relu1", "conv2", "relu2", "fc1", "relu3", "fc2", "relu4", "fc3")
HOSTILE = "<script>alert(1)</script >\"'&\n\x1b[31mred\u202eevil <!-- שלום"


def finding(severity, instrument, where, message, evidence="", source="", action=""):
    return {
        "severity": severity, "instrument": instrument, "where": where, "message": message,
        "evidence": evidence, "source": source, "action": action,
    }  # fmt: skip


def subject(name="LeNet", layers=LENET, parameters=61706):
    return {
        "name": name, "kind": "model", "path": "", "class": "deepscope.models.LeNet", "parameters": parameters,
        "tensors": 2 * len(layers), "bytes": parameters * 4, "dtypes": {"float32": parameters}, "device": "cpu",
        "layers": list(layers), "data": {"name": "digits", "batches": 6, "samples": 360}, "loss": "cross_entropy",
        "about": "Trained by deepscope on 1,437 handwritten digits of 8 × 8 pixels for 20 epochs; 97.8 % of 360 "
        "others are read right.",
    }  # fmt: skip


def network(*, classes=10, more=()):
    """A network with names that stay, and tensors that are zero, counted, equal or not."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(1, 4, 3, padding=1), norm1=nn.BatchNorm2d(4), relu1=nn.ReLU(), flatten=nn.Flatten(),
                fc1=nn.Linear(256, 80), relu2=nn.ReLU(), fc2=nn.Linear(80, 60), relu3=nn.ReLU(),
                fc3=nn.Linear(60, classes), **dict(more),
            )
        )  # fmt: skip
        nn.init.zeros_(made.conv1.bias)
        return made


@functools.cache
def real():
    """Examine a network with a dead layer, and compare it with itself and with one that differs in all ways."""
    import torch
    from torch import nn

    import deepscope

    before, after = network(), network(classes=12, more={"fc4": nn.Linear(12, 10)})
    with torch.no_grad():
        before.fc1.bias.fill_(-100.0)
        after.fc1.bias.zero_()
        after.fc1.weight.mul_(1.5)
        after.fc2.weight[3, 5] = math.nan
    generator = torch.Generator().manual_seed(1)
    data = [(torch.randn(32, 1, 8, 8, generator=generator), torch.arange(32) % 10) for _ in range(3)]
    one, other = (
        deepscope.Subject(model, data, nn.functional.cross_entropy, name=name)
        for model, name in ((before, "before"), (after, "after"))
    )
    # What pages show does not depend on how many instruments there are; what these three find here is known.
    chosen = ["anatomy", "spectrum", "health"]
    examination = deepscope.examine(one, instruments=chosen)
    return {
        "examined": examination.to_dict(),
        "figures": {
            name: figures.to_svg(reading.plot(), prefix=name) for name, reading in examination.readings.items()
        },
        "comparison": deepscope.compare(
            one, other, instruments=chosen, command="deepscope compare before.pt after.pt"
        ).to_dict(),
        "itself": deepscope.compare(one, one, instruments=["anatomy", "spectrum"]).to_dict(),
    }


def examined():
    """A real examination."""
    return copy.deepcopy(real()["examined"])


def comparison():
    """A real comparison of two networks that differ."""
    return copy.deepcopy(real()["comparison"])


def itself():
    """A real comparison of a network with itself."""
    return copy.deepcopy(real()["itself"])


def like(instrument, **values):
    """A row with exactly the columns that an instrument's table really has."""
    row = real()["examined"]["readings"][instrument]["table"][0]
    assert set(values) <= set(row), set(values) - set(row)
    return row | values


def tracks(instrument, layers, draw):
    """The quantities that an instrument's reading really shows per layer, with invented values."""
    made = []
    for track in real()["examined"]["readings"][instrument]["glance"]:
        values = {layer: 10 ** (-4 * draw.random()) for layer in layers}
        if track["scale"] != "log":
            values = {layer: 7 * draw.random() if track["band"] else draw.random() ** 6 for layer in layers}
        spread = 0.2 if track["low"] else None
        low = {} if spread is None else {layer: (1 - spread) * value for layer, value in values.items()}
        high = {} if spread is None else {layer: (1 + spread) * value for layer, value in values.items()}
        made.append(track | {"values": values, "low": low, "high": high})
    return made


def readings(layers, rows_each=2, seed=0):
    """Three readings with ``rows_each`` rows per layer in the widest."""
    draw = random.Random(seed)
    matrices = [layer for layer in layers if not layer.startswith("relu")]
    tables = {
        "anatomy": [
            like(
                "anatomy", name=f"{layer}.{kind}", role="linear" if kind == "weight" else "bias", shape=[120, 400],
                count=48000, bytes=192000, norm=draw.random() * 9, rms=draw.random(), max_abs=draw.random(),
                init_ratio=0.5 + draw.random(),
            )
            for layer in matrices
            for kind in ("weight", "bias", "running_mean")[:rows_each]
        ],
        "spectrum": [
            like(
                "spectrum", name=f"{layer}.weight", rows=768, cols=3072, alpha=2 + 4 * draw.random(),
                alpha_low=None, alpha_high=None, alpha_stderr=0.05 + draw.random() / 5,
                ks_distance=draw.random() / 10, x_min=draw.random() * 3,
                n_tail=draw.randrange(20, 400), status="ok", stable_rank=5 + draw.random() * 40,
                effective_rank=50 + draw.random() * 100, mp_upper=2.4, n_spikes=draw.randrange(12),
            )
            for layer in matrices
        ],
        "health": [
            like(
                "health", name=layer, dead_fraction=draw.random() ** 6, saturated_fraction=0.0,
                activation_mean=draw.random(), activation_std=draw.random(),
                gradient_norm=10 ** (-draw.random() * 4), gradient_to_weight=10 ** (-2 - draw.random() * 2),
            )
            for layer in layers
        ],
    }  # fmt: skip
    if tables["spectrum"]:
        none = dict.fromkeys(("alpha", "alpha_stderr", "ks_distance"))
        tables["spectrum"][-1] |= {**none, "status": "too few eigenvalues"}
    left_out = {
        "anatomy": [{"name": "bn1.num_batches_tracked", "reason": "int64 is not measured"}],
        "spectrum": [{"name": f"{layer}.bias", "reason": "a vector has no spectrum"} for layer in matrices],
        "health": [],
    }
    return {
        name: real()["examined"]["readings"][name]
        | {
            "table": table,
            "left_out": left_out[name],
            "glance": tracks(name, layers if name == "health" else matrices, draw),
        }
        for name, table in tables.items()
    }


def record(subject, readings, findings, **more):
    return {
        "schema": "deepscope.examination/1", "subject": subject, "readings": readings, "findings": findings,
        "not_run": [{"name": "curvature", "reason": "needs a loss, and none was given"}], "failed": [],
        "cost": {"wall_seconds": 14.2, "cpu_seconds": 13.8, "peak_memory_bytes": 412_000_000, "forward_passes": 12,
                 "backward_passes": 6},
        "command": "deepscope examine --seed 0 --out report.html", "seed": 0, "budget": "standard",
        "versions": {"deepscope": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
        "hardware": {"cpu": "an ordinary processor", "cores": 2, "memory_bytes": 8_000_000_000, "accelerator": None},
        "date": "2026-11-20T12:00:00+00:00",
    } | more  # fmt: skip


def lenet(**more):
    found = [
        finding("problem", "health", "relu3", "Most units of relu3 are dead: they are zero for every input.",
                "71 of 84 units (85 %, 95 % interval 75–91 %) were zero on all 360 samples; the rule is under 20 %",
                "lu2020dying", "Lower the learning rate, or use a leaky activation, and train again."),
        finding("problem", "anatomy", "fc2.weight", "fc2.weight has values that are not numbers.",
                "3 of 10,080 values are NaN", "", "Restore an earlier checkpoint; look for a division by zero."),
        finding("warning", "spectrum", "fc1.weight", "fc1 looks barely trained: its spectrum is that of noise.",
                "no eigenvalue above the Marchenko–Pastur edge of 2.4, α = 6.8 ± 0.4", "martin2021implicit",
                "Compare with a longer training, or freeze the layer and see whether accuracy falls."),
        finding("warning", "health", "conv2", "Gradients at conv2 are weak.", "gradient/weight = 4e−5 [2e−5, 7e−5]",
                "glorot2010understanding", "Normalise the layer's input."),
        finding("warning", "anatomy", "", "Two tensors are equal value by value.", "fc1.bias and fc2.bias"),
        finding("note", "spectrum", "fc3.weight", "No power law could be fitted to fc3: it is too small.",
                "10 eigenvalues, 50 are needed"),
    ]  # fmt: skip
    return record(subject(), readings(LENET), found, **more)


def thousand(layers=1000):
    names = [
        f"encoder.layer.{index // 4}.{('query', 'key', 'value', 'output.dense')[index % 4]}" for index in range(layers)
    ]
    draw = random.Random(1)
    found = [
        finding("problem" if draw.random() < 0.1 else "warning", "health", name,
                f"Gradients at {name} are weak.", f"gradient/weight = {draw.random():.2g}e−5",
                "glorot2010understanding", "Normalise the layer's input.")
        for name in draw.sample(names, layers)
    ]  # fmt: skip
    made = readings(names, rows_each=3)
    for reading in ("spectrum", "health"):
        for row in made[reading]["table"]:
            row |= {f"quantity_{letter}": draw.gauss(0, 1) for letter in "abcdefg"}
    return record(subject("Giant", names, 1_310_000_000), made, found)


def empty():
    return record(subject(layers=()), {}, [], failed=["anatomy"], cost={}, command="", versions={}, hardware={})


def hostile():
    made = lenet()
    layers = [HOSTILE, *LENET]
    made["subject"] = subject(HOSTILE, layers)
    made["readings"] = readings(layers)
    made["readings"]["spectrum"]["formula"] = HOSTILE
    made["findings"].append(finding("problem", "health", HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE))
    made["not_run"] = [{"name": HOSTILE, "reason": HOSTILE}]
    made["command"] = HOSTILE
    return made


def drawings(record):
    """One figure per reading, as an instrument would draw it."""
    made = {}
    for name, reading in record["readings"].items():
        for lane in [each for each in reading["glance"] if each["values"]][:1]:
            figure, ax = figures.new()
            places = range(len(lane["values"]))
            if lane["band"]:
                figures.band(ax, *lane["band"])
            ends = [[lane[end].get(key, math.nan) for key in lane["values"]] for end in ("low", "high")]
            figures.interval(ax, list(places), list(lane["values"].values()), *ends)
            ax.set_ylabel(lane["label"])
            figures.layer_axis(ax, list(lane["values"]))
            made[name] = figures.to_svg(figure, prefix=name)
    return made


def page_of(name):
    """The page of the record with that name."""
    made = globals()[name]()
    if "weights" in made:
        return comparison_page(made)
    return examination_page(made, real()["figures"] if name == "examined" else drawings(made))


@pytest.fixture(scope="session")
def builders():
    """The functions of this file, for tests."""
    return globals()
