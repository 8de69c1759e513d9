"""A real Kubernetes control plane for tests: kube-apiserver and etcd, up in about three seconds.

Fixtures (tests that ask for one are marked `cluster`, and the programs are built before the first test):

    cluster         `Cluster` of the session, shared by all tests and xdist workers. API server alone:
                    what you create stays as you created it, for no controller runs.
    control_plane   `Cluster` of the session with all controllers and the scheduler, but no nodes.
    namespace       name of a new namespace in `cluster`, with its default service account.
    new_cluster, new_control_plane
                    make a `Cluster` for this test alone, to kill and restart parts of.

What a `Cluster` gives:

    cluster.api                          create, apply, replace, patch, get, find, items, delete with plain
                                         dicts; refusals are `ApiError` with code, reason, message, causes
    cluster.api.apply(manifest, dry_run=True, manager="a", force=False)
    cluster.audit.position(), .events(since), .writes(since)      requests that the server answered
    cluster.namespace()                  another namespace
    cluster.kubeconfig                   the administrator's; see also
    cluster.kubeconfig_for_user("alice", ["developers"])          rights come from RBAC
    cluster.kubeconfig_for_service_account(namespace, name)       for `Api(kubeconfig)` or anything else
    cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=text)
    cluster.kubernetes_client(), cluster.dynamic_client()         the official Python library
    cluster.processes.kill("kube-apiserver"), cluster.start_api_server()
    cluster.processes.signal("kube-apiserver", signal.SIGSTOP)    hangs; SIGCONT goes on
    cluster.start_controller_manager(), cluster.start_scheduler()

Without pytest: `with Cluster.start() as cluster:`, or `Cluster.start_control_plane()`.
From a shell, with `tests` on PYTHONPATH:

    python -m support.cluster build      builds what tests need ahead of time
    python -m support.cluster up         runs a cluster until Ctrl-C and prints how to reach it

The programs come from `KUBEBUILDER_ASSETS` or PATH, or are built from Go modules; see `support.tools`.
"""

from support.cluster.api import Api, ApiError, reference
from support.cluster.audit import AuditEvent, AuditLog
from support.cluster.cluster import Cluster, ClusterError

__all__ = ["Api", "ApiError", "AuditEvent", "AuditLog", "Cluster", "ClusterError", "reference"]
