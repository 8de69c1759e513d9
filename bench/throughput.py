"""What encoding and upload cost a rank beside generation, where one after the other they would dominate.

    PYTHONPATH=tests .venv/bin/python bench/throughput.py --json bench/results/throughput-2-cores.json

A generator that takes a fixed time and no CPU stands for the GPU; everything after it is real: acceptance,
PNG with metadata, digests, upload to an S3 server behind a slow line, block manifests. Measured in one run:

| row | what |
| --- | --- |
| generation alone | items x seconds: what no runtime can be faster than |
| one after the other | each item generated, encoded and uploaded before the next |
| overlapped | the runtime's own loop, from its first item to the last block's commit |
| overlapped, in between | the same up to the end of the last generation: what a longer run tends to |

The cost is the time above generation alone, as a share of it. The line is a proxy in a process of its own.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from asyncdiff_api.formats.items import Resolver, Shared, WorkItem
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.generator import Made
from asyncdiff_runtime.batch.launch import new_attempt
from asyncdiff_runtime.batch.ledger import Ledger
from asyncdiff_runtime.batch.loop import Work
from asyncdiff_runtime.batch.objects import ObjectWriter
from asyncdiff_runtime.batch.worklist import inline_worklist, wanted_by_block
from asyncdiff_runtime.storage import Storage, open_storage
from numpy.typing import NDArray
from support.jobs import job as document
from support.painting import begin
from support.proxy import Pace, Proxy
from support.s3 import S3Server

Picture = NDArray[np.float32]

BAR = 0.03
"""Share of generation time that encoding and upload may cost."""


@dataclass(frozen=True)
class Conditions:
    """What is asked of the runtime."""

    items: int = 200
    serial_items: int = 16
    generation_seconds: float = 0.5
    side: int = 1024
    """Width and height in pixels."""
    latency_seconds: float = 0.1
    """Of every request."""
    megabytes_per_second: float = 4.0
    """Of every connection."""
    repeats: int = 3


@dataclass
class Timed:
    """A generator that takes its time and no CPU."""

    seconds: float
    pictures: Sequence[Picture]
    ended: list[float] = field(default_factory=list)
    """When each call ended."""

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made]:
        """As `Generator.generate`."""
        until = time.perf_counter() + self.seconds
        made = [Made(self.pictures[item.seed % len(self.pictures)], self.seconds) for item in items]
        time.sleep(max(0.0, until - time.perf_counter()))
        self.ended.append(time.perf_counter())
        return made


@dataclass(frozen=True)
class Row:
    """Seconds of a way to work, over the repeats."""

    name: str
    seconds_per_item: list[float]

    @property
    def median(self) -> float:
        """Of the repeats."""
        return statistics.median(self.seconds_per_item)

    def cost(self, generation: float) -> float:
        """The median's share above generation alone."""
        return self.median / generation - 1


def main() -> None:
    conditions, target = arguments()
    with S3Server.start() as server, slow_line(server, conditions) as endpoint:
        os.environ.update(server.environment())
        pictures = [noisy(conditions.side, seed) for seed in range(4)]
        serial = [
            one_after_the_other(server, endpoint, conditions, pictures) for _ in range(conditions.repeats)
        ]
        pairs = [overlapped(server, endpoint, conditions, pictures) for _ in range(conditions.repeats)]
    rows = [
        Row("generation alone", [conditions.generation_seconds]),
        Row("one after the other", serial),
        Row("overlapped", [whole for whole, _ in pairs]),
        Row("overlapped, in between", [between for _, between in pairs]),
    ]
    report(rows, conditions, target)


def one_after_the_other(
    server: S3Server, endpoint: str, conditions: Conditions, pictures: Sequence[Picture]
) -> float:
    """Gives seconds per item."""
    few = replace(conditions, items=conditions.serial_items)
    job, storage = job_in(server.bucket(), endpoint, few)
    generator, writer, items = Timed(few.generation_seconds, pictures), *prepared(storage, job)
    began = time.perf_counter()
    for item in items:
        (made,) = generator.generate([item])
        writer.settle(item, 0, made)
    return (time.perf_counter() - began) / few.items


def overlapped(
    server: S3Server, endpoint: str, conditions: Conditions, pictures: Sequence[Picture]
) -> tuple[float, float]:
    """Gives seconds per item of the whole run, and up to the end of the last generation."""
    job, storage = job_in(server.bucket(), endpoint, conditions)
    record, generator = begin(storage, job), Timed(conditions.generation_seconds, pictures)
    writer, _ = prepared(storage, job)
    work = Work(
        ledger=Ledger(storage, record.request_digest, new_attempt(), 0),
        objects=writer,
        generator=generator,
        batch_size=1,
        max_failed=0,
        draining=lambda: False,
        on_progress=lambda _: None,
    )
    worklist = inline_worklist(job.spec.generate)
    blocks = range(record.blocks.count)
    began = time.perf_counter()
    counts = work.run(lambda run: wanted_by_block(worklist, writer.resolver, run, record.blocks), blocks)
    ended = time.perf_counter()
    assert counts.done == conditions.items
    first = generator.ended[0] - conditions.generation_seconds
    between = (generator.ended[-1] - first) / conditions.items
    return (ended - began) / conditions.items, between


def prepared(storage: Storage, job: AsyncDiffJob) -> tuple[ObjectWriter, list[WorkItem]]:
    """The writer of a job's objects, and its items."""
    record = begin(storage, job)
    resolver = Resolver(Shared.of_job(job.spec, record))
    writer = ObjectWriter(
        storage=storage, output=job.spec.output, reject_blank=True, resolver=resolver, facts={"versions": {}}
    )
    worklist = inline_worklist(job.spec.generate)
    blocks = wanted_by_block(worklist, resolver, range(record.blocks.count), record.blocks)
    return writer, [item for _, wanted in blocks for item, _ in wanted.values()]


def job_in(bucket: str, endpoint: str, conditions: Conditions) -> tuple[AsyncDiffJob, Storage]:
    """A job with so many items, and its output."""
    output = {"s3": {"bucket": bucket, "prefix": "bench/", "endpoint": endpoint}}
    generate = {"prompts": ["a lighthouse in a storm"], "seeds": {"count": conditions.items}}
    job = load(document({"spec.generate": generate, "spec.output": output}))
    return job, open_storage(f"s3://{bucket}/bench/", job.spec.output)


def noisy(side: int, seed: int) -> Picture:
    """A picture that compresses about as badly as a photograph."""
    random = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, side, dtype=np.float32)
    base = np.stack([ramp[:, None] + 0 * ramp, 0 * ramp[:, None] + ramp, np.outer(ramp, ramp)], axis=-1)
    noise = random.standard_normal(base.shape, np.float32) * np.float32(0.02)
    return np.clip(base + noise, 0, 1)


@contextmanager
def slow_line(server: S3Server, conditions: Conditions) -> Iterator[str]:
    """The address of a slow line to the server."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    pace = Pace(conditions.megabytes_per_second * 1e6, conditions.latency_seconds)
    process = context.Process(target=serve, args=(server.port, pace, theirs))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()


def serve(upstream: int, pace: Pace, pipe: Connection) -> None:
    """Runs the line until told to end."""
    with Proxy.http(upstream) as proxy:
        proxy.inject(pace)
        pipe.send(proxy.endpoint)
        pipe.recv()


def report(rows: Sequence[Row], conditions: Conditions, target: Path | None) -> None:
    """Prints the table and writes the JSON."""
    generation = conditions.generation_seconds
    print(f"{'':24}{'s/item':>9}{'from':>9}{'to':>9}{'cost':>9}")
    for row in rows:
        low, high = min(row.seconds_per_item), max(row.seconds_per_item)
        print(f"{row.name:24}{row.median:9.3f}{low:9.3f}{high:9.3f}{row.cost(generation):9.1%}")
    cost = rows[-1].cost(generation)
    print(f"the bar is {BAR:.0%}: {'passed' if cost <= BAR else 'MISSED'}")
    if target is not None:
        result = {
            "conditions": asdict(conditions),
            "rows": {
                row.name: {"secondsPerItem": row.seconds_per_item, "cost": row.cost(generation)}
                for row in rows
            },
            "machine": {
                "cpus": os.cpu_count(),
                "processor": platform.processor(),
                "system": platform.platform(),
            },
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("boto3", "numpy", "pillow")},
            },
        }
        target.write_text(json.dumps(result, indent=2) + "\n")


def arguments() -> tuple[Conditions, Path | None]:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    plain = Conditions()
    for name, value in asdict(plain).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--json", type=Path)
    given = vars(parser.parse_args())
    target = given.pop("json")
    return Conditions(**given), target


if __name__ == "__main__":
    main()
