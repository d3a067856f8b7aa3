"""What a file of weights is, told by its first and last bytes before anything loads it."""

import json
import struct
import zipfile
from pathlib import Path

from filtering.core.errors import InputError

SAFETENSORS = ".safetensors"
# A header lists names, types and places; those of the largest models take a few hundred kilobytes.
MAX_HEADER_BYTES = 100 << 20
LFS_POINTER, ZIP, MARKUP = b"version https://git-lfs", b"PK\x03\x04", (b"<", b"{", b"Entry not found")
# What torch.save wrote before it wrote zip archives begins with a pickle of this number.
OLD_TORCH = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def check_weights(key: str, path: str) -> None:
    """Refuse a file that cannot be weights, in one line with the configuration's key; InputError."""
    try:
        fault = _fault(Path(path))
    except OSError as error:
        fault = f"cannot be read ({error.strerror or error})"
    if fault:
        raise InputError(f"{key}: {path} {fault}")


def _fault(path: Path) -> str:
    """Return what is wrong with a file, nothing if it may be weights."""
    with path.open("rb") as stream:
        start = stream.read(64)
    if not start:
        return "is empty; download it again"
    if start.startswith(LFS_POINTER):
        return "is a Git LFS pointer, not the weights; fetch them with: git lfs pull"
    if start.startswith(ZIP):
        return "is a file of torch.save; name it .pt" if path.suffix == SAFETENSORS else _zip_fault(path)
    if OLD_TORCH in start or path.suffix in (".npz", ".npy"):
        return ""
    fault = _safetensors_fault(path)
    if not fault:
        return "" if path.suffix == SAFETENSORS else f"is in the format of safetensors; name it {SAFETENSORS}"
    # The length that safetensors begin with may look like a letter, but zeros follow it.
    if start.lstrip().startswith(MARKUP) and b"\0" not in start:
        return "is text (a web page or JSON), not weights; download it again"
    return fault if path.suffix == SAFETENSORS else "is neither a file of torch.save nor of safetensors"


def _safetensors_fault(path: Path) -> str:
    size, cut = path.stat().st_size, "is no whole safetensors file; download it again"
    with path.open("rb") as stream:
        length = stream.read(8)
        (header_bytes,) = struct.unpack("<Q", length.ljust(8, b"\0"))
        if len(length) < 8 or header_bytes > min(size - 8, MAX_HEADER_BYTES):
            return cut
        try:
            header = json.loads(stream.read(header_bytes))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            expected = 8 + header_bytes + max(ends, default=0)
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
            return cut
    if not ends:
        return "holds no weights"
    return f"is cut off: {size:,} of {expected:,} bytes; download it again" if size < expected else ""


def _zip_fault(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError):
        return "is cut off or damaged; download it again"
    if "constants.pkl" in names:
        return (
            "is a TorchScript archive, whose code is not run; save its weights with: "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW). OpenAI's were trained with QuickGELU"
        )
    known = "data.pkl" in names or (path.suffix == ".npz" and any(name.endswith(".npy") for name in names))
    return "" if known else "is a zip archive, but not one of torch.save"
