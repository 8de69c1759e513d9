"""What goes from stage to stage at a tick, as one message for each pair of ranks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .cell import Values
from .schedule import Schedule, Value
from .segments import Segments

_ALIGNMENT = 64
"""Bytes: where a tensor's own memory would begin, so that the same kernels run on it."""


@dataclass(frozen=True)
class Form:
    """How a tensor lies in memory."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> "Form":
        """That of a tensor."""
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)

    @property
    def bytes(self) -> int:
        """Of its elements, without gaps."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    def empty(self, device: torch.device) -> Tensor:
        """A tensor of this form that holds anything."""
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device=device)


Forms = Mapping[str, Form]


@dataclass(frozen=True)
class Parcel:
    """What one stage sends another at the end of a tick.

    Attributes:
        tick: at the end of which.
        source: the stage that sends.
        target: the stage that receives.
        contents: versions, and the names of the values of each that the target reads.
    """

    tick: int
    source: int
    target: int
    contents: tuple[tuple[Value, tuple[str, ...]], ...]

    def bytes(self, forms: Forms) -> int:
        """Its size."""
        return sum(_padded(forms[name].bytes) for _, names in self.contents for name in names)

    def pack(self, store: Mapping[Value, Values], forms: Forms, buffer: Tensor) -> None:
        """Writes what is in the store to a buffer of bytes; leaves what is not as it is."""
        offset = 0
        for value, names in self.contents:
            made = store.get(value, {})
            for name in names:
                form = forms[name]
                if name in made:
                    _dense(buffer, offset, form).copy_(made[name])
                offset += _padded(form.bytes)

    def unpack(self, buffer: Tensor, forms: Forms) -> dict[Value, dict[str, Tensor]]:
        """What a buffer of bytes holds, each tensor in the form that it had."""
        found: dict[Value, dict[str, Tensor]] = {}
        offset = 0
        for value, names in self.contents:
            found[value] = {}
            for name in names:
                form = forms[name]
                found[value][name] = _formed(_dense(buffer, offset, form), form)
                offset += _padded(form.bytes)
        return found

    def __str__(self) -> str:
        names = [name for _, names in self.contents for name in names]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        first = self.contents[0][0]
        return f"{shown}, which segment {first.segment} makes at evaluation {first.evaluation}"


def parcels(schedule: Schedule, segments: Segments) -> tuple[Parcel, ...]:
    """All messages of a schedule: what is read of each version and nothing else, by tick and pair of stages."""
    found: dict[tuple[int, int, int], list[tuple[Value, tuple[str, ...]]]] = {}
    for transfer in schedule.transfers(segments.joined):
        names = segments.between(transfer.value.segment, transfer.readers)
        found.setdefault((transfer.tick, transfer.source, transfer.target), []).append(
            (transfer.value, names)
        )
    return tuple(Parcel(*key, tuple(contents)) for key, contents in found.items())


def bytes_between(found: Sequence[Parcel], forms: Forms) -> int:
    """Bytes of several messages."""
    return sum(parcel.bytes(forms) for parcel in found)


def _dense(buffer: Tensor, offset: int, form: Form) -> Tensor:
    """The bytes of a tensor as one of its shape; its strides too, where it has no gaps."""
    flat = buffer[offset : offset + form.bytes].view(form.dtype)
    return flat.as_strided(form.shape, form.strides) if _is_dense(form) else flat.view(form.shape)


def _formed(dense: Tensor, form: Form) -> Tensor:
    if _is_dense(form):
        return dense
    return form.empty(dense.device).copy_(dense)


def _is_dense(form: Form) -> bool:
    """Whether a tensor's elements fill its memory, each once."""
    expected = 1
    for stride, size in sorted(zip(form.strides, form.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
