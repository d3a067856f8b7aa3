"""What runs every night: `python jobs/nightly.py --config URL [--set KEY=VALUE]`.

The same as `filtering run`, with `base: latest` unless the configuration or --set says what the base is (`null`: none).
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence

from filtering.cli import command
from filtering.core.errors import InputError


def with_base(given: Sequence[str]) -> list[str]:
    """Return the arguments of `filtering run`, with a base if they have none."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config", default="")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    known = parser.parse_known_args(given)[0]
    # What is wrong with them, or with the Python that this is, `filtering run` says.
    with contextlib.suppress(InputError, ImportError):
        from filtering.config.run import parse_config
        from filtering.config.settings_file import read_settings

        if "base" not in parse_config(read_settings(known.config, known.overrides).data).model_fields_set:
            return [*given, "--set", "base=latest"]
    return list(given)


if __name__ == "__main__":
    command(["run", *with_base(sys.argv[1:])])
