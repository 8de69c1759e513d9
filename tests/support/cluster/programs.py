"""The command lines of a control plane. Every file is named relative to the cluster's folder."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KUBECTL = "kubectl"

AUDIT_LOG = "audit.jsonl"
AUDIT_POLICY = "audit-policy.yaml"
# What the server asks of itself and health probes say nothing about clients and would drown them.
AUDIT_RULES = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:apiserver"]}
- {level: None, nonResourceURLs: ["/livez*", "/readyz*", "/healthz*"]}
- {level: Metadata}
"""


@dataclass(frozen=True)
class Network:
    """Where the control plane is reached, and by whom.

    Attributes:
        address: the API server's address.
        services: the range of the Services' addresses.
        pods: the range of the pods' addresses; empty where no node runs pods.
    """

    address: str = "127.0.0.1"
    services: str = "10.0.0.0/24"
    pods: str = ""

    @property
    def api_service(self) -> str:
        """The address of the Service `kubernetes`."""
        return str(ip_network(self.services)[1])


LOOPBACK = Network()

# etcd wants a port even of a unix socket; the file is called by both.
ETCD_CLIENTS = "unix://etcd:0"
ETCD_PEERS = "unix://peers:0"


def etcd(program: Path) -> list[str | Path]:
    """A store on unix sockets in the folder, which nobody else can reach; it never waits for the disk."""
    return [
        program,
        "--data-dir=etcd",
        f"--listen-client-urls={ETCD_CLIENTS}",
        f"--advertise-client-urls={ETCD_CLIENTS}",
        f"--listen-peer-urls={ETCD_PEERS}",
        f"--initial-advertise-peer-urls={ETCD_PEERS}",
        f"--initial-cluster=default={ETCD_PEERS}",
        "--unsafe-no-fsync",
    ]


def api_server(program: Path, port: int, network: Network) -> list[str | Path]:
    """The API server, with role-based access control and an audit log."""
    kubelets = [
        "--kubelet-certificate-authority=ca.crt",
        "--kubelet-client-certificate=kubelet-client.crt",
        "--kubelet-client-key=kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
    ]
    # the `kubernetes` Service could not have a loopback endpoint, and without pods none will ask for one
    alone = ["--endpoint-reconciler-type=none"]
    return [
        program,
        f"--etcd-servers={ETCD_CLIENTS}",
        *serving(port, network.address),
        f"--advertise-address={network.address}",
        *(kubelets if network.pods else alone),
        f"--service-cluster-ip-range={network.services}",
        "--client-ca-file=ca.crt",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-signing-key-file=service-accounts.key",
        "--service-account-key-file=service-accounts.pub",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--audit-policy-file={AUDIT_POLICY}",
        f"--audit-log-path={AUDIT_LOG}",
        # megabytes: a reader holds a position in the file, so it must never be rotated
        "--audit-log-maxsize=100000",
    ]


def controller_manager(program: Path, kubeconfig: Path, port: int) -> list[str | Path]:
    """All controllers, each with its own service account; the port serves their health."""
    return [
        program,
        f"--kubeconfig={kubeconfig}",
        "--use-service-account-credentials=true",
        "--service-account-private-key-file=service-accounts.key",
        "--root-ca-file=ca.crt",
        "--leader-elect=false",
        *serving(port),
        # at the default of 20 requests a second, thirty controllers take 5 s to get their tokens
        "--kube-api-qps=1000",
        "--kube-api-burst=1000",
        # a volume is bound within a second, not within fifteen
        "--pvclaimbinder-sync-period=1s",
    ]


def scheduler(program: Path, kubeconfig: Path, port: int) -> list[str | Path]:
    """The scheduler; the port serves its health."""
    return [program, f"--kubeconfig={kubeconfig}", "--leader-elect=false", *serving(port)]


def serving(port: int, address: str = "127.0.0.1") -> list[str]:
    """How a server of the control plane is reached."""
    return [
        f"--bind-address={address}",
        f"--secure-port={port}",
        "--tls-cert-file=server.crt",
        "--tls-private-key-file=server.key",
    ]
