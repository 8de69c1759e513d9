"""Results and progress reports: bounded whatever is put into them, and counts are never cut."""

import json
from typing import Any

import pytest
from asyncdiff_api.formats.errors import ContractError, DamagedRecordError, DoesNotFitError
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.progress import (
    MAX_PROGRESS_BYTES,
    MAX_RANKS,
    GpuSeconds,
    PlanSummary,
    Progress,
    RankProgress,
    SecondsPerItem,
    Throughput,
)
from asyncdiff_api.formats.result import MAX_RESULT_BYTES, OutputKeys, Result
from hypothesis import example, given
from hypothesis import strategies as st

MOST = 2**63 - 1
LONGEST_NUMBER = 1.0000000000000002e11 / 3
WIDEST = "\\" * 128
FULL_COUNTS = ItemCounts(total=MOST, done=MOST, rejected=MOST, failed=MOST, duplicates=MOST)
FULL_THROUGHPUT = Throughput(
    items_per_second=LONGEST_NUMBER,
    items_per_gpu_hour=LONGEST_NUMBER,
    seconds_per_item=SecondsPerItem(p50=LONGEST_NUMBER, p95=LONGEST_NUMBER),
    milliseconds_per_step=LONGEST_NUMBER,
    speedup=LONGEST_NUMBER,
    gpu_seconds=GpuSeconds(
        load=LONGEST_NUMBER,
        compile=LONGEST_NUMBER,
        generate=LONGEST_NUMBER,
        upload=LONGEST_NUMBER,
        idle=LONGEST_NUMBER,
    ),
)
FULL_PLAN = PlanSummary(
    strategy="x" * 64,
    stages=MOST,
    data_parallel=MOST,
    guidance_groups=MOST,
    predicted_seconds_per_item=LONGEST_NUMBER,
    reason=WIDEST * 2,
    model_commit=WIDEST,
    schedule_digest=WIDEST,
)


def full_result(**more: Any) -> Result:
    return Result(
        scope="Shard",
        shard=MOST,
        shards=MOST,
        attempt="0123abcd",
        sequence=MOST,
        final=True,
        exit_code=MOST,
        reason="X" * 64,
        items=FULL_COUNTS,
        throughput=FULL_THROUGHPUT,
        plan=FULL_PLAN,
        output=OutputKeys(manifest=WIDEST, gallery=WIDEST),
        **more,
    )


def test_the_fullest_result_leaves_room_for_a_message() -> None:
    assert MAX_RESULT_BYTES == 4096
    assert len(full_result().encode()) <= MAX_RESULT_BYTES - 512


@given(
    text=st.text(min_size=1, max_size=20)
    | st.sampled_from(["\x00", "😀", '"\\', "\ud800", "a\u0301", "\u202e\ufeff"]),
    times=st.integers(0, 6000),
)
def test_a_result_is_never_longer_than_kubernetes_keeps(text: str, times: int) -> None:
    message = text * times
    data = full_result(message=message).encode()
    assert len(data) <= MAX_RESULT_BYTES
    back = Result.parse(data, "here")
    assert back.items == FULL_COUNTS
    assert message.encode(errors="replace").decode().startswith(back.message.removesuffix("…"))


def test_as_much_of_the_message_is_kept_as_fits() -> None:
    result = full_result(message="x" * 9000)
    assert MAX_RESULT_BYTES - 8 <= len(result.encode()) <= MAX_RESULT_BYTES


def test_a_short_message_is_kept_whole() -> None:
    assert Result.parse(full_result(message="no bucket").encode(), "here").message == "no bucket"


@pytest.mark.parametrize("place", ["top", "items", "throughput"])
def test_what_a_later_version_added_gives_way_before_counts_do(place: str) -> None:
    addition = {"addition": "x" * 5000}
    document = json.loads(full_result(message="no bucket").to_line())
    (document if place == "top" else document[place]).update(addition)
    data = Result.parse(json.dumps(document), "here").encode()
    assert len(data) <= MAX_RESULT_BYTES
    back = Result.parse(data, "here")
    assert (back.items, back.message) == (FULL_COUNTS, "no bucket")


def test_a_small_addition_of_a_later_version_is_kept() -> None:
    document = json.loads(full_result(message="y" * 9000).to_line()) | {"addition": [1, None]}
    assert json.loads(Result.parse(json.dumps(document), "here").encode())["addition"] == [1, None]


def test_the_last_word_names_reason_and_code() -> None:
    result = full_result().ended_by(DoesNotFitError("needs 90 GiB, has 80 GiB"), ExitCode.DOES_NOT_FIT)
    assert (result.reason, result.exit_code, result.final) == ("DoesNotFit", 71, True)
    assert result.message == "needs 90 GiB, has 80 GiB"
    assert result.items == FULL_COUNTS


def full_progress(ranks: int) -> Progress:
    return Progress(
        shard=MOST,
        shards=MOST,
        attempt="0123abcd",
        sequence=MOST,
        uptime_seconds=LONGEST_NUMBER,
        phase="x" * 64,
        items=FULL_COUNTS,
        running=MOST,
        seconds_since_item=LONGEST_NUMBER,
        remaining_seconds=LONGEST_NUMBER,
        throughput=FULL_THROUGHPUT,
        plan=FULL_PLAN,
        world_size=MOST,
        ranks=tuple(
            RankProgress(
                rank=MOST,
                phase="x" * 64,
                item="x" * 64,
                batch=MOST,
                evaluation=MOST,
                evaluations=MOST,
                heartbeat_age_seconds=LONGEST_NUMBER,
                memory_bytes=MOST,
            )
            for _ in range(ranks)
        ),
    )


def test_the_fullest_report_is_within_its_bound() -> None:
    data = full_progress(MAX_RANKS).to_line()
    assert len(data) <= MAX_PROGRESS_BYTES
    assert Progress.receive(data, "pod").ranks[0].rank == MOST


def test_more_ranks_than_the_bound_are_refused_where_the_report_is_made() -> None:
    with pytest.raises(ValueError, match="at most 64"):
        full_progress(MAX_RANKS + 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format":"result","version":"1.0"}',
        b'{"format":"progress","version":"1.0"}',
        b'{"format":"progress","version":1}',
        b'{"format":"progress","version":"1.0","shard":NaN}',
    ],
)
def test_whatever_a_pod_sends_is_a_report_or_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(DamagedRecordError, match="pod"):
        Progress.receive(data, "pod")


def test_a_report_that_is_too_large_is_not_even_decoded() -> None:
    data = full_progress(1).to_line()
    assert Progress.receive(data.ljust(MAX_PROGRESS_BYTES), "pod").world_size == MOST
    with pytest.raises(DamagedRecordError, match="a report has at most 65536: it is ignored"):
        Progress.receive(data.ljust(MAX_PROGRESS_BYTES + 1), "pod")


@given(st.binary(max_size=200))
def test_noise_is_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(ContractError):
        Result.parse(data, "pod")


@given(st.text(max_size=400))
@example("x" * 1000)
@example("é" * 1000)
@example("🦊" * 64)
@example("\x00" * 300)
def test_a_text_of_a_stranger_is_made_to_fit(text: str) -> None:
    plan = PlanSummary(strategy="Data", reason=text, schedule_digest=text, model_commit=text)
    assert len(plan.reason.encode()) <= 256
    assert len(plan.schedule_digest.encode()) <= 128
    assert plan.reason.isprintable() or not text.isprintable()
