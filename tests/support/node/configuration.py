"""The files by which a node's programs are told what to do. Every path in them is given; nothing is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NODE = "node1"
CLUSTER_DOMAIN = "cluster.local"
PODS = "10.89.0.0/16"
SERVICES = "10.97.0.0/16"
CNI_PROGRAMS = Path("/usr/lib/cni")
BRIDGE = "pods0"
SANDBOX_IMAGE = "localhost/debian-base:bookworm"


def containerd(folder: Path, socket: Path, base_spec: Path) -> str:
    """containerd's configuration (its version 2), with everything it keeps under `folder`."""
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""\
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
address = "{socket}"
[{cri}]
sandbox_image = "{SANDBOX_IMAGE}"
# A machine may refuse to make a process less likely to be killed than its parent.
restrict_oom_score_adj = true
max_concurrent_downloads = 1
[{cri}.cni]
bin_dir = "{CNI_PROGRAMS}"
conf_dir = "{folder}/cni"
[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
base_runtime_spec = "{base_spec}"
[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def with_mounts(spec: dict[str, Any], folders: tuple[Path, ...]) -> dict[str, Any]:
    """A container's specification in which folders of the machine can be read under their own paths."""
    mounts = [
        {
            "destination": str(folder),
            "source": str(folder),
            "type": "bind",
            "options": ["rbind", "ro", "nosuid"],
        }
        for folder in folders
    ]
    return {**spec, "mounts": [*spec["mounts"], *mounts]}


def cni() -> str:
    """A bridge for all pods of the node; pods reach themselves through a Service too."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}, indent=1)


def kubelet(folder: Path, socket: Path, address: str, cgroup: str) -> dict[str, Any]:
    """The kubelet's configuration, with all pods under the branch `cgroup` of control groups."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": ["pods"],
        "failCgroupV1": False,
        "failSwapOn": False,
        "address": address,
        "tlsCertFile": f"{folder}/kubelet.crt",
        "tlsPrivateKeyFile": f"{folder}/kubelet.key",
        "authentication": {
            "x509": {"clientCAFile": f"{folder}/ca.crt"},
            "webhook": {"enabled": True},
            "anonymous": {"enabled": False},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [address],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": f"{folder}/resolv.conf",
        "maxPods": 110,
        # What a busy machine of a developer has free is none of the tests' business.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "10s",
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
    }


def kube_proxy(kubeconfig: Path) -> dict[str, Any]:
    """kube-proxy's configuration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "mode": "nftables",
        "clusterCIDR": PODS,
        "hostnameOverride": NODE,
        "metricsBindAddress": "127.0.0.1:10249",
        "healthzBindAddress": "127.0.0.1:10256",
        # The kernel's tables of connections are the machine's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def corefile(kubeconfig: Path, address: str) -> str:
    """The name server's configuration: the cluster's own names, and no others."""
    return f"""\
.:53 {{
    bind {address}
    errors
    health {address}:8080
    ready {address}:8181
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig} test
        ttl 5
    }}
}}
"""


def names_may_be_read() -> list[dict[str, Any]]:
    """What the name server may see of the cluster."""
    meta = {"metadata": {"name": "coredns"}}
    api = "rbac.authorization.k8s.io/v1"
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "coredns"}
    user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "coredns"}
    return [
        {"apiVersion": api, "kind": "ClusterRole", **meta, "rules": rules},
        {"apiVersion": api, "kind": "ClusterRoleBinding", **meta, "roleRef": role, "subjects": [user]},
    ]
