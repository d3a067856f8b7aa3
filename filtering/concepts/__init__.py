"""Concepts: spherical k-means over image embeddings, assignment, and partitioning by concept cluster."""
