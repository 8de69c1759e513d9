"""Requests to small denoisers, without a pipeline."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from asyncdiff_runtime.engine.call import Call, Parameters
from asyncdiff_runtime.engine.graph.programs import Programs
from asyncdiff_runtime.engine.report import Tally
from asyncdiff_runtime.engine.request import Companion, OutputShape, Request
from torch import Tensor, nn


class Denoiser(nn.Module):
    """Two layers and a residual; `body` may be replaced."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.enter = nn.Linear(4, 8)
            self.leave = nn.Linear(8, 4)
        self.strength = 1.0

    def forward(
        self, sample: Tensor, timestep: Any, text: Tensor, residual: Any = None, mode: str = ""
    ) -> Any:
        hidden = self.enter(sample) * self.strength + text.mean() + timestep / 1000
        if residual is not None:
            hidden = hidden + residual
        return (self.leave(hidden.tanh() if mode != "plain" else hidden),)


class Control(nn.Module):
    """A ControlNet: a residual times its scale."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.layer = nn.Linear(4, 8)

    def forward(self, sample: Tensor, timestep: Tensor, conditioning_scale: float = 1.0) -> Any:
        return (self.layer(sample) * conditioning_scale + 0 * timestep,)


def tensor(seed: int, *shape: int) -> Tensor:
    """Normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def request(module: nn.Module, seed: int = 0, rows: int = 2, **arguments: Any) -> Request:
    """What a pipeline would ask: another latent and timestep for each seed."""
    given = {"sample": tensor(seed, rows, 4), "timestep": torch.tensor(900.0 - seed), "text": tensor(99, 3)}
    return Request(_call(module, given | arguments))


def controlled(module: nn.Module, control: nn.Module, scale: float, seed: int = 0) -> Request:
    """The same with a ControlNet that is asked together with it."""
    asked = request(module, seed).call
    arguments = {"sample": asked.x, "timestep": asked.timestep, "conditioning_scale": scale}
    companion = Companion("controlnet", _call(control, arguments))
    with torch.no_grad():
        companion.output()
    shape: OutputShape = companion.shape()
    fresh = Companion("controlnet", companion.call)
    (residual,) = fresh.placeholders(shape)
    return Request(asked.with_arguments({**asked.arguments, "residual": residual}), (fresh,))


def _call(module: nn.Module, arguments: dict[str, Any]) -> Call:
    return Call.of(module, module.forward, Parameters.of(module.forward).named((), arguments))


class Generations:
    """Programs with the generations that they serve; counts what they capture."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        self.tally = Tally(0)

    def captures(self, *requests: Callable[[], Request]) -> int:
        """Captures during a generation of these requests, each answered as its modules answer it."""
        self.tally = Tally(self.tally.generation + 1)
        with torch.no_grad():
            self.programs.begin(self.tally)
            for make in requests:
                (given,), (wanted,) = self.programs(make()), make().run()
                assert torch.equal(given, wanted)
        return self.tally.captures


@contextmanager
def counted(module: nn.Module) -> Iterator[list[int]]:
    """Counts how often a module's own forward runs."""
    calls: list[int] = []
    forward = module.forward

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return forward(*args, **kwargs)

    module.forward = counting
    yield calls
    del module.forward
