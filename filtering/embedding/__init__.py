"""Embedding: open_clip models, image decoding, and the vectors of a pool's shards."""
