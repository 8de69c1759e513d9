"""The `asyncdiff` command: its subcommands and what they share.

Whatever is imported here is waited for at every start, `asyncdiff --help` included: torch, above all, is
loaded by the functions that need it.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from asyncdiff_runtime.cli.crd import print_crd
from asyncdiff_runtime.cli.explain import explain_field
from asyncdiff_runtime.cli.explain_image import explain_image
from asyncdiff_runtime.cli.extensions import Commands
from asyncdiff_runtime.cli.gallery import make_gallery
from asyncdiff_runtime.cli.plan import plan_job
from asyncdiff_runtime.cli.run import run_job
from asyncdiff_runtime.cli.status import print_status
from asyncdiff_runtime.cli.validate import validate_files

OUTPUT = "Make and look"
FILES = "Job files"

app = typer.Typer(
    name="asyncdiff",
    cls=Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # joins the lines of a docstring's paragraphs
)
app.command("run", rich_help_panel=OUTPUT)(run_job)
app.command("status", rich_help_panel=OUTPUT)(print_status)
app.command("gallery", rich_help_panel=OUTPUT)(make_gallery)
app.command("explain-image", rich_help_panel=OUTPUT)(explain_image)
app.command("plan", rich_help_panel=FILES)(plan_job)
app.command("validate", rich_help_panel=FILES)(validate_files)
app.command("explain", rich_help_panel=FILES)(explain_field)
app.command("crd", rich_help_panel=FILES)(print_crd)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"asyncdiff {version('asyncdiff-operator')}")
        raise typer.Exit


@app.callback()
def _asyncdiff(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Make pictures and videos in batches from one job file: on this machine, or on a cluster."""


def main() -> None:
    """Runs the command that the arguments name."""
    app()
