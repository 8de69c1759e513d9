"""A kubelet for tests: its nodes take the pods that the real scheduler binds to them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from support.cluster import reference
from support.kubelet.client import Client
from support.kubelet.nodes import HEARTBEAT_SECONDS, NODE_ADDRESS, Node, ready
from support.kubelet.pages import Pages, pod_addresses
from support.kubelet.states import Place
from support.kubelet.steps import SIGKILLED, Exit, Script
from support.kubelet.worker import PodWorker
from support.processes import free_port

if TYPE_CHECKING:
    from support.cluster import Cluster

Document = dict[str, Any]
Manifest = Mapping[str, Any]
Scripts = Callable[[Manifest], Script]
T = TypeVar("T")

UNREACHABLE = "node.kubernetes.io/unreachable"


class Kubelet:
    """Moves pods as their scripts say. One thread serves every node and thousands of pods.

    Methods may be called from any thread and return when what they ask for has been done.
    """

    def __init__(self, cluster: Cluster, scripts: Scripts) -> None:
        """Use `kubelet`, which also starts and ends it."""
        self._cluster = cluster
        self._default = scripts
        self._scripts: dict[str, Scripts] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kubelet", daemon=True)
        self._nodes: dict[str, asyncio.Task[None]] = {}
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._by_name: dict[tuple[str, str], PodWorker] = {}
        self._addresses: Iterator[str] = pod_addresses()
        self._failure: BaseException | None = None
        self._port = free_port()

    def behave(self, namespace: str, scripts: Scripts) -> None:
        """Chooses what becomes of the pods of a namespace that come from now on."""
        self._scripts[namespace] = scripts

    def add_node(self, node: Node) -> None:
        """Registers a node and sends its heartbeats."""
        self._do(self._add_node(node))

    def house_next_pod_at(self, address: str) -> None:
        """Gives the next pod an address that is not the loopback's: the API server passes nothing on to that."""
        self._addresses = itertools.chain((address,), self._addresses)

    def kill(self, pod: Manifest, end: Exit | None = None) -> None:
        """Ends a pod's container from outside: by SIGKILL, or as the exit says."""
        worker = self._workers[pod["metadata"]["uid"]]
        self._loop.call_soon_threadsafe(worker.kill, end or Exit(SIGKILLED))

    def node_dies(self, name: str) -> None:
        """A node loses its power: no heartbeat, no status; its deleted pods stay Terminating.

        The node controller would say so after 50 s; here it is said at once.
        """
        self._do(self._stop_node(name))
        node = reference("v1", "Node", name)
        self._cluster.api.patch(node, {"spec": {"taints": [{"key": UNREACHABLE, "effect": "NoExecute"}]}})
        condition = ready("Unknown", "NodeStatusUnknown", datetime.now(UTC))
        self._cluster.api.patch(node, {"status": {"conditions": [condition]}}, subresource="status")

    def node_is_removed(self, name: str) -> None:
        """A node's machine and object go, and its pods too, as the garbage collector would do in a minute."""
        self._do(self._stop_node(name))
        self._cluster.api.delete(reference("v1", "Node", name))
        for pod in self._pods_on(name):
            disruption = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}
            conditions = [*pod["status"].get("conditions", ()), disruption]
            failed = {"phase": "Failed", "conditions": conditions}
            self._cluster.api.patch(pod, {"status": failed}, subresource="status")
            self._cluster.api.delete(pod, gracePeriodSeconds="0")

    def check(self) -> None:
        """Raises what went wrong in the kubelet itself, if anything did."""
        if self._failure is not None:
            raise self._failure

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()
        self._do(self._start())

    def close(self) -> None:
        """Ends every task and server; nodes and pods stay as they are at the API server."""
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.check()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(timeout=60)

    def _pods_on(self, node: str) -> list[Document]:
        found = self._cluster.api.items(reference("v1", "Pod"), fieldSelector=f"spec.nodeName={node}")
        return [{"apiVersion": "v1", "kind": "Pod", **pod} for pod in found]

    async def _start(self) -> None:
        kubeconfig = self._cluster.kubeconfig_for_user("kubelet", ["system:masters"])
        self._client = Client(kubeconfig)
        self._beats = Client(kubeconfig)  # a node whose heartbeat waits behind its pods counts as dead
        self._pages = Pages(self._by_name)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._cluster.folder / "server.crt", self._cluster.folder / "server.key")
        await self._pages.start(self._port, context)
        self._watching = asyncio.create_task(self._watch())

    async def _stop(self) -> None:
        tasks = [self._watching, *self._nodes.values(), *self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pages.close()
        await self._client.close()
        await self._beats.close()
        for transport in list(getattr(self._loop, "_transports", {}).values()):
            transport.abort()  # a handshake that the server's death cut short is nobody's to close
        await asyncio.sleep(0)

    async def _add_node(self, node: Node) -> None:
        # first of all: the scheduler binds pods to a node before its last request here is answered
        self._nodes[node.name] = asyncio.create_task(self._beat(node))
        await self._client.send("POST", "/api/v1/nodes", node.registration())
        await self._client.send(
            "PATCH",
            f"/api/v1/nodes/{node.name}/status",
            {"status": node.status(self._port, datetime.now(UTC))},
            "application/merge-patch+json",
        )
        await self._client.send(
            "POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", self._lease(node)
        )
        # a node that has just come is not trusted until the node controller looks again
        await self._client.send(
            "PATCH", f"/api/v1/nodes/{node.name}", {"spec": {"taints": None}}, "application/merge-patch+json"
        )

    def _lease(self, node: Node) -> Document:
        return node.lease(datetime.now(UTC))

    async def _beat(self, node: Node) -> None:
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node.name}"
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._beats.send("PATCH", path, self._lease(node), "application/merge-patch+json")

    async def _stop_node(self, name: str) -> None:
        tasks = [self._nodes.pop(name)] if name in self._nodes else []
        for uid, worker in list(self._workers.items()):
            if worker.pod["spec"]["nodeName"] == name:
                tasks.append(self._tasks[uid])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Follows the pods that are bound to a node, whichever."""
        listed: set[str] = set()
        async for kind, pod in self._client.follow("/api/v1/pods", "spec.nodeName!="):
            if kind == "SYNCED":
                self._forget(set(self._tasks) - listed)
                listed = set()
            elif pod["spec"]["nodeName"] in self._nodes:
                if kind == "LISTED":
                    listed.add(pod["metadata"]["uid"])
                self._see(kind, pod)

    def _see(self, kind: str, pod: Manifest) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            self._forget({uid})
            return
        # one that has an address was another kubelet's, of the same node's name, and stays as that left it
        if uid not in self._workers and pod["status"]["phase"] == "Pending" and "podIP" not in pod["status"]:
            self._take(pod)
        if "deletionTimestamp" in pod["metadata"] and uid in self._workers:
            self._workers[uid].delete()

    def _take(self, pod: Manifest) -> None:
        metadata = pod["metadata"]
        script = self._scripts.get(metadata["namespace"], self._default)(pod)
        place = Place(node_address=NODE_ADDRESS, address=next(self._addresses))
        worker = PodWorker(pod, script, place, self._client, self._pages)
        self._workers[metadata["uid"]] = worker
        self._by_name[metadata["namespace"], metadata["name"]] = worker
        task = asyncio.create_task(worker.live())
        task.add_done_callback(self._note_failure)
        self._tasks[metadata["uid"]] = task

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and self._failure is None:
            self._failure = error

    def _forget(self, uids: set[str]) -> None:
        """Pods that are no more: their containers are gone too."""
        for uid in uids & set(self._tasks):
            self._tasks.pop(uid).cancel()
            metadata = self._workers.pop(uid).pod["metadata"]
            name = metadata["namespace"], metadata["name"]
            if name in self._by_name and self._by_name[name].pod["metadata"]["uid"] == uid:
                del self._by_name[name]


@contextlib.contextmanager
def kubelet(cluster: Cluster, *nodes: Node, scripts: Scripts = lambda _: Script()) -> Iterator[Kubelet]:
    """Runs a kubelet for a cluster with controllers and scheduler.

    Args:
        cluster: From `Cluster.start_control_plane`.
        nodes: The nodes to begin with.
        scripts: What becomes of a pod where `Kubelet.behave` has said nothing of its namespace.
    """
    running = Kubelet(cluster, scripts)
    running.start()
    try:
        for node in nodes:
            running.add_node(node)
        yield running
    finally:
        running.close()
