"""Stages as `filtering.planning.plan` returns them."""


def stage(name, seconds, memory, price=None):
    sizes = {"disk_bytes": 5_000_000, "shuffle_bytes": 0, "memory_per_task_bytes": memory}
    return {"name": name, "seconds": seconds, "cpu_seconds": 2 * seconds, "gpu_seconds": 0.0, "price": price, **sizes}


STAGES = (stage("embedding", 25.0, 1_000_000_000), stage("graph", 75.0, 500_000_000))
