"""Consoles of the commands: data is printed as it is, without markup of its own."""

from __future__ import annotations

from rich.console import Console


def console() -> Console:
    """Gives a console on standard output."""
    return Console(markup=False, highlight=False, soft_wrap=True)


def error_console() -> Console:
    """Gives the like on standard error, for progress and advice: standard output is for results."""
    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
