"""`asyncdiff plan` tells costs from configuration files alone, and refuses in sentences what it cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.command import run
from support.repository import ROOT

REPOSITORIES = ROOT / "tests" / "support" / "repositories"
MEASURED = ROOT / "bench" / "results" / "latency-sdxl-4xH200.json"


@pytest.fixture(scope="module")
def sdxl() -> Any:
    """The plan of SDXL at its own size on four H200; building and capturing it takes a while."""
    target = str(REPOSITORIES / "sdxl-base")
    done = run("plan", target, "--json", "--gpu", "H200", "--gpu", "L4", "--gpus", "4", "--dtype", "float16")
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def forecast(plan: Any, gpu: str, strategy: str) -> Any:
    (found,) = (
        one for one in plan["forecasts"] if one["gpu"] == gpu and one["strategy"].startswith(strategy)
    )
    return found


def test_sdxl_costs_what_is_known_of_it(sdxl: Any) -> None:
    assert sdxl["pipeline"] == "StableDiffusionXLPipeline"
    assert (sdxl["evaluations"], sdxl["rows"]) == (50, [2])
    assert sdxl["evaluation"]["flops"] / 1e12 == pytest.approx(13.52, abs=0.01)
    assert sdxl["evaluation"]["byDependence"]["latent"]["flops"] / 1e12 == pytest.approx(13.42, abs=0.01)
    assert sdxl["weights"]["unet"] == {"parameters": 2_567_463_684, "bytes": 2 * 2_567_463_684}
    assert sdxl["decoding"]["flops"] > 10**12  # the autoencoder decodes in float32 here
    assert list(sdxl["evaluation"]["byModule"])[-1] == "conv_out"


@pytest.mark.parametrize(
    ("strategy", "measured", "compiled"),
    [
        ("Data", "sequential", "off"),
        ("Lookahead 2 × guidance 2", "guidance 2 × lookahead 2", "auto"),
    ],
)
def test_predictions_hold_what_was_measured(sdxl: Any, strategy: str, measured: str, compiled: str) -> None:
    rows = json.loads(MEASURED.read_text())["rows"]
    (seconds,) = (row["seconds"] for row in rows if (row["strategy"], row["compile"]) == (measured, compiled))
    span = forecast(sdxl, "H200", strategy)["loopSeconds"]
    assert span["expected"] == pytest.approx(seconds, rel=0.07)
    assert span["low"] < seconds < span["high"]


def test_a_slower_machine_takes_longer_and_the_critical_path_is_the_schedules(sdxl: Any) -> None:
    for strategy in ("Data", "Exact", "Lookahead"):
        quick, slow = (forecast(sdxl, gpu, strategy) for gpu in ("H200", "L4"))
        assert slow["seconds"]["expected"] > 3 * quick["seconds"]["expected"]
    assert forecast(sdxl, "H200", "Lookahead")["criticalPath"] == 28
    assert forecast(sdxl, "H200", "Exact")["idleGpus"] == 2


def test_a_job_is_planned_as_it_asks(tmp_path: Path) -> None:
    job = {
        "apiVersion": "asyncdiff.dev/v1alpha1",
        "kind": "AsyncDiffJob",
        "metadata": {"name": "planned"},
        "spec": {
            "model": {"bundled": "shapes-sd3", "dtype": "float16"},
            "generate": {"prompts": ["a red circle"], "steps": 40, "guidanceScale": 1.0},
            "parallelism": {
                "gpusPerPod": 3,
                "strategy": "Lookahead",
                "lookahead": {"degree": 3, "warmupSteps": 1, "exactTailSteps": 0},
            },
            "output": {"volume": {"claimName": "out"}},
        },
    }
    file = tmp_path / "job.yaml"
    file.write_text(json.dumps(job))
    plan = json.loads(run("plan", str(file), "--json", "--gpu", "T4", "--batch", "2").output)
    assert (plan["evaluations"], plan["rows"], plan["batch"]) == (40, [2], 2)  # no guidance: a row an item
    chosen = [one for one in plan["forecasts"] if one["chosen"]]
    assert [(one["strategy"], one["criticalPath"]) for one in chosen] == [("Lookahead 3", 1 + 13)]

    text = run("plan", str(file), "--gpu", "T4", columns=100).output
    assert "▸ Lookahead 3" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository to spoil."""
    return Path(shutil.copytree(REPOSITORIES / "sd15", tmp_path / "sd15"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: shutil.rmtree(folder / "unet"), "unet (a UNet2DConditionModel) has no configuration"),
        (lambda folder: (folder / "model_index.json").unlink(), "holds no model_index.json"),
        (
            lambda folder: (folder / "unet/config.json").write_text('{"block_out_channels": 7}'),
            "unet (a UNet2DConditionModel) cannot be built from its configuration",
        ),
        (
            lambda folder: (folder / "model_index.json").write_text(
                (folder / "model_index.json").read_text().replace("UNet2DConditionModel", "UNet9D")
            ),
            "unet is a UNet9D, which diffusers",
        ),
    ],
)
def test_a_repository_that_is_not_whole_is_refused(folder: Path, spoil: Any, says: str) -> None:
    spoil(folder)
    done = run("plan", str(folder))
    assert done.exit_code == 66
    assert says in done.output


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere"], 2, "none of the bundled models (shapes-sd3, shapes-unet)"),
        (["shapes-unet", "--size", "big"], 2, "--size big: write it as 1024x1024"),
        (["shapes-unet", "--gpu", "abacus"], 2, "no GPU named 'abacus' is known; there are B200, H200"),
        (["nowhere.yaml"], 64, "nowhere.yaml cannot be read"),
        (["shapes-unet", "--dtype", "int3"], 64, "spec.model.dtype"),
        (
            ["shapes-unet", "--gpus", "2", "--set", "spec.parallelism.strategy=Patches"],
            64,
            "which this version does not run",
        ),
        (
            ["shapes-unet", "--gpus", "3", "--set", "spec.parallelism.strategy=Lookahead"],
            64,
            "gpusPerPod is 3, and lookahead.degree 2",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_in_a_sentence(arguments: list[str], code: int, says: str) -> None:
    done = run("plan", *arguments)
    assert done.exit_code == code
    assert says in " ".join(done.output.replace("│", " ").split())


def test_a_repository_that_is_not_in_the_cache_is_refused_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    done = run("plan", "someone/something")
    assert done.exit_code == 66
    assert "someone/something is not in the local cache" in done.output
