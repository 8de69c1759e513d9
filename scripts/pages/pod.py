"""The reference of a pod: commands, pages, metrics, signs of life and limits."""

from __future__ import annotations

from asyncdiff_api.formats import container
from asyncdiff_runtime.batch.metrics import BUILD_INFO, BUILD_LABELS, ITEM_SECONDS, METRICS
from asyncdiff_runtime.batch.mounts import ROOT_VARIABLE
from asyncdiff_runtime.batch.serving import CLIENT_SECONDS, LOOK_SECONDS
from asyncdiff_runtime.batch.throughput import WINDOW_SECONDS
from asyncdiff_runtime.batch.watchdog import (
    GAPS,
    GENERATIONS,
    SECONDS_VARIABLE,
    START_VARIABLE,
    Patience,
)

from pages.markdown import code, page, table

_TOP = f"""
A pod runs one of two commands: `{" ".join(container.SHARD_COMMAND)}` works off a shard, and
`{" ".join(container.FINISH_COMMAND)}` writes manifest, gallery and the last word once the shards have ended; it
may be run again. Both end with one of the [exit codes](exit-codes.md), and leave a result in their termination
message: counts from the ledger, plan, throughput, and a sentence. A shard rewrites it at every write to the
ledger, so that a pod that is killed leaves its last counts behind.

Told to go (SIGTERM), a shard finishes the items in hand, records them and ends with 75. What had come to the
ledger is never made again. A shard of which every block is recorded ends with 0 at once: it starts no ranks and
loads no model, which may be gone by then.

The finish step needs the output alone. It obeys `job.json` there, asks neither for the model nor for the worklist,
and leaves the prefix of another job as it is (64).

Logs go to standard error: a line of JSON for each event, or plain lines on a terminal. `trace` is the same in
the operator's log, in all pods of a job and in each item's metadata. No prompt is ever logged or served.
"""
_MOUNTS = f"""
The operator mounts these. `{ROOT_VARIABLE}` names a folder that stands for the root, to try the commands
without a cluster.
"""
_SERVED = f"""
While it runs, a shard answers GET at port {container.HTTP_PORT}, and nothing else: it takes no orders. A client that is
silent for {CLIENT_SECONDS:.0f} s is dropped.

While files of the model are fetched, the phase is `Loading` and `download` tells how many bytes have come, of how
many. In a cache that pods share, what another pod fetches counts too.
"""
_METRICS = """
For Prometheus, in its text format or in OpenMetrics, as the scraper asks. Counters are of one pod and begin
with it, as Prometheus expects.
"""
_WATCHDOG = """
Every rank gives signs of life: one from its work at each evaluation, one from its process every half second.
The pod's first process counts how long they stay away. Time in which it did not run itself, because the whole
pod was frozen, counts for nothing.

A rank over its limit is killed. The pod then ends with 70 and reason `RankHung`, naming rank, item and
evaluation; the other ranks record what they have, and the retry makes the rest. Where ranks make one sample
together, a rank that hangs silences all: named is the one whose process stands still, else the one furthest
behind.

Limits are learned from the job itself: what is usual for items of a size is known once two of them are made.
"""
_WATCHDOG_END = f"""
`{SECONDS_VARIABLE}` and `{START_VARIABLE}` change the two numbers; set them in `spec.pod.env`, or in the
environment of `asyncdiff run`. Ranks that make one sample together wait for each other twice as long as the larger
one ({Patience().of_group:.0f} s), with NCCL as with gloo, so that the watchdog names the one that hangs before the
others give up.

**A download is no silence**, however long it takes: each time something has come counts as a sign of life.

**An item that takes far longer than its like** ends its rank in the same way, and is not marked as failed: all
items of a size take the same work, so the machine is at fault and not the item, and another pod may do better.
"""
_MEMORY = """
Before weights are read, the headers of their files are added up in the job's `dtype`, and compared with what
the device has free (on CPUs: what the machine or the pod's limit leaves, for all ranks together). Weights
that cannot fit end the job with 71, naming both numbers. Weights that are quantized while they are loaded are
not added up.

A batch for which memory runs out, on a GPU or where the process may have no more, is halved once, and all later
ones with it. If that does not fit either, or a single item does not, the job ends with 71. A rank that the kernel
kills for the memory it takes ends the pod with 70, which says so and is retried.
"""


def pod_page() -> str:
    """Gives the page on the pods of a job."""
    return page(
        "Pods",
        _TOP,
        "## What a pod finds",
        _MOUNTS,
        table(["Where", "What"], _mounts()),
        "## What a pod serves",
        _SERVED,
        table(["Path", "Answer"], _pages()),
        "## Metrics",
        _METRICS,
        table(["Name", "Kind", "Labels", "Meaning"], _metrics()),
        "## A rank that hangs",
        _WATCHDOG,
        table(["While a rank …", "it may be silent for"], _limits(Patience())),
        _WATCHDOG_END,
        "## Memory",
        _MEMORY,
    )


def _mounts() -> list[list[str]]:
    return [
        [code(f"{container.JOB_FOLDER}/{container.JOB_FILE}"), "The job."],
        [
            code(f"{container.WORKLIST_FOLDER}/{container.WORKLIST_FILE}"),
            "`generate.worklist.configMap`, if there is one.",
        ],
        [
            code(f"{container.S3_FOLDER}/"),
            (
                "`output.s3.credentialsSecret`, a file for each key; read for every request, so that rotated keys work "
                "at once. Without it: the environment's credentials, such as workload identity."
            ),
        ],
        [
            code(f"{container.HUB_FOLDER}/{container.HUB_TOKEN}"),
            "`model.tokenSecret`, read each time it is needed.",
        ],
        [code(f"{container.VOLUMES}/CLAIM"), "Each volume that the job names."],
        [
            code(str(container.CACHE)),
            (
                "Models, and in `asyncdiff/compiled` what `parallelism.compile: Captured` compiled, at most 8 GiB, the "
                "parts used longest ago making room. Found by `XDG_CACHE_HOME`, `HF_HOME`, `TORCHINDUCTOR_CACHE_DIR` "
                "and the like, unless `pod.env` sets these."
            ),
        ],
        [code(str(container.TERMINATION_LOG)), "Takes the result, at most 4096 bytes."],
    ]


def _pages() -> list[list[str]]:
    return [
        [
            code(container.PROGRESS_PATH),
            (
                "JSON: items, what each rank has in hand, its evaluation and the age of its last sign of life, "
                f"throughput over the latest {WINDOW_SECONDS / 60:.0f} minutes, remaining seconds, the plan. At most "
                "64 KiB."
            ),
        ],
        [code(container.METRICS_PATH), "The metrics below."],
        [
            code(container.HEALTH_PATH),
            f"200 while the pod looks after its ranks; 503 with the reason once it has not for {LOOK_SECONDS:.0f} s.",
        ],
    ]


def _metrics() -> list[list[str]]:
    described = [
        [
            code(f"{metric.name}_total" if metric.counts else metric.name),
            "counter" if metric.counts else "gauge",
            ", ".join(code(label) for label in metric.labels),
            metric.help,
        ]
        for metric in METRICS
    ]
    return [
        *described,
        [code(ITEM_SECONDS[0]), "histogram", "", ITEM_SECONDS[1]],
        [code(BUILD_INFO[0]), "gauge", ", ".join(code(label) for label in BUILD_LABELS), BUILD_INFO[1]],
    ]


def _limits(usual: Patience) -> list[list[str]]:
    shortest, start = f"{usual.shortest:.0f} s ({code(SECONDS_VARIABLE)})", f"{usual.start:.0f} s"
    return [
        ["does not run at all", shortest],
        [
            "loads, reads, or waits for storage; makes the first two items of a size, which may compile",
            f"{start} ({code(START_VARIABLE)})",
        ],
        [
            "makes an item like others before",
            f"{GAPS} times its longest silence so far, and at least {shortest}",
        ],
        [
            "makes an item like others before: the item as a whole",
            f"{GENERATIONS} times the longest so far, and at least {shortest}",
        ],
        ["waits for the rank that leads it", "any time: the leader is watched"],
    ]
