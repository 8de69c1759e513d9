"""How commands speak: text for people, JSON for scripts, and errors in the contract's words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final, NoReturn

import typer
from asyncdiff_api.formats.errors import ContractError
from pydantic import JsonValue
from rich.console import Console

WRONG_ARGUMENT: Final = 2


class Format(StrEnum):
    """What `--output` takes."""

    TEXT = "text"
    JSON = "json"


def console() -> Console:
    """Gives a console on standard output that prints data as it is: no markup, no colours of its own choice."""
    return Console(markup=False, highlight=False, soft_wrap=True)


def error_console() -> Console:
    """Gives the like on standard error."""
    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


def print_json(value: JsonValue) -> None:
    """Prints a value as indented JSON, its text unescaped."""
    console().print(json.dumps(value, indent=2, ensure_ascii=False))


def refuse(sentence: str) -> NoReturn:
    """Ends because of what was asked for, as click does for a wrong argument: a sentence, and exit code 2."""
    error_console().print(sentence)
    raise typer.Exit(WRONG_ARGUMENT)


@contextmanager
def waiting(words: str) -> Iterator[None]:
    """Shows on a terminal that something takes its time, and nothing elsewhere."""
    with error_console().status(words):
        yield


@contextmanager
def contract_errors() -> Iterator[None]:
    """Prints an error of the contract as reason and sentence, and ends with its code."""
    try:
        yield
    except ContractError as error:
        error_console().print(f"{error.reason}: {error}")
        raise typer.Exit(error.exit_code) from error
