"""What the chart makes is held to kube-score's rules; each exception has its reason here, and is needed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.helm import EVERYTHING, FOREIGN, Helm

NOT_TAKEN = {
    "container-security-context-user-group-id": "the image says its user by number, and OpenShift gives each "
    "namespace another; runAsNonRoot holds whichever it is",
    "container-resources": "a limit of CPU slows down what could use idle cores; memory has one",
    "container-ephemeral-storage-request-and-limit": "only /tmp is written to, whose volume has a limit of its own",
    "container-image-pull-policy": "images are named by version or digest, so a node need not ask again",
    "deployment-has-host-podantiaffinity": "topologySpreadConstraints do that, and let two replicas share one node",
    "pod-networkpolicy": "of `helm test` alone: it lives for seconds and speaks to the operator",
}
OPTIONAL = ("container-seccomp-profile", "container-ports-check")


def complaints(kube_score: Path, objects: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What kube-score finds wrong: the objects, by the rule."""
    switches = [f"--enable-optional-test={rule}" for rule in OPTIONAL]
    command = [str(kube_score), "score", "--kubernetes-version=v1.31", "--output-format=json", *switches, "-"]
    told = subprocess.run(command, input=yaml.safe_dump_all(objects), capture_output=True, text=True)
    assert told.stdout, told.stderr
    found: dict[str, list[str]] = {}
    for judged in json.loads(told.stdout):
        for check in judged["checks"]:
            if not check["skipped"] and check["grade"] < 10:
                found.setdefault(check["check"]["id"], []).append(judged["object_name"])
    return found


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_only_the_exceptions_are_complained_of(helm: Helm, kube_score: Path, values: dict[str, Any]) -> None:
    objects = [made for made in helm.render(values) if made["kind"] not in FOREIGN]

    found = complaints(kube_score, objects)

    assert found.keys() == NOT_TAKEN.keys(), found
    assert found["pod-networkpolicy"] == ["Pod/v1/asyncdiff-system/asyncdiff-operator-test"]


def test_a_pod_with_root_and_a_writable_file_system_is_complained_of(helm: Helm, kube_score: Path) -> None:
    objects = helm.render()
    (deployment,) = (made for made in objects if made["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {"privileged": True}

    found = complaints(kube_score, objects)

    assert {
        "container-security-context-privileged",
        "container-security-context-readonlyrootfilesystem",
    } <= found.keys()
