"""What the pod of cronjob.yaml runs: makes tonight's RayJob of a RayCronJob's template, waits for it, ends as it did.

Exit status: 0 it succeeded; 3 it failed; 1 it could not be made or followed, and another pod may go on from there. It
needs nothing but Python, and of Kubernetes only what the pod's own service account may do.
"""

import argparse
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ENDED = ("Complete", "Failed", "ValidationFailed")
FAILED = 3
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Api:
    """KubeRay's resources in one namespace.

    Attributes
    ----------
    url : of the namespace's resources of ray.io/v1.
    account : the folder of the service account: its token, and the certificate of the server.
    """

    url: str
    account: Path

    def call(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a resource, or create one; urllib's errors."""
        # Read again each time: the token is renewed while the night goes on.
        token = (self.account / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{name}", data, headers)
        with self._opener().open(request, timeout=TIMEOUT_SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def _opener(self) -> urllib.request.OpenerDirector:
        trusted = self.account / "ca.crt"
        context = ssl.create_default_context(cafile=str(trusted) if trusted.exists() else None)
        # Whatever proxy the image is set up for, the server is in the cluster.
        return urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({})
        )


def rayjob(template: dict[str, Any], name: str, uid: str) -> dict[str, Any]:
    """Return tonight's RayJob: it has the name of the Job that makes it, belongs to it and is deleted with it."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name, "ownerReferences": [owner]},
        "spec": template["spec"]["jobTemplate"],
    }


def make(api: Api, template: str, name: str, uid: str) -> None:
    """Create tonight's RayJob, unless an earlier pod of the same Job has done so."""
    job = rayjob(api.call(f"raycronjobs/{template}"), name, uid)
    try:
        api.call("rayjobs", job)
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise
        _say(f"{name} is there already")
    else:
        _say(f"{name} is made")


def ended(api: Api, name: str, seconds: float) -> dict[str, Any]:
    """Return the status of a RayJob that has ended, asked for every few seconds."""
    last = None
    while True:
        status = _status(api, name)
        if status is not None:
            told = f"{status.get('jobDeploymentStatus') or 'New'} {status.get('jobStatus', '')}".strip()
            if told != last:
                _say(f"{name}: {told}")
            if status.get("jobDeploymentStatus") in ENDED:
                return status
            last = told
        time.sleep(seconds)


def _status(api: Api, name: str) -> dict[str, Any] | None:
    """Return a RayJob's status; None where the server cannot say for now."""
    try:
        status: dict[str, Any] = api.call(f"rayjobs/{name}").get("status", {})
    except urllib.error.HTTPError as error:
        if error.code < 500 and error.code != 429:
            raise
        return None
    except OSError:
        return None
    return status


def main() -> int:
    """Make tonight's RayJob and return the exit status that says how it ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", required=True, help="the RayCronJob whose jobTemplate it takes")
    parser.add_argument("--server", default="https://kubernetes.default.svc", help="of the Kubernetes API")
    parser.add_argument("--account", default=ACCOUNT, type=Path, help="the folder of the service account")
    parser.add_argument("--every", default=30.0, type=float, help="seconds between two looks")
    given = parser.parse_args()
    name, uid, namespace = (os.environ[key] for key in ("JOB_NAME", "JOB_UID", "NAMESPACE"))
    api = Api(f"{given.server}/apis/ray.io/v1/namespaces/{namespace}", given.account)
    try:
        make(api, given.template, name, uid)
        status = ended(api, name, given.every)
    except OSError as error:
        # What a refusal is about is in its body: the missing right, or the field that is wrong.
        body = error.read(2000).decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else ""
        _say(f"{name}: cannot be made or followed: {' '.join(f'{error} {body}'.split())}")
        return 1
    if status.get("jobStatus") == "SUCCEEDED":
        return 0
    _say(f"{name} failed: {status.get('reason', '')} {' '.join(str(status.get('message', '')).split())}".strip())
    return FAILED


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
