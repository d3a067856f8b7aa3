import re
from pathlib import Path

import pytest
import yaml
from autoscaled import started
from kubernetes import client
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.scripts.scripts import start

ROOT = Path(__file__).parents[2]
ACCOUNT, JOB = yaml.safe_load_all((ROOT / "jobs/kuberay/rayjob.yaml").read_text())
CLUSTER = JOB["spec"]["rayClusterSpec"]
WORKERS = {group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}
GROUPS = {"head": CLUSTER["headGroupSpec"], **WORKERS}
PODS = {name: group["template"]["spec"] for name, group in GROUPS.items()}

# The fields of KubeRay 1.7's resource, ray.io/v1, down to where Kubernetes' own begin.
FIELDS = {
    "job": """activeDeadlineSeconds backoffLimit clusterSelector deletionStrategy entrypoint entrypointNumCpus
        entrypointNumGpus entrypointResources jobId managedBy metadata preRunningDeadlineSeconds rayClusterSpec
        runtimeEnvYAML shutdownAfterJobFinishes submissionMode submitterConfig submitterPodTemplate suspend
        ttlSecondsAfterFinished""",
    "cluster": """authOptions autoscalerOptions enableInTreeAutoscaling gcsFaultToleranceOptions headGroupSpec
        headServiceAnnotations historyServerOptions managedBy networkPolicy rayVersion suspend tlsOptions
        upgradeStrategy workerGroupSpecs""",
    "auth": "enableK8sTokenAuth mode secretName",
    "autoscaler": """args command env envFrom idleTimeoutSeconds image imagePullPolicy resources securityContext
        upscalingMode version volumeMounts""",
    "head": "enableIngress headService ingressOptions labels rayStartParams resources serviceType template",
    "worker": """groupName idleTimeoutSeconds labels maxReplicas minReplicas numOfHosts priority rayStartParams
        replicas resources scaleStrategy suspend template""",
}
SCALARS = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def _faults(value, kind, at):
    """Return what in a value does not fit one of the Kubernetes client's types, each with its place."""
    if held := re.fullmatch(r"(list|dict)\[(?:str, )?(\w+)\]", kind):
        if not isinstance(value, {"list": list, "dict": dict}[held[1]]):
            return [f"{at}: is no {held[1]}"]
        items = enumerate(value) if held[1] == "list" else value.items()
        return [fault for key, item in items for fault in _faults(item, held[2], f"{at}.{key}")]
    if kind in SCALARS:
        return [] if isinstance(value, SCALARS[kind]) else [f"{at}: {value!r} is no {kind}"]
    model = getattr(client, kind)
    kinds = {model.attribute_map[name]: of for name, of in model.openapi_types.items()}
    unknown = [f"{at}.{key}: no such field" for key in value if key not in kinds]
    try:
        model(**{name: value.get(key) for name, key in model.attribute_map.items()})
    except ValueError as error:
        # "Invalid value for `name`, must not be `None`"
        unknown.append(f"{at}: {error}")
    return unknown + [
        fault for key, item in value.items() if key in kinds for fault in _faults(item, kinds[key], f"{at}.{key}")
    ]


@pytest.fixture(scope="module")
def autoscaling():
    described = {"metadata": {"name": "cluster", "namespace": "namespace"}, "spec": CLUSTER}
    return AutoscalingConfig(_derive_autoscaling_config_from_ray_cr(described), skip_content_hash=True)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("job", JOB["spec"]),
        ("cluster", CLUSTER),
        ("auth", CLUSTER["authOptions"]),
        ("autoscaler", CLUSTER["autoscalerOptions"]),
        ("head", CLUSTER["headGroupSpec"]),
        *(("worker", group) for group in WORKERS.values()),
    ],
)
def test_kuberay_knows_every_field(kind, value):
    assert value.keys() - set(FIELDS[kind].split()) == set()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("V1ServiceAccount", ACCOUNT),
        ("V1ObjectMeta", JOB["metadata"]),
        ("V1ResourceRequirements", CLUSTER["autoscalerOptions"]["resources"]),
        ("V1SecurityContext", CLUSTER["autoscalerOptions"]["securityContext"]),
        *(("V1PodTemplateSpec", group["template"]) for group in GROUPS.values()),
        *(("dict[str, str]", group["rayStartParams"]) for group in GROUPS.values()),
    ],
)
def test_kubernetes_knows_every_field_and_its_type(kind, value):
    assert _faults(value, kind, kind) == []


def test_ray_knows_every_start_parameter():
    given = {f"--{name}" for group in GROUPS.values() for name in group["rayStartParams"]}
    assert given - {name for option in start.params for name in option.opts} == set()


def test_a_wrong_field_or_type_would_be_found():
    pod = {"containers": [{"nam": "ray", "resources": {"limits": {"cpu": 4}}}], "restartPolicy": "Never"}
    assert _faults(pod, "V1PodSpec", "pod") == [
        "pod.containers.0.nam: no such field",
        "pod.containers.0: Invalid value for `name`, must not be `None`",
        "pod.containers.0.resources.limits.cpu: 4 is no str",
    ]


def test_the_head_takes_no_task_and_nothing_runs_while_nothing_is_asked_for(autoscaling):
    assert autoscaling.get_node_resources("headgroup")["CPU"] == 0
    assert {(group["replicas"], group["minReplicas"]) for group in WORKERS.values()} == {(0, 0)}
    assert started(autoscaling, {"CPU": 1}, 0) == {}


@pytest.mark.parametrize(("demand", "group"), [({"CPU": 1, "memory": 40 << 30}, "cpu"), ({"GPU": 1}, "gpu")])
def test_a_task_starts_a_worker_of_its_kind(autoscaling, demand, group):
    assert CLUSTER["enableInTreeAutoscaling"]
    assert started(autoscaling, demand, 1) == {group: 1}


@pytest.mark.parametrize("group", GROUPS)
def test_pods_reserve_what_ray_counts_on(group):
    resources = PODS[group]["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]
    assert ("nvidia.com/gpu" in resources["limits"]) == (group == "gpu")
    assert PODS[group]["containers"][0]["image"].endswith("-gpu" if group == "gpu" else "-cpu")


@pytest.mark.parametrize("group", GROUPS)
def test_pods_have_shared_memory_for_the_object_store(group):
    (mount,) = PODS[group]["containers"][0]["volumeMounts"]
    (volume,) = PODS[group]["volumes"]
    assert (mount["mountPath"], mount["name"]) == ("/dev/shm", volume["name"])
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert int(GROUPS[group]["rayStartParams"]["object-store-memory"]) < 2 << 30


@pytest.mark.parametrize("group", GROUPS)
def test_pods_are_not_root_and_reach_storage_by_their_role(group):
    rights = PODS[group]["securityContext"]
    assert rights["runAsNonRoot"]
    assert rights["runAsUser"] == 1000
    assert PODS[group]["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert PODS[group]["serviceAccountName"] == ACCOUNT["metadata"]["name"]
    assert "env" not in PODS[group]["containers"][0]
    assert "eks.amazonaws.com/role-arn" in ACCOUNT["metadata"]["annotations"]


def test_the_entry_point_is_what_the_image_has():
    interpreter, script, *arguments = JOB["spec"]["entrypoint"].split()
    assert interpreter == "python"
    assert "WORKDIR /srv/filtering\n" in (ROOT / "docker/Dockerfile").read_text()
    assert (ROOT / Path(script).relative_to("/srv/filtering")).is_file()
    assert arguments[0] == "--config"


def test_the_cluster_ends_with_the_job():
    assert JOB["spec"]["shutdownAfterJobFinishes"]
    assert JOB["spec"]["ttlSecondsAfterFinished"] > 0
    assert JOB["spec"]["activeDeadlineSeconds"] > JOB["spec"]["preRunningDeadlineSeconds"]
