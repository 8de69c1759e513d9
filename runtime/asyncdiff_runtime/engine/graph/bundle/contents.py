"""A graph's contents as text: equal for graphs that compute the same, in any process."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator, OpOverload
from torch.fx import GraphModule, Node

_PLAIN = (
    bool | int | float | complex | str | bytes | None
    | torch.dtype | torch.device | torch.layout | torch.memory_format
)  # fmt: skip


def described(module: GraphModule, examples: Sequence[Tensor]) -> str | None:
    """Digest of a graph and the forms of what it is called with; None if it holds what has no stable name.

    Neither the values of tensors nor the names of nodes matter.
    """
    try:
        lines = [*_lines(module), *(_form(example) for example in examples)]
    except _Nameless:
        return None
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _Nameless(Exception):
    """Something in a graph is known by its identity alone."""


def _lines(module: GraphModule) -> list[str]:
    numbers: dict[Node, int] = {}
    lines = []
    for node in module.graph.nodes:
        numbers[node] = len(numbers)
        if node.op in ("placeholder", "output"):
            target = ""
        elif node.op == "get_attr":
            target = _attribute(module, str(node.target))
        else:
            target = _function(node.target)
        lines.append(f"{node.op} {target} {_value(node.args, numbers)} {_value(node.kwargs, numbers)}")
    return lines


def _function(target: Any) -> str:
    if isinstance(target, str | OpOverload | HigherOrderOperator):
        return str(target)
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if not module or not name or "<" in name:
        raise _Nameless
    return f"{module}.{name}"


def _attribute(module: GraphModule, path: str) -> str:
    """A subgraph, as higher-order operations have them."""
    found = module.get_submodule(path) if path in dict(module.named_modules()) else None
    if not isinstance(found, GraphModule):
        raise _Nameless
    return f"{{{'; '.join(_lines(found))}}}"


def _value(value: Any, numbers: dict[Node, int]) -> str:
    if isinstance(value, Node):
        return f"%{numbers[value]}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_value(part, numbers)}' for name, part in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(part, numbers) for part in value)}]"
    if isinstance(value, slice):
        return _value(("slice", value.start, value.stop, value.step), numbers)
    if isinstance(value, _PLAIN):
        return repr(value)
    raise _Nameless


def _form(example: Tensor) -> str:
    aligned = example.device.type == "cpu" or example.data_ptr() % 16 == 0
    return f"{example.dtype} {tuple(example.shape)} {example.stride()} {example.device} {aligned}"
