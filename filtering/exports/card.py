"""The dataset card of an export: README.md, by which Hugging Face's `datasets` and its Hub read the folder."""

from filtering.exports.job import CARD, Export

TEMPLATE = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: "{pattern}"
---

# {title}

{count}. Written by `filtering export --format {form}`.

- run: {run_id}
- configuration: {config_hash}
- manifest: {manifest_hash}

`datasets.load_dataset(FOLDER, split="train", streaming=True)` reads this folder, or its copy on the Hub.
"""


def write_card(
    export: Export, form: str, pattern: str, samples: int, title: str = "Kept image-text pairs", distinct: int = 0
) -> None:
    """Write the card; `pattern` matches the files that hold the samples, `distinct` are those that are no repeats."""
    count = f"{distinct:,} samples, repeated to {samples:,}" if distinct not in (0, samples) else f"{samples:,} samples"
    text = TEMPLATE.format(pattern=pattern, title=title, count=count, form=form, **export.run.origin())
    export.out.write(CARD, text.encode())
