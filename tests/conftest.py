"""Plugins of the whole test suite: real programs and the fixtures that run them."""

import os

from hypothesis import settings

pytest_plugins = [
    "support.tools.plugin",
    "support.cluster.fixtures",
    "support.helm.fixtures",
    f"support.installation.{'existing' if os.environ.get('E2E_CONTEXT') else 'own'}",
    "support.node.fixtures",
    "support.s3.fixtures",
]

# How long an example takes is the machine's doing: with every core busy, any deadline is missed some day.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
