"""All that a decision may look at: what was observed, read once into the terms of decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_operator.names import Step
from asyncdiff_operator.observed import Manifest, Observed, Question, Report
from asyncdiff_operator.reading.jobs import ChildJob
from asyncdiff_operator.reading.pods import ChildPod, is_settled
from asyncdiff_operator.settings import Defaults
from asyncdiff_operator.status.memory import Memory


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A valid job that has not ended, with everything of its own."""

    observed: Observed
    job: AsyncDiffJob
    """The job, read."""
    memory: Memory
    defaults: Defaults
    now: datetime

    @property
    def manifest(self) -> Manifest:
        """The job as stored."""
        return self.observed.job

    @property
    def queued(self) -> bool:
        """Whether a queue decides when the job runs."""
        return bool(self.job.spec.run.queue_name) or (self.shards_job is not None and self.shards_job.queued)

    @cached_property
    def shards_job(self) -> ChildJob | None:
        """The Job of the shards; None if there is none, or none any more."""
        return _standing(self.observed.shards_job)

    @cached_property
    def finish_job(self) -> ChildJob | None:
        """The Job of the finish step."""
        return None if self.observed.finish_job is None else ChildJob(self.observed.finish_job)

    @cached_property
    def shard_pods(self) -> tuple[ChildPod, ...]:
        """Pods of the shards, in order of their names; those that are done and accounted say nothing any more."""
        return tuple(pod for pod in self._pods if pod.step != Step.FINISH and pod.shard is not None)

    @cached_property
    def finish_pods(self) -> tuple[ChildPod, ...]:
        """Pods of the finish step, in order of their names."""
        return tuple(pod for pod in self._pods if pod.step == Step.FINISH)

    @cached_property
    def has_started(self) -> bool:
        """Whether a pod of the shards has ever run."""
        if self.memory.started_at is not None:
            return True
        worked = self.shards_job is not None and self.shards_job.has_worked
        return worked or any(pod.has_started for pod in self.shard_pods)

    @cached_property
    def pods_by_shard(self) -> Mapping[int, tuple[ChildPod, ...]]:
        """Pods by the number of their shard."""
        found: dict[int, list[ChildPod]] = {}
        for pod in self.shard_pods:
            if pod.shard is not None:
                found.setdefault(pod.shard, []).append(pod)
        return {shard: tuple(pods) for shard, pods in found.items()}

    @cached_property
    def fresh_reports(self) -> Mapping[str, Report]:
        """Reports of running pods that are new enough to say how fast they are, by the pods' uid."""
        running = {pod.uid for pod in self.shard_pods if pod.running}
        return {
            uid: report
            for uid, report in self.observed.reports.items()
            if uid in running
            and (self.now - report.received_at).total_seconds() <= self.defaults.fresh_seconds
        }

    def unanswered(self, *questions: Question) -> frozenset[Question]:
        """Gives those of the questions that have not been answered in this round."""
        return frozenset(questions) - self.observed.answers.keys()

    def answer(self, question: Question) -> Any:
        """Gives the answer to a question, None if it has not been asked."""
        return self.observed.answers.get(question)

    @cached_property
    def _pods(self) -> tuple[ChildPod, ...]:
        accounted = self.memory.accounted_shards
        return tuple(ChildPod(pod) for pod in self.observed.pods if not is_settled(pod, accounted))


def _standing(manifest: Manifest | None) -> ChildJob | None:
    """A Job that is being deleted is as good as gone: nothing can be changed about it any more."""
    if manifest is None or (job := ChildJob(manifest)).going:
        return None
    return job
