"""One call of a denoiser: its arguments by name, and the ways in which the engine varies them."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .deferred import Deferred
from .errors import PipelineRefused
from .listed import Stacked, stackable

LATENT_NAMES = ("sample", "hidden_states", "x")
TIMESTEP_NAMES = ("timestep", "timesteps", "timestep_ratio", "t")
"""What diffusers' denoisers call the two; the first of them that a call has is meant."""
LISTED_NAMES = ("x",)
"""What those call the latent that take it as a list of rows and keep nothing from call to call."""

Forward = Callable[..., Any]


@dataclass(frozen=True)
class Parameters:
    """The parameters of a forward, read once: a signature costs more than many a kernel."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, forward: Forward) -> "Parameters":
        """Those of a module's bound `forward`, beneath its decorators."""
        return cls(tuple(inspect.signature(forward).parameters))

    def named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name."""
        return {**dict(zip(self.names, args, strict=False)), **kwargs}


@dataclass(frozen=True, eq=False)
class Call:
    """A call of one module's forward.

    Attributes:
        module: the module.
        forward: what evaluates the module, beneath the engine's hook.
        arguments: what was passed, by parameter name; a latent that came as a list of rows is stacked.
        latent: name of the argument that carries the latent, `(batch, …)`.
        time: name of the argument that carries the timestep.
        versions: the version counters of the condition's tensors when the call was made; one that was
            changed in place since is another condition.
    """

    module: nn.Module
    forward: Forward
    arguments: Mapping[str, Any]
    latent: str
    time: str
    versions: tuple[int, ...]

    @classmethod
    def of(cls, module: nn.Module, forward: Forward, arguments: dict[str, Any]) -> "Call":
        """A call with the given arguments.

        Raises:
            PipelineRefused: the module takes no latent and timestep under the names that diffusers uses.
        """
        latent = next((name for name in LATENT_NAMES if _is_latent(name, arguments.get(name))), None)
        time = next((name for name in TIMESTEP_NAMES if arguments.get(name) is not None), None)
        if latent is None or time is None:
            raise PipelineRefused(
                f"The denoiser was called with {', '.join(arguments)}; expected a latent named "
                f"{' or '.join(LATENT_NAMES)} and a timestep named {' or '.join(TIMESTEP_NAMES)}. Name another "
                f"module with denoiser=."
            )
        if not isinstance(arguments[latent], Tensor):
            arguments = {**arguments, latent: torch.stack(list(arguments[latent]))}
            forward = Stacked(forward, latent)
        return cls(module, forward, arguments, latent, time, _versions(arguments, (latent, time)))

    @property
    def x(self) -> Tensor:
        """The latent input, `(batch, …)`."""
        value: Tensor = self.arguments[self.latent]
        return value

    @property
    def timestep(self) -> Any:
        """The timestep argument, a number or a tensor."""
        return self.arguments[self.time]

    @property
    def rows(self) -> int:
        """Rows of the batch, guidance branches in one batch included."""
        return self.x.shape[0]

    @property
    def listed(self) -> bool:
        """The module takes and gives rows as lists."""
        return isinstance(self.forward, Stacked)

    @property
    def _varying(self) -> tuple[str, str]:
        return (self.latent, self.time)

    def run(self) -> Any:
        """Evaluates the call on this rank."""
        return self.forward(**self.arguments)

    def at(self, x: Tensor, timestep: Any) -> "Call":
        """The same call at another latent and timestep."""
        return replace(self, arguments={**self.arguments, self.latent: x, self.time: timestep})

    def with_arguments(self, arguments: Mapping[str, Any]) -> "Call":
        """A call of the same module with other arguments."""
        return replace(self, arguments=arguments, versions=_versions(arguments, self._varying))

    def with_tensors(self, tensors: Iterator[Tensor]) -> "Call":
        """The same call with every real tensor replaced by the next of `tensors`, in the order of its pytree."""

        def replaced(leaf: Any) -> Any:
            return next(tensors) if isinstance(leaf, Tensor) and not isinstance(leaf, Deferred) else leaf

        return replace(self, arguments=pytree.tree_map(replaced, dict(self.arguments)), versions=())

    def take(self, start: int, stop: int) -> "Call":
        """The rows `start` to `stop` of the call; what is not by row is passed whole.

        A tensor goes by row if its first dimension is the batch, or the batch times the frames of a video
        latent (some pipelines unfold frames into the batch).
        """
        rows = self.rows
        if (start, stop) == (0, rows):
            return self
        folds = {1, *self.x.shape[1:-2]} if self.x.ndim > 4 else {1}

        def rows_of(leaf: Any) -> Any:
            if isinstance(leaf, Deferred) or not isinstance(leaf, Tensor):
                return leaf
            if leaf.ndim and leaf.shape[0] % rows == 0 and leaf.shape[0] // rows in folds:
                fold = leaf.shape[0] // rows
                return leaf[start * fold : stop * fold]
            return leaf

        def part(value: Any) -> Any:
            # Sizes and lengths come as a list by row; a list of factors goes with something else. Tensors in a
            # list are residuals of layers, unless the latent itself is handed over as a list of rows.
            by_row = isinstance(value, list) and len(value) == rows and (self.listed or not tensors_in(value))
            if by_row and not any(isinstance(element, float) for element in value):
                return value[start:stop]
            return pytree.tree_map(rows_of, value)

        return replace(self, arguments={name: part(value) for name, value in self.arguments.items()})

    def same_condition(self, other: "Call") -> bool:
        """Whether all but latent and timestep is equal, so that an answer to one answers the other."""
        if self.arguments.keys() != other.arguments.keys():
            return False
        untouched = self.versions == other.versions
        return all(
            _equal(value, other.arguments[name], untouched=untouched)
            for name, value in self.arguments.items()
            if name not in self._varying
        )

    def signature(self) -> tuple[Any, ...]:
        """A hashable description: structure, shapes and dtypes, and the values of what is no tensor."""
        leaves, tree = pytree.tree_flatten({**self.arguments, self.time: None})
        return (str(tree), *(_described(leaf) for leaf in leaves))

    def tensors(self) -> list[Tensor]:
        """Every real tensor among the arguments."""
        return [leaf for leaf in tensors_in(self.arguments) if not isinstance(leaf, Deferred)]


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested mappings and sequences, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for part in value.values() for tensor in tensors_in(part)]
    if isinstance(value, list | tuple):
        return [tensor for part in value for tensor in tensors_in(part)]
    return []


def _is_latent(name: str, value: Any) -> bool:
    return isinstance(value, Tensor) or (name in LISTED_NAMES and stackable(value))


def _versions(arguments: Mapping[str, Any], varying: tuple[str, str]) -> tuple[int, ...]:
    condition = [value for name, value in arguments.items() if name not in varying]
    return tuple(0 if t.is_inference() else t._version for t in tensors_in(condition))  # noqa: SLF001 -- autograd's own


def _equal(a: Any, b: Any, *, untouched: bool) -> bool:
    """Equality of two arguments; one and the same tensor is equal to itself only while `untouched`."""
    if isinstance(a, Deferred) or isinstance(b, Deferred):
        return isinstance(a, Deferred) and isinstance(b, Deferred) and a.slot == b.slot
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        if a is b:
            return untouched
        both = isinstance(a, Tensor) and isinstance(b, Tensor)
        return both and a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(
            _equal(value, b[key], untouched=untouched) for key, value in a.items()
        )
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_equal(x, y, untouched=untouched) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _described(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return (tuple(leaf.shape), leaf.dtype)
    return repr(leaf)
