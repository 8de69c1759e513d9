"""The reference of denoiser classes: what capturing each of them gave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pages.markdown import code, page, table

RESULTS: Final = Path(__file__).resolve().parents[2] / "docs" / "reference" / "denoisers.json"
SHOWN: Final = 2
"""Pipelines of a class that are named in the first table."""

_INTRODUCTION: Final = """
Every class that diffusers exports among its UNets and transformers, and what `parallelize(…, capture=…)` makes of it:
a graph of its operations, what of it leaves the denoising loop, and the compiled form. Each class is made at tiny
size with random weights, and evaluated at two timesteps under two conditions. How fast they are is not measured here.
What cannot be captured still runs: by its modules, with a warning that says why.
"""
_COLUMNS: Final = """
Evaluated by their graphs, operation by operation on a CPU in float32, all of these give what their modules give, bit
for bit.

*Operations*
:   of one evaluation

*Model*, *Prompt*, *Timestep*
:   the share of the operations that is done once for a model, a prompt or a timestep, and kept. Views and broadcasts
    that are made again from what is kept do not count

*FLOPs*
:   the share of the arithmetic that these are. At tiny size it is larger than at real size, where nearly all is matrix
    products over the latent's tokens
"""
_COMPILED: Final = """
*Compiled*
:   the relative distance to the modules' results with `capture="inductor"` on a CPU in float32, where up to 1e-4 is
    taken for rounding, and seconds of one core that capturing and compiling took, inductor's own start among them
"""
_ASSUMED: Final = """
The modules of these read values of their prompt as they run: how many words it has, whether there is an image. They
branch by them and give tensors shapes, so that a graph holds for these values alone, and is proven to before it answers
another prompt. Whatever the first generation reads is captured, for the prompt and for the negative one; what later
generations read is captured when it comes again, and answered by the modules until then. Nothing of it depends on the
latent or the timestep: that is refused.
"""
_HEAD: Final = ("Class", "Used by", "Operations", "Model", "Prompt", "Timestep", "FLOPs")
_REASONS: Final = """
These are refused with the sentence that stands here. The operation and the module are those of the tiny size; a line
of diffusers' own code is named with its file.
"""
_OTHERS: Final = """
Some of these are no denoisers of a latent, or are called in a way that the engine does not know.
"""


def denoisers_page() -> str:
    """Gives the page, from the results of the last run of `scripts/denoisers.py`."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    classes: Mapping[str, Mapping[str, Any]] = results["classes"]
    tried = {name: found for name, found in classes.items() if "other" not in found}
    captured = {name: found for name, found in tried.items() if found["equal"]}
    refused = {name: found for name, found in tried.items() if not found["equal"]}
    compiled = any("compiling" in found for found in captured.values())
    assuming = {name: found for name, found in captured.items() if found.get("assumed")}
    others = {name: found for name, found in classes.items() if "other" in found}
    return page(
        "Denoisers",
        _INTRODUCTION,
        _summary(results["versions"], len(classes), len(tried), captured),
        "## Captured",
        _COLUMNS + _COMPILED * compiled,
        table([*_HEAD, *["Compiled"] * compiled], (_captured(row, compiled) for row in captured.items())),
        *(
            [
                "## Captured for values of the prompt",
                _ASSUMED,
                table(["Class", "What it reads"], map(_assuming, assuming.items())),
            ]
            * bool(assuming)
        ),
        *(
            ["## Refused", _REASONS, table(["Class", "Used by", "Why"], map(_refused, refused.items()))]
            * bool(refused)
        ),
        "## Not tried",
        _OTHERS,
        table(["Class", "Why"], ([code(name), found["other"]] for name, found in others.items())),
        "## Pipelines",
        "The pipelines of diffusers that take each class, where there are more than the tables above name.",
        table(
            ["Class", "Pipelines"],
            (
                [code(name), ", ".join(map(_short, found["pipelines"]))]
                for name, found in classes.items()
                if len(found["pipelines"]) > SHOWN
            ),
        ),
    )


def _summary(versions: Mapping[str, str], whole: int, tried: int, captured: Mapping[str, Any]) -> str:
    compiled = [found["compiling"] for found in captured.values() if "compiling" in found]
    good = sum(found["compiled"] for found in compiled)
    sentence = (
        f"Of {whole} classes in diffusers {versions['diffusers']}, {tried} were tried, and {len(captured)} of these "
        f"are captured and equal to the bit (torch {versions['torch']}, {versions['date']})."
    )
    if compiled:
        when = max((found["versions"] for found in compiled), key=lambda each: str(each["date"]))
        sentence += (
            f" {good} of {len(compiled)} that were compiled are within tolerance (torch {when['torch']}, "
            f"{when['date']})."
        )
    return sentence + (
        " The same as data: [denoisers.json](denoisers.json). `scripts/denoisers.py` makes both, and a test holds "
        "some of the classes against them at each change."
    )


def _captured(row: tuple[str, Mapping[str, Any]], compiled: bool) -> list[str]:
    name, found = row
    classes = found["classes"]
    operations = sum(figures["operations"] for figures in classes.values())
    seldom = [classes[kind] for kind in ("weights", "generation", "evaluation")]
    return [
        code(name),
        _users(found["pipelines"]),
        f"{operations:.0f}",
        *(f"{(figures['operations'] - figures['again']) / max(1, operations):.0%}" for figures in seldom),
        f"{sum(figures['flops_share'] for figures in seldom):.1%}",
        *[_compiled(found.get("compiling"))] * compiled,
    ]


def _compiled(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "not yet compiled"
    if found["compiled"]:
        return f"{found['distance']:.0e}, {found['seconds']:.0f} s"
    return found["reason"] or "no"


def _assuming(row: tuple[str, Mapping[str, Any]]) -> list[str]:
    name, found = row
    named, more = found["assumed"][:SHOWN], len(found["assumed"]) - SHOWN
    return [code(name), "; ".join(named) + (f"; and in {more} more places" if more > 0 else "")]


def _refused(row: tuple[str, Mapping[str, Any]]) -> list[str]:
    name, found = row
    return [code(name), _users(found["pipelines"]), found["reason"]]


def _users(pipelines: list[str]) -> str:
    named = ", ".join(map(_short, sorted(pipelines, key=len)[:SHOWN]))
    more = len(pipelines) - SHOWN
    return f"{named} and {more} more" if more > 0 else named


def _short(pipeline: str) -> str:
    return pipeline.removesuffix("Pipeline")
