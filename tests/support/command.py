"""The `asyncdiff` command line, run in this process."""

from __future__ import annotations

from asyncdiff_runtime.cli.main import app
from typer.testing import CliRunner, Result

# None takes a variable away: a CI system may ask every program for colours.
_PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200", "FORCE_COLOR": None, "GITHUB_ACTIONS": None}


def run(*arguments: str, stdin: str | bytes = "") -> Result:
    """Runs `asyncdiff` with arguments, and perhaps standard input; gives exit code and plain output."""
    return CliRunner().invoke(app, list(arguments), input=stdin, env=_PLAIN, catch_exceptions=False)
