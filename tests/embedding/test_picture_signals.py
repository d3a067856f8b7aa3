import io

import imagehash
import numpy as np
import pandas as pd
import pytest
from cleanvision.issue_managers.image_property import (
    BlurrinessProperty,
    calc_avg_brightness,
    calc_entropy,
    calc_percentile_brightness,
)
from hostile_images import KEPT, images
from image_bytes import encoded
from PIL import Image, ImageFilter
from pools import member, members, photo, picture, write_tar

from filtering.config.embedding import Embedding
from filtering.config.input import Input
from filtering.config.run import parse_config
from filtering.core import schemas
from filtering.core.fields import MASKED, score_column
from filtering.embedding.artifacts import SIGNALS_NAME, EmbeddedShard
from filtering.embedding.images import decode_image
from filtering.embedding.signals import SIGNALS, measured
from filtering.embedding.stage import embedding_key
from filtering.embedding.tars import TarEmbedder
from filtering.shards.faults import Fault
from filtering.shards.inventory import list_shards
from filtering.storage.store import Store

ALL = tuple(SIGNALS)


def opened(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def blur_of_cleanvision(image):
    raw = pd.DataFrame([BlurrinessProperty().calculate(image)])
    return BlurrinessProperty().get_scores(raw, "blurry", normalizing_factor=0.01, color_threshold=0.18).iloc[0, 0]


def pictures():
    small, large = opened(photo(250, 180, 1)), opened(photo(1500, 1000, 2))
    flat, grey = Image.new("RGB", (200, 100), (200, 10, 90)), small.convert("L")
    return [(small, 0), (flat, 0), (grey, 0), (small.filter(ImageFilter.GaussianBlur(6)), 0), (large, 0.02)]


@pytest.mark.parametrize(("image", "near"), pictures())
def test_scores_are_those_of_cleanvision(image, near):
    found = measured(image, ALL)
    darkest, brightest = calc_percentile_brightness(image, [5, 99])
    expected = {
        "blur": blur_of_cleanvision(image),
        "entropy": min(calc_entropy(image) / 10, 1),
        "luminance": calc_avg_brightness(image),
        "dark": brightest,
        "light": 1 - darkest,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6 + near)


@pytest.mark.parametrize(("image", "near"), pictures())
def test_perceptual_hashes_are_those_of_imagehash(image, near):
    # Of large pictures from a reduced copy: a few bits may differ.
    differing = measured(image, ["phash"])["phash"] ^ int(str(imagehash.phash(image)), 16)
    assert differing.bit_count() <= (4 if near else 0)


@pytest.mark.parametrize("seed", range(8))
def test_copies_of_a_picture_have_nearly_its_hash_and_other_pictures_have_not(seed):
    def hashed(image):
        return measured(image, ["phash"])["phash"]

    image, other = opened(photo(640, 480, seed)), opened(photo(640, 480, seed + 100))
    buffer = io.BytesIO()
    image.resize((320, 240)).save(buffer, "JPEG", quality=60)
    assert (hashed(image) ^ hashed(opened(buffer.getvalue()))).bit_count() <= 4
    assert (hashed(image) ^ hashed(other)).bit_count() > 4


def test_hashes_of_pixels_are_equal_exactly_where_pixels_are():
    png, bmp, webp = (decode_image(encoded(kind)).image for kind in ("PNG", "BMP", "TIFF"))
    hashes = {measured(image, ["pixel_hash"])["pixel_hash"] for image in (png, bmp, webp)}
    assert len(hashes) == 1
    changed = png.copy()
    changed.putpixel((3, 4), tuple(255 - value for value in png.getpixel((3, 4))))
    turned = Image.frombytes("RGB", png.size[::-1], png.tobytes())
    assert not hashes & {measured(image, ["pixel_hash"])["pixel_hash"] for image in (changed, turned)}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_pictures_of_every_mode_are_measured(mode):
    found = measured(opened(photo(300, 200, 3)).convert(mode), ALL)
    # The masked score takes the model.
    assert {*found, score_column(MASKED)} == {name for schema in schemas.SIGNALS.values() for name in schema.names}
    assert all(0 <= found[name] <= 1 for name in ("blur", "luminance", "dark", "light", "entropy"))


@pytest.mark.parametrize(("name", "data", "fate"), [*images()], ids=lambda one: one if isinstance(one, str) else "")
def test_hostile_pictures_that_can_be_decoded_can_be_measured(name, data, fate):
    decoded = decode_image(data)
    if isinstance(decoded, Fault):
        assert fate != KEPT
        return
    found = measured(decoded.image, [one for one in ALL if one != "text_share"])
    assert not isinstance(found, Fault)
    shares = [value for name, value in found.items() if "hash" not in name]
    assert np.isfinite(shares).all()
    assert min(shares) >= 0
    assert max(shares) <= 1


def test_nothing_is_computed_that_is_not_asked_for():
    assert measured(Image.new("RGB", (8, 8)), ()) == {}
    assert set(measured(Image.new("RGB", (8, 8)), ["blur"])) == {"blur"}


def embedded(folder, name, **settings):
    (shard,) = list_shards(Input(shards=str(folder)))
    store = Store(str(folder / name))
    TarEmbedder(Embedding(model="demo", batch_size=4, **settings))(shard, store)
    return EmbeddedShard(shard, store)


@pytest.fixture
def pool(tmp_path):
    parts = members(0, 10) + member("00000broken", caption=b"")
    write_tar(tmp_path / "00000000.tar", [("00000bad.jpg", b"x"), ("00000bad.txt", b"bad"), *parts])
    return tmp_path


def test_each_row_has_the_signals_of_its_picture(pool):
    shard = embedded(pool, "run", signals=["phash", "luminance"])
    rows = shard.rows(["light", "key", "phash"])
    assert rows.column_names == ["light", "key", "phash"]
    for at, (light, _, phash) in enumerate(zip(*rows.to_pydict().values(), strict=True)):
        expected = measured(opened(picture(at)), ["phash", "luminance"])
        assert (np.float32(expected["light"]), expected["phash"]) == (np.float32(light), phash)


def test_rows_and_vectors_do_not_depend_on_signals(pool):
    without, beside = embedded(pool, "without"), embedded(pool, "with", signals=["blur"])
    assert without.rows() == beside.rows()
    assert np.array_equal(without.images(), beside.images())
    assert not without.store.exists(SIGNALS_NAME.format(without.shard.identity))


def test_a_run_that_asks_for_no_signals_keeps_its_identity():
    def folder(**embedding):
        config = parse_config({"input": {"shards": "x"}, "output": "y", "embedding": {"model": "demo", **embedding}})
        return embedding_key(config.input, config.embedding, "").folder

    assert folder() == folder(signals=[])
    assert folder(signals=["blur", "phash"]) == folder(signals=["phash", "blur", "phash"]) != folder()
