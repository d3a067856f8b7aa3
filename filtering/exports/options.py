"""What can be asked of an export, and which formats know of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal

from filtering.config.validation import nearest
from filtering.core.errors import InputError

SAMPLES = 10_000
CHUNK_SAMPLES = 2_000
# A status of samples that means every status.
ALL = "all"
STATUSES = ("kept", "dropped", "quarantined", ALL)
# Options that older versions did not have: not given, they are not part of what tells an export from another one.
LATER = ("columns", "status", "repeat")
PARQUET_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `filtering export`; `samples` or `bytes` are those to aim at in each output object.

    `repeat` is whether samples are written as often as the run's weights say. `columns` are the names of a table's
    columns, with commas between them, `status` whose samples it has.
    """

    samples: int | None = None
    bytes: int | None = None
    shuffle: bool = False
    seed: int | None = None
    embeddings: bool = False
    all: bool = False
    no_urls: bool = False
    repeat: bool = False
    columns: str | None = None
    status: str | None = None
    cpus: int | Literal["auto"] = "auto"

    def decisive(self) -> Mapping[str, object]:
        """Return the options that decide what is written."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name != "cpus" and (name not in LATER or value not in (None, False))
        }


KNOWN: Mapping[str, tuple[str, ...]] = {
    "datacomp": ("embeddings", "all", "no_urls"),
    "shards": (),
    "tar": ("samples", "bytes", "shuffle", "seed", "repeat"),
    "parquet": ("samples", "no_urls"),
    "table": ("samples", "columns", "status"),
    "mds": ("samples", "repeat"),
    "litdata": ("samples", "repeat"),
}
# An option that means nothing without another.
NEEDS = {"seed": "shuffle", "all": "embeddings", "no_urls": "embeddings"}


def check_format(form: str, options: Options) -> None:
    """Refuse a format that there is none of, and options that it does not have, with the nearest valid name."""
    if form not in KNOWN:
        raise InputError(f"--format: unknown format {form}{nearest(form, KNOWN)}")
    default = Options()
    for one in fields(Options):
        if one.name == "cpus" or getattr(options, one.name) == getattr(default, one.name):
            continue
        if one.name not in KNOWN[form]:
            *first, last = (form for form, names in KNOWN.items() if one.name in names)
            forms = f"{', '.join(first)} and {last}" if first else last
            raise InputError(f"{flag(one.name)}: is no option of --format {form}; it is one of {forms}")
        other = NEEDS.get(one.name)
        if other in KNOWN[form] and not getattr(options, str(other)):
            raise InputError(f"{flag(one.name)}: means nothing without {flag(str(other))}")
    if options.samples is not None and options.bytes is not None:
        raise InputError("--bytes: give either --samples or --bytes, not both")
    if options.status is not None and options.status not in STATUSES:
        raise InputError(f"--status: unknown status {options.status}{nearest(options.status, STATUSES)}")
    if options.repeat and (options.bytes is not None or options.shuffle):
        raise InputError("--repeat: takes --samples, not --bytes or --shuffle; shuffle while reading")
    for name in ("samples", "bytes"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise InputError(f"{flag(name)}: {value} is not valid; it must be a positive whole number")
    if options.seed is not None and not 0 <= options.seed < 2**32:
        raise InputError(f"--seed: {options.seed} is not valid; it must be a whole number, 0 or more, below 2**32")


def flag(name: str) -> str:
    """Return an option as it is typed."""
    return "--" + name.replace("_", "-")
