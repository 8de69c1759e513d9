"""What `make demo` says of its pictures is measured, and can be."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
import torch
import yaml
from asyncdiff_api.formats.manifest import ItemRecord, Outcome
from PIL import Image
from shapes.drawing import Sheet, draw
from shapes.layout import compose
from shapes.prompts import parse
from support.repository import ROOT

sys.path.insert(0, str(ROOT / "scripts"))  # it is a program, and lies beside others
import demo

PROMPTS = yaml.safe_load(demo.JOB.read_text())["spec"]["generate"]["prompts"]


def drawn(prompts: list[str], shown: list[str]) -> dict[demo.Item, demo.Painted]:
    """Items of some prompts whose pictures show what other prompts say, drawn and not generated."""
    rng = random.Random(0)
    sheet = Sheet.of([compose(parse(prompt), rng) for prompt in shown])
    pictures = draw(sheet, 128, torch.Generator().manual_seed(0)).pictures
    items = {}
    for number, (prompt, pixels) in enumerate(zip(prompts, pictures, strict=True)):
        record = ItemRecord(
            id=f"{number:024x}", outcome=Outcome.ACCEPTED, block=0, line=1, prompt=prompt, seed=0, seconds=1.0
        )
        eight_bits = (pixels.permute(1, 2, 0).numpy() * 255).round().clip(0, 255).astype(np.uint8)
        items[prompt, 0] = demo.Painted(record, Image.fromarray(eight_bits))
    return items


def test_pictures_of_the_prompts_score_full_and_of_other_prompts_less() -> None:
    right, wrong = drawn(PROMPTS, PROMPTS), drawn(PROMPTS, PROMPTS[1:] + PROMPTS[:1])
    found = demo.compare(right, right)
    assert found.psnr == (100.0,) * len(PROMPTS)
    assert all(found.accuracy[0][kind] == pytest.approx(1.0) for kind in ("shape", "colour", "layout"))
    assert demo.accuracy(wrong)["colour"] < 0.8
    assert "shape as asked" in demo.table(found)
