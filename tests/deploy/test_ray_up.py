import copy
import re
from pathlib import Path

import boto3
import botocore.session
import pytest
import yaml
from autoscaled import started
from botocore.validate import ParamValidator
from moto import mock_aws
from ray.autoscaler._private.aws import node_provider
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.scripts.scripts import start

WRITTEN = (Path(__file__).parents[2] / "cluster.yaml").read_text()
CLUSTER = yaml.safe_load(WRITTEN)
TYPES = CLUSTER["available_node_types"]
WORKERS = {name: kind for name, kind in TYPES.items() if name != CLUSTER["head_node_type"]}


@pytest.fixture(scope="module")
def prepared():
    """The configuration as `ray up` completes it: with Ray's defaults, and what AWS says of the machines."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_ACCESS_KEY_ID", "none")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        machines = sorted({kind["node_config"]["InstanceType"] for kind in TYPES.values()})
        ec2 = boto3.client("ec2", CLUSTER["provider"]["region"])
        known = ec2.describe_instance_types(InstanceTypes=machines)["InstanceTypes"]
        # Ray asks for all types there are, page by page; these are the ones it then looks up.
        patch.setattr(node_provider, "list_ec2_instances", lambda region, credentials: known)
        config = prepare_config(copy.deepcopy(CLUSTER))
        validate_config(config)
        return node_provider.AWSNodeProvider.fillout_available_node_types_resources(config)


@pytest.fixture(scope="module")
def autoscaling(prepared):
    return AutoscalingConfig(prepared, skip_content_hash=True)


@pytest.mark.slow
def test_the_head_takes_no_task(prepared):
    head = prepared["available_node_types"]["head"]
    assert head["resources"]["CPU"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]


def test_nothing_runs_while_nothing_is_asked_for(prepared, autoscaling):
    assert {kind["min_workers"] for kind in prepared["available_node_types"].values()} == {0}
    assert started(autoscaling, {"CPU": 1}, 0) == {}


@pytest.mark.parametrize(
    ("demand", "machine"), [({"CPU": 1}, "cpu"), ({"CPU": 1, "memory": 40 << 30}, "cpu"), ({"GPU": 1}, "gpu")]
)
def test_a_task_starts_a_spot_machine_of_its_kind_and_another_where_spot_fails(autoscaling, demand, machine):
    assert started(autoscaling, demand, 1) == {f"{machine}-spot": 1}
    assert started(autoscaling, demand, 1, failed=(f"{machine}-spot",)) == {f"{machine}-on-demand": 1}


@pytest.mark.parametrize("machine", ["cpu", "gpu"])
def test_spot_and_its_fallback_are_the_same_machine(machine):
    spot, on_demand = (TYPES[f"{machine}-{market}"]["node_config"] for market in ("spot", "on-demand"))
    assert spot == on_demand | {"InstanceMarketOptions": {"MarketType": "spot"}}
    assert spot["InstanceType"] == on_demand["InstanceType"]


def test_gpu_machines_run_the_gpu_image_and_all_others_the_cpu_image(autoscaling):
    images = {name: autoscaling.get_docker_config(name)["image"] for name in TYPES}
    assert {name: image.rpartition("-")[2] for name, image in images.items()} == {
        "head": "cpu",
        "cpu-on-demand": "cpu",
        "cpu-spot": "cpu",
        "gpu-on-demand": "gpu",
        "gpu-spot": "gpu",
    }


@pytest.mark.parametrize("name", TYPES)
def test_ec2_knows_every_setting_of_a_machine(name):
    run_instances = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances")
    settings = TYPES[name]["node_config"] | {"MinCount": 1, "MaxCount": 1}
    # botocore lets unknown names pass: only their values are checked.
    assert settings.keys() <= run_instances.input_shape.members.keys()
    assert not ParamValidator().validate(settings, run_instances.input_shape).has_errors()


def test_machines_get_their_rights_from_roles_and_their_software_from_the_image():
    roles = {name: kind["node_config"]["IamInstanceProfile"]["Name"] for name, kind in TYPES.items()}
    assert roles.pop("head") not in roles.values()
    assert len(set(roles.values())) == 1
    assert [CLUSTER[key] for key in ("setup_commands", "head_setup_commands", "worker_setup_commands")] == [[], [], []]
    assert not any(word in WRITTEN.lower() for word in ("secret_access_key", "access_key_id", "akia", "password"))


@pytest.mark.parametrize("commands", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_every_node_has_a_known_metrics_port_and_an_object_store_that_fits_its_shared_memory(commands):
    options = dict(re.findall(r"(--[\w-]+)(?:=(\S+))?", CLUSTER[commands][-1]))
    assert options.keys() - {name for option in start.params for name in option.opts} == set()
    assert options["--metrics-export-port"] == "8080"
    store = int(options["--object-store-memory"])
    assert CLUSTER["docker"]["run_options"][0] == "--shm-size=2g"
    assert store < 2 << 30
