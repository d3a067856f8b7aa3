"""The names under which Prometheus scrapes the package's metrics."""

from filtering.runtime.metrics import METRICS


def exported_names() -> frozenset[str]:
    """Return the names of all series, a histogram's three among them."""
    return frozenset(
        f"ray_{name}{suffix}"
        for name, metric in METRICS.items()
        for suffix in (("_bucket", "_count", "_sum") if metric.boundaries else ("",))
    )
