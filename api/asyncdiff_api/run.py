"""`spec.run`: when the job starts, how long it may take, what is tried again."""

from typing import Annotated

from asyncdiff_api.fields import OBJECT_NAME, Label, Range, Section

YEAR_SECONDS = 31_536_000


class Run(Section):
    """When the job starts, how long it may take, what is tried again."""

    suspend: Annotated[
        bool,
        Label(
            "True stops the pods and keeps the finished items. Refused with queueName, where Kueue suspends.",
            identity=False,
            mutable=True,
        ),
    ] = False
    queue_name: Annotated[
        str,
        OBJECT_NAME.or_empty(),
        Label("Kueue LocalQueue that admits the job. Default: no queue.", identity=False, mutable=False),
    ] = ""
    priority_class_name: Annotated[
        str, OBJECT_NAME.or_empty(), Label("PriorityClass of the pods.", identity=False, mutable=False)
    ] = ""
    start_deadline_seconds: Annotated[
        int,
        Range(10, YEAR_SECONDS),
        Label(
            "Seconds that the first pod may take to start (quota, scheduling, image pulls); past it the job "
            "fails with the pod's own reason.",
            identity=False,
            mutable=True,
        ),
    ] = 900
    active_deadline_seconds: Annotated[
        int | None,
        Range(1, YEAR_SECONDS),
        Label(
            "Seconds that the job may run in all, waiting for pods included and suspended time left out; in a queue, "
            "since it was last admitted. Default: no limit.",
            identity=False,
            mutable=True,
        ),
    ] = None
    ttl_seconds_after_finished: Annotated[
        int | None,
        Range(0, YEAR_SECONDS),
        Label(
            "Seconds after its end at which the job is deleted; its output stays. Default: never.",
            identity=False,
            mutable=True,
        ),
    ] = None
    retries_per_shard: Annotated[
        int,
        Range(0, 100),
        Label(
            "Retries of a shard that failed, before it is given up. Drains are not counted.",
            identity=False,
            mutable=False,
        ),
    ] = 3
    drain_seconds: Annotated[
        int,
        Range(0, 3600),
        Label(
            "Seconds that a pod has to save its work when it is told to stop.", identity=False, mutable=False
        ),
    ] = 60
    force_delete_after_seconds: Annotated[
        int | None,
        Range(60, YEAR_SECONDS),
        Label(
            "Seconds after which a pod stuck in Terminating (on a dead node) is deleted by force. Default: "
            "never, the condition Degraded tells.",
            identity=False,
            mutable=True,
        ),
    ] = None
