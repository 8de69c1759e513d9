"""Lowered parts recorded as CUDA graphs: an evaluation is then one launch."""

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .buffers import Buffers
from .lowering import Lower, Lowered
from .parts import Part

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Recording:
    """Work on a device that can be done again, on the same memory.

    Attributes:
        replay: starts it on the current stream, and waits for nothing.
        outputs: what it gives, overwritten by each replay of this or another recording.
        release: gives back what it holds.
    """

    replay: Callable[[], None]
    outputs: tuple[Tensor, ...]
    release: Callable[[], None]


Record = Callable[[Callable[[], tuple[Tensor, ...]]], Recording]
"""Records what a function does on a device."""


@dataclass(eq=False)
class Replays:
    """Lowers parts and replays them from recordings.

    All recordings of one `Replays` share their memory: their replays have to follow each other on one stream. The
    outputs are copies, and so stay as they are.

    Args:
        lower: makes a part ready; its work is what is recorded.
        record: records it.
        capacity: recordings that are kept, the ones used last. One that is needed again is made again.
    """

    lower: Lower
    record: Record
    capacity: int = 4
    _kept: OrderedDict[int, Recording] = field(default_factory=OrderedDict, init=False)

    def lowered(self, part: Part, examples: Sequence[Tensor], fixed: Collection[str]) -> "Lowered":
        """A part that is replayed.

        Args:
            part: what to lower.
            examples: values that it reads.
            fixed: names of those that are the same tensors at each call, as weights are: they are read where they
                lie, while others are copied to where the recording reads them.
        """
        plain = self.lower(part, examples)
        moving = [index for index, name in enumerate(part.reads) if name not in fixed]
        replayed = Replayed(self, plain, moving)
        # Who forgets a part wants its memory back, though its recording was among the last.
        weakref.finalize(replayed, self._drop, id(replayed))
        return replayed

    def recording(self, replayed: "Replayed", work: Callable[[], tuple[Tensor, ...]]) -> Recording:
        """The recording of a part, made anew if it is not kept."""
        found = self._kept.get(id(replayed))
        if found is None:
            while len(self._kept) >= self.capacity:
                self._drop(next(iter(self._kept)))
            found = self._kept[id(replayed)] = self.record(work)
        self._kept.move_to_end(id(replayed))
        return found

    def _drop(self, replayed: int) -> None:
        recording = self._kept.pop(replayed, None)
        if recording is not None:
            recording.release()


class Replayed:
    """A lowered part that runs as a recording, or plainly where it cannot be recorded."""

    def __init__(self, replays: Replays, plain: Lowered, moving: Sequence[int]) -> None:
        self._replays = replays
        self._plain = plain
        self._moving = moving
        self._buffers: Buffers | None = None
        self._refused = False

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        """What the part gives for the values that it reads."""
        if self._refused:
            return self._plain(*values)
        if self._buffers is None:
            if len({value.device for value in values}) > 1:
                # A number that lies on the CPU would be taken up as it is now.
                return self._refuse("it reads values that lie on several devices", values)
            self._buffers = Buffers(values, self._moving)
        buffers = self._buffers
        try:
            recording = self._replays.recording(self, lambda: self._plain(*buffers.values))
        except Exception as error:  # noqa: BLE001 -- whatever cannot be done while a device records
            return self._refuse(f"{type(error).__name__}: {error}".splitlines()[0], values)
        buffers.load(values)
        recording.replay()
        return tuple(output.clone() for output in recording.outputs)

    def _refuse(self, reason: str, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        logger.warning("A part of the denoiser cannot be a CUDA graph (%s); it is launched plainly.", reason)
        self._refused, self._buffers = True, None
        return self._plain(*values)


def cuda_recorder(device: torch.device, warmups: int = 2) -> Record:
    """Records CUDA graphs of a device, all in one private memory pool and from one stream.

    Nothing else may wait for the device on this thread while one is recorded; other threads (as NCCL's watchdog) may.

    Args:
        device: a CUDA device.
        warmups: times that work is done before it is recorded, so that kernels are loaded and libraries have their
            workspaces.
    """
    pool = torch.cuda.graph_pool_handle()
    stream = torch.cuda.Stream(device)

    def record(work: Callable[[], tuple[Tensor, ...]]) -> Recording:
        current = torch.cuda.current_stream(device)
        stream.wait_stream(current)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            try:
                with torch.cuda.stream(stream):
                    for _ in range(warmups):
                        work()
                current.wait_stream(stream)
                # The usual mode forbids all threads what NCCL's watchdog does all the time.
                with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                    outputs = work()
            finally:
                # A recording that failed leaves its stream current.
                torch.cuda.set_stream(current)
        return Recording(graph.replay, outputs, graph.reset)

    return record
