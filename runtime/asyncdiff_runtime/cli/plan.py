"""`asyncdiff plan`: what a job will cost, told without weights and without a GPU."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from asyncdiff_api import validation
from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.parallelism import AsyncStages, BatchSize, Device, Strategy

from asyncdiff_runtime.cli.changes import changed
from asyncdiff_runtime.cli.option_groups import with_group
from asyncdiff_runtime.cli.output import print_json, waiting
from asyncdiff_runtime.cli.plan_stages import StageOptions, write_page
from asyncdiff_runtime.cli.run import read_job

if TYPE_CHECKING:
    from asyncdiff_runtime.batch.assignment import Places
    from asyncdiff_runtime.engine.graph.machines import Machine

GPUS: Final = ("H200", "H100 SXM", "A100 80GB", "L40S", "RTX 4090")
"""Where nobody names one."""
_JOB_FILES: Final = frozenset({".json", ".yaml", ".yml"})
_CLAIM: Final = "model"
_DEPTH: Final = 2
"""Names of a module's path by which JSON tells costs apart; tables go by the first."""
_SIZE: Final = re.compile(r"(\d+)[x×](\d+)")
_HUB: Final = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Shorthands:
    """Options that stand for fields of a job."""

    gpus: Annotated[
        int | None, typer.Option("--gpus", min=1, help="GPUs of a pod, in place of the job's.")
    ] = None
    dtype: Annotated[str, typer.Option("--dtype", metavar="TYPE", help="bfloat16, float16 or float32.")] = ""
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Pixels, such as 1024x1024. Default: the pipeline's.")
    ] = ""
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Items that are denoised together.")] = (
        None
    )

    def changes(self) -> list[str]:
        """Gives them as changes of a job."""
        found = _SIZE.fullmatch(self.size)
        if self.size and found is None:
            raise typer.BadParameter(f"--size {self.size}: write it as 1024x1024, width before height.")
        values = {
            "spec.parallelism.gpusPerPod": self.gpus,
            "spec.parallelism.batchSize": self.batch,
            "spec.model.dtype": self.dtype or None,
            "spec.generate.width": found and found[1],
            "spec.generate.height": found and found[2],
        }
        return [f"{path}={value}" for path, value in values.items() if value is not None]


NO_SHORTHANDS: Final = Shorthands()
NO_STAGES: Final = StageOptions()


@with_group("shorthands", Shorthands)
@with_group("stages", StageOptions)
def plan_job(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A job file, a folder in diffusers' layout, a hub repository, or a bundled model.",
        ),
    ],
    gpu: Annotated[
        list[str] | None,
        typer.Option("--gpu", metavar="NAME", help=f"A GPU; repeatable. Default: {', '.join(GPUS)}."),
    ] = None,
    shorthands: Shorthands = NO_SHORTHANDS,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field, such as spec.generate.steps=20."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    stages: StageOptions = NO_STAGES,
) -> None:
    """Predict what a job costs: arithmetic, memory and seconds, on GPUs that need not be here.

    The pipeline is built from the model's configuration files, without weights, and its own call is followed
    from prompt to pixels. Of a hub repository only these files are fetched; with HF_HUB_OFFLINE set they must be
    in the cache.
    """
    os.environ.setdefault(
        "TRANSFORMERS_VERBOSITY", "error"
    )  # what it says of its own changes is not for here
    from asyncdiff_runtime.cli.plan_tables import as_json, print_tables
    from asyncdiff_runtime.engine.graph.machines import machine

    try:
        machines = [machine(name) for name in gpu or GPUS]
    except KeyError as error:
        raise typer.BadParameter(f"{error.args[0]}.") from error
    wanted = [*shorthands.changes(), *(changes or ())]
    job, folder = job_of(target, wanted)
    if job.spec.model.volume is not None and folder is None:
        raise InvalidJobError(
            f"the model lies in the volume {job.spec.model.volume.claim_name}, which is not mounted here; plan its "
            "folder: asyncdiff plan DIR, with --set for what the job asks"
        )
    if (wanted_stages := stages.wanted(job)) is not None:
        _plan_stages(job, folder, machines, wanted_stages, html=stages.html, json=json)
        return
    with waiting("Building the pipeline without weights"):
        planned = _plan(job, folder, machines)
    if json:
        print_json(as_json(*planned))
    else:
        print_tables(*planned)


def _plan_stages(
    job: AsyncDiffJob,
    folder: Path | None,
    machines: list[Machine],
    wanted: AsyncStages,
    *,
    html: Path | None,
    json: bool,
) -> None:
    from asyncdiff_runtime.batch.planning.stages import denoiser_of, stage_plan
    from asyncdiff_runtime.cli.plan_stages import as_json, page, print_stages

    with waiting("Building the pipeline without weights"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        denoiser = denoiser_of(job, _places(folder), batch=_batch(job))
        plans = [stage_plan(denoiser, machine, wanted) for machine in machines]
    if json:
        print_json(as_json(plans))
    else:
        print_stages(plans)
    if html is not None:
        write_page(html, page(plans))


def _places(folder: Path | None) -> Places:
    from asyncdiff_runtime.batch.assignment import Places

    return Places(volumes={} if folder is None else {_CLAIM: folder.absolute()})


def _plan(job: AsyncDiffJob, folder: Path | None, machines: list[Machine]) -> tuple[Any, list[Any]]:
    """Gives the job's figures, and what each machine makes of them."""
    from asyncdiff_runtime.batch.planning import figures_of, forecasts, ways_of

    ways = ways_of(job)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about values that are none
        figures = figures_of(job, _places(folder), batch=_batch(job), depth=_DEPTH)
    return figures, list(forecasts(figures, machines, ways))


def _batch(job: AsyncDiffJob) -> int:
    """Items that a rank denoises together; as ranks decide it."""
    from asyncdiff_runtime.batch.rank import AUTO_BATCH_ON_GPU

    parallelism = job.spec.parallelism
    if parallelism.batch_size is not BatchSize.AUTO:
        return int(parallelism.batch_size)
    alone = parallelism.strategy in (Strategy.AUTO, Strategy.DATA)
    return AUTO_BATCH_ON_GPU if alone and parallelism.device is Device.CUDA else 1


def job_of(target: str, changes: list[str]) -> tuple[AsyncDiffJob, Path | None]:
    """Gives the job that a target means, and the folder that its model lies in where that is the target.

    Raises:
        InvalidJobError: A job file is wrong, or a change of it is.
        typer.BadParameter: The target means nothing.
    """
    path = Path(target)
    if path.is_file() or path.suffix in _JOB_FILES:
        return read_job(path, changes), None
    if path.is_dir():
        return _job({"volume": {"claimName": _CLAIM, "path": ""}}, changes), path
    if _HUB.fullmatch(target):
        return _job({"repository": target}, changes), None
    from asyncdiff_runtime.batch.models import BUNDLED_FOLDER

    bundled = sorted(folder.name for folder in BUNDLED_FOLDER.iterdir() if folder.is_dir())
    if target in bundled:
        return _job({"bundled": target}, changes), None
    raise typer.BadParameter(
        f"'{target}' is no job file, no folder, no hub repository (owner/name) and none of the bundled models "
        f"({', '.join(bundled)})."
    )


def _job(model: dict[str, Any], changes: list[str]) -> AsyncDiffJob:
    """Gives a job for a model alone: one prompt, batches of one."""
    document = {
        "apiVersion": "asyncdiff.dev/v1alpha1",
        "kind": "AsyncDiffJob",
        "metadata": {"name": "plan"},
        "spec": {
            "model": model,
            "generate": {"prompts": ["a fox in the snow"]},
            "parallelism": {"batchSize": 1},
            "output": {"volume": {"claimName": "output"}},
        },
    }
    try:
        return validation.load(changed(document, changes))
    except validation.InvalidJobError as error:
        raise InvalidJobError(str(error)) from error
