"""Tars of small samples, and what is read from their bytes."""

import io
import json
import tarfile

from filtering.shards.samples import Quarantined, Sample, read_samples

SHARD = "00000000.tar"
FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}


def tar_of(*members, kind="pax"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[kind]) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read(data, **options):
    found = list(read_samples(io.BytesIO(data), SHARD, **options))
    return (
        [one for one in found if isinstance(one, Sample)],
        [one for one in found if isinstance(one, Quarantined)],
    )


def only_fault(*members):
    samples, quarantined = read(tar_of(*members))
    assert samples == []
    assert len(quarantined) == 1
    return quarantined[0]


def pair(key, image=b"image", caption=b"a cat"):
    return [(f"{key}.jpg", image), (f"{key}.txt", caption)]


def uid_of(number):
    return f"{number + 1:032x}"


def sample(number, order=("jpg", "json", "txt")):
    members = {
        "jpg": bytes([number]) * (300 + 200 * number),
        "json": json.dumps({"uid": uid_of(number), "width": 3}).encode(),
        "txt": f"caption {number} \u732b".encode(),
    }
    return [(f"{number:06d}.{extension}", members[extension]) for extension in order]


def many(count, order=("jpg", "json", "txt"), kind="pax"):
    return tar_of(*(member for number in range(count) for member in sample(number, order)), kind=kind)


def expected_samples(count):
    return [
        Sample(uid_of(n), f"{n:06d}", f"caption {n} \u732b", bytes([n]) * (300 + 200 * n), f"{n:06d}.jpg")
        for n in range(count)
    ]
