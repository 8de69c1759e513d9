"""The operator, installed by Helm on a real cluster, and a bucket that its pods reach by name.

    installation    `Installation` of the session: on a node that is made for it and goes with it; or, where
                    `E2E_CONTEXT` names a context of your kubeconfig, on that cluster.

For a cluster that is there already:

    E2E_CONTEXT     the context. The cluster must not know AsyncDiffJobs yet: the tests remove what they install.
    E2E_ADDRESS     an address of this machine that the cluster's pods reach; the bucket is served there.
    E2E_IMAGES      where the cluster finds `asyncdiff-operator:e2e` and `asyncdiff-runtime:e2e`, such as
                    registry.example/team; without it, nodes must have them as localhost/asyncdiff-operator:e2e ….
"""

from support.installation.installation import SYSTEM, Installation

__all__ = ["SYSTEM", "Installation"]
