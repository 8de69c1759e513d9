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


def test_what_leaves_the_loop_is_told_with_its_price_and_gain(sdxl: Any) -> None:
    classes, hoisting = sdxl["evaluation"]["byDependence"], sdxl["hoisting"]
    assert (classes["generation"]["operations"], classes["evaluation"]["operations"]) == (437, 86)
    assert hoisting["heldBytes"]["generation"] / 1e6 == pytest.approx(51.3, abs=0.1)
    assert hoisting["leftFlops"] / 1e12 == pytest.approx(13.42, abs=0.01)
    assert hoisting["leftKernels"] < hoisting["kernels"]
    assert all(1.01 < hoisting["gain"][gpu] < 1.1 for gpu in ("H200", "L4"))


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

    captured = json.loads(
        run("plan", str(file), "--json", "--set", "spec.parallelism.compile=Captured").output
    )
    for one in captured["forecasts"]:
        assert one["captured"]
        assert (
            one["loopSeconds"]["expected"] < forecast(plan, "T4", one["strategy"])["loopSeconds"]["expected"]
        )


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_a_narrow_window_with_all_their_words(columns: int) -> None:
    arguments = ["--gpus", "4", "--gpu", "H100 PCIe", "--gpu", "L4", "--batch", "2"]
    done = run(
        "plan", "shapes-unet", *arguments, "--set", "spec.parallelism.strategy=Lookahead", columns=columns
    )
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in done.output
    heads = [
        "depends on operations GFLOP share MB moved MB to keep",
        "module GFLOP share MB moved",
        "what GB parameters",
        "strategy kernels loop in all range items/h",
    ]
    assert set(heads) <= {" ".join(line.split()) for line in lines}
    assert any(line.startswith(" ▸ Lookahead 2 × guidance 2") for line in lines)
    assert "L4, 24 GB" in done.output


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


def adapters(*kinds: str) -> list[str]:
    """Options that put adapters on, whose folders lie in the model's own."""
    named = [{"kind": kind, "volume": {"claimName": "model", "path": kind}} for kind in kinds]
    read = {"ControlNet": "control", "IPAdapter": "reference"}
    inputs = {read[kind]: "s3://pictures/one.png" for kind in kinds if kind in read}
    changes = {"spec.model.adapters": named, "spec.generate.inputs": inputs}
    return [word for path, value in changes.items() for word in ("--set", f"{path}={json.dumps(value)}")]


def test_a_controlnet_is_counted_and_other_adapters_are_named_as_left_out(folder: Path) -> None:
    (folder / "ControlNet").mkdir()
    settings = {"_class_name": "ControlNetModel", "cross_attention_dim": 768}
    (folder / "ControlNet" / "config.json").write_text(json.dumps(settings))
    command = ["plan", str(folder), "--json", "--gpu", "H200", "--dtype", "float16"]

    plain = json.loads(run(*command).output)
    done = run(*command, *adapters("ControlNet", "LoRA", "IPAdapter"))

    assert done.exit_code == 0, done.output
    plan = json.loads(done.output)
    assert plan["pipeline"] == "StableDiffusionControlNetPipeline"
    assert plan["weights"]["controlnet"]["parameters"] / 1e6 == pytest.approx(361.3, abs=0.1)
    assert 1.3 < plan["evaluation"]["flops"] / plain["evaluation"]["flops"] < 1.6
    remarks = " ".join(plan["remarks"])
    assert "LoRA adapters are left out" in remarks
    assert "IP adapters are left out" in remarks


def test_an_adapter_of_another_kind_is_refused(folder: Path) -> None:
    (folder / "ControlNet").mkdir()
    (folder / "ControlNet" / "config.json").write_text('{"_class_name": "T2IAdapter"}')
    done = run("plan", str(folder), *adapters("ControlNet"))
    assert done.exit_code == 66
    assert "is a T2IAdapter, and the job names it as ControlNet" in " ".join(done.output.split())


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
