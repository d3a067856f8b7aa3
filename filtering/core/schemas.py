"""The schema of every table that crosses a station, once."""

from collections.abc import Iterable

import pyarrow as pa

from filtering.core.fields import ENCODER_SCORE, FACES, FIELD, MASKED, MASKED_SIGNAL, score_column

# Embedding -> everything after: a row for each sample that has an embedding, in the shard's own order.
# `source_row` is the row of its vectors in the shard's arrays; `content` is `filtering.core.uids.content_hash`;
# `url` is where the image was loaded from, as the pool says; `sha256` is that of its bytes, in hex, of tables what they
# say. Both are null where the pool says none; the last three are missing where an older version embedded the shard.
ROWS = pa.schema(
    [
        ("uid", pa.string()),
        ("key", pa.string()),
        ("caption", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("source_row", pa.int32()),
        ("clip_score", pa.float32()),
        ("content", pa.uint64()),
        ("url", pa.string()),
        ("sha256", pa.string()),
    ]
)

# Beside ROWS, a row for each of its rows: what was computed of each picture, as far as a run asks for it, by the name
# of the signal (`embedding.signals`). Hashes are those of `filtering.embedding.signals`, all else is from 0 to 1.
SIGNALS = {
    "phash": pa.schema([("phash", pa.uint64())]),
    "pixel_hash": pa.schema([("pixel_hash", pa.uint64())]),
    "blur": pa.schema([("blur", pa.float32())]),
    "luminance": pa.schema([("luminance", pa.float32()), ("dark", pa.float32()), ("light", pa.float32())]),
    "entropy": pa.schema([("entropy", pa.float32())]),
    "text_share": pa.schema([("text_share", pa.float32())]),
    MASKED_SIGNAL: pa.schema([(score_column(MASKED), pa.float32())]),
}
# Beside them, what the pool says of each sample (`input.fields`): a number, or of FACES the boxes of faces, in shares
# of the picture's sides; null where it says nothing.


def field_type(name: str) -> pa.DataType:
    """Return the type of the column of a field."""
    return pa.list_(pa.list_(pa.float32(), 4)) if name == FACES else pa.float64()


def beside_rows(signals: Iterable[str], fields: Iterable[str], encoders: Iterable[str] = ()) -> pa.Schema:
    """Return the columns of signals, of fields and of encoders' scores that stand beside rows."""
    computed = [column for name in signals for column in SIGNALS[name]]
    scores = [pa.field(ENCODER_SCORE.format(name), pa.float32()) for name in encoders]
    return pa.schema([*computed, *scores, *((FIELD.format(name), field_type(name)) for name in fields)])


def column_beside(name: str) -> pa.Field | None:
    """Return the column of that name if it stands beside rows, None if it does not."""
    if name.startswith(FIELD.format("")):
        return pa.field(name, field_type(name.removeprefix(FIELD.format(""))))
    if name.startswith(ENCODER_SCORE.format("")):
        return pa.field(name, pa.float32())
    return next((schema.field(name) for schema in SIGNALS.values() if name in schema.names), None)


# Shards, embedding, filters -> manifests: what cannot be used, and why. `key` is null when a whole shard,
# or the rest of one, is meant; `member` is the tar member at fault, or the key.
QUARANTINED = pa.schema(
    [
        ("shard", pa.string()),
        ("member", pa.string()),
        ("key", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)

# Filters -> concepts and manifests: a row for each row of ROWS; null where the sample goes on.
REASONS = pa.schema([("reason", pa.string())])

# Concepts -> partitions, selection, report: one row for each concept cluster.
CONCEPTS = pa.schema(
    [
        ("concept", pa.int32()),
        ("size", pa.int64()),
        ("guests", pa.int64()),
        ("d_intra", pa.float64()),
        ("d_inter", pa.float64()),
        ("partition", pa.int32()),
    ]
)

# Measures -> the page: a line for each concept; `spread` is null where no dropped sample has a kept neighbour.
MEASURES = pa.schema(
    [
        ("concept", pa.int32()),
        ("size", pa.int64()),
        ("kept", pa.int64()),
        ("random", pa.int64()),
        ("spread", pa.float64()),
        ("random_spread", pa.float64()),
    ]
)

# Manifests: what a run leaves behind (the user's tables).
KEPT = pa.schema(
    [
        ("uid", pa.string()),
        ("key", pa.string()),
        ("shard", pa.string()),
        ("concept", pa.int32()),
        ("score", pa.float32()),
        ("rank", pa.int64()),
    ]
)
# The kept samples of the pool in the order of their uids, a table for each range of these; `shard` is the line of
# shards.jsonl, counted from 0.
BY_UID = pa.schema([("uid", pa.string()), ("key", pa.string()), ("shard", pa.int32())])
# KEPT where samples are weighed: how often each is seen in an epoch, 1 or more.
REPEATED = KEPT.append(pa.field("repeat", pa.int32()))
DROPPED = pa.schema([("uid", pa.string()), ("key", pa.string()), ("shard", pa.string()), ("reason", pa.string())])
