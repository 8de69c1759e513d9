"""The networks of the bundled models, by size: `full` is what is published, `tiny` is for trying the scripts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from shapes.tokens import LENGTH

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

PICTURE_SIDE = 128
LATENT_SIDE = 32
LATENT_CHANNELS = 8
TIME_IDS = 6


@dataclasses.dataclass(frozen=True)
class Size:
    """Widths and depths of one set of networks."""

    vae: tuple[int, int, int]
    text_width: int
    text_layers: tuple[int, int]
    unet: tuple[int, int, int]
    transformer_layers: tuple[int, int, int]
    sd3_width: int
    sd3_layers: int


SIZES = {
    "full": Size((32, 64, 96), 160, (3, 4), (64, 96, 96), (1, 1, 2), 160, 8),
    "tiny": Size((16, 16, 32), 32, (2, 2), (32, 32, 32), (1, 1, 1), 64, 2),
}
HEAD = 32


def build_vae(size: Size) -> AutoencoderKL:
    """Pictures `(batch, 3, 128, 128)` from -1 to 1 to latents `(batch, 8, 32, 32)` and back."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=size.vae,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=16,
        sample_size=PICTURE_SIDE,
        scaling_factor=1.0,
        shift_factor=0.0,
        force_upcast=False,
        mid_block_add_attention=False,
    )


def _text_config(size: Size, layers: int, tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.text_width,
        intermediate_size=4 * size.text_width,
        projection_dim=size.text_width,
        num_hidden_layers=layers,
        num_attention_heads=size.text_width // HEAD,
        max_position_embeddings=LENGTH,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def build_text_encoder(size: Size, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The first encoder of SDXL; its last layer is not used, as there."""
    return CLIPTextModel(_text_config(size, size.text_layers[0], tokenizer))


def build_projecting_encoder(size: Size, which: int, tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """An encoder that also gives a pooled embedding."""
    return CLIPTextModelWithProjection(_text_config(size, size.text_layers[which], tokenizer))


def build_unet(size: Size) -> UNet2DConditionModel:
    """SDXL's topology: attention in the two lower of three levels, size ids and pooled text added to the time."""
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=size.unet,
        layers_per_block=2,
        transformer_layers_per_block=size.transformer_layers,
        attention_head_dim=tuple(width // HEAD for width in size.unet),
        cross_attention_dim=2 * size.text_width,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=32,
        time_embedding_dim=2 * size.unet[0],
        projection_class_embeddings_input_dim=TIME_IDS * 32 + size.text_width,
        norm_num_groups=16,
    )
    for name, module in unet.named_modules():
        # Residual branches begin at nothing: a deep net then learns from the first step on.
        if name.endswith(("conv2", "proj_out")) or name == "conv_out":
            _zero(module)
    return unet


def build_sd3(size: Size) -> SD3Transformer2DModel:
    """An MMDiT on 2 × 2 patches of the latents."""
    transformer = SD3Transformer2DModel(
        sample_size=LATENT_SIDE,
        patch_size=2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=size.sd3_layers,
        attention_head_dim=HEAD,
        num_attention_heads=size.sd3_width // HEAD,
        joint_attention_dim=2 * size.text_width,
        caption_projection_dim=size.sd3_width,
        pooled_projection_dim=2 * size.text_width,
        pos_embed_max_size=LATENT_SIDE,
        qk_norm="rms_norm",
    )
    for name, module in transformer.named_modules():
        if name.endswith(("norm1.linear", "norm1_context.linear", "norm_out.linear")) or name == "proj_out":
            _zero(module)
    return transformer


def _zero(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def parameters_of(*modules: nn.Module) -> int:
    """How many numbers the modules hold."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def device_of(name: str | None) -> torch.device:
    """The named device, or the GPU if there is one."""
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
