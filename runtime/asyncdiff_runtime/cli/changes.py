"""`--set`: a job document with single values replaced."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from asyncdiff_api.formats.errors import InvalidJobError


def changed(document: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """Gives a copy of a document with values put at dotted paths; null takes a value away.

    Args:
        document: The document.
        changes: Such as `spec.generate.steps=20`; what follows the first `=` is read as YAML.

    Raises:
        InvalidJobError: A change has no `=`, is no YAML, or leads through what is no mapping.
    """
    result = copy.deepcopy(dict(document))
    for change in changes:
        path, sign, text = change.partition("=")
        if not sign or not path:
            raise InvalidJobError(f"--set {change}: write it as spec.generate.steps=20")
        *parents, last = path.split(".")
        owner: Any = result
        for name in parents:
            owner = owner.setdefault(name, {}) if isinstance(owner, dict) else None
        if not isinstance(owner, dict):
            raise InvalidJobError(
                f"--set {change}: {'.'.join(parents)} is no mapping; name a field inside one"
            )
        try:
            owner[last] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InvalidJobError(f"--set {change}: the value is no YAML; put it in quotes") from error
    return result
