"""A request as one function of tensors: what is captured, and what its graph is called with."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..call import Call
from ..deferred import Deferred, filled
from ..request import Request
from .dependence import Dependence
from .host_values import HostValue, Telling


@dataclass(frozen=True)
class Input:
    """A tensor among a request's arguments.

    Attributes:
        call: which of the request's calls it is passed to; the denoiser's is the last.
        path: where in that call's arguments, as `['added_cond_kwargs']['text_embeds']`.
        dependence: what it changes with.
    """

    call: int
    path: str
    dependence: Dependence

    @property
    def name(self) -> str:
        """A name for messages: `sample`, `added_cond_kwargs.text_embeds`, `2:controlnet_cond`."""
        words = self.path.replace("['", ".").replace("']", "").replace("[", ".").replace("]", "")
        return words.removeprefix(".") if self.call == 0 else f"{self.call}:{words.removeprefix('.')}"


@dataclass(eq=False)
class Structure:
    """What a forward gave: `torch.export` undoes what it changes in its module's own attributes.

    Attributes:
        tree: structure of the request's output.
        values: told to the modules, and assumed of the tensors that follow the output's.
        places: where they were told.
    """

    tree: pytree.TreeSpec | None = None
    values: list[HostValue] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


class Joint(nn.Module):
    """A denoiser and the ControlNets asked together with it, as a function of the request's tensors.

    What is no tensor among the arguments (numbers, flags, names) is part of the function, and so is what the modules
    read of their tensors' values.

    Args:
        request: the request.
        noted: values that its modules took to the host when they ran.

    Attributes:
        inputs: the tensors it takes, in order.
        structure: of what it gave; known once it ran.
    """

    inputs: tuple[Input, ...]
    structure: "Structure"

    def __init__(self, request: Request, noted: Sequence[HostValue] = ()) -> None:
        super().__init__()
        # Submodules give the graph's nodes their names; the request is kept out of the module's own parts.
        for index, call in enumerate(request.calls):
            self.add_module(_name(index, len(request.calls)), call.module)
        object.__setattr__(self, "_request", request)
        object.__setattr__(self, "_noted", tuple(noted))
        object.__setattr__(self, "structure", Structure())
        object.__setattr__(self, "inputs", tuple(_inputs(request)))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The tensors of the request's output, for `tensors` in the order of `inputs`; then those told of."""
        noted: tuple[HostValue, ...] = self._noted  # type: ignore[assignment]  # -- no module, though nn.Module says so
        telling = Telling(noted, self)
        with telling if noted else nullcontext():
            leaves, self.structure.tree = pytree.tree_flatten(self._output(tensors))
        self.structure.values, self.structure.places = telling.values, telling.places
        return (*leaves, *telling.tensors)

    def _output(self, tensors: Sequence[Tensor]) -> Any:
        request: Request = self._request  # type: ignore[assignment]  # -- as above
        rest = iter(tensors)
        calls = [call.with_tensors(rest) for call in request.calls]
        made = {
            id(companion): pytree.tree_leaves(call.run())
            for companion, call in zip(request.companions, calls[:-1], strict=True)
        }
        return calls[-1].forward(**filled(dict(calls[-1].arguments), made))


def tensors_of(request: Request) -> list[Tensor]:
    """The tensors of a request, in the order in which its `Joint` takes them."""
    return [
        leaf for call in request.calls for leaf in pytree.tree_leaves(dict(call.arguments)) if _is_input(leaf)
    ]


def _inputs(request: Request) -> Iterator[Input]:
    for index, call in enumerate(request.calls):
        leaves, _ = pytree.tree_flatten_with_path(dict(call.arguments))
        for path, leaf in leaves:
            if _is_input(leaf):
                where = pytree.keystr(path)
                # A companion's numbers, of no dimension, are its scales at this evaluation.
                scale = index < len(request.companions) and leaf.ndim == 0
                yield Input(index, where, Dependence.EVALUATION if scale else _dependence(call, where, leaf))


def _dependence(call: Call, path: str, tensor: Tensor) -> Dependence:
    """Of an argument; one that is the latent or the timestep under a second name changes with it."""
    if path.startswith(f"['{call.latent}']") or tensor is call.x:
        return Dependence.LATENT
    again = path.startswith(f"['{call.time}']") or tensor is call.timestep
    return Dependence.EVALUATION if again else Dependence.GENERATION


def _is_input(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and not isinstance(leaf, Deferred)


def _name(index: int, calls: int) -> str:
    return "denoiser" if index == calls - 1 else f"companion_{index}"
