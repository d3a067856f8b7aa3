"""The page's data of real runs, and the page beside another run's."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import member, metadata_config, tar_config, write_tar

from filtering import open_run
from filtering.core.errors import DamagedError, InputError
from filtering.report.data import parse_report, report_bytes
from filtering.report.gallery import CHANGED
from filtering.report.page import render
from filtering.report.rendering import report_page
from filtering.storage.store import Store


def page_of(folder: Path):
    return parse_report((folder / "report/page.json").read_bytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report") / "run"


@pytest.fixture
def metadata_run(run, metadata_pool, folder):
    if not (folder / "run.json").exists():
        selection = {"method": "d2", "variant": "paper", "keep": 0.4}
        run(metadata_config(metadata_pool, folder, selection=selection, filters=[{"clip_score": {"keep": 0.9}}]))
    return folder


def test_the_page_agrees_with_the_manifest(metadata_run):
    page, record = page_of(metadata_run), json.loads((metadata_run / "run.json").read_text())
    kept = pq.read_table(metadata_run / "manifest/kept")
    assert sum(row.kept for row in page.concepts) == record["totals"]["kept"] == len(kept)
    assert sum(row.size for row in page.concepts) == record["graph"]["nodes"]
    concepts, counts = np.unique(kept["concept"].to_numpy(), return_counts=True)
    found = {row.concept: row.kept for row in page.concepts if row.kept}
    assert found == dict(zip(concepts.tolist(), counts.tolist(), strict=True))
    chart = next(chart for chart in page.histograms if chart.name == "clip_score")
    assert (sum(chart.kept), sum(chart.dropped)) == (record["totals"]["kept"], record["totals"]["dropped"])
    assert list(page.dropped_by_reason) == ["filter:clip_score", "selection:d2"]
    assert page.more_concepts == 0


def test_sheets_show_what_became_of_samples(metadata_run):
    page = page_of(metadata_run)
    ranks = {line["uid"]: line["rank"] for line in pq.read_table(metadata_run / "manifest/kept").to_pylist()}
    reasons = {line["uid"]: line["reason"] for line in pq.read_table(metadata_run / "manifest/dropped").to_pylist()}
    covered = 0
    for row in page.concepts:
        assert [one.rank for one in row.sheet.kept] == list(range(len(row.sheet.kept)))
        for one in [*row.sheet.kept, *row.sheet.dropped, *row.sheet.hardest, *row.sheet.easiest]:
            assert (one.rank, one.reason) == (ranks.get(one.uid), reasons.get(one.uid, ""))
        assert all(one.rank is None for one in row.sheet.dropped)
        assert row.sheet.hardest[0].score >= row.difficulty >= row.sheet.easiest[0].score
        covers = [one.cover for one in row.sheet.dropped if one.cover]
        covered += len(covers)
        assert all(cover.uid in ranks and -1 <= cover.cosine <= 1 for cover in covers)
    assert covered
    assert all(one.reason == "filter:clip_score" for part in page.filtered for one in part.members)
    lowest = [one.clip_score for one in page.lowest]
    assert lowest == sorted(lowest)


def test_the_data_comes_back_from_json_as_it_was(metadata_run):
    page = page_of(metadata_run)
    assert report_bytes(parse_report(report_bytes(page))) == report_bytes(page)


def test_numbers_that_are_not_known_are_null_in_the_data_and_come_back(metadata_run):
    page = page_of(metadata_run)
    unknown = replace(page, recall=math.nan, concepts=tuple(replace(row, difficulty=math.nan) for row in page.concepts))
    data = report_bytes(unknown)
    assert b"NaN" not in data
    assert json.loads(data)["page"]["recall"] is None
    found = parse_report(data)
    assert math.isnan(found.recall)
    assert all(math.isnan(row.difficulty) for row in found.concepts)


def test_a_page_says_what_changed_against_another_run(run, metadata_run, metadata_pool, tmp_path, monkeypatch):
    other = tmp_path / "other"
    run(metadata_config(metadata_pool, other, selection={"method": "d2", "variant": "paper", "keep": 0.2}))
    monkeypatch.chdir(tmp_path)
    page = report_page(Store(str(metadata_run)), None, str(other))
    assert page == f"{tmp_path}/filtering-report/index.html"
    html = Path(page).read_text()
    assert str(other) in html
    found = " ".join(html.split())
    assert "<code>selection.keep</code></th><td><code>0.2</code></td><td><code>0.4</code></td>" in found
    assert '<td><code>[]</code></td><td><code>[{"clip_score": {"keep": 0.9}}]</code></td>' in found
    shown = html.partition('aria-label="Some samples that became kept"')[2].partition("</div>")[0]
    anchors = re.findall(r'href="#sample-([0-9a-f]{32})"', shown)
    before, after = (set(open_run(str(one)).kept().to_table()["uid"].to_pylist()) for one in (other, metadata_run))
    assert len(anchors) == CHANGED
    card = found.partition(f'id="sample-{anchors[0]}"')[2].partition("</figure>")[0]
    assert "became kept since the other run" in card
    assert set(anchors) <= after - before
    assert (metadata_run / "report/index.html").read_text() != html
    copy = report_page(Store(str(metadata_run)), str(tmp_path / "copy"), None)
    assert Path(copy).read_text() == (metadata_run / "report/index.html").read_text()
    assert report_page(Store(str(metadata_run))) == f"{metadata_run}/report/index.html"
    with pytest.raises(InputError, match="holds no finished run"):
        report_page(Store(str(metadata_run)), None, str(tmp_path / "nowhere"))


def test_no_report_is_written_into_a_run_or_the_pool(metadata_run, metadata_pool):
    before, run = (metadata_run / "report/index.html").read_bytes(), Store(str(metadata_run))
    for against in (None, str(metadata_run)):
        with pytest.raises(InputError, match="is inside the run's directory"):
            report_page(run, str(metadata_run / "report"), against)
        with pytest.raises(InputError, match="is where the input has"):
            report_page(run, str(metadata_pool), against)
    assert (metadata_run / "report/index.html").read_bytes() == before
    assert not (metadata_pool / "index.html").exists()


def test_a_page_that_is_not_as_it_was_written_is_not_handed_on(metadata_run, tmp_path):
    run, out = shutil.copytree(metadata_run, tmp_path / "run"), tmp_path / "page"
    page, data = run / "report/index.html", run / "report/page.json"
    written = page.read_bytes(), data.read_bytes()
    changed = "its bytes have changed since it was written; give the command of that run again"
    for damaged in (b"", written[0][: len(written[0]) // 2].ljust(len(written[0]), b"\0")):
        page.write_bytes(damaged)
        for place in (None, str(out)):
            with pytest.raises(DamagedError, match=rf"index\.html: {changed}"):
                report_page(Store(str(run)), place)
    page.write_bytes(written[0])
    assert report_page(Store(str(run))) == str(page)
    data.write_bytes(re.sub(rb'"kept": ?(\d+)', rb'"kept": 9\1', written[1]))
    assert data.read_bytes() != written[1]
    with pytest.raises(DamagedError, match=rf"page\.json: {changed}"):
        report_page(Store(str(run)), str(out), str(metadata_run))
    with pytest.raises(DamagedError, match=rf"page\.json: {changed}"):
        report_page(Store(str(run)))
    data.unlink()
    with pytest.raises(DamagedError, match=r"page\.json: is not there"):
        report_page(Store(str(run)))
    assert not out.exists()
    # Older versions noted no checksums.
    shutil.rmtree(next(run.glob("stages/report-*")))
    page.write_bytes(damaged)
    assert report_page(Store(str(run))) == str(page)
    assert Path(report_page(Store(str(run)), str(out))).read_bytes() == damaged


def test_a_place_where_no_folder_can_be_made_is_named(metadata_run):
    with pytest.raises(InputError, match="--out: no folder can be made at /proc/nothing; choose another"):
        report_page(Store(str(metadata_run)), "/proc/nothing")


def test_duplicates_are_grouped(run, tmp_path):
    pool = tmp_path / "pool"
    pool.mkdir()
    vectors = np.random.default_rng(0).normal(size=(60, 16))
    vectors[40:48] = vectors[0]
    vectors[48:51] = vectors[1]
    half = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    columns = {"uid": [f"{at:032x}" for at in range(60)], "text": ["words"] * 60}
    scores = {"clip_l14_similarity_score": pa.array(np.linspace(0.1, 0.4, 60), pa.float32())}
    pq.write_table(pa.table(columns | scores), pool / "0.parquet")
    np.savez(pool / "0.npz", l14_img=half, l14_txt=half)
    run(metadata_config(pool, tmp_path / "run", concepts={"clusters": 2}, graph={"k": 9}))
    page = page_of(tmp_path / "run")
    assert [group.size for group in page.duplicates] == [9, 4]
    assert sum(row.duplicates for row in page.concepts) == 13
    for group in page.duplicates:
        members = [one.rank is not None for one in group.members]
        assert members == sorted(members, reverse=True)
        assert group.kept == sum(members) or group.size > len(members)


def test_shards_put_together_in_groups_say_the_same(run, metadata_pool, metadata_run, monkeypatch):
    before = page_of(metadata_run)
    for report in (metadata_run / "stages").glob("report-*"):
        shutil.rmtree(report)
    (metadata_run / "run.json").unlink()
    monkeypatch.setattr("filtering.report.stage.TOGETHER", 1)
    selection = {"method": "d2", "variant": "paper", "keep": 0.4}
    run(metadata_config(metadata_pool, metadata_run, selection=selection, filters=[{"clip_score": {"keep": 0.9}}]))
    after = page_of(metadata_run)
    told = [json.loads(report_bytes(page))["page"] for page in (before, after)]
    for name in ("histograms", "lowest", "filtered", "quarantine_examples", "concepts"):
        assert told[0][name] == told[1][name]


def test_pictures_come_from_the_shards(tar_run):
    page = page_of(tar_run)
    shown = [one for row in page.concepts if row.sheet for one in (*row.sheet.kept, *row.sheet.dropped)]
    assert shown
    assert all(one.jpeg is not None and one.jpeg.startswith(b"\xff\xd8") for one in shown)
    assert (page.shards, page.pictured_shards) == (3, 3)


def test_a_random_sample_of_every_outcome_comes_with_all_that_is_known(metadata_run):
    page, record = page_of(metadata_run), json.loads((metadata_run / "run.json").read_text())
    kept = {line["uid"]: line for line in pq.read_table(metadata_run / "manifest/kept").to_pylist()}
    reasons = {line["uid"]: line["reason"] for line in pq.read_table(metadata_run / "manifest/dropped").to_pylist()}
    assert {one.reason for one in page.examples} == {"", *record["reasons"]["dropped"]}
    assert len({one.uid for one in page.examples}) == len(page.examples)
    for one in page.examples:
        line = kept.get(one.uid)
        assert one.reason == reasons.get(one.uid, "")
        assert one.rank == (line["rank"] if line else None)
        assert (one.concept is None) == one.reason.startswith("filter:")
        assert line is None or one.concept == line["concept"]
        assert set(one.scores) <= set(record["scores"])


def test_quarantined_samples_are_shown_with_the_images_that_can_be_decoded(run, tmp_path):
    pool = tmp_path / "pool"
    pool.mkdir()
    bare = [part for part in member("bare", 4) if not part[0].endswith(".txt")]
    broken = [(name, b"no image" if name.endswith(".jpg") else data) for name, data in member("broken", 5)]
    whole = [part for at in range(3) for part in member(f"{at}", at)]
    write_tar(pool / "0.tar", [*whole, *bare, *broken])
    run(tar_config(pool, tmp_path / "run"))
    shown = {one.key: one for one in page_of(tmp_path / "run").quarantine_examples}
    assert shown["bare"].reason == "missing_caption"
    assert shown["bare"].jpeg.startswith(b"\xff\xd8")
    assert shown["broken"].jpeg is None


def test_a_page_of_an_older_version_is_rendered(metadata_run):
    data = json.loads((metadata_run / "report/page.json").read_text())
    new = {"examples", "better", "concept", "scores"}

    def older(value, inside=""):
        if isinstance(value, list):
            return [older(each, inside) for each in value]
        if not isinstance(value, dict):
            return value
        left_out = new - {"concept"} if inside in ("concepts", "duplicates") else new
        return {name: older(each, name) for name, each in value.items() if name not in left_out}

    page = parse_report(json.dumps(older(data)).encode())
    assert page.examples == ()
    html = render(page)
    for row in page.concepts[:3]:
        assert f'id="sample-{row.sheet.kept[0].uid}"' in html


@pytest.mark.parametrize("steps", [[{"any": ["one", "two"]}], [{"all": ["one", "two"]}, {"method": "top", "keep": 5}]])
def test_named_selections_have_a_page(run, metadata_pool, metadata_run, steps):
    named = {"one": {"method": "top", "keep": 0.5}, "two": {"method": "random", "keep": 0.5}}
    run(
        metadata_config(
            metadata_pool,
            metadata_run,
            selection={"steps": steps},
            selections=named,
            filters=[{"clip_score": {"keep": 0.9}}],
        )
    )
    page = page_of(metadata_run)
    assert sum(row.kept for row in page.concepts) == page.totals["kept"]
    assert any("named selections" in sentence for sentence in page.selection)


def test_a_pool_of_which_nothing_passes_has_a_page(run, tmp_path):
    pool = tmp_path / "pool"
    pool.mkdir()
    write_tar(pool / "0.tar", [part for at in range(3) for part in member(f"{at}", at)])
    run(tar_config(pool, tmp_path / "run", filters=[{"caption": {"min_words": 100}}]))
    page = page_of(tmp_path / "run")
    assert page.concepts == ()
    assert [part.reason for part in page.filtered] == ["filter:caption"]
