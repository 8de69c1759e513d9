"""Classes of diffusers that are exported beside the denoisers, or that the engine cannot be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

OTHERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Cosmos3OmniTransformer": "Takes its latents as lists (`vision_tokens`, `sound_tokens`) with a timestep for "
        "each (`vision_timesteps`), in the midst of a language model's sequence.",
        "MiniMaxMusic3RVQDepthDecoder": "No denoiser: a language model's head, which gives the codes of a frame of "
        "music one after the other.",
        "MotionAdapter": "No denoiser: holds the weights of motion modules, which `UNetMotionModel` takes up.",
        "RFD4ProteinaTransformer": "Denoises proteins: two latents (`bb_ca`, `local_latents`) with a time for each, "
        "where the engine takes one timestep.",
        "T5FilmDecoder": "Takes its latent as tokens of a decoder (`decoder_input_tokens`) with a time of noise in "
        "place of a timestep; the pipeline that used it has been deprecated.",
        "TransformerTemporalModel": "No denoiser: a layer of video UNets, which call it.",
        "UVit2DModel": "Predicts tokens of a codebook, not noise: it takes `input_ids` and no timestep.",
        "WanAnimate2Transformer3DModel": "Takes latents, prompts and conditions as lists, and keys and values in a "
        "cache (`kv_cache`) that it fills as it runs.",
    }
)
"""Why there is nothing to capture, by class."""
