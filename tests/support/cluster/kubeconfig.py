"""Kubeconfig files: how a client finds a cluster and proves who it is."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from support.cluster.certificates import KeyPair


@dataclass(frozen=True)
class Token:
    """A bearer token, as service accounts use it."""

    value: str


@dataclass(frozen=True)
class Kubeconfig:
    """One cluster and one user; everything is in the file, so that it can be copied anywhere.

    Attributes:
        server: the API server's URL.
        authority: the certificate (PEM) that its own must be signed by.
        credentials: a client certificate or a token.
        namespace: the namespace of requests that name none.
    """

    server: str
    authority: bytes
    credentials: KeyPair | Token
    namespace: str = "default"

    def write(self, path: Path) -> Path:
        """Writes the file, readable by this user alone, and returns its path."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(self.document(), indent=1))
        return path

    def document(self) -> dict[str, object]:
        """The file's content; JSON is YAML too."""
        cluster = {"server": self.server, "certificate-authority-data": encoded(self.authority)}
        context = {"cluster": "test", "user": "test", "namespace": self.namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": self._user()}],
            "contexts": [{"name": "test", "context": context}],
            "current-context": "test",
        }

    def _user(self) -> dict[str, str]:
        if isinstance(self.credentials, Token):
            return {"token": self.credentials.value}
        return {
            "client-certificate-data": encoded(self.credentials.certificate),
            "client-key-data": encoded(self.credentials.key),
        }


def encoded(data: bytes) -> str:
    """Base64, as kubeconfig files want it."""
    return base64.b64encode(data).decode()
