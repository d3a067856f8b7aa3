"""Default limits on untrusted input, which the configuration may change."""

# Pixels of one image. Its header declares them, so a larger image is refused before it is decoded.
MAX_PIXELS = 64_000_000
# Bytes of one encoded image.
MAX_IMAGE_BYTES = 128 << 20
