"""Whether a job may have children: what the administrator allows, and what must be there before the first pod."""

from __future__ import annotations

from collections.abc import Iterator

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_operator.names import JOB_UID_LABEL
from asyncdiff_operator.observed import Manifest, Question
from asyncdiff_operator.settings import Defaults
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.findings import Finding


def forbidden(job: AsyncDiffJob, defaults: Defaults) -> Finding | None:
    """Finds what the administrator's lists do not allow."""
    pod = job.spec.pod
    named = (
        ("pod.image", "image", pod.image, defaults.allowed_images),
        (
            "pod.serviceAccountName",
            "service account",
            pod.service_account_name,
            defaults.allowed_service_accounts,
        ),
        *((field, "Secret", name, defaults.allowed_secrets) for field, name in _secrets(job)),
    )
    for field, kind, name, allowed in named:
        if name and not allowed.allows(name):
            listed = ", ".join(allowed.patterns or ()) or "none"
            detail = f"{field} names the {kind} {name}; this cluster's operator allows {listed}"
            return Finding(Reason.NOT_ALLOWED, detail)
    return None


def taken(situation: Situation) -> Finding | None:
    """Finds an object where a child should be that is a stranger's, or that somebody has taken the job's marks off."""
    found = [*dict.fromkeys(_why_foreign(each, situation.manifest) for each in situation.observed.strangers)]
    if not found:
        return None
    reasons, said = [reason for reason, _ in found], "; ".join(detail for _, detail in found)
    return Finding(Reason.NAME_TAKEN if Reason.NAME_TAKEN in reasons else Reason.CHILD_DISOWNED, said)


def needs_worklist(job: AsyncDiffJob) -> bool:
    """Whether a ConfigMap has to be there before the pods."""
    worklist = job.spec.generate.worklist
    return worklist is not None and worklist.config_map is not None


def missing_worklist(situation: Situation) -> Finding | None:
    """Finds that the worklist's ConfigMap or its key is not there, once that was asked."""
    missing = situation.answer(Question.WORKLIST)
    return Finding(Reason.CONFIG_MAP_MISSING, str(missing)) if missing else None


def _secrets(job: AsyncDiffJob) -> Iterator[tuple[str, str]]:
    """Every Secret that the job names, with the field that names it."""
    spec = job.spec
    if spec.output.s3 is not None:
        yield "output.s3.credentialsSecret", spec.output.s3.credentials_secret
    yield "model.tokenSecret", spec.model.token_secret
    for secret in spec.pod.image_pull_secrets:
        yield "pod.imagePullSecrets", secret.name
    for variable in spec.pod.env:
        if variable.value_from is not None and variable.value_from.secret_key_ref is not None:
            yield f"pod.env {variable.name}", variable.value_from.secret_key_ref.name


def _why_foreign(child: Manifest, job: Manifest) -> tuple[Reason, str]:
    """Tells an object of somebody else from one of the job's own that has lost one of its two marks."""
    metadata, uid = child["metadata"], job["metadata"]["uid"]
    name = f"{child['kind']} {metadata['name']}"
    owners = [owner["uid"] for owner in metadata.get("ownerReferences", ())]
    if uid in owners:
        return Reason.CHILD_DISOWNED, f"{name} has lost the label {JOB_UID_LABEL}={uid}"
    if not owners and (metadata.get("labels") or {}).get(JOB_UID_LABEL) == uid:
        owner = f"{job['kind']} {job['metadata']['name']} with the uid {uid}"
        return Reason.CHILD_DISOWNED, f"{name} has no owner reference to the {owner}"
    return Reason.NAME_TAKEN, f"{name} exists and belongs to someone else"
