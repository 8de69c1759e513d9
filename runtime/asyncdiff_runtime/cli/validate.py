"""`asyncdiff validate`: what the API server would say to a job file, with line and column."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from asyncdiff_api.files.documents import Place
from asyncdiff_api.files.verdicts import Finding, Outcome, Verdict, judge
from asyncdiff_api.formats.exit_codes import ExitCode
from pydantic import JsonValue
from rich.text import Text

from asyncdiff_runtime.cli.excerpt import excerpt
from asyncdiff_runtime.cli.output import Format, console, print_json

_STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class _Judged:
    """A file with the verdicts on what it holds."""

    source: str
    lines: list[str]
    verdicts: tuple[Verdict, ...]


def validate_files(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", help="YAML or JSON, any number of documents each; - reads standard input."
        ),
    ],
    output: Annotated[
        Format, typer.Option("--output", "-o", help="How to print the verdicts.")
    ] = Format.TEXT,
) -> None:
    """Check job files as the API server would, without a cluster.

    Ends with 0 if every job is valid, with 64 if one is not or if there is no job at all. Documents of
    another kind are passed over. What a change would do to a job that exists is known to the cluster alone:
    kubectl apply --dry-run=server.
    """
    judged = [_judge_file(path) for path in files]
    if output is Format.JSON:
        print_json(_as_json(judged))
    else:
        _print(judged)
    counts = _count(judged)
    if counts[Outcome.INVALID] or not counts[Outcome.VALID]:
        raise typer.Exit(ExitCode.WRONG_JOB)


def _judge_file(path: Path) -> _Judged:
    data = _bytes_of(path)
    source = "standard input" if path == _STDIN else str(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = Place(data[: error.start].count(b"\n") + 1, 1)
        message = f"Byte {error.start} is not UTF-8 ({data[error.start]:#04x}): save the file as UTF-8."
        finding = Finding(place, "", message)
        return _Judged(source, [], (Verdict(Outcome.INVALID, place, "", "", (finding,)),))
    return _Judged(source, text.splitlines(), judge(text))


def _bytes_of(path: Path) -> bytes:
    """Gives what a file or standard input holds.

    Raises:
        typer.BadParameter: The file cannot be read.
    """
    if path == _STDIN:
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"'{path}' cannot be read: {error.strerror}.") from error


def _count(judged: list[_Judged]) -> Counter[Outcome]:
    return Counter(verdict.outcome for file in judged for verdict in file.verdicts)


def _print(judged: list[_Judged]) -> None:
    out = console()
    for file in judged:
        for verdict in file.verdicts:
            if verdict.outcome is Outcome.INVALID:
                for finding in verdict.findings:
                    out.print(_described(finding, file))
            else:
                out.print(_headline(verdict, file.source))
    out.print(_summary(_count(judged)))


def _headline(verdict: Verdict, source: str) -> Text:
    where = f"{source}:{verdict.place.line}: "
    what = verdict.name or "(no name)"
    if verdict.outcome is Outcome.SKIPPED:
        return Text(f"{where}{verdict.kind} {what}: skipped, not an AsyncDiffJob", style="dim")
    return Text.assemble(where, (what, "bold"), ": ", ("valid", "green"))


def _described(finding: Finding, file: _Judged) -> Text:
    parts = Text.assemble(
        (f"{file.source}:{finding.place.line}:{finding.place.column}: ", "bold"),
        (f"{finding.field}: " if finding.field else "", "red"),
        finding.message,
        f" Did you mean {finding.suggestion}?" if finding.suggestion else "",
    )
    marked = excerpt(file.lines, finding.place)
    return Text("\n").join([parts, marked]) if marked else parts


def _summary(counts: Counter[Outcome]) -> str:
    total = counts[Outcome.VALID] + counts[Outcome.INVALID]
    skipped = counts[Outcome.SKIPPED]
    passed_over = f" {skipped} of another kind skipped." if skipped else ""
    if total == 0:
        return f"No AsyncDiffJob found: nothing was checked.{passed_over}"
    return f"{counts[Outcome.VALID]} of {total} {'job' if total == 1 else 'jobs'} valid.{passed_over}"


def _as_json(judged: list[_Judged]) -> JsonValue:
    counts = _count(judged)
    return {
        "valid": counts[Outcome.VALID] > 0 and counts[Outcome.INVALID] == 0,
        "documents": [_verdict_as_json(verdict, file.source) for file in judged for verdict in file.verdicts],
    }


def _verdict_as_json(verdict: Verdict, source: str) -> JsonValue:
    return {
        "file": source,
        "line": verdict.place.line,
        "kind": verdict.kind,
        "name": verdict.name,
        "outcome": verdict.outcome.value,
        "problems": [
            {
                "line": finding.place.line,
                "column": finding.place.column,
                "field": finding.field,
                "message": finding.message,
                "suggestion": finding.suggestion,
            }
            for finding in verdict.findings
        ],
    }
