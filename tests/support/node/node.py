"""A whole Kubernetes on this machine: control plane, one node with real containers, Services, names, GPUs."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.cluster import Cluster, reference
from support.cluster.programs import Network
from support.node import configuration
from support.node.configuration import NODE, PODS, SERVICES
from support.node.sandbox import Sandbox
from support.processes import wait_until
from support.tools import COREDNS, KUBE, find_programs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

HOST, ADDRESS = "10.213.0.1", "10.213.0.2"
CONTAINERD, KUBELET, PROXY, NAMES, GPUS = "containerd", "kubelet", "kube-proxy", "coredns", "fake-gpus"
SOCKET = Path("/run/containerd/containerd.sock")
IMAGES = "k8s.io"
"""containerd's own namespace of what the kubelet runs."""
NEEDED = ("containerd", "ctr", "runc", "nft", "ip", "nsenter", "unshare", "buildah", "debootstrap")


@dataclass(frozen=True)
class Node:
    """A control plane on this machine, and a node in a sandbox on it.

    Attributes:
        cluster: the control plane; pods reach it, and so does this machine.
        sandbox: where kubelet, containerd and the like run, each a process of that name.
    """

    cluster: Cluster
    sandbox: Sandbox

    @classmethod
    def start(cls, base_image: Path, *, mounts: tuple[Path, ...] = (), gpus: int = 4) -> Node:
        """Starts all of it and waits until the node is ready; needs root.

        Args:
            base_image: an archive of the image `SANDBOX_IMAGE`, whose containers hold pods together.
            mounts: folders of this machine that every container can read, under the same paths.
            gpus: devices that the node pretends to have.
        """
        with ExitStack() as stack:
            sandbox = stack.enter_context(Sandbox.create(HOST, ADDRESS))
            for addresses in (PODS, SERVICES):
                sandbox.route(addresses)
            network = Network(address=HOST, services=SERVICES, pods=PODS)
            cluster = stack.enter_context(Cluster.start_control_plane(network=network))
            node = cls(cluster, sandbox)
            node._write_files(mounts)
            node.start_containerd()
            node.import_image(base_image)
            node.start_kubelet()
            node._start_services(gpus)
            node._wait_until_ready()
            stack.pop_all()
        return node

    @property
    def folder(self) -> Path:
        """Where the node's files are."""
        return self.sandbox.processes.path

    def start_containerd(self) -> None:
        """Starts containerd; containers of an earlier one go on."""
        self.sandbox.start(CONTAINERD, ["containerd", "--config", self.folder / "containerd.toml"])
        wait_until(self._containerd_answers, what="containerd")

    def start_kubelet(self) -> None:
        """Starts the kubelet; pods of an earlier one go on."""
        binary = find_programs(KUBE)[KUBELET]
        kubeconfig = self.cluster.kubeconfig_for_user(f"system:node:{NODE}", ["system:nodes"])
        flags = [f"--config={self.folder / 'kubelet.json'}", f"--kubeconfig={kubeconfig}"]
        self.sandbox.start(
            KUBELET, [binary, *flags, f"--node-ip={ADDRESS}", f"--hostname-override={NODE}", "--v=1"]
        )

    def is_ready(self) -> bool:
        """Whether pods can be scheduled to the node."""
        found = self.cluster.api.find(reference("v1", "Node", NODE))
        if found is None:
            return False
        conditions = {each["type"]: each["status"] for each in found["status"].get("conditions", ())}
        return conditions.get("Ready") == "True" and not found["spec"].get("taints")

    def import_image(self, archive: Path) -> None:
        """Takes an image (a docker archive) into the node's store, under the name that it carries."""
        self._ctr("images", "import", archive)

    def close(self) -> None:
        """Ends all of it; nothing stays."""
        self.cluster.close()
        self.sandbox.close()

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait_until_ready(self) -> None:
        try:
            wait_until(self.is_ready, what="the node to be ready")
        except TimeoutError as error:
            logs = self.sandbox.processes
            said = "\n".join(f"── {name}\n{logs.log_tail(name)}" for name in (CONTAINERD, KUBELET, PROXY))
            raise TimeoutError(f"{error}; its programs said last:\n{said}") from None

    def _write_files(self, mounts: Sequence[Path]) -> None:
        folder = self.folder
        (folder / "cni").mkdir()
        (folder / "cni" / "10-pods.conflist").write_text(configuration.cni())
        (folder / "resolv.conf").write_text("")
        shutil.copy(self.cluster.folder / "ca.crt", folder / "ca.crt")
        serving = self.cluster.issue_to_server([NODE, ADDRESS])
        (folder / "kubelet.crt").write_bytes(serving.certificate)
        (folder / "kubelet.key").write_bytes(serving.key)
        spec = json.loads(self.sandbox.run("ctr", "oci", "spec"))
        self._write("spec.json", configuration.with_mounts(spec, tuple(mounts)))
        (folder / "containerd.toml").write_text(
            configuration.containerd(folder, SOCKET, folder / "spec.json")
        )
        self._write("kubelet.json", configuration.kubelet(folder, SOCKET, ADDRESS, self.sandbox.cgroup))
        proxy = self.cluster.kubeconfig_for_user("system:kube-proxy")
        self._write("kube-proxy.json", configuration.kube_proxy(proxy))
        names = self.cluster.kubeconfig_for_user("coredns")
        (folder / "Corefile").write_text(configuration.corefile(names, ADDRESS))

    def _start_services(self, gpus: int) -> None:
        kube, folder = find_programs(KUBE), self.folder
        for manifest in configuration.names_may_be_read():
            self.cluster.api.create(manifest)
        self.sandbox.start(PROXY, [kube[PROXY], f"--config={folder / 'kube-proxy.json'}"])
        self.sandbox.start(NAMES, [find_programs(COREDNS)[NAMES], f"-conf={folder / 'Corefile'}"])
        self.sandbox.start(GPUS, [kube[GPUS], f"-count={gpus}"])

    def _write(self, name: str, content: dict[str, Any]) -> None:
        (self.folder / name).write_text(json.dumps(content, indent=1))

    def _containerd_answers(self) -> bool:
        code = self.sandbox.processes.exit_code(CONTAINERD)
        assert code is None, self.sandbox.processes.log_tail(CONTAINERD)
        try:
            self._ctr("version")
        except OSError:
            return False
        except Exception:  # noqa: BLE001 -- whatever ctr did not like, containerd is not there yet
            return False
        return True

    def _ctr(self, *words: str | Path) -> str:
        return self.sandbox.run("ctr", f"--address={SOCKET}", f"--namespace={IMAGES}", *words)
