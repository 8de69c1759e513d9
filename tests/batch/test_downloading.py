"""A download says how far it is, and so is told from a rank that hangs, however long it takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from asyncdiff_runtime.batch.heartbeat import Heartbeat, Pulse
from asyncdiff_runtime.batch.models import Plan, Received, download
from asyncdiff_runtime.batch.models.hub import Hub
from asyncdiff_runtime.batch.watchdog import Patience, Watchdog
from support.hub import FakeHub
from support.models import model_job, planned
from support.processes import wait_until

NAME = "owner/sdxl"


@pytest.fixture
def served(models: Path) -> Iterator[FakeHub]:
    with FakeHub.start({NAME: models / "sdxl"}) as hub:
        yield hub


@pytest.fixture
def plan(served: FakeHub, tmp_path: Path) -> Plan:
    """A plan of which the weights are still to be fetched, from a hub that keeps whoever asks waiting."""
    hub = Hub(cache=tmp_path / "hub", endpoint=served.endpoint)
    plan = planned(model_job({"repository": NAME}), tmp_path, tmp_path, hub)
    served.hold = threading.Event()
    return plan


def fetched_elsewhere(plan: Plan, cache: Path, content: bytes) -> None:
    """What another process that fetches into the same cache has got so far."""
    blobs = cache / f"models--{NAME.replace('/', '--')}" / "blobs"
    (blobs / "0123.4567.incomplete").write_bytes(content)


def test_what_comes_is_told_whoever_fetches_it(
    plan: Plan, served: FakeHub, models: Path, tmp_path: Path
) -> None:
    told: list[Received] = []
    size = sum((models / "sdxl" / name).stat().st_size for name in plan.files)
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(download, plan, told.append)
        wait_until(lambda: told, what="the first word")
        fetched_elsewhere(plan, tmp_path / "hub", bytes(12_288))
        wait_until(lambda: told[-1].bytes == told[0].bytes + 12_288, what="word of what has come")
        assert served.hold is not None
        served.hold.set()
        going.result(timeout=60)

    assert {one.wanted for one in told} == {size}
    assert not any(one.whole for one in told[:2])
    assert plan.received() == Received(size, size)
    told.clear()
    download(plan, told.append)
    assert told == [], "nothing is told of what is here already"


def test_hours_of_download_are_no_hang_and_hours_of_nothing_are(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path / "pulse")

    def alive(beats: Callable[[], None]) -> bool:
        """Whether a rank that beats once a minute is within its limits after three hours."""
        dog = Watchdog(patience=Patience(), world=1)
        for minute in range(180):
            beats()
            pulse = Pulse.read(tmp_path / "pulse")
            assert pulse is not None
            for second in range(60):  # its process runs all the time
                now = 60.0 * minute + second
                dog = dog.look(now, {0: replace(pulse, alive=now)})
        return dog.verdict() is None

    assert alive(heartbeat.beat)
    assert not alive(lambda: None)
