"""Shards read their own part of a worklist: together everything, each item once."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from asyncdiff_api.formats.blocks import blocking_of_bytes, blocks_of_shard
from asyncdiff_api.formats.errors import WorklistChangedError, WorklistLineError, WorklistUnreadableError
from asyncdiff_api.formats.identity import ModelIdentity
from asyncdiff_api.formats.items import Resolver, Shared
from asyncdiff_api.formats.job_record import WorklistSource
from asyncdiff_api.generate import Generate, Seeds
from asyncdiff_runtime.batch.worklist import (
    LargeWorklist,
    WholeWorklist,
    Worklist,
    file_worklist,
    inline_worklist,
    wanted_by_block,
)
from asyncdiff_runtime.storage import FolderStorage, Storage
from hypothesis import given
from hypothesis import strategies as st

GENERATE = Generate(prompts=("unused",), seeds=Seeds(start=0, count=2))
RESOLVER = Resolver(
    Shared(generate=GENERATE, model=ModelIdentity(source="s", commit="c", dtype="float32"), schedule={})
)

LINES = st.lists(
    st.builds(
        lambda prompt, seed: {"prompt": prompt, **({} if seed is None else {"seed": seed})},
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=400),
        st.none() | st.integers(0, 5),
    ),
    max_size=30,
)


def written(storage: Storage, lines: list[dict[str, object]]) -> WorklistSource:
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()
    storage.write("list.jsonl", text)
    stat = storage.stat("list.jsonl")
    assert stat is not None
    return WorklistSource(source="list.jsonl", etag=stat.etag, bytes=len(text))


@given(lines=LINES, shards=st.integers(1, 9), large=st.booleans())
def test_shards_together_give_every_item_of_the_worklist_once(
    lines: list[dict[str, object]], shards: int, large: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        storage = FolderStorage(Path(folder))
        source = written(storage, [*lines, {"prompt": "last", "seed": 1}])
        worklist: Worklist = LargeWorklist(storage, "list.jsonl", source, GENERATE)
        if not large:
            worklist = file_worklist(storage, "list.jsonl", GENERATE, "list.jsonl")
        blocking = worklist.blocking
        runs = [blocks_of_shard(shard, shards, blocking.count) for shard in range(shards)]
        found = [choice for run in runs for choice in worklist.choices(run, blocking)]
        numbers = [number for run in runs for number, _ in wanted_by_block(worklist, RESOLVER, run, blocking)]
    asked = [
        (line["prompt"], seed) for line in lines for seed in ([line["seed"]] if "seed" in line else [0, 1])
    ]
    assert [(choice.line.prompt, choice.seed) for choice in found] == [*asked, ("last", 1)]
    assert numbers == list(range(blocking.count))


def test_a_shard_of_a_large_worklist_reads_its_own_bytes_alone(tmp_path: Path) -> None:
    reads: list[range] = []

    class Watched(FolderStorage):
        def read(self, key: str, span: range | None = None, if_match: str = "") -> bytes:
            assert span is not None, "the whole file was read"
            reads.append(span)
            return super().read(key, span, if_match)

    storage = Watched(tmp_path)
    source = written(storage, [{"prompt": f"picture {number}"} for number in range(100_000)])
    worklist = file_worklist(storage, "list.jsonl", GENERATE, "list.jsonl")
    blocking = worklist.blocking

    list(worklist.choices(blocks_of_shard(3, 8, blocking.count), blocking))

    assert blocking == blocking_of_bytes(source.bytes)
    assert sum(map(len, reads)) < source.bytes / 8 + 2**17
    assert min(span.start for span in reads) > source.bytes / 4


def test_a_block_that_would_not_fit_into_memory_is_refused(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    source = written(storage, [{"prompt": "a fox"}, {"prompt": "a dog"}])
    generate = Generate(prompts=("unused",), seeds=Seeds(count=1_000_000))
    worklist = LargeWorklist(storage, "list.jsonl", source, generate)
    with pytest.raises(WorklistUnreadableError, match=r"block 0 .*lower generate\.seeds\.count"):
        next(iter(wanted_by_block(worklist, RESOLVER, range(1), worklist.blocking)))


def test_a_large_worklist_that_changes_midway_is_noticed(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    source = written(storage, [{"prompt": "a fox"}])
    worklist = LargeWorklist(storage, "list.jsonl", source, GENERATE)
    written(storage, [{"prompt": "a longer dog"}])
    with pytest.raises(WorklistChangedError, match=r"list\.jsonl was changed"):
        list(worklist.choices(range(1), worklist.blocking))


@pytest.mark.parametrize("content", [None, b""])
def test_a_missing_or_empty_worklist_is_named(tmp_path: Path, content: bytes | None) -> None:
    storage = FolderStorage(tmp_path)
    if content is not None:
        storage.write("list.jsonl", content)
    with pytest.raises(WorklistUnreadableError, match=r"my-list (does not exist|is empty)"):
        file_worklist(storage, "list.jsonl", GENERATE, "my-list")


def test_a_line_that_does_not_parse_is_named(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    storage.write("list.jsonl", b'{"prompt": "a"}\n{"prompt": 7}\n')
    with pytest.raises(WorklistLineError, match=r"line 2 of the worklist: prompt must be"):
        file_worklist(storage, "list.jsonl", GENERATE, "list.jsonl")


def test_inline_prompts_are_lines(tmp_path: Path) -> None:
    worklist = inline_worklist(Generate(prompts=("a", "b"), seeds=Seeds(count=2)))
    assert isinstance(worklist, WholeWorklist)
    choices = worklist.choices(range(4), worklist.blocking)
    assert [(c.line.prompt, c.seed) for c in choices] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
