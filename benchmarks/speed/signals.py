"""The signals of pictures, beside what decoding and resizing the same pictures takes.

    python -m benchmarks.speed.signals [--pictures N] [--sizes WxH ...] [--text] [--rounds N] [--json OUT] [--plot OUT]

Prints milliseconds of one thread a picture: medians of the rounds. With `--text` text is looked for, too.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial

from PIL import Image

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import seconds_of
from filtering.config.embedding import Embedding
from filtering.embedding.images import Preparation, decode_image
from filtering.embedding.model import ClipModel
from filtering.embedding.signals import SIGNALS, measured
from filtering.embedding.text_share import SIGNAL as TEXT
from filtering.shards.faults import Fault
from tests.support.pools import photo

EXACT = ("pixel_hash",)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--sizes", nargs="+", default=["800x600", "1600x1200"], metavar="WxH")
    parser.add_argument("--text", action="store_true", help="look for text, too: needs the package rapidocr")
    parser.add_argument("--rounds", type=int, default=7)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    preparation = ClipModel(Embedding(model="demo")).preparation
    groups = [[name for name in SIGNALS if name not in (*EXACT, TEXT)], *([name] for name in EXACT)]
    groups += [[TEXT]] if given.text else []
    rows = [row for size in given.sizes for row in _rows(size, preparation, groups, given.pictures, given.rounds)]
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return 0


def _rows(
    size: str, preparation: Preparation, groups: Sequence[Sequence[str]], pictures: int, rounds: int
) -> list[Row]:
    width, height = map(int, size.split("x"))
    data = [photo(width, height, seed) for seed in range(pictures)]
    whole = [decoded.image for one in data if not isinstance(decoded := decode_image(one), Fault)]
    works: dict[str, Callable[[], object]] = {"decoded and resized": lambda: [preparation.image(one) for one in data]}
    works |= {", ".join(names): partial(_measure, whole, names) for names in groups}
    seconds = {name: statistics.median(seconds_of(work) for _ in range(rounds)) for name, work in works.items()}
    return [
        {"work": name, "size": size, "ms": round(1000 * taken / pictures, 1), "seconds": taken / pictures}
        for name, taken in seconds.items()
    ]


def _measure(images: Sequence[Image.Image], names: Sequence[str]) -> None:
    for image in images:
        if isinstance(found := measured(image, names), Fault):
            sys.exit(found.detail)


if __name__ == "__main__":
    raise SystemExit(main())
