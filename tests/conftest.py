"""Plugins of the whole test suite: real programs and the fixtures that run them."""

import os

pytest_plugins = [
    "support.tools.plugin",
    "support.cluster.fixtures",
    "support.helm.fixtures",
    f"support.installation.{'existing' if os.environ.get('E2E_CONTEXT') else 'own'}",
    "support.node.fixtures",
    "support.s3.fixtures",
]
