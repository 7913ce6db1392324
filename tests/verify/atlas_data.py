"""Atlases for tests: a small one with all that can occur, a hostile one, an empty one, and one of any size.

Records are those of ``study_records``, whose verdicts are really derived; the map is the real one.
"""

import copy
import random

import study_records as runs

from deepscope.core import rows

#: Fields of a run that an atlas does not keep.
NOT_KEPT = ("path", "environments", "executor", "workers")
CODE = '"""A study."""\n\n\ndef trial(case, run):\n    return {"difference": case["step"] ** 2 < 1 and "<b>&amp;"}\n'


def study(name, run, **more):
    """A study of the atlas, with a recorded run or without."""
    record = run and {key: value for key, value in run.items() if key not in NOT_KEPT} | {"identity": "6c4232112b8b"}
    return {
        "id": name, "claim": run["claim"] if run else "Nobody has looked yet.", "record": record, "stale": "",
        "source": run["source"] if run else "he2015delving", "topics": run["topics"] if run else ["generalisation"],
        "rows": run["rows"] if run else [], "protocol": run["protocol"] if run else "A protocol in words.",
        "caption": run["caption"] if run else "", "figure": runs.figure()["study"] if run else "",
        "files": [{"path": f"src/deepscope/studies/topic/{name.replace('-', '_')}.py", "text": CODE}],
    } | more  # fmt: skip


def instrument(name, **more):
    """An instrument of the atlas."""
    return {
        "name": name, "title": "eigenvalues of every weight matrix",
        "formula": "λᵢ of WᵀW / n\nα: exponent of the tail",
        "how_to_read": "A dot is a layer. The band is what trained layers show.", "source": "martin2021implicit",
        "rows": ["hessian-spectrum"], "pinned_by": f"tests/instruments/test_{name}.py::test_known", "fault": "",
        "path": f"src/deepscope/instruments/_{name}.py",
    } | more  # fmt: skip


def specimen(name, **more):
    """A specimen of the atlas."""
    return {
        "name": name, "title": "a network for handwritten digits", "family": "convolutional",
        "formula": "conv 5 × 5, tanh, pool, twice", "source": "he2015delving", "rows": [], "fault": "",
        "pinned_by": f"tests/models/test_{name.replace('-', '_')}.py::test_shapes",
        "path": "src/deepscope/models/_lenet.py",
    } | more  # fmt: skip


def the_map(evidence):
    """Every row of the real map, with the evidence given by its id."""
    return [{**row, "evidence": evidence.get(key, [])} for key, row in rows().items()]


def small():
    """Every verdict, a stale one, a study without a record, instruments and specimens that count and do not."""
    evidence = {
        "resnet-euler": ["study:resnet-euler", "instrument:spectrum"],
        "hessian-spectrum": ["instrument:spectrum"],
        "mcculloch-pitts": ["row:resnet-euler"],
        "perceptron-novikoff": ["specimen:lenet-5"],
    }
    return {
        "version": "0.1.0",
        "studies": [
            study("resnet-euler", runs.reproduced()),
            study("double-descent-rff", runs.not_reproduced()),
            study("grokking", runs.inconclusive(), topics=["learning_dynamics", "generalisation"],
                  stale="its code has changed since"),
            study("nobody", None),
        ],
        "instruments": [instrument("spectrum"), instrument("health", fault="no test is marked as demonstrating it")],
        "specimens": [specimen("lenet-5", rows=["perceptron-novikoff"]), specimen("som", family="competitive",
                      pinned_by="", fault="no test is named")],
        "rows": the_map(evidence),
    }  # fmt: skip


def hostile():
    """Texts that would act on a page, everywhere but in names."""
    text = runs.HOSTILE
    long = "Un" + "ver" * 200 + "kettbar"
    bad = study("hostile", runs.hostile(), stale=text, rows=["bad-row", "long-row"], topics=[text, long])
    bad["files"] = [{"path": text, "text": text}]
    of_text = dict.fromkeys(("title", "formula", "how_to_read", "pinned_by", "path", "fault", "source"), text)
    row = dict.fromkeys(("name", "group", "claim", "source", "kind"), text) | {"lists": [text]}
    wide = dict.fromkeys(("name", "group", "claim", "source", "kind"), long) | {"lists": [long]}
    return {
        "version": text,
        "studies": [bad, study("long", runs.reproduced() | {"claim": long, "rows": [], "source": long})],
        "instruments": [instrument("bad", **of_text)],
        "specimens": [specimen("bad", **of_text, family=text), specimen("long", title=long, family=long)],
        "rows": [
            *({**each, "evidence": []} for each in rows().values()),
            {**row, "id": "bad-row", "evidence": ["study:hostile", "row:long-row"]},
            {**wide, "id": "long-row", "evidence": ["specimen:long"]},
        ],
    }


def empty():
    """Nothing at all."""
    return {"version": "0.1.0", "studies": [], "instruments": [], "specimens": [], "rows": []}


def many(studies=600, seed=0):
    """As many studies as asked for, of realistic size: ten criteria, a figure of 60 kB, 15 kB of code, 30 topics."""
    draw = random.Random(seed)
    keys = list(rows())
    words = " ".join(row["claim"] for row in rows().values()).split()
    # Criteria are derived once; which of them hold differs from study to study.
    whole = runs.forty()
    figure = runs.figure()["study"]
    figure = figure.replace("</svg>", f"<!--{'x' * (60_000 - len(figure))}--></svg>")
    code = (CODE * (15_000 // len(CODE) + 1))[:15_000]
    made, evidence = [], {}
    for place in range(studies):
        name = f"study-{place}"
        run = copy.copy(whole)
        run["criteria"] = draw.sample(whole["criteria"], 10)
        run["verdict"] = draw.choice(["reproduced", "reproduced", "not reproduced", "inconclusive"])
        run["claim"] = " ".join(draw.sample(words, 24))
        run["protocol"] = " ".join(draw.sample(words, 90))
        run["topics"] = [f"topic {place % 30}", f"topic {draw.randrange(30)}"]
        run["rows"] = [keys[place % len(keys)]]
        evidence.setdefault(keys[place % len(keys)], []).append(f"study:{name}")
        made.append(study(name, run, figure=figure, files=[{"path": f"src/{name}.py", "text": code}]))
    return {
        "version": "0.1.0", "studies": made, "instruments": [instrument(f"instrument-{i}") for i in range(40)],
        "specimens": [specimen(f"specimen-{i}") for i in range(200)], "rows": the_map(evidence),
    }  # fmt: skip


def write(pages, folder):
    """Write the pages of a site."""
    for path, page in pages:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(page, encoding="utf-8")
    return folder
