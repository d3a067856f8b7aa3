import io
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pools import Silent, photo, tar_config, write_tar

from filtering.config.input import Input
from filtering.config.run import Embedding, parse_config
from filtering.core.errors import InputError
from filtering.embedding.artifacts import EmbeddedShard
from filtering.embedding.decoding import batches
from filtering.embedding.identity import pinned
from filtering.embedding.model import ClipModel
from filtering.embedding.signals import measured
from filtering.embedding.tars import TarEmbedder
from filtering.embedding.text_share import check_text_detector, text_detector_identity, text_share, without_text
from filtering.pipeline.run import check, run
from filtering.shards.inventory import list_shards
from filtering.storage.store import Store

PHOTO = Image.open(io.BytesIO(photo(640, 480, 2))).convert("RGB")


def written(*lines, size=60):
    image, font = PHOTO.copy(), ImageFont.load_default(size)
    for number, line in enumerate(lines):
        style = {"fill": "white", "font": font, "stroke_width": 2, "stroke_fill": "black"}
        ImageDraw.Draw(image).text((30, 40 + 110 * number), line, **style)
    return image


def test_the_share_grows_with_the_text():
    lines = ("SALE 50% OFF TODAY", "BUY NOW AND SAVE", "www.example.org")
    shares = [text_share(written(*lines[:count])) for count in range(4)]
    assert shares[0] < 0.02
    assert shares == sorted(shares)
    # A line of capitals of 60 pixels takes about an eighth of the height, and most of the width.
    assert 0.07 < shares[1] < 0.2
    assert 2 * shares[1] < shares[3] < 0.6


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_text_is_found_in_pictures_of_every_mode(mode):
    assert measured(written("SALE 50% OFF").convert(mode), ["text_share"])["text_share"] > 0.03


def test_a_small_or_narrow_picture_has_no_text():
    for size in ((1, 1), (3, 200), (16, 16)):
        assert text_share(Image.new("RGB", size)) == 0


def test_without_its_package_the_signal_is_refused_in_a_line(monkeypatch, tar_pool, tmp_path):
    check_text_detector()
    assert text_detector_identity()
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    embedding = {"model": "demo", "signals": ["text_share"]}
    line = (
        r"^embedding\.signals: text detection needs the package rapidocr; install it: pip install rapidocr onnxruntime$"
    )
    with pytest.raises(InputError, match=line):
        check(parse_config(tar_config(tar_pool, tmp_path / "run", embedding=embedding)))


def test_another_version_of_the_package_on_a_worker_is_refused(monkeypatch, tar_pool, tmp_path):
    begun = pinned(Embedding(model="demo", signals=["text_share"]))
    monkeypatch.setattr("filtering.embedding.identity.text_detector_identity", lambda: "another")
    (shard, *_) = list_shards(Input(shards=str(tar_pool)))
    with pytest.raises(InputError, match=r"^embedding\.signals: rapidocr on .* is not the one that this run began"):
        next(batches(shard, ClipModel(Embedding(model="demo")).preparation, begun))


def test_text_is_covered_with_the_colour_around_it():
    plain, image = Image.new("RGB", (400, 200), (200, 40, 40)), Image.new("RGB", (400, 200), (200, 40, 40))
    ImageDraw.Draw(image).text((40, 60), "SALE TODAY", fill="white", font=ImageFont.load_default(60))
    masked = without_text(image)
    assert np.abs(np.asarray(masked, int) - np.asarray(plain, int)).mean() < 1
    assert np.abs(np.asarray(image, int) - np.asarray(plain, int)).mean() > 5
    assert without_text(plain) is plain


def masked_scores(folder, tmp_path, name, **settings):
    """The CLIP scores of a tar, and those of its masked pictures."""
    (shard,) = list_shards(Input(shards=str(folder)))
    store = Store(str(tmp_path / name))
    TarEmbedder(Embedding(model="demo", decoding="exact", **settings))(shard, store)
    rows = EmbeddedShard(shard, store).rows(["key", "clip_score", "clip_score:masked"])
    return {row["key"]: (row["clip_score"], row["clip_score:masked"]) for row in rows.to_pylist()}


def test_the_masked_score_is_that_of_the_picture_without_its_text(tmp_path):
    with_text = written("SALE 50% OFF TODAY", "BUY NOW AND SAVE")
    pictures = {"plain": PHOTO, "text": with_text, "covered": without_text(with_text)}
    for folder, keys in (("pool", ("plain", "text")), ("other", ("covered",))):
        (tmp_path / folder).mkdir()
        parts = [(f"{key}.png", png(pictures[key])) for key in keys] + [(f"{key}.txt", b"a photo") for key in keys]
        write_tar(tmp_path / folder / "0.tar", sorted(parts))
    found = masked_scores(tmp_path / "pool", tmp_path, "a", signals=["masked_clip_score", "text_share"])
    assert found["plain"][0] == found["plain"][1]
    assert found["text"][0] != found["text"][1]
    ((expected, _),) = masked_scores(tmp_path / "other", tmp_path, "b", signals=["masked_clip_score"]).values()
    assert abs(found["text"][1] - expected) < 2e-3


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_a_filter_and_a_score_read_the_masked_score(tmp_path):
    (tmp_path / "pool").mkdir()
    lines = [(), ("SALE 50% OFF",), ("SALE 50% OFF TODAY", "BUY NOW AND SAVE"), ("www.example.org",)]
    parts = [(f"{at}.png", png(written(*those))) for at, those in enumerate(lines)]
    write_tar(tmp_path / "pool" / "0.tar", sorted([*parts, *((f"{at}.txt", b"a photo") for at in range(4))]))
    masked = {"of": "masked"}
    sections = {
        "embedding": {"signals": ["masked_clip_score"]},
        "filters": [{"clip_score": {"keep": 0.75, **masked}}],
        "selection": {"method": "top", "score": {"clip_score": masked}, "keep": 1},
    }
    record = run(parse_config(tar_config(tmp_path / "pool", tmp_path / "run", **sections)), Silent())
    assert record["totals"] | {"input": 4, "kept": 1} == record["totals"]
    with pytest.raises(InputError, match=r"clip_score: of: masked is the score .*\[masked_clip_score, phash\]"):
        check(
            parse_config(
                tar_config(tmp_path / "pool", tmp_path / "no", **sections | {"embedding": {"signals": ["phash"]}})
            )
        )
