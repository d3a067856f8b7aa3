import base64
import hashlib
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_pages import EMPTY, HOSTILE, Reader, changes, concept, distinct_jpeg, full_page, thumbnail

from filtering.report.data import Histogram, Sheet
from filtering.report.page import LARGEST_PAGE, render
from filtering.report.pictures import admitted


@pytest.fixture(scope="module")
def html():
    return render(full_page(), changes())


@pytest.fixture(scope="module")
def reader(html):
    return Reader(html)


def test_hostile_text_adds_no_element_and_no_attribute(reader):
    texts = tuple("hijklmno"[at] * len(text) for at, text in enumerate(HOSTILE))
    harmless = Reader(render(full_page(texts), changes(texts)))
    assert [tag for tag, _, _ in reader.elements] == [tag for tag, _, _ in harmless.elements]
    assert [list(attrs) for _, attrs, _ in reader.elements] == [list(attrs) for _, attrs, _ in harmless.elements]
    assert not [name for _, attrs, _ in reader.elements for name in attrs if name.startswith("on")]
    assert len(reader.all("script")) == len(reader.all("style")) == 1


def test_hostile_text_is_shown_as_it_is(reader):
    captions = [text for attrs, text in reader.all("p") if attrs.get("class") == "caption"]
    assert set(HOSTILE[:-1]) <= set(captions)


def test_policy_allows_only_the_pages_own_script_and_style(reader):
    policy = next(attrs["content"] for attrs, _ in reader.all("meta") if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag in ("script", "style"):
        digest = hashlib.sha256(reader.all(tag)[0][1].encode()).digest()
        assert f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert not [attrs for _, attrs, _ in reader.elements if "style" in attrs]


def test_nothing_is_fetched_from_anywhere(reader):
    names = ("src", "href", "action", "data", "xlink:href", "srcset")
    links = [attrs[name] for _, attrs, _ in reader.elements for name in names if name in attrs]
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    css = reader.all("style")[0][1]
    assert "url(" not in css
    assert "@import" not in css
    assert re.search(r"fetch|XMLHttpRequest|import\(|innerHTML|eval", reader.all("script")[0][1]) is None


def test_images_are_data_uris_with_size_and_alt(reader):
    images = [attrs for attrs, _ in reader.all("img")]
    assert len(images) > 3 * len(HOSTILE) + 2 + 2
    # All are of one image: it is in the page where it is shown first, and the script shows it everywhere else.
    assert ["src" in attrs for attrs in images] == [True] + [False] * (len(images) - 1)
    assert images[0]["src"].startswith("data:image/jpeg;base64,")
    for attrs in images:
        assert attrs["data-picture"] == "0"
        assert (attrs["width"], attrs["height"], attrs["loading"]) == ("32", "24", "lazy")
        assert attrs["alt"].startswith("Image of ")


@pytest.mark.parametrize("picture", [None, b"", b"not a picture", b"<svg onload=alert(1)>"])
def test_what_is_no_jpeg_shows_the_caption_alone(picture):
    reader = Reader(render(replace(EMPTY, lowest=(thumbnail("a lonely caption", "selection:d2", picture),))))
    assert not reader.all("img")
    assert "a lonely caption" in reader.text()


def test_numbers_of_the_outcome_appear(html, reader):
    assert reader.all("h1")[0][1] == "Kept 1,240 of 4,812 image-text pairs (25.8 %)"
    assert "61 could not be used, 1,912 failed a filter, and 1,599 passed" in " ".join(html.split())
    amounts = " ".join(text for attrs, text in reader.all("p") if attrs.get("class") == "amount").split()
    assert amounts == ["4,812", "−61", "−312", "−1,600", "−1,598", "−1", "1,240"]
    assert {"25.8 %", "1.3 %"} <= {text for _, text in reader.all("span")}


def test_concepts_and_their_sheets_appear(reader):
    cells = [text.strip() for _, text in reader.all("td")]
    assert {"1,234", "617", "601", "50.0 %", "0.321", "0.654", "99", "dog", "–"} <= set(cells)
    assert {attrs["href"] for attrs, text in reader.all("a") if text == "7"} == {"#concept-7"}
    assert [attrs["id"] for attrs, _ in reader.all("section") if attrs.get("class") == "sheet"] == ["concept-7"]
    titles = [text.strip() for _, text in reader.all("h4")]
    assert titles == ["Kept", "Dropped", "Hardest", "Easiest"]
    assert "3 smaller concepts have no row here." in reader.text()


def test_a_dropped_sample_stands_beside_the_kept_one_that_covers_it(reader):
    assert len([attrs for attrs, _ in reader.all("div") if attrs.get("class") == "pair"]) == len(HOSTILE) + 1
    assert "0.912" in [text for _, text in reader.all("b")]


def test_a_sample_tells_its_uid_and_why(reader):
    uids = [text for attrs, text in reader.all("code") if attrs.get("class") == "uid"]
    assert hashlib.md5(b"no picture at hand").hexdigest() in uids
    fates = [" ".join(text.split()) for attrs, text in reader.all("p") if attrs.get("class") == "fate"]
    assert {"pick 3", "CLIP-score filter"} <= set(fates)


def test_unread_shards_are_told(reader):
    assert "8 of 12 shards were read for images" in reader.text()
    assert "read for images" not in Reader(render(replace(full_page(), pictured_shards=12))).text()


def test_what_changed_stands_before_the_flow(html, reader):
    assert html.index('id="against"') < html.index('id="outcome"')
    figures = [text for _, text in reader.all("dd")]
    assert {"900", "1,240", "800", "400", "100"} <= set(figures)
    assert "Changes" not in [text for _, text in Reader(render(full_page())).all("a")]


def test_what_expected_novelty_left_out_is_told_as_such():
    page = replace(full_page(), dropped_by_reason={"selection:d2": 400})
    told = "it is probably mismatched, a pick already covers it, or"
    assert told in Reader(render(replace(page, novelty=("selection:d2",)))).text()
    assert told not in Reader(render(page)).text()


def test_warnings_stand_before_the_headline(html):
    assert html.index("Warnings</h2>") < html.index("<h1>") < html.index("How it was decided")


def test_recall_cost_and_configuration_appear(reader):
    text = reader.text()
    for expected in ("98.7 %", "recall@10", "3 min 12 s", "3.0 GiB", "3 min 14 s", "input:\n  shards:", "reused"):
        assert expected in text


def test_measures_appear_beside_chance(reader):
    text = reader.text()
    assert "a random choice" in text
    assert "0.1235" in text


def test_empty_page_renders():
    reader = Reader(render(EMPTY))
    assert reader.all("h1")[0][1] == "Kept nothing: the input has no image-text pairs"
    assert "No sample reached the concepts." in reader.text()
    assert not reader.all("img")


def test_histogram_without_counts_renders():
    page = replace(EMPTY, histograms=(Histogram("clip_score", "", (0.0, 1.0), (0,), (0,)),))
    assert "No samples to draw." in Reader(render(page)).text()


def test_ids_are_unique_and_links_lead_somewhere(reader):
    ids = [attrs["id"] for _, attrs, _ in reader.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"][1:] for attrs, _ in reader.all("a")} <= set(ids)
    assert {attrs["aria-labelledby"] for _, attrs, _ in reader.elements if "aria-labelledby" in attrs} <= set(ids)


def test_ten_thousand_concepts_stay_small():
    html = render(replace(EMPTY, concepts=tuple(concept(i, ("dog", "cat"), size=i + 1) for i in range(10_000))))
    assert len(html) < 2_200_000
    assert html.count("<tr hidden>") == 10_000 - 200


def test_rows_beyond_ten_thousand_are_counted():
    html = render(replace(EMPTY, concepts=tuple(concept(i) for i in range(10_005)), more_concepts=1))
    assert "6 smaller concepts have no row here." in html


def test_pictures_beyond_the_budget_are_left_out_and_their_captions_stay():
    pictures = [distinct_jpeg(at) for at in range(6)]
    thumbs = tuple(thumbnail(f"caption {at}", "selection:d2", each) for at, each in enumerate(pictures))
    sheet = Sheet((), thumbs[3:], (), ())
    page = replace(EMPTY, lowest=thumbs[:3], concepts=(concept(1, sheet=sheet),))
    room = sum(4 * -(-len(each) // 3) for each in pictures[:4])
    assert admitted(page, room) == set(pictures[:4])
    assert admitted(page, 10**9) == set(pictures)
    assert admitted(page, 0) == set()


@pytest.mark.slow
def test_no_page_is_larger_than_it_may_be():
    large = b"\xff\xd8" + bytes(9_000_000)
    worst = '"' * 5_000
    thumbs = tuple(thumbnail(worst, worst, large) for _ in range(60))
    sheet = Sheet(thumbs, thumbs, thumbs, thumbs)
    rows = tuple(concept(at, (worst,), sheet=sheet if at < 10 else None) for at in range(10_000))
    page = replace(full_page((worst,) * 8), concepts=rows, lowest=thumbs)
    assert len(render(page, changes((worst,) * 8)).encode()) < LARGEST_PAGE


@given(st.text(st.characters(codec=None)))
def test_any_caption_makes_a_page_that_can_be_written(caption):
    html = render(replace(EMPTY, lowest=(thumbnail(caption, "selection:d2"),), warnings=(caption,)))
    html.encode("utf-8")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)
