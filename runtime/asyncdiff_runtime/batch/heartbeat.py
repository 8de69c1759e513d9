"""Signs of life: each rank writes them to a small file of its own, which its parent reads.

Times are of the machine's monotonic clock, which all of its processes share. A write is one system call of a
few microseconds, so that every evaluation can afford one.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Final

ALIVE_SECONDS: Final = 0.5
"""Seconds between two signs that the process as such runs."""

_ALIVE = struct.Struct("=d")
_PULSE = struct.Struct("=3d4q")


class Stage(IntEnum):
    """What a rank is at, as far as patience with it goes."""

    APART = 0
    """Between generations, or before the first: it loads, reads, writes or waits for others."""
    NEW = 1
    """In a generation the like of which it has not made yet, so it may compile."""
    KNOWN = 2
    """In a generation the like of which it has made."""


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """What a rank's file says."""

    alive: float = 0.0
    """When a thread that does nothing else last ran, in seconds of the monotonic clock."""
    beat: float = 0.0
    """When the work last moved on, in seconds of the monotonic clock."""
    longest_gap: float = 0.0
    """Longest time between two beats in earlier generations of this kind, in seconds; 0 in a new kind."""
    longest_generation: float = 0.0
    """Longest of these generations, in seconds; 0 in a new kind."""
    stage: Stage = Stage.APART
    generation: int = 0
    """Counts generations from 1."""
    evaluation: int = 0
    """Evaluations begun in this generation."""
    evaluations: int = 0
    """Evaluations that it takes; 0 while it is not known."""

    @classmethod
    def read(cls, path: Path) -> Pulse | None:
        """Gives what the file says; None where nothing was said yet."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if len(data) < _ALIVE.size + _PULSE.size:
            return None
        beat, gap, generation, *numbers = _PULSE.unpack_from(data, _ALIVE.size)
        stage, count, evaluation, evaluations = numbers
        return cls(
            alive=_ALIVE.unpack_from(data)[0],
            beat=beat,
            longest_gap=gap,
            longest_generation=generation,
            stage=Stage(stage),
            generation=count,
            evaluation=evaluation,
            evaluations=evaluations,
        )


def pulse_file(folder: Path, rank: int) -> Path:
    """Gives the file of a rank's signs of life."""
    return folder / f"pulse-{rank}"


def read_pulses(folder: Path, world: int) -> dict[int, Pulse]:
    """Gives the pulse of each rank that has one, by its number."""
    found = {rank: Pulse.read(pulse_file(folder, rank)) for rank in range(world)}
    return {rank: pulse for rank, pulse in found.items() if pulse is not None}


class Heartbeat:
    """A rank's own signs of life: of its work, by calls from one thread at a time, and of its process, by itself."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._pulse = Pulse(beat=time.monotonic())
        self._gap = 0.0
        self._usual: dict[object, tuple[float, float] | None] = {}
        self._write()
        threading.Thread(target=self._live, name="alive", daemon=True).start()

    def beat(self) -> None:
        """Says that the work has moved on."""
        now = time.monotonic()
        self._gap = max(self._gap, now - self._pulse.beat)
        self._pulse = replace(self._pulse, beat=now)
        self._write()

    def evaluation(self, evaluation: int, evaluations: int) -> None:
        """Says that an evaluation has begun.

        Args:
            evaluation: Its number, from 1.
            evaluations: How many there will be; 0 where it is not known.
        """
        self._pulse = replace(self._pulse, evaluation=evaluation, evaluations=evaluations)
        self.beat()

    @contextmanager
    def generation(self, kind: object) -> Iterator[None]:
        """Encloses a generation; one that ends well tells how long the next ones of its kind may take."""
        usual = self._usual.get(kind)
        longest_gap, longest = usual or (0.0, 0.0)
        began = time.monotonic()
        self._gap = 0.0
        self._pulse = Pulse(
            beat=began,
            longest_gap=longest_gap,
            longest_generation=longest,
            stage=Stage.NEW if usual is None else Stage.KNOWN,
            generation=self._pulse.generation + 1,
        )
        self._write()
        try:
            yield
            self.beat()
            # The first of a kind may have compiled: what is usual is learned from the second on.
            measured = (max(longest_gap, self._gap), max(longest, time.monotonic() - began))
            self._usual[kind] = measured if kind in self._usual else None
        finally:
            self._pulse = replace(self._pulse, stage=Stage.APART)
            self._write()

    def _write(self) -> None:
        pulse = self._pulse
        data = _PULSE.pack(
            pulse.beat,
            pulse.longest_gap,
            pulse.longest_generation,
            pulse.stage,
            pulse.generation,
            pulse.evaluation,
            pulse.evaluations,
        )
        os.pwrite(self._file, data, _ALIVE.size)

    def _live(self) -> None:
        while True:
            os.pwrite(self._file, _ALIVE.pack(time.monotonic()), 0)
            time.sleep(ALIVE_SECONDS)
