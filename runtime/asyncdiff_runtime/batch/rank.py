"""One rank of a shard, as a program: `python -m asyncdiff_runtime.batch.rank FOLDER`, started by `launch`."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from asyncdiff_api.formats.blocks import blocks_of_shard
from asyncdiff_api.formats.errors import (
    ContractError,
    DeviceLostError,
    DoesNotFitError,
    InvalidJobError,
    RankHungError,
    exit_code_of,
    reason_of,
)
from asyncdiff_api.formats.items import Resolver, Shared
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.parallelism import BatchSize, Compile, Device, Lookahead
from asyncdiff_api.validation import load

from asyncdiff_runtime.batch.assignment import Assignment, RankState
from asyncdiff_runtime.batch.generator import Generator
from asyncdiff_runtime.batch.ledger import Ledger
from asyncdiff_runtime.batch.loop import Work
from asyncdiff_runtime.batch.models import load_pipeline, locate
from asyncdiff_runtime.batch.objects import ObjectWriter
from asyncdiff_runtime.batch.pipeline import PipelineGenerator
from asyncdiff_runtime.batch.recorder import Standing
from asyncdiff_runtime.batch.worklist import wanted_by_block

PR_SET_PDEATHSIG = 1  # linux/prctl.h
AUTO_BATCH_ON_GPU = 4


class Rank:
    """This process's part of one attempt at a shard."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._assignment = Assignment.read(folder)
        self._job: AsyncDiffJob = load(self._assignment.job)
        self._number = int(os.environ["RANK"])
        self._world = int(os.environ["WORLD_SIZE"])
        self._draining = threading.Event()
        self._state = RankState(rank=self._number)

    def run(self) -> int:
        """Works until the end and gives the exit code; the last state says why."""
        _die_with_parent()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._draining.set())
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 -- whatever it was, the parent is to hear of it
            traceback.print_exc()
            known = in_contract_words(error)
            code = exit_code_of(known)
            self._say(phase="Ended", exit_code=int(code), reason=reason_of(known), message=str(known))
            return int(code)
        self._say(phase="Ended", exit_code=0, running=0)
        return 0

    def _work(self) -> None:
        """Loads the pipeline and makes the rank's items, alone or as one of a team."""
        self._say(phase="Loading")
        spec, world = self._job.spec, self._world
        place = locate(spec.model, self._assignment.places.volumes, self._assignment.record.model.commit)
        alone = self._assignment.record.schedule["strategy"] == "Data" or world == 1
        pipe = load_pipeline(spec.model, place, self._device())
        if spec.parallelism.attention_backend:
            _set_attention(pipe, spec.parallelism.attention_backend)
        if self._assignment.record.schedule["strategy"] == "Data":
            self._make(
                PipelineGenerator(pipe, spec.generate), self._number if alone else 0, world if alone else 1
            )
            return
        with self._parallelized(pipe) as parallel:
            generator = PipelineGenerator(pipe, spec.generate, parallel)
            if alone:
                self._make(generator, 0, 1)
            else:
                self._make_together(generator)

    def _make_together(self, generator: Generator) -> None:
        from asyncdiff_runtime.batch.team import Leading, follow

        if self._number:
            self._say(phase="Generating")
            follow(generator)
            return
        leading = Leading(generator)
        try:
            self._make(leading, 0, 1)
        finally:
            leading.dismiss()

    def _make(self, generator: Generator, part: int, parts: int) -> None:
        """Makes one of several contiguous parts of the shard's blocks."""
        given, spec = self._assignment, self._job.spec
        record = given.record
        blocks = blocks_of_shard(given.shard * parts + part, given.shards * parts, record.blocks.count)
        resolver = Resolver(Shared.of_job(spec, record))
        storage = given.places.open_output(self._job)
        worklist = given.places.open_worklist(self._job)
        work = Work(
            ledger=Ledger(storage, record.request_digest, given.attempt, given.shard),
            objects=ObjectWriter(
                storage=storage,
                output=spec.output,
                reject_blank=spec.acceptance.reject_blank,
                resolver=resolver,
                facts={"versions": dict(record.versions)},
                default_fps=spec.generate.fps,
            ),
            generator=generator,
            batch_size=self._batch_size(),
            max_failed=spec.acceptance.max_failed_items,
            draining=self._draining.is_set,
            on_progress=self._progress,
        )
        self._say(phase="Generating", items=ItemCounts())
        counts = work.run(lambda run: wanted_by_block(worklist, resolver, run, record.blocks), blocks)
        self._say(items=counts)

    def _parallelized(self, pipe: Any) -> Any:
        from asyncdiff_runtime.engine import Lookahead as EngineLookahead
        from asyncdiff_runtime.engine import parallelize

        chosen = self._job.spec.parallelism.lookahead or Lookahead()
        strategy = EngineLookahead(
            degree=chosen.degree,
            tolerance=chosen.tolerance,
            warmup=chosen.warmup_steps,
            exact_tail=chosen.exact_tail_steps,
        )
        return parallelize(pipe, strategy, compile=self._compile())

    def _compile(self) -> str:
        parallelism = self._job.spec.parallelism
        if parallelism.device is Device.CPU or parallelism.compile is Compile.NEVER:
            return "off"
        return "max-autotune" if parallelism.compile is Compile.MAX_AUTOTUNE else "auto"

    def _device(self) -> str:
        import torch

        if self._job.spec.parallelism.device is Device.CPU:
            return "cpu"
        if not torch.cuda.is_available():
            raise InvalidJobError(
                "the job asks for CUDA and this machine has no usable GPU; run it where there is one, or with "
                "--set spec.parallelism.device=CPU"
            )
        local = int(os.environ["LOCAL_RANK"])
        torch.cuda.set_device(local)
        return f"cuda:{local}"

    def _batch_size(self) -> int:
        parallelism = self._job.spec.parallelism
        if parallelism.batch_size is not BatchSize.AUTO:
            return int(parallelism.batch_size)
        alone = self._assignment.record.schedule["strategy"] == "Data"
        return AUTO_BATCH_ON_GPU if alone and parallelism.device is Device.CUDA else 1

    def _progress(self, standing: Standing) -> None:
        phase = "Draining" if self._draining.is_set() else "Generating"
        self._say(
            phase=phase,
            items=standing.counts,
            recorded=standing.recorded,
            made=standing.made,
            queued=standing.queued,
        )

    def _say(self, **changes: object) -> None:
        self._state = self._state.model_copy(update=changes)
        self._state.write(self._folder)


def in_contract_words(error: Exception) -> Exception:
    """Gives an error of the engine or of torch as one of the contract's; any other as it is."""
    import torch

    from asyncdiff_runtime.engine import LayoutError, RankTimeout, Refused

    if isinstance(error, ContractError):
        return error
    if isinstance(error, RankTimeout):
        return RankHungError(str(error))
    if isinstance(error, LayoutError | Refused):
        return InvalidJobError(str(error))
    if isinstance(error, torch.OutOfMemoryError):
        return DoesNotFitError(f"the model does not fit the GPU: {error}")
    if isinstance(error, torch.AcceleratorError):
        return DeviceLostError(f"the GPU failed: {error}")
    return error


def _set_attention(pipe: Any, backend: str) -> None:
    for name in ("unet", "transformer", "transformer_2"):
        denoiser = getattr(pipe, name, None)
        if denoiser is not None and hasattr(denoiser, "set_attention_backend"):
            try:
                denoiser.set_attention_backend(backend)
            except (ValueError, RuntimeError) as error:
                raise InvalidJobError(f"spec.parallelism.attentionBackend is {backend}: {error}") from error


def _die_with_parent() -> None:
    """Asks the kernel for SIGTERM when the launching process ends, so that a killed one leaves no rank behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    sys.exit(Rank(Path(sys.argv[1])).run())
