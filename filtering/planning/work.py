"""The pool of a plan, and the sizes that follow from it: replicas, copies, partitions, distances."""

from dataclasses import dataclass

from filtering.concepts.kmeans import POINTS_PER_CENTROID, SHALLOW_CLUSTERS, coarse_groups
from filtering.concepts.nearest import DEEP_PROBES, FEW_GROUPS, probed_groups
from filtering.concepts.packing import automatic_partition_rows

# A multiplication and addition of float32 products (exact search of the sampled rows, training).
MULTIPLY_SECONDS = 1.6e-11
# The same of whole numbers, where rows are compared with centroids; and with millions, which lie in no cache.
COMPARE_SECONDS, COMPARE_FAR_SECONDS = 2.7e-11, 5.4e-11
# Replicas depend on the data, and grow with the number of concepts up to `graph.mean_replicas`: as in
# benchmarks.lib.pool_like.
REPLICAS_OF_100_CONCEPTS, REPLICAS_POWER = 1.66, 0.28
# The part of the replicas that lies in another partition, so that the row travels there too: 0.98 c^-0.29, with c
# concepts a partition.
TRAVELLING, TRAVELLING_POWER = 0.98, -0.29
# Concepts differ in size: the mean over rows of the size of their concept, over the mean size; replicas go to large
# ones.
UNEVEN = 1.2


@dataclass(frozen=True, slots=True)
class Work:
    """The pool and the settings that the formulas of `costs` depend on."""

    rows: int  # of the pool
    largest_shard: int  # rows of the largest shard
    dimension: int  # of the vectors
    clusters: int  # concepts
    # k, max_replicas, mean_replicas: of the graph, as configured
    k: int
    max_replicas: int
    mean_replicas: float
    partition_rows: int | None = None  # rows a partition may hold, replicas included; None for automatic
    most_replicas: bool = False  # whether a row has `mean_replicas`, as over captions, whose neighbours lie far apart

    @property
    def replicas(self) -> float:
        """Replicas a row."""
        usual = REPLICAS_OF_100_CONCEPTS * (self.clusters / 100) ** REPLICAS_POWER
        wanted = self.mean_replicas if self.most_replicas else float(usual)
        return max(0.0, min(wanted, self.mean_replicas, self.max_replicas - 1.0, self.clusters - 1.0))

    @property
    def copies(self) -> float:
        """Rows that travel, each once for every partition."""
        together = self.partition_limit * self.clusters / max(self.rows * (1 + self.replicas), 1)
        share = min(1.0, TRAVELLING * max(together, 1.0) ** TRAVELLING_POWER) if together < self.clusters else 0.0
        return float(self.rows * (1 + share * self.replicas))

    @property
    def partition_limit(self) -> int:
        """Rows of a partition, replicas included: as configured, or one whole concept, up to 4 times the mean."""
        members = int(self.rows * (1 + self.replicas))
        limit = self.partition_rows or automatic_partition_rows(members)
        return min(members, max(limit, 4 * members // max(self.clusters, 1)))

    @property
    def sample(self) -> int:
        """Rows that centroids are trained on."""
        return min(self.rows, self.clusters * POINTS_PER_CENTROID)

    @property
    def is_deep(self) -> bool:
        """Whether the groups of centroids lie in groups."""
        return self.clusters > SHALLOW_CLUSTERS

    @property
    def compared(self) -> float:
        """Centroids, and centres of groups, that a row is compared with."""
        groups = coarse_groups(self.clusters)
        if groups <= FEW_GROUPS:
            return self.clusters
        if not self.is_deep:
            return float(groups + probed_groups(groups) * self.clusters / groups)
        return float((1 + sum(DEEP_PROBES)) * self.clusters**0.25)

    @property
    def assignment_seconds(self) -> float:
        """Seconds that finding a row's nearest centroids takes, on the reference machine."""
        return self.compared * self.dimension * (COMPARE_FAR_SECONDS if self.is_deep else COMPARE_SECONDS)

    @property
    def index_bytes(self) -> float:
        """Memory of the index over centroids, and of what is known of each; the centroids themselves are mapped."""
        groups = self.clusters**0.75 if self.is_deep else coarse_groups(self.clusters)
        mapped = 2 * self.dimension * self.clusters
        return 24 * self.clusters + 2.2 * self.dimension * groups + (0 if self.is_deep else mapped)

    @property
    def distances(self) -> float:
        """Distances that the neighbour search computes: half of all pairs of a concept, and rows times replicas."""
        return self.rows * self.rows / max(self.clusters, 1) * UNEVEN * (0.5 + self.replicas)
