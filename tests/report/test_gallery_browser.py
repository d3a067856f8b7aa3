"""The gallery in a real browser, from a file: URL."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def shown_cards(page):
    return page.locator("#gallery-cards .thumb")


def test_the_gallery_is_searched_and_filtered(visit, usual):
    page = visit(usual)
    whole = shown_cards(page).count()
    page.locator("#gallery-search").fill("NOT a dog")
    expect(shown_cards(page)).to_have_count(1)
    expect(page.locator("#gallery-count")).to_have_text("1 example")
    page.get_by_role("button", name="Clear").click()
    page.locator("#gallery-status").select_option("quarantined")
    expect(shown_cards(page)).to_have_count(3)
    expect(page.locator("#gallery-count")).to_have_text("3 examples; the run has 61")
    page.locator("#gallery-status").select_option("")
    page.locator("#gallery-reason").select_option("filter:clip_score")
    assert set(shown_cards(page).evaluate_all("all => all.map((each) => each.dataset.status)")) == {"dropped"}
    page.reload()
    assert page.locator("#gallery-reason").input_value() == "filter:clip_score"
    expect(shown_cards(page)).to_have_count(4)
    page.get_by_role("button", name="Clear").click()
    expect(shown_cards(page)).to_have_count(whole)
    assert page.evaluate("location.hash") == ""


def test_the_gallery_is_filtered_by_concept_and_score(visit, usual):
    page = visit(usual)
    page.locator("#gallery-concept").fill("6")
    expect(shown_cards(page)).to_have_count(1)
    page.locator("#gallery-concept").fill("")
    page.locator("#gallery-score").select_option("wide")
    page.locator("#gallery-from").fill("7")
    expect(shown_cards(page)).to_have_count(2)
    page.locator("#gallery-order").select_option("highest")
    expect(shown_cards(page).first).to_have_attribute("data-concept", "8")
    page.locator("#gallery-to").fill("7.5")
    expect(shown_cards(page)).to_have_count(1)


def test_the_waterfall_leads_to_the_examples_of_a_reason(visit, usual):
    page = visit(usual)
    page.locator('.flow a[data-reason="filter:clip_score"]').click()
    expect(page.locator("#gallery-search")).to_be_focused()
    expect(shown_cards(page)).to_have_count(4)
    expect(page.locator("#gallery-title")).to_be_in_viewport()


@pytest.mark.parametrize("opened", ["Enter", "click"])
def test_a_sample_is_enlarged_with_all_that_is_known(visit, usual, opened):
    page = visit(usual, permissions=["clipboard-read", "clipboard-write"])
    link = page.locator("#gallery-cards a.enlarge").first
    link.focus() if opened == "Enter" else link.click()
    page.keyboard.press("Enter") if opened == "Enter" else None
    detail = page.get_by_role("dialog")
    expect(detail).to_be_visible()
    expect(page.locator("#detail-caption")).to_have_text("a dog on a beach")
    expect(page.locator("#detail-facts")).to_contain_text("wide6.000")
    assert page.locator("#detail-picture img").evaluate("each => each.naturalWidth") == 32
    detail.get_by_role("button", name="copy").click()
    expect(page.locator("#said")).to_contain_text("Copied filtering explain")
    uid = page.locator("#gallery-cards .uid").first.text_content()
    assert page.evaluate("navigator.clipboard.readText()") == f"filtering explain 'a dog on a beach' {uid}"
    page.keyboard.press("ArrowRight")
    expect(page.locator("#detail-caption")).to_have_text("two cats")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#detail-place")).to_contain_text("of")
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(link).to_be_focused()


def test_a_whole_caption_is_in_the_enlarged_view(visit, usual):
    page = visit(usual)
    page.locator("#gallery-search").fill("red house")
    page.locator("#gallery-cards a.enlarge").first.click()
    assert page.locator("#detail-caption").inner_text().strip() == ("a red house " * 12).strip()


@pytest.mark.parametrize("fragment", ["sample-" + "f" * 32, "quarantined-2", "concept-3"])
def test_what_is_open_survives_a_reload(visit, usual, fragment):
    page = visit(usual, fragment=f"#{fragment}")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("ArrowRight")
    address = page.evaluate("location.hash")
    assert address not in ("", f"#{fragment}")
    page.reload()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).to_have_url(re.compile(r"index\.html$"))


def test_a_sample_of_a_sheet_opens_over_it_and_leads_to_its_concept(visit, usual):
    page = visit(usual, fragment="#concept-3")
    page.locator("#concept-3 a.enlarge").first.click()
    expect(page.locator("#detail")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(page.locator("#viewer")).to_be_visible()
    expect(page).to_have_url(re.compile(r"#concept-3$"))
    page.locator("#concept-3").get_by_role("link", name="examples").click()
    expect(page.locator("#viewer")).to_be_hidden()
    assert page.locator("#gallery-concept").input_value() == "3"


def test_every_image_is_shown_though_it_is_in_the_page_once(visit, usual):
    page = visit(usual)
    assert page.locator("#duplicates img").first.evaluate("each => each.src.slice(0, 23)") == "data:image/jpeg;base64,"
    assert page.locator("img:not([src])").count() == 0


def test_back_closes_the_enlarged_view_and_leaves_the_page_as_it_was(visit, usual):
    page = visit(usual)
    page.locator("#gallery-search").fill("red house")
    before = page.evaluate("location.hash")
    page.locator("#gallery-cards a.enlarge:visible").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.evaluate("history.back()")
    expect(page.locator("#detail")).to_be_hidden()
    assert page.locator("#gallery-search").input_value() == "red house"
    assert page.evaluate("location.hash") == before
    # Closed by hand, it leaves no entry behind to go back to.
    page.locator("#gallery-cards a.enlarge:visible").first.click()
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    page.wait_for_function("hash => location.hash === hash", arg=before)
