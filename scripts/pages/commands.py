"""The reference of the command line, read from the functions behind the commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, get_args

from asyncdiff_runtime.cli.extensions import extensions
from asyncdiff_runtime.cli.main import app
from typer.models import ArgumentInfo, OptionInfo

from pages.markdown import code, page, table

_INTRODUCTION = """
`asyncdiff` makes pictures on this machine, looks at what was made, checks job files, and talks to a cluster. Only
the last needs a kubeconfig. `asyncdiff COMMAND --help` shows what is here.
"""


def commands_page() -> str:
    """Gives the page on the commands, one section each."""
    blocks: list[str] = []
    for name, callback in _commands():
        blocks += [f"## asyncdiff {name}", inspect.getdoc(callback) or "", _parameters(callback)]
    return page("Command line", _INTRODUCTION, *blocks)


def _commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    for command in app.registered_commands:
        assert command.name is not None
        assert command.callback is not None
        yield command.name, command.callback
    yield from extensions().items()


def _parameters(callback: Callable[..., Any]) -> str:
    rows = list(_rows(callback))
    return table(["Argument", "Choices", "Default", "Meaning"], rows) if rows else ""


def _rows(callback: Callable[..., Any]) -> Iterator[list[str]]:
    for parameter in inspect.signature(callback, eval_str=True).parameters.values():
        kind, declared = get_args(parameter.annotation)
        assert isinstance(declared, ArgumentInfo | OptionInfo)
        choices = [member.value for member in kind] if issubclass(_class_of(kind), StrEnum) else []
        yield [
            _name(declared),
            ", ".join(map(code, choices)),
            code(parameter.default) if isinstance(parameter.default, str) else "",
            declared.help or "",
        ]


def _class_of(kind: Any) -> type:
    return kind if isinstance(kind, type) else object


def _name(declared: ArgumentInfo | OptionInfo) -> str:
    # Within Annotated, typer takes an option's first name for its default until the command is made.
    declared_names = (declared.default, *(declared.param_decls or ()))
    names = ", ".join(text for text in declared_names if isinstance(text, str))
    return code(" ".join(filter(None, [names, declared.metavar])))
