"""Programs are found where the user put them, or built once, and failures say what to do."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.tools import KUBE, VERSITYGW, BuildFailedError, GoModule, GoUnavailableError, find_programs
from support.tools.cache import cache_folder, cached
from support.tools.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable

TESTS = Path(__file__).parents[1]
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="no Go on PATH to build a module with")


def place(folder: Path, names: Iterable[str]) -> Path:
    """Puts programs into a folder."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to("/bin/true")
    return folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, on a machine where nothing else is found."""
    monkeypatch.setenv("ASYNCDIFF_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def hello(tmp_path: Path) -> GoModule:
    """A Go module of one line, which says by which name it was called and its version."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text("module example.com/hello\n\ngo 1.21\n\n// example.com/upstream v1.2.3\n")
    (folder / "main.go").write_text(
        'package main\n\nimport ("os"; "path/filepath")\n\nvar version string\n\n'
        "func main() { println(filepath.Base(os.Args[0]), version) }\n"
    )
    return GoModule(
        "hello", folder, "example.com/upstream", ".", ("hello", "good-day"), "main.version", "a second"
    )


def test_the_folder_that_the_user_names_comes_first(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, on_path = place(tmp_path / "named", KUBE.programs), place(tmp_path / "path", KUBE.programs)
    monkeypatch.setenv("PATH", str(on_path))
    assert find_programs(KUBE)["etcd"] == on_path / "etcd"

    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(named))
    assert find_programs(KUBE)["etcd"] == named / "etcd"


def test_programs_are_never_gathered_from_two_places(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "KUBEBUILDER_ASSETS", str(place(tmp_path / "some", ["etcd", "kube-apiserver", "kubectl"]))
    )
    whole = place(tmp_path / "whole", KUBE.programs)
    monkeypatch.setenv("PATH", str(whole))

    assert {path.parent for path in find_programs(KUBE).values()} == {whole}


@needs_go
def test_a_module_is_built_once_and_runs_by_each_of_its_names(own_cache: Path, hello: GoModule) -> None:
    terminal = io.StringIO()
    built = find_programs(hello, progress=Progress(terminal))
    assert find_programs(hello, progress=Progress(terminal)) == built

    greetings = [
        subprocess.run([built[name]], capture_output=True, text=True).stderr for name in hello.programs
    ]
    assert greetings == ["hello v1.2.3\n", "good-day v1.2.3\n"]
    assert terminal.getvalue().count("building hello v1.2.3 once, a second on two cores …\n") == 1


@needs_go
def test_a_changed_source_is_built_anew(own_cache: Path, hello: GoModule) -> None:
    before = find_programs(hello, progress=Progress(io.StringIO()))
    source = hello.folder / "main.go"
    source.write_text(source.read_text().replace("version)", '"changed")'))

    after = find_programs(hello, progress=Progress(io.StringIO()))

    assert after != before
    assert subprocess.run([after["hello"]], capture_output=True, text=True).stderr == "hello changed\n"


@needs_go
def test_a_failed_build_shows_the_compilers_words_and_leaves_nothing(
    own_cache: Path, hello: GoModule
) -> None:
    (hello.folder / "main.go").write_text("package main\n\nfunc main() { undefinedFunction() }\n")

    with pytest.raises(BuildFailedError, match="undefined: undefinedFunction"):
        find_programs(hello, progress=Progress(io.StringIO()))

    assert [path for path in own_cache.iterdir() if path.is_dir()] == []


def test_without_go_and_an_index_the_error_says_what_to_install(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(place(tmp_path / "empty", [])))
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")

    with pytest.raises(GoUnavailableError, match="Install Go, or set KUBEBUILDER_ASSETS"):
        find_programs(KUBE, progress=Progress(io.StringIO()))


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [("", "1 skipped"), ("true", "1 error")],
    ids=["at-home-they-are-skipped", "in-ci-they-fail"],
)
def test_where_programs_cannot_be_had_tests(ci: str, outcome: str, own_cache: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "CI": ci,
        "PATH": str(place(tmp_path / "empty", [])),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "",
    }
    environment.pop("UV", None)
    test = TESTS / "cluster" / "test_api_server.py::test_a_dry_run_answers_and_stores_nothing"

    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(test)]
    result = subprocess.run(command, env=environment, cwd=TESTS.parent, capture_output=True, text=True)

    assert outcome in result.stdout, result.stdout
    assert "no Go on PATH that is new enough" in result.stdout


def test_several_processes_fill_the_cache_once(own_cache: Path, tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from support.tools.cache import cached

def fill(folder):
    with Path({str(tmp_path / "fills")!r}).open("a") as fills:
        fills.write("filled\\n")
    (folder / "result").write_text("whole")

assert (cached("thing", fill, print) / "result").read_text() == "whole"
"""
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    askers = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(8)]

    assert [asker.wait() for asker in askers] == [0] * 8
    assert (tmp_path / "fills").read_text() == "filled\n"


def test_a_result_that_could_not_be_made_is_tried_again(own_cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cached("thing", fail, print)

    folder = cached("thing", lambda folder: (folder / "whole").touch(), print)
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("ASYNCDIFF_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path("/home/ada/.cache/asyncdiff")

    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/ada")
    assert cache_folder() == Path("/var/cache/ada/asyncdiff")

    monkeypatch.setenv("ASYNCDIFF_CACHE", "/ci/cache")
    assert cache_folder() == Path("/ci/cache")


@pytest.mark.parametrize("module", [KUBE, VERSITYGW], ids=lambda module: module.name)
def test_the_key_of_a_module_follows_what_shapes_it(module: GoModule) -> None:
    assert module.key.startswith(f"{module.name}-v1.")
    assert dataclasses.replace(module, package="other").key != module.key
    assert dataclasses.replace(module, programs=("other",)).key != module.key


def test_staging_modules_have_the_version_of_kubernetes() -> None:
    minor_and_patch = KUBE.version.removeprefix("v1.")
    replaced = [line for line in (KUBE.folder / "go.mod").read_text().splitlines() if " => " in line]

    assert len(replaced) > 20
    assert {line.rpartition(" ")[2] for line in replaced} == {f"v0.{minor_and_patch}"}
