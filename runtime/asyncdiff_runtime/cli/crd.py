"""`asyncdiff crd`: the CustomResourceDefinition that this version works with."""

from __future__ import annotations

import typer
from asyncdiff_api.crd import crd_yaml


def print_crd() -> None:
    """Print the CustomResourceDefinition: asyncdiff crd | kubectl apply --server-side -f -."""
    typer.echo(crd_yaml(), nl=False)
