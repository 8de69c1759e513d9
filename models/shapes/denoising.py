"""What the two denoisers learn: noise (UNet, as SDXL) or velocity (transformer, as SD3), with their text encoders."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from diffusers import (
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import Attention, JointAttnProcessor2_0
from torch import nn
from torch.nn import functional

from shapes.nets import (
    PICTURE_SIDE,
    TIME_IDS,
    build_projecting_encoder,
    build_sd3,
    build_text_encoder,
    build_unet,
)

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    from shapes.nets import Size

DROPPED = 0.1
"""Share of the examples that train the unconditional prediction."""

EMPTY_TOKENS = (16, 256)
"""Fewest and most zero tokens that stand for SD3's absent third encoder; the pipeline's default is 256."""


def unet_scheduler() -> EulerDiscreteScheduler:
    """SDXL's noise schedule."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        timestep_spacing="trailing",
        steps_offset=1,
    )


def sd3_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Straight flow, with somewhat more time spent at high noise."""
    return FlowMatchEulerDiscreteScheduler(shift=1.5)


def stratified(batch: int, device: torch.device) -> torch.Tensor:
    """Numbers from 0 to 1 spread evenly over a batch, in rising order: `(batch,)`."""
    return (torch.arange(batch, device=device) + torch.rand(batch, device=device)) / batch


class UNetTask(nn.Module):
    """A UNet with SDXL's two text encoders; called, it gives the training loss."""

    def __init__(self, size: Size, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(size, tokenizer)
        self.text_encoder_2 = build_projecting_encoder(size, 1, tokenizer)
        self.unet = build_unet(size)
        self.kept: torch.Tensor
        self.register_buffer("kept", unet_scheduler().alphas_cumprod, persistent=False)
        side = float(PICTURE_SIDE)
        self.size_ids: torch.Tensor
        self.register_buffer("size_ids", torch.tensor([side, side, 0, 0, side, side]), persistent=False)

    def load(self, folder: Path) -> None:
        """Takes over the weights of a written pipeline."""
        self.unet.load_state_dict(UNet2DConditionModel.from_pretrained(folder / "unet").state_dict())
        _load_text_encoders(self, folder)

    def prepare(self) -> None:
        """Nothing: each step is like the others."""

    def forward(self, latents: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Loss of latents `(batch, 8, 32, 32)` with prompts `(batch, LENGTH)`."""
        batch, device = len(latents), latents.device
        embeds, pooled = self._embed(tokens)
        steps = (stratified(batch, device) * 1000).long().clamp(max=999)
        noise = torch.randn_like(latents)
        kept = self.kept[steps].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        known = {"text_embeds": pooled, "time_ids": self._size_ids(batch)}
        predicted = self.unet(noisy, steps, embeds, added_cond_kwargs=known, return_dict=False)[0].float()
        # Hang et al. 2023 (min-SNR, γ = 5): the errors of nearly clean latents would drown the rest.
        ratio = kept / (1 - kept)
        weight = ratio.clamp(max=5) / ratio
        loss: torch.Tensor = (weight * (predicted - noise).square()).mean()
        return loss

    def _embed(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # Named, not called through the pipeline: the pipeline encodes without gradients.
        first = _hidden(self.text_encoder, tokens)[0]
        second, pooled = _hidden(self.text_encoder_2, tokens)
        keep = (torch.rand(len(tokens), device=tokens.device) > DROPPED).to(first.dtype)
        return torch.cat((first, second), -1) * keep[:, None, None], pooled * keep[:, None]

    def _size_ids(self, batch: int) -> torch.Tensor:
        """Original size, crop and target size; sometimes others than ours, so that they come to mean nothing."""
        device = self.size_ids.device
        others = torch.randint(0, 1025, (batch, TIME_IDS), device=device).float()
        return torch.where(torch.rand(batch, 1, device=device) < 0.2, others, self.size_ids)


def _hidden(
    encoder: CLIPTextModel | CLIPTextModelWithProjection, tokens: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Last hidden states but one `(batch, LENGTH, width)` and the first output (pooled, of one that projects)."""
    output = encoder(tokens, output_hidden_states=True)
    return output.hidden_states[-2], output[0]


def _load_text_encoders(task: UNetTask | SD3Task, folder: Path) -> None:
    for name in ("text_encoder", "text_encoder_2"):
        encoder = getattr(task, name)
        # Either class reads what the other wrote; a projection that the file lacks stays as it is.
        known = type(encoder).from_pretrained(folder / name).state_dict()
        encoder.load_state_dict(known)


class SD3Task(nn.Module):
    """An MMDiT with two projecting text encoders; called, it gives the training loss."""

    def __init__(self, size: Size, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = build_projecting_encoder(size, 0, tokenizer)
        self.text_encoder_2 = build_projecting_encoder(size, 1, tokenizer)
        self.transformer = build_sd3(size)
        nothing = tokenizer("", padding="max_length", return_tensors="pt").input_ids
        self.nothing: torch.Tensor
        self.register_buffer("nothing", nothing, persistent=False)
        self.empty = EmptyTokens()
        self.transformer.set_attn_processor(self.empty)

    def published(self) -> SD3Transformer2DModel:
        """The transformer as others use it: it attends to every empty token for itself."""
        self.transformer.set_attn_processor(JointAttnProcessor2_0())
        return self.transformer

    def load(self, folder: Path) -> None:
        """Takes over the weights of a written pipeline, or, from one of a UNet, its text encoders."""
        _load_text_encoders(self, folder)
        if (folder / "transformer").exists():
            known = SD3Transformer2DModel.from_pretrained(folder / "transformer").state_dict()
            self.transformer.load_state_dict(known)

    def forward(self, latents: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Loss of latents `(batch, 8, 32, 32)` with prompts `(batch, LENGTH)`."""
        batch, device = len(latents), latents.device
        dropped = torch.rand(batch, 1, device=device) < DROPPED
        tokens = torch.where(dropped, self.nothing, tokens)
        first, pooled = _hidden(self.text_encoder, tokens)
        second, pooled_2 = _hidden(self.text_encoder_2, tokens)
        embeds = torch.cat((first, second), -1)
        embeds = torch.cat((embeds, torch.zeros_like(embeds[:, :1])), 1)
        # Esser et al. 2024: more examples at middling noise, where the prompt is decided.
        sigma = torch.sigmoid(torch.special.ndtri(stratified(batch, device).clamp(1e-4, 1 - 1e-4)) + 0.2)
        noise = torch.randn_like(latents)
        spread = sigma.view(-1, 1, 1, 1)
        velocity = self.transformer(
            torch.lerp(latents, noise, spread),
            embeds,
            torch.cat((pooled, pooled_2), -1),
            sigma * 1000,
            return_dict=False,
        )[0]
        loss: torch.Tensor = (velocity.float() - (noise - latents)).square().mean()
        return loss

    def prepare(self) -> None:
        """Lets the transformer attend to one zero token as if it stood there many times; a new count each call."""
        fewest, most = (math.log(count) for count in EMPTY_TOKENS)
        self.empty.bias.fill_(fewest + torch.rand(()).item() * (most - fewest))


class EmptyTokens(nn.Module):
    """Joint attention in which the last text token counts as often as the absent encoder's tokens.

    All of the absent encoder's tokens are zero and carry no position, so they stay equal through every block. A key
    that occurs n times weighs as one whose logit is greater by log n: the pipeline's 256 tokens cost one in training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bias: torch.Tensor
        self.register_buffer("bias", torch.tensor(math.log(EMPTY_TOKENS[1])), persistent=False)

    def forward(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attends; called by the transformer's blocks as any processor is."""
        assert encoder_hidden_states is not None, "the transformer's blocks attend jointly"
        assert attention_mask is None, "SD3 masks nothing"
        image = [layer(hidden_states) for layer in (attn.to_q, attn.to_k, attn.to_v)]
        text = [layer(encoder_hidden_states) for layer in (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)]
        heads = [tensor.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for tensor in (*image, *text)]
        query = torch.cat((_normed(attn.norm_q, heads[0]), _normed(attn.norm_added_q, heads[3])), 2)
        key = torch.cat((_normed(attn.norm_k, heads[1]), _normed(attn.norm_added_k, heads[4])), 2)
        value = torch.cat((heads[2], heads[5]), 2)
        last = torch.arange(key.shape[2], device=key.device) == key.shape[2] - 1
        bias = torch.where(last, self.bias, 0.0).to(query.dtype).expand(query.shape[2], -1)
        joint = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        joint = joint.transpose(1, 2).flatten(2)
        split = hidden_states.shape[1]
        shown = attn.to_out[1](attn.to_out[0](joint[:, :split]))
        told = joint[:, split:]
        return shown, told if attn.context_pre_only else attn.to_add_out(told)


def _normed(norm: nn.Module | None, tensor: torch.Tensor) -> torch.Tensor:
    assert norm is not None, "our SD3 is built with qk_norm"
    normed: torch.Tensor = norm(tensor)
    return normed
