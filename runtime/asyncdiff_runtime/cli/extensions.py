"""Commands of other packages, found by name and imported only when they are wanted.

People have one `asyncdiff`, and the runtime must not know a Kubernetes client. So the package that does adds
its commands in pyproject.toml:

    [project.entry-points."asyncdiff.commands"]
    submit = "asyncdiff_operator.cli.submit:submit_job"
    status = "asyncdiff_operator.cli.status:print_status"

Each names a function as typer takes it: annotated parameters, the docstring as help. `asyncdiff --help` imports
the module and no other command does, so it must be light: what is heavy is imported inside the function. The
function prints to standard output, raises `typer.Exit` with a code, and `ContractError` for whatever a person
has to mend; the command line prints that as reason and sentence and ends with its code. A ModuleNotFoundError of
an optional dependency becomes a sentence that names the extra to install.

`status` is special: `asyncdiff status` has one command line for prefixes and clusters, which belongs to
`asyncdiff_runtime.cli.status`. The function of that name is a `ClusterStatus`, called for what names a job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final, Protocol

import typer
from asyncdiff_api.formats.exit_codes import ExitCode
from typer.core import TyperGroup

from asyncdiff_runtime.cli.output import contract_errors, error_console

GROUP: Final = "asyncdiff.commands"
PANEL: Final = "Cluster"
CLUSTER_STATUS: Final = "status"
"""The entry point that is a `ClusterStatus` and no command of its own."""

_EXTRAS: Final = MappingProxyType(
    dict.fromkeys(("kopf", "kubernetes"), "operator")
    | dict.fromkeys(("av", "boto3", "botocore", "diffusers", "jinja2", "numpy", "PIL", "torch"), "runtime")
)
"""Extra of this distribution that brings a module."""


class ClusterStatus(Protocol):
    """What a cluster says of a job."""

    def __call__(
        self, name: str, *, namespace: str | None, context: str | None, watch: bool, as_json: bool
    ) -> None:
        """Prints the state of a job, and with `watch` again whenever it changes until the job has ended.

        Args:
            name: The job's name.
            namespace: Its namespace; None for the one of the kubeconfig's context.
            context: Context of the kubeconfig; None for its current one.
            watch: Go on until the job has ended.
            as_json: Print JSON, one document a line where `watch` prints several.

        Raises:
            typer.Exit: With a code other than 0 if the job was looked at and has failed.
            ContractError: The cluster or the job cannot be reached.
        """


class Commands(TyperGroup):
    """The commands of this package, and after them those that extensions add."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Gives the names of all commands."""
        self._add_extensions()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Gives a command; extensions are loaded only for a name that is none of this package's."""
        if cmd_name not in self.commands:
            self._add_extensions()
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:
        """Runs a command; what a person has to mend is said in a sentence."""
        with contract_errors(), naming_the_extra():
            return super().invoke(ctx)

    def _add_extensions(self) -> None:
        for name, callback in extensions().items():
            if name not in self.commands:
                self.add_command(_command(name, callback), name)


def extensions() -> dict[str, Callable[..., None]]:
    """Gives the functions of all commands that other packages add, by name, in order.

    One that cannot be imported is given as a function that says why.
    """
    found = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return {point.name: _load(point) for point in found if point.name != CLUSTER_STATUS}


def cluster_status() -> ClusterStatus | None:
    """Gives the function that asks a cluster for a job's state; None where no package has one."""
    for point in entry_points(group=GROUP, name=CLUSTER_STATUS):
        with naming_the_extra():
            found: ClusterStatus = point.load()
            return found
    return None


@contextmanager
def naming_the_extra(because: str = "") -> Iterator[None]:
    """Turns the lack of an optional dependency into a sentence that says what to install, and an end.

    Args:
        because: Sentence before it, with a space at its end.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        extra = _EXTRAS.get(module)
        if extra is None:
            raise
        error_console().print(
            f"{because}This needs {module}, which is not installed. Install it with: "
            f"pip install 'asyncdiff-operator[{extra}]'"
        )
        raise typer.Exit(ExitCode.UNEXPECTED) from error


def _load(point: EntryPoint) -> Callable[..., None]:
    try:
        function: Callable[..., None] = point.load()
    except (ImportError, AttributeError) as error:
        return _unavailable(error)
    return function


def _unavailable(error: Exception) -> Callable[..., None]:
    """Gives a command in place of one whose module cannot be imported, so that the others can be used."""

    def say_why() -> None:
        with naming_the_extra():
            raise error

    say_why.__doc__ = f"Cannot be loaded: {error}."
    return say_why


def _command(name: str, callback: Callable[..., None]) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    app.command(name, rich_help_panel=PANEL)(callback)
    return typer.main.get_command(app)
