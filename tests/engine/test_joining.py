"""Ranks join one group, whose patience is what they are told and not torch's own; or they work alone."""

import pytest
import torch
import torch.distributed as dist
from asyncdiff_runtime.engine import LayoutError, speed_up
from asyncdiff_runtime.engine.mesh import join
from support.processes import free_port
from support.toy import curved, toy


@pytest.fixture
def _one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of a rank whose only peer never comes."""
    around = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in around.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_one_of_two")
def test_a_rank_gives_up_on_others_after_the_time_that_it_was_told() -> None:
    with pytest.raises(dist.DistStoreError, match="1/2 clients joined"):
        join("cpu", timeout_seconds=1.0)
    assert not dist.is_initialized()


@pytest.mark.usefixtures("_one_of_two")
def test_a_rank_that_works_alone_waits_for_nobody() -> None:
    pipe = toy(curved)
    plain = pipe(steps=6)
    with speed_up(pipe, capture="eager") as parallel:
        assert torch.equal(pipe(steps=6), plain)
        assert not dist.is_initialized()
        assert parallel.report is not None
        assert (parallel.report.evaluations, parallel.report.captures) == (6, 1)
        assert parallel.layout.slots == 1
    with pytest.raises(LayoutError, match="choose one of them"):
        speed_up(pipe, compile="auto", capture="eager")
