"""A pod's own command as a process of this machine: its mounts are folders, and there is no container."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncdiff_api.formats.container import SHARD_COMMAND

from support.processes import ProcessFolder
from support.processes.folder import ProcessError

if TYPE_CHECKING:
    from support.kubelet.client import Client

Document = dict[str, Any]
Manifest = Mapping[str, Any]

ROOT_VARIABLE = "ASYNCDIFF_ROOT"
"""What the runtime takes for the root of its file system."""
FIELD = re.compile(r"metadata\.(?P<map>annotations|labels)\['(?P<key>[^']+)'\]")
SECONDS_BETWEEN_LOOKS = 0.05


@dataclass(frozen=True)
class Machine:
    """Where pods' commands run.

    Attributes:
        processes: Their folder.
        claims: The folder of each volume, by the name of its claim.
        variables: Environment of every pod beside its own.
    """

    processes: ProcessFolder
    claims: Mapping[str, Path] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


class Container:
    """The process of one pod."""

    def __init__(self, machine: Machine, pod: Manifest) -> None:
        """Nothing runs before `start`."""
        self._machine = machine
        self._pod = pod
        self._spec: Document = pod["spec"]["containers"][0]
        self._name: str = pod["metadata"]["name"]
        self.root: Path = machine.processes.path / "roots" / pod["metadata"]["uid"]

    async def mount(self, client: Client) -> None:
        """Makes a folder of each volume, as the kubelet does before a container starts."""
        volumes = {volume["name"]: volume for volume in self._pod["spec"].get("volumes", ())}
        for mount in self._spec.get("volumeMounts", ()):
            await self._mount(client, volumes[mount["name"]], self._at(mount["mountPath"]))
        self._message_file.parent.mkdir(parents=True, exist_ok=True)
        self._message_file.touch()

    def start(self) -> None:
        """Runs the command; variables that are paths of mounts lead below the pod's own root."""
        words = [sys.executable if word == "python" else word for word in self._spec["command"]]
        port = ["--port", "0"] if tuple(self._spec["command"]) == SHARD_COMMAND else []
        kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
        own = {variable["name"]: self._value(variable) for variable in self._spec.get("env", ())}
        variables = {**kept, **own, **self._machine.variables, ROOT_VARIABLE: str(self.root)}
        self._machine.processes.start(self._name, [*words, *port], variables)

    def terminate(self) -> None:
        """Sends SIGTERM to the first process, as a container runtime does."""
        with suppress(ProcessLookupError):
            os.kill(self._machine.processes.pid(self._name), signal.SIGTERM)

    async def end(self) -> int:
        """Waits for the end and gives the exit code as a shell does."""
        while (code := await asyncio.to_thread(self._machine.processes.exit_code, self._name)) is None:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        return code if code >= 0 else 128 - code

    def leave(self) -> bytes:
        """Kills what is left of the container and gives its termination message."""
        with suppress(ProcessError):
            self._machine.processes.signal(self._name, signal.SIGKILL)
        return self._message_file.read_bytes() if self._message_file.exists() else b""

    async def port(self) -> int:
        """Waits until the process serves and gives the port, which its log names."""
        while True:
            for line in self.log().splitlines():
                with suppress(ValueError):
                    found = json.loads(line)
                    if isinstance(found, dict) and "port" in found:
                        return int(found["port"])
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def log(self) -> str:
        """What it wrote."""
        path = self._machine.processes.log(self._name)
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def _message_file(self) -> Path:
        return self._at(self._spec["terminationMessagePath"])

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    async def _mount(self, client: Client, volume: Document, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if "persistentVolumeClaim" in volume:
            folder.symlink_to(self._machine.claims[volume["persistentVolumeClaim"]["claimName"]])
            return
        folder.mkdir(exist_ok=True)
        if "configMap" in volume:
            found = await self._read(client, "configmaps", volume["configMap"]["name"])
            _write(folder, volume["configMap"], {key: text.encode() for key, text in found["data"].items()})
        elif "secret" in volume:
            found = await self._read(client, "secrets", volume["secret"]["secretName"])
            data = {key: base64.b64decode(value) for key, value in found.get("data", {}).items()}
            _write(folder, volume["secret"], data)

    async def _read(self, client: Client, plural: str, name: str) -> Document:
        """An object of the pod's namespace; empty if there is none, which the pod then sees for itself."""
        namespace = self._pod["metadata"]["namespace"]
        return await client.send("GET", f"/api/v1/namespaces/{namespace}/{plural}/{name}") or {"data": {}}

    def _value(self, variable: Document) -> str:
        reference = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
        if found := FIELD.fullmatch(reference):
            return str(self._pod["metadata"][found["map"]][found["key"]])
        if reference:
            return str(self._pod["metadata"][reference.removeprefix("metadata.")])
        value = str(variable.get("value", ""))
        mounts = tuple(mount["mountPath"] for mount in self._spec.get("volumeMounts", ()))
        return str(self._at(value)) if value.startswith(mounts) else value


def _write(folder: Path, source: Document, data: Mapping[str, bytes]) -> None:
    """Writes all keys of a ConfigMap or Secret, or those that the volume names."""
    for item in source.get("items") or [{"key": key, "path": key} for key in data]:
        (folder / item["path"]).write_bytes(data[item["key"]])
