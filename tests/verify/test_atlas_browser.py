"""The atlas in a real browser: what a reader sees and does, with today's site and with one of 600 studies."""

from itertools import pairwise

import atlas_data
import pytest
import test_report_browser as reports
from playwright.sync_api import expect

from deepscope.report import atlas_site

pytestmark = pytest.mark.verify

browser = reports.browser
SITES = ("small", "hostile", "empty", "many")
#: One page of each kind.
PAGES = (
    "small/index.html",
    "small/map.html",
    "small/instruments.html",
    "small/specimens.html",
    "small/studies/resnet-euler.html",
    "small/studies/grokking.html",
    "small/studies/nobody.html",
    "small/instruments/health.html",
    "small/specimens/som.html",
    "hostile/index.html",
    "hostile/map.html",
    "hostile/specimens.html",
    "hostile/studies/hostile.html",
    "hostile/studies/long.html",
    "hostile/instruments/bad.html",
    "hostile/specimens/long.html",
    "empty/index.html",
    "empty/map.html",
    "empty/specimens.html",
)
FIRST_VIEW = 500  # ms, from the start of the navigation to the first contentful paint
ANSWER = 50  # ms, from a key to the page laid out again

PAINTED = """() => new Promise((done) => new PerformanceObserver((list) => {
  const found = list.getEntriesByName("first-contentful-paint")[0];
  if (found) done(found.startTime);
}).observe({type: "paint", buffered: true}))"""
# Types a text, letter by letter, and takes it back; returns how long each answer took, layout included.
TYPED = """(text) => {
  const field = document.querySelector("input[type=search]");
  const parts = [...text].map((_, place) => text.slice(0, place + 1));
  return [...parts, ...parts.toReversed(), ""].map((value) => {
    const start = performance.now();
    field.value = value;
    field.dispatchEvent(new Event("input", {bubbles: true}));
    document.body.getBoundingClientRect();
    return performance.now() - start;
  });
}"""
# What has the focus, and whether that can be seen: on itself, or on the card that it fills.
FOCUS = """() => {
  const here = document.activeElement;
  const seen = [here, here.closest(".card")].some((each) => each && getComputedStyle(each).outlineStyle !== "none");
  return [here.tagName, here.getAttribute("name") || here.textContent.trim().slice(0, 40), seen];
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The sites as files, as a reader opens them."""
    folder = tmp_path_factory.mktemp("sites")
    for name in SITES:
        (folder / name).mkdir()
        atlas_data.write(atlas_site(getattr(atlas_data, name)()), folder / name)
    return folder


@pytest.fixture
def visit(browser, folder):
    """Open a page; at the end, nothing may have been fetched but pages of the site, nothing logged or thrown."""
    contexts, faults = [], []
    site = folder.as_uri()

    def judge(request):
        page_itself = request.is_navigation_request() and request.url.startswith(site)
        if not page_itself and request.url != "data:,":
            faults.append(request.url)

    def go(name, width=1280, height=900, **settings):
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", judge)
        page.goto(f"{site}/{name}")
        return page

    yield go
    for context in contexts:
        context.close()
    assert not faults


@pytest.mark.parametrize("width", [320, 380, 1200])
@pytest.mark.parametrize("name", PAGES)
def test_the_page_never_scrolls_sideways(visit, name, width):
    page = visit(name, width)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Nothing is cut off at an edge either, but what scrolls by itself.
    assert not page.evaluate(
        """(width) => [...document.querySelectorAll("main *, header *")].filter((each) => {
          const own = each.checkVisibility() && !each.closest(".scroll,select,svg");
          return own && each.getBoundingClientRect().right > width;
        }).map((each) => each.outerHTML.slice(0, 80))""",
        width,
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_text_has_contrast(visit, name, scheme):
    page = visit(name, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    count, bad = page.evaluate(reports.CONTRAST)
    assert count > 5
    assert not bad


@pytest.mark.parametrize("name", PAGES)
def test_headings_landmarks_and_names(visit, name):
    page = visit(name)
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].filter((each) => each.checkVisibility())"
        ".map((each) => Number(each.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for role in ("main", "banner", "contentinfo"):
        assert page.get_by_role(role).count() == 1
    assert page.get_by_role("navigation", name="Atlas").count() == 1
    for role in ("img", "link", "button", "searchbox", "combobox", "radio", "search", "region", "table", "group"):
        # A fold is a group that its summary names.
        tree = page.get_by_role(role).locator("visible=true").and_(page.locator(":not(details)"))
        for index in range(min(tree.count(), 60)):
            snapshot = tree.nth(index).aria_snapshot()
            assert '"' in snapshot.split("\n")[0], (role, snapshot[:80])
    assert page.evaluate(
        "[...document.querySelectorAll('svg')].every((each) => each.closest('[role=img],[aria-hidden=true]'))"
    )


@pytest.mark.parametrize("name", ["index.html", "map.html", "studies/{}.html"])
@pytest.mark.parametrize(("site", "study"), [("small", "resnet-euler"), ("many", "study-7")])
def test_the_first_view_is_quick(visit, site, study, name):
    took = [visit(f"{site}/{name.format(study)}").evaluate(PAINTED) for _ in range(3)]
    assert min(took) < FIRST_VIEW, took


@pytest.mark.parametrize("site", ["small", "many"])
@pytest.mark.parametrize(("name", "text"), [("index.html", "error width"), ("map.html", "gradient descent")])
def test_a_search_answers_quickly(visit, site, name, text):
    page = visit(f"{site}/{name}")
    runs = [page.evaluate(TYPED, text) for _ in range(3)]
    assert max(map(min, zip(*runs, strict=True))) < ANSWER, runs


def shown(page):
    """The pages of the studies that can be seen."""
    return page.evaluate(
        "[...document.querySelectorAll('.card')].filter((each) => each.checkVisibility())"
        ".map((each) => each.querySelector('a').getAttribute('href').slice(8, -5))"
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rff", ["double-descent-rff"]),
        ("FORWARD euler", ["resnet-euler"]),
        ("euler forward", ["resnet-euler"]),
        ("power overfitting", ["grokking"]),
        ("differential equations", ["resnet-euler"]),
        ("generalisation", ["double-descent-rff", "nobody", "grokking"]),
        ("interpolation peak", ["double-descent-rff"]),
        ("stale", ["grokking"]),
        ("nothing of the kind", []),
    ],
)
def test_a_search_finds_claim_name_source_topic_and_row(visit, text, found):
    page = visit("small/index.html")
    assert len(shown(page)) == 4
    page.get_by_role("searchbox").press_sequentially(text)
    assert shown(page) == found
    count = len(found) or "None"
    expect(page.get_by_role("status")).to_have_text(f"{count} of 4 studies")
    # A topic without a hit is not there at all.
    assert page.locator(".shelf:visible").count() == page.locator(".shelf:has(.card:visible)").count()
    page.get_by_role("button", name="Show all").click()
    assert len(shown(page)) == 4
    expect(page.get_by_role("status")).to_have_text("4 studies")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_accents_do_not_hide_what_is_searched_for(visit):
    page = visit("small/map.html")
    page.get_by_role("searchbox").fill("polya")
    plain = page.get_by_role("status").inner_text()
    page.get_by_role("searchbox").fill("Pólya")
    assert page.get_by_role("status").inner_text() == plain


def test_filters_work_together_and_the_address_keeps_them(visit, folder):
    page = visit("small/index.html")
    page.get_by_role("combobox", name="Topic").select_option("generalisation")
    assert shown(page) == ["double-descent-rff", "nobody", "grokking"]
    page.get_by_role("radio", name="inconclusive").check()
    assert shown(page) == ["grokking"]
    page.get_by_role("searchbox").fill("classical")
    assert shown(page) == []
    page.get_by_role("radio", name="not reproduced").check()
    assert shown(page) == ["double-descent-rff"]
    page.wait_for_url(lambda address: "q=classical" in address)
    view = page.evaluate("location.hash")
    other = visit(f"small/index.html{view}")
    assert shown(other) == ["double-descent-rff"]
    expect(other.get_by_role("searchbox")).to_have_value("classical")
    expect(other.get_by_role("radio", name="not reproduced")).to_be_checked()
    expect(other.get_by_role("combobox", name="Topic")).to_have_value("generalisation")
    # An address with what this site does not know shows all.
    assert len(shown(visit("small/index.html#topic=alchemy&verdict=perhaps&x=y&length=3"))) == 4
    # A place in the page is no view: the choice stays.
    other.evaluate("location.hash = '#main'")
    assert shown(other) == ["double-descent-rff"]


def test_a_topic_of_a_study_leads_to_its_studies(visit):
    page = visit("small/studies/resnet-euler.html")
    page.get_by_role("link", name="differential equations", exact=True).click()
    page.wait_for_url("**/index.html#*")
    assert shown(page) == ["resnet-euler"]


def test_back_from_a_study_the_search_is_still_there(visit):
    page = visit("small/index.html")
    page.get_by_role("searchbox").fill("classical")
    page.locator(".card:visible a").click()
    page.wait_for_url("**/double-descent-rff.html")
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("classical")
    assert shown(page) == ["double-descent-rff"]


@pytest.mark.parametrize("width", [380, 1280])
@pytest.mark.parametrize("name", ["small/index.html", "small/map.html", "small/studies/resnet-euler.html"])
def test_the_keyboard_reaches_every_control_and_is_seen(visit, name, width):
    page = visit(name, width)
    wanted = page.evaluate(
        "[...document.querySelectorAll('a,button,input,select,summary,[tabindex=\"0\"]')].filter((each) =>"
        " each.tabIndex >= 0 && each.checkVisibility() && (each.type !== 'radio' || each.checked)).length"
    )
    reached = []
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUS))
    assert all(seen for _, _, seen in reached), [each for each in reached if not each[2]]
    # The next one leaves the page: each was a stop once, and there are not many.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") in ("BODY", "A")
    assert page.evaluate("document.activeElement.className") in ("", "skip")
    assert wanted < 60 if name != "small/map.html" else wanted < 640 / 10


def test_controls_answer_to_the_keyboard(visit):
    page = visit("small/index.html")
    page.get_by_role("searchbox").focus()
    page.keyboard.type("euler")
    assert shown(page) == ["resnet-euler"]
    page.keyboard.press("Enter")
    assert shown(page) == ["resnet-euler"]
    page.keyboard.press("Escape")
    assert len(shown(page)) == 4
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert shown(page) == ["resnet-euler"]
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[name=verdict][value=reproduced]")).to_be_checked()
    assert shown(page) == ["resnet-euler"]


def test_the_squares_are_one_stop_along_which_arrows_go(visit):
    page = visit("small/map.html")
    squares = page.locator(".squares .square")
    assert squares.count() == 640
    assert page.locator(".squares .square.on").count() == 4
    assert page.locator(".squares .square[tabindex='0']").count() == 1
    squares.first.focus()
    told = page.locator(".told")
    expect(told).to_contain_text("McCulloch–Pitts threshold network")
    expect(told).to_contain_text("demonstrated by row ResNet as forward Euler")
    page.keyboard.press("ArrowRight")
    expect(told).to_contain_text("Perceptron convergence theorem")
    assert page.locator(".squares .square[tabindex='0']").get_attribute("href") == "#row-perceptron-novikoff"
    before = page.evaluate("document.activeElement.getBoundingClientRect().x")
    page.keyboard.press("ArrowDown")
    assert (
        page.evaluate("document.activeElement.closest('.group').previousElementSibling.previousElementSibling") is None
    )
    assert page.evaluate("document.activeElement.getBoundingClientRect().x") == pytest.approx(before, abs=1)
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.hash") == "#row-perceptron-novikoff"
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.hash") == "#row-" + list(atlas_data.rows())[-1]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    row = page.locator("#row-perceptron-novikoff")
    expect(row).to_be_in_viewport()
    assert row.evaluate("(each) => each.matches(':target')")
    squares.nth(100).hover()
    expect(told).to_contain_text(list(atlas_data.rows().values())[100]["name"])


@pytest.mark.parametrize("width", [380, 1280])
def test_no_square_with_the_focus_is_covered(visit, width):
    page = visit("small/map.html", width, 700)
    page.locator(".squares .square").first.focus()
    covered = []
    for _ in range(45):
        page.keyboard.press("ArrowDown")
        covered.append(
            page.evaluate(
                "(() => { const box = document.activeElement.getBoundingClientRect();"
                " return document.elementFromPoint(box.x + 5, box.y + 5) !== document.activeElement; })()"
            )
        )
    assert not any(covered)


def test_the_map_is_searched_and_filtered(visit):
    page = visit("small/map.html")
    seen = page.locator(".rows li:visible")
    page.get_by_role("radio", name="demonstrated").check()
    assert seen.count() == 4
    assert page.locator(".square.aside").count() == 636
    page.get_by_role("combobox", name="Group").select_option("Foundations, approximation and expressivity")
    assert seen.count() == 2
    page.get_by_role("searchbox").fill("novikoff")
    assert seen.count() == 1
    expect(page.get_by_role("status")).to_have_text("1 of 640 rows")
    page.wait_for_url(lambda address: "q=novikoff" in address)
    # A square of a row that the choice hides leads to it all the same.
    page.locator(".square[href='#row-resnet-euler']").click()
    expect(page.locator("#row-resnet-euler")).to_be_in_viewport()
    expect(page.get_by_role("status")).to_have_text("640 rows")


def test_links_lead_from_the_map_to_what_demonstrates_and_back(visit):
    page = visit("small/map.html")
    page.locator("#row-resnet-euler").get_by_role("link", name="study resnet-euler").click()
    page.wait_for_url("**/studies/resnet-euler.html")
    page.locator("#map").get_by_role("link").first.click()
    page.wait_for_url("**/map.html#row-resnet-euler")
    expect(page.locator("#row-resnet-euler")).to_be_in_viewport()


@pytest.mark.parametrize("name", PAGES)
def test_without_script_all_is_there_and_no_control_is_dead(visit, name):
    page = visit(name, java_script_enabled=False)
    assert page.locator("h1").is_visible()
    assert page.locator(":is(button,input,select):visible").count() == 0
    if name == "small/index.html":
        assert page.locator(".card:visible").count() == 4
    if name == "small/map.html":
        assert page.locator(".rows li:visible").count() == 640


@pytest.mark.parametrize("name", ["small/index.html", "small/map.html", "small/studies/resnet-euler.html"])
def test_it_prints(visit, name):
    page = visit(name, 680)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).color") == "rgb(29, 35, 41)"
    assert page.evaluate("document.documentElement.scrollWidth") <= 680
    assert page.locator(":is(nav,.find,.told):visible").count() == 0
    assert page.pdf().startswith(b"%PDF")
