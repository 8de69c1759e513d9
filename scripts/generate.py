"""Writes every file that is made from code: `generate.py` writes, `generate.py --check` only compares."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from asyncdiff_api.crd import crd_yaml
from chart.rendering import chart_readme, chart_rules, values_schema, values_yaml
from pages.commands import commands_page
from pages.denoisers import denoisers_page
from pages.formats import output_page, worklist_page
from pages.job import spec_page, status_page
from pages.operator import operator_page
from pages.outcomes import conditions_page, exit_codes_page
from pages.pod import pod_page

ROOT = Path(__file__).resolve().parents[1]

GENERATED: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "manifests/crd/asyncdiff.dev_asyncdiffjobs.yaml": crd_yaml,
        "charts/asyncdiff-operator/files/asyncdiffjobs.yaml": crd_yaml,
        "charts/asyncdiff-operator/files/rules.yaml": chart_rules,
        "charts/asyncdiff-operator/values.yaml": values_yaml,
        "charts/asyncdiff-operator/values.schema.json": values_schema,
        "charts/asyncdiff-operator/README.md": chart_readme,
        "docs/reference/job.md": spec_page,
        "docs/reference/status.md": status_page,
        "docs/reference/conditions.md": conditions_page,
        "docs/reference/exit-codes.md": exit_codes_page,
        "docs/reference/worklist.md": worklist_page,
        "docs/reference/output.md": output_page,
        "docs/reference/command-line.md": commands_page,
        "docs/reference/denoisers.md": denoisers_page,
        "docs/reference/operator.md": operator_page,
        "docs/reference/pod.md": pod_page,
    }
)


def main() -> int:
    """Gives the process's exit code: 1 if a file was to be checked and differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a file is not up to date"
    )
    check = parser.parse_args().check
    stale = [name for name, render in GENERATED.items() if not _is_fresh(name, render(), show=check)]
    if not check:
        for name in stale:
            path = ROOT / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(GENERATED[name](), encoding="utf-8")
            print(f"wrote {name}")
        return 0
    if stale:
        print(f"{len(stale)} of {len(GENERATED)} generated files are not up to date: run `make generate`.")
    return 1 if stale else 0


def _is_fresh(name: str, wanted: str, *, show: bool) -> bool:
    path = ROOT / name
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    if found == wanted:
        return True
    if show:
        lines = difflib.unified_diff(
            found.splitlines(),
            wanted.splitlines(),
            f"{name} (as it is)",
            f"{name} (as it should be)",
            lineterm="",
        )
        print("\n".join(lines))
    return False


if __name__ == "__main__":
    sys.exit(main())
