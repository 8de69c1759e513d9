"""Ranks that make one sample together: one leads and keeps the ledger, the others follow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from asyncdiff_api.formats.items import WorkItem

from asyncdiff_runtime.batch.generator import Generator, Made, Unmade
from asyncdiff_runtime.batch.inputs.loading import Loaded, Loader


class Leading:
    """The leader's generator: hands each batch to the followers first."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._group = _side_channel()
        self._whole = True

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """As `Generator.generate`."""
        self._tell(list(items))
        self._whole = False  # an error midway leaves the followers somewhere inside the same generation
        results = self._generator.generate(items)
        self._whole = True
        return results

    def dismiss(self) -> None:
        """Lets the followers go; after an error within a generation they end by that error instead."""
        if self._whole:
            self._tell(None)

    def _tell(self, items: list[WorkItem] | None) -> None:
        dist.broadcast_object_list([items], src=0, group=self._group)


def follow(generator: Generator) -> None:
    """Makes what the leader makes until it lets go."""
    group = _side_channel()
    while True:
        told: list[Any] = [None]
        dist.broadcast_object_list(told, src=0, group=group)
        if told[0] is None:
            return
        generator.generate(told[0])


class TeamInputs:
    """Inputs of a team: the rank that leads has them, and hands on what it found, for better or worse."""

    def __init__(self, inputs: Loader, *, leads: bool) -> None:
        """To be made by all ranks at the same point."""
        self._inputs = inputs
        self._leads = leads
        self._group = _side_channel()

    def prepare(self, items: Sequence[WorkItem]) -> None:
        """As `Loader.prepare`."""
        self._inputs.prepare(items)

    def load(self, items: Sequence[WorkItem]) -> list[Loaded]:
        """As `Loader.load`; to be called by all ranks with the same items."""
        told: list[Any] = [self._inputs.load(items) if self._leads else None]
        dist.broadcast_object_list(told, src=0, group=self._group)
        loaded: list[Loaded] = told[0]
        return loaded


def _side_channel() -> Any:
    """Gives a group for Python objects, which NCCL would carry by way of the GPU.

    Followers wait in it for as long as the leader reads, or waits for storage; one that is gone is noticed at
    once.
    """
    return dist.new_group(backend="gloo", timeout=timedelta(days=1))
