"""A fingerprint changes with everything that people do to a denoiser, and with nothing else."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from asyncdiff_runtime.engine.graph.fingerprint import fingerprint, surroundings
from diffusers.models.attention_dispatch import AttentionBackendName
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from support.pipelines import tiny
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute:UserWarning")

Change = Callable[[Any], object]


@pytest.fixture(scope="module")
def pristine() -> Any:
    """A UNet with two adapters, the first of them active."""
    unet = tiny("sd15").build().unet
    for name in ("style", "subject"):
        unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False), name)
    unet.set_adapters("style", weights=[0.5])
    return unet.eval()


@pytest.fixture
def unet(pristine: Any) -> Any:
    return copy.deepcopy(pristine)


@torch.no_grad()
def double(unet: Any) -> None:
    unet.conv_in.weight.mul_(2)


def in_attention(name: str, value: Any) -> Change:
    return lambda unet: setattr(
        unet.mid_block.attentions[0].transformer_blocks[0].attn1.processor, name, value
    )


def replace_forward(unet: Any) -> None:
    unet.mid_block.forward = functools.partial(unet.mid_block.forward)


CHANGES: dict[str, Change] = {
    "another adapter": lambda unet: unet.set_adapters("subject"),
    "another adapter's strength": lambda unet: unet.set_adapters("style", weights=[0.7]),
    "both adapters": lambda unet: unet.set_adapters(["style", "subject"]),
    "no adapter": lambda unet: unet.disable_adapters(),
    "adapters fused": lambda unet: unet.fuse_lora(),
    "an adapter taken away": lambda unet: unet.delete_adapters("subject"),
    "FreeU": lambda unet: unet.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4),
    "another attention processor": lambda unet: unet.set_attn_processor(AttnProcessor()),
    "a number in an attention processor": in_attention("scale", 0.5),
    "a list in an attention processor": in_attention("scale", [0.5, 1.0]),
    "an attention back end": in_attention("_attention_backend", AttentionBackendName.NATIVE),
    "attention in slices": lambda unet: unet.set_attention_slice("max"),
    "training": lambda unet: unet.mid_block.train(),
    "weights written in place": double,
    "other weights under the same name": lambda unet: setattr(
        unet.conv_in, "weight", nn.Parameter(unet.conv_in.weight.clone())
    ),
    "other values behind the same weight": lambda unet: setattr(
        unet.conv_in.weight, "data", unet.conv_in.weight.detach().clone()
    ),
    "weights loaded": lambda unet: unet.load_state_dict(unet.state_dict()),
    "another dtype": lambda unet: unet.mid_block.double(),
    "another memory format": lambda unet: unet.to(memory_format=torch.channels_last),
    "a module in another's place": lambda unet: setattr(unet, "conv_act", nn.GELU()),
    "a replaced forward": replace_forward,
    "a forward hook": lambda unet: unet.mid_block.register_forward_hook(lambda *_: None),
    "a tensor in an attribute": lambda unet: setattr(unet.mid_block, "table", torch.zeros(2)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_what_is_done_to_a_denoiser_shows(unet: Any, change: Change) -> None:
    before = fingerprint(unet)
    change(unet)
    after = fingerprint(unet)
    assert not after.equals(before)
    assert before.change_to(after) != "nothing changed"


@torch.no_grad()
def test_an_evaluation_and_a_look_show_nothing(unet: Any) -> None:
    unet(torch.zeros(2, 4, 16, 16), 3, torch.zeros(2, 7, unet.config.cross_attention_dim))
    before = fingerprint(unet)
    unet(torch.zeros(2, 4, 16, 16), 3, torch.zeros(2, 7, unet.config.cross_attention_dim))
    list(unet.named_modules()), unet.state_dict()
    assert before.equals(fingerprint(unet))


def test_what_is_undone_is_as_before(unet: Any) -> None:
    before = fingerprint(unet)
    unet.set_adapters("subject")
    unet.set_adapters("style", weights=[0.5])
    assert fingerprint(unet).equals(before)


def test_the_change_is_named(unet: Any) -> None:
    before = fingerprint(unet)
    unet.up_blocks[1].s1 = 0.9
    assert before.change_to(fingerprint(unet)) == "up_blocks.1.s1 changed"


def test_only_changed_tensors_outdate_a_state(unet: Any) -> None:
    before = fingerprint(unet)
    unet.set_adapters("subject")
    assert not before.outdated_by(fingerprint(unet)), "the first adapter may be chosen again"
    double(unet)
    assert before.outdated_by(fingerprint(unet))


def test_an_object_that_holds_itself_is_walked_once(unet: Any) -> None:
    class Ring:
        def __init__(self) -> None:
            self.me = self
            self.value = 1

    unet.mid_block.ring = Ring()
    before = fingerprint(unet)
    assert fingerprint(unet).equals(before)
    unet.mid_block.ring.value = 2
    assert not fingerprint(unet).equals(before)


def test_surroundings_are_part_of_the_guard() -> None:
    plain = surroundings()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert surroundings() != plain
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert surroundings() != plain
    assert surroundings() == plain
