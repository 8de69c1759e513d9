"""The models that the repository carries load by name alone and draw what the prompt says."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncdiff_runtime
import pytest
import torch
import yaml
from diffusers import DiffusionPipeline
from shapes.evaluate import judge, paint, scenes_of
from shapes.prompts import describe, words_known
from shapes.reader import WEIGHTS, Reader
from shapes.scenes import is_held_out
from shapes.scoring import average
from shapes.tokens import FOLDER as TOKENIZER
from support.jobs import job
from support.repository import ROOT

BUNDLED = Path(asyncdiff_runtime.__file__).parent / "bundled"
FOLDERS = sorted(path.parent for path in BUNDLED.glob("*/model_index.json"))


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def pipe(request: pytest.FixtureRequest) -> Iterator[DiffusionPipeline]:
    threads = torch.get_num_threads()
    loaded = DiffusionPipeline.from_pretrained(request.param)
    loaded.set_progress_bar_config(disable=True)
    yield loaded
    torch.set_num_threads(threads)


def test_there_is_a_unet_and_a_transformer() -> None:
    assert [folder.name for folder in FOLDERS] == ["shapes-sd3", "shapes-unet"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_no_file_is_larger_than_16_megabytes_and_none_can_run_code(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert all(path.stat().st_size <= 16_000_000 for path in files)
    assert {path.suffix for path in files} <= {".json", ".txt", ".safetensors", ".md"}


@pytest.mark.parametrize("folder", [*FOLDERS, WEIGHTS.parent], ids=lambda folder: folder.name)
def test_no_configuration_names_a_folder_of_the_machine_it_was_made_on(folder: Path) -> None:
    assert not [path for path in folder.rglob("*.json") if "_name_or_path" in path.read_text()]


def test_parts_load_in_single_precision(pipe: DiffusionPipeline) -> None:
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    assert {parameter.dtype for part in parts for parameter in part.parameters()} == {torch.float32}


def test_known_words_are_one_token_and_unknown_ones_are_spelled(pipe: DiffusionPipeline) -> None:
    for tokenizer in (pipe.tokenizer, pipe.tokenizer_2):
        broken = [word for word in words_known() if len(tokenizer.tokenize(word)) != 1]
        assert broken == ["3d"], "the pipelines' own rule splits digits from letters"
        assert (
            tokenizer.decode(tokenizer("a Zyxwv moon!").input_ids, skip_special_tokens=True)
            == "a zyxwv moon !"
        )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_card_gives_the_scores_that_were_measured(folder: Path) -> None:
    record = json.loads((ROOT / "bench" / "results" / f"accuracy-{folder.name}.json").read_text())
    rows = [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("  | ")][2:]
    kinds = ("shape", "colour", "texture", "size", "layout", "faithful")
    for row, scores in zip(rows, record["scores"].values(), strict=True):
        cells = [cell.strip() for cell in row.split("|")][2:-1]
        assert cells == [f"{scores[kind]:.3f}" for kind in kinds]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_model_numbers_words_as_in_its_training(folder: Path) -> None:
    for tokenizer in ("tokenizer", "tokenizer_2"):
        for name in ("vocab.json", "merges.txt"):
            assert (folder / tokenizer / name).read_bytes() == (TOKENIZER / name).read_bytes()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_job_names_a_bundled_model_and_gets_pictures(folder: Path, tmp_path: Path) -> None:
    changes = {
        "spec.model": {"bundled": folder.name, "dtype": "float32"},
        "spec.parallelism": {"device": "CPU", "gpusPerPod": 1},
        "spec.generate": {"prompts": ["a red circle"], "steps": 2, "height": 128, "width": 128},
        "spec.output": {"volume": {"claimName": "pictures"}},
    }
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job(changes)))
    argv = [
        sys.executable,
        "-m",
        "asyncdiff_runtime.cli",
        "run",
        str(file),
        "--output",
        str(tmp_path / "made"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "made" / "items").rglob("*.png"))) == 1


def test_pictures_show_held_out_combinations(pipe: DiffusionPipeline) -> None:
    scenes = scenes_of(6, seed=1, held_out=True)
    assert all(is_held_out(scene.things[0]) for scene in scenes if scene.layout != "inside")
    prompts = [describe(scene, random.Random(1)) for scene in scenes]
    pictures = paint(pipe, prompts, steps=20, guidance=5.0, batch=6)
    assert pictures.shape == (6, 3, 128, 128)
    shares = average(judge(Reader.load(), scenes, pictures))
    assert min(shares[name] for name in ("shape", "colour", "layout", "background")) > 0.6


def test_another_seed_gives_another_picture_and_the_same_seed_the_same(pipe: DiffusionPipeline) -> None:
    prompt = ["a large red circle in the center on a blue background"]
    first, again, other = (
        paint(pipe, prompt, steps=3, guidance=5.0, batch=1, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-2)
