"""UNets with ControlNets: one, several, guess mode; Stable Diffusion 1.5 and XL."""

from __future__ import annotations

from typing import Any, Final

import diffusers

from support.pipelines import flux, sd3
from support.pipelines.pictures import LATENT, image, pictures
from support.pipelines.row import Calling, Pipeline, TinyPipeline, quiet
from support.pipelines.schedulers import FLOW, FLOW_GIVEN_SIGMAS, NOISE
from support.pipelines.sdxl import xl_parts
from support.pipelines.stable_diffusion import parts
from support.pipelines.weights import seeded

_CONDITION_CHANNELS: Final = (16, 32)
"""One halving, from the image's size to that of the latents."""


def _controlnet(unet: Any, *, seed: int) -> Any:
    return seeded(
        lambda: diffusers.ControlNetModel.from_unet(
            unet, conditioning_embedding_out_channels=_CONDITION_CHANNELS
        ),
        seed,
    )


def _one() -> Pipeline:
    mine = parts(seed=410)
    control = _controlnet(mine["unet"], seed=415)
    return quiet(diffusers.StableDiffusionControlNetPipeline(**mine, controlnet=control))


def _several() -> Pipeline:
    mine = parts(seed=420)
    controls = [_controlnet(mine["unet"], seed=seed) for seed in (425, 426)]
    return quiet(diffusers.StableDiffusionControlNetPipeline(**mine, controlnet=controls))


def _one_xl() -> Pipeline:
    mine = xl_parts(seed=430)
    control = _controlnet(mine["unet"], seed=435)
    return quiet(diffusers.StableDiffusionXLControlNetPipeline(**mine, controlnet=control))


def _one_sd3() -> Pipeline:
    mine = sd3.parts(seed=440)
    configuration = dict(mine["transformer"].config) | {"num_layers": 2, "extra_conditioning_channels": 0}
    control = seeded(lambda: diffusers.SD3ControlNetModel.from_config(configuration), 445)
    return quiet(diffusers.StableDiffusion3ControlNetPipeline(**mine, controlnet=control))


def _one_flux() -> Pipeline:
    mine = flux.parts(seed=450)
    configuration = dict(mine["transformer"].config) | {"num_layers": 1, "num_single_layers": 1}
    del configuration["out_channels"]
    control = seeded(lambda: diffusers.FluxControlNetModel.from_config(configuration), 455)
    return quiet(diffusers.FluxControlNetPipeline(**mine, controlnet=control))


def _control_image(batch: int) -> dict[str, Any]:
    return {"control_image": pictures(batch)}


def _row(name: str, build: Any, call: Calling, **changes: Any) -> TinyPipeline:
    row: dict[str, Any] = {
        "family": "sd",
        "denoisers": ("unet",),
        "companions": ("controlnet",),
        "schedulers": NOISE,
        "branches": 1,
        "rows": 2,
        "guided": True,
    }
    return TinyPipeline(name=name, build=build, call=call, **(row | changes))


_GUIDANCE: Final = {"guidance_scale": 5.0}

ROWS: Final = (
    _row("controlnet", _one, Calling(fixed=LATENT, guidance=_GUIDANCE, inputs=image)),
    _row(
        "controlnets",
        _several,
        Calling(
            fixed=LATENT | {"controlnet_conditioning_scale": [0.8, 0.5], "control_guidance_end": [1.0, 0.5]},
            guidance=_GUIDANCE,
            inputs=lambda batch: {"image": [pictures(batch), pictures(batch, seed=8)]},
        ),
        notes="a MultiControlNetModel; conditioning_scale is a list, and its second number falls to 0 half-way",
    ),
    _row(
        "controlnet-guess",
        _one,
        Calling(fixed=LATENT | {"guess_mode": True}, guidance=_GUIDANCE, inputs=image),
        notes="the ControlNet runs on the conditional rows alone; its results are concatenated with zeros",
    ),
    _row(
        "sdxl-controlnet",
        _one_xl,
        Calling(fixed=LATENT, guidance=_GUIDANCE, inputs=image),
        family="sdxl",
        notes="the ControlNet is given the UNet's added_cond_kwargs",
    ),
    _row(
        "sd3-controlnet",
        _one_sd3,
        Calling(fixed=LATENT | {"max_sequence_length": 48}, guidance=_GUIDANCE, inputs=_control_image),
        family="sd3",
        denoisers=("transformer",),
        schedulers=FLOW,
        notes="the pipeline draws the control image's latents from the global generator",
    ),
    _row(
        "flux-controlnet",
        _one_flux,
        Calling(
            fixed=LATENT | {"max_sequence_length": 48},
            guidance={"true_cfg_scale": 4.0},
            inputs=_control_image,
        ),
        family="flux",
        denoisers=("transformer",),
        schedulers=FLOW_GIVEN_SIGMAS,
        branches=2,
        rows=1,
        notes="one call of the ControlNet, with the conditional text, serves both calls of the transformer",
    ),
)
