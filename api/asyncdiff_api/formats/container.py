"""What a pod of the runtime finds around it, and what it leaves: paths, port, variables and commands.

The operator writes pod templates from these names and the runtime reads by them. A job that runs keeps the
template it was created with, so a later runtime still honours every name here.

    /etc/asyncdiff/job/job.json             the job, from the ConfigMap that the operator made; shards are set in it
    /etc/asyncdiff/worklist/worklist.jsonl  the key of generate.worklist.configMap
    /etc/asyncdiff/s3/AWS_ACCESS_KEY_ID …   output.s3.credentialsSecret, a file a key; may be absent
    /etc/asyncdiff/hub/token                model.tokenSecret; may be absent
    /etc/asyncdiff/ca/ca.crt                certificates that the cluster's administrator trusts; may be absent
    /mnt/asyncdiff/<claim>                  each volume that the job names
    /var/cache/asyncdiff                    models and compiled graphs: pod.modelCacheClaim, else emptied with the pod
    /tmp, /dev/shm                          writable, emptied with the pod
    /dev/termination-log                    the `Result`, rewritten in place at every flush
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

SHARD_COMMAND: Final = ("python", "-m", "asyncdiff_runtime.batch.pod", "shard")
"""Works off the shard that `SHARD_VARIABLE` numbers."""

FINISH_COMMAND: Final = ("python", "-m", "asyncdiff_runtime.batch.pod", "finish")
"""Writes manifest, gallery and the last word; may be run again."""

CONTAINER: Final = "runtime"
"""Name of the pod's one container."""

JOB_FOLDER: Final = PurePosixPath("/etc/asyncdiff/job")
JOB_FILE: Final = "job.json"
WORKLIST_FOLDER: Final = PurePosixPath("/etc/asyncdiff/worklist")
WORKLIST_FILE: Final = "worklist.jsonl"
S3_FOLDER: Final = PurePosixPath("/etc/asyncdiff/s3")
HUB_FOLDER: Final = PurePosixPath("/etc/asyncdiff/hub")
HUB_TOKEN: Final = "token"  # noqa: S105 -- the name of a file
CA_FOLDER: Final = PurePosixPath("/etc/asyncdiff/ca")
CA_FILE: Final = "ca.crt"
VOLUMES: Final = PurePosixPath("/mnt/asyncdiff")
CACHE: Final = PurePosixPath("/var/cache/asyncdiff")
TEMPORARY: Final = PurePosixPath("/tmp")  # noqa: S108 -- the pod's own
SHARED_MEMORY: Final = PurePosixPath("/dev/shm")  # noqa: S108 -- the pod's own
TERMINATION_LOG: Final = PurePosixPath("/dev/termination-log")

HTTP_PORT: Final = 8080
HTTP_PORT_NAME: Final = "http"
PROGRESS_PATH: Final = "/progress"
METRICS_PATH: Final = "/metrics"
HEALTH_PATH: Final = "/healthz"

SHARD_VARIABLE: Final = "JOB_COMPLETION_INDEX"
"""Set by Kubernetes in the pods of an Indexed Job."""
TRACE_VARIABLE: Final = "ASYNCDIFF_TRACE_ID"
"""32 hexadecimal digits, the same in the operator's log, the pods' logs and each item's metadata."""
FAILURE_VARIABLE: Final = "ASYNCDIFF_FAILURE"
"""For the finish step: why the shards did not all succeed, as a sentence; absent if they did."""
INPUT_HOSTS_VARIABLE: Final = "ASYNCDIFF_INPUT_HOSTS"
"""Hosts from which inputs may come over https: `host`, `host:port` or `*.domain`, with commas; none if absent."""
POD_VARIABLE: Final = "ASYNCDIFF_POD"
"""The pod's name, for logs."""

DRAIN_MARGIN_SECONDS: Final = 15
"""Seconds between the end of a drain and the pod's being killed: terminationGracePeriodSeconds is both."""
