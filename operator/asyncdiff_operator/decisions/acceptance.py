"""Whether a job may have children: what the administrator allows, and what must be there before the first pod."""

from __future__ import annotations

from collections.abc import Iterator

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.job import AsyncDiffJob

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
    """Finds an object of a stranger where a child should be made."""
    strangers = [*map(_describe, situation.observed.strangers)]
    if not strangers:
        return None
    verb = "exists and belongs" if len(strangers) == 1 else "exist and belong"
    return Finding(Reason.NAME_TAKEN, f"{' and '.join(strangers)} {verb} to someone else")


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


def _describe(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"
