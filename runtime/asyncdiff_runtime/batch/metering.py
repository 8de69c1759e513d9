"""What a rank does and how long it takes: a generator around the one that does the work."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final

from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.progress import GpuSeconds

from asyncdiff_runtime.batch.assignment import ITEM_SECONDS_BOUNDS, ItemSeconds
from asyncdiff_runtime.batch.generator import Generator, Made, Unmade, shape_of_item
from asyncdiff_runtime.batch.heartbeat import Heartbeat

RECENT_ITEMS: Final = 64
RECENT_GENERATIONS: Final = 16
COMPILED_BY: Final = 3
"""The evaluation of a new kind that is past compiling: the second one still records CUDA graphs."""

DENOISERS: Final = ("unet", "transformer", "transformer_2", "prior")
"""Parts of a pipeline that are called at every evaluation, by diffusers' names."""

Say = Callable[..., None]
"""Takes changes of a `RankState` by name."""


class Metered:
    """A generator that beats, says what is in hand, and counts what was made."""

    def __init__(self, generator: Generator, meter: Meter) -> None:
        self._generator = generator
        self._meter = meter

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """As `Generator.generate`."""
        self._meter.begin(items)
        with self._meter.heartbeat.generation((shape_of_item(items[0]), len(items))):
            results = self._generator.generate(items)
        self._meter.end(results)
        return results


class Meter:
    """Where a rank's time goes."""

    def __init__(self, heartbeat: Heartbeat, say: Say, memory: Callable[[], int | None]) -> None:
        """Begins with the time that loading takes.

        Args:
            heartbeat: Told of every evaluation.
            say: Told what is to be reported.
            memory: Gives the highest GPU memory in use so far, in bytes.
        """
        self.heartbeat = heartbeat
        self._say = say
        self._memory = memory
        self._started = time.monotonic()
        self._spent = dict.fromkeys(("load", "compile", "generate", "upload"), 0.0)
        self._recent: deque[float] = deque(maxlen=RECENT_ITEMS)
        self._steps: deque[float] = deque(maxlen=RECENT_GENERATIONS)
        self._counts = [0] * (len(ITEM_SECONDS_BOUNDS) + 1)
        self._sum = 0.0
        self._made = 0
        self._kinds: set[object] = set()
        self._compiles = False
        self._compiling = False
        self._calls: Counter[str] = Counter()
        self._began = 0.0
        self._beats: tuple[int, float, int, float] | None = None

    def loaded(self, *, compiles: bool) -> None:
        """Says that the model is loaded.

        Args:
            compiles: Whether the first evaluations of each new kind of item compile the denoiser.
        """
        self._spent["load"] = time.monotonic() - self._started
        self._compiles = compiles
        self.heartbeat.beat()

    def waited(self, seconds: float) -> None:
        """Says how long the rank has waited for encoding and upload in all."""
        self._spent["upload"] = seconds

    def begin(self, items: Sequence[WorkItem]) -> None:
        """A batch is in hand."""
        kind = (shape_of_item(items[0]), len(items))
        self._compiling = self._compiles and kind not in self._kinds
        self._kinds.add(kind)
        self._calls.clear()
        self._beats = None
        self._began = time.monotonic()
        self._report(
            phase="Compiling" if self._compiling else "Generating", item=items[0].id, running=len(items)
        )

    def evaluate(self, part: str, pipe: Any) -> None:
        """A denoiser of a pipeline is about to be called."""
        self._calls[part] += 1
        scheduler = pipe.scheduler
        # Not every scheduler counts its steps, and then each call is taken for an evaluation.
        step = getattr(scheduler, "step_index", None)
        counts = hasattr(scheduler, "step_index")
        evaluation = (step or 0) + 1 if counts else max(self._calls.values())
        timesteps = getattr(scheduler, "timesteps", None)
        self.heartbeat.evaluation(evaluation, 0 if timesteps is None else len(timesteps))
        now = time.monotonic()
        first, since = (evaluation, now) if self._beats is None else self._beats[:2]
        self._beats = (first, since, evaluation, now)
        if self._compiling and evaluation >= first + COMPILED_BY - 1:
            self._compiled(now)

    def end(self, results: Sequence[Made | Unmade]) -> None:
        """The batch is made."""
        now = time.monotonic()
        if self._compiling:
            self._compiled(now)
        self._spent["generate"] += now - self._began
        if self._beats is not None and self._beats[2] > self._beats[0]:
            first, since, last, until = self._beats
            self._steps.append((until - since) / (last - first))
        self._made += len(results)
        for result in results:
            if isinstance(result, Made):
                self._recent.append(result.seconds)
                self._counts[bisect_left(ITEM_SECONDS_BOUNDS, result.seconds)] += 1
                self._sum += result.seconds
        self._report(phase="Waiting", item="", running=0)

    def _compiled(self, now: float) -> None:
        self._spent["compile"] += now - self._began
        self._began, self._compiling = now, False
        self._report(phase="Generating")

    def _report(self, **changes: object) -> None:
        elapsed = time.monotonic() - self._started
        idle = max(0.0, elapsed - sum(self._spent.values()))
        self._say(
            made=self._made,
            gpu_seconds=GpuSeconds(**self._spent, idle=idle),
            recent_seconds=tuple(self._recent),
            item_seconds=ItemSeconds(counts=tuple(self._counts), sum=self._sum),
            milliseconds_per_step=1000 * median(self._steps) if self._steps else None,
            memory_bytes=self._memory(),
            **changes,
        )


def watch_evaluations(pipe: Any, meter: Meter) -> None:
    """Has the meter told of every call of a pipeline's denoisers, whoever makes it and whatever answers it."""
    for part in DENOISERS:
        module = getattr(pipe, part, None)
        if module is not None:
            module.register_forward_pre_hook(_telling(meter, part, pipe))


def _telling(meter: Meter, part: str, pipe: Any) -> Callable[[Any, Any], None]:
    # A plain function: deep copies of a module share it, where they would try to copy an object.
    def tell(_module: Any, _arguments: Any) -> None:
        meter.evaluate(part, pipe)

    return tell
