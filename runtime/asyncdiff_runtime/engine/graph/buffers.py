"""The memory that recorded work reads from, and what has to be copied there before it is done again."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Buffers:
    """Values as recorded work reads them: some where they lie, others in buffers of the same form.

    Args:
        values: what the work reads.
        moving: indices of those that may be other tensors the next time; these get buffers.

    Attributes:
        values: what the work is to be recorded with.
    """

    def __init__(self, values: Sequence[Tensor], moving: Sequence[int]) -> None:
        self.values = list(values)
        self._moving = tuple(moving)
        self._sources: list[tuple[Tensor, int] | None] = [None] * len(self._moving)
        for index in self._moving:
            self.values[index] = _buffer(values[index])
        self._targets = [_stored(self.values[index]) for index in self._moving]
        self.load(values)

    def load(self, values: Sequence[Tensor]) -> int:
        """Copies the values that changed since the last time to their buffers, and says how many these were.

        A value is unchanged if it is the same tensor, and nothing was written to it. It is held until it changes, so
        that no other tensor can take its place in memory.
        """
        targets, changed = [], []
        for place, index in enumerate(self._moving):
            value = values[index]
            known = self._sources[place]
            if known is not None and known[0] is value and known[1] == _version(value) != _UNKNOWN:
                continue
            self._sources[place] = (value, _version(value))
            targets.append(self._targets[place])
            changed.append(_stored_like(value, self.values[index]))
        if targets:
            torch._foreach_copy_(targets, changed)
        return len(targets)


_UNKNOWN = -1


def _version(value: Tensor) -> int:
    """Counts what was written to a tensor; unknown for inference tensors, which do not count."""
    return _UNKNOWN if value.is_inference() else value._version  # noqa: SLF001 -- autograd's own


def _buffer(value: Tensor) -> Tensor:
    """Memory of the form of a value."""
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device)


def _stored(buffer: Tensor) -> Tensor:
    """The elements of a buffer that have memory of their own: an expanded dimension has one."""
    return _stored_like(buffer, buffer)


def _stored_like(value: Tensor, buffer: Tensor) -> Tensor:
    if 0 not in buffer.stride():
        return value
    return value[tuple(slice(0, 1) if step == 0 else slice(None) for step in buffer.stride())]
