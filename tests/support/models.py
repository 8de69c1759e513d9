"""Small models of every kind that a job can name, in folders, and jobs of them made in this process.

`save_models(folder)` writes them; their weights are random, so that whatever is put on shows in the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from asyncdiff_api.formats.identity import ModelIdentity
from asyncdiff_api.formats.items import Resolver, Shared, WorkItem
from asyncdiff_api.formats.worklist import Position, WorklistLine
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.assignment import Places
from asyncdiff_runtime.batch.generator import Made, Unmade
from asyncdiff_runtime.batch.inputs.common import addresses_of, digests_of
from asyncdiff_runtime.batch.inputs.loading import InputLoader
from asyncdiff_runtime.batch.models import Plan, load_pipeline, plan_model
from asyncdiff_runtime.batch.models.hub import Hub
from asyncdiff_runtime.batch.models.parts import Opening
from asyncdiff_runtime.batch.pipeline import PipelineGenerator
from asyncdiff_runtime.batch.signature import check_job, check_line, signature_of
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

from support.jobs import job as document
from support.pipelines import text, tiny
from support.pipelines.weights import redraw, seeded

CLAIM = "models"


def save_models(folder: Path) -> None:
    """Writes `sd15`, `sdxl`, `svd`, `vae`, `controlnet`, `t2i`, `motion`, `ip` and the LoRAs `lora`, `other-lora`."""
    sd15 = tiny("sd15").build()
    sd15.save_pretrained(folder / "sd15")
    tiny("sdxl").build().save_pretrained(folder / "sdxl")
    svd = tiny("svd").build()
    svd.image_encoder = _image_encoder(224, patch=56)  # the size that its pipeline gives pictures
    svd.save_pretrained(folder / "svd")
    redraw(sd15.vae, 99)
    sd15.vae.save_pretrained(folder / "vae")
    tiny("controlnet").build().controlnet.save_pretrained(folder / "controlnet")
    t2i = lambda: diffusers.T2IAdapter(  # noqa: E731 -- handed on at once
        in_channels=1, channels=[32, 64], num_res_blocks=1, downscale_factor=4, adapter_type="full_adapter_xl"
    )
    seeded(t2i, 7).save_pretrained(folder / "t2i")
    motion = lambda: diffusers.MotionAdapter(  # noqa: E731 -- handed on at once
        block_out_channels=(32, 64),
        motion_layers_per_block=2,
        motion_norm_num_groups=8,
        motion_num_attention_heads=2,
        use_motion_mid_block=True,
    )
    seeded(motion, 8).save_pretrained(folder / "motion")
    _save_lora(sd15.unet, folder / "lora", seed=1)
    _save_lora(sd15.unet, folder / "other-lora", seed=2)
    _save_image_prompt(sd15.unet, folder / "ip")


def _save_lora(unet: Any, folder: Path, *, seed: int) -> None:
    config = LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"])
    unet.add_adapter(config, adapter_name="made")
    generator = torch.Generator().manual_seed(seed)
    state = get_peft_model_state_dict(unet, adapter_name="made")
    drawn = {
        name: torch.randn(value.shape, generator=generator) * 0.3 for name, value in sorted(state.items())
    }
    unet.delete_adapters("made")
    diffusers.StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=drawn)


def _save_image_prompt(unet: Any, folder: Path) -> None:
    """An IP adapter of the first kind: one projection, and keys and values for each cross-attention."""
    generator = torch.Generator().manual_seed(3)
    width, tokens = text.WIDTH, 4
    state = {
        "image_proj.proj.weight": torch.randn(width * tokens, width, generator=generator) / width**0.5,
        "image_proj.proj.bias": torch.zeros(width * tokens),
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
    crossing = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(crossing):
        hidden = unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
        for part in ("k", "v"):
            key = f"ip_adapter.{2 * number + 1}.to_{part}_ip.weight"
            state[key] = torch.randn(hidden, width, generator=generator) / width**0.5
    (folder / "models").mkdir(parents=True)
    save_file(state, folder / "models" / "ip-adapter.safetensors")
    _image_encoder(32, patch=8).save_pretrained(folder / "models" / "image_encoder")


def _image_encoder(side: int, *, patch: int) -> Any:
    config = transformers.CLIPVisionConfig(
        hidden_size=text.WIDTH,
        intermediate_size=37,
        projection_dim=text.WIDTH,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=side,
        patch_size=patch,
    )
    return seeded(lambda: transformers.CLIPVisionModelWithProjection(config), 4)


def in_volume(path: str) -> dict[str, Any]:
    """The source of a model or adapter in the volume of `save_models`."""
    return {"volume": {"claimName": CLAIM, "path": path}}


def model_job(model: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> AsyncDiffJob:
    """A job of 2 steps at 32 × 32 in float32."""
    plain = {
        "spec.model": {"dtype": "float32", **model},
        "spec.generate.steps": 2,
        "spec.generate.height": 32,
        "spec.generate.width": 32,
    }
    return load(document({**plain, **(changes or {})}))


def planned(job: AsyncDiffJob, volume: Path, cache: Path, hub: Hub | None = None) -> Plan:
    """The plan of a job's model, whose volume is the folder."""
    opening = Opening(job, Places(volumes={CLAIM: volume}), hub or Hub(cache=cache / "hub"), cache)
    return plan_model(job.spec.model, opening.parts(None))


def results(job: AsyncDiffJob, plan: Plan, lines: Sequence[Mapping[str, Any]]) -> Sequence[Made | Unmade]:
    """What the generator gives for worklist lines, as one batch, after the checks that come before."""
    generate, signature = job.spec.generate, signature_of(plan.kind, plan.adapters)
    check_job(generate, job.spec.output.format, signature)
    parsed = [WorklistLine.model_validate(dict(line)) for line in lines]
    addresses = addresses_of(job)
    shared = Shared(
        generate=generate, model=ModelIdentity(source="s", commit="c", dtype="float32"), schedule={}
    )
    resolver, items = Resolver(shared), list[WorkItem]()
    for number, (line, digests) in enumerate(
        zip(parsed, digests_of(addresses, generate, parsed), strict=True), start=1
    ):
        check_line(f"line {number}", line, generate, signature)
        items.append(resolver.item(Position(0, number), line, line.seed or 0, digests))
    pipe = load_pipeline(plan, "cpu")
    loader = InputLoader(addresses, generate)
    return PipelineGenerator(pipe, generate, signature=signature, inputs=loader).generate(items)


def pixels(result: Made | Unmade) -> NDArray[np.floating]:
    """The pixels of an item that was made."""
    assert isinstance(result, Made), result
    return result.pixels
