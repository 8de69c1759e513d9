"""What the docs show is what the command prints, and every page can be reached."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from asyncdiff_api.formats.worklist import Position, parse_line
from support.command import run
from support.repository import ROOT

DOCS = ROOT / "docs"

POSTERS = """\
apiVersion: asyncdiff.dev/v1alpha1
kind: AsyncDiffJob
metadata: {name: posters}
spec:
  model: {repository: stabilityai/stable-diffusion-xl-base-1.0}
  generate:
    prompts:
      - a fox in the snow
    guidancescale: 5
    steps: "50"
  output: {s3: {bucket: renders, prefix: posters/}}
"""


def shown(page: str, language: str) -> list[str]:
    """Gives the contents of a page's code blocks in one language."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def console(page: str, command: str) -> str:
    """Gives what a page shows below `$ command`."""
    (output,) = [
        block.partition("\n")[2] for block in shown(page, "console") if block.startswith(f"$ {command}\n")
    ]
    return output


@pytest.fixture
def in_a_folder_with_posters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "posters.yaml").write_text(POSTERS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("in_a_folder_with_posters")
def test_the_page_on_checking_shows_what_validate_prints() -> None:
    assert run("validate", "posters.yaml").output == console("check.md", "asyncdiff validate posters.yaml")


@pytest.mark.usefixtures("in_a_folder_with_posters")
def test_the_page_on_checking_shows_the_json_of_validate() -> None:
    result = json.loads(run("validate", "-o", "json", "posters.yaml").output)
    del result["documents"][0]["problems"][1:]
    assert [result] == [json.loads(block) for block in shown("check.md", "json")]


def test_the_page_on_checking_shows_what_explain_prints() -> None:
    command = "explain spec.parallelism.pods"
    assert run(*command.split(), columns=80).output == console("check.md", f"asyncdiff {command}")


@pytest.mark.parametrize("page", ["index.md"])
def test_jobs_in_the_docs_are_valid(page: str) -> None:
    blocks = shown(page, "yaml")
    assert blocks
    for block in blocks:
        result = run("validate", "-", stdin=block)
        assert result.exit_code == 0, result.output


def test_worklist_lines_in_the_docs_parse() -> None:
    for block in shown("reference/worklist.md", "json"):
        for number, line in enumerate(block.splitlines(), start=1):
            parse_line(line.encode(), Position(0, number))


class _Loaded(HTMLParser):
    """Collects what a browser fetches for a page before anybody clicks."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video"):
            self.addresses.append(named.get("src") or "")
        elif tag == "link" and named.get("rel") != "canonical":
            self.addresses.append(named.get("href") or "")


def test_the_site_builds_and_asks_no_other_host_for_anything(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 5
    for page in pages:
        parser = _Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        assert parser.addresses
        assert [address for address in parser.addresses if "//" in address] == []


def test_every_page_is_in_the_navigation() -> None:
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert pages == set(re.findall(r"[\w./-]+\.md", text[text.index("nav:") :]))
    assert yaml.safe_load(text)["strict"] is True


def test_the_page_on_clusters_quotes_the_measured_starts_of_pods() -> None:
    measured = json.loads((ROOT / "bench/results/pod-start-2-cores.json").read_text(encoding="utf-8"))
    page = (DOCS / "cluster.md").read_text(encoding="utf-8")
    for case, seconds in measured["medianSeconds"].items():
        assert " | ".join((f"| {case}", *(f"{value:.1f} s" for value in seconds.values()))) in page
