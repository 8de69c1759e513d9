"""What a run costs of which there is no graph, such as a text encoder's or a decoder's, on fake tensors."""

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from .cost import FREE, Cost, distinct_bytes, storages


class Tally(TorchDispatchMode):
    """Counts what runs under it as eager torch would run it: each operation by itself.

    Attributes:
        costs: of every operation that is not free, in order; weights are not told from other tensors.
        peak_bytes: most bytes that were alive at once, of tensors made under it.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # -- torch's modes are untyped
        self.costs: list[Cost] = []
        self.peak_bytes = 0
        self._alive: dict[int, int] = {}

    def then(self, other: "Tally") -> "Tally":
        """What ran under this one and, after it, under another."""
        both = Tally()
        both.costs = [*self.costs, *other.costs]
        both.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        return both

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Runs an operation and notes its cost."""
        named = dict(kwargs or {})
        before = _tensors((args, named))
        given = func(*args, **named)
        made = _tensors(given)
        self._note(before, made)
        cost = Cost(_flops(func, args, named, given), _moved(func, before, made))
        if cost != FREE:
            self.costs.append(cost)
        return given

    def _note(self, before: list[Tensor], made: list[Tensor]) -> None:
        old = {key for tensor in before for key in storages(tensor)}
        for tensor in made:
            for key, size in storages(tensor).items():
                if key not in old and key not in self._alive:
                    self._alive[key] = size
                    weakref.finalize(tensor.untyped_storage(), self._alive.pop, key, None)
        self.peak_bytes = max(self.peak_bytes, sum(self._alive.values()))


def _flops(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], given: Any) -> int:
    packet = func._overloadpacket  # noqa: SLF001 -- the registry's key
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=given))
    if "scaled_dot_product" in packet.__name__:  # a back end that the registry of this torch lacks
        return int(sdpa_flop_count(args[0].shape, args[1].shape, args[2].shape))
    return 0


def _moved(func: OpOverload, before: list[Tensor], made: list[Tensor]) -> int:
    known = {key for tensor in before for key in storages(tensor)}
    views = all(storages(tensor).keys() <= known for tensor in made)
    if views and not func._schema.is_mutable:  # noqa: SLF001 -- torch's own modes read it
        return 0
    return sum(distinct_bytes(tensor) for tensor in (*before, *made))


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
