"""The pages of studies in a real browser: what a reader sees, with any device, eyes and hands."""

import pytest
import study_records as runs
import test_report_browser as reports

pytestmark = pytest.mark.verify

browser, visit = reports.browser, reports.visit
NAMES = [make.__name__ for make in runs.RECORDS]

# For each criterion: the boxes of what is drawn, across the page.
DRAWN = """() => [...document.querySelectorAll(".judged tbody tr")].map((row) => {
  const across = (kind) => {
    const node = row.querySelector(`.seen .${kind}`);
    const box = node && node.getBoundingClientRect();
    return box && [box.left, box.right];
  };
  return {band: across("band"), dot: across("dots"), interval: across("interval"),
          cell: row.querySelector(".seen svg").getBoundingClientRect().toJSON(),
          holds: row.querySelector(".holds").textContent.trim()};
})"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The pages as files, as a reader opens them."""
    folder = tmp_path_factory.mktemp("pages")
    for make in runs.RECORDS:
        (folder / f"{make.__name__}.html").write_text(runs.page_of(make), encoding="utf-8")
    return folder


@pytest.mark.parametrize("width", [320, 380, 768, 1200])
@pytest.mark.parametrize("name", NAMES)
def test_the_page_never_scrolls_sideways(visit, name, width):
    page = visit(name, width)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Nothing of the criteria is hidden behind an edge either.
    assert page.evaluate(
        "(width) => [...document.querySelectorAll('.judged tbody *')]"
        ".every((each) => each.getBoundingClientRect().right <= width)",
        width,
    )


@pytest.mark.parametrize("width", [320, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_text_has_contrast(visit, name, scheme, width):
    page = visit(name, width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    count, bad = page.evaluate(reports.CONTRAST)
    assert count > 15
    assert not bad


@pytest.mark.parametrize("width", [320, 1200])
@pytest.mark.parametrize("name", ["reproduced", "not_reproduced", "inconclusive", "forty", "smoke", "nulls"])
def test_the_drawing_shows_what_holds(visit, name, width):
    drawn = visit(name, width).evaluate(DRAWN)
    record = getattr(runs, name)()
    for each, criterion in zip(drawn, record["criteria"], strict=True):
        # Where values are missing, or nothing is judged, the interval does not say whether the criterion holds.
        decisive = not criterion["missing"] and record["scale"] != "smoke"
        # On a telephone the drawing has the whole width, else the narrowest column that can be read.
        assert each["cell"]["width"] > (250 if width == 320 else 120)
        assert each["cell"]["height"] == pytest.approx(24, abs=1)
        left, right = each["band"]
        if each["interval"]:
            low, high = each["interval"]
            inside, outside = left - 1 <= low and high <= right + 1, high < left + 1 or low > right - 1
            shows = {"yes": inside, "no": outside, "open": not decisive or (not inside and not outside)}
            assert shows[each["holds"]], each
        if each["dot"]:
            # A dot stays round however wide the drawing is; its outline is not part of its box.
            assert each["dot"][1] - each["dot"][0] < 1


@pytest.mark.parametrize("width", [320, 1200])
def test_the_criteria_are_a_table_for_everyone(visit, width):
    page = visit("reproduced", width)
    table = page.get_by_role("table", name="Criteria")
    assert table.count() == 1
    assert table.get_by_role("row").count() == 7
    assert table.get_by_role("columnheader").count() == 6
    assert table.get_by_role("rowheader").count() == 6
    row = table.get_by_role("row", name="order of RK2's error in h")
    assert "2.0267" in row.inner_text()
    assert row.locator(".holds").inner_text() == "yes"


def test_on_a_telephone_each_number_says_what_it_is(visit):
    page = visit("reproduced", 320)
    before = page.evaluate(
        "[...document.querySelectorAll('.judged tbody tr:nth-child(2) td[data-head]')]"
        ".map((each) => getComputedStyle(each, '::before').content)"
    )
    assert before == ['"measured"', '"must be"', '"published"', '"holds"']
    wide = visit("reproduced", 1200)
    assert wide.evaluate("getComputedStyle(document.querySelector('td[data-head]'), '::before').content") == "none"


def test_every_figure_and_drawing_is_named_or_hidden(visit):
    page = visit("inconclusive")
    assert page.evaluate(
        "[...document.querySelectorAll('svg')].every((each) => each.closest('[role=img],[aria-hidden=true]'))"
    )
    assert page.get_by_role("img").count() == 1
    for role in ("main", "banner", "contentinfo", "navigation"):
        assert page.get_by_role(role).count() == 1


@pytest.mark.parametrize("name", ["reproduced", "forty"])
def test_print_keeps_the_table(visit, name):
    page = visit(name, 680)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".judged thead").bounding_box()["width"] > 500
    assert page.evaluate("getComputedStyle(document.documentElement).color") == "rgb(29, 35, 41)"
    assert page.evaluate("document.documentElement.scrollWidth") <= 680
    assert not page.locator("nav").is_visible()
    assert page.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("name", NAMES)
def test_without_script_all_is_there(visit, name):
    page = visit(name, java_script_enabled=False)
    assert page.locator("h1").is_visible()
    assert page.locator(".judged tbody tr").count() == len(getattr(runs, name)()["criteria"])


def test_the_keyboard_reaches_everything(visit):
    page = visit("reproduced", 380)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the figure and the criteria"
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('aria-label') || ''"))
    assert {"Figure", "Command"} <= set(reached)
