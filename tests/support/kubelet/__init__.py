"""A kubelet for tests: real pods of a real control plane move, and no container runs.

The scheduler binds pods to the kubelet's nodes. What becomes of a pod is a script that the test chooses when
the pod arrives; status, events, exit codes, termination messages, images by digest, `/progress` at the pod's
own address and `kubectl logs` are as a real kubelet's.

    with kubelet(control_plane, Node(name="gpu-1"), Node(name="gpu-2")) as nodes:
        nodes.behave(namespace, all_goes_well(shards=4, items_per_shard=2))

    gate = Gate()                       # the test decides when, not the clock
    nodes.behave(namespace, lambda pod: Script((
        Start(),
        Report(progress(pod, 4, counts(6, 3))),
        Await(gate),
        Say(shard_result(pod, 4, counts(6, 6))),
        Exit(),
    )))

Steps: `Wait`, `Await`, `CannotPull`, `CannotMount`, `Start`, `Report`, `Say`, `Print`, `Exit` (`OUT_OF_MEMORY`).
`Script.on_termination` is what the container does at SIGTERM (default: ends with 75), `grace_seconds` when
SIGKILL follows. `Run(machine)` runs the pod's own command as a process, `Terminate` sends it SIGTERM.
From outside: `kill(pod)`, `node_dies(name)`, `node_is_removed(name)`.
"""

from support.kubelet.kubelet import Kubelet, kubelet
from support.kubelet.machine import Machine
from support.kubelet.nodes import Node
from support.kubelet.scripts import (
    all_goes_well,
    counts,
    is_finish,
    job_result,
    progress,
    shard_of,
    shard_result,
)
from support.kubelet.states import digest_of
from support.kubelet.steps import (
    OUT_OF_MEMORY,
    Await,
    CannotMount,
    CannotPull,
    Exit,
    Gate,
    Print,
    Report,
    Run,
    Say,
    Script,
    Start,
    Terminate,
    Wait,
)

__all__ = [
    "OUT_OF_MEMORY",
    "Await",
    "CannotMount",
    "CannotPull",
    "Exit",
    "Gate",
    "Kubelet",
    "Machine",
    "Node",
    "Print",
    "Report",
    "Run",
    "Say",
    "Script",
    "Start",
    "Terminate",
    "Wait",
    "all_goes_well",
    "counts",
    "digest_of",
    "is_finish",
    "job_result",
    "kubelet",
    "progress",
    "shard_of",
    "shard_result",
]
