"""Working off a shard in a process of its own, with pictures that are computed instead of denoised.

    python -m support.painting JOB OUTPUT SHARD SHARDS MADE

writes the id of each item that it makes to the file MADE, so that a test can count how often one was made. An
error of the contract ends it as it ends a pod: with its exit code, and its sentence on standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from asyncdiff_api.formats.blocks import blocks_of_shard
from asyncdiff_api.formats.errors import ContractError
from asyncdiff_api.formats.identity import ModelIdentity
from asyncdiff_api.formats.items import Resolver, Shared, WorkItem
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.generator import Generator, Made, Unmade
from asyncdiff_runtime.batch.launch import new_attempt
from asyncdiff_runtime.batch.ledger import Ledger
from asyncdiff_runtime.batch.loop import Work
from asyncdiff_runtime.batch.objects import ObjectWriter
from asyncdiff_runtime.batch.record import Writer, settle_record
from asyncdiff_runtime.batch.recorder import OnStanding
from asyncdiff_runtime.batch.worklist import Worklist, inline_worklist, wanted_by_block
from asyncdiff_runtime.storage import Storage, open_storage

MODEL = ModelIdentity(source="bundled:painting", commit="sha256:0", dtype="float32")


def paint(seed: int, side: int = 16) -> Made:
    """A gradient whose colours are the seed's."""
    low, high = np.random.default_rng(seed).random((2, 3))
    ramp = np.linspace(0, 1, side * side).reshape(side, side, 1)
    return Made(low + (1 - low) * ramp * (0.5 + high / 2), seconds=0.001)


@dataclass
class Painter:
    """A generator that is fast; it notes what it has made."""

    made: list[str] = field(default_factory=list)

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """As `Generator.generate`."""
        self.made.extend(item.id for item in items)
        return [paint(item.seed) for item in items]


@dataclass(frozen=True)
class NotingPainter:
    """A generator that notes what it has made in a file, which outlives it."""

    path: Path

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """As `Generator.generate`."""
        with self.path.open("a") as file:
            file.writelines(f"{item.id}\n" for item in items)
        return [paint(item.seed) for item in items]


@dataclass(frozen=True)
class Spoiler:
    """A painter that spoils the items of seed 0."""

    result: Made | Unmade

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """As `Generator.generate`."""
        return [self.result if item.seed == 0 else paint(item.seed) for item in items]


def begin(storage: Storage, job: AsyncDiffJob, worklist: Worklist | None = None) -> JobRecord:
    """The record of a prefix that is begun or resumed."""
    writer = Writer(attempt=new_attempt(), run="run")
    return settle_record(
        storage, job, worklist or inline_worklist(job.spec.generate), writer, lambda _: MODEL
    )


def work(
    storage: Storage,
    job: AsyncDiffJob,
    generator: Generator,
    shard: int = 0,
    shards: int = 1,
    worklist: Worklist | None = None,
    draining: Sequence[bool] = (),
    on_progress: OnStanding = lambda _: None,
) -> ItemCounts:
    """Works off a shard as a rank does; `draining` answers, one after the other, whether it is to go."""
    record = begin(storage, job, worklist)
    resolver = Resolver(Shared.of_job(job.spec, record))
    blocks = blocks_of_shard(shard, shards, record.blocks.count)
    answers = iter(draining)
    shard_work = Work(
        ledger=Ledger(storage, record.request_digest, new_attempt(), shard),
        objects=ObjectWriter(
            storage=storage,
            output=job.spec.output,
            reject_blank=True,
            resolver=resolver,
            facts={"versions": {"painting": "1"}},
        ),
        generator=generator,
        batch_size=2,
        max_failed=job.spec.acceptance.max_failed_items,
        draining=lambda: next(answers, False),
        on_progress=on_progress,
    )
    lines = worklist or inline_worklist(job.spec.generate)
    return shard_work.run(lambda run: wanted_by_block(lines, resolver, run, record.blocks), blocks)


def main() -> None:
    """Works off one shard as the arguments say."""
    job_file, output, shard, shards, made = sys.argv[1:]
    job = load(json.loads(Path(job_file).read_text()))
    try:
        work(open_storage(output, job.spec.output), job, NotingPainter(Path(made)), int(shard), int(shards))
    except ContractError as error:
        print(f"{error.reason}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
