"""Values that a denoiser takes from its tensors to the host: lengths of prompts, whether an image is there at all.

It branches by them and gives tensors their shapes, so that a graph holds for these values alone. They are noted while
the modules run, and told again while the graph is captured from tensors that have no values.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .blame import paths_of, place_here

_MANY: Final = 1 << 15
"""Numbers that are noted at once: ids of an image's tokens, and no picture."""

Index = int | slice | Tensor | EllipsisType | None | tuple[Any, ...]


@dataclass(frozen=True)
class HostValue:
    """A tensor's numbers.

    Attributes:
        shape: the tensor's.
        dtype: the tensor's.
        numbers: its elements, in order.
    """

    shape: torch.Size
    dtype: torch.dtype
    numbers: tuple[Any, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> "HostValue":
        """Reads a tensor, which waits for its device."""
        return cls(tensor.shape, tensor.dtype, tuple(tensor.detach().reshape(-1).tolist()))

    def fits(self, tensor: Tensor) -> bool:
        """Whether it may be a tensor's value, by its form."""
        return _known_size(tensor) and (self.shape, self.dtype) == (tensor.shape, tensor.dtype)

    @property
    def array(self) -> Any:
        """The numbers as `Tensor.numpy` gives them."""
        kind = np.dtype(str(self.dtype).removeprefix("torch."))
        return np.array(self.numbers, dtype=kind).reshape(tuple(self.shape))

    @property
    def number(self) -> Any:
        """The only one."""
        (number,) = self.numbers
        return number


class Noting(TorchFunctionMode):
    """Notes what is taken to the host.

    Attributes:
        noted: values, in the order in which they were taken.
    """

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[HostValue] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Notes the values that an operation needs, and does it."""
        self.noted += map(HostValue.of, _asked(func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


class Telling(TorchFunctionMode):
    """Tells what was noted, in place of tensors that have no values.

    What asks for other values than were noted is left to itself.

    Args:
        noted: what `Noting` noted of the same call.
        root: names the modules.

    Attributes:
        values: those told.
        tensors: which they were told of.
        places: where that was.
    """

    def __init__(self, noted: Sequence[HostValue], root: nn.Module) -> None:
        super().__init__()
        self._noted = noted
        self._paths = paths_of(root)
        self.values: list[HostValue] = []
        self.tensors: list[Tensor] = []
        self.places: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Does an operation by the values that it needs, if these were noted."""
        given = kwargs or {}
        asked = _asked(func, args, given)
        values = self._noted[len(self.values) :][: len(asked)]
        if not asked or len(values) < len(asked) or not all(map(HostValue.fits, values, asked)):
            return func(*args, **given)
        self.values += values
        self.tensors += [of.detach().clone() for of in asked]  # it may be written to later
        self.places += [place_here(self._paths)] * len(asked)
        return _READERS[func].answer(values, *args, **given)


@dataclass(frozen=True)
class Reader:
    """An operation whose result, or whose shape, the host knows only from values.

    Attributes:
        asks: from its arguments, the tensors whose values it needs.
        answer: its result, from these values and its arguments.
    """

    asks: Callable[..., Sequence[Tensor]]
    answer: Callable[..., Any]


def _asked(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors whose values an operation needs, where it is one of those that are known to."""
    reader = _READERS.get(func)
    if reader is None or not args or not isinstance(args[0], Tensor):
        return []
    asked = list(reader.asks(*args, **kwargs))
    few = all(_known_size(tensor) for tensor in asked) and sum(tensor.numel() for tensor in asked) <= _MANY
    return asked if few else []


def _itself(tensor: Tensor, **_: Any) -> Sequence[Tensor]:
    return [tensor]


def _elements(tensor: Tensor) -> Sequence[Tensor]:
    """One by one, as they are asked for where tensors have no values."""
    return tensor.reshape(-1).unbind() if _known_size(tensor) else []


def _nested(values: Sequence[HostValue], tensor: Tensor) -> Any:
    numbers = np.array([value.number for value in values], dtype=object)
    return numbers.reshape(tuple(tensor.shape)).tolist()


def _count(tensor: Tensor, **_: Any) -> Sequence[Tensor]:
    return [tensor.count_nonzero()]


def _number(kind: Callable[[Any], Any]) -> Reader:
    return Reader(_itself, lambda values, *_, **__: kind(values[0].number))


def _places(values: Sequence[HostValue], tensor: Tensor, *, as_tuple: bool = False) -> Any:
    found = torch.nonzero_static(tensor, size=values[0].number)
    return found.unbind(1) if as_tuple else found


def _lengths(_: Tensor, *repeats: Any, output_size: int | None = None, **__: Any) -> Sequence[Tensor]:
    if output_size is not None or not repeats or not isinstance(repeats[0], Tensor):
        return []
    return [repeats[0].sum()]


def _repeated(
    values: Sequence[HostValue], tensor: Tensor, repeats: Tensor, dim: int | None = None, **_: Any
) -> Tensor:
    return tensor.repeat_interleave(repeats, dim, output_size=values[0].number)


def _in_index(_: Tensor, index: Index, *assigned: Any) -> Sequence[Tensor]:
    """Bounds of slices that are tensors; how many elements a mask selects, where they are read."""
    asked: list[Tensor] = []
    for item in index if isinstance(index, tuple) else (index,):
        if isinstance(item, slice):
            asked += [bound for bound in _bounds(item) if isinstance(bound, Tensor)]
        elif _is_mask(item) and not assigned:
            asked.append(item.count_nonzero())
    return asked


def _selected(values: Sequence[HostValue], tensor: Tensor, index: Index) -> Any:
    return tensor[_known(index, iter(values), masks=True)]


def _assigned(values: Sequence[HostValue], tensor: Tensor, index: Index, value: Any) -> None:
    tensor[_known(index, iter(values), masks=False)] = value


def _known(index: Index, values: Iterator[HostValue], *, masks: bool) -> tuple[Any, ...]:
    """An index with numbers for the bounds of its slices, and the places that its masks select."""
    known: list[Any] = []
    for item in index if isinstance(index, tuple) else (index,):
        if isinstance(item, slice):
            known.append(
                slice(
                    *(next(values).number if isinstance(bound, Tensor) else bound for bound in _bounds(item))
                )
            )
        elif masks and _is_mask(item):
            known += torch.nonzero_static(item, size=next(values).number).unbind(1)
        else:
            known.append(item)
    return tuple(known)


def _bounds(item: slice) -> tuple[Any, Any, Any]:
    return (item.start, item.stop, item.step)


def _known_size(tensor: Tensor) -> bool:
    return all(isinstance(size, int) for size in tensor.shape)


def _is_mask(item: Any) -> bool:
    return isinstance(item, Tensor) and item.dtype is torch.bool and item.ndim > 0


_READERS: Final[Mapping[Callable[..., Any], Reader]] = {
    Tensor.item: _number(lambda number: number),
    Tensor.__bool__: _number(bool),
    Tensor.__int__: _number(int),
    Tensor.__index__: _number(int),
    Tensor.__float__: _number(float),
    Tensor.tolist: Reader(_elements, _nested),
    Tensor.numpy: Reader(_itself, lambda values, *_, **__: values[0].array),
    Tensor.nonzero: Reader(_count, _places),
    torch.nonzero: Reader(_count, _places),
    Tensor.repeat_interleave: Reader(_lengths, _repeated),
    torch.repeat_interleave: Reader(_lengths, _repeated),
    Tensor.__getitem__: Reader(_in_index, _selected),
    Tensor.__setitem__: Reader(_in_index, _assigned),
}
