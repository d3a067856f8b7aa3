"""Tars byte for byte, and what is read of them."""

import io
import tarfile

from tar_members import read_members

from filtering.shards.tar import BLOCK

FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}


def everything(name):
    return 1 << 30


def tar_of(members, kind="pax"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[kind]) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1.5 if kind == "pax" else 1
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def header(name, kind, size=0, **fields):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def padded(data):
    return data + bytes(-len(data) % BLOCK)


def members_of(data, limit_of=everything, **options):
    return list(read_members(io.BytesIO(data), limit_of, **options))


def faults(members):
    return [member.fault.reason for member in members if member.fault]


LONG = "folder/" * 10 + "x" * 60 + ".jpg"
MEMBERS = [
    ("0001.jpg", b"\xff" * 700),
    ("0001.json", b"{}"),
    ("0001.txt", b"a cat"),
    (LONG, bytes(range(256)) * 4),
    ("empty.txt", b""),
    ("caf\u00e9.txt", b"x" * 512),
]
