"""Condition types of an AsyncDiffJob and the closed list of their reasons, each with its cause and remedy.

The operator writes no reason that is not here; the troubleshooting page is generated from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from asyncdiff_api.status import ConditionType


class Reason(StrEnum):
    """Every reason that a condition, an event or a result of the runtime may carry."""

    VALID = "Valid"
    INVALID_JOB = "InvalidJob"
    UNKNOWN_OPTION = "UnknownOption"
    NOT_ALLOWED = "NotAllowed"
    REFUSED_BY_KUBERNETES = "RefusedByKubernetes"
    CONFIG_MAP_MISSING = "ConfigMapMissing"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 -- a condition's reason, not a secret
    SERVICE_ACCOUNT_MISSING = "ServiceAccountMissing"
    WAITING_FOR_PODS = "WaitingForPods"
    WAITING_FOR_QUEUE = "WaitingForQueue"
    PODS_RUNNING = "PodsRunning"
    PODS_REPLACED = "PodsReplaced"
    LOADING = "Loading"
    COMPILING = "Compiling"
    GENERATING = "Generating"
    DRAINING = "Draining"
    FINISHING = "Finishing"
    ENDED = "Ended"
    ALL_ITEMS_DONE = "AllItemsDone"
    DONE_WITH_FAILED_ITEMS = "DoneWithFailedItems"
    SUSPENDED_BY_USER = "SuspendedByUser"
    SUSPENDED_BY_QUEUE = "SuspendedByQueue"
    SUSPENDED_BY_OTHERS = "SuspendedByOthers"
    NOT_SUSPENDED = "NotSuspended"
    ANOTHER_JOB = "AnotherJob"
    WORKLIST_CHANGED = "WorklistChanged"
    WORKLIST_UNREADABLE = "WorklistUnreadable"
    UNSUPPORTED_VERSION = "UnsupportedVersion"
    DAMAGED_RECORD = "DamagedRecord"
    BAD_WORKLIST_LINE = "BadWorklistLine"
    TOO_MANY_FAILED_ITEMS = "TooManyFailedItems"
    INPUT_REFUSED = "InputRefused"
    MODEL_UNAVAILABLE = "ModelUnavailable"
    OUTPUT_REFUSED = "OutputRefused"
    OUTPUT_EXISTS = "OutputExists"
    CONDITIONAL_WRITES_UNSUPPORTED = "ConditionalWritesUnsupported"
    DOES_NOT_FIT = "DoesNotFit"
    OUTAGE = "Outage"
    DRAINED = "Drained"
    RANK_HUNG = "RankHung"
    DEVICE_LOST = "DeviceLost"
    UNEXPECTED_ERROR = "UnexpectedError"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    DRAINED_TOO_OFTEN = "DrainedTooOften"
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"
    ACTIVE_DEADLINE_EXCEEDED = "ActiveDeadlineExceeded"
    FINISH_FAILED = "FinishFailed"
    CHILD_DELETED = "ChildDeleted"
    CHILD_DISOWNED = "ChildDisowned"
    NAME_TAKEN = "NameTaken"
    HEALTHY = "Healthy"
    PODS_PENDING = "PodsPending"
    POD_STUCK_TERMINATING = "PodStuckTerminating"
    SHARDS_RETRYING = "ShardsRetrying"
    SHARDS_FAILED = "ShardsFailed"
    NO_PROGRESS = "NoProgress"
    PROGRESS_UNKNOWN = "ProgressUnknown"
    PODS_CLAMPED = "PodsClamped"
    INVALID_STORED_OBJECT = "InvalidStoredObject"
    UP_TO_DATE = "UpToDate"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReasonText:
    """What a person needs to know about a reason."""

    types: tuple[ConditionType, ...]
    """Conditions that may carry it."""
    cause: str
    """What was found."""
    remedy: str
    """What to do; "Nothing to do." where the system goes on by itself."""


_NOTHING = "Nothing to do."
_ACCEPTED, _STARTED, _PROGRESSING = ConditionType.ACCEPTED, ConditionType.STARTED, ConditionType.PROGRESSING
_COMPLETE, _FAILED, _SUSPENDED = ConditionType.COMPLETE, ConditionType.FAILED, ConditionType.SUSPENDED
_DEGRADED, _RECONCILING, _STALLED = ConditionType.DEGRADED, ConditionType.RECONCILING, ConditionType.STALLED


def _text(types: tuple[ConditionType, ...], cause: str, remedy: str = _NOTHING) -> ReasonText:
    return ReasonText(types=types, cause=cause, remedy=remedy)


_BEFORE_WORK: dict[Reason, ReasonText] = {
    Reason.VALID: _text((_ACCEPTED,), "The job passed every check that needs no GPU."),
    Reason.INVALID_JOB: _text(
        (_FAILED,),
        "A field has a value that the rules refuse; the message names field and rule.",
        "Correct the field and create the job again: most fields cannot change once the job exists.",
    ),
    Reason.UNKNOWN_OPTION: _text(
        (_FAILED,),
        "generate.options or a worklist line names an option that the pipeline's call does not have.",
        "Use the name that the message suggests, or remove the option.",
    ),
    Reason.NOT_ALLOWED: _text(
        (_ACCEPTED, _STALLED),
        "The operator's allow-list has no entry for the image, service account or Secret that the job names.",
        "Use one that is allowed, or have the list changed (`--allowed-images`, `--allowed-service-accounts`, "
        "`--allowed-secrets`, in Helm under `settings`).",
    ),
    Reason.REFUSED_BY_KUBERNETES: _text(
        (_ACCEPTED, _DEGRADED, _STALLED),
        "The API server refuses an object that the job needs; the message gives its words.",
        "Change what it names: a field of spec.pod, a quota, an admission policy. It is tried again by itself.",
    ),
    Reason.CONFIG_MAP_MISSING: _text(
        (_ACCEPTED, _DEGRADED, _RECONCILING),
        "The ConfigMap of the worklist, or the key in it, does not exist in the job's namespace.",
        "Create it; the job goes on by itself.",
    ),
    Reason.SECRET_MISSING: _text(
        (_DEGRADED, _FAILED),
        "A Secret that the job names, or a key in it, does not exist in the job's namespace.",
        "Create it; a job that waits goes on by itself.",
    ),
    Reason.SERVICE_ACCOUNT_MISSING: _text(
        (_DEGRADED,),
        "pod.serviceAccountName names a service account that does not exist in the job's namespace.",
        "Create it; the job goes on by itself.",
    ),
    Reason.WAITING_FOR_PODS: _text(
        (_STARTED, _PROGRESSING),
        "No pod runs yet: quota, scheduling or the image pull is not through.",
        "Wait: after a minute the message says what holds the pods up, and past run.startDeadlineSeconds the job "
        "fails.",
    ),
    Reason.WAITING_FOR_QUEUE: _text(
        (_STARTED, _PROGRESSING),
        "The queue has not admitted the job.",
        "Look at the Workload's conditions (`kubectl get workloads`).",
    ),
    Reason.PODS_RUNNING: _text((_STARTED, _PROGRESSING), "Pods run."),
    Reason.PODS_REPLACED: _text(
        (_PROGRESSING,), "No pod runs at the moment: those that ran have ended, and others come for them."
    ),
    Reason.START_DEADLINE_EXCEEDED: _text(
        (_FAILED,),
        "No pod started within run.startDeadlineSeconds; the message gives the pods' own reason.",
        "Remove that cause (image name, pull secret, quota, node selector) and create the job again.",
    ),
}

_AT_WORK: dict[Reason, ReasonText] = {
    Reason.LOADING: _text((_PROGRESSING,), "The pods load the model."),
    Reason.COMPILING: _text((_PROGRESSING,), "The pods capture and compile the model."),
    Reason.GENERATING: _text((_PROGRESSING,), "The pods generate items."),
    Reason.DRAINING: _text((_PROGRESSING,), "The pods finish the items in hand and stop."),
    Reason.FINISHING: _text((_PROGRESSING,), "The shards ended; the manifest and the gallery are written."),
    Reason.ENDED: _text(
        (_PROGRESSING, _RECONCILING, _STARTED, _DEGRADED, _STALLED),
        "The job has ended; see Complete and Failed.",
    ),
    Reason.ALL_ITEMS_DONE: _text((_COMPLETE,), "Every item is in the output and in the manifest."),
    Reason.DONE_WITH_FAILED_ITEMS: _text(
        (_COMPLETE,),
        "The job is done; some items failed or were rejected, no more than acceptance.maxFailedItems.",
        "The manifest lists them with prompt, seed and reason.",
    ),
    Reason.SUSPENDED_BY_USER: _text(
        (_SUSPENDED, _PROGRESSING),
        "run.suspend is true.",
        "Set it to false; the job resumes where its ledger stands.",
    ),
    Reason.SUSPENDED_BY_QUEUE: _text(
        (_SUSPENDED, _PROGRESSING),
        "The queue has not admitted the job, or took its quota back.",
        "Look at the Workload's conditions (`kubectl get workloads`).",
    ),
    Reason.SUSPENDED_BY_OTHERS: _text(
        (_STARTED, _SUSPENDED, _PROGRESSING, _DEGRADED),
        "Something else keeps the job's Job suspended, whenever the operator resumes it.",
        "If it is Kueue, which may manage every Job, exempt the namespace or create the job again with run.queueName. "
        "Once nothing suspends the Job any more, set run.suspend to true and to false again.",
    ),
    Reason.NOT_SUSPENDED: _text((_SUSPENDED,), "The job may run."),
    Reason.HEALTHY: _text((_DEGRADED,), "Nothing hinders the job."),
    Reason.PODS_PENDING: _text(
        (_DEGRADED,),
        "Some pods run and others cannot start; the message gives their reason.",
        "Add nodes or quota, or lower parallelism.pods.",
    ),
    Reason.POD_STUCK_TERMINATING: _text(
        (_DEGRADED,),
        "A pod is Terminating beyond its grace period, most likely on a dead node: its shard waits.",
        "Make sure that the node is off, then `kubectl delete node` it or set run.forceDeleteAfterSeconds; "
        "`kubectl delete pod --force` alone leaves the pod to its Job.",
    ),
    Reason.SHARDS_RETRYING: _text(
        (_DEGRADED,), "Pods failed and their shards run again; the message gives the last error."
    ),
    Reason.SHARDS_FAILED: _text(
        (_DEGRADED, _FAILED),
        "Some shards failed for good; the others run on, and what they make is kept.",
        "See the message now, and the manifest when the job has ended.",
    ),
    Reason.NO_PROGRESS: _text(
        (_DEGRADED,),
        "Pods run, and no item has been finished for much longer than an item takes.",
        "Look at the pod's log; the watchdog ends a hung rank by itself.",
    ),
    Reason.PROGRESS_UNKNOWN: _text(
        (_DEGRADED, _PROGRESSING),
        "No running pod answers on /progress; counts are as of the last finished pod.",
        "Allow the operator to reach the pods (NetworkPolicy), or start it with --progress=proxy or off.",
    ),
    Reason.PODS_CLAMPED: _text(
        (_DEGRADED,),
        "parallelism.pods is larger than the number of shards; only as many pods run.",
        "Lower parallelism.pods; shards cannot change.",
    ),
    Reason.UP_TO_DATE: _text((_RECONCILING, _STALLED), "The operator has acted on the newest spec."),
}

_ENDS: dict[Reason, ReasonText] = {
    Reason.ANOTHER_JOB: _text(
        (_FAILED,),
        "The output prefix belongs to a job that asked for something else; the message names the field.",
        "Use another prefix, or ask for what the prefix holds.",
    ),
    Reason.WORKLIST_CHANGED: _text(
        (_FAILED,),
        "The worklist is not the one that the output prefix was begun with.",
        "Put the first worklist back, or use another prefix.",
    ),
    Reason.WORKLIST_UNREADABLE: _text(
        (_FAILED,),
        "The worklist is missing, may not be read, or is not JSON lines in UTF-8.",
        "Correct the address, the permission or the file.",
    ),
    Reason.UNSUPPORTED_VERSION: _text(
        (_FAILED,),
        "A file under the output prefix was written in a format that this version does not read.",
        "Use the version that wrote it or a newer one, or another prefix.",
    ),
    Reason.DAMAGED_RECORD: _text(
        (_FAILED,),
        "A file under job.json or manifest/ in the output prefix is not what its name says, or is cut short.",
        "Delete that file (the items it lists are made again), or use another prefix.",
    ),
    Reason.BAD_WORKLIST_LINE: _text(
        (_FAILED,),
        "A line of the worklist does not parse; the message names line and key.",
        "Correct the line and use another prefix, since the worklist is then another.",
    ),
    Reason.TOO_MANY_FAILED_ITEMS: _text(
        (_FAILED,),
        "More items failed or were rejected than acceptance.maxFailedItems.",
        "Look at rejected/ and at the manifest; if the rest is good enough, create the job again with a greater "
        "maxFailedItems: it resumes.",
    ),
    Reason.INPUT_REFUSED: _text(
        (_FAILED,),
        "An input image or video is missing, may not be read, or its address is not allowed.",
        "Correct the address or the permission, or have the host allowed for https inputs (`--input-hosts`).",
    ),
    Reason.MODEL_UNAVAILABLE: _text(
        (_FAILED,),
        "The model or an adapter is missing, gated, unreadable, or has no such revision.",
        "Correct repository and revision, accept the model's terms, or set model.tokenSecret.",
    ),
    Reason.OUTPUT_REFUSED: _text(
        (_FAILED,),
        "The output may not be written: no such bucket or claim, no permission, or no space.",
        "Correct output, its credentials or the bucket's policy.",
    ),
    Reason.OUTPUT_EXISTS: _text(
        (_FAILED,),
        "The output prefix holds a job already and output.onExisting is Fail.",
        "Use another prefix, or onExisting: Skip to resume.",
    ),
    Reason.CONDITIONAL_WRITES_UNSUPPORTED: _text(
        (_FAILED,),
        "The object store accepted a second write that asked to be refused (If-None-Match).",
        "Use a store with conditional writes, or set output.s3.conditionalWrites: BestEffort.",
    ),
    Reason.DOES_NOT_FIT: _text(
        (_FAILED,),
        "The model needs more GPU memory than there is; the message gives both and a layout that fits.",
        "Use that layout, a smaller picture, or quantization.",
    ),
    Reason.OUTAGE: _text(
        (_DEGRADED, _FAILED),
        "The object store or the model hub did not answer through every retry.",
        "When it is back, create the job again: it resumes.",
    ),
    Reason.DRAINED: _text((_DEGRADED,), "A pod was asked to go, and its shard goes on in another."),
    Reason.RANK_HUNG: _text(
        (_DEGRADED, _FAILED),
        "A rank showed no life within the watchdog's time; the message names rank, evaluation and edge.",
        "If it repeats on one node, drain that node and check its GPUs and links.",
    ),
    Reason.DEVICE_LOST: _text(
        (_DEGRADED, _FAILED),
        "A GPU failed (a CUDA error); the shard goes on in another pod.",
        "If it repeats on one node, drain that node and check its GPUs.",
    ),
    Reason.UNEXPECTED_ERROR: _text(
        (_DEGRADED, _FAILED),
        "An error that has no name here; the message gives its last line.",
        "Look at the pod's log and report it.",
    ),
    Reason.RETRIES_EXHAUSTED: _text(
        (_FAILED,),
        "A shard failed more often than run.retriesPerShard; the message gives its last error.",
        "Remove the cause and create the job again: it resumes.",
    ),
    Reason.DRAINED_TOO_OFTEN: _text(
        (_FAILED,),
        "A shard's pods were asked to go so often that it would never end; the message says how often.",
        "Use nodes that stay longer, or more and so shorter shards, and create the job again: it resumes.",
    ),
    Reason.ACTIVE_DEADLINE_EXCEEDED: _text(
        (_FAILED,),
        "The job ran longer than run.activeDeadlineSeconds.",
        "Raise it and create the job again: it resumes.",
    ),
    Reason.FINISH_FAILED: _text(
        (_FAILED,),
        "The items are made, and the manifest or the gallery could not be written.",
        "Remove the cause and create the job again: only the finish step runs.",
    ),
    Reason.CHILD_DELETED: _text(
        (_FAILED,),
        "The Job that the operator had created for the shards was deleted by someone else.",
        "Create the AsyncDiffJob again: it resumes.",
    ),
    Reason.CHILD_DISOWNED: _text(
        (_ACCEPTED, _DEGRADED, _STALLED),
        "A Job or ConfigMap of the job has lost the label or the owner reference that marks it.",
        "Until its mark is back, the operator does not touch it: put it back, and the job goes on by itself.",
    ),
    Reason.NAME_TAKEN: _text(
        (_ACCEPTED, _DEGRADED, _STALLED),
        "A Job or ConfigMap of the name that the operator needs exists and belongs to someone else.",
        "Delete or rename it.",
    ),
    Reason.INVALID_STORED_OBJECT: _text(
        (_ACCEPTED, _STALLED),
        "The stored object does not pass the rules, so it was stored by an older or edited CRD.",
        "Correct the fields that the message names; what runs of the job is left alone meanwhile.",
    ),
}

REASONS: Mapping[Reason, ReasonText] = MappingProxyType(_BEFORE_WORK | _AT_WORK | _ENDS)
"""Cause and remedy of every reason."""
