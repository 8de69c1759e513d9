"""Captures every denoiser class of diffusers at tiny size, and writes what came of it into the reference.

    .venv/bin/python scripts/denoisers.py               all classes: minutes on one core
    .venv/bin/python scripts/denoisers.py --compile     the same with inductor: the better part of an hour
    .venv/bin/python scripts/denoisers.py 'Flux*' UVit2DModel   some classes

Each class has a process of its own, so that one that crashes or hangs is a row of the table. What was found by
compiling stays until it is done again. Several runs, of other classes each, may go on at once.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatch
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from pages.denoisers import RESULTS, denoisers_page
from pages.pipelines import pipelines_of

ROOT: Final = Path(__file__).resolve().parents[1]
TESTS: Final = str(ROOT / "tests")
PAGE: Final = ROOT / "docs" / "reference" / "denoisers.md"
CAPTURE_SECONDS: Final = 300.0
COMPILE_SECONDS: Final = 1200.0

_UNTRIED: Final = "It has not been tried with these versions yet."

Findings = dict[str, Any]
"""Of one class, as plain data."""


def main() -> int:
    """Gives the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("classes", nargs="*", help="names or patterns; all classes if none is given")
    parser.add_argument("--compile", action="store_true", help="compile each class too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        _examine(_context(cache), options.classes, compiled=options.compile)
    return 0


def _examine(context: Any, patterns: Sequence[str], *, compiled: bool) -> None:
    exported = _run(context, "exported", "", CAPTURE_SECONDS)
    users = pipelines_of(exported)
    known = {name: {"module": exported[name], "pipelines": users[name]} for name in sorted(exported)}
    for name in known:
        if _wanted(name, patterns):
            found = _again(context, name, compiled=compiled)
            _write(known, {**_earlier(), name: found})


def _write(known: Mapping[str, Findings], found: Mapping[str, Findings]) -> None:
    classes = {name: {**told, **found.get(name, {"other": _UNTRIED})} for name, told in known.items()}
    results = {"versions": _versions(), "classes": classes}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(denoisers_page(), encoding="utf-8")


def _earlier() -> dict[str, Findings]:
    """What was found before; what other versions gave counts for nothing, but for what compiling them gave."""
    if not RESULTS.exists():
        return {}
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    classes: dict[str, Findings] = results["classes"]
    if {**results["versions"], "date": ""} == {**_versions(), "date": ""}:
        return classes
    return {
        name: {"other": _UNTRIED, "compiling": found["compiling"]}
        for name, found in classes.items()
        if "compiling" in found
    }


def _context(cache: str) -> Any:
    """Starts processes as copies of one that has imported everything, which takes longer than most classes.

    Args:
        cache: folder of what is compiled, empty at first, so that seconds are those of compiling.
    """
    sys.path.append(TESTS)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (TESTS, os.environ.get("PYTHONPATH"))))
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # compilers that the process waits for, and counts
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.denoisers.examination"])
    return context


def _wanted(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch(name, pattern) for pattern in patterns)


def _again(context: Any, name: str, *, compiled: bool) -> Findings:
    started = time.monotonic()
    found: Findings = _run(context, "capturing", name, CAPTURE_SECONDS)
    compiling = _earlier().get(name, {}).get("compiling")
    if compiled and found.get("captured"):
        compiling = _run(context, "compiling", name, COMPILE_SECONDS) | {"versions": _versions()}
    if compiling is not None and found.get("captured"):
        found["compiling"] = compiling
    said = found.get("reason") or found.get("other") or f"captured {found.get('compiling', '')}"
    print(f"{name}: {said} ({time.monotonic() - started:.0f} s)", flush=True)
    return found


def _run(context: Any, what: str, name: str, seconds: float) -> Any:
    """Answers from a process of its own; its end, if it did not answer."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(what, name, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        answer = ours.recv() if ours.poll(seconds) else f"It was not done after {seconds:.0f} seconds."
    except EOFError:
        process.join()
        answer = f"Its process ended with exit code {process.exitcode}."
    finally:
        process.kill()
        process.join()
    failed = {"compiled": False} if what == "compiling" else {"captured": False, "equal": False}
    return answer if not isinstance(answer, str) else {**failed, "reason": answer}


def _work(what: str, name: str, answer: Connection) -> None:
    import torch
    from support.denoisers import OTHERS, TABLE, exported
    from support.denoisers.examination import capturing, compiling

    torch.set_num_threads(1)
    logging.getLogger("torch").setLevel(logging.CRITICAL)  # prints whole graphs where there is none
    if what == "exported":
        answer.send(exported())
    elif name in OTHERS:
        answer.send({"other": OTHERS[name]})
    elif name not in TABLE:
        answer.send({"other": "There is no configuration yet."})
    else:
        answer.send((capturing if what == "capturing" else compiling)(TABLE[name]).as_json())


def _versions() -> Mapping[str, str]:
    return {
        "diffusers": version("diffusers"),
        "torch": version("torch").split("+")[0],
        "date": datetime.now(UTC).date().isoformat(),
    }


if __name__ == "__main__":
    sys.exit(main())
