"""What the pages of the atlas say, without a browser."""

import copy
import functools
import posixpath
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import unquote

import atlas_data
import pytest
import study_records as runs

from deepscope.core import UsageError, rows
from deepscope.report import atlas_site
from deepscope.report._atlas_words import UNRECORDED, caveats, gallery_sentence, map_sentence
from deepscope.report._findings import reference

VOID = {"meta", "link", "br", "path", "circle", "rect", "use", "input"}


class Page(HTMLParser):
    """A page's tags and text; every tag must close."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.stack, self.words, self.texts = [], [], [], {}
        self.feed(page)
        assert not self.stack

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.stack.append((tag, dict(attributes).get("id")))

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.stack.pop()[0] == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1][0] in ("style", "script"):
            return
        self.words.append(data)
        for anchor in {anchor for _, anchor in self.stack if anchor}:
            self.texts.setdefault(anchor, []).append(data)

    @property
    def text(self):
        return spaced("".join(self.words))

    def of(self, anchor):
        """The text of the element with that id."""
        return spaced("".join(self.texts[anchor]))

    def ids(self):
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]

    def links(self):
        return [attributes for tag, attributes in self.tags if tag == "a"]

    def of_class(self, name):
        return [attributes for _, attributes in self.tags if name in (attributes.get("class") or "").split()]


def spaced(text):
    return " ".join(text.replace("\u00a0", " ").split())


@functools.cache
def site(name):
    """The pages of one of the atlases, as text."""
    return dict(atlas_site(getattr(atlas_data, name)()))


@functools.cache
def read(name, path):
    """A page of one of the atlases."""
    return Page(site(name)[path])


def changed(**more):
    """The small atlas with some of its parts replaced."""
    return atlas_data.small() | more


def page(path, atlas=None):
    """A page of the small atlas, or of one made for the test."""
    return Page(dict(atlas_site(atlas))[path]) if atlas else read("small", path)


def test_there_is_a_page_for_everything():
    assert list(site("small")) == [
        "index.html",
        "map.html",
        "studies/resnet-euler.html",
        "studies/double-descent-rff.html",
        "studies/grokking.html",
        "studies/nobody.html",
        "instruments.html",
        "instruments/spectrum.html",
        "instruments/health.html",
        "specimens.html",
        "specimens/lenet-5.html",
        "specimens/som.html",
    ]
    assert list(site("empty")) == ["index.html", "map.html", "instruments.html", "specimens.html"]


@pytest.mark.parametrize("name", ["small", "hostile", "empty"])
def test_pages_are_whole_and_every_link_leads_somewhere(name):
    pages = {path: read(name, path) for path in site(name)}
    ids = {path: made.ids() for path, made in pages.items()}
    for path, made in pages.items():
        assert len(ids[path]) == len(set(ids[path]))
        levels = [int(tag[1]) for tag, _ in made.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        for link in made.links():
            if link.get("rel") == "noreferrer":
                assert link["href"].startswith("https://")
                continue
            place, _, anchor = link["href"].partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), place)) if place else path
            assert target in pages, (path, link)
            assert not anchor or anchor in ids[target] or "=" in anchor, (path, link)


@pytest.mark.parametrize("name", ["small", "hostile", "empty"])
def test_pages_fetch_nothing(name):
    for path, text in site(name).items():
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
        assert "default-src 'none'" in policy
        assert "form-action 'none'" in policy
        for tag, attributes in read(name, path).tags:
            assert tag not in ("iframe", "object", "embed", "base", "img")
            for key in ("src", "xlink:href", "action", "srcset"):
                assert (attributes.get(key) or "#").startswith("#"), (path, tag, attributes)
        assert "@import" not in text
        assert not re.search(r"url\((?!#)", text)


def test_hostile_texts_stay_text():
    for path, text in site("hostile").items():
        made = read("hostile", path)
        assert "<script>alert" not in text, path
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert sum(tag == "script" for tag, _ in made.tags) == 1
        assert not [name for _, attributes in made.tags for name in attributes if name.startswith("on")]
    study = read("hostile", "studies/hostile.html")
    assert study.text.count("<script>alert(1)</script >\"'&") > 10
    assert "<script>alert(1)</script" in read("hostile", "map.html").of("row-bad-row")


def test_the_gallery_says_how_each_claim_stands():
    made = page("index.html")
    assert "3 claims of the literature put to the test: 1 reproduced, 1 not, 1 inconclusive." in made.text
    assert "1 of these verdicts is stale" in made.text
    assert "1 more claim has a study whose verdict is not yet recorded." in made.text
    cards = {each["data-find"].split()[0]: each for each in made.of_class("card")}
    assert {name: each["data-verdict"] for name, each in cards.items()} == {
        "resnet-euler": "reproduced",
        "double-descent-rff": "not reproduced",
        "grokking": "inconclusive",
        "nobody": "not yet recorded",
    }
    assert cards["grokking"]["data-topic"].split("\n") == ["learning dynamics", "generalisation"]
    assert reference("he2015delving") in cards["resnet-euler"]["data-find"]
    assert rows()["double-descent-belkin"]["name"] in cards["double-descent-rff"]["data-find"]
    assert site("small")["index.html"].count('class="badge">stale') == 1
    assert [each["aria-label"] for each in made.of_class("strip") if "aria-label" in each] == [
        "6 criteria, 1 control among them: 6 hold",
        "3 criteria, 1 control among them: 1 holds, 2 fail",
        "4 criteria, 1 control among them: 2 hold, 2 are open",
    ]
    assert "He et al. (2015)" in made.text
    assert "quick 1 min 1 s of CPU" in made.text or "quick 61.3 s of CPU" in made.text


def test_a_filter_offers_what_there_is():
    options = [each["value"] for tag, each in page("index.html").tags if tag == "option"]
    assert options == ["", "differential equations", "generalisation", "learning dynamics"]
    radios = [each["value"] for tag, each in page("index.html").tags if tag == "input" and each["type"] == "radio"]
    assert radios == ["", "reproduced", "not reproduced", "inconclusive", "not yet recorded"]
    groups = [each["value"] for tag, each in page("map.html").tags if tag == "option"]
    assert groups == ["", *dict.fromkeys(row["group"] for row in rows().values())]


def of(verdict, stale=""):
    return {"record": verdict and {"verdict": verdict}, "stale": stale}


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (["reproduced"], "1 claim of the literature put to the test: 1 reproduced."),
        (["not reproduced"] * 2, "2 claims of the literature put to the test: 2 not reproduced."),
        (["inconclusive", "not reproduced", None],
         "2 claims of the literature put to the test: 1 not reproduced, 1 inconclusive."),
        (["reproduced"] * 1100 + ["not reproduced"],
         "1,101 claims of the literature put to the test: 1,100 reproduced, 1 not."),
        ([None, None], "2 claims of the literature to be put to the test: no verdict is recorded yet."),
        ([], "0 claims of the literature to be put to the test: no verdict is recorded yet."),
    ],
)  # fmt: skip
def test_one_sentence_says_how_claims_stand(verdicts, sentence):
    assert gallery_sentence([of(each) for each in verdicts]) == sentence


def test_what_is_stale_or_missing_is_said_where_there_is_any():
    assert caveats([of("reproduced"), of("inconclusive")]) == ""
    assert caveats([of(None), of(None)]) == ""
    assert caveats([of("reproduced", "changed")] * 2 + [of(None)] * 2) == (
        "2 of these verdicts are stale: code on which they rest has changed since. "
        "2 more claims have a study whose verdict is not yet recorded."
    )
    assert caveats([of(None, "nothing that could be stale"), of("reproduced")]).startswith("1 more claim has")


def test_the_map_counts():
    assert map_sentence(1, 640).startswith("1 of 640 methods, systems and findings")
    assert map_sentence(1, 640).endswith("is demonstrated here.")
    assert map_sentence(2, 640).endswith("are demonstrated here.")
    made = page("map.html")
    assert made.text.count("0 of 52") + made.text.count("1 of 52") == 3  # overview, menu and list
    squares = made.of_class("square")
    links = [each for each in squares if "href" in each]
    assert [each["href"] for each in links] == [f"#row-{key}" for key in rows()]
    assert [each["href"] for each in links if "on" in each["class"].split()] == [
        "#row-mcculloch-pitts",
        "#row-perceptron-novikoff",
        "#row-hessian-spectrum",
        "#row-resnet-euler",
    ]
    assert sum(each.get("data-state") == "demonstrated" for _, each in made.tags) == 4


def test_a_row_of_the_map_says_everything_about_itself():
    made = page("map.html")
    for row in rows().values():
        said = made.of(f"row-{row['id']}")
        for key in ("name", "claim", "source", "kind"):
            assert spaced(row[key]) in said
    text = made.of("row-resnet-euler")
    assert "demonstrated by study resnet-euler (reproduced), instrument spectrum" in text
    assert "open" in made.of("row-perceptron-limits")
    assert "named in resources" in made.of("row-perceptron-limits")
    assert f"demonstrated by row {rows()['resnet-euler']['name']}" in made.of("row-mcculloch-pitts")


def test_a_study_says_everything_that_is_known():
    record, made = runs.not_reproduced(), page("studies/double-descent-rff.html")
    for key in ("claim", "protocol", "commit", "date", "study"):
        assert record[key] in made.text, key
    assert "Not reproduced:" in made.text
    assert "6c4232112b8b" in made.of("provenance")
    assert "torch 2.13.0" in made.of("provenance")
    assert "an ordinary processor, 2 cores" in made.of("provenance")
    assert "deepscope study run double-descent-rff --scale full" in made.of("provenance")
    assert "28 min 30 s, 52 min 0 s of CPU" in made.text
    assert "550 trials of 22 cases and 25 seeds" in made.text
    assert record["notes"][0] in made.of("protocol")
    assert reference(record["source"]) in made.text
    assert "A condition in which the effect must be absent." in made.of("words")
    assert atlas_data.CODE.splitlines()[-1].strip() in made.of("code")
    assert "double_descent_rff.py 5 lines" in made.of("code")
    assert "the control shows the effect" in made.of("criteria")
    assert "published" in made.of("criteria")
    assert "test error" in made.of("figure")
    assert "Failed trials" not in made.text


def test_a_claim_reads_as_its_file_has_it_now():
    atlas = atlas_data.small()
    said = {"claim": "A better\n  wording.", "protocol": "Said\n  better.", "caption": "Dots\n  are means."}
    atlas["studies"][0] |= said
    made = page("studies/resnet-euler.html", atlas)
    assert "A better wording." in made.text
    assert made.of("protocol") == "Protocol Said better."
    assert "Dots are means." in made.of("figure")


def test_a_stale_verdict_and_failed_trials_are_said():
    made = page("studies/grokking.html")
    assert "Stale. This verdict no longer counts: its code has changed since." in made.text
    assert "12 trials failed" in made.of("failures")
    assert "Stale." not in page("studies/resnet-euler.html").text


def test_a_study_without_a_record_says_how_to_make_one():
    made = page("studies/nobody.html")
    assert "No verdict is recorded." in made.text
    assert "deepscope atlas record nobody" in made.text
    assert "A protocol in words." in made.of("protocol")
    assert {"figure", "criteria", "failures"}.isdisjoint(made.ids())
    assert "deepscope study run nobody --scale quick" in made.of("provenance")
    assert "No row of the map names it." in made.of("map")
    bare = changed(studies=[atlas_data.study("nobody", None, protocol="", files=[])], rows=atlas_data.the_map({}))
    text = page("studies/nobody.html", bare).text
    assert "The study does not describe its protocol." in text
    assert "The code is not part of this atlas." in text


def test_a_study_without_a_figure_has_none():
    atlas = atlas_data.small()
    atlas["studies"][0]["figure"] = ""
    assert "figure" not in page("studies/resnet-euler.html", atlas).ids()


def test_what_counts_on_the_map_is_said():
    assert "ResNet as forward Euler of an ODE demonstrated" in page("studies/resnet-euler.html").of("map")
    assert "does not count yet" in page("studies/double-descent-rff.html").of("map")
    assert "does not count yet" in page("instruments/health.html").of("map")
    assert "Perceptron convergence theorem demonstrated" in page("specimens/lenet-5.html").of("map")


def test_an_instrument_says_what_it_is_and_how_it_is_pinned():
    made = page("instruments/spectrum.html")
    assert "Eigenvalues of every weight matrix" in made.text
    assert "λᵢ of WᵀW / n\nα" in site("small")["instruments/spectrum.html"]
    assert "The band is what trained layers show." in made.of("formula")
    assert "deepscope examine model.safetensors --instruments spectrum" in made.of("formula")
    assert made.of("pinned").endswith(
        "By a test of the property that defines it: tests/instruments/test_spectrum.py::test_known"
        "Its file: src/deepscope/instruments/_spectrum.py"
    )
    assert reference("martin2021implicit") in made.text
    faulty = page("instruments/health.html").of("pinned")
    assert "By a test that does not count" in faulty
    assert "Why not: no test is marked as demonstrating it." in faulty


def test_a_specimen_has_no_command():
    made = page("specimens/som.html")
    assert "deepscope examine" not in made.text
    assert "By no test." in made.of("pinned")
    listed = page("specimens.html").text
    assert "2 specimens" in listed
    assert listed.index("som a network") < listed.index(
        "lenet-5 a network"
    )  # of the families competitive, convolutional


def test_an_atlas_of_nothing_says_so():
    assert "There are no studies." in read("empty", "index.html").text
    assert "The map is empty." in read("empty", "map.html").text
    assert "There are none yet." in read("empty", "specimens.html").text


def with_study(**more):
    studies = copy.deepcopy(atlas_data.small()["studies"])
    studies[0] |= more
    return changed(studies=studies)


def with_record(**more):
    return with_study(record=atlas_data.small()["studies"][0]["record"] | more)


def without(key):
    record = atlas_data.small()["studies"][0]["record"]
    del record[key]
    return with_study(record=record)


@pytest.mark.parametrize(
    ("atlas", "said"),
    [
        (with_study(id="../up"), "cannot be that of a page"),
        (with_study(id=""), "cannot be that of a page"),
        (with_study(id="grokking"), "2 study entries have the same name: grokking"),
        (with_study(rows=["resnet-eulr"]), 'Did you mean "resnet-euler"?'),
        (with_record(verdict="splendid"), "no verdict but 'splendid'"),
        (
            without("criteria"),
            "lacks criteria: study resnet-euler\nRecord it again: deepscope atlas record resnet-euler",
        ),
        (with_study(figure="<svg><g></svg>"), "not one SVG element"),
        (with_study(figure="<p xmlns='http://www.w3.org/1999/xhtml'>no</p>"), "not one SVG element"),
        (with_study(figure="nothing"), "not one SVG element"),
        (changed(instruments=[atlas_data.instrument("A b")], rows=atlas_data.the_map({})), "the instrument has a name"),
        (changed(specimens=[atlas_data.specimen("x", rows=["no"])], rows=atlas_data.the_map({})), "specimen x"),
        (changed(rows=atlas_data.the_map({"resnet-euler": ["study:other"]})), "study:other"),
        (changed(rows=atlas_data.the_map({"resnet-euler": ["rumour:x"]})), "rumour:x"),
        (changed(rows=atlas_data.the_map({"resnet-euler": ["row:x"]})), "row resnet-euler"),
        (
            changed(rows=[*atlas_data.the_map({}), {**next(iter(rows().values())), "id": "a b", "evidence": []}]),
            "'a b'",
        ),
    ],
)
def test_what_would_make_a_broken_page_is_refused_before_the_first(atlas, said):
    with pytest.raises(UsageError) as raised:
        atlas_site(atlas)
    assert said in str(raised.value)


def test_pages_come_one_at_a_time():
    pages = atlas_site(atlas_data.small())
    assert iter(pages) is pages
    assert next(pages)[0] == "index.html"


def test_the_same_atlas_makes_the_same_pages_and_stays_as_it_is():
    atlas = atlas_data.small()
    before = copy.deepcopy(atlas)
    assert dict(atlas_site(atlas)) == site("small")
    assert atlas == before


def test_addresses_of_topics_are_read_back():
    text = site("hostile")["studies/hostile.html"]
    address = re.search(r'href="\.\./index\.html#topic=([^"]*)"', text)[1]
    value = next(
        each["value"] for tag, each in read("hostile", "index.html").tags if tag == "option" and "31m" in each["value"]
    )
    assert unquote(address) == value


def test_a_gallery_of_nothing_recorded():
    atlas = changed(studies=[atlas_data.study("nobody", None)], rows=atlas_data.the_map({}))
    made = page("index.html", atlas)
    assert UNRECORDED in made.text
    assert "no verdict is recorded yet" in made.text


def test_pages_are_made_without_what_is_heavy():
    code = (
        "import sys; from deepscope.report import atlas_site;"
        "list(atlas_site({'version': '0', 'studies': [], 'instruments': [], 'specimens': [], 'rows': []}));"
        "assert not {'torch', 'matplotlib', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
