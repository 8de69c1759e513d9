"""What can be built: Go modules of this repository and the programs each gives."""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parents[1] / "cluster" / "go"


@dataclass(frozen=True)
class GoModule:
    """A folder with a go.mod, built into one file that runs as the program it is called by.

    Attributes:
        name: what to call the built file.
        folder: where go.mod lies.
        upstream: the module that holds the programs; go.mod says which version.
        package: what to build, a path in the module or a package's import path.
        programs: the names the file can be called by.
        version_symbol: the variable that the linker sets to the version, if the programs have one.
        minutes: how long a first build takes on two cores, in words for whoever waits.
        tags: what the build leaves out or takes in, in the module's own words.
    """

    name: str
    folder: Path
    upstream: str
    package: str
    programs: tuple[str, ...]
    version_symbol: str
    minutes: str
    tags: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The version of `upstream` that go.mod requires, such as v1.34.4."""
        found = re.search(rf"\b{re.escape(self.upstream)} (v\d\S+)", self._go_mod(), re.MULTILINE)
        if not found:
            raise ValueError(
                f"{self.folder}/go.mod does not require {self.upstream}; its programs come from there"
            )
        return found[1]

    @property
    def oldest_go(self) -> tuple[int, ...]:
        """The oldest release of Go that go.mod accepts, as (major, minor)."""
        found = re.search(r"^go (\d+)\.(\d+)", self._go_mod(), re.MULTILINE)
        if not found:
            raise ValueError(f"{self.folder}/go.mod has no line `go MAJOR.MINOR`; add one")
        return int(found[1]), int(found[2])

    @property
    def build_arguments(self) -> tuple[str, ...]:
        """The arguments of `go build` that shape the result."""
        link = "-s -w"
        if self.version_symbol:
            link += f" -X {self.version_symbol}={self.version}"
        chosen = (f"-tags={','.join(self.tags)}",) if self.tags else ()
        return ("-mod=readonly", "-trimpath", "-buildvcs=false", *chosen, f"-ldflags={link}", self.package)

    @property
    def key(self) -> str:
        """A name for the result of a build, new whenever anything that shapes it is."""
        shaped_by = hashlib.sha256(repr((platform.machine(), self.build_arguments, self.programs)).encode())
        for path in sorted(self.folder.iterdir()):
            if path.name in {"go.mod", "go.sum"} or path.suffix == ".go":
                shaped_by.update(path.name.encode() + path.read_bytes())
        return f"{self.name}-{self.version}-{shaped_by.hexdigest()[:12]}"

    def _go_mod(self) -> str:
        return (self.folder / "go.mod").read_text()


# An API server and the means to talk to it: what the folder KUBEBUILDER_ASSETS holds by custom.
API_PROGRAMS = ("etcd", "kube-apiserver", "kubectl")
# With whatever makes pods of Jobs and finds nodes for them; a node of its own needs the rest.
CONTROL_PROGRAMS = (*API_PROGRAMS, "kube-controller-manager", "kube-scheduler")
KUBE = GoModule(
    name="kube",
    folder=MODULES / "kube",
    upstream="k8s.io/kubernetes",
    package=".",
    programs=(*CONTROL_PROGRAMS, "kubelet", "kube-proxy", "fake-gpus"),
    version_symbol="k8s.io/component-base/version.gitVersion",
    minutes="4 to 6 minutes",
)
VERSITYGW = GoModule(
    name="versitygw",
    folder=MODULES / "versitygw",
    upstream="github.com/versity/versitygw",
    package="github.com/versity/versitygw/cmd/versitygw",
    programs=("versitygw",),
    version_symbol="",
    minutes="a minute or two",
)
COREDNS = GoModule(
    name="coredns",
    folder=MODULES / "coredns",
    upstream="github.com/coredns/coredns",
    package=".",
    programs=("coredns",),
    version_symbol="",
    minutes="a minute or three",
)
HELM = GoModule(
    name="helm",
    folder=MODULES / "helm",
    upstream="helm.sh/helm/v4",
    package="helm.sh/helm/v4/cmd/helm",
    programs=("helm",),
    version_symbol="helm.sh/helm/v4/internal/version.version",
    minutes="a minute or three",
)
PROMTOOL = GoModule(
    name="promtool",
    folder=MODULES / "promtool",
    upstream="github.com/prometheus/prometheus",
    package="github.com/prometheus/prometheus/cmd/promtool",
    programs=("promtool",),
    version_symbol="github.com/prometheus/common/version.Version",
    minutes="two minutes or three",
    # clients of every cloud, by which a server finds what to scrape
    tags=("remove_all_sd",),
)
KUBE_SCORE = GoModule(
    name="kube-score",
    folder=MODULES / "kube-score",
    upstream="github.com/zegl/kube-score",
    package="github.com/zegl/kube-score/cmd/kube-score",
    programs=("kube-score",),
    version_symbol="main.version",
    minutes="half a minute",
)
