"""A shard of a long worklist in a bucket asks for its own range, in few requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asyncdiff_api.formats.blocks import blocks_of_shard
from asyncdiff_api.formats.lines import READ_BYTES, TAIL_BYTES
from asyncdiff_api.generate import Generate
from asyncdiff_runtime.batch.worklist import file_worklist
from asyncdiff_runtime.storage.s3 import S3Options, S3Storage
from support.proxy import Proxy

if TYPE_CHECKING:
    from support.s3 import S3Server

LINES, SHARDS = 200_000, 5


def test_each_shard_reads_its_share_and_together_they_read_every_line_once(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "list.jsonl"
    file.write_text("".join(f'{{"prompt": "object {number} on a beach"}}\n' for number in range(LINES)))
    S3Storage(bucket, "", S3Options(endpoint=s3_server.endpoint)).write_file("list.jsonl", file)
    size = file.stat().st_size
    prompts: list[str] = []

    for shard in range(SHARDS):
        with Proxy.http(s3_server.port) as proxy:
            storage = S3Storage(bucket, "", S3Options(endpoint=proxy.endpoint))
            worklist = file_worklist(storage, "list.jsonl", Generate(prompts=("unused",)), "list.jsonl")
            blocking = worklist.blocking
            mine = worklist.choices(blocks_of_shard(shard, SHARDS, blocking.count), blocking)
            prompts += [choice.line.prompt or "" for choice in mine]
            reads = [one for one in proxy.exchanges if one.request.method == "GET"]
        assert sum(one.received_bytes for one in reads) <= size / SHARDS + blocking.size + TAIL_BYTES
        assert len(reads) <= size / SHARDS / READ_BYTES + 3
        assert all("range" in one.request.headers and "if-match" in one.request.headers for one in reads)

    assert prompts == [f"object {number} on a beach" for number in range(LINES)]
