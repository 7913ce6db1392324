"""Runs of studies as the lab records them: criteria and verdicts are really derived, only the trials are invented."""

import functools
import math

import numpy as np

from deepscope import figures
from deepscope.core import Criterion, Verdict
from deepscope.report import study_page

HOSTILE = "<script>alert(1)</script >\"'&\n\x1b[31mred\u202eevil <!-- שלום"


def draws(mean, spread, seeds, seed=0):
    """One number per seed."""
    return dict(enumerate(np.random.default_rng(seed).normal(mean, spread, seeds)))


def record(study, claim, source, criteria, *, seeds, cases, failures=(), scale="quick", **more):
    """What a run of a study leaves."""
    return {
        "schema": 1, "kind": "study", "study": study, "claim": claim, "source": source, "topics": ["generalisation"],
        "rows": [], "protocol": "", "caption": "", "scale": scale, "modified": False, "settings": {},
        **Verdict.of(criteria, seeds=seeds, failed=len(failures)).to_dict(),
        "cases": cases, "seeds": seeds, "trials": cases * seeds, "reused": 0, "failed": len(failures),
        "failures": list(failures)[:50],
        "cost": {"cpu_seconds": 61.3, "wall_seconds": 33.1, "peak_memory_bytes": 412_000_000}, "notes": [],
        "device": "cpu", "executor": "pool", "workers": 2, "code": "9f3ac2d1e07b",
        "command": f"deepscope study run {study} --scale {scale}", "commit": "24c7fc6",
        "versions": {"python": "3.11.8", "deepscope": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
        "hardware": {"cpu": "an ordinary processor", "cores": 2, "memory_bytes": 8_000_000_000, "accelerator": None},
        "date": "2026-11-20T12:00:00+00:00",
    } | more  # fmt: skip


def reproduced():
    """Exact and effect criteria, two controls, all of which hold."""
    criteria = [
        Criterion.exact("largest difference of a residual network from Euler's iterate", draws(3e-15, 1e-16, 10),
                        below=1e-12),
        Criterion.effect("order of Euler's error in h", draws(1.003, 0.01, 10), within=0.1, target=1, published="1"),
        Criterion.effect("order of RK2's error in h", draws(2.02, 0.03, 10, 1), within=0.1, target=2, published="2"),
        Criterion.effect("order of RK4's error in h", draws(3.93, 0.08, 10, 2), within=0.2, target=4, published="4"),
        Criterion.effect("order of a network with independent layers against the smooth equation",
                         draws(0.03, 0.05, 10, 3), below=0.2, control=True),
        Criterion.effect("order of a network with independent layers against the averaged equation",
                         draws(0.52, 0.05, 10, 4), within=0.1, target=0.5, published="1/2, by the central limit"),
    ]  # fmt: skip
    return record(
        "resnet-euler", "A residual network with smooth weights is forward Euler for a differential equation.",
        "he2015delving", criteria, seeds=10, cases=36, topics=["differential_equations"], rows=["resnet-euler"],
        protocol="Networks y ← y + h σ(K(t) y + b) of width 8 with K a random Fourier series, at steps h from 2⁻² to "
        "2⁻¹⁰.\n    The error at the end is taken against DOP853 at a tolerance of 10⁻¹², and its order fitted on "
        "h ≤ 2⁻⁶, because coarser steps are not asymptotic yet.",
        caption="Points are means over the seeds,\n    bars their 95 % intervals.",
        path="runs/20261120-120000-resnet-euler-1f",
    )  # fmt: skip


def not_reproduced():
    """One criterion fails, the control shows the effect; most trials were there already."""
    criteria = [
        Criterion.effect("log ratio of the test error at the threshold to its minimum below it",
                         draws(1.41, 0.2, 25), above=math.log(2), published="1.2 to 3 on five data sets"),
        Criterion.effect("log ratio of the test error far beyond the threshold to its minimum below it",
                         draws(0.08, 0.05, 25, 1), below=0, published="-0.11"),
        Criterion.effect("log ratio of the peak with a ridge of 0.1", draws(0.4, 0.06, 25, 2), below=0.1, control=True),
    ]  # fmt: skip
    return record(
        "double-descent-rff", "Test error peaks where features = samples, and falls again beyond it, below its "
        "classical optimum.", "belkin2019reconciling", criteria, seeds=25, cases=22, scale="full", reused=440,
        rows=["double-descent-belkin"], protocol="Random Fourier features with min-norm least squares on 300 "
        "handwritten digits with 10 % of labels wrong, from 10 to 10,000 features.",
        notes=["One run could not be read: its store is of a newer layout."],
        cost={"cpu_seconds": 3120.0, "wall_seconds": 1710.0, "peak_memory_bytes": 1_912_000_000},
    )  # fmt: skip


def inconclusive():
    """A modified protocol with failed trials, an interval across its threshold, and numbers that are missing."""
    delay = draws(2.6, 3.2, 5)
    late = draws(0.97, 0.02, 5, 1) | {1: None, 2: None, 4: None}
    criteria = [
        Criterion.effect("log₁₀ of the steps between fitting and generalising", delay, above=1, published="about 3"),
        Criterion.effect("validation accuracy at the end", late, above=0.95, published="> 0.99"),
        Criterion.exact("training accuracy at the end", {0: 1.0, 1: math.nan, 2: 1.0}, above=1.0),
        Criterion.effect("delay when all data are seen", draws(0.02, 0.03, 5, 2), within=0.3, control=True),
    ]
    failures = [
        {"case": f"fraction={0.3 + 0.05 * (index % 5):.2f} decay=1.0", "seed": index % 5,
         "error": "the trial took more than 600 s" if index % 3 else "MemoryError: 2.0 GiB were not enough"}
        for index in range(12)
    ]  # fmt: skip
    return record(
        "grokking", "Networks generalise long after they have fitted their training data.", "power2022grokking",
        criteria, seeds=5, cases=6, failures=failures, modified=True, settings={"width": 64, "optimizer": "adamw"},
        protocol="A transformer of one layer on addition modulo 97.",
    )  # fmt: skip


def hostile():
    """Texts that would act on a page or a terminal, wherever a study's file or a trial may have put them."""
    criteria = [
        Criterion.effect(HOSTILE, draws(1, 0.1, 5), above=2, published=HOSTILE),
        Criterion.exact(f"control {HOSTILE}", draws(1e300, 1e299, 5), within=0, target=-1e308, control=True),
    ]
    failures = [{"case": f"x={HOSTILE}", "seed": 0, "error": HOSTILE}]
    return record(
        HOSTILE, HOSTILE, HOSTILE, criteria, seeds=5, cases=2, failures=failures, topics=[HOSTILE], rows=[HOSTILE],
        protocol=HOSTILE, caption=HOSTILE, notes=[HOSTILE], command=HOSTILE, device=HOSTILE, modified=True,
        settings={HOSTILE: HOSTILE}, path=HOSTILE, versions={HOSTILE: HOSTILE},
    )  # fmt: skip


def forty():
    """As many criteria as no study should have."""
    criteria = [
        Criterion.effect(f"error at width {2**index} against that of the teacher, as a log ratio",
                         draws((-1) ** index * index, 1 + index, 3 + index, index), above=index / 10 - 1,
                         control=index % 7 == 6)
        for index in range(40)
    ]  # fmt: skip
    return record("widths", "Wider is better.", "he2015delving", criteria, seeds=43, cases=40)


def smoke():
    """Enough seeds to judge, at the scale that judges nothing."""
    criteria = [
        Criterion.effect("gain", draws(1, 0.1, 3), above=0.5),
        Criterion.effect("loss", draws(1, 0.1, 3), below=0.5),
        Criterion.effect("change", draws(0.5, 0.1, 3), above=0.5),
        Criterion.exact("error", draws(1e-9, 0, 3), below=1e-12),
        Criterion.effect("gain without the cause", draws(1, 0.1, 3), within=0.25, control=True),
    ]
    return record("trial-of-all", "It gains.", "he2015delving", criteria, seeds=3, cases=2, scale="smoke",
                  verdict="inconclusive", reasons=["smoke judges nothing"])  # fmt: skip


def bare():
    """Nothing was judged, drawn, described or found."""
    return record("empty", "Nothing is better than something.", "nobody", [], seeds=1, cases=1, scale="smoke",
                  topics=[], versions={}, hardware={}, commit="", cost={}, command="")  # fmt: skip


def nulls():
    """Criteria without a value: no trial was finished."""
    criteria = [
        Criterion.effect("gain", {}, above=0.5, published="2"),
        Criterion.exact("worst", {}, below=1e-9),
        Criterion.effect("gain without the cause", {0: 0.1}, within=0.25, control=True),
    ]
    return record("early", "It gains.", "he2015delving", criteria, seeds=5, cases=3)


RECORDS = (reproduced, not_reproduced, inconclusive, hostile, forty, smoke, bare, nulls)


@functools.cache
def figure():
    """A study's figure as the lab keeps it."""
    made, ax = figures.new(7.2, 3.4)
    widths = np.geomspace(10, 10_000, 24)
    error = 0.1 + 0.6 / (1 + 3 * np.abs(np.log10(widths / 300))) + 0.05 * np.exp(-widths / 200)
    figures.interval(ax, widths, error, 0.93 * error, 1.07 * error)
    ax.set_xscale("log")
    ax.set_xlabel("features")
    ax.set_ylabel("test error")
    figures.direct_label(ax, widths[-6], error[-6], "min-norm", figures.COLORS.accent)
    return {"study": figures.to_svg(made, "study-")}


@functools.cache
def page_of(make):
    """The page of a run, with a figure where there would be one."""
    return study_page(make(), {} if make in (bare, nulls) else figure())
