"""A small client for tests: manifests as plain dicts in, plain dicts out, refusals as facts to assert on.

It sends what it is given, bad fields and all, which typed clients will not.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

import urllib3

if TYPE_CHECKING:
    from pathlib import Path

Manifest = Mapping[str, Any]
Document = dict[str, Any]
Validation = Literal["Strict", "Warn", "Ignore"]

JSON = "application/json"
APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


class ApiError(Exception):
    """The API server's refusal.

    Attributes:
        code: the HTTP status.
        reason: a word for programs, such as Invalid, Forbidden, Conflict.
        message: the sentence that a person sees.
        causes: for each bad field, its path and what is wrong with it.
    """

    def __init__(self, code: int, status: Manifest) -> None:
        self.code = code
        self.reason: str = status.get("reason", "")
        self.message: str = status.get("message", "")
        causes = (status.get("details") or {}).get("causes") or []
        self.causes: list[tuple[str, str]] = [
            (cause.get("field", ""), cause.get("message", "")) for cause in causes
        ]
        super().__init__(f"{code} {self.reason}: {self.message}")


def reference(api_version: str, kind: str, name: str = "", namespace: str = "") -> Document:
    """What names an object, or without a name a kind, to the methods of `Api`."""
    metadata = {key: value for key, value in (("name", name), ("namespace", namespace)) if value}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


class Api:
    """The API of a cluster as one user sees it. Whatever looks like a manifest names an object."""

    def __init__(self, kubeconfig: Path) -> None:
        """Reads a kubeconfig that `support.cluster.kubeconfig` wrote."""
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server: str = cluster["server"]
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._pool = urllib3.PoolManager(ssl_context=ssl_context(cluster, user), retries=False, maxsize=16)
        self._resources: dict[tuple[str, str], Document] = {}

    def create(
        self, manifest: Manifest, *, dry_run: bool = False, validation: Validation = "Strict"
    ) -> Document:
        """Creates an object; a dry run does all but store it. Unknown fields are refused unless told otherwise."""
        query = {**dry(dry_run), "fieldValidation": validation}
        return self.request("POST", self._collection(manifest, "default"), manifest, query=query)

    def apply(
        self, manifest: Manifest, *, manager: str = "tests", force: bool = False, dry_run: bool = False
    ) -> Document:
        """Server-side apply: creates or changes the fields in the manifest, and owns them as `manager`."""
        query = {
            **dry(dry_run),
            "fieldManager": manager,
            "fieldValidation": "Strict",
            "force": str(force).lower(),
        }
        return self.request("PATCH", self.path(manifest), manifest, query=query, content_type=APPLY_PATCH)

    def replace(self, manifest: Manifest, *, subresource: str = "", dry_run: bool = False) -> Document:
        """Puts a whole object, with the resourceVersion it was read at."""
        query = {**dry(dry_run), "fieldValidation": "Strict"}
        return self.request("PUT", self.path(manifest, subresource), manifest, query=query)

    def patch(
        self, target: Manifest, change: object, *, subresource: str = "", content_type: str = MERGE_PATCH
    ) -> Document:
        """Changes an object by a merge patch, or by the kind of patch that `content_type` names."""
        return self.request("PATCH", self.path(target, subresource), change, content_type=content_type)

    def get(self, target: Manifest, *, subresource: str = "") -> Document:
        """Reads an object."""
        return self.request("GET", self.path(target, subresource))

    def find(self, target: Manifest) -> Document | None:
        """Reads an object; None if there is none of that name."""
        try:
            return self.get(target)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def items(self, kind: Manifest, **query: str) -> list[Document]:
        """Lists a kind, in one namespace if `kind` names one; labelSelector and the like as query."""
        found: list[Document] = self.request("GET", self._collection(kind, ""), query=query)["items"]
        return found

    def delete(self, target: Manifest, **query: str) -> Document:
        """Deletes an object; propagationPolicy and the like as query."""
        return self.request("DELETE", self.path(target), query=query)

    def may(self, verb: str, target: Manifest) -> bool:
        """Whether this user may do something to a kind or an object; new grants take effect in a moment."""
        group, _, _ = target["apiVersion"].rpartition("/")
        resource = self._resource(target["apiVersion"], target["kind"])["name"]
        asked = {"verb": verb, "group": group, "resource": resource, **target.get("metadata", {})}
        review = reference("authorization.k8s.io/v1", "SelfSubjectAccessReview")
        answer = self.create({**review, "spec": {"resourceAttributes": asked}})
        return bool(answer["status"]["allowed"])

    def path(self, target: Manifest, subresource: str = "") -> str:
        """The address of an object, in the namespace `default` unless it names another."""
        address = [self._collection(target, "default"), target["metadata"]["name"], subresource]
        return "/".join(filter(None, address))

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> Document:
        """Any request of the API.

        Raises:
            ApiError: the server refused.
            urllib3.exceptions.HTTPError: the server could not be reached.
        """
        response = self._pool.request(
            method,
            f"{self.server}{path}?{urlencode(query or {})}",
            body=None if body is None else json.dumps(body).encode(),
            headers={**self._headers, "Content-Type": content_type, "Accept": JSON},
        )
        text = response.data.decode(errors="replace")
        document: Document = json.loads(text) if text.startswith("{") else {"message": text}
        if response.status >= 400:
            raise ApiError(response.status, document)
        return document

    def _collection(self, target: Manifest, default_namespace: str) -> str:
        """The address of all objects of a kind, in one namespace if the target or the default names one."""
        version = target["apiVersion"]
        resource = self._resource(version, target["kind"])
        namespace = target.get("metadata", {}).get("namespace") or default_namespace
        scope = f"/namespaces/{namespace}" if resource["namespaced"] and namespace else ""
        return f"{group_path(version)}{scope}/{resource['name']}"

    def _resource(self, version: str, kind: str) -> Document:
        """What discovery says of a kind; asked again for a kind not seen before, which may be new."""
        if (version, kind) not in self._resources:
            for resource in self.request("GET", group_path(version))["resources"]:
                if "/" not in resource["name"]:
                    self._resources[version, resource["kind"]] = resource
        if (version, kind) not in self._resources:
            raise LookupError(f"the API server knows no {kind} in {version}; apply its CRD first")
        return self._resources[version, kind]


def group_path(version: str) -> str:
    """Where the kinds of an apiVersion are served."""
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def dry(dry_run: bool) -> dict[str, str]:
    """The query of a dry run."""
    return {"dryRun": "All"} if dry_run else {}


def ssl_context(cluster: Manifest, user: Manifest) -> ssl.SSLContext:
    """Trusts the cluster's authority alone and shows the user's certificate, if there is one."""
    context = ssl.create_default_context(
        cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
    )
    if "client-key-data" in user:
        with tempfile.NamedTemporaryFile() as pem:  # the ssl module reads keys from files alone
            pem.write(
                base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
            )
            pem.flush()
            context.load_cert_chain(pem.name)
    return context
