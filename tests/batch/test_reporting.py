"""What a pod says of itself: bounded, in step with the ledger, whole at any moment, and served read-only."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.progress import MAX_PROGRESS_BYTES, Download, Progress
from asyncdiff_api.formats.result import MAX_RESULT_BYTES, Result
from asyncdiff_runtime.batch.assignment import ITEM_SECONDS_BOUNDS, ItemSeconds, RankState
from asyncdiff_runtime.batch.launch import Ended
from asyncdiff_runtime.batch.metrics import METRICS, registry_of
from asyncdiff_runtime.batch.reporting import Reporter, View, progress_of, result_of
from asyncdiff_runtime.batch.serving import LOOK_SECONDS, pages_of, serving, trouble_of
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.pods import ask

VIEW = View(shard=2, shards=4, attempt="0000abcd", world=2, started=100.0, total=50)
WORKING = RankState(
    rank=0,
    phase="Generating",
    items=ItemCounts(done=7, failed=1),
    recorded=ItemCounts(done=5),
    made=8,
    running=4,
    item="0" * 32,
    evaluation=3,
    evaluations=20,
    item_seconds=ItemSeconds(counts=(0, 1, 7, *(0 for _ in ITEM_SECONDS_BOUNDS[2:])), sum=3.5),
)


def seen(*states: RankState, earlier: ItemCounts | None = None) -> View:
    view = replace(VIEW, earlier=earlier or ItemCounts())
    return view.with_states({state.rank: state for state in states}, now=110.0)


def test_the_report_of_a_pod_with_very_many_ranks_stays_within_its_bound() -> None:
    ranks = [WORKING.model_copy(update={"rank": rank, "item": "f" * 64}) for rank in range(1000)]
    report = progress_of(seen(*ranks), 2**40, 1e9).to_line()
    assert len(report) < MAX_PROGRESS_BYTES
    assert len(Progress.receive(report, "progress").ranks) == 64


def test_a_report_counts_what_is_made_and_a_result_what_the_ledger_holds() -> None:
    view = seen(WORKING)
    assert progress_of(view, 0, 111.0).items.done == 7
    assert result_of(view).items == ItemCounts(done=5)


def test_counts_never_fall_below_what_the_ledger_held_before() -> None:
    view = seen(WORKING, earlier=ItemCounts(done=6, rejected=2))
    assert result_of(view).items == ItemCounts(done=6, rejected=2)
    assert progress_of(view, 0, 111.0).items == ItemCounts(done=7, rejected=2, failed=1)


def test_a_pod_is_said_to_do_what_its_busiest_rank_does() -> None:
    loading = RankState(rank=1, phase="Loading")
    assert seen(WORKING, loading).phase == "Generating"
    assert seen(loading).phase == "Loading"
    assert VIEW.phase == "Starting"


def test_what_ranks_fetch_together_is_told_once() -> None:
    come = [Download(received_bytes=count, total_bytes=9) for count in (4, 5)]
    fetching = [RankState(rank=rank, phase="Loading", download=one) for rank, one in enumerate(come)]
    assert progress_of(seen(*fetching), 0, 111.0).download == come[1]
    text = generate_latest(registry_of(lambda: seen(*fetching))).decode()
    assert "asyncdiff_download_received_bytes 5.0\n" in text
    assert "asyncdiff_download_total_bytes 9.0\n" in text
    assert progress_of(seen(WORKING), 0, 111.0).download is None


def test_the_result_is_rewritten_in_place_once_the_ledger_grows(tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    path.touch()
    file, reporter = path.stat().st_ino, Reporter(VIEW, path)

    reporter.watch({0: WORKING})
    first = Result.parse(path.read_bytes(), "first")
    reporter.watch({0: WORKING.model_copy(update={"made": 9})})
    assert Result.parse(path.read_bytes(), "same").sequence == first.sequence
    reporter.watch({0: WORKING.model_copy(update={"recorded": ItemCounts(done=9)})})
    grown = Result.parse(path.read_bytes(), "grown")
    assert (grown.sequence, grown.items.done, grown.final) == (first.sequence + 1, 9, False)

    reporter.end(Ended(ExitCode.DOES_NOT_FIT, "DoesNotFit", "x" * 9999, ItemCounts()))
    assert path.stat().st_size <= MAX_RESULT_BYTES
    reporter.end(Ended(ExitCode.DONE, "AllItemsDone", "", ItemCounts(total=9, done=9)))
    last = Result.parse(path.read_bytes(), "last")
    assert (last.final, last.exit_code, last.items.total) == (True, 0, 9)
    assert path.stat().st_ino == file


def test_a_result_that_cannot_be_written_does_not_change_how_a_pod_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = Reporter(VIEW, tmp_path / "missing/log").end(
        Ended(ExitCode.DONE, "AllItemsDone", "", ItemCounts())
    )
    assert result.exit_code == 0
    assert "the result could not be written" in caplog.text


def test_every_described_metric_is_served_with_its_labels() -> None:
    more = {"memory_bytes": 5, "download": Download(received_bytes=1, total_bytes=2)}
    view = seen(WORKING.model_copy(update=more), earlier=ItemCounts(done=1))
    later = view.with_states({0: WORKING.model_copy(update={"made": 20, **more})}, now=130.0)
    text = generate_latest(registry_of(lambda: later)).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for metric in METRICS:
        samples = families[metric.name].samples
        assert samples, metric.name
        assert all(tuple(sample.labels) == metric.labels for sample in samples)
    buckets = {
        sample.labels["le"]: sample.value
        for sample in families["asyncdiff_item_seconds"].samples
        if sample.name.endswith("_bucket")
    }
    assert (buckets["0.1"], buckets["0.25"], buckets["0.5"], buckets["+Inf"]) == (0, 1, 8, 8)


def test_pages_are_read_only_and_a_stranger_is_told_which_there_are(tmp_path: Path) -> None:
    with serving(pages_of(Reporter(VIEW, tmp_path / "log")), 0) as port:
        for host in ("127.0.0.1", "::1"):
            status, body = ask(port, "/progress?x=1", host=host)
            assert (status, Progress.receive(body, "progress").shard) == (200, 2)
        assert ask(port, "/etc")[0] == 404
        for method in ("POST", "PUT", "DELETE"):
            assert ask(port, "/progress", method)[0] == 501


def test_a_pod_whose_watch_has_died_is_unhealthy_and_says_why(tmp_path: Path) -> None:
    reporter = Reporter(VIEW, tmp_path / "log")
    with serving(pages_of(reporter), 0) as port:
        reporter.change(looked=time.monotonic() - LOOK_SECONDS - 10)
        status, body = ask(port, "/healthz")
    assert status == 503
    assert "the ranks were last looked after 40 s ago" in json.loads(body)["reason"]
    assert trouble_of(None, 5.0) == ""
