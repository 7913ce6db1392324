"""Made-up examinations of the shape that the lab writes."""

import math
import random

import pytest

from deepscope import figures

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


def track(label, values, spread=None, band=None, scale="linear"):
    low = {} if spread is None else {name: value - spread * value for name, value in values.items()}
    high = {} if spread is None else {name: value + spread * value for name, value in values.items()}
    return {"label": label, "values": values, "low": low, "high": high, "band": band, "scale": scale}


def readings(layers, rows_each=2, seed=0):
    """Three readings with ``rows_each`` rows per layer in the widest, and eight tracks."""
    draw = random.Random(seed)
    matrices = [layer for layer in layers if not layer.startswith("relu")]
    activations = [layer for layer in layers if layer.startswith("relu")] or list(layers)
    anatomy = [
        {
            "name": f"{layer}.{kind}", "role": "linear" if kind == "weight" else "bias", "shape": [120, 400],
            "dtype": "float32", "count": 48000, "bytes": 192000, "tied": None, "non_finite": 0,
            "zero_fraction": draw.random() / 50, "mean": draw.gauss(0, 0.01), "std": draw.random(),
            "norm": draw.random() * 9, "norm_to_default": 0.5 + draw.random(), "min": -draw.random(),
            "max": draw.random(), "median": draw.gauss(0, 0.001), "trained": True, "flops": 96000,
            "kurtosis": 3 + draw.random(), "max_to_std": 4 + draw.random(),
        }
        for layer in matrices
        for kind in ("weight", "bias", "running_mean")[:rows_each]
    ]  # fmt: skip
    spectrum = [
        {
            "name": f"{layer}.weight", "rows": 768, "cols": 3072, "alpha": 2 + 4 * draw.random(),
            "alpha_stderr": 0.05 + draw.random() / 5, "ks_distance": draw.random() / 10, "x_min": draw.random() * 3,
            "n_tail": draw.randrange(20, 400), "status": "converged", "stable_rank": 5 + draw.random() * 40,
            "effective_rank": 50 + draw.random() * 100, "mp_upper": 2.4, "n_spikes": draw.randrange(12),
        }
        for layer in matrices
    ]  # fmt: skip
    if spectrum:
        spectrum[-1] |= {"alpha": None, "alpha_stderr": None, "ks_distance": None, "status": "too few eigenvalues"}
    health = [
        {
            "name": layer, "dead_fraction": draw.random() ** 6, "saturated_fraction": 0.0,
            "activation_mean": draw.random(), "activation_std": draw.random(),
            "gradient_norm": 10 ** (-draw.random() * 4), "gradient_to_weight": 10 ** (-2 - draw.random() * 2),
        }
        for layer in layers
    ]  # fmt: skip
    alpha = {row["name"].rpartition(".")[0]: row["alpha"] for row in spectrum if row["alpha"] is not None}
    by_layer = {row["name"]: row for row in health}
    common = {"formula": "α = 1 + m / Σ ln(x_j / x_i)\nstandard error (α − 1) / √m", "source": "clauset2009power"}
    return {
        "anatomy": {
            "title": "parameters and buffers", "summary": f"{len(anatomy):,} tensors, 246 kB in float32.",
            "table": anatomy, "left_out": [{"name": "bn1.num_batches_tracked", "reason": "int64 is not measured"}],
            "how_to_read": "A bar is a tensor's norm against that of a fresh one. A tensor at 1 looks untrained.",
            "glance": [track("norm against a fresh one", {m: 0.4 + draw.random() for m in matrices}),
                       track("share of exact zeros", {m: draw.random() / 50 for m in matrices})],
            "cost": {"wall_seconds": 0.04, "cpu_seconds": 0.04, "forward_passes": 0, "backward_passes": 0}, **common,
        },
        "spectrum": {
            "title": "weight spectra", "summary": "The median tail exponent is 3.41; 1 of 5 fits failed.",
            "table": spectrum, "left_out": [{"name": f"{m}.bias", "reason": "has one dimension"} for m in matrices],
            "how_to_read": "A dot is a layer's tail exponent, the line its 95 % interval. Values between 2 and 6 are "
            "what well trained networks show.",
            "glance": [track("tail exponent α", alpha, 0.12, [2, 6]),
                       track("stable rank", {r["name"].rpartition(".")[0]: r["stable_rank"] for r in spectrum})],
            "cost": {"wall_seconds": 1.23, "cpu_seconds": 1.2, "forward_passes": 0, "backward_passes": 0}, **common,
        },
        "health": {
            "title": "activations and gradients", "summary": "Gradients shrink by 1.3 per layer towards the input.",
            "table": health, "left_out": [], "how_to_read": "Each dot is a layer. A steady slope is a rate per layer.",
            "glance": [track("dead units (share)", {a: by_layer[a]["dead_fraction"] for a in activations}, None,
                             [0, 0.2]),
                       track("gradient norm", {layer: by_layer[layer]["gradient_norm"] for layer in layers}, 0.2,
                             None, "log"),
                       track("gradient / weight", {m: by_layer[m]["gradient_to_weight"] for m in matrices}, 0.3,
                             [1e-4, 1e-2], "log")],
            "cost": {"wall_seconds": 0.6, "cpu_seconds": 0.61, "forward_passes": 12, "backward_passes": 6}, **common,
        },
    }  # fmt: skip


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


def comparison(layers=LENET):
    draw = random.Random(2)
    matrices = [layer for layer in layers if not layer.startswith("relu")]
    weights = [
        {"name": f"{m}.weight", "shape": [120, 400], "relative_change": draw.random() ** 2,
         "cosine": 1 - draw.random() / 3, "status": "changed"}
        for m in matrices
    ]  # fmt: skip
    if weights:
        weights[0] |= {"relative_change": 0.0, "cosine": 1.0, "status": "equal"}
        weights[-1] |= {"relative_change": None, "cosine": None, "status": "another shape"}
    rows = [
        {"name": f"{m}.weight", "alpha_a": 3.2, "alpha_b": 3.4 + draw.random(), "alpha_change": 0.2}
        for m in matrices
    ]  # fmt: skip
    return {
        "schema": "deepscope.comparison/1", "a": subject("before"), "b": subject("after"), "weights": weights,
        "tables": {"spectrum": rows}, "left_out": [{"name": "head.bias", "reason": "only in b"}],
        "findings_gone": [finding("problem", "health", "relu3", "Most units of relu3 are dead.", "71 of 84 units")],
        "findings_new": [finding("warning", "spectrum", "fc1.weight", "fc1 looks barely trained.", "α = 6.8 ± 0.4")],
        "command": "deepscope compare a.safetensors b.safetensors", "versions": {"deepscope": "0.1.0"},
        "date": "2026-11-20T12:00:00+00:00",
    }  # fmt: skip


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
                figures.band(ax, *lane["band"], label="unremarkable")
            ends = [[lane[end].get(key, math.nan) for key in lane["values"]] for end in ("low", "high")]
            figures.interval(ax, list(places), list(lane["values"].values()), *ends)
            ax.set_ylabel(lane["label"])
            figures.layer_axis(ax, list(lane["values"]))
            made[name] = figures.to_svg(figure, prefix=name)
    return made


@pytest.fixture
def builders():
    """The functions of this file, for tests."""
    return globals()
