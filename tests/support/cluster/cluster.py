"""A Kubernetes control plane in a temporary folder."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.request
import uuid
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3

from support.cluster import programs
from support.cluster.api import Api, ApiError, reference
from support.cluster.audit import AuditLog
from support.cluster.certificates import Authority, KeyPair, signing_key
from support.cluster.kubeconfig import Kubeconfig, Token
from support.cluster.programs import LOOPBACK, Network
from support.processes import ProcessFolder, free_port, wait_until
from support.tools import API_PROGRAMS, CONTROL_PROGRAMS, KUBE, find_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from kubernetes.client import ApiClient
    from kubernetes.dynamic import DynamicClient

STATE = "cluster.json"


class ClusterError(RuntimeError):
    """A part of the control plane ended or did not become ready."""


@dataclass(frozen=True)
class Cluster:
    """etcd and kube-apiserver on the loopback address, and on request the controllers and the scheduler.

    Attributes:
        processes: its folder and processes, by the names in `support.cluster.programs`; signal or kill
            them to inject faults, start them again to recover.
        port: the API server's port; a restarted server keeps it.
        binaries: where each program is.
        network: how it is reached.
    """

    processes: ProcessFolder
    port: int
    binaries: dict[str, Path]
    network: Network = LOOPBACK

    @classmethod
    def start(cls, *, owner: int | None = None) -> Cluster:
        """Starts etcd and kube-apiserver and waits until requests are served.

        Args:
            owner: the id of the process with whose end the cluster ends; default this process.

        Raises:
            BuildFailedError, GoUnavailableError: the programs are not here and could not be built.
            ClusterError: a program ended at once; the text has the end of its log.
        """
        return cls._start(find_programs(KUBE, API_PROGRAMS), owner, LOOPBACK)

    @classmethod
    def start_control_plane(cls, *, owner: int | None = None, network: Network = LOOPBACK) -> Cluster:
        """As `start`, and the controllers and the scheduler beside it, all of one version."""
        cluster = cls._start(find_programs(KUBE, CONTROL_PROGRAMS), owner, network)
        try:
            cluster.start_controller_manager()
            cluster.start_scheduler()
        except BaseException:
            cluster.close()
            raise
        return cluster

    @classmethod
    def attach(cls, folder: Path) -> Cluster:
        """A handle on a cluster that another process started; closing it closes the cluster."""
        state = json.loads((folder / STATE).read_text())
        binaries = {name: Path(path) for name, path in state["binaries"].items()}
        return cls(ProcessFolder(folder), state["port"], binaries, Network(**state["network"]))

    @property
    def folder(self) -> Path:
        """Where the cluster's files are; it goes when the cluster does."""
        return self.processes.path

    @property
    def server(self) -> str:
        """The API server's address."""
        return f"https://{self.network.address}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of an administrator."""
        return self.folder / "admin.kubeconfig"

    @cached_property
    def api(self) -> Api:
        """The administrator's view of the API."""
        return Api(self.kubeconfig)

    @cached_property
    def audit(self) -> AuditLog:
        """What the API server was asked, by whom and when."""
        # its requests are told from those of tests by their mark, and from a user's by their own
        return AuditLog(self.folder / programs.AUDIT_LOG, self.api)

    def start_etcd(self) -> None:
        """Starts the store; the API server connects whenever it comes."""
        self.processes.start(programs.ETCD, programs.etcd(self._binary(programs.ETCD)))

    def start_api_server(self) -> None:
        """Starts the API server, on the same port each time, and waits until it serves requests."""
        program = programs.API_SERVER
        argv = programs.api_server(self._binary(program), self.port, self.network)
        self.processes.start(program, argv)
        default = reference("v1", "Namespace", "default")  # made last, after the server calls itself ready
        address = f"{self.network.address}:{self.port}"
        self._wait(program, lambda: self._says_ok(address, "/readyz") and self.api.find(default))

    def start_controller_manager(self) -> None:
        """Starts the controllers: Jobs make pods, namespaces can be deleted, garbage is collected."""
        program, port = programs.CONTROLLER_MANAGER, free_port()
        kubeconfig = self.kubeconfig_for_user("system:kube-controller-manager")
        self.processes.start(program, programs.controller_manager(self._binary(program), kubeconfig, port))
        self._wait(program, lambda: self._says_ok(f"127.0.0.1:{port}", "/healthz"))

    def start_scheduler(self) -> None:
        """Starts the scheduler: pods are assigned to nodes, if there are any."""
        program, port = programs.SCHEDULER, free_port()
        kubeconfig = self.kubeconfig_for_user("system:kube-scheduler")
        self.processes.start(program, programs.scheduler(self._binary(program), kubeconfig, port))
        self._wait(program, lambda: self._says_ok(f"127.0.0.1:{port}", "/healthz"))

    def namespace(self, prefix: str = "test") -> str:
        """Makes a namespace with a name of its own, in which pods can be created, and returns the name.

        Nothing deletes it before the cluster ends: without the controllers it would stay Terminating.
        """
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        account = reference("v1", "ServiceAccount", "default", name)
        try:
            self.api.create(account)  # pods are refused without it, and perhaps no controller makes it
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        return name

    def issue_to_server(self, hosts: Iterable[str]) -> KeyPair:
        """A certificate that the cluster trusts, for a server of these names and addresses."""
        return Authority.load(self._pair("ca")).issue_to_server(hosts)

    def kubeconfig_for_user(self, user: str, groups: Iterable[str] = ()) -> Path:
        """A kubeconfig for a user, who may do what RBAC grants to that name and those groups."""
        authority = Authority.load(self._pair("ca"))
        return self._write_kubeconfig(authority.issue_to_client(user, groups))

    def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a fresh token of a service account, which must exist."""
        account = reference("v1", "ServiceAccount", name, namespace)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = self.api.request("POST", self.api.path(account, "token"), request)
        return self._write_kubeconfig(Token(answer["status"]["token"]), namespace)

    def kubectl(self, *arguments: str, stdin: str = "", kubeconfig: Path | None = None) -> str:
        """Runs kubectl and returns what it printed.

        Raises:
            subprocess.CalledProcessError: it failed; `stderr` says why.
        """
        environment = {
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            "HOME": str(self.folder),  # for its cache of discovery
            "PATH": "/usr/bin:/bin",
        }
        command = [str(self._binary(programs.KUBECTL)), *arguments]
        return subprocess.run(
            command, input=stdin, env=environment, capture_output=True, text=True, check=True
        ).stdout

    def kubernetes_client(self, kubeconfig: Path | None = None) -> ApiClient:
        """A client of the official Python library."""
        from kubernetes import config

        load: Callable[[str], ApiClient] = config.new_client_from_config
        return load(str(kubeconfig or self.kubeconfig))

    def dynamic_client(self, kubeconfig: Path | None = None) -> DynamicClient:
        """The official library's client for kinds that it does not know."""
        from kubernetes import dynamic

        # its own choice of a file outlives the cluster and misleads the next one on the same port
        cache = self.folder / f"discovery-{uuid.uuid4().hex}.json"
        connect: Callable[[ApiClient, str], DynamicClient] = dynamic.DynamicClient
        return connect(self.kubernetes_client(kubeconfig), str(cache))

    def close(self) -> None:
        """Kills every part and removes the folder."""
        self.processes.close()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @classmethod
    def _start(cls, binaries: dict[str, Path], owner: int | None, network: Network) -> Cluster:
        cluster = cls(ProcessFolder.create("cluster", owner=owner), free_port(), binaries, network)
        try:
            cluster._write_files()
            cluster.start_etcd()
            cluster.start_api_server()
        except BaseException:
            cluster.close()
            raise
        return cluster

    def _binary(self, program: str) -> Path:
        """Where a program is; those not asked for at the start must lie beside the API server."""
        api_server = self.binaries[programs.API_SERVER]
        binary = self.binaries.get(program, api_server.with_name(program))
        if not binary.exists():
            raise ClusterError(
                f"{binary.parent} has a kube-apiserver and no {program}, and another version might not fit. "
                "Use `Cluster.start_control_plane`, or unset KUBEBUILDER_ASSETS to have all programs built"
            )
        return binary

    def _write_files(self) -> None:
        authority = Authority.create()
        service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", self.network.api_service)
        own = ("127.0.0.1", "localhost", self.network.address)
        self._write_pair("ca", authority.pair)
        self._write_pair("server", authority.issue_to_server((*own, *service)))
        self._write_pair("kubelet-client", authority.issue_to_client("kube-apiserver", ["system:masters"]))
        private, public = signing_key()
        self._write_private("service-accounts.key", private)
        (self.folder / "service-accounts.pub").write_bytes(public)
        (self.folder / programs.AUDIT_POLICY).write_text(programs.AUDIT_RULES)
        admin = authority.issue_to_client("admin", ["system:masters"])
        Kubeconfig(self.server, authority.pair.certificate, admin).write(self.kubeconfig)
        binaries = {name: str(path) for name, path in self.binaries.items()}
        state = {"port": self.port, "binaries": binaries, "network": asdict(self.network)}
        (self.folder / STATE).write_text(json.dumps(state))

    def _write_kubeconfig(self, credentials: KeyPair | Token, namespace: str = "default") -> Path:
        path = self.folder / f"user-{uuid.uuid4().hex[:8]}.kubeconfig"
        return Kubeconfig(self.server, self._pair("ca").certificate, credentials, namespace).write(path)

    def _write_pair(self, name: str, pair: KeyPair) -> None:
        (self.folder / f"{name}.crt").write_bytes(pair.certificate)
        self._write_private(f"{name}.key", pair.key)

    def _write_private(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)

    def _pair(self, name: str) -> KeyPair:
        return KeyPair((self.folder / f"{name}.crt").read_bytes(), (self.folder / f"{name}.key").read_bytes())

    def _wait(self, program: str, ready: Callable[[], object]) -> None:
        def look() -> bool:
            code = self.processes.exit_code(program)
            if code is not None:
                tail = self.processes.log_tail(program)
                raise ClusterError(
                    f"{program} ended with code {code} while starting; the end of its log:\n{tail}"
                )
            try:
                return bool(ready())
            except (OSError, urllib3.exceptions.HTTPError, ApiError):
                return False

        wait_until(look, what=f"{program} to be ready; its log is {self.processes.log(program)}")

    def _says_ok(self, address: str, path: str) -> bool:
        """Whether a server of the control plane says itself that it is well."""
        trusting = ssl.create_default_context(cafile=self.folder / "ca.crt")
        with urllib.request.urlopen(f"https://{address}{path}", context=trusting) as answer:
            return bool(answer.read() == b"ok")
