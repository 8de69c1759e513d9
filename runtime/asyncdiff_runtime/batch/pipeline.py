"""Making items with a diffusers pipeline: each rank its own batches, or all ranks one sample together."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from asyncdiff_api.formats.canonical import canonical_json
from asyncdiff_api.formats.identity import JsonMap
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.generate import Generate

from asyncdiff_runtime.batch.arguments import arguments_of, scheduler_of
from asyncdiff_runtime.batch.generator import Made, Unmade
from asyncdiff_runtime.batch.inputs.loading import Loader, Pictures, groups
from asyncdiff_runtime.batch.signature import Signature, signature_of
from asyncdiff_runtime.engine import EngineError, Parallel

logger = logging.getLogger(__name__)


class PipelineGenerator:
    """Makes items with a pipeline; with `parallel`, every rank of the group is to be given the same items."""

    def __init__(
        self,
        pipe: Any,
        generate: Generate,
        parallel: Parallel | None = None,
        *,
        signature: Signature | None = None,
        inputs: Loader | None = None,
    ) -> None:
        """Wraps a pipeline.

        Args:
            pipe: The pipeline.
            generate: What the job says for every item.
            parallel: How several ranks make one sample together, if they do.
            signature: What the pipeline takes; None where it has no adapters.
            inputs: Where the items' pictures come from; None where no item has any.
        """
        self._pipe = pipe
        self._generate = generate
        self._parallel = parallel
        self._signature = signature or signature_of(type(pipe))
        self._inputs = inputs
        self._own_scheduler = pipe.scheduler
        self._schedulers: dict[bytes, Any] = {}

    def prepare(self, items: Sequence[WorkItem]) -> None:
        """Takes note of what comes next, so that its inputs are there when it comes; returns at once."""
        if self._inputs is not None:
            self._inputs.prepare(items)

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """As `Generator.generate`; a batch that does not fit the GPU raises torch's own error."""
        if self._inputs is None or not any(item.digests for item in items):
            return self._make(items, [Pictures()] * len(items))
        loaded = self._inputs.load(items)
        pictures = {at: one for at, one in enumerate(loaded) if isinstance(one, Pictures)}
        made: dict[int, Made | Unmade] = {at: one for at, one in enumerate(loaded) if isinstance(one, Unmade)}
        for group in groups(pictures, together=self._signature.together):
            done = self._make([items[at] for at in group], [pictures[at] for at in group])
            made.update(zip(group, done, strict=True))
        return [made[at] for at in range(len(items))]

    def _make(self, items: Sequence[WorkItem], pictures: Sequence[Pictures]) -> Sequence[Made | Unmade]:
        began = time.perf_counter()
        try:
            pixels = self._call(items, pictures)
        except EngineError:
            raise
        except (ValueError, TypeError) as error:
            # The pipeline checks its arguments first: a wrong one is the fault of one item.
            if len(items) > 1:
                return [
                    result
                    for item, picture in zip(items, pictures, strict=True)
                    for result in self._make([item], [picture])
                ]
            return [Unmade("Refused", f"{type(self._pipe).__name__}: {error}")]
        share = (time.perf_counter() - began) / len(items)
        report = self._report()
        return [Made(sample, share, report) for sample in pixels]

    def _call(self, items: Sequence[WorkItem], pictures: Sequence[Pictures]) -> Sequence[Any]:
        wanted = items[0].line.scheduler or self._generate.scheduler
        key = canonical_json(wanted.model_dump(mode="json"))
        if key not in self._schedulers:
            plain = not wanted.class_name and not wanted.config
            self._schedulers[key] = (
                self._own_scheduler if plain else scheduler_of(wanted, self._own_scheduler)
            )
        self._pipe.scheduler = self._schedulers[key]
        output = self._pipe(**arguments_of(items, pictures, self._generate, self._signature))
        found = output.images if hasattr(output, "images") else output.frames
        return list(found)

    def _report(self) -> JsonMap | None:
        report = self._parallel.report if self._parallel is not None else None
        if report is None:
            return None
        return {
            "evaluations": report.evaluations,
            "criticalPath": report.critical_path,
            "accepted": report.accepted,
            "rejected": report.rejected,
            "unused": report.unused,
            "waitingSeconds": round(report.waiting_seconds, 4),
        }
