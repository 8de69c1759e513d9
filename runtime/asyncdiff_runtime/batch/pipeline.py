"""Making items with a diffusers pipeline: each rank its own batches, or all ranks one sample together."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from asyncdiff_api.formats.canonical import canonical_json
from asyncdiff_api.formats.errors import DoesNotFitError
from asyncdiff_api.formats.identity import JsonMap
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.generate import Generate

from asyncdiff_runtime.batch.arguments import arguments_of, scheduler_of
from asyncdiff_runtime.batch.generator import Made, Unmade
from asyncdiff_runtime.engine import EngineError, Parallel

logger = logging.getLogger(__name__)


class PipelineGenerator:
    """Makes items with a pipeline; with `parallel`, every rank of the group is to be given the same items."""

    def __init__(self, pipe: Any, generate: Generate, parallel: Parallel | None = None) -> None:
        self._pipe = pipe
        self._generate = generate
        self._parallel = parallel
        self._own_scheduler = pipe.scheduler
        self._schedulers: dict[bytes, Any] = {}

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """As `Generator.generate`.

        Raises:
            DoesNotFitError: A single item does not fit the GPU.
        """
        import torch

        began = time.perf_counter()
        try:
            pixels = self._call(items)
        except torch.OutOfMemoryError as error:
            if len(items) == 1:
                raise DoesNotFitError(
                    f"the item of {items[0].position} does not fit the GPU ({error}); make it smaller, or use "
                    "GPUs with more memory"
                ) from error
            torch.cuda.empty_cache()
            return self._one_by_one(items)
        except EngineError:
            raise
        except (ValueError, TypeError) as error:
            # The pipeline checks its arguments first: a wrong one is the fault of one item.
            if len(items) > 1:
                return self._one_by_one(items)
            return [Unmade("Refused", f"{type(self._pipe).__name__}: {error}")]
        share = (time.perf_counter() - began) / len(items)
        report = self._report()
        return [Made(sample, share, report) for sample in pixels]

    def _one_by_one(self, items: Sequence[WorkItem]) -> list[Made | Unmade]:
        return [result for item in items for result in self.generate([item])]

    def _call(self, items: Sequence[WorkItem]) -> Sequence[Any]:
        wanted = items[0].line.scheduler or self._generate.scheduler
        key = canonical_json(wanted.model_dump(mode="json"))
        if key not in self._schedulers:
            plain = not wanted.class_name and not wanted.config
            self._schedulers[key] = (
                self._own_scheduler if plain else scheduler_of(wanted, self._own_scheduler)
            )
        self._pipe.scheduler = self._schedulers[key]
        output = self._pipe(**arguments_of(items, self._generate))
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
