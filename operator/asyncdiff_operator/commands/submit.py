"""`asyncdiff submit job.yaml`: create a job in a cluster and, if asked, wait for its end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from asyncdiff_api import validation
from asyncdiff_api.files.documents import read_documents
from asyncdiff_api.files.verdicts import Outcome, Verdict, judge
from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.job import KIND

from asyncdiff_operator.commands.cluster import Cluster, JobExistsError, connect
from asyncdiff_operator.commands.differences import Difference, differences
from asyncdiff_operator.commands.output import console, error_console

if TYPE_CHECKING:
    from asyncdiff_operator.commands.view import JobView

JOB_FAILED: Final = 1
INTERRUPTED: Final = 130
_STDIN: Final = Path("-")

Document = dict[str, Any]


def submit_job(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="YAML or JSON with one job; - reads standard input.")
    ],
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Show progress until the job has ended; then its result.")
    ] = False,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace of the job.")] = None,
    context: Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")] = None,
) -> None:
    """Create a job in the cluster of the kubeconfig.

    The file is checked first, as `asyncdiff validate` does. A job that is there already with the same spec is
    taken for this one, so the command can be repeated; what has been changed since, of the fields that may change
    while a job runs, stays and is named. With --wait it ends with 0 if the job completes and with 1
    if it fails; Ctrl-C leaves the job running.
    """
    document = read_job(file)
    cluster = connect(context, _namespace(document, namespace))
    stored, changed = create(cluster, document)
    name = stored["metadata"]["name"]
    error_console().print(
        f"{name} {'created' if changed is None else 'exists already'} in namespace {cluster.namespace}"
    )
    if changed:
        error_console().print(f"It stays as it is: {'; '.join(map(str, changed))}. kubectl apply changes it")
    if wait:
        again = ["asyncdiff", "status", name, "--namespace", cluster.namespace, "--watch"]
        again += ["--context", context] if context else []
        _wait(cluster, stored, shlex.join(again))


def read_job(file: Path) -> Document:
    """Gives the one job of a file.

    Raises:
        InvalidJobError: It cannot be read, holds no job or several, or the job is not valid.
    """
    source = "standard input" if file == _STDIN else str(file)
    try:
        data = sys.stdin.buffer.read() if file == _STDIN else file.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidJobError(f"{source} cannot be read: {error}") from error
    verdicts = [verdict for verdict in judge(text) if verdict.outcome is not Outcome.SKIPPED]
    if wrong := [verdict for verdict in verdicts if verdict.outcome is Outcome.INVALID]:
        raise InvalidJobError("\n".join(_complaints(source, wrong)))
    if len(verdicts) != 1:
        raise InvalidJobError(
            f"{source} holds {len(verdicts)} documents of kind {KIND}; submit takes one. kubectl apply takes all"
        )
    found = (document.content for document in read_documents(text).documents)
    return next(content for content in found if isinstance(content, dict) and content.get("kind") == KIND)


def create(cluster: Cluster, document: Mapping[str, Any]) -> tuple[Document, tuple[Difference, ...] | None]:
    """Creates a job; one of the same name and spec is as good.

    Returns:
        The job as stored. Then None if it is new, else in what it has been changed since it was as the document.

    Raises:
        JobExistsError: There is one of that name that asks for something else.
    """
    try:
        return cluster.create_job(document), None
    except JobExistsError:
        name = document["metadata"]["name"]
        stored = cluster.job(name)
        found = _differences(stored, document)
        if found is not None and all(each.mutable for each in found):
            return stored, found
        fields = ", ".join(each.field for each in found or () if not each.mutable)
        raise JobExistsError(
            f"a job {name} with another spec is in namespace {cluster.namespace} already"
            f"{f': it differs in {fields}' if fields else ''}. Give this one another name, or delete that one: "
            f"kubectl delete asyncdiffjob {name} --namespace {cluster.namespace}"
        ) from None


def _differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[Difference, ...] | None:
    """In which fields two specs differ; None where an older operator's rules let through what today's do not."""
    try:
        return differences(validation.load(stored), validation.load(asked))
    except validation.InvalidJobError:
        return None


def _complaints(source: str, verdicts: list[Verdict]) -> list[str]:
    lines = []
    for verdict in verdicts:
        for finding in verdict.findings:
            where = f"{source}:{finding.place.line}:{finding.place.column}"
            field = f" {finding.field}:" if finding.field else ""
            hint = f" Did you mean {finding.suggestion}?" if finding.suggestion else ""
            lines.append(f"{where}:{field} {finding.message}{hint}")
    return lines


def _namespace(document: Mapping[str, Any], asked: str | None) -> str | None:
    own = document["metadata"].get("namespace")
    if own and asked and own != asked:
        raise InvalidJobError(
            f"the file says namespace {own} and --namespace says {asked}: leave out one of the two"
        )
    return asked or own


def _wait(cluster: Cluster, stored: Document, again: str) -> None:
    """Shows a job until it has ended.

    Raises:
        typer.Exit: It failed, or the person would wait no longer.
    """
    from asyncdiff_operator.commands.describe import describe
    from asyncdiff_operator.commands.waiting import show_until_ended

    try:
        last: JobView = show_until_ended(cluster, stored["metadata"]["name"], stored["metadata"]["uid"])
    except KeyboardInterrupt:
        error_console().print(f"\nThe job goes on in the cluster. To look again: {again}")
        raise typer.Exit(INTERRUPTED) from None
    console().print(describe(last, datetime.now(UTC)))
    if last.failed:
        raise typer.Exit(JOB_FAILED)
