"""Captures every denoiser class of diffusers at tiny size, and writes what came of it into the reference.

    .venv/bin/python scripts/denoisers.py               all classes: minutes on one core
    .venv/bin/python scripts/denoisers.py --compile     the same with inductor: the better part of an hour
    .venv/bin/python scripts/denoisers.py 'Flux*' UVit2DModel   some classes

Each class has a process of its own, so that one that crashes or hangs is a row of the table. What was found by
compiling stays until it is done again.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
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
    context = _context()
    earlier = _earlier()
    exported = _run(context, "exported", "", CAPTURE_SECONDS)
    users = pipelines_of(exported)
    classes = {name: earlier.get(name, {"other": _UNTRIED}) for name in sorted(exported)}
    for name in classes:
        if _wanted(name, options.classes):
            classes[name] = _again(context, name, classes[name], compiled=options.compile)
            _write(
                {
                    each: {"module": exported[each], "pipelines": users[each], **found}
                    for each, found in classes.items()
                }
            )
    return 0


def _write(classes: Mapping[str, Findings]) -> None:
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


def _context() -> Any:
    """Starts processes as copies of one that has imported everything, which takes longer than most classes."""
    sys.path.append(TESTS)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (TESTS, os.environ.get("PYTHONPATH"))))
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.denoisers.examination"])
    return context


def _wanted(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch(name, pattern) for pattern in patterns)


def _again(context: Any, name: str, earlier: Findings, *, compiled: bool) -> Findings:
    started = time.monotonic()
    found: Findings = _run(context, "capturing", name, CAPTURE_SECONDS)
    if "compiling" in earlier and found.get("captured"):
        found["compiling"] = earlier["compiling"]
    if compiled and found.get("captured"):
        found["compiling"] = _run(context, "compiling", name, COMPILE_SECONDS) | {"versions": _versions()}
    said = found.get("reason") or found.get("other") or "captured"
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
    return answer if not isinstance(answer, str) else {"captured": False, "equal": False, "reason": answer}


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
