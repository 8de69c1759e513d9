"""Values for tests."""

from __future__ import annotations

from typing import Any

EVERYTHING: dict[str, Any] = {
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "namespaces": ["team-a", "team-b"],
    "settings": {"allowedImages": ["ghcr.io/asyncdiff/*", "registry.example/*"], "progress": "proxy"},
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
    "networkPolicy": {"metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
    "serviceAccount": {"annotations": {"example.org/role": "renders"}},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
    "nodeSelector": {"pool": "system"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "system-cluster-critical",
    "podLabels": {"team": "render"},
    "podAnnotations": {"note": "hello"},
}
FOREIGN = {"PodMonitor", "PrometheusRule"}
"""Kinds that only a cluster with the Prometheus operator knows."""
