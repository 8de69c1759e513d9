"""One rank of a shard, as a program: `python -m asyncdiff_runtime.batch.rank FOLDER`, started by `launch`."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.items import Resolver, Shared
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.progress import Download
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.parallelism import BatchSize, Device
from asyncdiff_api.validation import load

from asyncdiff_runtime.batch.ahead import one_ahead
from asyncdiff_runtime.batch.assignment import Assignment, RankState
from asyncdiff_runtime.batch.evaluation import Evaluation, by_itself, compiled_folder, evaluation_of
from asyncdiff_runtime.batch.generator import Generator
from asyncdiff_runtime.batch.heartbeat import Heartbeat, pulse_file
from asyncdiff_runtime.batch.inputs.common import addresses_of, digests_of
from asyncdiff_runtime.batch.inputs.loading import InputLoader, Loader
from asyncdiff_runtime.batch.ledger import Ledger
from asyncdiff_runtime.batch.logs import set_up_logs
from asyncdiff_runtime.batch.loop import Work
from asyncdiff_runtime.batch.memory import (
    Fitting,
    ran_out_of_memory,
    refuse_what_does_not_fit,
    room_of_device,
)
from asyncdiff_runtime.batch.metering import Meter, Metered, watch_evaluations
from asyncdiff_runtime.batch.models import Plan, Received, download, load_pipeline, open_parts, plan_model
from asyncdiff_runtime.batch.objects import ObjectWriter
from asyncdiff_runtime.batch.pipeline import PipelineGenerator
from asyncdiff_runtime.batch.recorder import Standing
from asyncdiff_runtime.batch.signature import Signature, signature_of
from asyncdiff_runtime.batch.watchdog import Patience
from asyncdiff_runtime.batch.worklist import wanted_by_block

logger = logging.getLogger("asyncdiff_runtime.batch.rank")  # as a program, this module has another name

PR_SET_PDEATHSIG = 1  # linux/prctl.h
AUTO_BATCH_ON_GPU = 4


class LoadedPipeline(NamedTuple):
    """A pipeline, and what it takes with its adapters."""

    pipeline: Any
    signature: Signature


class Rank:
    """This process's part of one attempt at a shard."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._assignment = Assignment.read(folder)
        self._job: AsyncDiffJob = load(self._assignment.job)
        self._number = int(os.environ["RANK"])
        self._world = int(os.environ["WORLD_SIZE"])
        self._addresses = addresses_of(self._job)
        self._draining = threading.Event()
        self._saying = threading.Lock()
        self._state = RankState(rank=self._number)
        self._heartbeat = Heartbeat(pulse_file(folder, self._number))
        self._meter = Meter(self._heartbeat, self._say, self._memory)

    def run(self) -> int:
        """Works until the end and gives the exit code; the last state says why."""
        self._set_up_logs()
        _die_with_parent()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._draining.set())
        try:
            self._work()
        except Exception as error:
            known = in_contract_words(error)
            code, reason = exit_code_of(known), reason_of(known)
            logger.log(
                logging.INFO if code is ExitCode.DRAINED else logging.ERROR,
                "%s: %s",
                reason,
                known,
                exc_info=code is ExitCode.UNEXPECTED,
            )
            self._say(phase="Ended", running=0, exit_code=int(code), reason=reason, message=str(known))
            return int(code)
        self._say(phase="Ended", exit_code=0, running=0)
        return 0

    def _set_up_logs(self) -> None:
        given = self._assignment
        common = {
            "job": self._job.metadata.name,
            "shard": given.shard,
            "rank": self._number,
            "attempt": given.attempt,
            "trace": given.trace,
        }
        set_up_logs(common, as_json=given.json_logs)

    def _work(self) -> None:
        """Loads the pipeline and makes the rank's items, alone or as one of a team."""
        pipe, inputs = self._load(), InputLoader(self._addresses, self._job.spec.generate)
        make = partial(PipelineGenerator, pipe.pipeline, self._job.spec.generate, signature=pipe.signature)
        if not self._together:
            generator = by_itself(make(inputs=inputs), pipe.pipeline, self._evaluation)
            self._make(
                Metered(Fitting(generator, _free_cache), self._meter), inputs, self._number, self._world
            )
            return
        with self._parallelized(pipe.pipeline) as parallel:
            shared = self._shared(inputs)
            self._make_together(Metered(make(parallel, inputs=shared), self._meter), inputs)

    @property
    def _together(self) -> bool:
        """Whether all ranks make one sample together; a rank alone then works off all of their parts."""
        return bool(self._assignment.record.schedule["strategy"] != "Data")

    def _shared(self, inputs: Loader) -> Loader:
        """Gives the team's inputs: had by the rank that leads, so that all ranks go on from the same."""
        if self._world == 1:
            return inputs
        from asyncdiff_runtime.batch.team import TeamInputs

        return TeamInputs(inputs, leads=self._number == 0)

    def _load(self) -> LoadedPipeline:
        self._say(phase="Loading")
        spec, given = self._job.spec, self._assignment
        plan = plan_model(spec.model, open_parts(self._job, given.places, given.record.model))
        device = self._device()
        download(plan, self._downloading)
        self._say(download=None)
        shares = self._shares(plan)
        if spec.model.quantization is None:
            room = room_of_device(device, self._world)
            refuse_what_does_not_fit(plan.fetch(), spec.model.dtype, spec.model.variant, room, shares)
        pipe = load_pipeline(plan, device, shares.keys())
        if spec.parallelism.attention_backend:
            _set_attention(pipe, spec.parallelism.attention_backend)
        watch_evaluations(pipe, self._meter)
        self._meter.loaded(compiles=self._evaluation.compiles)
        logger.info("the model is loaded")
        return LoadedPipeline(pipe, signature_of(plan.kind, plan.adapters))

    def _shares(self, plan: Plan) -> dict[str, float]:
        """How much of the model's parts this rank loads."""
        if not self._together:
            return {}
        from asyncdiff_runtime.batch.strategies import shares_of_parts

        return shares_of_parts(self._job.spec.parallelism, plan)

    def _downloading(self, received: Received) -> None:
        """Counts what comes as a sign of life: a large model may take longer than any silence that is allowed."""
        self._heartbeat.beat()
        shown = received.bytes if received.wanted is None else min(received.bytes, received.wanted)
        self._say(download=Download(received_bytes=shown, total_bytes=received.wanted))

    def _make_together(self, generator: Generator, inputs: Loader) -> None:
        from asyncdiff_runtime.batch.team import Leading, follow

        if self._world == 1:
            self._make(generator, inputs, 0, 1)
        elif self._number:
            self._say(phase="Waiting")
            follow(generator)
        else:
            leading = Leading(generator)
            try:
                self._make(leading, inputs, 0, 1)
            finally:
                leading.dismiss()

    def _make(self, generator: Generator, inputs: Loader, part: int, parts: int) -> None:
        """Makes one of several contiguous parts of the shard's blocks."""
        given, spec = self._assignment, self._job.spec
        record = given.record
        blocks = blocks_of_shard(given.shard * parts + part, given.shards * parts, record.blocks.count)
        resolver = Resolver(Shared.of_job(spec, record))
        # Who started this rank has probed it.
        storage = given.places.open_output(self._job, reached=True)
        worklist = given.places.open_worklist(self._job)
        trace = {"trace": given.trace} if given.trace else {}
        work = Work(
            ledger=Ledger(storage, record.request_digest, given.attempt, given.shard),
            objects=ObjectWriter(
                storage=storage,
                output=spec.output,
                reject_blank=spec.acceptance.reject_blank,
                resolver=resolver,
                facts={"versions": dict(record.versions), **trace},
                default_fps=spec.generate.fps,
            ),
            generator=generator,
            batch_size=self._batch_size(),
            max_failed=spec.acceptance.max_failed_items,
            draining=self._draining.is_set,
            on_progress=self._progress,
            on_next=inputs.prepare,
        )
        digests = partial(digests_of, self._addresses, spec.generate)
        self._say(phase="Waiting", items=ItemCounts(), recorded=ItemCounts())
        counts = work.run(
            lambda run: one_ahead(wanted_by_block(worklist, resolver, run, record.blocks, digests)), blocks
        )
        self._say(items=counts, recorded=counts)

    def _parallelized(self, pipe: Any) -> Any:
        from asyncdiff_runtime.batch.strategies import arguments_of_engine
        from asyncdiff_runtime.engine import parallelize

        asked = arguments_of_engine(self._job.spec.parallelism, compiled_folder())
        return parallelize(pipe, **asked, timeout_seconds=Patience.of_environment().of_group)

    @property
    def _evaluation(self) -> Evaluation:
        """How the denoiser is evaluated."""
        return evaluation_of(self._job.spec.parallelism, together=self._together)

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
        return AUTO_BATCH_ON_GPU if not self._together and parallelism.device is Device.CUDA else 1

    def _progress(self, standing: Standing) -> None:
        self._meter.waited(standing.waited_seconds)
        draining = {"phase": "Draining"} if self._draining.is_set() else {}
        self._say(
            items=standing.counts,
            recorded=standing.recorded,
            queued=standing.queued,
            written_bytes=standing.written_bytes,
            **draining,
        )

    def _say(self, **changes: object) -> None:
        with self._saying:
            self._state = self._state.model_copy(update=changes)
            self._state.write(self._folder)

    def _memory(self) -> int | None:
        if self._job.spec.parallelism.device is Device.CPU:
            return None
        import torch

        return int(torch.cuda.max_memory_allocated())


def in_contract_words(error: Exception) -> Exception:
    """Gives an error of the engine or of torch as one of the contract's; any other as it is."""
    import torch

    from asyncdiff_runtime.engine import LayoutError, RankFailed, RankTimeout, Refused

    if isinstance(error, ContractError):
        return error
    if isinstance(error, RankFailed) and isinstance(error.__cause__, Exception):
        return in_contract_words(error.__cause__)  # this very rank failed, and told the others
    if isinstance(error, RankTimeout):
        return RankHungError(str(error))
    if isinstance(error, LayoutError | Refused):
        return InvalidJobError(str(error))
    if ran_out_of_memory(error):
        return DoesNotFitError(f"memory ran out, so the model does not fit the device: {error}")
    if isinstance(error, torch.AcceleratorError):
        return DeviceLostError(f"the GPU failed: {error}")
    return error


def _free_cache() -> None:
    import torch

    torch.cuda.empty_cache()


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
    sys.exit(Rank(Path(sys.argv[1])).run())
