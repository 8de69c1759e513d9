"""Plugins of the whole test suite: real programs and the fixtures that run them."""

pytest_plugins = [
    "support.tools.plugin",
    "support.cluster.fixtures",
    "support.helm.fixtures",
    "support.installation",
    "support.node.fixtures",
    "support.s3.fixtures",
]
