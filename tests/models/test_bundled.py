"""The models that the repository carries load by name alone and draw what the prompt says."""

import random
from collections.abc import Iterator
from pathlib import Path

import asyncdiff_runtime
import pytest
import torch
from diffusers import DiffusionPipeline
from shapes.evaluate import judge, paint, scenes_of
from shapes.prompts import describe, words_known
from shapes.reader import WEIGHTS, Reader
from shapes.scenes import is_held_out
from shapes.scoring import average

BUNDLED = Path(asyncdiff_runtime.__file__).parent / "bundled"
FOLDERS = sorted(path.parent for path in BUNDLED.glob("*/model_index.json"))


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def pipe(request: pytest.FixtureRequest) -> Iterator[DiffusionPipeline]:
    threads = torch.get_num_threads()
    loaded = DiffusionPipeline.from_pretrained(request.param)
    loaded.set_progress_bar_config(disable=True)
    yield loaded
    torch.set_num_threads(threads)


def test_there_is_a_unet() -> None:
    assert "shapes-unet" in {folder.name for folder in FOLDERS}


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


def test_pictures_show_held_out_combinations(pipe: DiffusionPipeline) -> None:
    scenes = scenes_of(6, seed=1, held_out=True)
    assert all(is_held_out(scene.things[0]) for scene in scenes if scene.layout != "inside")
    prompts = [describe(scene, random.Random(1)) for scene in scenes]
    pictures = paint(pipe, prompts, steps=20, guidance=5.0, batch=6)
    assert pictures.shape == (6, 3, 128, 128)
    shares = average(judge(Reader.load(), scenes, pictures))
    assert min(shares[name] for name in ("shape", "colour", "layout", "background")) >= 0.75


def test_another_seed_gives_another_picture_and_the_same_seed_the_same(pipe: DiffusionPipeline) -> None:
    prompt = ["a large red circle in the center on a blue background"]
    first, again, other = (
        paint(pipe, prompt, steps=3, guidance=5.0, batch=1, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-2)
