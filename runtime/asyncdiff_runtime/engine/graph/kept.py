"""Values that are kept while the tensors that they were made from are proven unchanged."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Values = tuple[Tensor, ...]
Make = Callable[[Sequence[Tensor]], Values]

_FEW = 64
_SMALL_BYTES = 64 << 10


@dataclass(frozen=True, eq=False)
class Sources:
    """Tensors that values are made from, as they were at that moment.

    Attributes:
        mark: equal marks prove equal tensors, for as long as one `Sources` of that mark lives.
        tensors: to make the values from.
    """

    mark: Hashable
    tensors: tuple[Tensor, ...]


def recognised(tensors: Sequence[Tensor]) -> Sources | None:
    """Tells how to know the tensors again; None if one of them cannot be known.

    A tensor on the CPU of a few elements is known by its bits, so that a timestep made anew is the same timestep; it is
    copied, for its owner may change it. Any other is known by its place in memory, which is held so that nothing else
    can take it, its form, and torch's count of the writings into that memory. That count does not see what is written
    through `tensor.data`, numpy, or a replayed CUDA graph. Tensors made in inference mode have no count, and of
    subclasses (quantised, distributed) nothing is known: such are never proven.
    """
    marks: list[Hashable] = []
    taken: list[Tensor] = []
    for tensor in tensors:
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout is not torch.strided:
            return None
        form = (tensor.dtype, tensor.device, tensor.shape, tensor.stride())
        if _is_small(tensor):
            copy = _copied(tensor)
            marks.append((*form, _bits(copy)))
            taken.append(copy)
        elif tensor.is_inference():
            return None
        else:
            place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset())
            marks.append((*form, *place, tensor._version))  # noqa: SLF001 -- torch's count of writings
            # Another tensor of the same memory: `tensor.data = …` gives the tensor itself other memory.
            taken.append(tensor.detach())
    return Sources(tuple(marks), tuple(taken))


class Kept:
    """A store of values, the least recently used given up first.

    Args:
        budget_bytes: memory of values and of what they were made from; what was recalled since the last `trim` stays in
            any case.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._uses: Counter[int] = Counter()
        self._recalled: set[Hashable] = set()
        self.held_bytes = 0
        self.made: Counter[str] = Counter()
        self.reused: Counter[str] = Counter()

    def recall(self, kind: str, tensors: Sequence[Tensor], make: Make) -> Values:
        """The values of a kind for these tensors: those made before, or new ones."""
        sources = recognised(tensors)
        if sources is None:
            self.made[kind] += 1
            return make(tensors)
        key = (kind, sources.mark)
        self._recalled.add(key)
        entry = self._entries.get(key)
        if entry is None:
            self.made[kind] += 1
            entry = _Entry(sources, make(sources.tensors))
            self._add(key, entry)
        else:
            self.reused[kind] += 1
            self._entries.move_to_end(key)
        return entry.values

    def trim(self) -> None:
        """Gives up what was used least recently until the budget is kept."""
        while self.held_bytes > self._budget_bytes and next(iter(self._entries)) not in self._recalled:
            _, entry = self._entries.popitem(last=False)
            self._count(entry, -1)
        self._recalled.clear()

    def clear(self) -> None:
        """Gives everything up."""
        self._entries.clear()
        self._uses.clear()
        self._recalled.clear()
        self.held_bytes = 0

    def _add(self, key: Hashable, entry: "_Entry") -> None:
        self._entries[key] = entry
        self._count(entry, 1)

    def _count(self, entry: "_Entry", change: int) -> None:
        """Counts each storage once, however many views and sets of values lie in it."""
        for place, size in entry.storages().items():
            before = self._uses[place]
            self._uses[place] = before + change
            if before == 0 or before + change == 0:
                self.held_bytes += change * size
            if before + change == 0:
                del self._uses[place]


@dataclass(frozen=True, eq=False)
class _Entry:
    sources: Sources
    values: Values

    def storages(self) -> dict[int, int]:
        """Bytes by place."""
        storages = (tensor.untyped_storage() for tensor in (*self.sources.tensors, *self.values))
        return {storage.data_ptr(): storage.nbytes() for storage in storages}


def _is_small(tensor: Tensor) -> bool:
    return (
        tensor.device.type == "cpu"
        and tensor.numel() <= _FEW
        and tensor.untyped_storage().nbytes() <= _SMALL_BYTES
        and not tensor.is_complex()
    )


def _copied(tensor: Tensor) -> Tensor:
    """A copy of the same strides and the same place within its memory, which decide which kernels run."""
    memory = tensor.untyped_storage().clone()
    empty = torch.empty(0, dtype=tensor.dtype)
    return empty.set_(memory, tensor.storage_offset(), tensor.shape, tensor.stride())


def _bits(tensor: Tensor) -> bytes:
    dense = tensor.reshape(-1).clone(memory_format=torch.contiguous_format)
    return bytes(dense.view(torch.uint8).tolist())
