"""What keeps a job from having children, and what a person is told then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from asyncdiff_api.status import ConditionType, Phase
from asyncdiff_operator.names import JOB_UID_LABEL
from asyncdiff_operator.observed import Question
from asyncdiff_operator.plan import plan
from asyncdiff_operator.settings import AllowList
from support.children import (
    DEFAULTS,
    START,
    UID,
    after,
    begun,
    carry_out,
    changed,
    conditions_of,
    config,
    look,
    message_of,
    observe,
    pod,
    settle,
    shards,
    stored,
)

ALLOWS = replace(
    DEFAULTS,
    allowed_images=AllowList(("registry.example/team/*",)),
    allowed_service_accounts=AllowList(("renderer",)),
    allowed_secrets=AllowList(("s3-*", "hub")),
)
WORKLIST = {"spec.generate": {"worklist": {"configMap": {"name": "list", "key": "a.jsonl"}}}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spec.pod": {"image": "docker.io/other:1"}}, "pod.image names the image docker.io/other:1"),
        (
            {"spec.pod": {"serviceAccountName": "admin"}},
            "service account admin; this cluster's operator allows renderer",
        ),
        (
            {"spec.output": {"s3": {"bucket": "renders", "prefix": "p/", "credentialsSecret": "root"}}},
            "output.s3.credentialsSecret names the Secret root",
        ),
        ({"spec.model.tokenSecret": "token"}, "model.tokenSecret names the Secret token"),
        (
            {"spec.pod": {"imagePullSecrets": [{"name": "pull"}]}},
            "pod.imagePullSecrets names the Secret pull",
        ),
        (
            {"spec.pod": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "x", "key": "k"}}}]}},
            "pod.env A names the Secret x; this cluster's operator allows s3-*, hub",
        ),
    ],
)
def test_what_the_administrator_does_not_allow_is_told_and_nothing_is_created(
    changes: dict[str, Any], words: str
) -> None:
    wanted = plan(observe(stored(changes)), ALLOWS, START)
    assert wanted.operations == ()
    assert wanted.status is not None
    assert wanted.status.phase is Phase.PENDING
    assert conditions_of(wanted.status)["Accepted"] == ("False", "NotAllowed")
    assert conditions_of(wanted.status)["Stalled"] == ("True", "NotAllowed")
    assert words in message_of(wanted.status, ConditionType.ACCEPTED)
    assert "--allowed-secrets" in message_of(wanted.status, ConditionType.ACCEPTED)
    assert [(event.type, event.reason) for event in wanted.events] == [("Warning", "NotAllowed")]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spec.pod": {"image": "registry.example/team/runtime:2", "serviceAccountName": "renderer"}},
        {"spec.model.tokenSecret": "hub"},
    ],
)
def test_what_is_allowed_is_created(changes: dict[str, Any]) -> None:
    assert len(plan(observe(stored(changes)), ALLOWS, START).operations) == 2


def test_a_list_that_became_shorter_leaves_jobs_alone_that_have_begun() -> None:
    job = stored({"spec.pod": {"image": "docker.io/other:1"}})
    running = observe(begun(job), config(job), shards(job), pod(job, 0))
    assert conditions_of(look(running, defaults=ALLOWS))["Accepted"] == ("True", "Valid")


def test_a_missing_worklist_is_waited_for() -> None:
    observed = observe(stored(WORKLIST))
    assert plan(observed, DEFAULTS, START).questions == {Question.WORKLIST}

    missing = replace(observed, answers={Question.WORKLIST: "the ConfigMap list has no key a.jsonl"})
    wanted = plan(missing, DEFAULTS, START)
    assert wanted.operations == ()
    assert wanted.look_again_after_seconds == 60
    assert wanted.status is not None
    assert conditions_of(wanted.status)["Accepted"] == ("False", "ConfigMapMissing")
    assert conditions_of(wanted.status)["Reconciling"] == ("True", "ConfigMapMissing")
    assert conditions_of(wanted.status)["Stalled"] == ("False", "UpToDate")
    assert message_of(wanted.status, ConditionType.ACCEPTED) == (
        "the ConfigMap list has no key a.jsonl. Create it; the job goes on by itself."
    )

    there = replace(carry_out(missing, wanted), answers={Question.WORKLIST: None})
    wanted = plan(there, DEFAULTS, after(minutes=5))
    assert len(wanted.operations) == 2
    assert wanted.status is not None
    assert conditions_of(wanted.status)["Accepted"] == ("True", "Valid")


def test_a_worklist_is_not_asked_for_once_the_pods_have_it() -> None:
    job = stored(WORKLIST)
    assert not plan(observe(job, config(job), shards(job)), DEFAULTS, START).questions


def test_a_name_that_a_stranger_has_is_told_and_nothing_is_adopted() -> None:
    job = stored()
    stranger = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "posters-0f1e2d3c", "uid": "x"}}
    status = look(observe(job, strangers=(stranger,)))
    assert conditions_of(status)["Stalled"] == ("True", "NameTaken")
    assert "Job posters-0f1e2d3c exists and belongs to someone else" in message_of(
        status, ConditionType.STALLED
    )
    assert plan(observe(job, strangers=(stranger,)), DEFAULTS, START).operations == ()


def test_a_stranger_with_the_name_of_the_finish_step_holds_up_an_old_job_and_is_told() -> None:
    job = begun(stored())
    done = shards(job, completedIndexes="0-3", conditions=[{"type": "Complete", "status": "True"}])
    stranger = {"kind": "Job", "metadata": {"name": "posters-0f1e2d3c-finish", "uid": "x"}}
    status = look(observe(job, done, strangers=(stranger,)))
    assert conditions_of(status)["Degraded"] == ("True", "NameTaken")


OWNER = {"apiVersion": "asyncdiff.dev/v1alpha1", "kind": "AsyncDiffJob", "name": "posters", "uid": UID}


@pytest.mark.parametrize(
    ("marks", "reason", "words"),
    [
        ({"ownerReferences": [OWNER]}, "ChildDisowned", f"has lost the label asyncdiff.dev/job-uid={UID}"),
        (
            {"labels": {JOB_UID_LABEL: UID}},
            "ChildDisowned",
            "has no owner reference to the AsyncDiffJob posters",
        ),
        ({}, "NameTaken", "exists and belongs to someone else"),
    ],
    ids=["without its label", "without its owner", "without both"],
)
def test_a_job_of_the_shards_that_lost_its_marks_is_told_and_does_not_end_the_job(
    marks: dict[str, Any], reason: str, words: str
) -> None:
    job = stored()
    running = settle(observe(begun(job), config(job), shards(job), pod(job, 0)), START)
    lost = {**shards(job), "metadata": {"name": "posters-0f1e2d3c", "uid": "uid-shards", **marks}}
    observed = replace(running, shards_job=None, strangers=(lost,), answers={Question.CHILDREN: True})
    assert plan(observed, DEFAULTS, after(minutes=1)).operations == ()
    status = look(observed, after(minutes=1))
    assert status.phase is Phase.RUNNING
    assert conditions_of(status)["Degraded"] == ("True", reason)
    assert f"Job posters-0f1e2d3c {words}" in message_of(status, ConditionType.DEGRADED)


def test_a_stranger_of_another_name_does_not_hide_that_the_job_of_the_shards_is_gone() -> None:
    stranger = {"kind": "ConfigMap", "metadata": {"name": "posters-0f1e2d3c", "uid": "x"}}
    gone = observe(begun(stored()), strangers=(stranger,), answers={Question.CHILDREN: True})
    assert conditions_of(look(gone))["Failed"] == ("True", "ChildDeleted")


def test_what_the_api_server_refuses_is_told_in_its_words_and_tried_again() -> None:
    observed = observe(stored(), refusal="spec.template.spec.affinity: Invalid value")
    wanted = plan(observed, DEFAULTS, START)
    assert wanted.operations == ()
    assert wanted.status is not None
    assert conditions_of(wanted.status)["Accepted"] == ("False", "RefusedByKubernetes")
    assert "spec.template.spec.affinity: Invalid value" in message_of(wanted.status, ConditionType.ACCEPTED)
    again = plan(replace(carry_out(observed, wanted), refusal=""), DEFAULTS, after(minutes=1))
    assert len(again.operations) == 2


def test_a_refused_patch_degrades_a_running_job_and_keeps_the_rest_of_what_it_says() -> None:
    job = stored()
    running = settle(observe(begun(job), config(job), shards(job), pod(job, 0)), START)
    scaled = changed(dict(running.job), {"spec.parallelism.pods": 3})
    status = look(replace(running, job=scaled, refusal="exceeded quota"))
    assert conditions_of(status)["Degraded"] == ("True", "RefusedByKubernetes")
    assert conditions_of(status)["Started"] == ("True", "PodsRunning")
    assert status.phase is Phase.RUNNING


@pytest.mark.parametrize("started", [False, True])
def test_a_stored_object_that_breaks_the_rules_is_stalled_and_its_children_are_left_alone(
    started: bool,
) -> None:
    job = stored()
    children = (config(job), shards(job), pod(job, 0)) if started else ()
    observed = settle(observe(begun(job), *children), START) if started else observe(job)
    broken = changed(dict(observed.job), {"spec.generate.steps": 0, "spec.parallelism.pods": 4})
    wanted = plan(replace(observed, job=broken), DEFAULTS, after(minutes=1))
    assert wanted.operations == ()
    status = wanted.status
    assert status is not None
    assert conditions_of(status)["Stalled"] == ("True", "InvalidStoredObject")
    assert "spec.generate.steps: must be" in message_of(status, ConditionType.STALLED)
    assert status.phase is (Phase.RUNNING if started else Phase.PENDING)
    assert conditions_of(status)["Accepted"][0] == ("True" if started else "False")
    assert plan(carry_out(replace(observed, job=broken), wanted), DEFAULTS, after(hours=1)).status is None
