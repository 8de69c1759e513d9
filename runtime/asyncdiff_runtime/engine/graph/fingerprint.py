"""What a module is like at this moment, so that a graph captured from it is used for nothing else.

A captured graph has taken up everything that its modules read while they ran: which adapters are active and how
strongly, FreeU's factors, the attention processors, fused projections. All of it lies in the modules as plain
attributes, whatever the model; so all plain attributes are compared, and no list of models is needed.
"""

import functools
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from torch import Tensor, nn

from .attention_kernels import allowed_kernels

_HOOKS = {
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
}
_INNER = frozenset(nn.Module().__dict__) - _HOOKS - {"training"}
"""What every module has and no forward reads: hooks of the state dict and of gradients, and the registries."""

_OURS = frozenset({"forward", "_diffusers_hook"})
"""Attributes by which a hook sits on top of a denoiser, above what is captured."""

PLAIN = frozenset(
    {
        type(None),
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        torch.dtype,
        torch.device,
        torch.Size,
        torch.layout,
        torch.memory_format,
    }
)
"""Types whose values hold no tensors, and are compared as they are."""
_BY_IDENTITY = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)
_DEPTH = 6
"""Objects within objects that are looked into; what lies deeper counts by identity."""

Fact = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Everything about a module that its evaluation can depend on, but for its arguments.

    Attributes:
        facts: by module path, what was found there, in order.
        tensors: versions and places of parameters, buffers and tensors in attributes, by `id`.
        held: what was compared by its identity; held so that nothing else can take its address.
    """

    facts: Mapping[str, Fact] = field(repr=False)
    tensors: Mapping[int, Fact] = field(repr=False)
    held: tuple[Any, ...] = field(repr=False)

    def equals(self, other: "Fingerprint") -> bool:
        """Whether nothing differs."""
        return self.facts == other.facts

    def outdated_by(self, later: "Fingerprint") -> bool:
        """Whether a tensor has gone or changed, so that this state cannot come back."""
        return any(later.tensors.get(key) != fact for key, fact in self.tensors.items())

    def change_to(self, later: "Fingerprint") -> str:
        """Names the first thing that differs: `up_blocks.0.s1`."""
        for path in (*later.facts, *self.facts):
            mine, theirs = self.facts.get(path), later.facts.get(path)
            if mine is None or theirs is None:
                return f"{path or 'the module'} {'was added' if mine is None else 'was removed'}"
            if mine != theirs:
                before, after = dict(_named(mine)), dict(_named(theirs))
                absent = object()
                names = (*after, *before)
                name = next((n for n in names if before.get(n, absent) != after.get(n, absent)), "")
                return f"{path}.{name}".strip(".") + " changed"
        return "nothing changed"


def fingerprint(module: nn.Module) -> Fingerprint:
    """The state of a module and all that it is made of; what sits on top of the module itself is left out.

    Reads no tensor's values, and so waits for no device.
    """
    walk = _Walk()
    facts = walk.modules(module)
    return Fingerprint(facts, walk.tensors, tuple(walk.held))


def surroundings() -> Fact:
    """The settings of the process on which an evaluation depends: dtypes, precision, attention back ends."""
    return (
        torch.get_default_dtype(),
        torch.is_inference_mode_enabled(),
        *((torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.allow_tf32,
        allowed_kernels(),
        _AttentionBackendRegistry.get_active_backend()[0],
    )


class _Walk:
    """One pass over a module's parts."""

    def __init__(self) -> None:
        self.tensors: dict[int, Fact] = {}
        self.held: list[Any] = []
        self._seen: dict[int, int] = {}
        self._classes: dict[type, Fact] = {}
        self._waiting: list[tuple[str, nn.Module]] = []

    def modules(self, root: nn.Module) -> dict[str, Fact]:
        """What is found at each module beneath `root`, and at modules that attributes refer to."""
        facts: dict[str, Fact] = {}
        self._waiting.append(("", root))
        while self._waiting:
            path, module = self._waiting.pop()
            if id(module) in self._seen:
                facts[path] = ("", self._seen[id(module)])
                continue
            self._seen[id(module)] = len(self._seen)
            skipped = _INNER | _OURS if module is root else _INNER
            facts[path] = tuple(self._module(path, module, skipped))
        facts["classes"] = tuple(self._classes.items())
        return facts

    def _module(self, path: str, module: nn.Module, skipped: frozenset[str]) -> Iterator[Any]:
        """Names and values in turn."""
        yield "class"
        yield self._class(type(module))
        for name, value in module.__dict__.items():
            if name in skipped:
                continue
            yield name
            yield value if type(value) in PLAIN else self._described(value, f"{path}.{name}", _DEPTH)
        for tensors in (module._parameters, module._buffers):  # noqa: SLF001 -- their names in order, None too
            for name, tensor in tensors.items():
                yield name
                yield tensor if tensor is None else self._tensor(tensor)
        children = module._modules  # noqa: SLF001 -- likewise
        yield "children"
        yield tuple((name, child is None) for name, child in children.items())
        for name, child in children.items():
            if child is not None:
                self._waiting.append((f"{path}.{name}" if path else name, child))

    def _described(self, value: Any, path: str, depth: int) -> Fact:
        """A value as something that can be compared, and stays equal only while the value does."""
        kind = type(value)
        if kind in PLAIN or isinstance(value, Enum):
            return (kind, value)
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, _BY_IDENTITY) or depth == 0:
            return self._identity(value)
        if isinstance(value, Mapping):
            pairs = ((key, self._described(part, f"{path}.{key}", depth - 1)) for key, part in value.items())
            return (kind, *pairs)
        if isinstance(value, list | tuple):
            return (kind, *(self._described(part, path, depth - 1) for part in value))
        if isinstance(value, set | frozenset):
            return (kind, frozenset(self._described(part, path, depth - 1) for part in value))
        if isinstance(value, functools.partial):
            parts = (value.func, value.args, value.keywords)
            return (kind, *(self._described(part, path, depth - 1) for part in parts))
        if isinstance(value, types.MethodType):
            return (kind, value.__func__, *self._identity(value.__self__))
        return self._object(value, path, depth)

    def _object(self, value: Any, path: str, depth: int) -> Fact:
        """An object by its attributes, as attention processors are; the standard library's by identity."""
        if isinstance(value, nn.Module):
            self._waiting.append((f"{path}()", value))
            return ("module", id(value))
        kind = type(value)
        foreign = (
            kind.__module__.partition(".")[0] in sys.stdlib_module_names and kind is not types.SimpleNamespace
        )
        attributes = getattr(value, "__dict__", None)
        if foreign or attributes is None:
            return self._identity(value)
        if id(value) in self._seen:
            return ("seen", self._seen[id(value)])
        self._seen[id(value)] = len(self._seen)
        parts = (
            (name, self._described(part, f"{path}.{name}", depth - 1)) for name, part in attributes.items()
        )
        return (self._class(kind), *parts)

    def _class(self, kind: type) -> type:
        """A class, whose methods may be replaced too."""
        if kind not in self._classes:
            self._classes[kind] = (_method(kind, "forward"), _method(kind, "__call__"))
        return kind

    def _identity(self, value: Any) -> Fact:
        self.held.append(value)
        return ("is", id(value))

    def _tensor(self, tensor: Tensor) -> Fact:
        key = id(tensor)
        fact = self.tensors.get(key)
        if fact is None:
            version = -1 if tensor.is_inference() else tensor._version  # noqa: SLF001 -- autograd's own
            form = (tensor.dtype, tensor.device, tuple(tensor.shape), tensor.stride())
            fact = self.tensors[key] = (key, version, self._place(tensor), *form)
        return fact

    def _place(self, tensor: Tensor) -> int:
        """Where the values lie: `tensor.data = …` changes neither identity nor version."""
        self.held.append(tensor)
        if tensor.device.type == "meta" or type(tensor) not in (Tensor, nn.Parameter):
            return 0
        self.held.append(tensor.untyped_storage())
        return tensor.data_ptr()


def _method(kind: type, name: str) -> Any:
    return next((parent.__dict__[name] for parent in kind.__mro__ if name in parent.__dict__), None)


def _named(fact: Fact) -> Iterator[tuple[Any, Any]]:
    return zip(fact[::2], fact[1::2], strict=False)
