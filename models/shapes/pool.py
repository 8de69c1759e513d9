"""A pool of scenes with prompts, made by all cores: what training draws from."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import os
import random
from typing import TYPE_CHECKING

import numpy
import torch

from shapes.drawing import Sheet
from shapes.layout import compose
from shapes.prompts import describe
from shapes.scenes import sample_scene
from shapes.tokens import LENGTH, load_tokenizer

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from transformers import CLIPTokenizer

CHUNK = 4000


@dataclasses.dataclass(frozen=True)
class Pool:
    """Scenes ready to draw, and their prompts as tokens `(count, LENGTH)`."""

    sheet: Sheet
    tokens: torch.Tensor

    @classmethod
    def make(cls, count: int, seed: int = 0) -> Self:
        """Makes scenes without held-out combinations, `count` rounded up to whole chunks."""
        chunks = range(-(-count // CHUNK))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), mp_context=context) as workers:
            jobs = [workers.submit(_chunk, min(CHUNK, count), seed + index) for index in chunks]
            parts = [job.result() for job in jobs]
        numbers, kinds, background, tokens = (
            torch.from_numpy(numpy.concatenate(each)) for each in zip(*parts, strict=True)
        )
        return cls(Sheet(numbers, kinds, background), tokens)

    def save(self, path: Path) -> None:
        """Writes the pool for `load`."""
        sheet = self.sheet
        torch.save((sheet.numbers, sheet.kinds, sheet.background, self.tokens), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote."""
        numbers, kinds, background, tokens = torch.load(path)
        return cls(Sheet(numbers, kinds, background), tokens)

    def __len__(self) -> int:
        return len(self.tokens)


def _chunk(count: int, seed: int) -> tuple[numpy.ndarray, ...]:
    torch.set_num_threads(1)
    rng = random.Random(seed)
    scenes = [sample_scene(rng) for _ in range(count)]
    sheet = Sheet.of([compose(scene, rng) for scene in scenes])
    tokens = tokenize(load_tokenizer(), [describe(scene, rng) for scene in scenes])
    return tuple(each.numpy() for each in (sheet.numbers, sheet.kinds, sheet.background, tokens))


def tokenize(tokenizer: CLIPTokenizer, prompts: list[str]) -> torch.Tensor:
    """Prompts as the pipelines tokenize them, `(count, LENGTH)`."""
    tokens: torch.Tensor = tokenizer(
        prompts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return tokens
