"""What keeps a job from its pods, on a real control plane: it is told with what to do, and then the job goes on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from asyncdiff_api.crd import crd
from asyncdiff_api.formats.conditions import REASONS, Reason
from asyncdiff_api.status import ConditionType
from support.admission import install_crd, judge
from support.cluster import ApiError, Cluster, reference
from support.jobs import job
from support.kubelet import Await, Gate, Script, Start, all_goes_well, is_finish
from support.operator import Stage
from support.operator.jobs import Document, Manifest, await_phase, child_name, children, status, submit
from support.processes import wait_until

KINDS = {"Job": "batch/v1", "Pod": "v1"}
POLICY = "admissionregistration.k8s.io/v1"


def some_owner(stage: Stage, namespace: str) -> Document:
    """An object that may own others: the garbage collector removes what nobody owns."""
    owner = stage.plane.api.create(reference("v1", "ConfigMap", "somebody", namespace))
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": "somebody", "uid": owner["metadata"]["uid"]}


def a_config_map(stage: Stage, stored: Document) -> Document:
    """It has the name of the job's, and nothing else of it."""
    return {
        **reference("v1", "ConfigMap", child_name(stored), stored["metadata"]["namespace"]),
        "data": {"mine": "yes"},
    }


def a_job(stage: Stage, stored: Document, name: str = "") -> Document:
    """It carries the label of the job's children, and belongs to somebody."""
    namespace = stored["metadata"]["namespace"]
    manifest = reference("batch/v1", "Job", name or child_name(stored), namespace)
    manifest["metadata"] |= {
        "labels": {"asyncdiff.dev/job-uid": stored["metadata"]["uid"]},
        "ownerReferences": [some_owner(stage, namespace)],
    }
    containers = [{"name": "theirs", "image": "localhost/theirs"}]
    template = {"spec": {"restartPolicy": "Never", "containers": containers}}
    return {**manifest, "spec": {"suspend": True, "template": template}}


def a_finish_job(stage: Stage, stored: Document) -> Document:
    """The same with the name of the finish step."""
    return a_job(stage, stored, f"{child_name(stored)}-finish")


STRANGERS = [
    (a_config_map, "Pending", "Accepted", "False"),
    (a_job, "Pending", "Accepted", "False"),
    (a_finish_job, "Running", "Degraded", "True"),
]


@pytest.mark.parametrize(
    ("made", "phase", "kind", "stands"), STRANGERS, ids=lambda each: getattr(each, "__name__", "")
)
def test_a_stranger_with_a_childs_name_is_told_of_left_alone_and_waited_for(
    stage: Stage, made: Callable[[Stage, Document], Document], phase: str, kind: str, stands: str
) -> None:
    namespace, api = stage.plane.namespace(), stage.plane.api
    gate = Gate()

    def script(pod: Manifest) -> Script:
        well = all_goes_well(2, 2)(pod)
        return well if is_finish(pod) else Script((Start(), Await(gate), *well.steps[1:]))

    stage.nodes.behave(namespace, script)
    with stage.held_back("POST", f"/{namespace}/configmaps"):
        stored = submit(api, namespace)
        stranger = made(stage, stored)
        if phase == "Pending":
            api.create(stranger)
    if phase == "Running":
        await_phase(api, stored, "Running")
        api.create(stranger)
    gate.open()
    stranger = api.get(stranger)
    message = stage.await_stand(stored, kind, stands, "NameTaken")
    assert f"{stranger['kind']} {stranger['metadata']['name']} exists and belongs to someone else." in message
    assert message.endswith("Delete or rename it.")

    still = api.get(stranger)
    for part in ("uid", "labels", "ownerReferences", "annotations"):
        assert still["metadata"].get(part) == stranger["metadata"].get(part)
    touched = [
        event.name for event in stage.written(namespace) if event.verb in ("patch", "delete", "update")
    ]
    assert stranger["metadata"]["name"] not in touched

    api.delete(stranger, propagationPolicy="Background")
    found = await_phase(api, stored, "Complete", seconds=90)
    assert found["items"]["done"] == 4
    assert [event for event in stage.written(namespace) if event.verb == "delete"] == []


@dataclass(frozen=True)
class Obstacle:
    """Something that keeps a job from being accepted.

    Attributes:
        reason: What the conditions then say.
        words: Part of their message.
        put: Puts it into the namespace and gives the changes to the job that make it meet it.
        take: Takes it away; None where only another job helps.
    """

    reason: Reason
    words: str
    put: Callable[[Stage, str], Document]
    take: Callable[[Stage, str], object] | None = None
    store: Callable[[Stage, str, Document], Document] = field(
        default=lambda stage, namespace, changes: submit(stage.plane.api, namespace, changes)
    )


def names_another_image(_: Stage, __: str) -> Document:
    """One that the administrator's list does not have."""
    return {"spec.pod.image": "elsewhere.example/runtime:1"}


def names_a_worklist(_: Stage, __: str) -> Document:
    """Its ConfigMap is not there yet."""
    return {"spec.generate": {"worklist": {"configMap": {"name": "prompts", "key": "list.jsonl"}}}}


def make_worklist(stage: Stage, namespace: str) -> None:
    """The ConfigMap comes."""
    manifest = reference("v1", "ConfigMap", "prompts", namespace)
    stage.plane.api.create({**manifest, "data": {"list.jsonl": '{"prompt": "a"}'}})


def quota(namespace: str, **hard: str) -> Document:
    """A quota of a namespace."""
    return {**reference("v1", "ResourceQuota", "none", namespace), "spec": {"hard": hard}}


def no_jobs_by_quota(stage: Stage, namespace: str) -> Document:
    """The namespace may have no Jobs, and the API server knows it."""
    stage.plane.api.create(quota(namespace, **{"count/jobs.batch": "0"}))
    await_refusal(stage, namespace, "Job", "exceeded quota")
    return {}


def drop_quota(stage: Stage, namespace: str) -> None:
    """It may have any number again."""
    stage.plane.api.delete(reference("v1", "ResourceQuota", "none", namespace))


def policy(namespace: str, resource: str, group: str) -> tuple[Document, Document]:
    """A policy that refuses all objects of a kind in a namespace, and what puts it into force there."""
    name = f"no-{resource}-{namespace}"
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
    refusal = [{"expression": "false", "message": f"no {resource} on Fridays"}]
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": refusal}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": here}
    return (
        {**reference(POLICY, "ValidatingAdmissionPolicy", name), "spec": spec},
        {**reference(POLICY, "ValidatingAdmissionPolicyBinding", name), "spec": binding},
    )


def no_jobs_by_policy(stage: Stage, namespace: str) -> Document:
    """The cluster's policies refuse Jobs, and the API server has heard of it."""
    for document in policy(namespace, "jobs", "batch"):
        stage.plane.api.create(document)
    await_refusal(stage, namespace, "Job", "no jobs on Fridays")
    return {}


def drop_policy(stage: Stage, namespace: str) -> None:
    """They allow them again."""
    for document in policy(namespace, "jobs", "batch"):
        stage.plane.api.delete(document)


def await_refusal(stage: Stage, namespace: str, kind: str, words: str) -> None:
    """Waits until the API server refuses a Job or a pod with these words."""
    pod: Document = {"restartPolicy": "Never", "containers": [{"name": "any", "image": "localhost/any"}]}
    spec = {"template": {"spec": pod}} if kind == "Job" else pod
    attempt = {**reference(KINDS[kind], kind, "attempt", namespace), "spec": spec}

    def refused() -> bool:
        try:
            stage.plane.api.create(attempt, dry_run=True)
        except ApiError as error:
            return words in error.message
        return False

    wait_until(refused, what=f"a {kind} to be refused with {words!r}", seconds=90)


def store_unchecked(stage: Stage, namespace: str, changes: Document) -> Document:
    """Stores a job that breaks the rules, as an older definition of the resource might have allowed."""
    lax = copy.deepcopy(crd())
    for version in lax["spec"]["versions"]:
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version["schema"]["openAPIV3Schema"]["properties"]["spec"] = anything
        version["schema"]["openAPIV3Schema"].pop("x-kubernetes-validations", None)
    plane: Cluster = stage.plane
    plane.api.apply(lax, force=True)
    broken = job({**changes, "metadata.namespace": namespace})
    wait_until(lambda: judge(plane.api, broken).stored, what="the lax definition to be in force")
    stored = plane.api.create(broken)
    install_crd(plane.api)
    wait_until(lambda: not judge(plane.api, broken).stored, what="the rules to be in force again")
    return stored


OBSTACLES = [
    Obstacle(Reason.NOT_ALLOWED, "elsewhere.example/runtime:1", names_another_image),
    Obstacle(
        Reason.CONFIG_MAP_MISSING, "the ConfigMap prompts of the worklist", names_a_worklist, make_worklist
    ),
    Obstacle(Reason.REFUSED_BY_KUBERNETES, "exceeded quota: none", no_jobs_by_quota, drop_quota),
    Obstacle(Reason.REFUSED_BY_KUBERNETES, "no jobs on Fridays", no_jobs_by_policy, drop_policy),
    Obstacle(
        Reason.INVALID_STORED_OBJECT,
        "spec.generate.steps: must be",
        lambda _stage, _namespace: {"spec.generate.steps": 0},
        store=store_unchecked,
    ),
]


@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda each: f"{each.reason}, {each.words}")
def test_a_job_that_is_not_accepted_says_why_and_goes_on_once_nothing_is_in_its_way(
    stage: Stage, obstacle: Obstacle
) -> None:
    namespace, api = stage.plane.namespace(), stage.plane.api
    stage.nodes.behave(namespace, all_goes_well(2, 2))
    stored = obstacle.store(stage, namespace, obstacle.put(stage, namespace))
    message = stage.await_stand(stored, "Accepted", "False", obstacle.reason)
    assert obstacle.words in message
    assert message.endswith(REASONS[obstacle.reason].remedy)
    assert status(api, stored)["phase"] == "Pending"
    assert children(api, namespace)["Job"] == []

    if obstacle.take is None:
        api.delete(stored)
        wait_until(lambda: api.find(stored) is None, what="the job to go")
        return
    obstacle.take(stage, namespace)
    await_phase(api, stored, "Complete", seconds=90)
    stage.await_stand(stored, "Accepted", "True", "Valid")


def test_every_reason_for_which_a_job_is_not_accepted_is_met_here() -> None:
    reasons = {reason for reason, text in REASONS.items() if ConditionType.ACCEPTED in text.types}
    met = {Reason.NAME_TAKEN, *(obstacle.reason for obstacle in OBSTACLES)}
    disowned = {
        Reason.CHILD_DISOWNED
    }  # by an edit between two writes of one look: tests/operator/test_edits.py
    assert reasons - {Reason.VALID} == met | disowned


def no_pods_by_quota(stage: Stage, namespace: str) -> Document:
    """The namespace may have no pods."""
    stage.plane.api.create(quota(namespace, pods="0"))
    await_refusal(stage, namespace, "Pod", "exceeded quota")
    return {}


def no_pods_by_policy(stage: Stage, namespace: str) -> Document:
    """The cluster's policies refuse pods."""
    for document in policy(namespace, "pods", ""):
        stage.plane.api.create(document)
    await_refusal(stage, namespace, "Pod", "no pods on Fridays")
    return {}


def names_a_service_account(_: Stage, __: str) -> Document:
    """It is not there."""
    return {"spec.pod.serviceAccountName": "painter"}


@pytest.mark.parametrize(
    ("put", "kind", "words"),
    [
        (no_pods_by_quota, "Progressing", "exceeded quota: none"),
        (no_pods_by_policy, "Progressing", "no pods on Fridays"),
        (names_a_service_account, "Degraded", 'serviceaccount "painter" not found'),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_refuses_the_pods_of_a_job_is_told_in_its_own_words_while_the_job_waits_and_at_its_end(
    stage: Stage, put: Callable[[Stage, str], Any], kind: str, words: str
) -> None:
    namespace, api = stage.plane.namespace(), stage.plane.api
    stored = submit(api, namespace, put(stage, namespace))
    about = {"fieldSelector": "involvedObject.kind=Job,reason=FailedCreate"}
    events = reference("v1", "Event", namespace=namespace)
    wait_until(
        lambda: any(words in event["message"] for event in api.items(events, **about)),
        what=f"Kubernetes to refuse a pod with {words!r}",
        seconds=90,
    )
    with stage.later(minutes=2):
        stage.await_words(stored, kind, words, poked=True)
    with stage.later(hours=1):
        message = stage.await_words(stored, "Failed", words, poked=True)
    assert message.startswith("No pod started within 15 min: ")
