"""The page in a real browser, from a file: URL."""

from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import brightness, bubble, column, overflow, serious
from playwright.sync_api import expect
from sample_pages import changes, concept, full_page, large_page, usual_page

from filtering.report.page import render

pytestmark = pytest.mark.slow
PHONE = {"width": 360, "height": 740}
HOSTILE = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "</style></script><svg onload='window.hacked = 1'>",
    '" onfocus="window.hacked = 1" autofocus="',
    "\u202egnp.exe \u2066<b>bold</b>",
    "javascript:window.hacked = 1",
    "x" * 3_000,
)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "index.html"
    path.write_text(render(large_page()))
    return path


def test_every_column_sorts_in_both_directions(visit, usual):
    page = visit(usual)
    for at in range(9):
        sorts_in_both_directions(page, at)


def sorts_in_both_directions(page, at):
    header = page.locator("#concept-table thead th").nth(at)
    header.get_by_role("button").click()
    first = header.get_attribute("aria-sort")
    once = column(page, at)
    header.get_by_role("button").click()
    assert {first, header.get_attribute("aria-sort")} == {"ascending", "descending"}
    assert page.locator("#concept-table thead th[aria-sort=none]").count() == 8
    ascending, descending = (once, column(page, at)) if first == "ascending" else (column(page, at), once)
    key = str.lower if at == 1 else lambda text: float(text.strip(" %›\u00a0").replace(",", ""))
    assert list(map(key, ascending)) == sorted(map(key, ascending))
    assert list(map(key, descending)) == sorted(map(key, descending), reverse=True)
    assert len(ascending) == 33


def test_largest_concepts_come_first(visit, usual):
    page = visit(usual)
    assert column(page, 2)[:3] == ["500", "400", "300"]
    assert page.locator("th[aria-sort=descending]").inner_text().strip() == "Size"


def test_search_finds_names_and_numbers_and_slash_focuses_it(visit, usual):
    page = visit(usual)
    page.keyboard.press("/")
    expect(page.locator("#concept-search")).to_be_focused()
    page.keyboard.type("hou red")
    assert column(page, 1) == ["house, red"]
    expect(page.locator("#concept-count")).to_have_text("1 concept")
    page.locator("#concept-search").fill("")
    page.locator("#concept-pictured").check()
    assert [text.strip("›\u00a0 ") for text in column(page, 0)] == ["3", "1"]


def test_a_concept_opens_by_click_and_closes_by_escape(visit, usual):
    page = visit(usual)
    expect(page.locator("#concept-3")).to_be_hidden()
    link = page.locator('#concept-table a[href="#concept-3"]')
    link.click()
    expect(page.get_by_role("dialog", name="Concept 3")).to_be_visible()
    expect(page.locator("#concept-3 .pair").first).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog", name="Concept 1")).to_be_visible()
    expect(page.locator("#concept-3")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(link).to_be_focused()


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_concept_opens_by_keyboard(visit, usual, key):
    page = visit(usual)
    page.locator('#concept-table a[href="#concept-1"]').focus()
    page.keyboard.press(key)
    expect(page.get_by_role("dialog", name="Concept 1")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#viewer")).to_be_hidden()


def test_a_concept_opens_by_its_address(visit, usual):
    page = visit(usual, fragment="#concept-1")
    expect(page.get_by_role("dialog", name="Concept 1")).to_be_visible()


def test_a_bubble_tells_its_concept_and_opens_it(visit, usual):
    page = visit(usual)
    bubble(page, 3).hover()
    expect(page.locator("#tip")).to_have_text("Concept 3: dog, beach. 50 of 500 kept (10.0 %)")
    bubble(page, 3).click()
    expect(page.get_by_role("dialog", name="Concept 3")).to_be_visible()


def test_a_bubble_without_examples_shows_its_row(visit, usual):
    page = visit(usual)
    page.locator("#concept-search").fill("dog")
    bubble(page, 2).click()
    expect(page.locator("#concept-table tr.found")).to_contain_text("house, red")
    expect(page.locator("#concept-table tr.found")).to_be_in_viewport()


def test_the_map_is_one_stop_and_arrows_walk_it(visit, usual):
    page = visit(usual)
    assert page.locator("svg.map path[tabindex='0']").count() == 1
    bubble(page, 3).focus()
    page.keyboard.press("ArrowRight")
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label.startswith("Concept ") and not label.startswith("Concept 3:")
    expect(page.locator("#tip")).to_have_text(label)
    assert page.locator("svg.map path[tabindex='0']").count() == 1
    bubble(page, 1).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Concept 1")).to_be_visible()


def test_a_bin_of_a_histogram_tells_its_numbers(visit, usual):
    page = visit(usual)
    page.locator("svg.plot path[data-tip^='0.10 to 0.20']").first.hover()
    expect(page.locator("#tip")).to_have_text("0.10 to 0.20: 5 kept, 700 dropped, 0.7 % kept")


def test_a_uid_is_copied(visit, usual):
    page = visit(usual, permissions=["clipboard-read", "clipboard-write"])
    card = page.locator("#lowest .thumb").first
    card.get_by_role("button", name="copy uid").click()
    expect(page.locator("#said")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == card.locator(".uid").text_content()


def test_dark_and_light_follow_the_reader(visit, usual):
    page = visit(usual, color_scheme="dark")
    assert brightness(page, "backgroundColor") < 40
    assert brightness(page, "color") > 200
    page.locator("#theme").click()
    assert brightness(page, "backgroundColor") > 240
    page.emulate_media(media="print")
    assert brightness(page, "backgroundColor") > 240


def test_print_shows_results_and_no_controls(visit, usual):
    page = visit(usual, color_scheme="dark")
    page.emulate_media(media="print")
    assert brightness(page, "backgroundColor") > 240
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator("svg.map")).to_be_visible()
    assert len(page.pdf()) > 10_000


def test_a_phone_needs_no_sideways_scrolling(visit, usual):
    page = visit(usual, viewport=PHONE, has_touch=True, is_mobile=True)
    assert overflow(page) <= 0
    bubble(page, 1).tap()
    expect(page.get_by_role("dialog", name="Concept 1")).to_be_visible()
    assert overflow(page) <= 0
    assert (
        page.evaluate("document.querySelector('#viewer').scrollWidth - document.querySelector('#viewer').clientWidth")
        <= 0
    )
    page.get_by_role("button", name="Close").tap()
    page.locator("#gallery-cards a.enlarge").first.tap()
    expect(page.locator("#detail")).to_be_visible()
    assert overflow(page) <= 0
    assert page.evaluate("document.querySelector('#detail').scrollWidth - innerWidth") <= 0
    page.get_by_role("button", name="Close").tap()
    page.locator("#concept-search").fill("cat")
    assert column(page, 1)[0] == "cat"
    table = page.locator("#concepts .scroll").first.bounding_box()
    assert table["width"] <= PHONE["width"]


def test_all_is_there_without_scripts(visit, usual):
    page = visit(usual, java_script_enabled=False)
    expect(page.locator("#concept-3")).to_be_visible()
    expect(page.locator("#concept-1")).to_be_visible()
    expect(page.locator("#concept-search")).to_be_hidden()
    expect(page.locator("#lowest .uid").first).to_be_visible()
    expect(page.locator("#gallery .more").last).to_be_visible()
    expect(page.locator("#gallery-tools")).to_be_hidden()
    assert page.locator("#concept-table tbody tr:visible").count() == 33


@pytest.mark.parametrize("scripts", [True, False])
def test_every_row_can_be_seen(visit, tmp_path, scripts):
    path = tmp_path / "index.html"
    path.write_text(
        render(replace(usual_page(), concepts=tuple(concept(at) for at in range(500))), changes(concepts=3))
    )
    page = visit(path, java_script_enabled=scripts)
    if scripts:
        page.get_by_role("button", name="Show all 500").click()
    expect(page.locator("#concept-table tbody tr").nth(499)).to_be_visible()


def test_of_ten_thousand_concepts_two_hundred_more_are_drawn_at_a_time(visit, large):
    page = visit(large)
    rows = page.locator("#concept-table tbody tr")
    assert rows.count() == 200
    page.locator("#concept-table th button").nth(4).click()
    assert rows.count() == 200
    page.locator("#concept-search").fill("dog 77")
    assert 0 < rows.count() <= 200
    assert all("dog" in name for name in column(page, 1))
    page.locator("#concept-search").fill("")
    page.get_by_role("button", name="Show 200 more").click()
    assert rows.count() == 400


def test_hostile_captions_are_inert(visit, tmp_path):
    counts = []
    for name, texts in (("hostile", HOSTILE), ("harmless", tuple("h" * len(clean) for clean in HOSTILE))):
        path = tmp_path / f"{name}.html"
        path.write_text(render(full_page(texts), changes(texts)))
        page = visit(path)
        page.locator('#concept-table a[href="#concept-7"]').click()
        expect(page.locator("#concept-7")).to_be_visible()
        assert page.evaluate("typeof window.hacked") == "undefined"
        counts.append(
            page.evaluate("""() => { const found = {};
            document.querySelectorAll('*').forEach((each) => { found[each.tagName] = (found[each.tagName] || 0) + 1; });
            return found; }""")
        )
        assert overflow(page) <= 0
    hostile, harmless = counts
    assert hostile == harmless


@pytest.mark.parametrize(
    "context",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"viewport": PHONE}],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_nothing_serious(visit, usual, context):
    page = visit(usual, **context)
    for each in page.locator("details").all():
        each.evaluate("each => { each.open = true; }")
    assert serious(Axe().run(page)) == []
    page.locator('#concept-table a[href="#concept-3"]').click()
    expect(page.locator("#concept-3")).to_be_visible()
    assert serious(Axe().run(page)) == []
    page.locator("#concept-3 a.enlarge").first.click()
    expect(page.locator("#detail")).to_be_visible()
    assert serious(Axe().run(page)) == []
