"""Where a prefix lies and how its service is reached, said in the same words by every command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from asyncdiff_api.formats.layout import BLOCKS, GALLERY, ITEMS, JOB_RECORD, REJECTED

from asyncdiff_runtime.cli.output import refuse

if TYPE_CHECKING:
    from asyncdiff_runtime.storage import Storage

PANEL = "S3"

Endpoint = Annotated[
    str, typer.Option("--endpoint", metavar="URL", help="Address of the S3 service.", rich_help_panel=PANEL)
]
Region = Annotated[str, typer.Option("--region", help="Region of the bucket.", rich_help_panel=PANEL)]
Profile = Annotated[
    str, typer.Option("--profile", help="Profile of the AWS configuration files.", rich_help_panel=PANEL)
]

_SHOWN = 5
_FOLDERS = frozenset({ITEMS, REJECTED, BLOCKS, GALLERY})


def is_prefix(target: str) -> bool:
    """Whether an argument means a folder or bucket, and not the name of a job in a cluster."""
    return target.startswith("s3://") or "/" in target or Path(target).exists()


def open_prefix(target: str, endpoint: str, region: str, profile: str) -> Storage:
    """Opens a prefix that a job has written to.

    Raises:
        typer.Exit: It holds no job, which for a folder is said with those near it that do.
        OutputRefusedError: As `Storage`.
        OutageError: As `Storage`.
    """
    from asyncdiff_runtime.storage import open_address

    storage = open_address(target, endpoint=endpoint, region=region, profile=profile)
    if storage.stat(JOB_RECORD) is None:
        near = [] if target.startswith("s3://") else _prefixes_near(Path(target.removeprefix("file://")))
        hint = f"; did you mean {' or '.join(near)}?" if near else "; name the output of a job"
        refuse(f"{storage.uri} holds no {JOB_RECORD}, so no job has written there{hint}")
    return storage


def prefix_around(path: Path) -> Path | None:
    """Gives the output of the job that a path lies in; None where it lies in none."""
    for folder in path.parents:
        inside = path.relative_to(folder).parts[0]
        if f"{inside}/" in _FOLDERS and (folder / JOB_RECORD).is_file():
            return folder
    return None


def _prefixes_near(folder: Path) -> list[str]:
    """Gives the output that a folder lies in, and those right below it."""
    around = prefix_around(folder.absolute())
    below = sorted(path.parent for path in folder.glob(f"*/{JOB_RECORD}"))
    return [str(path) for path in ([around] if around else []) + below][:_SHOWN]
