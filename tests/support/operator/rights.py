"""What the roles of the manifests let the operator do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from support.repository import ROOT

if TYPE_CHECKING:
    from support.cluster import Cluster

Document = dict[str, Any]
Right = tuple[str, str]
"""A verb and a resource, with its subresource after a slash."""

RIGHTS = ("Namespace", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def manifests(plane: Cluster) -> list[Document]:
    """The manifests' roles, and what binds them."""
    documents = yaml.safe_load_all(plane.kubectl("kustomize", str(ROOT / "manifests")))
    return [document for document in documents if document["kind"] in RIGHTS]


def granted(documents: list[Document]) -> set[Right]:
    """What the roles of the operator allow; those of people are named otherwise."""
    rules = [
        rule
        for document in documents
        if document["kind"] in ("Role", "ClusterRole")
        and document["metadata"]["name"].startswith("asyncdiff-operator")
        for rule in document["rules"]
    ]
    return {(verb, resource) for rule in rules for verb in rule["verbs"] for resource in rule["resources"]}
