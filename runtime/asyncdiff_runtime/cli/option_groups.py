"""Options that a command takes together, as one argument of its function."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def with_group(name: str, group: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Lets a command's function have one argument for several options.

    Args:
        name: The argument.
        group: A dataclass; each field is an option, declared as typer has it.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(group, include_extras=True)
        fields = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=hints[field.name],
            )
            for field in dataclasses.fields(group)
        ]

        @functools.wraps(command)
        def run(*args: Any, **options: Any) -> None:
            chosen = group(**{field.name: options.pop(field.name) for field in fields})
            command(*args, **options, **{name: chosen})

        own = get_type_hints(command, include_extras=True)
        own.pop("return", None)
        own.pop(name)
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name == name:
                parameters += fields
            else:
                annotation = own[parameter.name]
                parameters.append(
                    parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
                )
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # -- read by inspect
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate
