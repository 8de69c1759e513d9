"""Writes trained networks as folders that `DiffusionPipeline.from_pretrained` reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from diffusers import StableDiffusion3Pipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from shapes.absent import write_absent_encoder
from shapes.denoising import SD3Task, UNetTask, sd3_scheduler, unet_scheduler
from shapes.tokens import write_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import AutoencoderKL, DiffusionPipeline
    from transformers import CLIPTokenizer

SHARD = "16MB"


def pipeline_of(task: UNetTask | SD3Task, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> DiffusionPipeline:
    """The networks as the pipeline class of their family."""
    common = {
        "vae": vae,
        "text_encoder": task.text_encoder,
        "text_encoder_2": task.text_encoder_2,
        "tokenizer": tokenizer,
        "tokenizer_2": tokenizer,
    }
    if isinstance(task, UNetTask):
        return StableDiffusionXLPipeline(
            **common, unet=task.unet, scheduler=unet_scheduler(), add_watermarker=False
        )
    return StableDiffusion3Pipeline(
        **common,
        transformer=task.published(),
        scheduler=sd3_scheduler(),
        text_encoder_3=None,
        tokenizer_3=None,
    )


def write_pipeline(
    task: UNetTask | SD3Task, vae: AutoencoderKL, tokenizer: CLIPTokenizer, folder: Path
) -> None:
    """Writes weights in half precision, in shards small enough for a repository, and every configuration."""
    for part in (task, vae):
        part.to(memory_format=torch.contiguous_format)
    pipe = pipeline_of(task, vae, tokenizer).to(torch.float16)
    pipe.save_pretrained(folder, safe_serialization=True, max_shard_size=SHARD)
    for name in ("text_encoder", "text_encoder_2"):
        # transformers would load in the precision of the file, which no CPU computes in.
        _amend(folder / name / "config.json", dtype="float32")
    _name_as_ever(folder / "text_encoder" / "model.safetensors")
    if isinstance(task, SD3Task):
        write_absent_encoder(folder, task.transformer.config.joint_attention_dim)
        _amend(
            folder / "model_index.json",
            text_encoder_3=("transformers", "T5EncoderModel"),
            tokenizer_3=("transformers", "T5TokenizerFast"),
        )
    # Where the autoencoder was read from is nobody's business.
    _amend(folder / "vae" / "config.json", drop=("_name_or_path",))
    for name in ("tokenizer", "tokenizer_2"):
        # Our own files, in place of those of the release at hand.
        write_tokenizer(folder / name)
    pipe.to(torch.float32)


def _name_as_ever(path: Path) -> None:
    """Names a text encoder's parameters as all releases of transformers read them; newer ones drop the wrapper."""
    wrapper = "text_model."
    weights = load_file(path)
    named = {
        name if name.startswith((wrapper, "text_projection")) else wrapper + name: value
        for name, value in weights.items()
    }
    save_file(named, path, metadata={"format": "pt"})


def _amend(path: Path, drop: tuple[str, ...] = (), **values: object) -> None:
    config = json.loads(path.read_text()) | values
    config = {key: value for key, value in config.items() if key not in drop}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
