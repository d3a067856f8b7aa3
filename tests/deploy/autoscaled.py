"""What Ray's own autoscaler makes of a cluster's description; no machine is started."""

from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil


def started(config: AutoscalingConfig, demand: dict[str, int], count: int, failed: tuple[str, ...] = ()) -> dict:
    """Return how many machines of each type are started for `count` tasks of a demand on an empty cluster."""
    request = SchedulingRequest(
        node_type_configs=config.get_node_type_configs(),
        max_num_nodes=config.get_max_num_nodes(),
        disable_launch_config_check=True,
        resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make(demand)] * count),
        recoverable_resource_availabilities=dict.fromkeys(failed, 0.0),
    )
    return {launch.instance_type: launch.count for launch in ResourceDemandScheduler().schedule(request).to_launch}
