"""How soon a shard of a long worklist has its first item, how much it reads, and how much memory that takes.

    PYTHONPATH=tests .venv/bin/python bench/worklist.py --json bench/results/worklist-2-cores.json

The worklist lies in a bucket of a real S3 server. Each shard is begun in a process of its own, which first
imports torch: what is counted is what comes on top of it.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from asyncdiff_runtime.storage.s3 import S3Options, S3Storage
from support.s3 import S3Server

LINES = (1_000_000, 10_000_000)
SHARDS = 8


@dataclass(frozen=True)
class Start:
    """The start of one shard."""

    lines: int
    shard: int
    shards: int
    seconds_checked: float
    """Until the lines that are checked before the model is loaded are checked."""
    seconds_first: float
    """Until the first item is known, from the same moment on."""
    megabytes: float
    """Memory above that of a process with torch."""
    requests: int
    bytes_read: int
    bytes_total: int


def main() -> None:
    options = arguments()
    with S3Server.start() as server:
        bucket = server.bucket()
        os.environ.update(server.environment())
        for lines in options.lines:
            upload(S3Storage(bucket, "", S3Options()), server.processes.path / "list.jsonl", lines)
        shards = ((lines, shard) for lines in options.lines for shard in (0, SHARDS - 1))
        starts = [begun(bucket, lines, shard) for lines, shard in shards]
    print(
        f"{'lines':>10} {'shard':>7} {'checked':>9} {'first':>8} {'memory':>9} {'requests':>9} {'read':>10}"
    )
    for start in starts:
        print(
            f"{start.lines:>10} {start.shard:>3} of {start.shards} {start.seconds_checked:8.2f}s "
            f"{start.seconds_first:7.2f}s {start.megabytes:6.0f} MB {start.requests:>9} "
            f"{start.bytes_read / start.bytes_total:>9.2%}"
        )
    if options.json:
        machine = {"cpus": os.cpu_count(), "system": platform.platform()}
        result = {
            "starts": [asdict(start) for start in starts],
            "machine": machine,
            "versions": {"python": platform.python_version()},
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def upload(storage: S3Storage, path: Path, lines: int) -> None:
    """Leaves a worklist in the bucket."""
    with path.open("w") as file:
        file.writelines(_lines(lines))
    storage.write_file(f"list-{lines}.jsonl", path)
    path.unlink()


def _lines(count: int) -> Iterator[str]:
    for number in range(count):
        yield f'{{"prompt": "object {number} on a beach at dusk, photograph", "seed": {number}}}\n'


def begun(bucket: str, lines: int, shard: int) -> Start:
    """Begins a shard in a process of its own."""
    argv = [sys.executable, __file__, "--shard", f"{bucket}/{lines}/{shard}"]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE)
    return Start(**json.loads(done.stdout))


def begin_shard(bucket: str, lines: int, shard: int) -> Start:
    """Does what a rank does before it has its first item."""
    import torch  # noqa: F401 -- ranks have it
    from asyncdiff_api.formats.blocks import blocks_of_shard
    from asyncdiff_api.formats.items import Resolver, Shared
    from asyncdiff_api.validation import load
    from asyncdiff_runtime.batch.preflight import CHECKED_AHEAD
    from asyncdiff_runtime.batch.worklist import file_worklist, wanted_by_block
    from support.jobs import job as document
    from support.painting import MODEL

    reads: list[int] = []

    class Watched(S3Storage):
        def read(self, key: str, span: range | None = None, if_match: str = "") -> bytes:
            data = super().read(key, span, if_match)
            reads.append(len(data))
            return data

    job = load(document())
    alone = [sys.executable, "-c", "import torch, resource as r; print(r.getrusage(r.RUSAGE_SELF).ru_maxrss)"]
    before = int(subprocess.check_output(alone)) / 1000
    began = time.perf_counter()
    storage = Watched(bucket, "", S3Options())
    name = f"list-{lines}.jsonl"
    worklist = file_worklist(storage, name, job.spec.generate, name)
    blocking = worklist.blocking
    blocks = blocks_of_shard(shard, SHARDS, blocking.count)
    resolver = Resolver(Shared(generate=job.spec.generate, model=MODEL, schedule={}))
    for number, choice in enumerate(worklist.choices(blocks, blocking)):
        next(resolver.items(choice.position, choice.line))
        if number == CHECKED_AHEAD:
            break
    checked = time.perf_counter() - began
    _, wanted = next(iter(wanted_by_block(worklist, resolver, blocks, blocking)))
    assert wanted
    return Start(
        lines=lines,
        shard=shard,
        shards=SHARDS,
        seconds_checked=checked,
        seconds_first=time.perf_counter() - began,
        megabytes=memory() - before,
        requests=len(reads) + 1,
        bytes_read=sum(reads),
        bytes_total=blocking.total,
    )


def memory() -> float:
    """Highest memory of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, nargs="+", default=LINES)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--shard", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.shard:
        bucket, lines, shard = options.shard.split("/")
        print(json.dumps(asdict(begin_shard(bucket, int(lines), int(shard)))))
        sys.exit()
    return options


if __name__ == "__main__":
    main()
