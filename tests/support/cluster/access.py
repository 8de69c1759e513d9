"""A cluster by its kubeconfig alone, whoever runs it."""

from __future__ import annotations

import os
import subprocess
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from support.cluster.api import Api, reference
from support.processes import wait_until
from support.tools import KUBE, find_programs


@dataclass(frozen=True)
class Access:
    """What a kubeconfig lets one do.

    Attributes:
        kubeconfig: the file: JSON, with certificates and keys in it, one context.
        program: kubectl.
    """

    kubeconfig: Path
    program: Path

    @classmethod
    def by(cls, kubeconfig: Path) -> Access:
        """With the kubectl of this machine."""
        return cls(kubeconfig, find_programs(KUBE, ["kubectl"])["kubectl"])

    @classmethod
    def of_context(cls, context: str, folder: Path) -> Access:
        """By a context of the user's own kubeconfig, of which a copy is left in `folder`.

        Raises:
            LookupError: there is no such context, or it proves who asks by a program.
        """
        program = find_programs(KUBE, ["kubectl"])["kubectl"]
        view = [str(program), "config", "view", "--raw", "--minify", "--flatten", "--output=json"]
        told = subprocess.run([*view, f"--context={context}"], capture_output=True, text=True)
        if told.returncode:
            raise LookupError(f"kubectl finds no context {context}: {told.stderr.strip()}")
        if '"exec"' in told.stdout or '"auth-provider"' in told.stdout:
            raise LookupError(
                f"the user of context {context} is proved by a program; make a context with a client certificate, "
                "or with a service account's token (kubectl create token)"
            )
        copy = folder / "kubeconfig"
        copy.touch(mode=0o600)
        copy.write_text(told.stdout)
        return cls(copy, program)

    @cached_property
    def api(self) -> Api:
        """The API as this user sees it."""
        return Api(self.kubeconfig)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Runs kubectl and gives what it printed.

        Raises:
            subprocess.CalledProcessError: it failed; `stderr` says why.
        """
        environment = {
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(self.kubeconfig.parent),  # for its cache of discovery
            "PATH": os.environ["PATH"],
        }
        command = [str(self.program), *arguments]
        return subprocess.run(
            command, input=stdin, env=environment, capture_output=True, text=True, check=True
        ).stdout

    def namespace(self, prefix: str) -> str:
        """Makes a namespace with a name of its own, waits until pods can be created in it, and gives the name."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.api.create(reference("v1", "Namespace", name))
        account = reference("v1", "ServiceAccount", "default", name)
        wait_until(lambda: self.api.find(account), what=f"the service account of namespace {name}")
        return name
