"""The `asyncdiff` command line, run in this process."""

from __future__ import annotations

from asyncdiff_runtime.cli.main import app
from typer.testing import CliRunner, Result

# None takes a variable away: a CI system may ask every program for colours.
_PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "FORCE_COLOR": None, "GITHUB_ACTIONS": None}


def run(*arguments: str, stdin: str | bytes = "", columns: int = 200) -> Result:
    """Runs `asyncdiff`; gives exit code and plain output.

    Args:
        arguments: What follows `asyncdiff`.
        stdin: Standard input.
        columns: Width of the terminal, in characters.
    """
    environment = {**_PLAIN, "COLUMNS": str(columns)}
    return CliRunner().invoke(app, list(arguments), input=stdin, env=environment, catch_exceptions=False)
