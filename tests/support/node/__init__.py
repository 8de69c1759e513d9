"""A whole Kubernetes on this machine: kubelet, containerd, kube-proxy, name server, GPUs that are not there.

    node            `Node` of the session, with the images that the repository's Dockerfile builds. Needs root and
                    Debian's containerd, runc, containernetworking-plugins, buildah and debootstrap; skipped with
                    the reason where these are missing.

What a `Node` gives:

    node.cluster                         the control plane, see `support.cluster`
    node.sandbox.processes.kill("kubelet"), node.start_kubelet()
    node.import_image(archive)           an image from a docker archive; pods use it with imagePullPolicy Never
    node.sandbox.run("ctr", ...)         any program, among the node's processes

Pods and Services have addresses that this machine reaches; pods reach this machine at `HOST`.
"""

from support.node.node import ADDRESS, HOST, Node

__all__ = ["ADDRESS", "HOST", "Node"]
