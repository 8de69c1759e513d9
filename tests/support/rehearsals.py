"""Claims about ranks that capture graphs, run on every rank of a group."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from asyncdiff_runtime.engine.executor import Executor
from asyncdiff_runtime.engine.graph.capture import Captured
from asyncdiff_runtime.engine.graph.programs import Answer, Programs
from asyncdiff_runtime.engine.mesh import Layout, Mesh, Stamp, checksum
from asyncdiff_runtime.engine.report import Tally

from support.processes import wait_until
from support.requests import Denoiser, counted, request

PATIENCE_SECONDS = 120.0


def captures_begun_together(
    rank: int, world: int, folder: str, degree: int, rows: int
) -> tuple[int, list[int]]:
    """Two evaluations of which one rank has all the work, where no capture ends before all ranks' have begun.

    Gives this rank's captures, and how often its modules ran in each evaluation and in a third with work for all.
    """
    executor, programs = _executor(degree, world, partial(_once_all_have_begun, Path(folder), rank, world))
    tally, module, ran = Tally(1), Denoiser(), []
    programs.begin(tally)
    for evaluation in range(3):
        with torch.no_grad(), counted(module) as calls:
            wide = world if evaluation == 2 else 1
            asked = [request(module, seed, rows) for seed in range(evaluation, evaluation + wide)]
            grid = [[each] for each in asked] if degree > 1 else [asked]
            executor.run(_stamp(evaluation), grid)
            ran.append(len(calls))
    return tally.captures, ran


def capture_that_fails(rank: int, world: int, culprit: int) -> None:
    """One evaluation, of which the first rank has all the work; the culprit cannot make a program."""

    def prepare(captured: Captured) -> Answer:
        if rank == culprit:
            raise RuntimeError("no kernel for this")
        return _interpreted(captured)

    executor, programs = _executor(world, world, prepare)
    programs.begin(Tally(1))
    with torch.no_grad():
        executor.run(_stamp(0), [[request(Denoiser())]])


def _executor(degree: int, world: int, prepare: Callable[[Captured], Answer]) -> tuple[Executor, Programs]:
    programs = Programs(prepare, strict=True)
    layout = Layout.fit(degree=degree, world=world, split="auto")
    return Executor(Mesh(torch.device("cpu"), PATIENCE_SECONDS), layout, programs), programs


def _once_all_have_begun(folder: Path, rank: int, world: int, captured: Captured) -> Answer:
    (folder / str(rank)).touch()
    wait_until(
        lambda: len(list(folder.iterdir())) == world,
        what="all ranks to capture at once",
        seconds=PATIENCE_SECONDS,
    )
    return _interpreted(captured)


def _interpreted(captured: Captured) -> Answer:
    return lambda tensors, _: captured.run(tensors)


def _stamp(evaluation: int) -> Stamp:
    return Stamp(1, evaluation, checksum([], torch.device("cpu")))
