"""Two lines on any diffusers pipeline."""

import logging
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Literal

import torch

from .denoisers import Denoisers
from .errors import LayoutError, PipelineRefused
from .executor import Evaluator, Executor, Plainly
from .graph.lowerings import lowering_for
from .graph.options import Capture, Lowering
from .graph.preparation import prepared
from .graph.programs import Programs
from .hook import EngineHook, attach, detach
from .lowering import Compile, lowered
from .mesh import Alone, Layout, Mesh, join
from .report import Report
from .session import Session
from .stages.links import Links
from .stages.preparation import Staging
from .stages.sharded import ShardedPrograms
from .strategy import AsyncStages, Data, Exact, Lookahead, Strategy
from .weights import take_weights, weights_of

logger = logging.getLogger(__name__)


class Parallel:
    """A pipeline whose denoiser calls are answered by several ranks, until `restore()`.

    Attributes:
        layout: how evaluations are laid over the ranks.
    """

    def __init__(self, denoisers: Denoisers, session: Session) -> None:
        self._denoisers = denoisers
        self._session = session
        self.layout: Layout = session.executor.layout

    @property
    def report(self) -> Report | None:
        """Figures of the latest generation; None before the first."""
        return self._session.report

    def restore(self) -> None:
        """Gives the pipeline back as it was. Doing so twice is harmless.

        Denoisers whose weights were sharded stay without, and say so when they are called; parallelized so again,
        they read them again from their files.
        """
        for module in self._denoisers.modules.values():
            detach(module)
            weights = weights_of(module)
            if weights is not None:
                weights.release()
        self._session.executor.release()

    def __enter__(self) -> "Parallel":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()


def parallelize(
    pipe: Any,
    strategy: Strategy,
    *,
    guidance_split: "bool | Literal['auto']" = "auto",
    denoiser: str | Sequence[str] | None = None,
    compile: "str | Compile" = Compile.OFF,  # noqa: A002 -- the word users know
    capture: "Capture | str | None" = None,
    timeout_seconds: float = 600.0,
) -> Parallel:
    """Lets several ranks denoise together, in the pipeline's own loop.

    The pipeline is then called as always, on every rank, with the same arguments and generator seeds, and
    returns the same images on every rank. Start it with `torchrun --nproc_per_node=N`; a process alone works
    off all ranks' parts itself, to the same result.

    Args:
        pipe: a diffusers pipeline. Under torchrun with GPUs, one that is still on the CPU is moved to this
            rank's GPU.
        strategy: `Exact()`, `Data()`, `Lookahead(...)` or `AsyncStages(...)`.
        guidance_split: whether guidance branches and rows of the batch are split over the ranks that the
            strategy leaves; "auto" splits over all of them, True refuses generations with too few rows.
        denoiser: names of the modules called at each timestep; found if None.
        compile: "off", "auto" or "max-autotune": what `torch.compile` does to each module.
        capture: evaluate the denoiser by its graph, captured at its first call and lowered as named ("eager",
            "inductor" or "max-autotune"); None evaluates it by its modules. `Capture(…)` says more. Stages are parts
            of the graph: for them, None is "eager" on a CPU and "inductor" on a GPU.
        timeout_seconds: how long a rank waits for another.

    Raises:
        LayoutError: the degrees do not fit the ranks, or two arguments exclude each other.
        PipelineRefused: the pipeline carries something that the engine cannot work beneath.
    """
    staging = Lowering.EAGER if isinstance(strategy, AsyncStages) and capture is None else capture
    how, found = _lowering(compile, staging), Denoisers.of(pipe, denoiser)
    device = join(_device_type(pipe), timeout_seconds)
    mesh = Mesh(device if device.type == "cuda" else pipe.device, timeout_seconds)
    layout = _layout(strategy, mesh.world, guidance_split)
    _weigh(found, strategy)
    if device.type == "cuda" and pipe.device.type == "cpu":
        pipe.to(device)
    executor = (
        _staging(strategy, capture, mesh, layout)
        if isinstance(strategy, AsyncStages)
        else Executor(mesh, layout, _evaluator(capture, mesh))
    )
    return _hooked(found, Session(pipe, strategy, executor, must_split=guidance_split is True), how)


def speed_up(
    pipe: Any,
    *,
    denoiser: str | Sequence[str] | None = None,
    compile: "str | Compile" = Compile.OFF,  # noqa: A002 -- the word users know
    capture: "Capture | str | None" = None,
) -> Parallel:
    """Lets this process denoise faster by itself, whatever other ranks there are: they may be at other pictures.

    Args:
        pipe: a diffusers pipeline, on the device where it is to run.
        denoiser: as for `parallelize`.
        compile: as for `parallelize`.
        capture: as for `parallelize`.

    Raises:
        LayoutError: two arguments exclude each other.
        PipelineRefused: the pipeline carries something that the engine cannot work beneath.
    """
    how, found = _lowering(compile, capture), Denoisers.of(pipe, denoiser)
    _weigh(found, Exact())
    mesh = Alone(pipe.device)
    executor = Executor(mesh, Layout.fit(degree=1, world=1, split=False), _evaluator(capture, mesh))
    return _hooked(found, Session(pipe, Exact(), executor), how)


def _lowering(compile: "str | Compile", capture: "Capture | str | None") -> Compile:  # noqa: A002 -- as above
    """What is done to each module.

    Raises:
        LayoutError: its graph is to be run in its place.
    """
    how = Compile(compile)
    if capture is not None and how is not Compile.OFF:
        raise LayoutError(
            f"compile={how.value!r} compiles the denoiser's modules and capture={capture!r} runs its graph in their "
            f"place; choose one of them."
        )
    return how


def _hooked(found: Denoisers, session: Session, how: Compile) -> Parallel:
    """Has a session answer the denoisers' calls."""
    for name, module in found.modules.items():
        detach(module)
        forward = lowered(module.forward, how)
        companion = name in found.companions
        attach(module, EngineHook(module, name, session, companion=companion, forward=forward))
    return Parallel(found, session)


def _evaluator(capture: "Capture | str | None", mesh: Mesh) -> Evaluator:
    """What answers requests; of all ranks, the first one warns."""
    if capture is None:
        return Plainly()
    chosen = Capture.of(capture)
    lowerings = lowering_for(mesh.device, chosen.lowering, chosen.cache)
    return Programs(
        partial(prepared, lowerings=lowerings, held_bytes=chosen.held_bytes),
        exact=lowerings.exact,
        strict=chosen.strict,
        capacity=chosen.programs,
        warn=partial(logger.log, logging.WARNING if mesh.rank == 0 else logging.DEBUG),
    )


def _staging(strategy: AsyncStages, capture: "Capture | str | None", mesh: Mesh, layout: Layout) -> Executor:
    """Runs the denoiser's graph in stages; a denoiser without a graph is refused, for its modules have none."""
    chosen = Capture.of(capture or (Lowering.EAGER if mesh.device.type == "cpu" else Lowering.INDUCTOR))
    links = Links.of(mesh, strategy.stages) if layout.stages > 1 else None
    here = 1 if links else strategy.stages
    lowerings = lowering_for(mesh.device, chosen.lowering, chosen.cache, recordings=4 * (here + 1))
    staging = Staging(
        strategy=strategy,
        lowerings=lowerings,
        held_bytes=chosen.held_bytes,
        device=mesh.device,
        links=links,
    )
    programs = (
        ShardedPrograms(staging.share, capacity=chosen.programs)
        if strategy.sharded
        else Programs(staging.whole, exact=lowerings.exact, strict=True, capacity=chosen.programs)
    )
    return Executor(mesh, layout, programs, links)


def _weigh(found: Denoisers, strategy: Strategy) -> None:
    """Takes the denoisers' weights out of them where each rank is to hold its share.

    Raises:
        PipelineRefused: they are not in them, and each rank is to hold all.
    """
    for name, module in found.denoisers.items():
        if isinstance(strategy, AsyncStages) and strategy.sharded:
            take_weights(module)
        elif weights_of(module) is not None:
            raise PipelineRefused(
                f"The pipeline's {name} has no weights: they were left in their files, or let go. It runs by "
                f"AsyncStages(…, weights='sharded') alone; load the pipeline again for anything else."
            )


def _layout(strategy: Strategy, world: int, split: "bool | Literal['auto']") -> Layout:
    if isinstance(strategy, Data):
        if split is not False or world == 1:
            return Layout.fit(degree=1, world=world, split="auto")
        raise LayoutError("Data() is a split of the batch's rows; guidance_split=False leaves nothing of it.")
    if isinstance(strategy, AsyncStages):
        return Layout.of_teams(stages=strategy.stages, world=world, split=split)
    degree = strategy.degree if isinstance(strategy, Lookahead) else 1
    return Layout.fit(degree=degree, world=world, split=split)


def _device_type(pipe: Any) -> str:
    if pipe.device.type != "cpu":
        return str(pipe.device.type)
    return "cuda" if torch.cuda.is_available() and torch.distributed.is_torchelastic_launched() else "cpu"
