"""One call of a denoiser: its arguments by name, and the ways in which the engine varies them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .deferred import Deferred
from .errors import PipelineRefused

LATENT_NAMES = ("sample", "hidden_states")
TIMESTEP_NAME = "timestep"

Forward = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Call:
    """A call of one module's forward.

    Attributes:
        forward: the module's own forward, beneath the engine's hook.
        arguments: what was passed, by parameter name.
        latent: name of the argument that carries the latent, `(batch, …)`.
        versions: the version counter of each tensor leaf when the call was made; an argument that was
            changed in place since is another argument.
    """

    forward: Forward
    arguments: Mapping[str, Any]
    latent: str
    versions: tuple[int, ...]

    @classmethod
    def bind(cls, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Call":
        """Names the arguments of a call.

        Raises:
            PipelineRefused: the module takes no latent and timestep under the names that diffusers uses.
        """
        signature = inspect.signature(forward)
        bound = signature.bind(*args, **kwargs)
        arguments: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(value)
            else:
                arguments[name] = value
        latent = next((name for name in LATENT_NAMES if isinstance(arguments.get(name), Tensor)), None)
        if latent is None or TIMESTEP_NAME not in arguments:
            raise PipelineRefused(
                f"The denoiser was called with {', '.join(arguments)}; expected a latent named "
                f"{' or '.join(LATENT_NAMES)} and a {TIMESTEP_NAME}. Name another module with denoiser=."
            )
        return cls(forward, arguments, latent, _versions(arguments, latent))

    @property
    def x(self) -> Tensor:
        """The latent input, `(batch, …)`."""
        value: Tensor = self.arguments[self.latent]
        return value

    @property
    def timestep(self) -> Any:
        """The timestep argument, a number or a tensor."""
        return self.arguments[TIMESTEP_NAME]

    @property
    def rows(self) -> int:
        """Rows of the batch, guidance branches in one batch included."""
        return self.x.shape[0]

    def run(self) -> Any:
        """Evaluates the call on this rank."""
        return self.forward(**self.arguments)

    def at(self, x: Tensor, timestep: Any) -> "Call":
        """The same call at another latent and timestep."""
        return self.with_arguments({**self.arguments, self.latent: x, TIMESTEP_NAME: timestep})

    def with_arguments(self, arguments: Mapping[str, Any]) -> "Call":
        """A call of the same module with other arguments."""
        return replace(self, arguments=arguments, versions=_versions(arguments, self.latent))

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
            if isinstance(leaf, Deferred):
                return leaf
            if isinstance(leaf, Tensor) and leaf.ndim and leaf.shape[0] % rows == 0:
                fold = leaf.shape[0] // rows
                return leaf[start * fold : stop * fold] if fold in folds else leaf
            return leaf

        def part(value: Any) -> Any:
            if isinstance(value, list) and len(value) == rows and not _tensors(value):
                return value[start:stop]
            return pytree.tree_map(rows_of, value)

        return self.with_arguments({name: part(value) for name, value in self.arguments.items()})

    def same_condition(self, other: "Call") -> bool:
        """Whether all but latent and timestep is equal, so that an answer to one answers the other."""
        if self.arguments.keys() != other.arguments.keys():
            return False
        mine, my_tree = pytree.tree_flatten(self.condition())
        theirs, their_tree = pytree.tree_flatten(other.condition())
        if my_tree != their_tree or len(mine) != len(theirs):
            return False
        untouched = self.versions == other.versions
        return all(_equal(a, b, same_version=untouched) for a, b in zip(mine, theirs, strict=True))

    def signature(self) -> tuple[Any, ...]:
        """A hashable description: structure, shapes and dtypes, and the values of what is no tensor."""
        leaves, tree = pytree.tree_flatten({**self.arguments, TIMESTEP_NAME: None})
        return (str(tree), *(_described(leaf) for leaf in leaves))

    def tensors(self) -> list[Tensor]:
        """Every real tensor among the arguments."""
        return [leaf for leaf in _tensors(dict(self.arguments)) if not isinstance(leaf, Deferred)]

    def condition(self) -> dict[str, Any]:
        """The arguments other than latent and timestep."""
        return {k: v for k, v in self.arguments.items() if k not in (self.latent, TIMESTEP_NAME)}


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def _versions(arguments: Mapping[str, Any], latent: str) -> tuple[int, ...]:
    conditions = {k: v for k, v in arguments.items() if k not in (latent, TIMESTEP_NAME)}
    return tuple(0 if leaf.is_inference() else leaf._version for leaf in _tensors(conditions))  # noqa: SLF001 -- autograd's own counter


def _equal(a: Any, b: Any, *, same_version: bool) -> bool:
    if a is b and (same_version or not isinstance(a, Tensor)):
        return True
    if isinstance(a, Deferred) or isinstance(b, Deferred):
        return isinstance(a, Deferred) and isinstance(b, Deferred) and a.slot == b.slot
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a is not b and a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return False
    return bool(a == b)


def _described(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return (tuple(leaf.shape), leaf.dtype)
    return repr(leaf)
