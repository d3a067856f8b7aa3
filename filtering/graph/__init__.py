"""Graphs of k nearest neighbours over embeddings: the value, the exact search, the sharded graph and its recall."""

from filtering.core.csr import KnnGraph
from filtering.graph.knn import knn_graph

__all__ = ["KnnGraph", "knn_graph"]
