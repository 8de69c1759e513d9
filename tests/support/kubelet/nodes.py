"""Nodes as a kubelet registers them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from support.cluster.api import reference
from support.kubelet.states import timestamp

Document = dict[str, Any]

NODE_ADDRESS = "127.0.0.1"
LEASE_SECONDS = 40
HEARTBEAT_SECONDS = 10.0
"""As a kubelet's: the node controller waits for 50."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """What a node has to give."""

    name: str
    cpu: str = "64"
    memory: str = "512Gi"
    gpus: int = 8
    pods: int = 4096

    def registration(self) -> Document:
        """The object as it is created."""
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"}
        node = reference("v1", "Node", self.name)
        return {**node, "metadata": {**node["metadata"], "labels": labels}}

    def status(self, port: int, now: datetime) -> Document:
        """What it reports: room, address, and that it is well."""
        room = {
            "cpu": self.cpu,
            "memory": self.memory,
            "pods": str(self.pods),
            "ephemeral-storage": "1Ti",
            "nvidia.com/gpu": str(self.gpus),
        }
        return {
            "capacity": room,
            "allocatable": room,
            "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [ready("True", "KubeletReady", now)],
            "nodeInfo": {
                "kubeletVersion": "v0.0.0-of-tests",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "containerRuntimeVersion": "containerd://0.0.0",
                "kernelVersion": "0",
                "osImage": "none",
                "bootID": "0",
                "machineID": "0",
                "systemUUID": "0",
                "kubeProxyVersion": "",
            },
        }

    def lease(self, now: datetime) -> Document:
        """Its heartbeat."""
        spec = {
            "holderIdentity": self.name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        return {**reference("coordination.k8s.io/v1", "Lease", self.name, "kube-node-lease"), "spec": spec}


def ready(status: str, reason: str, now: datetime) -> Document:
    """The condition Ready of a node."""
    moment = timestamp(now)
    return {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }
