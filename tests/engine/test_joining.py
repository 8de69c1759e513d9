"""Ranks join one group, whose patience is what they are told and not torch's own."""

import pytest
import torch.distributed as dist
from asyncdiff_runtime.engine.mesh import join
from support.processes import free_port


def test_a_rank_gives_up_on_others_after_the_time_that_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    around = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(dist.DistStoreError, match="1/2 clients joined"):
        join("cpu", timeout_seconds=1.0)
    assert not dist.is_initialized()
