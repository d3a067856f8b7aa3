"""Shards: the inventory of a pool, safe readers of tars and DataComp metadata, a tar writer."""
