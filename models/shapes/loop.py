"""A training loop bound by time, with a falling rate, averaged weights and a checkpoint to go on from."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn


P = ParamSpec("P")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast to train."""

    seconds: float
    """Wall time, compilation not counted."""
    deadline: float = math.inf
    """Reading of the monotonic clock at which to end in any case."""
    rate: float
    warmup: int = 200
    """Steps over which the rate rises."""
    averaging: float = 0.998
    """Share that the averaged weights keep at each step."""
    weight_decay: float = 0.01
    save_every: float = 90.0
    """Seconds between checkpoints."""


def compiled(function: Callable[P, R], device: torch.device) -> Callable[P, R]:
    """The function, compiled on a GPU for the shapes it meets; as it is on a CPU, where compiling takes longest."""
    return torch.compile(function, dynamic=False) if device.type == "cuda" else function


class Averaged:
    """An exponential average of parameters; steadier than the last step's."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.live: list[torch.Tensor] = [*parameters]
        self.mean = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, keep: float) -> None:
        """Takes in the live parameters."""
        torch._foreach_lerp_(self.mean, self.live, 1 - keep)

    @torch.no_grad()
    def adopt(self) -> None:
        """Makes the live parameters the averaged ones."""
        torch._foreach_copy_(self.live, self.mean)


def train(
    modules: nn.ModuleDict,
    loss: Callable[[], torch.Tensor],
    plan: Plan,
    checkpoint: Path,
    prepare: Callable[[], None] = lambda: None,
) -> int:
    """Trains in place until the time is up, and leaves the averaged weights. Returns the number of steps.

    With a checkpoint of an earlier, broken run the loop goes on from it.

    Args:
        modules: What to train.
        loss: Gives the loss of a batch. On a GPU it is recorded once and replayed, so it must do the same work
            each time, on tensors that stay where they are, and never wait for the device.
        plan: How long and how fast.
        checkpoint: Where to save on the way.
        prepare: Called before each step, to put into those tensors what the step should see.
    """
    parameters = [parameter for parameter in modules.parameters() if parameter.requires_grad]
    on_gpu = parameters[0].is_cuda
    optimizer = _optimizer(parameters, plan)
    averaged = Averaged(parameters)
    first, spent = _resume(checkpoint, modules, optimizer, averaged)
    step = first
    advance = _advancing(parameters, optimizer, loss)
    begun = time.monotonic()
    _set_rate(optimizer, 0.0)
    prepare()
    if on_gpu:
        advance = recorded(advance)
    print(f"{checkpoint.stem}: ready after {time.monotonic() - begun:.0f} s", flush=True)
    start = saved = time.monotonic()
    seconds = max(1.0, min(plan.seconds, spent + plan.deadline - start))
    running, done = None, spent / seconds
    while done < 1:
        _set_rate(optimizer, plan.rate * min((step + 1) / plan.warmup, 1) * min(1.0, (1 - done) / 0.7))
        prepare()
        value = advance()
        step += 1
        averaged.update(min(plan.averaging, 1 - 1 / step))
        running = value.clone() if running is None else torch.lerp(running, value, 0.02)
        if step % 20 == 0 or not on_gpu:
            # Reading the loss waits for the device; otherwise the host runs ahead and the clock means nothing.
            shown = running.item()
            now = time.monotonic()
            done = (spent + now - start) / seconds
            if step % 500 == 0:
                pace = f"{(step - first) / (now - start):.1f} a second"
                print(f"{checkpoint.stem}: step {step} loss {shown:.4f} ({done:.0%}, {pace})", flush=True)
            if now - saved > plan.save_every:
                _save(checkpoint, modules, optimizer, averaged, step, spent + now - start)
                saved = now
    averaged.adopt()
    print(f"{checkpoint.stem}: {step} steps", flush=True)
    return step


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def recorded(step: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The step as one CUDA graph: a thousand small kernels cost the host more time to launch than the GPU to run."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            # Compiles, picks algorithms, makes the optimizer's state.
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = step()

    def replay() -> torch.Tensor:
        graph.replay()
        return value

    return replay


def _save(
    path: Path,
    modules: nn.ModuleDict,
    optimizer: torch.optim.Optimizer,
    averaged: Averaged,
    step: int,
    spent: float,
) -> None:
    state = {
        "modules": modules.state_dict(),
        "optimizer": optimizer.state_dict(),
        "mean": averaged.mean,
        "step": step,
        "spent": spent,
    }
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def _resume(
    path: Path, modules: nn.ModuleDict, optimizer: torch.optim.Optimizer, averaged: Averaged
) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, map_location=averaged.mean[0].device)
    modules.load_state_dict(state["modules"])
    optimizer.load_state_dict(state["optimizer"])
    averaged.mean = state["mean"]
    return state["step"], state["spent"]


def _optimizer(parameters: list[nn.Parameter], plan: Plan) -> torch.optim.AdamW:
    on_gpu = parameters[0].is_cuda
    rate = torch.tensor(plan.rate, device=parameters[0].device)
    return torch.optim.AdamW(
        parameters,
        lr=rate if on_gpu else plan.rate,
        betas=(0.9, 0.99),
        weight_decay=plan.weight_decay,
        fused=on_gpu,
        capturable=on_gpu,
    )


def _advancing(
    parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, loss: Callable[[], torch.Tensor]
) -> Callable[[], torch.Tensor]:
    """Gives one step of training, which gives its loss."""

    def advance() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return value.detach()

    return advance
