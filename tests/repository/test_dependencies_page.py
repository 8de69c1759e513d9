"""The page on dependencies and pyproject.toml say the same."""

from __future__ import annotations

import re

import pytest
from support.repository import ROOT, lower_bound, requirements

PAGE = ROOT / "docs" / "design" / "dependencies.md"


def described() -> dict[str, dict[str, tuple[str, str]]]:
    """Gives section → package → version and reason."""
    sections: dict[str, dict[str, tuple[str, str]]] = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        rows = re.findall(r"^\| ([a-z][a-z0-9-]*) \| (\S+) \| (.+) \|$", part, re.MULTILINE)
        sections[part.splitlines()[0].strip()] = {name: (version, why) for name, version, why in rows}
    return sections


@pytest.mark.parametrize(
    ("section", "extra"),
    [
        ("Everywhere", None),
        ("Extra `operator`", "operator"),
        ("Extra `runtime`", "runtime"),
        ("Extra `dev`", "dev"),
    ],
)
def test_every_dependency_has_its_version_and_reason(section: str, extra: str | None) -> None:
    common = {str(requirement) for requirement in requirements()}
    wanted = [r for r in requirements(*([extra] if extra else [])) if extra is None or str(r) not in common]
    rows = described()[section]
    assert {name: version for name, (version, _) in rows.items()} == {
        r.name: str(lower_bound(r)) for r in wanted
    }
    assert all(why.endswith(".") and len(why.split()) > 2 for _, why in rows.values())


def test_a_section_is_in_alphabetical_order() -> None:
    for rows in described().values():
        assert list(rows) == sorted(rows)
