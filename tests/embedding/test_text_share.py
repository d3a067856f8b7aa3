import io
import sys

import pytest
from PIL import Image, ImageDraw, ImageFont
from pools import photo, tar_config

from filtering.config.input import Input
from filtering.config.run import Embedding, parse_config
from filtering.core.errors import InputError
from filtering.embedding.decoding import batches
from filtering.embedding.identity import pinned
from filtering.embedding.model import ClipModel
from filtering.embedding.signals import measured
from filtering.embedding.text_share import check_text_detector, text_detector_identity, text_share
from filtering.pipeline.run import check
from filtering.shards.inventory import list_shards

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
    line = r"^embedding\.signals: text_share needs the package rapidocr; install it: pip install rapidocr onnxruntime$"
    with pytest.raises(InputError, match=line):
        check(parse_config(tar_config(tar_pool, tmp_path / "run", embedding=embedding)))


def test_another_version_of_the_package_on_a_worker_is_refused(monkeypatch, tar_pool, tmp_path):
    begun = pinned(Embedding(model="demo", signals=["text_share"]))
    monkeypatch.setattr("filtering.embedding.identity.text_detector_identity", lambda: "another")
    (shard, *_) = list_shards(Input(shards=str(tar_pool)))
    with pytest.raises(InputError, match=r"^embedding\.signals: rapidocr on .* is not the one that this run began"):
        next(batches(shard, ClipModel(Embedding(model="demo")).preparation, begun))
