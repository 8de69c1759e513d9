"""What the engine's tests share: one thread, and process groups that stay up."""

from collections.abc import Callable, Iterator

import pytest
import torch
from support.ranks import Ranks


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two threads add up in another order than one: results would differ in the last bits."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ranks() -> Iterator[Callable[[int], Ranks]]:
    """Process groups by size, started on first use; one that broke is replaced."""
    groups: dict[int, Ranks] = {}

    def of(world: int) -> Ranks:
        if world not in groups or not groups[world].alive:
            groups[world] = Ranks(world)
        return groups[world]

    yield of
    for group in groups.values():
        group.stop()
