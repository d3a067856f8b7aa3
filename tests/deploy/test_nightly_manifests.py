import copy
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from zoneinfo import ZoneInfo

import pytest
import yaml
from test_rayjob import FIELDS, _faults

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "jobs/kuberay"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
LOCAL = "config.kubernetes.io/local-config"


def patched(resource, patch):
    """Return a resource after the operations of a JSON patch."""
    resource = copy.deepcopy(resource)
    for step in yaml.safe_load(patch):
        *parents, last = step["path"].strip("/").split("/")
        held = resource
        for name in parents:
            held = held[int(name) if isinstance(held, list) else name]
        assert (last in held) == (step["op"] != "add"), step
        if step["op"] == "remove":
            del held[last]
        else:
            held[last] = step["value"]
    return resource


def built():
    """Return what kustomize makes of the folder, by kind; only what the folder uses of kustomize is known here."""
    found = {}
    for name in KUSTOMIZATION["resources"]:
        for resource in yaml.safe_load_all((FOLDER / name).read_text()):
            found.setdefault(resource["kind"], []).append(resource)
    for patch in KUSTOMIZATION["patches"]:
        kind = patch["target"]["kind"]
        found[kind] = [patched(resource, patch["patch"]) for resource in found[kind]]
    for copied in KUSTOMIZATION["replacements"]:
        (source,) = found[copied["source"]["kind"]]
        (target,) = copied["targets"]
        for resource in found[target["select"]["kind"]]:
            assert target["fieldPaths"] == ["spec.jobTemplate"]
            resource["spec"]["jobTemplate"] = copy.deepcopy(source[copied["source"]["fieldPath"]])
    applied = {
        kind: [resource for resource in resources if LOCAL not in resource["metadata"].get("annotations", {})]
        for kind, resources in found.items()
    }
    return {kind: resources for kind, resources in applied.items() if resources}


BUILT = built()
(RAYCRONJOB,), (CRONJOB,), (ROLE,), (BINDING,) = (
    BUILT[kind] for kind in ("RayCronJob", "CronJob", "Role", "RoleBinding")
)
JOB = RAYCRONJOB["spec"]["jobTemplate"]
NIGHT = CRONJOB["spec"]["jobTemplate"]["spec"]
POD = NIGHT["template"]["spec"]
(CONTAINER,) = POD["containers"]


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kustomize_makes_the_same():
    made = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=True).stdout
    known = [resource for resources in BUILT.values() for resource in resources]
    assert sorted(yaml.safe_load_all(made), key=str) == sorted(yaml.safe_load_all(yaml.dump_all(known)), key=str)


def test_nothing_runs_that_is_not_started_by_the_clock():
    assert "RayJob" not in BUILT
    assert CRONJOB["spec"]["suspend"] != RAYCRONJOB["spec"]["suspend"]
    assert CRONJOB["spec"]["schedule"] == RAYCRONJOB["spec"]["schedule"]


def test_kuberay_knows_every_field():
    assert RAYCRONJOB.keys() == {"apiVersion", "kind", "metadata", "spec"}
    # KubeRay 1.7's resource, whose name may have 36 characters: it adds the minute to each job's.
    assert RAYCRONJOB["spec"].keys() <= {"jobTemplate", "schedule", "suspend", "timeZone"}
    assert JOB.keys() <= set(FIELDS["job"].split())
    assert len(RAYCRONJOB["metadata"]["name"]) <= 36


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("V1ServiceAccount", account) for account in BUILT["ServiceAccount"]),
        ("V1Role", ROLE),
        ("V1RoleBinding", BINDING),
        ("V1CronJob", CRONJOB),
        ("V1PodTemplateSpec", JOB["rayClusterSpec"]["headGroupSpec"]["template"]),
    ],
)
def test_kubernetes_knows_every_field_and_its_type(kind, value):
    assert _faults(value, kind, kind) == []


def refused(job):
    """Return what the API server refuses in a Job's podFailurePolicy; Kubernetes 1.29 to 1.34 are the strictest."""
    rules, containers = job["podFailurePolicy"]["rules"], job["template"]["spec"]["containers"]
    if job["template"]["spec"]["restartPolicy"] != "Never" or len(rules) > 20:
        yield "restartPolicy is not Never, or there are more than 20 rules"
    for rule in rules:
        if len(rule.keys() & {"onExitCodes", "onPodConditions"}) != 1:
            yield "a rule has not exactly one of onExitCodes and onPodConditions"
        if rule["action"] not in {"FailJob", "Ignore", "Count"}:
            yield f"{rule['action']} is no action of a Job that is not indexed"
        for condition in rule.get("onPodConditions", []):
            # From 1.35 on it may be left out.
            if condition.get("status") not in {"True", "False", "Unknown"}:
                yield f"{condition['type']} has no status"
        if codes := rule.get("onExitCodes"):
            values = codes["values"]
            zero = codes["operator"] == "In" and 0 in values
            if values != sorted(set(values)) or not 1 <= len(values) <= 255 or zero:
                yield "the exit codes are not in order, or have a 0"
            if codes.get("containerName") not in {None, *(container["name"] for container in containers)}:
                yield f"there is no container {codes['containerName']}"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((1, "onPodConditions", 0, "status"), None, "DisruptionTarget has no status"),
        ((0, "onExitCodes", "values"), [3, 0], "the exit codes are not in order, or have a 0"),
        ((0, "onExitCodes", "containerName"), "night", "there is no container night"),
        ((0, "action"), "FailIndex", "FailIndex is no action of a Job that is not indexed"),
    ],
)
def test_every_kubernetes_takes_the_rules_for_failed_pods(path, value, message):
    assert list(refused(NIGHT)) == []
    night = copy.deepcopy(NIGHT)
    *parents, last = path
    held = night["podFailurePolicy"]["rules"]
    for name in parents:
        held = held[name]
    held[last] = value
    assert list(refused(night)) == [message]


def test_names_are_short_enough_for_what_is_named_after_them():
    # A CronJob adds 11 characters to its name for a Job, whose RayJob may have 47.
    assert len(CRONJOB["metadata"]["name"]) + len("-29000000") <= 47
    assert len(CRONJOB["metadata"]["name"]) <= 52


def test_a_night_begins_only_when_the_last_one_has_ended():
    spec = CRONJOB["spec"]
    assert (spec["concurrencyPolicy"], ZoneInfo(spec["timeZone"]).key) == ("Forbid", RAYCRONJOB["spec"]["timeZone"])
    assert 0 < spec["startingDeadlineSeconds"] < 86400
    assert min(spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) > 0
    assert JOB["activeDeadlineSeconds"] < 86400


def test_the_night_s_job_is_that_of_the_single_run_but_for_what_a_night_needs():
    single = list(yaml.safe_load_all((FOLDER / "rayjob.yaml").read_text()))[1]["spec"]
    head = copy.deepcopy(JOB["rayClusterSpec"]["headGroupSpec"])
    (held,) = head["template"]["spec"]["containers"]
    assert held.pop("envFrom") == [{"secretRef": {"name": "filtering-nightly", "optional": True}}]
    assert head == single["rayClusterSpec"]["headGroupSpec"]
    other = {key for key in single if single[key] != JOB.get(key)}
    assert other == {"entrypoint", "jobId", "activeDeadlineSeconds", "rayClusterSpec"}
    # Each night is a job of its own.
    assert "jobId" not in JOB


def test_the_entry_points_are_what_the_image_has():
    scripts = [JOB["entrypoint"].split(), CONTAINER["command"]]
    for interpreter, script, *_ in scripts:
        assert interpreter == "python"
        assert (ROOT / Path(script).relative_to("/srv/filtering")).is_file()
    assert CONTAINER["image"] == JOB["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]


def test_the_pod_has_the_rights_of_its_role_alone():
    assert BINDING["roleRef"]["name"] == ROLE["metadata"]["name"]
    assert [subject["name"] for subject in BINDING["subjects"]] == [POD["serviceAccountName"]]
    assert POD["serviceAccountName"] in [account["metadata"]["name"] for account in BUILT["ServiceAccount"]]
    assert POD["securityContext"]["runAsNonRoot"]
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not any("*" in rule[key] for rule in ROLE["rules"] for key in ("apiGroups", "resources", "verbs"))


class Kubernetes(BaseHTTPRequestHandler):
    """As much of its API as a night needs: the resources, what they say next, and what it was asked."""

    def do_GET(self):
        self._asked("get")
        kind, name = self.path.split("/")[-2:]
        if kind == "rayjobs" and self.server.answers:
            status = self.server.answers.pop(0)
            if isinstance(status, int):
                return self._answer(status, {"message": "not now"})
            self.server.resources["rayjobs", name]["status"] = status
        found = self.server.resources.get((kind, name))
        return self._answer(200 if found else 404, found or {"message": f"{name} not found"})

    def do_POST(self):
        self._asked("create")
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind, name = self.path.split("/")[-1], body["metadata"]["name"]
        if (kind, name) in self.server.resources:
            return self._answer(409, {"message": "already exists"})
        self.server.resources[kind, name] = body
        return self._answer(201, body)

    def _asked(self, verb):
        assert self.path.startswith("/apis/ray.io/v1/namespaces/nights/")
        kind, _, name = self.path.removeprefix("/apis/ray.io/v1/namespaces/nights/").partition("/")
        self.server.asked.append((verb, kind, name, self.headers["Authorization"]))

    def _answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@contextmanager
def kubernetes(*answers):
    with ThreadingHTTPServer(("127.0.0.1", 0), Kubernetes) as server:
        server.answers, server.asked = list(answers), []
        server.resources = {("raycronjobs", "filtering-nightly"): RAYCRONJOB}
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def tonight(server, folder):
    """Run what the pod runs, with the environment that it gets."""
    (folder / "token").write_text("token-of-the-pod\n")
    interpreter, script, *arguments = CONTAINER["command"]
    assert interpreter == "python"
    values = {
        "metadata.labels['batch.kubernetes.io/job-name']": "filtering-nightly-29400570",
        "metadata.labels['batch.kubernetes.io/controller-uid']": "uid-of-the-job",
        "metadata.namespace": "nights",
    }
    given = {each["name"]: values[each["valueFrom"]["fieldRef"]["fieldPath"]] for each in CONTAINER["env"]}
    line = [sys.executable, str(ROOT / Path(script).relative_to("/srv/filtering")), *arguments]
    line += ["--server", f"http://127.0.0.1:{server.server_port}", "--account", str(folder), "--every", "0.01"]
    # A proxy that is not there: the API is never asked through one.
    environment = os.environ | given | {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)


RUNNING = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}
SUCCEEDED = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}


def test_the_pod_makes_the_night_s_job_and_waits_until_it_has_succeeded(tmp_path):
    with kubernetes({}, {"jobDeploymentStatus": "Initializing"}, RUNNING, 500, 429, RUNNING, SUCCEEDED) as server:
        done = tonight(server, tmp_path)
    assert done.returncode == 0, done.stderr
    (job,) = [resource for (kind, _), resource in server.resources.items() if kind == "rayjobs"]
    assert job["spec"] == JOB
    (owner,) = job["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": "uid-of-the-job"}
    assert len(job["metadata"]["name"]) <= 47
    said = ["is made", ": New", ": Initializing", ": Running RUNNING", ": Complete SUCCEEDED"]
    assert [line.removeprefix("filtering-nightly-29400570").strip() for line in done.stderr.splitlines()] == said


def test_the_role_allows_what_the_pod_asks_for_and_no_more(tmp_path):
    with kubernetes(SUCCEEDED) as server:
        tonight(server, tmp_path)
    assert {authorization for *_, authorization in server.asked} == {"Bearer token-of-the-pod"}
    allowed = {(verb, kind) for rule in ROLE["rules"] for verb in rule["verbs"] for kind in rule["resources"]}
    assert {(verb, kind) for verb, kind, *_ in server.asked} == allowed
    (named,) = [rule for rule in ROLE["rules"] if "resourceNames" in rule]
    assert named["resourceNames"] == [name for verb, kind, name, _ in server.asked if kind == "raycronjobs"]


def test_a_second_pod_goes_on_waiting_for_the_first_one_s_job(tmp_path):
    with kubernetes({"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "exit 1"}, SUCCEEDED) as server:
        first = tonight(server, tmp_path)
        second = tonight(server, tmp_path)
    assert "filtering-nightly-29400570 is there already" in second.stderr
    assert [first.returncode, second.returncode] == [3, 0]
    assert [kind for kind, _ in server.resources].count("rayjobs") == 1


@pytest.mark.parametrize(
    "status",
    [
        {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": "exit\ncode 1"},
        {"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded"},
        {"jobDeploymentStatus": "ValidationFailed", "reason": "ValidationFailed"},
        {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"},
    ],
)
def test_a_night_that_failed_fails_the_job_at_once(tmp_path, status):
    with kubernetes(status) as server:
        done = tonight(server, tmp_path)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("filtering-nightly-29400570 failed:")
    assert status.get("reason", "") in last
    (rule,) = [rule for rule in NIGHT["podFailurePolicy"]["rules"] if rule["action"] == "FailJob"]
    assert rule["onExitCodes"] == {"containerName": CONTAINER["name"], "operator": "In", "values": [done.returncode]}


@pytest.mark.parametrize(("missing", "words"), [("template", "filtering-nightly not found"), ("job", "404")])
def test_what_cannot_be_made_or_followed_is_said_in_one_line(tmp_path, missing, words):
    with kubernetes(*([404] if missing == "job" else [])) as server:
        if missing == "template":
            server.resources.clear()
        done = tonight(server, tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert words in done.stderr.splitlines()[-1]
