"""What a file is that is no tar, told from how it begins."""

COMPRESSED = "is compressed with {}, of which only gzip is read; unpack it, or pack it again with gzip"
KINDS = {
    b"\x28\xb5\x2f\xfd": COMPRESSED.format("zstd"),
    b"\xfd7zXZ\0": COMPRESSED.format("xz"),
    b"BZh": COMPRESSED.format("bzip2"),
    b"\x04\x22\x4d\x18": COMPRESSED.format("lz4"),
    b"\x5d\0\0": COMPRESSED.format("lzma"),
    b"\x1f\x9d": COMPRESSED.format("compress"),
    b"\x1f\x8b": "is compressed with gzip twice; unpack it once",
    b"PK\x03\x04": "is a zip file; pack its files as a tar",
    b"7z\xbc\xaf\x27\x1c": "is a 7z file; pack its files as a tar",
    b"Rar!": "is a rar file; pack its files as a tar",
    b"PAR1": "is a parquet file; name it in input.metadata (with an npz) or input.tables (with vectors)",
    b"version https://git-lfs": "is a pointer of Git LFS, not the object; fetch it with git lfs pull",
    b"<!doctype": "is a web page, perhaps what a server said instead of the object",
    b"<html": "is a web page, perhaps what a server said instead of the object",
    b"<?xml": "is XML, perhaps what a server said instead of the object",
}
LONGEST = max(map(len, KINDS))


def foreign_kind(first: bytes) -> str:
    """Return in words what a file is that begins with some bytes and is no tar, nothing if that is not known."""
    # Markup is in capitals or not; a signature's letters are as they are.
    beginnings = (first, first.lower() if first.startswith(b"<") else first)
    return next((words for begin, words in KINDS.items() if any(one.startswith(begin) for one in beginnings)), "")
