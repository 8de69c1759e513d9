"""What was decided once for a job, and where its results lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.formats.layout import MANIFEST_LINES, normal_prefix
from asyncdiff_api.formats.progress import PlanSummary
from asyncdiff_api.formats.result import OutputKeys
from asyncdiff_api.output import Output
from asyncdiff_api.status import OutputReport, PlanReport, Resolved

from asyncdiff_operator.situation import Situation

_RUNTIME_PREFIXES: Final = ("docker-pullable://", "docker://")


def output_report(output: Output, written: OutputKeys | None) -> OutputReport:
    """Gives the address of the output's folder, and of what the finish step has written there."""
    uri = _address(output)
    return OutputReport(
        uri=uri,
        manifest=f"{uri}{MANIFEST_LINES}" if written is not None and written.manifest else None,
        gallery=f"{uri}{written.gallery}" if written is not None and written.gallery else None,
    )


def plan_report(situation: Situation) -> PlanReport | None:
    """Gives the layout that the first pod chose: decided once, so the first word stands."""
    before = situation.memory.status.plan
    found = next(_plans(situation), None) if before is None else None
    if found is None:
        return before
    return PlanReport(
        strategy=found.strategy,
        stages=found.stages,
        data_parallel=found.data_parallel,
        predicted_seconds_per_item=found.predicted_seconds_per_item,
        reason=found.reason or None,
    )


def resolved(situation: Situation) -> Resolved | None:
    """Gives what moving names stood for when the job began; the first word stands here too."""
    before = situation.memory.status.resolved or Resolved()
    plan = next(_plans(situation), None) if before.model_commit is None or before.schedule is None else None
    found = Resolved(
        model_commit=before.model_commit or (plan.model_commit if plan is not None else "") or None,
        schedule=before.schedule or (plan.schedule_digest if plan is not None else "") or None,
        image=before.image or next(_images(situation), None),
    )
    return None if found == Resolved() else found


def _address(output: Output) -> str:
    if output.s3 is not None:
        return f"s3://{output.s3.bucket}/{_folder(output.s3.prefix)}"
    assert output.volume is not None, "the API demands one of the two"
    return f"pvc://{output.volume.claim_name}/{_folder(output.volume.path)}"


def _folder(path: str) -> str:
    try:
        return normal_prefix(path)
    except InvalidJobError:
        return path


def _plans(situation: Situation) -> Iterator[PlanSummary]:
    """What pods say of the plan; pods of accounted shards have been heard before."""
    accounted = situation.memory.accounted_shards
    for pod in situation.shard_pods:
        report = situation.observed.reports.get(pod.uid)
        if report is not None and report.progress.plan is not None:
            yield report.progress.plan
        elif (
            pod.ended
            and pod.shard not in accounted
            and pod.result is not None
            and pod.result.plan is not None
        ):
            yield pod.result.plan


def _images(situation: Situation) -> Iterator[str]:
    """Images as nodes have resolved them, if by digest."""
    for pod in situation.shard_pods:
        image = pod.image_id
        for prefix in _RUNTIME_PREFIXES:
            image = image.removeprefix(prefix)
        if "sha256:" in image and len(image) <= 512:
            yield image
