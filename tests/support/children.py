"""Builders of what the operator observes: a stored job, its Jobs, its pods, and what these say.

`carry_out` does to an observation what the API server would do by a plan, so that a test can look again.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.progress import PlanSummary, Progress, Throughput
from asyncdiff_api.formats.result import OutputKeys, Result
from asyncdiff_api.status import ConditionType, JobStatus
from asyncdiff_api.validation import load
from asyncdiff_operator.children.config_map import config_map, number_of_shards
from asyncdiff_operator.children.finish_job import finish_job
from asyncdiff_operator.children.shards_job import shards_job
from asyncdiff_operator.intent import Create, Delete, Patch, Plan
from asyncdiff_operator.names import STEP_LABEL, Step, labels_of, shards_name
from asyncdiff_operator.observed import Manifest, Observed, Report
from asyncdiff_operator.plan import plan
from asyncdiff_operator.settings import Defaults

from support import jobs

Document = dict[str, Any]

IMAGE: Final = "registry.example/asyncdiff-runtime:1"
IMAGE_ID: Final = "registry.example/asyncdiff-runtime@sha256:" + "1" * 64
DEFAULTS: Final = Defaults(image=IMAGE)
START: Final = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
UID: Final = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


def after(**parts: float) -> datetime:
    """A moment so long after `START`: ``after(minutes=5)``."""
    return START + timedelta(**parts)


def rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def stored(changes: Mapping[str, Any] | None = None, **metadata: Any) -> Document:
    """A job as the API server stores it; four shards of one item each, two at a time, unless changed."""
    plain = {"spec.generate.seeds": {"count": 4}, "spec.parallelism.pods": 2, "spec.parallelism.shards": 4}
    document = jobs.job(plain | dict(changes or {}))
    spec = load(document).document()["spec"]
    stamps = {
        "namespace": "team",
        "uid": UID,
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": rfc3339(START),
    }
    return {**document, "spec": spec, "metadata": {**document["metadata"], **stamps, **metadata}}


def changed(job: Document, changes: Mapping[str, Any]) -> Document:
    """The job after a person has changed it: the next generation of it."""
    document = copy.deepcopy(job)
    for path, value in changes.items():
        *parents, last = path.split(".")
        owner = document
        for name in parents:
            owner = owner[name]
        owner[last] = value
        if value is None:
            del owner[last]
    document["metadata"]["generation"] += 1
    return document


def config(job: Document) -> Document:
    read = load(job)
    return _server_side(config_map(job, read, number_of_shards(read, None), shards_name(job)), "config")


def shards(job: Document, *, started: datetime | None = START, **status: Any) -> Document:
    """The Job of the shards; its status in the words of Kubernetes: ``completedIndexes="0-1"``."""
    read = load(job)
    document = _server_side(shards_job(job, read, DEFAULTS, number_of_shards(read, None)), "shards")
    begun = {"startTime": rfc3339(started)} if started is not None and not document["spec"]["suspend"] else {}
    return {**document, "status": {**begun, **status}}


def finishing(job: Document, failure: tuple[str, str] | None = None, **status: Any) -> Document:
    """The Job of the finish step."""
    read = load(job)
    manifest = finish_job(job, read, DEFAULTS, IMAGE, failure[1] if failure else "", shards_name(job))
    document = _server_side(manifest, "finish")
    if failure:
        noted = {"asyncdiff.dev/stop-reason": failure[0], "asyncdiff.dev/stop-message": failure[1]}
        document["metadata"]["annotations"] = noted
    return {**document, "status": status}


def ended(kind: str, reason: str = "", message: str = "") -> list[Document]:
    """The conditions of a Job that has ended: Complete or Failed."""
    return [{"type": kind, "status": "True", "reason": reason, "message": message}]


def pod(
    job: Document, shard: int | None, state: str = "running", *, name: str = "", **changes: Any
) -> Document:
    """A pod of a shard, or for None of the finish step: waiting, running, done, failed or drained.

    Args:
        job: The job.
        shard: Number of its shard.
        state: What it does.
        name: Tells pods of one shard apart.
        changes: `result`, `code`, `waits` (the kubelet's reason and message), `unscheduled` (the scheduler's
            message), `disrupted`, `going` (the end of the grace period), `failures`, `drains`, `created`, `phase`,
            `why`.
    """
    step = Step.FINISH if shard is None else Step.SHARDS
    prefix = f"{job['metadata']['name']}-{'finish' if shard is None else shard}"
    annotations = {} if shard is None else {"batch.kubernetes.io/job-completion-index": str(shard)}
    if "failures" in changes:
        annotations["batch.kubernetes.io/job-index-failure-count"] = str(changes["failures"])
    if "drains" in changes:
        annotations["batch.kubernetes.io/job-index-ignored-failure-count"] = str(changes["drains"])
    metadata: Document = {
        "name": f"{prefix}-{name or 'a'}",
        "namespace": "team",
        "uid": f"uid-{prefix}-{name or 'a'}",
        "resourceVersion": "1",
        "labels": {**labels_of(job), STEP_LABEL: str(step)},
        "annotations": annotations,
        "creationTimestamp": rfc3339(changes.get("created", START)),
    }
    if "going" in changes:
        grace = {"deletionGracePeriodSeconds": 75}
        metadata |= {"deletionTimestamp": rfc3339(changes["going"]), **grace}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": "node-1"},
        "status": _pod_status(state, changes),
    }


def _pod_status(state: str, changes: Mapping[str, Any]) -> Document:
    started = {"startedAt": rfc3339(START)}
    conditions = [{"type": "DisruptionTarget", "status": "True"}] if changes.get("disrupted") else []
    if "unscheduled" in changes:
        conditions.append({"type": "PodScheduled", "status": "False", "message": changes["unscheduled"]})
        return {"phase": "Pending", "conditions": conditions}
    if state == "waiting":
        reason, message = changes.get("waits", ("ContainerCreating", ""))
        inner: Document = {"waiting": {"reason": reason, "message": message}}
    elif state == "running":
        inner = {"running": started}
    else:
        code = {"done": 0, "drained": ExitCode.DRAINED}.get(state, changes.get("code", 1))
        inner = {"terminated": {**started, "exitCode": int(code), "reason": changes.get("why", "Error")}}
        if (said := changes.get("result")) is not None:
            inner["terminated"]["message"] = said if isinstance(said, str) else said.encode().decode()
    phases = {"waiting": "Pending", "running": "Running", "done": "Succeeded"}
    container = {"name": "runtime", "state": inner, "imageID": "" if state == "waiting" else IMAGE_ID}
    return {
        "phase": changes.get("phase", phases.get(state, "Failed")),
        "podIP": "10.0.0.7",
        "conditions": conditions,
        "containerStatuses": [container],
    }


def counts(done: int = 0, failed: int = 0, rejected: int = 0, total: int | None = None) -> ItemCounts:
    return ItemCounts(done=done, failed=failed, rejected=rejected, total=total)


def result(
    items: ItemCounts, reason: str = Reason.ALL_ITEMS_DONE, message: str = "", **fields: Any
) -> Result:
    """A shard's last word."""
    known: Document = {"scope": "Shard", "shard": 0, "shards": 4, "attempt": "0" * 8, "sequence": 1}
    return Result(**(known | {"final": True, "items": items, "reason": reason, "message": message} | fields))


def job_result(items: ItemCounts, reason: str = Reason.ALL_ITEMS_DONE, message: str = "") -> Result:
    """The finish step's last word."""
    keys = OutputKeys(manifest="manifest.json", gallery="gallery/index.html")
    return result(items, reason, message, scope="Job", shard=None, exit_code=0, output=keys)


def report(items: ItemCounts, *, at: datetime = START, **fields: Any) -> Report:
    """What a running pod says of itself."""
    known: Document = {"shard": 0, "shards": 4, "attempt": "0" * 8, "sequence": 1, "world_size": 1}
    known |= {"uptime_seconds": 60.0, "phase": "Generating", "items": items, "running": 1}
    return Report(progress=Progress(**(known | fields)), received_at=at)


def speed(items_per_second: float, **fields: Any) -> Throughput:
    return Throughput(items_per_second=items_per_second, **fields)


def chosen_plan() -> PlanSummary:
    return PlanSummary(
        strategy="Lookahead",
        stages=2,
        model_commit="c0ffee",
        schedule_digest="sha256:5",
        reason="it is faster",
    )


def uid_of(manifest: Manifest) -> str:
    return str(manifest["metadata"]["uid"])


def observe(job: Manifest, *children: Manifest, **fields: Any) -> Observed:
    """An observation of a job with some children, each in its place."""
    places: Document = {"pods": ()}
    for child in children:
        if child["kind"] == "Pod":
            places["pods"] = (*places["pods"], child)
        else:
            places[_place(child)] = child
    return Observed(job=job, **(places | fields))


def carry_out(observed: Observed, wanted: Plan) -> Observed:
    """What is observed once a plan was carried out, as far as the API server alone changes it."""
    for operation in wanted.operations:
        match operation:
            case Create(manifest=manifest):
                observed = _with_child(observed, _server_side(manifest, _place(manifest)))
            case Patch(target=target, changes=changes):
                observed = _with_child(observed, merged(target, changes))
            case Delete(target=target) if target["kind"] == "Pod":
                rest = tuple(each for each in observed.pods if uid_of(each) != uid_of(target))
                observed = replace(observed, pods=rest)
            case Delete():
                gone = observed.job["metadata"] | {"deletionTimestamp": rfc3339(START)}
                observed = replace(observed, job={**observed.job, "metadata": gone})
    if wanted.status is not None:
        observed = replace(observed, job=with_status(observed.job, wanted.status))
    return observed


def with_status(job: Manifest, status: JobStatus) -> Document:
    """The job once a status was stored."""
    dumped = json.loads(status.model_dump_json(by_alias=True, exclude_none=True))
    return {**job, "status": dumped}


def settle(observed: Observed, now: datetime, defaults: Defaults = DEFAULTS) -> Observed:
    """What is observed once plans find nothing more to do; questions stay unanswered."""
    for _ in range(5):
        wanted = plan(observed, defaults, now)
        if not wanted.operations and wanted.status is None:
            return observed
        observed = carry_out(observed, wanted)
    raise AssertionError(f"plans go on for ever: {wanted}")


def conditions_of(status: JobStatus) -> dict[str, tuple[str, str]]:
    """Status and reason of each condition."""
    return {each.type: (each.status, each.reason) for each in status.conditions}


def message_of(status: JobStatus, kind: ConditionType) -> str:
    return next(each.message for each in status.conditions if each.type == kind)


def merged(target: Any, changes: Any) -> Any:
    """JSON merge patch (RFC 7396)."""
    if not isinstance(changes, Mapping):
        return changes
    base = dict(target) if isinstance(target, Mapping) else {}
    for key, value in changes.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = merged(base.get(key), value)
    return base


def _with_child(observed: Observed, child: Manifest) -> Observed:
    match _place(child):
        case "config":
            return replace(observed, config=child)
        case "finish_job":
            return replace(observed, finish_job=child)
        case _:
            return replace(observed, shards_job=child)


def _place(manifest: Manifest) -> str:
    if manifest["kind"] == "ConfigMap":
        return "config"
    return "finish_job" if manifest["metadata"]["labels"].get(STEP_LABEL) == Step.FINISH else "shards_job"


def _server_side(manifest: Manifest, uid: str) -> Document:
    document = copy.deepcopy(dict(manifest))
    stamps = {"uid": f"uid-{uid}", "resourceVersion": "1", "creationTimestamp": rfc3339(START)}
    document["metadata"] |= stamps
    return document


def names(objects: Sequence[Manifest]) -> list[str]:
    return [str(each["metadata"]["name"]) for each in objects]


def begun(job: Document, now: datetime = START) -> Document:
    """The job after its children were created and its status told so."""
    return dict(settle(observe(job), now).job)


def look(observed: Observed, now: datetime = START, defaults: Defaults = DEFAULTS) -> JobStatus:
    """The status that a plan wants; the stored one if it wants no other."""
    wanted = plan(observed, defaults, now)
    assert not wanted.questions, wanted.questions
    if wanted.status is not None:
        return wanted.status
    return JobStatus.model_validate_json(json.dumps(observed.job.get("status") or {}))
