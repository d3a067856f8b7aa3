"""Images of every format that is decoded, damaged bytewise, and PNGs whose chunks have right checksums all the same."""

import struct
from collections.abc import Iterator
from pathlib import Path

from benchmarks.robustness.fuzz.kinds import ACCEPTED, Input, Kind, must
from filtering.config.limits import MAX_PIXELS
from filtering.embedding.images import Preparation
from filtering.shards.faults import Fault
from tests.support.hostile_images import animated, chunk, encoded, jpeg_with, oriented
from tests.support.mutations import Noise, inside_deflate, mutated

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIDE = 32


class Pictures(Kind):
    """Decodes images and resizes them as for a model, as `Preparation.image` does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.forms = dict(_forms())
        self.whole, self.small = (_preparation(side) for side in (0, SIDE))

    def make(self, noise: Noise) -> Input:
        """Change bytes, or the chunks of a PNG."""
        form = noise.choice([*self.forms])
        data = self.forms[form]
        if form.startswith("png") and noise.random() < 0.7:
            return Input(form, "chunks", _with_chunks(noise, data))
        return Input(form, *mutated(noise, data, [*self.forms.values()]))

    def read(self, given: Input) -> str:
        """Decode whole and by fewer coefficients; both give an image of the model's size or a reason."""
        reasons = []
        for preparation in (self.whole, self.small):
            found = preparation.image(given.data)
            if isinstance(found, Fault):
                must("\n" not in found.detail, "a detail has more than one line")
            else:
                must(found[0].shape == (SIDE, SIDE, 3) and min(found[1].size) > 0, f"the shape is {found[0].shape}")
            reasons.append(found.reason if isinstance(found, Fault) else ACCEPTED)
        return reasons[0]


def _preparation(draft_side: int) -> Preparation:
    # Here: it loads torch.
    from open_clip import image_transform
    from torchvision.transforms import Compose

    resize = Compose(image_transform(SIDE, is_train=False).transforms[:-2])
    return Preparation(resize, lambda captions: captions, SIDE, SIDE, MAX_PIXELS, draft_side)


def _forms() -> Iterator[tuple[str, bytes]]:
    for mode in ("RGB", "L", "CMYK"):
        yield f"jpeg {mode}", encoded("JPEG", mode)
    yield "jpeg progressive", encoded("JPEG", size=(300, 200), progressive=True)
    yield "jpeg 4:4:4", encoded("JPEG", subsampling=0, optimize=True)
    yield "jpeg restarts", encoded("JPEG", size=(200, 100), restart_marker_blocks=4)
    yield "jpeg Exif", oriented()
    yield "jpeg ICC", jpeg_with(b"\xff\xe2\0\x20ICC_PROFILE\0\1\1" + bytes(16), 2)
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"):
        yield f"png {mode}", encoded("PNG", mode)
    yield "png transparent palette", encoded("PNG", "P", transparency=3)
    yield "webp", encoded("WEBP", quality=50)
    yield "webp lossless", encoded("WEBP", "RGBA", lossless=True)
    yield "gif", encoded("GIF", "P")
    yield "avif", encoded("AVIF", speed=10)
    yield "avif alpha", encoded("AVIF", "RGBA", speed=10)
    for kind in ("GIF", "WEBP", "PNG", "AVIF"):
        yield f"{kind.lower()} animated", animated(kind)
    for mode in ("RGB", "L", "P", "1"):
        yield f"bmp {mode}", encoded("BMP", mode)
    for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"tiff {packing}", encoded("TIFF", compression=packing)
    for mode in ("CMYK", "L", "I;16", "I", "F", "RGBA"):
        yield f"tiff {mode}", encoded("TIFF", mode)
    yield "tiff 1", encoded("TIFF", "1", compression="group4")


def _with_chunks(noise: Noise, whole: bytes) -> bytes:
    """Return a PNG of which a chunk is changed, moved, lost or repeated; all have right checksums."""
    chunks = [*_chunks(whole)]
    at = noise.randrange(len(chunks))
    name, data = chunks[at]
    how = noise.choice(["change", "change", "pixels", "lose", "repeat", "move", "rename"])
    if how == "change":
        chunks[at] = name, mutated(noise, data)[1]
    elif how == "pixels":
        at = next(number for number, (name, _) in enumerate(chunks) if name == b"IDAT")
        chunks[at] = b"IDAT", inside_deflate(noise, b"".join(data for name, data in chunks if name == b"IDAT"), 15)
    elif how == "rename":
        chunks[at] = (
            noise.choice([b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"acTL", b"fcTL", b"fdAT", b"eXIf"]),
            data,
        )
    else:
        part = chunks.pop(at) if how in ("lose", "move") else chunks[at]
        chunks[(place := noise.randrange(len(chunks) + 1)) : place] = [part] if how != "lose" else []
    return SIGNATURE + b"".join(chunk(name, data) for name, data in chunks)


def _chunks(whole: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at + 12 <= len(whole):
        (length,) = struct.unpack(">I", whole[at : at + 4])
        yield whole[at + 4 : at + 8], whole[at + 8 : at + 8 + length]
        at += 12 + length
